/* The verbs. ADD takes the lease first and DEL gives it back last: whatever dies in between has a record by which it is found. */
#include <linux/netlink.h>
#include <stdlib.h>
#include <unistd.h>

#include "cni/cni.h"
#include "cni/private.h"

int cni_fail(struct cni_call *c, enum cni_code code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	err_vset(&c->err, ERR_INVALID, fmt, ap);
	va_end(ap);
	c->code = code;
	return -1;
}

int cni_fail_with(struct cni_call *c, enum cni_code code)
{
	c->code = code;
	return -1;
}

static int sockets_open(struct cni_call *c)
{
	c->route = sys_nl_open(NETLINK_ROUTE, &c->err);
	if (c->route >= 0)
		c->nf = sys_nl_open(NETLINK_NETFILTER, &c->err);
	return c->nf < 0 ? cni_fail_with(c, CNI_IO) : 0;
}

/* ---- the answer */

static void mac_write(struct json_out *o, const uint8_t mac[6])
{
	char text[18];
	json_out_key(o, SPAN("mac"));
	json_out_span(o, span_of(sys_mac_text(mac, text)));
}

static void answer(const struct cni_call *c, const struct cni_lease *l, const struct cni_attached *k, struct buf *out)
{
	static const char *const gateway[] = { "169.254.1.1", "fe80::1" }, *const all[] = { "0.0.0.0/0", "::/0" };
	struct json_out o = { .buf = out };
	char text[SYS_ADDR_TEXT];
	json_out_begin(&o);
	json_out_kspan(&o, "cniVersion", span_of(c->version));
	json_out_key(&o, SPAN("interfaces"));
	json_out_begin_array(&o);
	json_out_begin(&o);
	json_out_kspan(&o, "name", span_of(l->host));
	mac_write(&o, k->host_mac);
	json_out_end(&o);
	json_out_begin(&o);
	json_out_kspan(&o, "name", c->ifname);
	mac_write(&o, k->pod_mac);
	json_out_kspan(&o, "sandbox", c->netns);
	json_out_end(&o);
	json_out_end(&o);
	json_out_key(&o, SPAN("ips"));
	json_out_begin_array(&o);
	for (int v = V4; v < FAMILIES; v++) {
		if (!l->addr[v].family)
			continue;
		json_out_begin(&o);
		if (!cni_version_from(c, "1.0.0"))
			json_out_kspan(&o, "version", v == V4 ? SPAN("4") : SPAN("6"));
		json_out_ki64(&o, "interface", 1);
		struct sys_prefix p = { l->addr[v], v == V4 ? 32 : 128 };
		json_out_kspan(&o, "address", span_of(sys_prefix_text(&p, text)));
		json_out_kspan(&o, "gateway", span_of(gateway[v]));
		json_out_end(&o);
	}
	json_out_end(&o);
	json_out_key(&o, SPAN("routes"));
	json_out_begin_array(&o);
	for (int v = V4; v < FAMILIES; v++) {
		if (!l->addr[v].family)
			continue;
		json_out_begin(&o);
		json_out_kspan(&o, "dst", span_of(all[v]));
		json_out_kspan(&o, "gw", span_of(gateway[v]));
		json_out_end(&o);
	}
	json_out_end(&o);
	json_out_key(&o, SPAN("dns"));
	const struct json *dns = json_getl(&c->conf, "dns");
	if (json_is(dns, JSON_OBJECT)) {
		json_out_value(&o, dns);
	} else {
		json_out_begin(&o);
		json_out_end(&o);
	}
	json_out_end(&o);
	buf_chr(out, '\n');
}

/* ---- the verbs */

static int publish(struct cni_call *c, const struct cni_lease *l)
{
	if (cni_lock(c) < 0)
		return -1;
	int rc = cni_kept_write(c, l);
	if (rc == 0)
		rc = cni_ports_add(c, l);
	cni_unlock(c);
	return rc;
}

static int unpublish(struct cni_call *c, const struct cni_lease *l)
{
	if (c->dir < 0) /* there never was an ADD */
		return cni_ports_drop(c, l);
	if (cni_lock(c) < 0)
		return -1;
	cni_kept_remove(c, l);
	int rc = cni_ports_drop(c, l);
	cni_unlock(c);
	return rc;
}

