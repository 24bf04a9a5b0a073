/* Images: names, contents by digest, what is tagged, and how they come and go: registries, archives, imports.
 *
 *     DIR/blobs/sha256/HEX    manifests, configurations, layers exactly as they came (OCI image-layout)
 *     DIR/ingest/             downloads in progress; a partial one of a digest is resumed
 *     DIR/images.json         which images there are and what they are called; replaced atomically
 *
 * An image is identified by the digest of its configuration, as Docker does; a record names the manifest whose layers it
 * has. Unpacked layers live elsewhere (snapshot): this component hands each to a struct image_unpacker.
 *
 * Promises
 * - A blob is there whole and verified or not at all: written in ingest/, hashed on the way, synced, renamed.
 * - What an operation answered is on disk. A crash leaves blobs without a name at worst; image_gc removes them.
 * - Bytes from a registry or archive are never used before their digest was compared; a layer is unpacked while it comes, but
 *   becomes visible only after both its digests (as it came, and decompressed) agreed.
 *
 * Threads: everything may be called from any thread and blocks; a pull turns a private loop on the calling thread. Callbacks of
 * one operation come one at a time, on any of its threads. One process has DIR open (flock; IN_USE). */
#pragma once

#include "base/base.h"
#include "json/json.h"
#include "tar/tar.h"

struct image_store;

/* ---- names: the grammar and the words of distribution/reference ---- */

struct image_ref {
	struct span domain; /* "docker.io", "localhost:5000" */
	struct span path;   /* "library/nginx" */
	struct span tag;    /* empty = none */
	struct span digest; /* "sha256:...", empty = none */
};
/* nginx → docker.io library/nginx; index.docker.io → docker.io. Parts point into the arena. INVALID_REQUEST with the
 * field's words ("invalid reference format", "repository name must be lowercase", ...). */
int image_ref_parse(struct span text, struct arena *a, struct image_ref *out, struct err *err);
void image_ref_default(struct image_ref *r);                               /* tag "latest" when it has neither */
struct span image_ref_name(const struct image_ref *r, struct arena *a);     /* docker.io/library/nginx */
struct span image_ref_text(const struct image_ref *r, struct arena *a);     /* docker.io/library/nginx:latest@sha256:... */
struct span image_ref_familiar(const struct image_ref *r, struct arena *a); /* nginx:latest */
struct span image_ref_familiar_name(const struct image_ref *r, struct arena *a); /* nginx */

/* ---- digests ---- */

#define IMAGE_DIGEST_LEN 71
struct image_digest { /* "sha256:" and 64 hex digits, 0-ended; "" = none */
	char text[IMAGE_DIGEST_LEN + 1];
};
/* Only sha256 is stored. INVALID_REQUEST with go-digest's words: "invalid checksum digest format", "unsupported digest algorithm",
 * "invalid checksum digest length". */
int image_digest_parse(struct span text, struct image_digest *out, struct err *err);
struct image_digest image_digest_of(struct span data);
static inline struct span image_digest_span(const struct image_digest *d)
{
	return span_of(d->text);
}
static inline bool image_digest_eq(const struct image_digest *a, const struct image_digest *b)
{
	return strcmp(a->text, b->text) == 0;
}
/* OCI config.md "Layer ChainID": 64 hex digits of the chain that ends with diff upon below ("" = none). */
void image_chain(const char *below, const struct image_digest *diff, char out[65]);

/* ---- platforms ---- */

struct image_platform {
	char os[32], arch[32], variant[32]; /* GOOS, GOARCH; variant "" = none */
};
/* "linux", "linux/arm64", "linux/arm/v7", "arm64", with containerd's synonyms (x86_64, aarch64, armhf, ...). text empty = this
 * machine's. INVALID_REQUEST otherwise. */
int image_platform_parse(struct span text, struct image_platform *out, struct err *err);
struct image_platform image_platform_here(void);
/* How well an image for `have` runs on `want`: 0 not at all; more is better. arm v7 runs v6 and v5; amd64 v3 runs v2 and v1. */
int image_platform_score(const struct image_platform *want, const struct image_platform *have);

/* ---- manifests ---- */

extern const char IMAGE_TYPE_OCI_MANIFEST[], IMAGE_TYPE_OCI_INDEX[], IMAGE_TYPE_OCI_CONFIG[], IMAGE_TYPE_OCI_LAYER[],
	IMAGE_TYPE_DOCKER_MANIFEST[], IMAGE_TYPE_DOCKER_LIST[];

