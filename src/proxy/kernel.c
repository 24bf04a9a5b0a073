/* Transactions. Elements go out before others come in, so that one key may move from a service to another within one
 * transaction; the kernel switches to the new generation at once. */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "proxy/kernel.h"

#define BATCH_MAX (32u << 20) /* bytes of one transaction; beyond, the first writing of a table takes several */
#define SEND_ROOM (64 << 20)

struct hairpin {
	unsigned n;
	uint8_t key[1 + 32];
	uint8_t len;
};

int proxy_kernel_open(struct proxy_kernel *k, const char *id, struct err *err)
{
	char table[32];
	int room = SEND_ROOM;
	*k = (struct proxy_kernel){ .sock = sys_nl_open(NETLINK_NETFILTER, err) };
	if (k->sock < 0)
		return k->sock;
	/* Without the right to more (a user namespace) large changes fail with EMSGSIZE, in the kernel's words. */
	(void)setsockopt(k->sock, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	snprintf(table, sizeof(table), "knarr_proxy_%.8s", id);
	sys_nft_init(&k->nft, k->sock, NFPROTO_INET, table);
	return 0;
}

static void hairpins_forget(struct proxy_kernel *k)
{
	MAP_EACH(&k->hairpins, e)
		free(e->value);
	map_clear(&k->hairpins);
}

void proxy_kernel_done(struct proxy_kernel *k)
{
	hairpins_forget(k);
	map_done(&k->hairpins);
	sys_nft_done(&k->nft);
	proxy_elements_done(&k->ranges);
	fd_close(&k->sock);
}

static void emit(struct proxy_kernel *k, const struct proxy_element *e, bool add)
{
	const struct sys_nft_set *row = proxy_set_row(e->family, e->set);
	sys_nft_element(&k->nft, row, add, e->key, e->key_end, e->data_len ? e->data : NULL, false);
}

/* Several services may have an endpoint on this node: the pair is in the kernel while anybody wants it. */
static bool counted(struct proxy_kernel *k, const struct proxy_element *e, bool add)
{
	uint8_t name[1 + 32];
	name[0] = e->family;
	memcpy(name + 1, e->key, e->key_len);
	struct span key = span_make(name, 1u + e->key_len);
	struct hairpin *h = map_get(&k->hairpins, key);
	if (add && h) {
		h->n++;
		return false;
	}
	if (add) {
		h = mem_new(struct hairpin);
		h->n = 1;
		h->len = (uint8_t)key.len;
		memcpy(h->key, name, key.len);
		(void)map_put(&k->hairpins, span_make(h->key, h->len), h); /* was absent */
		return true;
	}
	assert(h && h->n);
	if (--h->n)
		return false;
	(void)map_remove(&k->hairpins, key);
	free(h);
	return true;
}

static void out(void *arg, const struct proxy_element *e)
{
	struct proxy_kernel *k = arg;
	if (e->set != PROXY_HAIRPIN || counted(k, e, false))
		emit(k, e, false);
}

static void put(void *arg, const struct proxy_element *e)
{
	struct proxy_kernel *k = arg;
	if (e->set != PROXY_HAIRPIN || counted(k, e, true))
		emit(k, e, true);
}

static void skip(void *arg, const struct proxy_element *e)
{
}

int proxy_kernel_change(struct proxy_kernel *k, const struct proxy_step *steps, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++)
		proxy_elements_diff(steps[i].from, steps[i].to, out, skip, k);
	FAILPOINT("proxy.change.before");
	for (size_t i = 0; i < n; i++)
		proxy_elements_diff(steps[i].from, steps[i].to, skip, put, k);
	int rc = sys_nft_commit(&k->nft, "changing services", err);
	FAILPOINT("proxy.change.after");
	return rc;
}

/* A prefix as two elements: its first address, and the end that is the first one behind it. */
static void range(struct proxy_kernel *k, const struct proxy_element *e)
{
	const struct sys_nft_set *row = proxy_set_row(e->family, e->set);
	uint8_t next[16];
	sys_nft_element(&k->nft, row, true, e->key, NULL, NULL, false);
	memcpy(next, e->key_end, e->key_len);
	for (unsigned i = e->key_len; i-- > 0;)
		if (++next[i] != 0) {
			sys_nft_element(&k->nft, row, true, next, NULL, NULL, true);
			return;
		}
}

