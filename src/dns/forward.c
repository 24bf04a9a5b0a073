/* Asking others.
 *
 *     ask ── waits ... ──> server 1 (UDP) ──> too long: the same over TCP
 *      │                    │ FORMERR, NOTIMP: the same without EDNS0
 *      │                    └ no answer in DNS_TRY_MS, SERVFAIL, REFUSED: the next server, DNS_ROUNDS times round
 *      └ answer ──> kept under (name, type, DO, CD) ──> told to all who wait
 *
 * Each try has a socket of its own, connected: the kernel picks its port and drops what others send (RFC 5452 section 9). The
 * server that answered last is asked first.
 *
 * Invariants
 * 1. An ask is in `asks` and `list` from its start to its end; its memory goes when its descriptor is closed in the loop.
 * 2. A kept answer has no OPT record; its TTLs are those of `at_ms`. */
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/inotify.h>

#include "dns/forward.h"

#define KEY_MAX (DNSMSG_NAME_MAX + 3)
#define RESOLV_CONF_MAX (64 << 10)
#define RESOLVED_CONF "/run/systemd/resolve/resolv.conf"

struct key {
	size_t len;
	char b[KEY_MAX];
};

struct server {
	struct sys_addr addr;
	uint16_t port;
	bool loops;
};

struct kept {
	struct list link; /* oldest first */
	struct key key;
	int64_t at_ms, until_ms;
	size_t len;
	uint8_t answer[];
};

struct ask {
	struct list link, waits;
	struct dns_forward *f;
	struct key key;
	struct dnsmsg_name name;
	struct loop_fd fd;
	struct loop_timer timer;
	struct loop_task again; /* the next try, from a turn of its own */
	int sock; /* owned; -1: none */
	uint16_t type, id;
	bool dnssec, cd, tcp, plain, over, closing, probe;
	unsigned first, tries; /* servers are asked from `first` on */
	struct server server;  /* that is asked now */
	size_t query_len, sent;
	uint8_t query[2 + DNSMSG_HEAD + DNSMSG_NAME_MAX + 4 + DNSMSG_OPT_LEN]; /* behind its length, as TCP has it */
	struct buf in;
};

struct dns_forward {
	struct dns_forward_params p;
	struct server servers[DNS_SERVERS_MAX];
	unsigned n_servers, preferred, n_asks, n_waits, n_open;
	struct list list, kept_list;
	struct map asks, kept;
	size_t kept_bytes;
	struct place {
		struct dns_forward *f;
		struct loop_watch watch;
		char file[NAME_MAX + 1];
	} places[2];
	unsigned n_places;
	struct loop_task reread;
	bool stopping;
	struct dns_forward_counts counts;
	struct dnsmsg_name probes[DNS_SERVERS_MAX];
	struct buf told; /* what dns_forward_ask gave out */
};

static void ask_begin(struct ask *a);

static void key_set(struct key *k, const struct dnsmsg_name *name, uint16_t type, bool dnssec, bool cd)
{
	memcpy(k->b, name->b, name->len);
	k->b[name->len] = (char)(type >> 8);
	k->b[name->len + 1] = (char)type;
	k->b[name->len + 2] = (char)(dnssec | cd << 1);
	k->len = name->len + 3u;
}

static struct span key_span(const struct key *k)
{
	return span_make(k->b, k->len);
}

/* ---- what is kept */

static void kept_drop(struct dns_forward *f, struct kept *k)
{
	list_remove(&k->link);
	map_remove(&f->kept, key_span(&k->key));
	f->kept_bytes -= sizeof(*k) + k->len;
	free(k);
}

static void keep(struct dns_forward *f, const struct key *key, struct span answer, uint32_t ttl_s, bool negative)
{
	struct kept *k = map_get(&f->kept, key_span(key));
	if (k)
		kept_drop(f, k);
	ttl_s = MIN(ttl_s, (uint32_t)(negative ? DNS_KEEP_NEGATIVE_MAX_S : DNS_KEEP_MAX_S));
	if (!ttl_s)
		return;
	k = mem_zalloc(sizeof(*k) + answer.len);
	k->key = *key;
	k->at_ms = loop_now_ms(f->p.loop);
	k->until_ms = k->at_ms + (int64_t)ttl_s * 1000;
	k->len = answer.len;
	memcpy(k->answer, answer.ptr, answer.len);
	map_put(&f->kept, key_span(&k->key), k);
	list_push(&f->kept_list, &k->link);
	f->kept_bytes += sizeof(*k) + k->len;
	while (f->kept.n > DNS_CACHE_MAX || f->kept_bytes > DNS_CACHE_BYTES)
		kept_drop(f, LIST_FIRST(&f->kept_list, struct kept, link));
}

