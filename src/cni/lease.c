/* Which pod has which address.
 *
 *     STATE/NETWORK/10.244.0.5   -> 4f0c.../eth0/k0-x2m5qa1c
 *     STATE/NETWORK/fd00:244::5  -> 4f0c.../eth0/k0-x2m5qa1c
 *     STATE/NETWORK/last4        -> 10.244.0.5
 *
 * symlink(2) is the exclusive and atomic creation: two calls cannot both have an address, and a record is whole or absent. The
 * search begins behind the one given last and wraps around, so that an address rests as long as possible before it is given
 * again (peers remember it: connection tracking, caches). The folder's lock (flock) keeps calls for one container apart; it is
 * held for microseconds. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cni/private.h"

#define TARGET_MAX (CNI_ID_MAX + 2 * IFNAMSIZ + 4)
#define TRIES_MAX 1000000 /* addresses looked at before a subnet counts as full */

static const char *const last_names[FAMILIES] = { "last4", "last6" };

int cni_state_open(struct cni_call *c, bool make)
{
	auto_buf struct buf path = { 0 };
	buf_printf(&path, "%s/%.*s", c->state, SPAN_ARG(c->name));
	if (make && io_mkdirs(AT_FDCWD, buf_cstr(&path), 0700, &c->err) < 0)
		return cni_fail_with(c, CNI_IO);
	c->dir = open(buf_cstr(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir < 0 && errno == ENOENT && !make)
		return 1;
	if (c->dir < 0) {
		err_sys(&c->err, "opening %s", buf_cstr(&path));
		return cni_fail_with(c, CNI_IO);
	}
	return 0;
}

int cni_lock(struct cni_call *c)
{
	int rc;
	do
		rc = flock(c->dir, LOCK_EX);
	while (rc < 0 && errno == EINTR);
	if (rc < 0) {
		err_sys(&c->err, "locking the folder of addresses");
		return cni_fail_with(c, CNI_IO);
	}
	return 0;
}

void cni_unlock(struct cni_call *c)
{
	(void)flock(c->dir, LOCK_UN); /* a descriptor that is locked: cannot fail */
}

int cni_lease_each(struct cni_call *c, int (*fn)(void *arg, struct span container, struct span ifname, const struct cni_lease *one),
		   void *arg)
{
	int fd = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		err_sys(&c->err, "reading the folder of addresses");
		if (fd >= 0)
			close(fd);
		return cni_fail_with(c, CNI_IO);
	}
	int rc = 0;
	for (struct dirent *e; rc == 0 && (e = readdir(d));) {
		struct cni_lease l = { 0 };
		struct sys_addr a;
		char target[TARGET_MAX + 1];
		if (!sys_addr_parse(span_of(e->d_name), &a))
			continue;
		ssize_t n = readlinkat(c->dir, e->d_name, target, TARGET_MAX);
		if (n <= 0)
			continue; /* given back this moment */
		struct span container, ifname, rest;
		if (!span_split(span_make(target, (size_t)n), '/', &container, &rest) || !span_split(rest, '/', &ifname, &rest) ||
		    !cni_ifname_valid(rest))
			continue; /* not ours: leave it */
		l.addr[a.family == AF_INET ? V4 : V6] = a;
		memcpy(l.host, rest.ptr, rest.len);
		rc = fn(arg, container, ifname, &l);
	}
	closedir(d);
	return rc;
}

struct find {
	const struct cni_call *c;
	struct cni_lease *out;
	const char *name; /* a host interface's name: who else has it? */
	bool taken;
};

static int on_lease(void *arg, struct span container, struct span ifname, const struct cni_lease *one)
{
	struct find *f = arg;
	bool mine = span_eq(container, f->c->container) && span_eq(ifname, f->c->ifname);
	if (f->out && mine) {
		for (int v = V4; v < FAMILIES; v++)
			if (one->addr[v].family)
				f->out->addr[v] = one->addr[v];
		memcpy(f->out->host, one->host, sizeof(f->out->host));
	}
	if (f->name && !mine && strcmp(one->host, f->name) == 0)
		f->taken = true;
	return 0;
}

int cni_lease_find(struct cni_call *c, struct cni_lease *out)
{
	*out = (struct cni_lease){ 0 };
	struct find f = { .c = c, .out = out };
	return cni_lease_each(c, on_lease, &f);
}

