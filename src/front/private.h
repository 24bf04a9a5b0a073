/* What the files of front share. A command is a function of `struct front`: its arguments, its cluster, its output.
 *
 *     args.c      flags by tables                        pure
 *     discover.c  what the server serves, found by name  pure
 *     print.c     tables as kubectl pads them            pure
 *     session.c   the cluster: configuration, a request waited for, complaints in kubectl's words
 *     targets.c   TYPE NAME, TYPE/NAME, -f FILE as a list of what is meant
 *     the rest    a verb or a family of verbs each
 */
#pragma once

#include "api/api.h"
#include "base/base.h"
#include "client/client.h"
#include "json/json.h"
#include "loop/loop.h"
#include "yaml/yaml.h"

/* ---- args.c */

enum front_flag_kind {
	FRONT_FLAG_BOOL,     /* bool: --x, --x=false */
	FRONT_FLAG_TEXT,     /* struct span */
	FRONT_FLAG_EACH,     /* struct front_words: each time one more, whole */
	FRONT_FLAG_LIST,     /* struct front_words: each time one more; values with commas are divided */
	FRONT_FLAG_NUMBER,   /* int64_t */
	FRONT_FLAG_DURATION, /* int64_t, in ns; a number alone counts seconds where kubectl allows that ("0") */
};
struct front_words {
	struct span *items;
	unsigned n;
};
struct front_flag {
	const char *name;
	char letter; /* 0 = none */
	enum front_flag_kind kind;
	void *value;
	const char *bare; /* of a TEXT: what --x without a value means; NULL: a value must follow */
	const char *help;
};
struct front_args {
	struct front_words words; /* what is no flag, in its order */
	int dash;                 /* how many words came before "--"; -1: there was none */
	bool help;                /* -h, --help */
};
/* Reads argv[0..argc) against n tables, each closed by a row without a name. Spans borrow argv. Class USAGE with pflag's words:
 * unknown flag: --x; unknown shorthand flag: 'x' in -x; flag needs an argument: --x; invalid argument "x" for ... */
int front_args_parse(struct arena *a, const struct front_flag *const *tables, unsigned n, int argc, char **argv,
		     struct front_args *out, struct err *err);
/* The Options section of a help page. Appended. */
void front_args_help(struct buf *out, const struct front_flag *table);
void front_words_add(struct arena *a, struct front_words *w, struct span word);

/* ---- discover.c */

struct front_resource {
	struct span group, version, plural, singular, kind;
	struct front_words short_names, categories, verbs;
	bool namespaced;
	bool preferred; /* of its group, the version the server names first */
};
/* Rows in the server's order. Spans lie in the trees they were made from. */
struct front_discovery {
	struct front_resource *rows;
	unsigned n, cap; /* cap private */
};
/* Takes in one APIGroupDiscoveryList (apidiscovery.k8s.io/v2). Call for /api first, then /apis. */
int front_discovery_add(struct front_discovery *d, struct arena *a, const struct json *list, struct err *err);
void front_discovery_done(struct front_discovery *d);
/* By what people type: plural, singular, kind, short name, with .group or .version.group behind; any case. NOT_FOUND:
 * the server doesn't have a resource type "x". */
int front_discovery_find(const struct front_discovery *d, struct span word, const struct front_resource **out, struct err *err);
/* By what a manifest says. NULL: not served. */
const struct front_resource *front_discovery_kind(const struct front_discovery *d, struct span api_version, struct span kind);
bool front_resource_can(const struct front_resource *r, const char *verb);
struct client_kind front_resource_client(const struct front_resource *r);
/* "pod", "deployment.apps": how kubectl names what it did something to. Appended. */
void front_resource_word(struct buf *out, const struct front_resource *r);

/* ---- print.c */

/* Rows of cells, padded as Go's tabwriter does it for kubectl: at least 6 wide, 3 blanks between, nothing behind the last. Widths
 * count characters. Widths only grow while the table lives, so that a watch stays in its columns. */
struct front_columns {
	struct buf cells;    /* of the rows not yet printed: 0x1f behind each cell but the last, 0x1e behind that */
	size_t width[64];    /* of columns seen so far; those beyond are not padded */
};
#define FRONT_COLUMNS_MAX 64
void front_columns_done(struct front_columns *c);
/* Control characters become visible; what follows a line end is cut off and "..." put. */
void front_columns_cell(struct front_columns *c, struct span text, bool last);
void front_columns_flush(struct front_columns *c, struct buf *out); /* appended; the widths stay */
void front_columns_forget(struct front_columns *c); /* the widths: another table follows */

enum front_table_flags {
	FRONT_TABLE_WIDE = 1 << 0,
	FRONT_TABLE_NO_HEADERS = 1 << 1,
	FRONT_TABLE_NAMESPACE = 1 << 2,   /* NAMESPACE first */
	FRONT_TABLE_SHOW_LABELS = 1 << 3, /* LABELS last */
};
/* A meta.k8s.io/v1 Table into columns. columns: of the first Table of a watch, whose later ones have none; NULL = its own.
 * name_prefix ("pod/") goes before the names; label_columns: -L. INVALID_REQUEST when it is no Table. */
struct front_table {
	const struct json *table, *columns;
	unsigned flags; /* enum front_table_flags */
	struct span name_prefix;
	struct front_words label_columns;
};
int front_table_print(const struct front_table *t, struct front_columns *out, struct err *err);

/* ---- session.c */

