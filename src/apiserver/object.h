/* Stored objects as bytes. Private to apiserver.
 *
 * A stored value is the canonical JSON of the object in its storage version, without metadata.resourceVersion: the commit's
 * revision is what belongs there, and it is not known before (ARCHITECTURE rule 3). Every object is written with kind and
 * apiVersion first and metadata next, whose first members are name, generateName, namespace, selfLink and uid; so the two places
 * at which something else may have to stand are found by skipping a handful of short strings (some 50 ns), and need
 * not be kept:
 *
 *     {"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"d","uid":"...","creationTimestamp":...
 *     ^ head                          ^ body                                           ^ rv: here goes ,"resourceVersion":"7"
 *
 * Readers join head, body up to rv, the revision and the rest; nothing is parsed, nothing of the object is copied before it is
 * sent. */
#pragma once

#include "api/api.h"

/* /registry/GROUP/RESOURCE/NS/NAME; the core group is written "core", cluster-scoped kinds have no NS part. Names hold
 * no slash, so every prefix is exact. ns empty: all namespaces; name empty: a prefix that ends in a slash. Appended. */
void object_key(struct buf *out, const struct api_resource *res, struct span ns, struct span name);
/* The parts of a key; false when it is none of this resource. */
bool object_key_read(struct span key, const struct api_resource *res, struct span *out_ns, struct span *out_name);

/* Encodes a tree for storage: kind and apiVersion of the storage version, resourceVersion left out. Appended. */
void object_encode(struct buf *out, const struct api_resource *res, struct json *tree, struct arena *a);

struct object_marks {
	uint32_t body; /* offset of "metadata" */
	uint32_t rv;   /* offset inside metadata at which the member resourceVersion belongs, its comma in front */
	bool first;    /* it would be metadata's first member: no comma in front, but one behind unless `last` */
	bool last;     /* nothing follows in metadata */
};
/* False when the bytes are not of that form: damaged, or not written by object_encode. */
bool object_marks(struct span value, struct object_marks *out);

/* The object as sent: {"kind":..,"apiVersion":.., and so on; without kind and apiVersion when kind is empty (items of typed
 * lists). Appended. False as object_marks. */
bool object_write(struct buf *out, struct span value, int64_t rev, struct span kind, struct span api_version);
/* The same without the end: what comes after is *out_rest, lying in value. */
bool object_write_head(struct buf *out, struct span value, int64_t rev, struct span kind, struct span api_version,
		       struct span *out_rest);
/* Are the stored bytes what readers of res get? Not where another version is stored, nor of custom resources, which are read by
 * what their definition says today. */
bool object_as_stored(const struct api_resource *res);
/* Decodes a stored value into a tree of res' own version, with its resourceVersion. The strings borrow from value and from the
 * arena. */
int object_read(struct arena *a, const struct api_resource *res, struct span value, int64_t rev, struct json *out,
		struct err *err);