struct image_descriptor {
	struct span media_type;
	struct image_digest digest;
	uint64_t size;
	struct image_platform platform; /* of an index' entry; os "" = not said */
	bool attestation;               /* an index' entry that is no image (BuildKit's vnd.docker.reference.type) */
	struct span ref_name;           /* annotation org.opencontainers.image.ref.name */
	struct span image_name;         /* annotation io.containerd.image.name */
};
enum image_manifest_kind { IMAGE_MANIFEST, IMAGE_INDEX };
struct image_manifest {
	enum image_manifest_kind kind;
	struct span media_type;
	struct image_descriptor config;  /* of a manifest */
	struct image_descriptor *items;  /* layers from the bottom, or an index' entries */
	size_t n;
};
/* Docker's schema 2 and list, OCI manifest and index. media_type is what the sender called it (may be empty). Bounds: 4 MB of text,
 * 127 layers, 1,000 entries. schema 1: UNSUPPORTED. Strings live in the arena. */
int image_manifest_parse(struct span text, struct span media_type, struct arena *a, struct image_manifest *out, struct err *err);
/* The best entry for a platform; NOT_FOUND with Docker's words ("no matching manifest for linux/arm64 in the
 * manifest list entries"). */
int image_index_choose(const struct image_manifest *index, const struct image_platform *want, const struct image_descriptor **out,
	struct err *err);

struct image_config {
	struct json tree;            /* all of it */
	struct image_platform platform;
	struct span created, author; /* created: RFC 3339 text */
	struct image_digest *diffs;  /* from the bottom */
	size_t n_diffs;
};
int image_config_parse(struct span text, struct arena *a, struct image_config *out, struct err *err);
/* An entry of OnBuild: INVALID_REQUEST in dockerd's words for what no image may ask of those built upon it. */
int image_trigger_check(struct span trigger, struct err *err);

/* ---- the store ---- */

int image_store_open(const char *dir, struct image_store **out_store, struct err *err);
void image_store_close(struct image_store *s); /* accepts NULL; no operation may be running */
AUTO_DEFINE(image_store, struct image_store *, image_store_close)

/* Contents. A blob read whole is verified each time; one opened is verified at its first opening in this process. */
bool image_blob_has(struct image_store *s, const struct image_digest *d);
int image_blob_read(struct image_store *s, const struct image_digest *d, struct buf *out, size_t limit_bytes, struct err *err);
int image_blob_open(struct image_store *s, const struct image_digest *d, int *out_fd, uint64_t *out_size, struct err *err);
int image_blob_put(struct image_store *s, struct span data, struct image_digest *out, struct err *err);

/* Writing one of unknown or expected digest. */
struct image_ingest;
/* expected NULL = not known. With it a partial file of an earlier try is taken up: *out_have bytes are there already. */
int image_ingest_begin(struct image_store *s, const struct image_digest *expected, struct image_ingest **out, uint64_t *out_have,
	struct err *err);
int image_ingest_add(struct image_ingest *i, struct span data, struct err *err);
int image_ingest_restart(struct image_ingest *i, struct err *err); /* the sender begins anew: forgets what is there */
uint64_t image_ingest_size(const struct image_ingest *i);
int image_ingest_fd(const struct image_ingest *i); /* to read what is there so far, with pread */
/* Verifies, syncs, publishes. CORRUPT when the digest differs (the bytes are thrown away). Takes i over, also on failure. */
int image_ingest_commit(struct image_ingest *i, struct image_digest *out, struct err *err);
void image_ingest_drop(struct image_ingest *i, bool keep_partial); /* accepts NULL */
/* A sink into it, for writers of archives. */
struct tar_sink *image_ingest_sink(struct image_ingest *i);

/* Who turns layers into folders; snapshot's functions fit behind it. NULL where nothing is to be unpacked. */
struct image_unpacker {
	void *arg;
	bool sequential; /* a layer can only be unpacked after the one below was committed */
	bool (*has)(void *arg, const char *chain);
	int (*unpack)(void *arg, const char *parent, struct tar_source *from, void **out_pending, struct err *err);
	int (*commit)(void *arg, void *pending, const char *chain, const char *parent, struct err *err); /* takes pending */
	void (*drop)(void *arg, void *pending);
};

