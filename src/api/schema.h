/* Types: what an object may hold, field by field. Part of the seam of api.
 *
 * A type is a recursive node: a scalar, an object with fields, a list or a map with one element type. The built-in types are
 * read-only tables of the program, generated from schema/ (one text file per group version, see schema/README.md);
 * a custom resource adds nodes on the heap (struct api_types below). Code that walks types cannot see the difference, and
 * codecs, pruning, defaulting, validation, merging, apply, OpenAPI and printing are all such walks:
 *
 *     const struct api_type *t = api_type_find(SPAN("core/v1.Pod"));
 *     const struct api_field *f = api_type_field(t, SPAN("spec"));         // NULL: unknown field
 *     t = api_field_type(f);                                               // an API_OBJECT, core/v1.PodSpec
 *     t = api_field_type(api_type_field(t, SPAN("containers")));           // an API_LIST
 *     api_type_list(t) == API_LIST_MAP, api_type_key(t, 0) is "name", api_type_elem(t) is core/v1.Container
 *
 * Objects are `struct json` trees (json/json.h) checked against a type (codec.h). How kinds look in a tree:
 *
 *     STRING                JSON_STRING
 *     INT32 INT64 UINT64    JSON_INT (JSON_UINT above INT64_MAX); in range
 *     BOOL, DOUBLE          JSON_BOOL; any number
 *     BYTES                 JSON_STRING, base64 with padding
 *     BLOB                  JSON_STRING of the raw bytes, not UTF-8 (bytes fields of CRI and etcd; these never become JSON)
 *     TIME                  JSON_STRING, RFC 3339 with seconds, UTC; MICROTIME with six digits of fraction
 *     DURATION              JSON_STRING as Go prints it ("1m30s")
 *     QUANTITY              JSON_STRING in canonical form (quantity.h)
 *     INTORSTRING           JSON_INT (int32) or JSON_STRING
 *     RAW, ANY              any value
 *     OBJECT, MAP, LIST     JSON_OBJECT, JSON_OBJECT, JSON_ARRAY
 *     UNION                 one of three JSON forms, see api_type_union
 * An absent member is the zero value of its type (Go's meaning); a decoded tree holds no null members outside RAW and ANY.
 *
 * Ownership: built-in nodes live as long as the program; nodes of a `struct api_types` as long as a reference to it.
 * All nodes are immutable once visible, so any thread may read them. No function here fails or allocates unless it says so.
 */
#pragma once

#include "base/base.h"

struct api_type;
struct api_field;
struct api_enum;

enum api_kind {
	API_STRING,
	API_INT32,
	API_INT64,
	API_UINT64, /* CRI and etcd only; uint32 too (api_type_flags has API_TYPE_32BIT) */
	API_BOOL,
	API_DOUBLE,
	API_BYTES,
	API_BLOB,
	API_TIME,
	API_MICROTIME,
	API_DURATION,
	API_QUANTITY,
	API_INTORSTRING,
	API_RAW,
	API_ANY,
	API_OBJECT,
	API_LIST,
	API_MAP,
	API_UNION,
	API_KIND_COUNT
};

enum api_type_flags {
	API_TYPE_ATOMIC = 1 << 0,   /* apply replaces it as a whole (structType, mapType or listType atomic) */
	API_TYPE_GRANULAR = 1 << 1, /* said to be granular */
	API_TYPE_CUSTOM = 1 << 2,   /* node of a custom resource: kinds are checked by validation, not by decoding, and
				     * objects are written with sorted keys */
	API_TYPE_PRESERVE = 1 << 3, /* x-kubernetes-preserve-unknown-fields: unknown fields stay */
	API_TYPE_EMBEDDED = 1 << 4, /* a custom resource's root, or x-kubernetes-embedded-resource: an object of its own */
	API_TYPE_NULLABLE = 1 << 5,
	API_TYPE_WRAPPED = 1 << 6,  /* list that is a message of its own in protobuf (ExtraValue, Verbs) */
	API_TYPE_PROTO3 = 1 << 7,   /* object of CRI or etcd: zero values are not on the wire, numbers are packed */
	API_TYPE_TOP = 1 << 8,      /* has apiVersion and kind of its own */
	API_TYPE_IS_LIST = 1 << 9,  /* is the list object of a kind (PodList) */
	API_TYPE_32BIT = 1 << 10,
	API_TYPE_NO_WIRE = 1 << 11, /* has no protobuf form (Table) */
};

