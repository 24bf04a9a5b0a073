/* Firewalls of others whose forward policy is drop. What we accept in our own table does not help against them: a drop is
 * final.
 *
 * The exceptions (and no other): two accept rules for each way of ours (a bridge, the interfaces of pods, a cluster's cable) in
 * the chain that each of them keeps for exactly this purpose, DOCKER-USER of Docker and ufw-user-forward of ufw (what `ufw route
 * allow` writes). Each carries a comment with our ID, by which it is found and taken back. Everything else that drops is told in
 * the notes and left alone. firewalld's chain has no policy that drops but ends in a rule that rejects: it is asked to put our
 * interfaces into its zone trusted (firewalld.c). */
#include <net/if.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include "network/private.h"

#define SETTLE_MS 200 /* others write their rules in many transactions */

static const struct row {
	uint8_t family;
	const char *table, *base, *chain, *who;
} rows[] = {
	{ NFPROTO_IPV4, "filter", "FORWARD", "DOCKER-USER", "Docker" },
	{ NFPROTO_IPV6, "filter", "FORWARD", "DOCKER-USER", "Docker" },
	{ NFPROTO_IPV4, "filter", "FORWARD", "ufw-user-forward", "ufw" },
	{ NFPROTO_IPV6, "filter", "FORWARD", "ufw6-user-forward", "ufw" },
};

struct seen {
	const char *own; /* our table */
	bool there[ARRAY_LEN(rows)], drops[ARRAY_LEN(rows)], firewalld;
	struct buf others; /* lines for the notes */
};

static int on_chain(void *arg, const struct nlmsghdr *m)
{
	struct seen *s = arg;
	const struct nlattr *a[NFTA_CHAIN_TYPE + 1], *h[NFTA_HOOK_PRIORITY + 1];
	if (m->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN) || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg)))
		return 0;
	const struct nfgenmsg *g = NLMSG_DATA(m);
	sys_nl_attrs((const char *)g + NLMSG_ALIGN(sizeof(*g)), m->nlmsg_len - NLMSG_LENGTH(sizeof(*g)), a, ARRAY_LEN(a));
	struct span table = sys_nl_text(a[NFTA_CHAIN_TABLE]), name = sys_nl_text(a[NFTA_CHAIN_NAME]);
	bool drop = a[NFTA_CHAIN_POLICY] && sys_nl_get_be32(a[NFTA_CHAIN_POLICY]) == NF_DROP, known = false;
	memset(h, 0, sizeof(h));
	if (a[NFTA_CHAIN_HOOK])
		sys_nl_attrs(sys_nl_data(a[NFTA_CHAIN_HOOK]), sys_nl_len(a[NFTA_CHAIN_HOOK]), h, ARRAY_LEN(h));
	bool forward = h[NFTA_HOOK_HOOKNUM] && sys_nl_get_be32(h[NFTA_HOOK_HOOKNUM]) == NF_INET_FORWARD;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (g->nfgen_family != rows[i].family || !span_is(table, rows[i].table))
			continue;
		if (span_is(name, rows[i].chain))
			s->there[i] = true;
		if (span_is(name, rows[i].base) && forward && drop)
			s->drops[i] = known = true;
	}
	bool ip = g->nfgen_family == NFPROTO_IPV4 || g->nfgen_family == NFPROTO_IPV6 || g->nfgen_family == NFPROTO_INET;
	if (forward && !drop && span_is(table, "firewalld") && span_is(name, "filter_FORWARD"))
		s->firewalld = true;
	if (forward && drop && !known && ip && !span_is(table, s->own))
		buf_printf(&s->others,
			"nftables table %.*s, chain %.*s drops forwarded packets by policy: containers reach nothing beyond "
			   "this host until it accepts their bridges\n", SPAN_ARG(table), SPAN_ARG(name));
	return 0;
}

struct ours {
	struct sys_nl_batch *batch;
	const struct row *row;
	char mark[32];
	unsigned n;
};

/* A rule whose comment is ours goes. */
static int on_rule(void *arg, const struct nlmsghdr *m)
{
	struct ours *o = arg;
	const struct nlattr *a[NFTA_RULE_USERDATA + 1];
	if (m->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE) || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg)))
		return 0;
	const struct nfgenmsg *g = NLMSG_DATA(m);
	sys_nl_attrs((const char *)g + NLMSG_ALIGN(sizeof(*g)), m->nlmsg_len - NLMSG_LENGTH(sizeof(*g)), a, ARRAY_LEN(a));
	if (!a[NFTA_RULE_USERDATA] || !a[NFTA_RULE_HANDLE] || sys_nl_len(a[NFTA_RULE_HANDLE]) != 8)
		return 0;
	/* As network_nft_accept_add writes it: type 0, length, text. */
	struct span data = span_make(sys_nl_data(a[NFTA_RULE_USERDATA]), sys_nl_len(a[NFTA_RULE_USERDATA]));
	if (data.len < 3 || data.ptr[0] != 0 || !span_starts(span_from(data, 2), span_of(o->mark)))
		return 0;
	size_t del = sys_nft_message(o->batch, NFT_MSG_DELRULE, 0, o->row->family);
	sys_nl_str(o->batch, NFTA_RULE_TABLE, o->row->table);
	sys_nl_str(o->batch, NFTA_RULE_CHAIN, o->row->chain);
	sys_nl_put(o->batch, NFTA_RULE_HANDLE, sys_nl_data(a[NFTA_RULE_HANDLE]), 8);
	sys_nl_end(o->batch, del);
	o->n++;
	return 0;
}