/* kID- and as many letters of a hash as fit: 11 for the default ID, 5 for one of eight digits, so the name is looked up. */
static int host_name(struct cni_call *c, char out[IFNAMSIZ])
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
	for (unsigned salt = 0; salt < 64; salt++) {
		uint64_t h = UINT64_C(0xcbf29ce484222325) + salt; /* FNV-1a, then mixed once: the low bits are used too */
		for (int part = 0; part < 2; part++) {
			struct span s = part ? c->ifname : c->container;
			for (size_t i = 0; i < s.len; i++)
				h = (h ^ (uint8_t)s.ptr[i]) * UINT64_C(0x100000001b3);
			h = (h ^ '/') * UINT64_C(0x100000001b3);
		}
		h ^= h >> 32;
		h *= UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
		size_t n = strlen(c->prefix);
		memcpy(out, c->prefix, n);
		for (; n < IFNAMSIZ - 1; n++, h >>= 5)
			out[n] = letters[h & 31];
		out[n] = 0;
		struct find f = { .c = c, .name = out };
		if (cni_lease_each(c, on_lease, &f) < 0)
			return -1;
		if (!f.taken)
			return 0;
	}
	return cni_fail(c, CNI_AGAIN, "no name for the host's interface is free");
}

/* Where the next search begins: lost or damaged is no harm. */
static uint64_t last_given(struct cni_call *c, int v)
{
	char text[SYS_ADDR_TEXT];
	struct sys_addr a;
	ssize_t n = readlinkat(c->dir, last_names[v], text, sizeof(text));
	if (n <= 0 || !sys_addr_parse(span_make(text, (size_t)n), &a) || a.family != c->subnet[v].addr.family ||
	    !sys_prefix_has(&c->subnet[v], &a))
		return 1;
	return sys_prefix_offset(&c->subnet[v], &a);
}

static void last_set(struct cni_call *c, int v, const char *text)
{
	(void)unlinkat(c->dir, "last.new", 0);
	if (symlinkat(text, c->dir, "last.new") == 0)
		(void)renameat(c->dir, "last.new", c->dir, last_names[v]); /* only a hint */
}

static int give(struct cni_call *c, int v, const char *target, struct sys_addr *out)
{
	const struct sys_prefix *p = &c->subnet[v];
	uint64_t size = sys_prefix_size(p), from = 2, to = v == V4 ? size - 1 : size; /* [from, to) are given */
	uint64_t at = last_given(c, v), n = MIN(to - from, (uint64_t)TRIES_MAX);
	for (uint64_t i = 0; i < n; i++) {
		at = at + 1 < from || at + 1 >= to ? from : at + 1;
		struct sys_addr a = sys_prefix_at(p, at);
		char text[SYS_ADDR_TEXT];
		sys_addr_text(&a, text);
		if (symlinkat(target, c->dir, text) == 0) {
			last_set(c, v, text);
			*out = a;
			return 0;
		}
		if (errno != EEXIST) {
			err_sys(&c->err, "writing down address %s", text);
			return cni_fail_with(c, CNI_IO);
		}
	}
	char text[SYS_ADDR_TEXT];
	return cni_fail(c, CNI_FULL, "all addresses of %s are given out; pods that have ended give theirs back by DEL or GC",
			sys_prefix_text(p, text));
}

int cni_lease_take(struct cni_call *c, struct cni_lease *out)
{
	if (cni_lock(c) < 0)
		return -1;
	int rc = cni_lease_find(c, out);
	if (rc == 0 && !out->host[0])
		rc = host_name(c, out->host);
	auto_buf struct buf target = { 0 };
	buf_printf(&target, "%.*s/%.*s/%s", SPAN_ARG(c->container), SPAN_ARG(c->ifname), out->host);
	for (int v = V4; v < FAMILIES && rc == 0; v++) {
		if (!c->subnet[v].addr.family || out->addr[v].family)
			continue;
		rc = give(c, v, buf_cstr(&target), &out->addr[v]);
		FAILPOINT("cni.lease.given");
	}
	if (rc < 0)
		(void)cni_lease_drop(c, out); /* the first failure is the one to tell */
	cni_unlock(c);
	return rc;
}

int cni_lease_drop(struct cni_call *c, const struct cni_lease *l)
{
	int rc = 0;
	for (int v = V4; v < FAMILIES; v++) {
		char text[SYS_ADDR_TEXT];
		if (!l->addr[v].family)
			continue;
		if (unlinkat(c->dir, sys_addr_text(&l->addr[v], text), 0) < 0 && errno != ENOENT && rc == 0 && c->code == CNI_OK) {
			err_sys(&c->err, "giving back address %s", text);
			rc = cni_fail_with(c, CNI_IO);
		}
		FAILPOINT("cni.lease.dropped");
	}
	return rc;
}
