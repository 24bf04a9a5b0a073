/* A server without threads and listeners, for tests of what works on its store: a store of its own, a clock that is turned by hand,
 * RBAC, and calls of a user. Each test gets a new one (setup, teardown). */
#pragma once

#include "apiserver/meter.h"
#include "apiserver/look.h"
#include "apiserver/server.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* Turned by hand while the committer's thread looks. */
struct test_clock {
	struct clock clock;
	_Atomic int64_t passed_ns;
};

static inline int64_t test_mono(struct clock *c)
{
	return atomic_load(&container_of(c, struct test_clock, clock)->passed_ns);
}

static inline int64_t test_wall(struct clock *c)
{
	return INT64_C(1700000000) * NS_PER_S + test_mono(c);
}

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

struct bench {
	char dir[64];
	struct test_clock clock;
	struct apiserver server;
	struct worker worker;
	struct apiserver_options options;
};

static inline void put_done(struct store_call *sc, void *arg)
{
	if (sc->err.class != ERR_NONE)
		fail_msg("writing: %s", err_msg(&sc->err));
}

/* value NULL: deletes. */
static inline void put(struct bench *b, const char *key, const char *value)
{
	auto_err struct err err = ERR_INIT;
	auto_bytes struct bytes *bytes = value ? bytes_of(span_of(value)) : NULL;
	struct store_txn *t = store_txn_new();
	if (bytes)
		store_txn_put(t, STORE_THEN, span_of(key), bytes, 0);
	else
		store_txn_delete(t, STORE_THEN, span_of(key));
	store_commit(b->server.store, t, NULL, put_done, NULL);
}

/* What stands at the key once all that was handed in is there; a write of our own tells when. */
static inline const char *stored(struct bench *b, struct arena *a, const char *key)
{
	static unsigned n;
	auto_buf struct buf mark = {};
	buf_printf(&mark, "/mark/%u", n++);
	put(b, buf_cstr(&mark), "1");
	for (int i = 0; i < 5000; i++) {
		struct store_snapshot *snap = store_snapshot(b->server.store);
		const struct store_item *it = store_get(snap, span_of(key));
		bool there = store_get(snap, buf_span(&mark));
		const char *text = it ? arena_span(a, bytes_span(it->value)).ptr : "";
		store_snapshot_unref(snap);
		if (there)
			return text;
		usleep(1000);
	}
	fail_msg("the store does not answer");
	return NULL;
}

/* A call of a user about one object; ends with call_end. */
static inline struct call *call_begin(struct bench *b, const char *group, const char *plural, const char *sub, const char *ns,
				      const char *name)
{
	struct call *c = mem_new(struct call);
	c->w = &b->worker;
	c->server = &b->server;
	c->registry = api_registry_ref(api_registry_get(b->server.registry, &b->worker.registry));
	c->route = (struct route){ .group = span_of(group), .version = SPAN("v1"), .resource = span_of(plural), .ns = span_of(ns),
				   .name = span_of(name), .subresource = span_of(sub), .is_resource = true };
	c->res = api_registry_find(c->registry, c->route.group, c->route.version, c->route.resource);
	assert_non_null(c->res);
	c->sub = *sub ? api_resource_sub(c->res, span_of(sub)) : NULL;
	c->user.name = SPAN("jane");
	return c;
}

static inline void call_end(struct call *c)
{
	store_snapshot_unref(c->snap);
	api_registry_unref(c->registry);
	err_done(&c->err);
	arena_done(&c->arena);
	free(c);
}

/* JSON, with ' for ". */
static inline struct json tree(struct arena *a, const char *text)
{
	struct json v;
	auto_err struct err err = ERR_INIT;
	size_t n = strlen(text) + 1;
	char *copy = memcpy(arena_alloc(a, n), text, n);
	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	if (json_parse(a, span_of(copy), 0, NULL, &v, &err) < 0)
		fail_msg("%s: %s", text, err_msg(&err));
	return v;
}

static inline int setup(void **state)
{
	struct bench *b = mem_new(struct bench);
	auto_err struct err err = ERR_INIT;
	(void)snprintf(b->dir, sizeof(b->dir), "/tmp/knarr-repair-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	b->clock.clock = (struct clock){ .mono_ns = test_mono, .wall_ns = test_wall };
	const struct store_options o = { .dir = b->dir, .clock = &b->clock.clock };
	if (store_open(&o, &b->server.store, &err) < 0)
		fail_msg("%s", err_msg(&err));
	b->server.clock = &b->clock.clock;
	b->server.registry = api_registry_box_new(api_registry_builtin(false));
	b->worker.server = &b->server;
	b->server.opt = &b->options;
	b->options.n_modes = 1;
	b->options.modes[0] = APISERVER_AUTHZ_RBAC;
	b->server.rbac = auth_rbac_new();
	b->server.meter = meter_new(&b->server);
	meter_worker_init(&b->worker);
	b->worker.registry = (struct api_registry_cache){};
	*state = b;
	return 0;
}

static inline int teardown(void **state)
{
	struct bench *b = *state;
	auto_err struct err err = ERR_INIT;
	look_free(&b->worker);
	assert_int_equal(store_close(b->server.store, &err), 0);
	api_registry_cache_done(&b->worker.registry);
	api_registry_box_free(b->server.registry);
	meter_worker_done(&b->worker);
	meter_free(b->server.meter);
	auth_rbac_free(b->server.rbac);
	assert_int_equal(nftw(b->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(b);
	return 0;
}