struct front_globals {
	struct span kubeconfig, context, cluster, user, ns, server, token, as, verbosity, request_timeout, ignored;
	struct span authority, certificate, key, tls_name; /* files; the server's name */
	struct front_words as_groups;
	bool insecure;
};
struct front {
	struct arena arena; /* of the command: all that it reads */
	struct front_globals globals;
	struct loop *loop;  /* NULL until front_connect */
	struct client_config config;
	struct client *client;
	struct span ns;     /* --namespace, else the context's, else "default" */
	struct front_discovery discovery;
	bool discovered;
	struct buf out;     /* standard output that is not yet written */
	int64_t timeout_ms; /* of a request; 0 = any */
	unsigned complaints;
	struct front_words warned; /* what the server warned of; told once each */
	/* Of what failed last, until it was complained about: did the server itself refuse it, and why. */
	struct {
		bool answered, misconfigured;
		bool bare; /* told without "error: " */
		struct span reason;
	} said;
};
int front_connect(struct front *f, struct err *err);
int front_discover(struct front *f, struct err *err); /* once; connects */
void front_done(struct front *f);
int front_flush(struct front *f, struct err *err);

struct front_request {
	const char *method; /* NULL = GET */
	struct span path, body;
	const char *content_type, *accept;
	const char *what; /* "patch services web": told when the server does not know the path; NULL = nothing */
};
/* Asks and waits. out (may be NULL): the answer's tree, in the command's arena; null when the body is empty. */
int front_ask(struct front *f, const struct front_request *r, struct json *out, struct err *err);
/* The answer as it came; appended. */
int front_ask_text(struct front *f, const struct front_request *r, struct buf *out, struct err *err);
/* A long answer; data returns false to stop listening. Waits for the end; until_ms: at most that long (0 = for ever), TIMEOUT. */
int front_stream(struct front *f, struct span path, const char *accept, bool (*data)(struct front *f, struct span data, void *arg),
		 void *arg, int64_t until_ms, struct err *err);
/* Prints a failure on standard error as kubectl does and clears it; the command's status becomes 1. note: put before the
 * server's message ("error when creating \"x.yaml\""), NULL = none. Returns -class. */
int front_complain(struct front *f, struct err *err, const char *note);

/* ---- targets.c */

struct front_target {
	const struct front_resource *resource;
	struct span ns, name;  /* empty name: all (or all that the selector means) */
	struct json object;    /* of a manifest; null otherwise */
	struct span source;    /* file, for messages; empty otherwise */
};
struct front_targets {
	struct front_target *items;
	unsigned n, cap; /* cap private */
	unsigned kinds;  /* how many different resources */
};
void front_targets_done(struct front_targets *t);
/* What the words mean: "pods", "pods,svc", "pod a b", "pod/a svc/b". */
int front_targets_words(struct front *f, const struct front_words *words, struct front_targets *out, struct err *err);
/* What files say: YAML or JSON of many objects, lists taken apart; "-" is standard input, a folder its *.yaml, *.yml, *.json. */
int front_targets_files(struct front *f, const struct front_words *files, bool recursive, bool all_namespaces_given,
			struct front_targets *out, struct err *err);
/* Targets without a name, which mean all objects of their type, become one for each (selectors: of those that they mean). */
int front_targets_expand(struct front *f, struct front_targets *t, struct span selector, struct span field_selector,
	struct err *err);
void front_target_path(struct buf *out, const struct front_target *t, const char *sub);

/* ---- pods.c */

/* The object that is meant and the pod that stands for it: itself, or of those that it selects a ready one, the oldest. *out_n: how
 * many there were. USAGE: it selects none by its nature; TIMEOUT: there is none. */
int front_pod_of(struct front *f, const struct front_target *t, struct json *out_object, struct json *out_pod, unsigned *out_n,
		 struct err *err);
int front_pods_list(struct front *f, struct span ns, struct span selector, struct json *out, struct err *err);
/* Which container is meant when none is named: the annotation's, else the first, which is said when there are several. */
int front_pod_container(const struct json *pod, bool quiet, struct span *out, struct err *err);

/* ---- create.c */

/* What `create TYPE NAME` was given by flags. */
struct front_generator {
	struct front_words literals, files, images, command; /* command: what stood behind "--" */
	int64_t replicas, port;                              /* port -1: none */
};
/* The object that the words mean: configmap, deployment, namespace, secret generic. USAGE: another, or no name. */
int front_generate(struct front *f, const struct front_generator *g, const struct front_words *words, struct json *out,
		   struct err *err);

/* ---- verbs */

struct front_verb {
	const char *name;
	int (*run)(struct front *f, int argc, char **argv); /* argv[0] is the verb; returns the exit status */
	const char *help;
};
int front_config_main(struct front *f, int argc, char **argv);
int front_version_main(struct front *f, int argc, char **argv);
int front_cluster_info_main(struct front *f, int argc, char **argv);
int front_exec_main(struct front *f, int argc, char **argv);
int front_explain_main(struct front *f, int argc, char **argv);
int front_port_forward_main(struct front *f, int argc, char **argv);
int front_get_main(struct front *f, int argc, char **argv);
int front_apply_main(struct front *f, int argc, char **argv);
int front_create_main(struct front *f, int argc, char **argv);
int front_delete_main(struct front *f, int argc, char **argv);
int front_describe_main(struct front *f, int argc, char **argv);
int front_logs_main(struct front *f, int argc, char **argv);
int front_scale_main(struct front *f, int argc, char **argv);
int front_rollout_main(struct front *f, int argc, char **argv);
int front_api_resources_main(struct front *f, int argc, char **argv);
int front_api_versions_main(struct front *f, int argc, char **argv);
/* Reads the flags of a verb together with the global ones; prints the help page when it was asked for (then 1), complains
 * with "See 'kubectl VERB --help' for usage." (then -class). */
int front_verb_args(struct front *f, const char *verb, const char *usage, const char *about, const struct front_flag *flags,
		    int argc, char **argv, struct front_args *out);