static void ranges_add(struct proxy_kernel *k, bool empty_first)
{
	static const enum proxy_set few[] = { PROXY_PODS, PROXY_MINE, PROXY_RANGE };
	for (int v = V4; empty_first && v < FAMILIES; v++)
		for (size_t i = 0; i < ARRAY_LEN(few); i++)
			sys_nft_flush(&k->nft, proxy_set_row(v, few[i]));
	for (size_t i = 0; i < k->ranges.n; i++) {
		struct proxy_element e = proxy_elements_at(&k->ranges, i);
		range(k, &e);
	}
}

int proxy_kernel_ranges(struct proxy_kernel *k, struct err *err)
{
	if (!k->written)
		return 0; /* they come with the table */
	ranges_add(k, true);
	return sys_nft_commit(&k->nft, "changing ranges", err);
}

/* ---- comparing */

struct have {
	struct proxy_elements *all;
	int v;
	enum proxy_set set;
};

static int on_element(void *arg, struct span key, struct span data, uint32_t flags)
{
	struct have *h = arg;
	const struct sys_nft_set *row = proxy_set_row(h->v, h->set);
	if (key.len != sys_nft_key_len(row) || data.len != sys_nft_data_len(row))
		return 0; /* cannot be: sets have one length of keys */
	proxy_elements_put(h->all, h->v, h->set, key.ptr, NULL, data.ptr);
	return 0;
}

/* Filled by rules, or rewritten as a whole. */
static bool compared(enum proxy_set s)
{
	return s != PROXY_AFFINITY && s != PROXY_PODS && s != PROXY_MINE && s != PROXY_RANGE && s != PROXY_SOURCES;
}

static int look(struct proxy_kernel *k, struct proxy_elements *have, struct err *err)
{
	for (int v = V4; v < FAMILIES; v++)
		for (unsigned s = 0; s < PROXY_SET_COUNT; s++) {
			struct have h = { .all = have, .v = v, .set = s };
			int rc = !compared(s) ? 0 : sys_nft_each(k->sock, NFPROTO_INET, k->nft.table, proxy_set_row(v, s)->name,
								 on_element, &h, err);
			if (rc < 0)
				return rc;
		}
	proxy_elements_sort(have);
	return 0;
}

static void merge(const struct proxy_elements *const *all, size_t n, struct proxy_elements *wanted, struct proxy_elements *sources)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < all[i]->n; j++) {
			struct proxy_element e = proxy_elements_at(all[i], j);
			proxy_elements_put(e.set == PROXY_SOURCES ? sources : wanted, e.family, e.set, e.key, e.key_end, e.data);
		}
	proxy_elements_sort(wanted);
	proxy_elements_sort(sources);
}

struct correcting {
	struct proxy_kernel *k;
	size_t n;
	int rc;
	struct err *err;
	bool may_split;
};

static void wrong(void *arg, const struct proxy_element *e)
{
	struct correcting *c = arg;
	emit(c->k, e, false);
	c->n++;
}

static void missing(void *arg, const struct proxy_element *e)
{
	struct correcting *c = arg;
	emit(c->k, e, true);
	c->n++;
	if (c->rc == 0 && c->may_split && c->k->nft.batch.out.len > BATCH_MAX)
		c->rc = sys_nft_commit(&c->k->nft, "writing services", c->err);
}

static void recount(struct proxy_kernel *k, const struct proxy_elements *const *all, size_t n)
{
	hairpins_forget(k);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < all[i]->n; j++) {
			struct proxy_element e = proxy_elements_at(all[i], j);
			if (e.set == PROXY_HAIRPIN)
				(void)counted(k, &e, true); /* the count alone */
		}
}