static int add(struct cni_call *c, struct buf *out)
{
	struct cni_lease l;
	struct cni_attached k;
	if (json_is(json_getl(&c->conf, "prevResult"), JSON_OBJECT))
		return cni_fail(c, CNI_CONFIG, "knarr-cni makes the pod's interface: it must be the first plugin of its list");
	if (cni_state_open(c, true) < 0 || sockets_open(c) < 0 || cni_table_ready(c) < 0 || cni_lease_take(c, &l) < 0)
		return -1;
	if (cni_attach(c, &l, &k) == 0 && publish(c, &l) == 0) {
		answer(c, &l, &k, out);
		return 0;
	}
	/* Code and words of the first failure stay. */
	(void)unpublish(c, &l);
	if (c->code != CNI_THERE || l.host[0])
		(void)cni_detach(c, l.host);
	(void)cni_lease_drop(c, &l);
	return -1;
}

static int leave(struct cni_call *c, const struct cni_lease *l)
{
	if (unpublish(c, l) < 0)
		return -1;
	FAILPOINT("cni.del.ports");
	if (cni_detach(c, l->host) < 0)
		return -1;
	FAILPOINT("cni.del.detached");
	return cni_lease_drop(c, l);
}

static int del(struct cni_call *c)
{
	struct cni_lease l = { 0 };
	int state = cni_state_open(c, false);
	if (state < 0 || sockets_open(c) < 0 || (state == 0 && cni_lease_find(c, &l) < 0))
		return -1;
	return leave(c, &l);
}

static int check(struct cni_call *c)
{
	struct cni_lease l = { 0 };
	char text[SYS_ADDR_TEXT];
	if (!cni_version_from(c, "0.4.0"))
		return cni_fail(c, CNI_INCOMPATIBLE, "CHECK is a verb of cniVersion 0.4.0 and later");
	const struct json *prev = json_getl(&c->conf, "prevResult");
	if (!json_is(prev, JSON_OBJECT))
		return cni_fail(c, CNI_CONFIG, "CHECK needs prevResult");
	int state = cni_state_open(c, false);
	if (state < 0 || (state == 0 && cni_lease_find(c, &l) < 0))
		return -1;
	if (!l.host[0])
		return cni_fail(c, CNI_DIFFERENT, "the container has no address of this network");
	for (int v = V4; v < FAMILIES; v++) {
		bool told = !l.addr[v].family;
		struct sys_prefix p = { l.addr[v], v == V4 ? 32 : 128 };
		JSON_EACH_ITEM(json_getl(prev, "ips"), ip)
			told |= l.addr[v].family && span_is(json_span(json_getl(ip, "address")), sys_prefix_text(&p, text));
		if (!told)
			return cni_fail(c, CNI_DIFFERENT, "prevResult does not have the pod's address %s", sys_prefix_text(&p, text));
	}
	if (sockets_open(c) < 0 || cni_ports_check(c, &l) < 0)
		return -1;
	return cni_check(c, &l);
}

/* ---- GC (1.1.0): what is not in cni.dev/valid-attachments goes */

struct dead {
	struct span container, ifname; /* in the call's arena */
	struct cni_lease lease;
};
struct gc {
	struct cni_call *c;
	const struct json *valid;
	struct dead *dead;
	size_t n, cap;
};

static int on_lease(void *arg, struct span container, struct span ifname, const struct cni_lease *one)
{
	struct gc *g = arg;
	JSON_EACH_ITEM(g->valid, a)
		if (span_eq(json_span(json_getl(a, "containerID")), container) && span_eq(json_span(json_getl(a, "ifname")), ifname))
			return 0;
	MEM_GROW(g->dead, g->n, g->cap);
	g->dead[g->n++] = (struct dead){ arena_span(&g->c->arena, container), arena_span(&g->c->arena, ifname), *one };
	return 0;
}

static int gc(struct cni_call *c)
{
	struct gc g = { .c = c, .valid = json_getl(&c->conf, "cni.dev/valid-attachments") };
	if (!cni_version_from(c, "1.1.0"))
		return cni_fail(c, CNI_INCOMPATIBLE, "GC is a verb of cniVersion 1.1.0 and later");
	if (g.valid && g.valid->kind == JSON_NULL)
		g.valid = NULL;
	if (g.valid && g.valid->kind != JSON_ARRAY)
		return cni_fail(c, CNI_CONFIG, "cni.dev/valid-attachments is no list");
	int state = cni_state_open(c, false);
	if (state != 0)
		return state < 0 ? -1 : 0;
	int rc = sockets_open(c) < 0 ? -1 : cni_lease_each(c, on_lease, &g);
	for (size_t i = 0; rc == 0 && i < g.n; i++)
		rc = leave(c, &g.dead[i].lease);
	free(g.dead);
	return rc < 0 ? rc : cni_sweep(c);
}

static int on_count(void *arg, struct span container, struct span ifname, const struct cni_lease *one)
{
	unsigned *n = arg;
	*n += one->addr[V4].family != 0;
	return 0;
}

