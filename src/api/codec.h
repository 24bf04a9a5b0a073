/* Codec: bytes of JSON, YAML and protobuf <-> checked trees. Part of the seam of api.
 *
 *     struct api_decode d = { .strict = true };
 *     if (api_decode_json(&arena, type, body, &d, &object, err) < 0)
 *             return err;                      // INVALID_REQUEST, Go's words
 *     ...
 *     api_encode_json(&out, type, &object, 0);   // Go's bytes for the typed object
 *
 * Decoding checks every value against its type and brings it to canonical form (times, quantities, base64), drops nulls
 * and unknown fields, and makes keys point at the table's names, which is how encoders know members without comparing
 * them. Members keep the order of the text; encoders put Go's. A tree that code has changed, by any means of json.h, encodes
 * as well. All functions are pure: they share nothing between threads, and allocate in the arena or the buf given.
 *
 * Numbers inside RAW and ANY values lose how they were written ("1.0" comes back as 1), because they too are trees.
 *
 * Bounds: text 16 MB (the server's own limit of 3 MB comes earlier), depth 200, 2 million values; protobuf 64 MB, depth
 * 100, 4 million values.
 */
#pragma once

#include "api/schema.h"
#include "json/json.h"

struct api_decode {
	bool strict;       /* in: any unknown or duplicate field is an error, in Kubernetes' words:
			    * strict decoding error: unknown field "spec.foo", duplicate field "spec.x" */
	bool keep_unknown; /* in: unknown fields stay in the tree (still listed) */
	unsigned n_found;  /* out: entries of found; at most 100, each once, as upstream */
	struct span *found; /* out, in the arena: `unknown field "spec.foo"`, in the order of the text, as Warning headers
			     * show them; in YAML a key that is there twice comes first, in YAML's words
			    * (of a custom resource: what was there twice, what metadata does not know, the rest by name) */
};

/* The text must outlive the tree (strings are borrowed from it). d may be NULL. Classes: INVALID_REQUEST, TOO_LARGE. The message
 * is Go's; the API server puts `Deployment in version "v1" cannot be handled as a Deployment: ` before it. */
int api_decode_json(struct arena *a, const struct api_type *t, struct span text, struct api_decode *d,
		    struct json *out, struct err *err);
int api_decode_yaml(struct arena *a, const struct api_type *t, struct span text, struct api_decode *d,
		    struct json *out, struct err *err);
/* The same checks on a tree that is there already (parsed YAML, a patched object); changes it in place. */
int api_decode_tree(struct arena *a, const struct api_type *t, struct json *tree, struct api_decode *d, struct err *err);

/* JSON that has no type (a patch): only repeated fields are found; the last value of each stays. d is wanted. */
int api_decode_any(struct arena *a, struct span text, struct api_decode *d, struct json *out, struct err *err);
/* Adds an entry to found, unless it is there or the list is full. Copied. */
void api_decode_note(struct arena *a, struct api_decode *d, struct span what);

/* Go's JSON of the typed object: field order, omitempty, zero values that Go always writes ("creationTimestamp":null,
 * "status":{}), map keys sorted, HTML escapes. Appended to out; no newline. Objects of custom resources: keys
 * sorted at every level. The tree need not be in order. style: 0 or JSON_PRETTY. */
void api_encode_json(struct buf *out, const struct api_type *t, const struct json *v, unsigned style);
/* As sigs.k8s.io/yaml writes it: keys sorted. */
void api_encode_yaml(struct buf *out, const struct api_type *t, const struct json *v);

/* ---- protobuf. A message alone, without the envelope. Appended. INVALID when a value has no wire form (bad time, ...),
 * NOT_ACCEPTABLE when the type has none (custom resources, Table). */
int api_encode_message(struct buf *out, const struct api_type *t, const struct json *v, struct err *err);
/* Strings are borrowed from data. Unknown numbers are skipped. Class INVALID_REQUEST. */
int api_decode_message(struct arena *a, const struct api_type *t, struct span data, struct json *out, struct err *err);

/* Kubernetes' file form: "k8s\0" and runtime.Unknown. On the wire apiVersion and kind are in the envelope only; in the
 * tree they are members of the object. */
#define API_PROTO_MAGIC SPAN("k8s\0")
struct api_envelope {
	struct span api_version, kind;
	struct span raw; /* the message */
	struct span content_encoding, content_type;
};
int api_envelope_read(struct span data, struct api_envelope *out, struct err *err);
/* The other way, around a message that is encoded already. Appended. */
void api_envelope_write(struct buf *out, struct span api_version, struct span kind, struct span raw);
int api_encode_proto(struct buf *out, const struct api_type *t, const struct json *v, struct err *err);
int api_decode_proto(struct arena *a, const struct api_type *t, struct span data, struct json *out, struct err *err);

/* A watch event, metav1.WatchEvent, as it travels in protobuf watches: its object is not JSON but an envelope of its own, so
 * that events carry what the store already has encoded. The framing of the stream (four bytes of length) is the caller's. */
void api_encode_watch_event(struct buf *out, struct span type, struct span object);
int api_decode_watch_event(struct span data, struct span *out_type, struct span *out_object, struct err *err);

/* apiVersion and kind of an object without decoding it, from JSON (top-level members only) or the envelope. Empty when absent. */
int api_peek_gvk(struct arena *a, struct span text, struct span *out_api_version, struct span *out_kind, struct err *err);