static int look(int filter, struct seen *s, struct err *err)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	sys_nl_end(&b, sys_nft_message(&b, NFT_MSG_GETCHAIN, NLM_F_DUMP, NFPROTO_UNSPEC));
	return sys_nl_ask(filter, &b, on_chain, s, "listing nftables chains", err);
}

/* Whose packets are let through, in the namespace of the socket. */
struct firewall {
	const char *id;
	int filter;
	const struct network_engine *engine; /* its bridges, and the interfaces of pods; NULL: none */
	const char *cable;		     /* NULL: none */
};

static void accept_add(const struct firewall *f, struct sys_nl_batch *b, const struct row *r, const char *name, bool prefix,
		       unsigned *added)
{
	char comment[64];
	int len = snprintf(comment, sizeof(comment), "knarr:%s:%s", f->id, name);
	for (int out = 0; out < 2; out++)
		network_nft_accept_add(b, r->family, r->table, r->chain, out, name, prefix, span_make(comment, (size_t)len));
	*added += 2;
}

/* Ours out, and in again for every way where `add`. */
static int rewrite(const struct firewall *f, const struct row *r, bool add, unsigned *out_added, struct err *err)
{
	auto_nl_batch struct sys_nl_batch ask = { 0 }, b = { 0 };
	struct ours o = { .batch = &b, .row = r };
	snprintf(o.mark, sizeof(o.mark), "knarr:%s:", f->id);
	sys_nft_batch_begin(&b);
	size_t m = sys_nft_message(&ask, NFT_MSG_GETRULE, NLM_F_DUMP, r->family);
	sys_nl_str(&ask, NFTA_RULE_TABLE, r->table);
	sys_nl_str(&ask, NFTA_RULE_CHAIN, r->chain);
	sys_nl_end(&ask, m);
	int rc = sys_nl_ask(f->filter, &ask, on_rule, &o, "listing nftables rules", err);
	if (rc < 0)
		return rc;
	if (add && f->cable)
		accept_add(f, &b, r, f->cable, false, out_added);
	if (add && f->engine) {
		LIST_EACH(&f->engine->networks, n, struct network, link)
			if (n->driver == NETWORK_BRIDGE)
				accept_add(f, &b, r, n->bridge, false, out_added);
		if (f->engine->opts.pods) {
			char pods[IFNAMSIZ];
			snprintf(pods, sizeof(pods), "k%s-", f->id);
			accept_add(f, &b, r, pods, true, out_added);
		}
	}
	if (o.n == 0 && *out_added == 0)
		return 0;
	sys_nft_batch_end(&b);
	return sys_nl_commit(f->filter, &b, NULL, "exceptions in another firewall", err);
}

#define FIREWALLD_WORDS                                                                                                            \
	"firewalld rejects forwarded packets of interfaces that are in no zone that lets them pass: containers reach nothing beyond "  \
	"this host until their interfaces are in zone trusted"

/* out_firewalld: are its rules here? */
static void settle(const struct firewall *f, const char *own, bool wanted, bool leave, struct buf *out_notes, bool *out_firewalld)
{
	auto_err struct err err = ERR_INIT;
	struct seen s = { .own = own };
	int rc = look(f->filter, &s, &err);
	for (size_t i = 0; i < ARRAY_LEN(rows) && rc == 0; i++) {
		unsigned added = 0;
		const char *family = rows[i].family == NFPROTO_IPV4 ? "IPv4" : "IPv6";
		if (!s.there[i])
			continue;
		rc = rewrite(f, &rows[i], wanted && s.drops[i] && !leave, &added, &err);
		if (added)
			buf_printf(out_notes, "%s drops forwarded %s packets: %u accept rules for our bridges stand in its chain %s\n",
				   rows[i].who, family, added, rows[i].chain);
		else if (wanted && s.drops[i])
			buf_printf(out_notes,
				   "%s drops forwarded %s packets: containers reach nothing beyond this host until chain %s accepts their "
				   "bridges\n", rows[i].who, family, rows[i].chain);
	}
	if (rc < 0)
		buf_printf(out_notes, "firewalls of others: %s\n", err_msg(&err));
	buf_span_add(out_notes, buf_span(&s.others));
	buf_done(&s.others);
	*out_firewalld = s.firewalld;
}

