/* Label and field selectors. Part of the seam of api.
 *
 *     struct api_label_selector sel;
 *     if (api_label_selector_parse(&arena, SPAN("app=web,tier in (a,b),!old"), &sel, err) < 0) ...
 *     if (api_label_selector_match(&sel, json_path(pod, "metadata", "labels", NULL))) ...
 *
 * A selector is a conjunction of requirements, sorted by key; it lives in the arena that it was made in, borrows the text it
 * was made from, never changes, and any thread may match with it. Matching allocates nothing.
 */
#pragma once

#include "api/resource.h"
#include "json/json.h"

/* ---- labels */
enum api_selector_op {
	API_SEL_IN,
	API_SEL_NOT_IN,
	API_SEL_EQUALS,
	API_SEL_DOUBLE_EQUALS,
	API_SEL_NOT_EQUALS,
	API_SEL_GREATER,
	API_SEL_LESS,
	API_SEL_EXISTS,
	API_SEL_NOT_EXISTS,
	API_SEL_OP_COUNT
};

struct api_requirement {
	struct span key;
	enum api_selector_op op;
	unsigned n_values;
	const struct span *values; /* sorted, each once */
	int64_t number;            /* of GREATER and LESS */
};

struct api_label_selector {
	bool nothing; /* matches no object at all (a selector that is absent where one is needed) */
	unsigned n;   /* 0: matches everything */
	const struct api_requirement *reqs;
};

/* What stands behind ?labelSelector=: k=v, k==v, k!=v, k in (a,b), k notin (a), k, !k, k>1, k<1, with commas. Class
 * INVALID_REQUEST, upstream's words: unable to parse requirement: found '=', expected: ... */
int api_label_selector_parse(struct arena *a, struct span text, struct api_label_selector *out, struct err *err);
/* A metav1.LabelSelector object: NULL matches nothing, an empty one everything. Class INVALID when it makes no sense. */
int api_label_selector_of(struct arena *a, const struct json *selector, struct api_label_selector *out, struct err *err);
/* A map of labels (Service, ReplicationController): each must be there with its value; an empty one matches everything. */
void api_label_selector_of_map(struct arena *a, const struct json *map, struct api_label_selector *out);
/* Canonical text: sorted keys, sorted values, "app=web,tier in (a,b),!old". Appended. */
void api_label_selector_print(const struct api_label_selector *sel, struct buf *out);
/* The only value that can match for this key, when there is one: for indexes. */
bool api_label_selector_exact(const struct api_label_selector *sel, struct span key, struct span *out_value);
/* Field errors of a LabelSelector object at path ("spec.selector") as causes of err; their number. values_lax: values of
 * old objects that are no label values are let through. */
unsigned api_label_selector_validate(const struct json *selector, struct span path, bool values_lax, struct err *err);

/* labels: an object of strings, NULL for none. */
bool api_label_selector_match(const struct api_label_selector *sel, const struct json *labels);

/* Labels taken out of an object once, for matching many selectors: sorted by key. */
struct api_label {
	struct span key, value; /* borrowed from the object */
};
struct api_label_set {
	unsigned n;
	const struct api_label *items;
};
struct api_label_set api_label_set_of(struct arena *a, const struct json *labels);
bool api_label_selector_match_set(const struct api_label_selector *sel, const struct api_label_set *set);

/* ---- fields */
struct api_field_term {
	struct span field, value; /* value unescaped */
	bool negative;            /* != */
};
struct api_field_selector {
	unsigned n; /* 0: matches everything */
	const struct api_field_term *terms;
};
/* What stands behind ?fieldSelector=: f=v, f==v, f!=v with commas; "\\", "\," and "\=" in values. Class INVALID_REQUEST,
 * upstream's words: invalid selector: 'x'; can't understand 'x'. */
int api_field_selector_parse(struct arena *a, struct span text, struct api_field_selector *out, struct err *err);
/* Are all its fields selectable for this resource? Class INVALID_REQUEST in the words of the resource's kind. */
int api_field_selector_check(const struct api_field_selector *sel, const struct api_resource *resource, struct err *err);
void api_field_selector_print(const struct api_field_selector *sel, struct buf *out);
bool api_field_selector_exact(const struct api_field_selector *sel, struct span field, struct span *out_value);
/* Matches against the values that api_field_value gives. */
bool api_field_selector_match(const struct api_field_selector *sel, const struct api_resource *resource,
			      const struct json *object);
/* The text that a selectable field compares with: the member that its label names, with the exceptions of
 * field_selectors.tsv (spec.host, status.podIP, source, ...); empty when absent. scratch holds numbers. */
struct span api_field_value(const struct api_resource *resource, struct span field, const struct json *object,
			    char scratch[32]);