/* What Docker's progress lines say. */
struct image_progress {
	struct span id;         /* 12 hex digits of a layer, a tag, or empty */
	struct span status;     /* "Downloading", "Pull complete", "Digest: sha256:..." */
	uint64_t current, total; /* bytes; 0, 0 = none */
};
struct image_reporter {
	void (*fn)(const struct image_progress *p, void *arg);
	void *arg;
	bool (*cancelled)(void *arg); /* asked now and then; NULL = never */
};

/* Images. Strings of results live in the arena. */
struct image_info {
	struct image_digest id, manifest, parent;
	struct span *tags;      /* familiar: "nginx:latest" */
	size_t n_tags;
	struct span *digests;   /* familiar: "nginx@sha256:..." */
	size_t n_digests;
	int64_t tagged_ns;      /* wall time of the last tag, or pull that changed something */
	uint64_t size;          /* of all layers as they came */
	struct span created;
	struct image_platform platform;
};
int image_list(struct image_store *s, struct arena *a, struct image_info **out, size_t *out_n, struct err *err);
/* By name, "sha256:ID", ID, or the beginning of an ID that only one image has. NOT_FOUND "No such image: x:y";
 * INVALID_REQUEST for an ambiguous
 * beginning ("Multiple IDs found with provided prefix: ..."). */
int image_find(struct image_store *s, struct span name_or_id, struct image_digest *out_id, struct err *err);
int image_inspect(struct image_store *s, const struct image_digest *id, struct arena *a, struct image_info *out,
	struct image_config *out_config, struct image_manifest *out_manifest, struct err *err);
/* The images that were made here upon another one, the newest last. "": those that were made upon nothing; what was pulled or
 * loaded has no parent either, and is not among them: its configuration says what its author liked. Cheap: no blob is read. */
void image_children(struct image_store *s, const struct image_digest *parent, struct arena *a, struct image_digest **out,
	size_t *out_n);
/* Was id made here upon from ("" = nothing), by however many steps? An image descends from itself. */
bool image_descends(struct image_store *s, const struct image_digest *id, const struct image_digest *from);
/* While a hold lasts, image_gc leaves everything that was made since it began: for who makes an image piece by piece. */
struct image_hold;
struct image_hold *image_hold_begin(struct image_store *s);
void image_hold_end(struct image_hold *h); /* accepts NULL */
/* The chain id of its top layer ("" for an image without layers). */
int image_top(struct image_store *s, const struct image_digest *id, char out_chain[65], struct err *err);
struct image_history {
	struct span created, created_by, comment;
	struct image_digest id; /* of the newest entry; the others are <missing>, as Docker says */
	uint64_t size;
	bool empty_layer;
	struct span *tags;
	size_t n_tags;
};
/* Newest first. */
int image_history(struct image_store *s, const struct image_digest *id, struct arena *a, struct image_history **out,
	size_t *out_n,
	struct err *err);

/* Makes an image of a manifest whose blobs are all there: unpacks what is missing (u may be NULL), records it.
 * parent: what it was made upon on this machine ("" = nothing); NULL = it was not made here, or nobody needs to know. */
int image_register(struct image_store *s, const struct image_digest *manifest, const struct image_digest *parent,
	const struct image_unpacker *u, const struct image_reporter *r, struct image_digest *out_id, struct err *err);
/* Names it; what had the name loses it. A name with a digest is a record of where it came from and is only made by
 * pull and push. */
int image_tag(struct image_store *s, const struct image_digest *id, struct span ref, struct err *err);

struct image_removed {
	bool deleted;      /* else untagged */
	struct span what;  /* "sha256:...", "nginx:latest" */
};
struct image_remove_params {
	bool force, no_prune; /* prune: parents that are left without a name go too */
	/* A container that uses the image: true, its id and whether it runs. NULL = nobody does. */
	bool (*used)(void *arg, const struct image_digest *id, bool only_running, char out_container[65], bool *out_running);
	void *arg;
};
/* Docker's rules and words (409 as IN_USE). Blobs and layers go with the next image_gc. */
int image_remove(struct image_store *s, struct span name_or_id, const struct image_remove_params *p, struct arena *a,
	struct image_removed **out, size_t *out_n, struct err *err);
/* Each name or id in turn by the same rules; one that may not go, or is gone, is passed over. All is written at once at the end: an
 * error means that nothing was removed. out_ends[i] is how many of *out there are after names[i]. */
int image_remove_all(struct image_store *s, const struct span *names, size_t n_names, const struct image_remove_params *p,
	struct arena *a, struct image_removed **out, size_t *out_ends, struct err *err);