static void firewalld_said(void *engine, const struct err *err)
{
	struct network_engine *e = engine;
	buf_trunc(&e->firewalld_note, 0);
	if (err)
		buf_printf(&e->firewalld_note, FIREWALLD_WORDS ", which it did not do: %s\n", err_msg(err));
	else
		buf_str(&e->firewalld_note, "firewalld rejects forwarded packets: our bridges stand in its zone trusted\n");
}

/* Every way of ours into its zone, and those that are gone out of it. */
static void firewalld_settle(struct network_engine *e, bool wanted, bool there)
{
	unsigned n = 0, n_max = 1;
	char pods[IFNAMSIZ + 1];
	if (!there || (e->opts.firewall_leave && wanted)) {
		buf_trunc(&e->firewalld_note, 0);
		if (there)
			buf_str(&e->firewalld_note, FIREWALLD_WORDS "\n");
		return;
	}
	LIST_EACH(&e->networks, net, struct network, link)
		n_max++;
	const char **names = mem_realloc_n(NULL, n_max, sizeof(*names));
	LIST_EACH(&e->networks, net, struct network, link)
		if (wanted && net->driver == NETWORK_BRIDGE)
			names[n++] = net->bridge;
	if (wanted && e->opts.pods) {
		snprintf(pods, sizeof(pods), "k%s-+", e->id);
		names[n++] = pods;
	}
	if (!e->firewalld)
		e->firewalld = network_firewalld_new(e->opts.loop, firewalld_said, e);
	network_firewalld_want(e->firewalld, names, n);
	free(names);
}

static void engine_settle(struct network_engine *e, bool wanted)
{
	const struct firewall f = { .id = e->id, .filter = e->filter, .engine = e };
	auto_buf struct buf notes = { 0 };
	bool firewalld = false;
	settle(&f, e->nft.table, wanted, e->opts.firewall_leave, &notes, &firewalld);
	firewalld_settle(e, wanted, firewalld);
	buf_trunc(&e->firewall_notes, 0);
	if (wanted)
		buf_span_add(&e->firewall_notes, buf_span(&notes));
}

int network_forward_notes(struct buf *out, struct buf *others, struct err *err)
{
	struct seen s = { .own = "" };
	auto_fd int filter = sys_nl_open(NETLINK_NETFILTER, err);
	if (filter < 0)
		return -(int)(err ? err->class : ERR_IO);
	int rc = look(filter, &s, err);
	for (size_t i = 0; i < ARRAY_LEN(rows) && rc == 0; i++)
		if (s.there[i] && s.drops[i])
			buf_printf(out, "%s drops forwarded %s packets unless its chain %s accepts them\n", rows[i].who,
				   rows[i].family == NFPROTO_IPV4 ? "IPv4" : "IPv6", rows[i].chain);
	buf_span_add(others, buf_span(&s.others));
	if (s.firewalld)
		buf_str(others, FIREWALLD_WORDS "\n");
	buf_done(&s.others);
	return rc;
}

void network_firewall_settle(struct network_engine *e)
{
	engine_settle(e, true);
}

void network_firewall_clear(struct network_engine *e)
{
	engine_settle(e, false);
}

/* ---- changes by others */

struct network_watch {
	void (*fn)(void *arg); /* NULL = closing */
	void *arg;
	int sock;
	uint32_t own; /* port of the socket that we change nftables by: what it did is no news */
	struct loop_fd fd;
	struct loop_timer timer;
};

static void on_quiet(struct loop_timer *t)
{
	struct network_watch *w = container_of(t, struct network_watch, timer);
	w->fn(w->arg);
}

static void on_change(struct loop_fd *f, unsigned events)
{
	struct network_watch *w = container_of(f, struct network_watch, fd);
	_Alignas(struct nlmsghdr) char data[16384];
	bool news = false;
	while (true) {
		ssize_t n = recv(w->sock, data, sizeof(data), MSG_DONTWAIT);
		if (n < 0 && errno == ENOBUFS) { /* more happened than was kept for us */
			news = true;
			continue;
		}
		if (n < 0)
			break;
		for (struct nlmsghdr *m = (struct nlmsghdr *)(void *)data; NLMSG_OK(m, (size_t)n); m = NLMSG_NEXT(m, n))
			news = news || m->nlmsg_pid != w->own;
	}
	if (news && !loop_timer_running(&w->timer))
		loop_timer_start(&w->timer, SETTLE_MS);
}

static int listen_open(struct err *err)
{
	static const int groups[] = { NFNLGRP_NFTABLES, 0 };
	return sys_nl_listen(NETLINK_NETFILTER, groups, err);
}

