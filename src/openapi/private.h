/* What the files of openapi share. */
#pragma once

#include "openapi/openapi.h"

/* ---- descriptions (describe.c) */
struct openapi_words {
	struct map types; /* name of a type -> its entry, a struct openapi_entry */
	struct arena arena;
};
struct openapi_entry {
	struct span name, sentence;
	struct span fields; /* "\tfield\001sentence\n", ordered by name */
};
void openapi_words_init(struct openapi_words *w);
void openapi_words_done(struct openapi_words *w);
const struct openapi_entry *openapi_words_type(const struct openapi_words *w, struct span name); /* NULL when unknown */
/* Fields must be asked for in byte order of their names: *rest walks forward. */
struct span openapi_words_next(struct span *rest, struct span field);

/* The table that tools/gen/openapi_words.py makes: zlib, then lines. */
extern const unsigned char openapi_words_packed[];
extern const unsigned openapi_words_packed_len, openapi_words_len, openapi_words_types;

/* ---- a document being made */
struct openapi {
	struct api_registry *registry; /* a reference */
	struct openapi_opts opts;
	struct openapi_words words;
	struct arena arena;
	struct map kinds;      /* name of a built-in type -> struct openapi_kind: which kinds it is */
	struct span *v3_paths; /* in byte order */
	unsigned n_v3_paths;
};
struct openapi_kind {
	struct span group, version, kind;
	struct openapi_kind *next;
};
/* Is the row in the documents? */
bool openapi_row_shown(const struct openapi *o, const struct api_resource *r);

#define json_addl(a, object, literal, value) json_add((a), (object), SPAN(literal), (value))

struct openapi_doc {
	struct openapi *o;
	struct arena *a;
	bool v3;
	struct map defs;            /* name in the document -> struct openapi_def */
	struct openapi_def *todo;   /* named somewhere, schema not made yet */
	struct openapi_def **list;  /* all of them */
	unsigned n_defs, room_defs;
	const struct api_resource *resource; /* the custom resource whose nodes are walked */
};

/* Definitions (defs.c). A def is named first and made later, so that types may hold each other. */
struct openapi_def {
	struct span name; /* io.k8s.api.core.v1.Pod */
	const struct api_type *type;         /* built in, or the root of a custom resource */
	const struct api_resource *resource; /* of a custom resource */
	const struct openapi_fixed *fixed;
	bool is_list; /* the list of a custom resource */
	struct json ref;    /* {"$ref": ...} */
	struct json schema; /* once made */
	struct openapi_def *next;
};
struct openapi_fixed { /* a type that has no fields of its own */
	const char *type;       /* "meta/v1.Time" */
	const char *name;       /* in the document; NULL = by the rule */
	const char *v2, *v3;    /* schema without description, JSON */
};
struct openapi_def *openapi_def_type(struct openapi_doc *d, const struct api_type *t);
struct openapi_def *openapi_def_named(struct openapi_doc *d, const char *type); /* built in or fixed */
struct openapi_def *openapi_def_root(struct openapi_doc *d, const struct api_resource *r); /* built in or custom */
struct openapi_def *openapi_def_list(struct openapi_doc *d, const struct api_resource *r);
/* The schemas of all defs and of what they name, ordered by name. */
struct json openapi_defs_make(struct openapi_doc *d);
/* Schema of a scalar for a parameter: type and format. */
void openapi_scalar(struct openapi_doc *d, const struct api_type *t, struct json *schema);
struct json openapi_kind_json(struct arena *a, struct span group, struct span version, struct span kind);

/* Paths (paths.c): those of group version `gv`, or of all and the roots when NULL. */
struct json openapi_paths_all(struct openapi_doc *d, struct json *out_parameters);
struct json openapi_paths_of(struct openapi_doc *d, struct span v3_path);

/* Protobuf (gnostic.c) */
void openapi_gnostic_v2(const struct json *document, struct buf *out);
void openapi_gnostic_v3(const struct json *document, struct buf *out);