int proxy_kernel_put_right(struct proxy_kernel *k, const struct proxy_elements *const *all, size_t n, size_t *out_changed,
			   struct err *err)
{
	struct proxy_elements have = { 0 }, wanted = { 0 }, sources = { 0 };
	char comment[64];
	auto_err struct err why = ERR_INIT;
	sys_nft_drop(&k->nft);
	int rc = sys_nft_table_comment(k->sock, NFPROTO_INET, k->nft.table, comment, &why);
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return err ? err_move(err, &why) : rc;
	bool there = rc == 0 && strcmp(comment, PROXY_TABLE_VERSION) == 0;
	merge(all, n, &wanted, &sources);
	rc = there ? look(k, &have, err) : 0;
	struct correcting c = { .k = k, .err = err, .may_split = !there };
	if (rc == 0) {
		if (!there) {
			/* Another version's table goes and ours comes in one transaction: connections that are set up now find
			 * either. */
			sys_nft_table_delete_add(&k->nft);
			proxy_table_write(&k->nft);
		}
		ranges_add(k, there);
		proxy_elements_diff(&have, &wanted, wrong, skip, &c);
		proxy_elements_diff(&have, &wanted, skip, missing, &c);
		rc = c.rc;
	}
	for (int v = V4; rc == 0 && there && v < FAMILIES; v++)
		sys_nft_flush(&k->nft, proxy_set_row(v, PROXY_SOURCES));
	for (size_t i = 0; rc == 0 && i < sources.n; i++) {
		struct proxy_element e = proxy_elements_at(&sources, i);
		emit(k, &e, true);
	}
	FAILPOINT("proxy.right.before");
	if (rc == 0)
		rc = sys_nft_commit(&k->nft, "putting services right", err);
	FAILPOINT("proxy.right.after");
	if (rc == 0) {
		k->written = true;
		recount(k, all, n);
		if (out_changed)
			*out_changed = c.n;
	}
	proxy_elements_done(&have);
	proxy_elements_done(&wanted);
	proxy_elements_done(&sources);
	return rc;
}

/* ---- others */

struct obstacles {
	const struct proxy_kernel *k;
	struct buf *out;
};

static int on_chain(void *arg, const struct nlmsghdr *m)
{
	struct obstacles *o = arg;
	const struct nlattr *a[NFTA_CHAIN_TYPE + 1], *h[NFTA_HOOK_PRIORITY + 1] = { NULL };
	if (m->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN) || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg)))
		return 0;
	const char *body = (const char *)NLMSG_DATA(m) + NLMSG_ALIGN(sizeof(struct nfgenmsg));
	sys_nl_attrs(body, m->nlmsg_len - NLMSG_LENGTH(sizeof(struct nfgenmsg)), a, ARRAY_LEN(a));
	struct span table = sys_nl_text(a[NFTA_CHAIN_TABLE]), name = sys_nl_text(a[NFTA_CHAIN_NAME]);
	if (a[NFTA_CHAIN_HOOK])
		sys_nl_attrs(sys_nl_data(a[NFTA_CHAIN_HOOK]), sys_nl_len(a[NFTA_CHAIN_HOOK]), h, ARRAY_LEN(h));
	bool forward = h[NFTA_HOOK_HOOKNUM] && sys_nl_get_be32(h[NFTA_HOOK_HOOKNUM]) == NF_INET_FORWARD;
	if (forward && a[NFTA_CHAIN_POLICY] && sys_nl_get_be32(a[NFTA_CHAIN_POLICY]) == NF_DROP && !span_starts(table, SPAN("knarr_")))
		buf_printf(o->out, "nftables table %.*s, chain %.*s drops forwarded packets by policy\n", SPAN_ARG(table),
			   SPAN_ARG(name));
	return 0;
}

int proxy_kernel_obstacles(struct proxy_kernel *k, struct buf *out_lines, struct err *err)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	struct obstacles o = { k, out_lines };
	sys_nl_end(&b, sys_nft_message(&b, NFT_MSG_GETCHAIN, NLM_F_DUMP, NFPROTO_UNSPEC));
	return sys_nl_ask(k->sock, &b, on_chain, &o, "looking at others' chains", err);
}
