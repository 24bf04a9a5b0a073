/* A compiled schema: a tree of nodes in the arena of the row's api_types. Private to custom.
 *
 * One node per schema, also for those inside allOf, anyOf, oneOf and not (which have a type only in the two patterns of
 * x-kubernetes-int-or-string). Structural nodes have their api_type beside them, which decodes, prunes, merges and publishes;
 * the node knows what only validation and defaulting need. */
#pragma once

#include "custom/custom.h"
#include "regex/regex.h"

enum schema_type {
	SCHEMA_ANY,
	SCHEMA_OBJECT,
	SCHEMA_ARRAY,
	SCHEMA_STRING,
	SCHEMA_INTEGER,
	SCHEMA_NUMBER,
	SCHEMA_BOOLEAN,
	SCHEMA_TYPE_COUNT
};

enum { /* node.has */
	HAS_MAXIMUM = 1 << 0,
	HAS_MINIMUM = 1 << 1,
	HAS_MAX_LENGTH = 1 << 2,
	HAS_MIN_LENGTH = 1 << 3,
	HAS_MAX_ITEMS = 1 << 4,
	HAS_MIN_ITEMS = 1 << 5,
	HAS_MAX_PROPERTIES = 1 << 6,
	HAS_MIN_PROPERTIES = 1 << 7,
	HAS_MULTIPLE_OF = 1 << 8,
};

struct property {
	struct span name;
	struct node *node;
};

struct node {
	enum schema_type type;
	unsigned has;
	bool int_or_string, nullable, preserve, embedded, exclusive_maximum, exclusive_minimum;
	bool additional_true, additional_false; /* additionalProperties: true, false */
	bool map_atomic;
	enum api_list_type list;
	double maximum, minimum, multiple_of;
	int64_t max_length, min_length, max_items, min_items, max_properties, min_properties;
	struct span format, pattern; /* format: only one that is checked */
	struct regex *regex;
	const struct json *dflt;     /* NULL = none */
	const struct json *enums;    /* array or NULL */
	struct span *required, *keys;
	unsigned n_required, n_keys, n_properties, n_all, n_any, n_one;
	struct property *properties; /* by name */
	struct node *items, *additional, *not_;
	struct node **all, **any, **one;
	const struct json *source;   /* the schema itself */
	const struct api_type *api;  /* NULL of nodes inside allOf and the like */
};

/* Behind api_resource.owner of a row of ours. */
struct custom_row {
	const struct json *crd, *version; /* copies in the arena of the types */
	struct node *root;
	bool has_status, has_scale;
	struct custom_scale scale;
	struct span warning;
};

/* ---- compile.c */
/* The schema must have passed custom_schema_check, or else INVALID. schema and a live as long as the node; root of a
 * resource when is_root. set NULL: no api types (a schema that is only checked). */
int custom_node_compile(struct arena *a, struct api_types *set, const struct json *schema, bool is_root, struct node **out,
		 struct err *err);
struct node *custom_node_property(const struct node *n, struct span name); /* NULL when there is none */
enum schema_type custom_schema_type_of(struct span name);		    /* SCHEMA_TYPE_COUNT: unknown */

/* ---- paths: chains on the stack, made into text when something is wrong */
struct place {
	const struct place *up;
	struct span name; /* ".name", or "[name]" when keyed */
	int64_t index;	  /* >= 0: [index] */
	bool keyed;
};
#define PLACE(up_, name_) ((const struct place){ .up = (up_), .name = (name_), .index = -1 })
#define PLACE_KEY(up_, name_) ((const struct place){ .up = (up_), .name = (name_), .index = -1, .keyed = true })
#define PLACE_INDEX(up_, i_) ((const struct place){ .up = (up_), .index = (int64_t)(i_) })
void custom_place_text(const struct place *p, struct buf *out);

/* ---- complain.c */
struct complaints {
	struct err *err;
	unsigned n;
};
/* value NULL: upstream's nil, which prints as "null". */
void custom_complain(struct complaints *c, struct span at, enum api_field_error type, const struct json *value,
		     struct span detail);
/* As fmt's %#v shows decoded JSON: map[string]interface {}{"a":1}. Scalars as a field error shows them. */
void custom_value_show(struct buf *out, const struct json *v);

/* ---- format.c */
bool custom_format_known(struct span format); /* others are not checked, as upstream */
bool custom_format_matches(struct span format, struct span text);

/* ---- validate.c: the schema alone. old is the same place of the old object, NULL when there is none to compare with; base is
 * the path that field paths begin with ("", "status"). */
void custom_validate_value(struct arena *a, const struct node *n, struct span base, const struct json *value,
			   const struct json *old, struct complaints *c);

/* ---- lists.c */
void custom_lists_validate(struct arena *a, const struct node *n, const struct json *object, struct complaints *c);
void custom_embedded_validate(const struct custom_change *ch, const struct node *n, const struct json *object,
			      struct complaints *c);
/* The same for a default value below at; no function for metadata. */
void custom_embedded_validate_at(struct arena *a, struct span at, const struct node *n, const struct json *value,
				 struct complaints *c);

/* ---- structural.c: is the schema structural? (apiserver/schema/validation.go, complete.go) */
void custom_structural_check(struct span base, const struct json *schema, struct complaints *c);

/* ---- default.c */
void custom_default_value(struct arena *a, const struct node *n, struct json *value);
void custom_prune_nulls(const struct node *n, struct json *value);
/* Upstream's pruning by nodes alone (api_decode_tree does it for objects); true when something went. */
bool custom_prune_value(const struct node *n, struct json *value);
