/* What the files of describe share: text in columns, and the parts that several kinds have in common. Private to front.
 *
 *     describe.c        the verb, columns, labels, events, the form of kinds without one of their own
 *     describe_pod.c    pods and templates of pods
 *     describe_kinds.c  the other kinds that have a form of their own
 *
 * The words, their order and the blanks are those of k8s.io/kubectl/pkg/describe, which people read and scripts cut. */
#pragma once

#include "front/private.h"

struct describe {
	struct front *f;
	const struct front_resource *resource;
	struct buf text;   /* cells end with a tab, rows with a line feed; what is not yet laid out */
	struct json events; /* a list; null: they are not to be shown */
	int64_t now_s;
};

/* printf with two blanks a level before it. Values may hold anything: escape characters are made visible. */
void describe_put(struct describe *d, unsigned level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Lays out what is there: later rows have columns of their own. */
void describe_flush(struct describe *d);
/* Go's text/tabwriter with no least width, two blanks between columns: a column is a run of rows that have a cell in it which a tab
 * ended. Appended. Pure. */
void describe_layout(struct buf *out, struct span text);

/* "Labels:  a=b", one in a row. indent goes before the title ("" or "  "). */
void describe_labels(struct describe *d, const char *indent, const char *title, const struct json *labels);
void describe_annotations(struct describe *d, const char *indent, const char *title, const struct json *annotations);
void describe_head(struct describe *d, const struct json *o,
	bool labels); /* Name, Namespace and, if wished, labels and annotations */
void describe_events(struct describe *d);
/* "Mon, 02 Jan 2006 15:04:05 -0700" of an RFC 3339 text, in the local time zone. In the command's arena. */
const char *describe_time(struct describe *d, const struct json *time);
/* How long since; "<unknown>" when there is none. In the command's arena. */
const char *describe_since(struct describe *d, const struct json *time);
/* Text of a member, "" when absent; the arena's. A path of member names, closed by NULL. */
const char *describe_text(struct describe *d, const struct json *o, ...) __attribute__((sentinel));
const char *describe_value(struct describe *d, const struct json *v); /* as Go's %v prints it */
const char *describe_or_none(const char *text);
/* Members of an object in the order of their names; *out_n of them, in the arena. */
const struct json_member **describe_sorted(struct describe *d, const struct json *object, uint32_t *out_n);
/* Strings of a list with a separator; "" for none. */
const char *describe_joined(struct describe *d, const struct json *list, const char *sep);
/* Asks for a path; *out null when the server refuses (what is not there is not described). */
int describe_ask(struct describe *d, struct span path, struct json *out, struct err *err);
/* The text of a LabelSelector; "<none>" when it selects everything. */
const char *describe_selector(struct describe *d, const struct json *selector);

int describe_pod(struct describe *d, const struct json *pod, struct err *err);
void describe_pod_template(struct describe *d, const struct json *t);
void describe_quantities(struct describe *d, unsigned level, const char *title, const struct json *list);

int describe_deployment(struct describe *d, const struct json *o, struct err *err);
int describe_replica_set(struct describe *d, const struct json *o, struct err *err);
int describe_service(struct describe *d, const struct json *o, struct err *err);
int describe_node(struct describe *d, const struct json *o, struct err *err);
int describe_namespace(struct describe *d, const struct json *o, struct err *err);
int describe_config_map(struct describe *d, const struct json *o, struct err *err);
int describe_secret(struct describe *d, const struct json *o, struct err *err);