static bool kept_get(struct dns_forward *f, const struct key *key, struct span *out)
{
	struct kept *k = map_get(&f->kept, key_span(key));
	int64_t now_ms = loop_now_ms(f->p.loop);
	if (!k)
		return false;
	if (now_ms >= k->until_ms) {
		kept_drop(f, k);
		return false;
	}
	buf_trunc(&f->told, 0);
	buf_add(&f->told, k->answer, k->len);
	dnsmsg_age((uint8_t *)f->told.ptr, f->told.len, (uint32_t)((now_ms - k->at_ms) / 1000));
	*out = buf_span(&f->told);
	return true;
}

/* ---- the end of a question */

static void ask_free(struct ask *a)
{
	a->f->n_open--;
	buf_done(&a->in);
	free(a);
}

static void ask_closed(struct loop_fd *fd)
{
	struct ask *a = container_of(fd, struct ask, fd);
	a->closing = false;
	if (a->over)
		ask_free(a);
	else
		ask_begin(a);
}

/* This try is over. Returns whether the descriptor's end is still to come. */
static bool try_end(struct ask *a)
{
	loop_timer_stop(&a->timer);
	loop_task_cancel(&a->again);
	if (loop_fd_is_open(&a->fd)) {
		loop_fd_close(&a->fd, ask_closed);
		a->closing = true;
	}
	fd_close(&a->sock);
	return a->closing;
}

static void ask_end(struct ask *a, struct span answer)
{
	struct dns_forward *f = a->f;
	a->over = true;
	list_remove(&a->link);
	if (!a->probe)
		map_remove(&f->asks, key_span(&a->key));
	f->n_asks--;
	bool later = try_end(a);
	/* Whoever is told may ask anew or cancel others: the list is this ask's alone by now. */
	for (struct dns_wait *w; (w = LIST_POP(&a->waits, struct dns_wait, link));) {
		f->n_waits--;
		w->of = NULL;
		w->done(w, answer);
	}
	if (!later)
		ask_free(a);
}

/* The same server, in another way. */
static void try_again(struct ask *a)
{
	if (!try_end(a))
		loop_defer(a->f->p.loop, &a->again);
}

/* The next server, or nobody is left. */
static void ask_next(struct ask *a)
{
	a->tcp = a->plain = false;
	a->tries++;
	try_again(a);
}

static void on_again(struct loop_task *t)
{
	ask_begin(container_of(t, struct ask, again));
}

static void on_timeout(struct loop_timer *t)
{
	ask_next(container_of(t, struct ask, timer));
}

/* ---- answers */

/* False: it is no answer to what we asked. */
static bool received(struct ask *a, struct span packet)
{
	struct dns_forward *f = a->f;
	struct dnsmsg_reply r;
	if (!dnsmsg_reply_parse(packet, a->id, &a->name, a->type, &r))
		return false;
	if (a->probe) {
		ask_end(a, SPAN_EMPTY);
		return true;
	}
	if (r.truncated && !a->tcp) {
		a->tcp = true;
		try_again(a);
		return true;
	}
	/* RFC 6891 section 7: a server of before EDNS. */
	if ((r.rcode == DNSMSG_FORMERR || r.rcode == DNSMSG_NOTIMP) && !a->plain) {
		a->plain = true;
		try_again(a);
		return true;
	}
	if (r.truncated || (r.rcode != DNSMSG_OK && r.rcode != DNSMSG_NXDOMAIN)) {
		ask_next(a);
		return true;
	}
	/* Which place it has now: the file may have been read again. */
	for (unsigned i = 0; i < f->n_servers; i++)
		if (sys_addr_eq(&f->servers[i].addr, &a->server.addr) && f->servers[i].port == a->server.port)
			f->preferred = i;
	auto_buf struct buf answer = { 0 };
	buf_add(&answer, packet.ptr, r.len);
	answer.ptr[10] = (char)(r.n_additional >> 8);
	answer.ptr[11] = (char)r.n_additional;
	keep(f, &a->key, buf_span(&answer), r.ttl_s, r.negative);
	ask_end(a, buf_span(&answer));
	return true;
}

