/* What the files of the client share. Private. */
#pragma once

#include "client/client.h"

struct client {
	struct loop *loop;
	const struct client_config *config;
	const char *user_agent;
	unsigned retries;
	void (*warned)(struct span text, void *arg); /* may be NULL */
	void *warned_arg;
	struct http_client *http;
	struct http_origin origin;
	struct tls_ctx *tls;
	struct arena arena;  /* parts of the origin */
	struct span prefix;  /* of every path: what stands behind the port in the server's URL */
	struct buf auth;     /* value of Authorization; empty = none */
	int64_t token_read_ms; /* when token_file was read last; 0 = never */
	struct list calls;   /* client_call.link */
	struct list streams; /* client_stream.link */
	struct list upgrades; /* client_upgrade.link */
	struct rng rng;
	/* client_follow */
	struct loop_files *followed;
	const struct client_source *source; /* borrowed */
	struct client_config latest;        /* the last that was read; empty: config still is */
};

/* A context of what the configuration says. */
int client_tls(const struct client_config *f, struct tls_ctx **out, struct err *err);
void client_follow_end(struct client *c);

/* Headers of a request, in the arena: who we are and what we want. */
unsigned client_headers(struct client *c, struct arena *a, const char *accept, const char *content_type,
			struct http_field out[static 16]);
struct span client_full_path(struct client *c, struct arena *a, struct span path);
/* base * 2^(failures - 1), at most max; base for none. */
uint64_t client_doubled_ms(unsigned failures, unsigned base_ms, unsigned max_ms);
/* Waits between failures: base doubled, at most max, with up to half added by chance. */
unsigned client_backoff(struct client *c, unsigned failures, unsigned base_ms, unsigned max_ms);