/* Takes the socket over. */
static int watch_open(struct loop *l, int sock, uint32_t own, void (*fn)(void *arg), void *arg, struct network_watch **out,
		      struct err *err)
{
	struct network_watch *w = mem_new(struct network_watch);
	w->fn = fn;
	w->arg = arg;
	w->own = own;
	w->sock = sock;
	loop_timer_init(&w->timer, l, "firewalls of others", on_quiet);
	w->timer.background = true;
	int rc = loop_fd_open(&w->fd, l, "changes of nftables", sock, on_change, err);
	if (rc < 0) {
		fd_close(&w->sock);
		free(w);
		return rc;
	}
	loop_fd_background(&w->fd, true);
	loop_fd_want(&w->fd, LOOP_READ);
	*out = w;
	return 0;
}

static void on_engine_news(void *arg)
{
	network_nft_check(arg);
	network_firewall_settle(arg);
}

int network_watch_open(struct network_engine *e, struct err *err)
{
	int s = listen_open(err);
	return s < 0 ? s : watch_open(e->opts.loop, s, sys_nl_port(e->filter), on_engine_news, e, &e->watch, err);
}

static void watch_closed(struct loop_fd *f)
{
	free(container_of(f, struct network_watch, fd));
}

void network_watch_close(struct network_watch *w)
{
	if (!w)
		return;
	w->fn = NULL;
	loop_timer_stop(&w->timer);
	loop_fd_close(&w->fd, watch_closed);
	fd_close(&w->sock);
}

/* ---- a cluster's cable */

struct network_passage {
	char id[9], name[IFNAMSIZ];
	struct sys_prefix cable; /* its addresses; family 0: not known yet */
	int filter, news; /* in the host's namespace, wherever the process is by now */
	struct network_watch *watch;
	struct network_firewalld *firewalld; /* NULL before there is a loop */
};

static void passage_said(void *passage, const struct err *err)
{
	if (err)
		log_warn("firewalld did not take a cluster's cable into its zone trusted", kv_err(err));
}

static void passage_settle(void *arg)
{
	struct network_passage *p = arg;
	const struct firewall f = { .id = p->id, .filter = p->filter, .cable = p->name };
	auto_buf struct buf notes = { 0 };
	auto_err struct err err = ERR_INIT;
	char table[32], comment[64];
	snprintf(table, sizeof(table), "knarr_net_%s", p->id);
	if (p->cable.addr.family && sys_nft_table_comment(p->filter, NFPROTO_INET, table, comment, &err) == -ERR_NOT_FOUND) {
		err_done(&err);
		if (network_cable_table(p->filter, p->id, &p->cable, &err) < 0)
			log_warn("a cluster's masquerading could not be written again", kv_err(&err));
	}
	bool firewalld;
	settle(&f, "", true, false, &notes, &firewalld); /* what stands in the way is doctor's to tell */
	if (firewalld && p->firewalld)
		network_firewalld_want(p->firewalld, (const char *[]){ p->name }, 1);
}

int network_passage_open(const struct network_cable *c, struct network_passage **out, struct err *err)
{
	auto_fd int filter = sys_nl_open(NETLINK_NETFILTER, err), news = filter < 0 ? -1 : listen_open(err);
	if (news < 0)
		return -(int)(err ? err->class : ERR_IO);
	struct network_passage *p = mem_new(struct network_passage);
	snprintf(p->id, sizeof(p->id), "%s", c->id);
	network_cable_name(c, p->name);
	p->filter = take_fd(&filter);
	p->news = take_fd(&news);
	passage_settle(p);
	*out = p;
	return 0;
}

int network_passage_watch(struct network_passage *p, const char *address, struct loop *l, struct err *err)
{
	p->cable.bits = 30;
	if (sys_addr_parse(span_of(address), &p->cable.addr))
		p->cable = sys_prefix_mask(p->cable);
	p->firewalld = network_firewalld_new(l, passage_said, p);
	passage_settle(p);
	return watch_open(l, take_fd(&p->news), sys_nl_port(p->filter), passage_settle, p, &p->watch, err);
}

void network_passage_free(struct network_passage *p)
{
	if (!p)
		return;
	network_watch_close(p->watch);
	network_firewalld_free(p->firewalld);
	fd_close(&p->filter);
	fd_close(&p->news);
	free(p);
}

void network_passage_clear(const struct network_cable *c)
{
	const struct firewall f = { .id = c->id, .filter = sys_nl_open(NETLINK_NETFILTER, NULL) };
	auto_buf struct buf notes = { 0 };
	int filter = f.filter;
	bool firewalld;
	if (filter >= 0)
		settle(&f, "", false, false, &notes, &firewalld);
	fd_close(&filter);
}