enum api_list_type {
	API_LIST_NONE, /* no marker: apply treats it as atomic */
	API_LIST_ATOMIC,
	API_LIST_SET,
	API_LIST_MAP, /* by the keys of api_type_key */
};

enum api_field_flags {
	API_FIELD_OMITEMPTY = 1 << 0, /* left out of JSON when false, 0, "", null or an empty list or map (but never
				       * because of that when it is a non-pointer object, quantity, intorstring or time) */
	API_FIELD_POINTER = 1 << 1,   /* absent differs from zero */
	API_FIELD_OPTIONAL = 1 << 2,  /* the optional marker */
	API_FIELD_REQUIRED = 1 << 3,  /* required in the schema: neither omitempty nor optional (or a custom resource's list) */
	API_FIELD_NO_WIRE = 1 << 4,   /* not in protobuf */
	API_FIELD_HIDDEN = 1 << 5,    /* not in JSON: protobuf-only shape */
	API_FIELD_ONEOF = 1 << 6,     /* CRI, etcd: present even when zero */
	API_FIELD_PATCH_MERGE = 1 << 7,    /* patchStrategy holds merge */
	API_FIELD_PATCH_REPLACE = 1 << 8,  /* ... replace */
	API_FIELD_RETAIN_KEYS = 1 << 9,    /* ... retainKeys */
	API_FIELD_INLINED = 1 << 10,       /* comes from a struct that is inlined here */
};

/* ---- nodes */
/* A built-in struct by "group/version.Type" with the short group name, as in the schema files: "core/v1.Pod",
 * "meta/v1.ObjectMeta", "rbac/v1.Role", "cri.Container", "etcdserverpb.RangeRequest". NULL when unknown. */
const struct api_type *api_type_find(struct span name);
enum api_kind api_type_kind(const struct api_type *t);
unsigned api_type_flags(const struct api_type *t);
/* The name as above; for lists, maps and scalars the Go type's text ("[]v1.Container", "map[string]string", "int32"). */
struct span api_type_name(const struct api_type *t);
/* As Go prints the type in error messages: "v1.PodSpec", "[]v1.Container", "map[string]string", "int32". Appended. */
void api_type_go_name(const struct api_type *t, struct buf *out);
/* Item of a list, value of a map; NULL for other kinds. */
const struct api_type *api_type_elem(const struct api_type *t);
enum api_list_type api_type_list(const struct api_type *t);
unsigned api_type_n_keys(const struct api_type *t);
struct span api_type_key(const struct api_type *t, unsigned i);
/* UNION: the struct that tells its forms (apiextensions only). Which form by the value:
 * OR_ARRAY object or list of it; OR_BOOL true, false or an object; OR_STRINGS an object or a list of strings.
 * api_type_elem gives the object type. */
enum api_union { API_UNION_OR_ARRAY, API_UNION_OR_BOOL, API_UNION_OR_STRINGS };
enum api_union api_type_union(const struct api_type *t);
/* Rules that only validation knows (bounds, patterns): what api_types_object & co. were given. NULL for built-in types. */
const void *api_type_rules(const struct api_type *t);
/* Default of a custom resource's node as JSON text, empty when none. Built-in defaults are on fields. */
struct span api_type_default(const struct api_type *t);