static int status(struct cni_call *c)
{
	char text[SYS_ADDR_TEXT];
	unsigned n = 0;
	if (!cni_version_from(c, "1.1.0"))
		return cni_fail(c, CNI_INCOMPATIBLE, "STATUS is a verb of cniVersion 1.1.0 and later");
	if (!c->subnet[V4].addr.family && !c->subnet[V6].addr.family)
		return cni_fail(c, CNI_NOT_AVAILABLE, "the configuration has no subnet");
	if (cni_state_open(c, true) < 0 || cni_lease_each(c, on_count, &n) < 0 || sockets_open(c) < 0)
		return cni_fail_with(c, CNI_NOT_AVAILABLE);
	if (c->subnet[V4].addr.family && n + 3 >= sys_prefix_size(&c->subnet[V4]))
		return cni_fail(c, CNI_NOT_AVAILABLE, "all addresses of %s are given out", sys_prefix_text(&c->subnet[V4], text));
	return 0;
}

static int version(const struct cni_call *c, struct buf *out)
{
	struct json_out o = { .buf = out };
	json_out_begin(&o);
	json_out_kspan(&o, "cniVersion", span_of(c->version));
	json_out_key(&o, SPAN("supportedVersions"));
	cni_versions_write(&o);
	json_out_end(&o);
	buf_chr(out, '\n');
	return 0;
}

static int run(struct cni_call *c, struct buf *out)
{
	auto_buf struct buf text = { 0 };
	if (io_read_all(STDIN_FILENO, &text, CNI_CONF_MAX, &c->err) < 0)
		return cni_fail_with(c, CNI_DECODE);
	if (cni_conf_read(c, buf_span(&text)) < 0)
		return -1;
	if (span_is(c->command, "ADD"))
		return add(c, out);
	if (span_is(c->command, "DEL"))
		return del(c);
	if (span_is(c->command, "CHECK"))
		return check(c);
	if (span_is(c->command, "GC"))
		return gc(c);
	if (span_is(c->command, "STATUS"))
		return status(c);
	if (span_is(c->command, "VERSION"))
		return version(c, out);
	return cni_fail(c, CNI_ENVIRONMENT, "CNI_COMMAND \"%.*s\" is none", SPAN_ARG(c->command));
}

int cni_restore(const char *state, const char *id, struct err *err)
{
	struct cni_call c = { .dir = -1, .route = -1, .nf = -1, .state = state };
	snprintf(c.table, sizeof(c.table), "knarr_cni_%.8s", id);
	snprintf(c.prefix, sizeof(c.prefix), "k%.8s-", id);
	if (access(state, F_OK) < 0)
		return 0; /* there never was a pod */
	c.nf = sys_nl_open(NETLINK_NETFILTER, &c.err);
	int rc = c.nf < 0 ? c.nf : cni_table_ready(&c) < 0 ? -(int)c.err.class : 0;
	if (rc < 0 && err)
		err_move(err, &c.err);
	err_done(&c.err);
	fd_close(&c.nf);
	return rc;
}

int cni_main(int argc, char **argv)
{
	struct cni_call c = { .version = "1.0.0", .dir = -1, .route = -1, .nf = -1 };
	auto_buf struct buf out = { 0 };
	c.command = span_of(getenv("CNI_COMMAND"));
	c.container = span_of(getenv("CNI_CONTAINERID"));
	c.netns = span_of(getenv("CNI_NETNS"));
	c.ifname = span_of(getenv("CNI_IFNAME"));
	if (!c.command.len) {
		fputs("knarr-cni " KNARR_VERSION ": a CNI plugin, called by a container runtime with CNI_COMMAND set\n", stderr);
		return 1;
	}
	if (run(&c, &out) < 0) {
		struct json_out o = { .buf = &out };
		buf_trunc(&out, 0);
		json_out_begin(&o);
		json_out_kspan(&o, "cniVersion", span_of(c.version));
		json_out_ki64(&o, "code", c.code);
		json_out_key(&o, SPAN("msg"));
		json_out_span(&o, span_of(err_msg(&c.err)));
		json_out_end(&o);
		buf_chr(&out, '\n');
	}
	auto_err struct err err = ERR_INIT;
	bool told = !out.len || io_write_all(STDOUT_FILENO, out.ptr, out.len, &err) == 0;
	int code = c.code != CNI_OK || !told;
	fd_close(&c.dir);
	fd_close(&c.route);
	fd_close(&c.nf);
	err_done(&c.err);
	arena_done(&c.arena);
	return code;
}