static void on_udp(struct ask *a)
{
	char data[DNSMSG_MAX];
	/* A few that are not ours (forged, late) do not end the wait. */
	for (unsigned i = 0; i < 16; i++) {
		ssize_t n = recv(a->sock, data, sizeof(data), MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			ask_next(a); /* nobody listens there */
		if (n < 0 || received(a, span_make(data, (size_t)n)))
			return;
	}
}

static void on_tcp(struct ask *a)
{
	while (a->sent < a->query_len + 2) {
		ssize_t n = send(a->sock, a->query + a->sent, a->query_len + 2 - a->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
			return;
		if (n < 0) {
			ask_next(a);
			return;
		}
		a->sent += (size_t)n;
	}
	loop_fd_want(&a->fd, LOOP_READ);
	while (true) {
		char *room = buf_reserve(&a->in, 4096);
		ssize_t n = recv(a->sock, room, 4096, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			ask_next(a);
			return;
		}
		buf_commit(&a->in, (size_t)n);
		size_t want = a->in.len < 2 ? SIZE_MAX : (size_t)((uint8_t)a->in.ptr[0] << 8 | (uint8_t)a->in.ptr[1]) + 2;
		if (a->in.len < want)
			continue;
		if (!received(a, span_make(a->in.ptr + 2, want - 2)))
			ask_next(a);
		return;
	}
}

static void on_ask(struct loop_fd *fd, unsigned events)
{
	struct ask *a = container_of(fd, struct ask, fd);
	if (a->tcp)
		on_tcp(a);
	else
		on_udp(a);
}

/* ---- asking */

/* The server of this try: from the preferred one on, those that lead back to us left out. NULL: none is left. */
static const struct server *server_of(const struct ask *a)
{
	const struct dns_forward *f = a->f;
	unsigned good = 0;
	for (unsigned i = 0; i < f->n_servers; i++)
		good += !f->servers[i].loops;
	if (!good || a->tries >= good * DNS_ROUNDS)
		return NULL;
	unsigned skip = a->tries % good;
	for (unsigned i = 0; i < f->n_servers; i++) {
		const struct server *s = &f->servers[(a->first + i) % f->n_servers];
		if (!s->loops && skip-- == 0)
			return s;
	}
	return NULL;
}

static int try_begin(struct ask *a)
{
	auto_err struct err err = ERR_INIT;
	struct sockaddr_storage to;
	socklen_t len = sys_addr_sock(&a->server.addr, a->server.port, &to);
	rng_secret(&a->id, sizeof(a->id));
	a->query_len = dnsmsg_query(a->query + 2, a->id, &a->name, a->type, a->dnssec, a->cd);
	if (a->plain) {
		a->query_len -= DNSMSG_OPT_LEN;
		a->query[2 + 11] = 0; /* additional records */
	}
	a->query[0] = (uint8_t)(a->query_len >> 8);
	a->query[1] = (uint8_t)a->query_len;
	a->sent = 0;
	buf_trunc(&a->in, 0);
	a->sock = socket(to.ss_family, (a->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->sock < 0 || (connect(a->sock, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS))
		return -1;
	if (!a->tcp && send(a->sock, a->query + 2, a->query_len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -1;
	if (loop_fd_open(&a->fd, a->f->p.loop, "dns upstream", a->sock, on_ask, &err) < 0)
		return -1;
	loop_fd_want(&a->fd, a->tcp ? LOOP_WRITE : LOOP_READ);
	loop_timer_start(&a->timer, DNS_TRY_MS);
	a->f->counts.asked++;
	return 0;
}

static void ask_begin(struct ask *a)
{
	const struct server *s = a->probe ? &a->server : server_of(a);
	if (!s || (a->probe && a->tries)) {
		ask_end(a, SPAN_EMPTY);
		return;
	}
	if (!a->tcp && !a->plain)
		a->server = *s;
	if (try_begin(a) < 0)
		ask_next(a);
}

static struct ask *ask_new(struct dns_forward *f, const struct dnsmsg_name *name, uint16_t type)
{
	struct ask *a = mem_new(struct ask);
	*a = (struct ask){ .f = f, .name = *name, .type = type, .sock = -1, .first = f->preferred };
	list_init(&a->waits);
	loop_task_init(&a->again, on_again);
	loop_timer_init(&a->timer, f->p.loop, "dns upstream's time", on_timeout);
	list_push(&f->list, &a->link);
	f->n_asks++;
	f->n_open++;
	return a;
}

int dns_forward_ask(struct dns_forward *f, const struct dnsmsg_name *name, uint16_t type, bool dnssec, bool cd, struct dns_wait *w,
		    struct span *out)
{
	struct key key;
	key_set(&key, name, type, dnssec, cd);
	if (kept_get(f, &key, out)) {
		f->counts.hits++;
		return 1;
	}
	f->counts.misses++;
	struct ask *a = map_get(&f->asks, key_span(&key));
	if (f->stopping || f->n_waits >= DNS_WAITS_MAX || (!a && (f->n_asks >= DNS_ASKS_MAX || !f->n_servers)))
		return -1;
	if (!a) {
		a = ask_new(f, name, type);
		a->key = key;
		a->dnssec = dnssec;
		a->cd = cd;
		map_put(&f->asks, key_span(&a->key), a);
		loop_defer(f->p.loop, &a->again);
	}
	list_push(&a->waits, &w->link);
	w->of = f;
	f->n_waits++;
	return 0;
}

struct dns_forward_counts dns_forward_counts(const struct dns_forward *f)
{
	struct dns_forward_counts c = f->counts;
	c.kept = f->kept.n;
	return c;
}

void dns_forward_cancel(struct dns_wait *w)
{
	if (!w->of)
		return;
	list_remove(&w->link);
	w->of->n_waits--;
	w->of = NULL;
}

/* ---- servers */

static bool is_own(const struct dns_forward *f, const struct sys_addr *a)
{
	return f->p.own_port == f->p.server_port && sys_addr_eq(a, &f->p.own);
}

/* Whether a question to this server comes back to us: asked once, with a name that nobody else knows. */
static void probe(struct dns_forward *f, unsigned i)
{
	uint8_t secret[8];
	auto_buf struct buf label = { 0 };
	struct dnsmsg_name name = { .len = 1 };
	rng_secret(secret, sizeof(secret));
	hex_add(&label, secret, sizeof(secret));
	(void)dnsmsg_name_push(&name, SPAN("knarr-loop"));
	(void)dnsmsg_name_push(&name, buf_span(&label));
	f->probes[i] = name;
	struct ask *a = ask_new(f, &name, DNSMSG_TXT);
	a->probe = true;
	a->server = f->servers[i];
	loop_defer(f->p.loop, &a->again);
}

bool dns_forward_loops(struct dns_forward *f, const struct dnsmsg_name *name)
{
	char text[SYS_ADDR_TEXT];
	for (unsigned i = 0; i < f->n_servers; i++) {
		if (!f->probes[i].len || !span_eq(dnsmsg_name_span(name), dnsmsg_name_span(&f->probes[i])))
			continue;
		if (!f->servers[i].loops)
			log_error("a name server of the host leads back here; it is not asked any more",
				  kv_str("server", sys_addr_text(&f->servers[i].addr, text)), kv_str("file", f->p.resolv_conf));
		f->servers[i].loops = true;
		return true;
	}
	return false;
}

static unsigned servers_parse(struct dns_forward *f, struct span rest)
{
	unsigned n = 0;
	size_t word = sizeof("nameserver") - 1;
	for (struct span line; n < DNS_SERVERS_MAX && span_cut(&rest, '\n', &line);) {
		struct server s = { .port = f->p.server_port };
		line = span_trim(line);
		if (!span_starts(line, SPAN("nameserver")) || line.len <= word || (line.ptr[word] != ' ' && line.ptr[word] != '\t'))
			continue;
		/* A zone (fe80::1%eth0) means nothing without its interface: such a server is left out. */
		if (!sys_addr_parse(span_trim(span_from(line, word)), &s.addr))
			continue;
		if (is_own(f, &s.addr))
			log_warn("a name server of the host is this one; it is not asked", kv_str("file", f->p.resolv_conf));
		else
			f->servers[n++] = s;
	}
	return n;
}

static int servers_read(struct dns_forward *f, struct err *err)
{
	auto_buf struct buf text = { 0 };
	auto_err struct err why = ERR_INIT;
	int rc = io_read_file(AT_FDCWD, f->p.resolv_conf, &text, RESOLV_CONF_MAX, &why);
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return err ? err_move(err, &why) : rc;
	if (rc < 0) /* a machine without a network has none; the watch tells when it comes */
		log_warn("there is no list of name servers: names of others are not answered", kv_str("file", f->p.resolv_conf));
	f->n_servers = f->preferred = 0;
	memset(f->probes, 0, sizeof(f->probes));
	f->n_servers = servers_parse(f, buf_span(&text));
	/* systemd-resolved's stub is there for the host's own namespace alone; the servers behind it stand in its own file. */
	static const struct sys_addr stub = { AF_INET, { 127, 0, 0, 53 } };
	if (f->n_servers == 1 && sys_addr_eq(&f->servers[0].addr, &stub)) {
		auto_buf struct buf behind = { 0 };
		if (io_read_file(AT_FDCWD, RESOLVED_CONF, &behind, RESOLV_CONF_MAX, NULL) == 0)
			f->n_servers = servers_parse(f, buf_span(&behind));
	}
	for (unsigned i = 0; i < f->n_servers; i++)
		probe(f, i);
	return 0;
}

static void on_reread(struct loop_task *t)
{
	struct dns_forward *f = container_of(t, struct dns_forward, reread);
	auto_err struct err err = ERR_INIT;
	if (servers_read(f, &err) < 0)
		log_warn("the host's name servers could not be read; those known before are asked", kv_err(&err));
	else
		log_info("the host's name servers were read again", kv_u64("servers", f->n_servers));
}

static void on_changed(struct loop_watch *w, uint32_t mask, uint32_t cookie, const char *file)
{
	struct place *p = container_of(w, struct place, watch);
	/* "resolv.conf": of systemd-resolved, beside the stub's file that /etc/resolv.conf leads to. */
	bool it = strcmp(file, p->file) == 0 || strcmp(file, "resolv.conf") == 0;
	if (((mask & IN_Q_OVERFLOW) || it) && !loop_task_waiting(&p->f->reread))
		loop_defer(p->f->p.loop, &p->f->reread);
}

/* The folder is watched: files like this one are replaced rather than written, and need not be there yet. */
static int watch(struct dns_forward *f, const char *path, struct err *err)
{
	struct place *p = &f->places[f->n_places];
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t len = slash ? MAX((size_t)(slash - path), (size_t)1) : 1;
	if (len >= sizeof(folder) || strlen(name) >= sizeof(p->file))
		return err_set(err, ERR_USAGE, "%s is too long a path", path);
	memcpy(folder, slash ? path : ".", len);
	folder[len] = 0;
	memcpy(p->file, name, strlen(name) + 1);
	p->f = f;
	int rc = loop_watch_open(&p->watch, f->p.loop, "resolv.conf", folder, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE,
				 on_changed, err);
	f->n_places += rc == 0;
	return rc;
}

/* /etc/resolv.conf is often a link: another link may take its place, and the file that it leads to may change. */
static int watches(struct dns_forward *f, struct err *err)
{
	char target[PATH_MAX];
	int rc = watch(f, f->p.resolv_conf, err);
	if (rc == 0 && realpath(f->p.resolv_conf, target) && strcmp(target, f->p.resolv_conf) != 0)
		rc = watch(f, target, err);
	return rc;
}

int dns_forward_new(const struct dns_forward_params *p, struct dns_forward **out, struct err *err)
{
	struct dns_forward *f = mem_new(struct dns_forward);
	f->p = *p;
	f->p.server_port = p->server_port ? p->server_port : 53;
	list_init(&f->list);
	list_init(&f->kept_list);
	loop_task_init(&f->reread, on_reread);
	*out = f;
	int rc = watches(f, err);
	return rc < 0 ? rc : servers_read(f, err);
}

void dns_forward_stop(struct dns_forward *f)
{
	if (!f || f->stopping)
		return;
	f->stopping = true;
	for (unsigned i = 0; i < f->n_places; i++)
		loop_watch_close(&f->places[i].watch, NULL);
	loop_task_cancel(&f->reread);
	LIST_EACH(&f->list, a, struct ask, link) {
		for (struct dns_wait *w; (w = LIST_POP(&a->waits, struct dns_wait, link));) {
			f->n_waits--;
			w->of = NULL;
		}
		ask_end(a, SPAN_EMPTY);
	}
}

void dns_forward_free(struct dns_forward *f)
{
	if (!f)
		return;
	assert(!f->n_open);
	for (struct kept *k; (k = LIST_FIRST(&f->kept_list, struct kept, link));)
		kept_drop(f, k);
	map_done(&f->kept);
	map_done(&f->asks);
	buf_done(&f->told);
	free(f);
}