/* Removes blobs that no image and no running operation needs, and abandoned downloads older than keep_partial_s. */
int image_gc(struct image_store *s, int64_t keep_partial_s, unsigned *out_blobs, uint64_t *out_bytes, struct err *err);
/* Does an image, or an operation under way, need this unpacked layer? For snapshot_layers_prune. */
bool image_chain_used(const char *chain, void *store);

/* ---- archives ---- */

/* `docker load`: docker archives (manifest.json) and OCI layouts (index.json), plain or compressed. Every image in
 * it; ids and names in
 * Docker's words through the reporter ("Loaded image: nginx:latest", "Loaded image ID: sha256:..."). want: of an index this
 * platform's image, and NOT_FOUND for an image of another one (those before it stay loaded); NULL = this machine's of an index,
 * and whatever a single image is for. */
int image_load(struct image_store *s, struct tar_source *from, const struct image_platform *want, const struct image_unpacker *u,
	const struct image_reporter *r, struct err *err);
/* `docker save`: one archive that is both an OCI layout and a docker archive. names as for image_find; one without tag
 * and digest means all its tags. An image stands in manifest.json once, with every tag that was asked for. */
int image_save(struct image_store *s, const struct span *names, size_t n, struct tar_sink *to, struct err *err);
/* `docker import`: a root file system as an image of one layer. config: a JSON object (container config) or empty;
 * ref: name or empty. */
struct image_import_params {
	struct span config, ref, message;
	struct image_platform platform; /* os "" = here */
	const struct image_unpacker *unpacker;
};
int image_import(struct image_store *s, struct tar_source *from, const struct image_import_params *p, struct image_digest *out_id,
	struct err *err);

/* ---- registries ---- */

struct image_registry_params {
	const char *certs_dir;          /* NULL = /etc/docker/certs.d */
	const char *const *mirrors;     /* NULL-ended URLs; tried first for docker.io, always without credentials */
	/* NULL-ended "host:port" or CIDR: https unverified, else http. 127.0.0.0/8 and ::1 always are */
	const char *const *insecure;
	struct span http_proxy, https_proxy, no_proxy; /* as the environment variables */
	struct span username, password, identity_token, registry_token; /* as in X-Registry-Auth; empty = none */
	const char *user_agent;         /* NULL = "knarr" */
	unsigned parallel;              /* blobs at once; 0 = as Docker: 3 down, 5 up */
	unsigned retries;               /* of one blob; 0 = 5, as Docker */
	unsigned stall_ms;              /* no byte for so long is a failure; 0 = 60000 */
};
struct image_pull_params {
	struct image_ref ref;           /* with tag or digest */
	struct image_platform platform; /* os "" = here */
	const struct image_registry_params *registry;
	const struct image_unpacker *unpacker;
	const struct image_reporter *reporter;
};
/* Reports what `docker pull` prints, "Status: ..." included. Errors in Docker's words: "manifest for x:y not found:
 * manifest unknown: ...",
 * "pull access denied for x, ...", "toomanyrequests: ..." (retry_ms from the answer). */
int image_pull(struct image_store *s, const struct image_pull_params *p, struct image_digest *out_id, struct err *err);
/* Layers go up side by side; one that was cut off goes on where the registry says it stands. Errors in Docker's words. */
struct image_push_params {
	struct image_ref ref;           /* with tag; names the image here and there */
	const struct image_registry_params *registry;
	const struct image_reporter *reporter;
};
int image_push(struct image_store *s, const struct image_push_params *p, struct image_digest *out_manifest, struct err *err);

/* Is p->username (or its tokens) good at this registry ("docker.io", "localhost:5000")? UNAUTHORIZED with Docker's words. */
int image_login(const struct image_registry_params *p, struct span server, struct err *err);
/* What a name with tag or digest stands for over there; nothing is stored. */
struct image_resolved {
	struct image_digest digest;
	struct span text;                /* of the manifest or index */
	struct image_manifest manifest;
	struct image_platform platform;  /* of an image; an index' items say theirs */
};
int image_resolve(const struct image_registry_params *p, const struct image_ref *ref, struct arena *a, struct image_resolved *out,
	struct err *err);
/* The tags that a repository has, 10,000 at most. */
int image_remote_tags(const struct image_registry_params *p, const struct image_ref *ref, struct arena *a, struct span **out,
	size_t *out_n, struct err *err);
/* GET /v1/search of Docker Hub's index, or of the registry that term begins with; its answer as it came. */
int image_search(const struct image_registry_params *p, struct span term, unsigned limit, struct arena *a, struct json *out,
	struct err *err);