/* ---- fields of an OBJECT, in Go's order, those of inlined structs in their place. Hidden ones are not among them. */
unsigned api_type_n_fields(const struct api_type *t);
const struct api_field *api_type_field_at(const struct api_type *t, unsigned i);
/* By JSON name (exact, as Kubernetes decodes); NULL when there is none. About 10 ns. */
const struct api_field *api_type_field(const struct api_type *t, struct span name);
/* The position of f in t, which must be its type. */
unsigned api_field_index(const struct api_type *t, const struct api_field *f);

struct span api_field_name(const struct api_field *f); /* the same pointer for the same name: built-in names are pooled */
const struct api_type *api_field_type(const struct api_field *f);
unsigned api_field_flags(const struct api_field *f);
static inline bool api_field_has(const struct api_field *f, unsigned flags)
{
	return (api_field_flags(f) & flags) == flags;
}
uint32_t api_field_num(const struct api_field *f);          /* protobuf number; of an inlined field within its struct */
struct span api_field_merge_key(const struct api_field *f); /* patchMergeKey; empty = none */
struct span api_field_default(const struct api_field *f);   /* JSON text of the +default marker; empty = none */
struct span api_field_go_name(const struct api_field *f);
struct span api_field_markers(const struct api_field *f);   /* other markers, as in the schema file, ';' between */
/* The named string type of the value (of the items, for a list), e.g. core/v1.PullPolicy; NULL = plain. */
const struct api_enum *api_field_enum(const struct api_field *f);

/* ---- named string types */
const struct api_enum *api_enum_find(struct span name); /* "core/v1.PullPolicy" */
struct span api_enum_name(const struct api_enum *e);
bool api_enum_closed(const struct api_enum *e); /* a value outside the set is invalid */
unsigned api_enum_n_values(const struct api_enum *e);
struct span api_enum_value(const struct api_enum *e, unsigned i); /* in the order of the source */

/* ---- methods of CRI and etcd, for gRPC clients and servers */
struct api_rpc {
	struct span path; /* "/runtime.v1.RuntimeService/Version", as HTTP/2's :path has it */
	const struct api_type *request, *response;
	bool request_stream, response_stream;
};
bool api_rpc_find(struct span path, struct api_rpc *out); /* false when unknown */
unsigned api_rpc_count(void);
struct api_rpc api_rpc_at(unsigned i); /* ordered by path */

/* ---- types added at run time: the nodes of one custom resource, built bottom-up, then shared.
 *
 * One thread builds; nothing is visible to others before the set is handed on. Names, keys and rules are copied (rules
 * are borrowed). Elements may be built-in types (meta/v1.ObjectMeta) or nodes of the same set. Nodes are CUSTOM. */
struct api_types;
struct api_types *api_types_new(void); /* one reference */
void api_types_unref(struct api_types *set); /* accepts NULL; any thread */
struct arena *api_types_arena(struct api_types *set); /* for rules and what else lives as long */

struct api_node_opts {
	unsigned flags;           /* enum api_type_flags */
	struct span default_json; /* empty = none */
	const void *rules;
};
struct api_field_spec {
	struct span name;
	const struct api_type *type;
	unsigned flags; /* enum api_field_flags */
};
/* opts may be NULL. The scalar kinds: STRING INT32 INT64 BOOL DOUBLE BYTES INTORSTRING ANY. */
const struct api_type *api_types_scalar(struct api_types *set, enum api_kind kind, const struct api_node_opts *opts);
const struct api_type *api_types_list(struct api_types *set, const struct api_type *elem, enum api_list_type list_type,
				      const struct span *keys, unsigned n_keys, const struct api_node_opts *opts);
const struct api_type *api_types_map(struct api_types *set, const struct api_type *elem, const struct api_node_opts *opts);
/* At most 65,000 fields with different names; more abort (bound them first). With API_TYPE_EMBEDDED (a custom resource's
 * root, and x-kubernetes-embedded-resource) apiVersion, kind and the built-in metadata are among the fields by themselves. */
const struct api_type *api_types_object(struct api_types *set, struct span name, const struct api_field_spec *fields,
					unsigned n_fields, const struct api_node_opts *opts);
