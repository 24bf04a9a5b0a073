/* OpenAPI documents of a registry snapshot: what kubectl, client generators and editors read to know the API.
 *
 * Pure functions of a snapshot (api/resource.h): no server, no clock, no state outside the struct. The same snapshot gives
 * the same bytes, in any process.
 *
 *     struct openapi *o = openapi_new(registry, NULL);        // one per registry generation, not kept
 *     openapi_v2(o, OPENAPI_JSON, &buf);                      // gzip it, keep the gzip, forget the buf
 *     openapi_etag(buf_span(&buf), tag);
 *     for (unsigned i = 0; i < openapi_v3_count(o); i++)
 *             openapi_v3(o, openapi_v3_path(o, i), OPENAPI_JSON, &buf) ...
 *     openapi_v3_index(o, &buf);
 *     openapi_free(o);
 *
 * What the documents hold
 * - v2 (Swagger 2.0): one document of every path and every type that a path can reach. v3 (OpenAPI 3.0): one document for each
 *   group version, and small ones for "api", "apis", "apis/GROUP", "version" and the two OpenID paths.
 * - Names as everybody else has them: io.k8s.api.core.v1.Pod, io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta; of a custom
 *   resource the group reversed, com.example.v1.Foo and com.example.v1.FooList.
 * - v2 has no defaults, v3 has them; in v3 a reference with something beside it stands in allOf (3.0 ignores siblings of $ref).
 * - Operations carry x-kubernetes-action and x-kubernetes-group-version-kind; dryRun and fieldValidation stand in the operation
 *   itself and never behind a reference or at the path, because clients look there to learn what a server supports.
 * - Every type and field of the built-in API has a description; the sentences are in describe/ (README.md).
 *
 * OPENAPI_PROTO is gnostic's openapi.v2.Document or openapi.v3.Document: what Accept calls
 * application/com.github.proto-openapi.spec.v2@v1.0+protobuf, or .spec.v2.v1.0+protobuf (.v3 likewise). The Content-Type of the
 * answer is always the form with the dot: kubectl before 1.29 sends the @ but fails on an answer that has it. Values that gnostic
 * keeps as YAML text (extensions, defaults, enums) are in the flow form that JSON is.
 *
 * Sizes with the built-in API: README.md. A document is built as one tree in an arena of its own and freed with it.
 * Errors: none; what is wrong here is our own mistake (asserts). Threads: a struct openapi by one thread at a time.
 */
#pragma once

#include "api/api.h"
#include "json/json.h"

enum openapi_form { OPENAPI_JSON, OPENAPI_PROTO };

struct openapi_opts {
	bool aggregated; /* the rows that an extension server serves (metrics.k8s.io) too */
	/* Adds to the schema of a custom resource's node what only its owner knows: description, format, enum, bounds, pattern.
	 * Called for each node after type, properties, items and extensions are in it; strings must live as long as the arena
	 * or the snapshot. In v2 nothing beyond Swagger 2.0 may be added (no oneOf, anyOf, not, nullable). */
	void (*custom)(void *arg, const struct api_resource *resource, const struct api_type *node, bool v3,
		       struct arena *arena, struct json *schema);
	void *arg; /* borrowed, given to custom */
};

struct openapi;
struct openapi *openapi_new(struct api_registry *registry, const struct openapi_opts *opts); /* takes a reference of its own;
											      * opts may be NULL, is copied */
void openapi_free(struct openapi *o); /* accepts NULL */
AUTO_DEFINE(openapi, struct openapi *, openapi_free)
#define auto_openapi auto_cleanup(auto_openapi_)

/* Appended to out. */
void openapi_v2(struct openapi *o, enum openapi_form form, struct buf *out);

/* Documents of v3 by what stands behind /openapi/v3/ in their address, in byte order: "api", "api/v1", "apis/apps/v1". */
unsigned openapi_v3_count(const struct openapi *o);
struct span openapi_v3_path(const struct openapi *o, unsigned i);
/* False, nothing appended, when there is no such document. */
bool openapi_v3(struct openapi *o, struct span path, enum openapi_form form, struct buf *out);
/* What /openapi/v3 answers: every document with its hash,
 * {"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=..."}}}.
 * Builds all documents once to hash them. */
void openapi_v3_index(struct openapi *o, struct buf *out);
/* The same from hashes that the caller has already, one of openapi_etag for each document in order. */
void openapi_v3_index_of(const struct openapi *o, const struct span *etags, struct buf *out);

#define OPENAPI_ETAG_LEN 128
/* SHA-512 of the JSON form in upper-case hex: the ETag (in quotes) of both forms, and the hash of the index. */
void openapi_etag(struct span json, char out[OPENAPI_ETAG_LEN + 1]);

/* The sentence for a built-in type ("core/v1.Pod"), or for a field of it. Empty when there is none. */
struct span openapi_describe(const struct openapi *o, struct span type, struct span field);
