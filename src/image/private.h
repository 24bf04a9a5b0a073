/* What the files of image share. Private. */
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "tls/tls.h"

enum { MANIFEST_BYTES = 4 << 20, CONFIG_BYTES = 8 << 20, IMAGE_LAYERS_MAX = 127, IMAGE_INDEX_MAX = 1000 };

struct image_digest image_digest_raw(const uint8_t sha[32]);

struct named { /* a reference */
	char *text;                 /* owned; docker.io/library/nginx:latest, or ...@sha256:... */
	struct image_digest id, target; /* target: the manifest or index that the name stands for */
};

struct record { /* an image */
	struct image_digest id, manifest, parent;
	bool made;                  /* on this machine, upon parent ("" = upon nothing); else it came from elsewhere */
	int64_t tagged_ns;
	char (*chains)[65];         /* owned; of its layers, from the bottom */
	size_t n_chains;
};

struct operation { /* under way: what it has found or made may have no name yet */
	struct list link;
	int64_t began_ns;           /* wall time */
	struct map chains;          /* keys in arena */
	struct arena arena;
};

struct image_store {
	char *dir;                  /* owned */
	int dirfd, blobs, ingest, lock;
	pthread_mutex_t mutex;      /* of everything below */
	struct record **records;    /* owned */
	size_t n_records, cap_records;
	struct named **names;       /* owned, sorted by text */
	size_t n_names, cap_names;
	struct list operations;
	struct map verified;        /* digests whose blobs were verified by this process */
	struct arena verified_arena;
	uint64_t next_ingest;
	struct map ingesting;       /* digests whose partial file is being written */
};

/* store.c */
void image_operation_begin(struct image_store *s, struct operation *op);
void image_operation_end(struct image_store *s, struct operation *op);
void image_operation_chain(struct image_store *s, struct operation *op, const char *chain);
struct image_naming { /* full texts, both of another kind (tag, digest); empty = none, and none behind it */
	struct span texts[2];
	const struct image_digest *target;
};
/* Adds or changes the record and names it, durably and all at once. parent: as image_register. names: NULL = none. */
int image_record_put(struct image_store *s, const struct image_digest *id, const struct image_digest *manifest,
	const struct image_digest *parent, const struct image_config *config, const struct image_naming *names, struct err *err);
/* name: full text. */
int image_name_put(struct image_store *s, struct span name, const struct image_digest *id, const struct image_digest *target,
	struct err *err);
/* What the full name stands for; false when there is none. */
bool image_name_get(struct image_store *s, struct span name, struct image_digest *out_id, struct image_digest *out_target);
int image_no_such(struct span name, struct err *err);
bool image_known(struct image_store *s, const struct image_digest *id); /* has it a record here? */

/* blob.c */
bool image_blob_touch(struct image_store *s, const struct image_digest *d); /* there? then it is as new as just made */
int image_blob_verified(struct image_store *s, const struct image_digest *d, int fd, struct err *err);
/* A source that hashes what passes. */
struct hash_source {
	struct tar_source source;
	struct tar_source *from; /* borrowed */
	struct tls_hash hash;
	uint64_t bytes;
};
void image_hash_source_init(struct hash_source *h, struct tar_source *from);
struct image_digest image_hash_source_end(struct hash_source *h);
struct pread_source { /* a blob's file, however many read it */
	struct tar_source source;
	int fd;
	off_t at;
	char *buf; /* owned */
	void (*seen)(struct pread_source *p); /* may be NULL */
};
void image_pread_source_init(struct pread_source *p, int fd);

/* relay.c: what comes out of `from` once decompressed; a thread of its own works RELAY_SLOTS pieces ahead. The source may be pulled
 * by one thread; `from` is pulled by the other. */
#define RELAY_SLOTS 4
struct image_relay {
	struct tar_source source;
	struct tar_inflate *inflate; /* owned */
	pthread_t thread;
	bool running;
	pthread_mutex_t mutex; /* of everything below */
	pthread_cond_t room, more;
	struct relay_slot {
		char *memory; /* owned; made when it is first needed */
		struct span piece;
	} slots[RELAY_SLOTS];
	uint64_t made, taken;
	bool lent, stopped, ended;
	int rc;
	struct err why;
};
int image_relay_begin(struct image_relay *r, struct tar_source *from, struct err *err);
/* Ends the thread and gives everything back; once after each begin that succeeded, at any point of the stream. It waits for a
 * pull of `from` that is under way: where that may block, its owner makes it return first. */
void image_relay_end(struct image_relay *r);

/* unpack.c: one layer from its blob, verified against diff; committed. */
int image_layer_unpack(struct image_store *s, const struct image_descriptor *layer, const struct image_digest *diff,
	const char *parent,
	const char *chain, const struct image_unpacker *u, struct err *err);
/* A manifest with its configuration; both blobs are there. */
int image_manifest_read(struct image_store *s, const struct image_digest *manifest, struct arena *a, struct image_manifest *out,
	struct image_config *out_config, struct err *err);

void image_report(const struct image_reporter *r, struct span id, uint64_t current, uint64_t total, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
struct span image_short_id(const struct image_digest *d); /* 12 digits, borrowed */
/* Copies for those who read blobs without the mutex. A record's chains are not to be used. */
size_t image_records_copy(struct image_store *s, struct arena *a, struct record **out);
size_t image_names_copy(struct image_store *s, struct arena *a, struct named **out);
