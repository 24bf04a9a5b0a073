/* Names and their rows.
 *
 *     names:  wire name ──> name ── rows: (A, web) (SRV, web) ...      a row = the records of one type that one service gives
 *                             │                                          a name: "\xc0\x0c", type, class, TTL, length, data, ...
 *                             └ up: the name above, up to the zone's
 *     services: "ns/web" ──> service: columns, slices, and the rows that it gave
 *
 * A name is there as long as a row or a name below it is: so a question about "_tcp.web.default.svc.cluster.local" finds a
 * name without rows, which is NODATA and not NXDOMAIN (RFC 8020). Reverse names hang nowhere: what we do not know there
 * others may.
 *
 * Invariants
 * 1. below + rows of a name is never 0, unless it is kept.
 * 2. A row's bytes are whole records and no more than ROW_MAX: with question and OPT they fit a TCP message.
 * 3. Every row belongs to one service (or to the zone itself) and is in that one's list and its name's list. */
#include "dns/zone.h"

#define ROW_MAX 60000
#define CHASE_MAX 8 /* CNAMEs of ours in a row */
#define SPECIFICATION "1.1.0"

struct name {
	struct dnsmsg_name wire;
	struct name *up;   /* NULL: the zone, and reverse names */
	struct list rows;
	unsigned n_rows, below;
	bool kept;
};

struct row {
	struct list of_name, of_service;
	struct name *name;
	const struct service *service;
	struct buf records;
	unsigned n;
	uint16_t type;
};

struct service {
	char *key; /* owned */
	struct dns_service *spec; /* owned; NULL: slices came first */
	struct list slices, rows;
};

struct slice {
	struct list link;
	char *key; /* owned */
	struct service *service;
	struct dns_slice *spec; /* owned */
};

struct dns_zone {
	struct dnsmsg_name wire, svc, pod;
	struct map names, services, slices;
	struct service self; /* what the zone says about itself */
	uint8_t soa[2 * DNSMSG_NAME_MAX + 20];
	size_t soa_len;
};

/* ---- names */

static struct name *name_get(struct dns_zone *z, const struct dnsmsg_name *wire)
{
	struct name *n = map_get(&z->names, dnsmsg_name_span(wire));
	if (n)
		return n;
	struct name *made = NULL, *below = NULL;
	struct dnsmsg_name at = *wire;
	/* Upwards until somebody is there: at most 127 labels. */
	while (true) {
		n = mem_new(struct name);
		n->wire = at;
		list_init(&n->rows);
		map_put(&z->names, dnsmsg_name_span(&n->wire), n);
		if (!made)
			made = n;
		if (below) {
			below->up = n;
			n->below++;
		}
		below = n;
		if (dnsmsg_name_within(&at, &z->wire) <= 0)
			return made;
		unsigned label = at.b[0] + 1u;
		at.len = (uint8_t)(at.len - label);
		memmove(at.b, at.b + label, at.len);
		struct name *there = map_get(&z->names, dnsmsg_name_span(&at));
		if (there) {
			below->up = there;
			there->below++;
			return made;
		}
	}
}

static void name_put(struct dns_zone *z, struct name *n)
{
	while (n && !n->kept && !n->n_rows && !n->below) {
		struct name *up = n->up;
		map_remove(&z->names, dnsmsg_name_span(&n->wire));
		free(n);
		if (up)
			up->below--;
		n = up;
	}
}

static void row_drop(struct dns_zone *z, struct row *r)
{
	list_remove(&r->of_name);
	list_remove(&r->of_service);
	r->name->n_rows--;
	name_put(z, r->name);
	buf_done(&r->records);
	free(r);
}

static bool has_record(const struct row *r, const uint8_t *record, size_t len)
{
	for (size_t at = 0; at < r->records.len;) {
		const uint8_t *p = (const uint8_t *)r->records.ptr + at;
		size_t n = 12u + (size_t)(p[10] << 8 | p[11]);
		if (n == len && memcmp(p, record, len) == 0)
			return true;
		at += n;
	}
	return false;
}

/* Keeps its name there, even without records. */
static struct row *row_new(struct service *s, struct name *n, uint16_t type)
{
	struct row *r = mem_new(struct row);
	*r = (struct row){ .name = n, .service = s, .type = type };
	list_push(&n->rows, &r->of_name);
	list_push(&s->rows, &r->of_service);
	n->n_rows++;
	return r;
}

static void add(struct dns_zone *z, struct service *s, const struct dnsmsg_name *name, uint16_t type, const void *data, size_t len)
{
	uint8_t record[12 + 6 + DNSMSG_NAME_MAX + sizeof(z->soa)] = { 0xc0, DNSMSG_HEAD, (uint8_t)(type >> 8), (uint8_t)type, 0, 1,
								      0, 0, 0, DNS_TTL_S, (uint8_t)(len >> 8), (uint8_t)len };
	struct name *n = name_get(z, name);
	struct row *r = NULL;
	assert(len <= sizeof(record) - 12);
	memcpy(record + 12, data, len);
	/* The row of a service that is being made is at the end. */
	for (struct list *at = n->rows.prev; at != &n->rows && !r; at = at->prev) {
		struct row *each = LIST_ENTRY(at, struct row, of_name);
		if (each->service == s && each->type == type)
			r = each;
	}
	if (!r)
		r = row_new(s, n, type);
	/* An endpoint may stand in two slices while it moves from one to the other. */
	if (r->records.len + 12 + len > ROW_MAX || has_record(r, record, 12 + len))
		return;
	buf_add(&r->records, record, 12 + len);
	r->n++;
}

/* ---- what a service gives (specification 2.3 to 2.5) */

static void add_addr(struct dns_zone *z, struct service *s, const struct dnsmsg_name *name, const struct sys_addr *a)
{
	add(z, s, name, a->family == AF_INET ? DNSMSG_A : DNSMSG_AAAA, a->b, sys_addr_len(a));
}

static void add_reverse(struct dns_zone *z, struct service *s, const struct sys_addr *a, const struct dnsmsg_name *target)
{
	struct dnsmsg_name reverse;
	dnsmsg_name_reverse(a, &reverse);
	add(z, s, &reverse, DNSMSG_PTR, target->b, target->len);
}

/* _port._proto.service.ns.svc.zone SRV 0 100 port target: priority and weight as CoreDNS gives them to one of few. */
static void add_port(struct dns_zone *z, struct service *s, const struct dnsmsg_name *service, const struct dns_port *p,
		     const struct dnsmsg_name *target)
{
	struct dnsmsg_name name = *service;
	char label[sizeof(p->name) + 1];
	uint8_t data[6 + DNSMSG_NAME_MAX] = { 0, 0, 0, 100, (uint8_t)(p->port >> 8), (uint8_t)p->port };
	snprintf(label, sizeof(label), "_%s", p->protocol);
	if (!dnsmsg_name_push(&name, span_of(label)))
		return;
	snprintf(label, sizeof(label), "_%s", p->name);
	if (!dnsmsg_name_push(&name, span_of(label)))
		return;
	memcpy(data + 6, target->b, target->len);
	add(z, s, &name, DNSMSG_SRV, data, 6u + target->len);
}

static void add_endpoint(struct dns_zone *z, struct service *s, const struct dnsmsg_name *service, const struct dns_slice *slice,
			 const struct dns_endpoint *e)
{
	struct dnsmsg_name own = *service;
	char label[sizeof(e->hostname)];
	static_assert(sizeof(label) >= SYS_ADDR_TEXT, "an address is a label too");
	add_addr(z, s, service, &e->addr);
	memcpy(label, e->hostname, sizeof(e->hostname));
	if (!e->hostname[0]) {
		(void)sys_addr_text(&e->addr, label);
		for (char *c = label; *c; c++)
			if (*c == '.' || *c == ':')
				*c = '-';
	}
	if (!dnsmsg_name_push(&own, span_of(label)))
		return;
	add_addr(z, s, &own, &e->addr);
	add_reverse(z, s, &e->addr, &own);
	for (unsigned i = 0; i < slice->n_ports; i++)
		add_port(z, s, service, &slice->ports[i], &own);
}

static void add_cluster(struct dns_zone *z, struct service *s, const struct dnsmsg_name *name)
{
	for (unsigned i = 0; i < s->spec->n_addrs; i++) {
		add_addr(z, s, name, &s->spec->addrs[i]);
		add_reverse(z, s, &s->spec->addrs[i], name);
	}
	for (unsigned i = 0; i < s->spec->n_ports; i++)
		add_port(z, s, name, &s->spec->ports[i], name);
}

static void add_headless(struct dns_zone *z, struct service *s, const struct dnsmsg_name *name)
{
	(void)row_new(s, name_get(z, name), DNSMSG_A); /* without endpoints the name is there, without addresses */
	LIST_EACH(&s->slices, slice, struct slice, link)
		for (unsigned i = 0; i < slice->spec->n; i++)
			if (slice->spec->endpoints[i].ready || s->spec->publish)
				add_endpoint(z, s, name, slice->spec, &slice->spec->endpoints[i]);
}

static void service_make(struct dns_zone *z, struct service *s)
{
	struct span rest = span_of(s->key), ns;
	struct dnsmsg_name name = z->svc;
	/* Old rows go after the new ones are there: names in common are not freed and made again. */
	struct list old;
	list_init(&old);
	list_append(&old, &s->rows);
	LIST_EACH(&old, r, struct row, of_service)
		r->service = NULL;
	(void)span_cut(&rest, '/', &ns);
	if (s->spec && dnsmsg_name_push(&name, ns) && dnsmsg_name_push(&name, rest)) {
		if (s->spec->kind == DNS_EXTERNAL)
			add(z, s, &name, DNSMSG_CNAME, s->spec->external.b, s->spec->external.len);
		else if (s->spec->kind == DNS_CLUSTER)
			add_cluster(z, s, &name);
		else
			add_headless(z, s, &name);
	}
	LIST_EACH(&old, r, struct row, of_service)
		row_drop(z, r);
}

/* ---- objects come and go */

static struct service *service_get(struct dns_zone *z, struct span key)
{
	struct service *s = map_get(&z->services, key);
	if (s)
		return s;
	s = mem_new(struct service);
	s->key = mem_dup(key.ptr, key.len);
	list_init(&s->slices);
	list_init(&s->rows);
	map_put(&z->services, span_of(s->key), s);
	return s;
}

static void service_put(struct dns_zone *z, struct service *s)
{
	if (s->spec || !list_empty(&s->slices))
		return;
	assert(list_empty(&s->rows));
	map_remove(&z->services, span_of(s->key));
	free(s->key);
	free(s);
}

void dns_zone_service(struct dns_zone *z, struct span key, struct dns_service *spec)
{
	struct service *s = spec ? service_get(z, key) : map_get(&z->services, key);
	if (!s)
		return;
	free(s->spec);
	s->spec = spec;
	service_make(z, s);
	service_put(z, s);
}

static void slice_drop(struct dns_zone *z, struct slice *sl)
{
	list_remove(&sl->link);
	map_remove(&z->slices, span_of(sl->key));
	free(sl->key);
	free(sl->spec);
	free(sl);
}

void dns_zone_slice(struct dns_zone *z, struct span service_key, struct span slice_key, struct dns_slice *spec)
{
	struct slice *sl = map_get(&z->slices, slice_key);
	struct service *before = sl ? sl->service : NULL, *s = spec ? service_get(z, service_key) : NULL;
	if (sl && (!spec || before != s)) {
		slice_drop(z, sl);
		sl = NULL;
	}
	if (spec && !sl) {
		sl = mem_new(struct slice);
		sl->key = mem_dup(slice_key.ptr, slice_key.len);
		sl->service = s;
		list_push(&s->slices, &sl->link);
		map_put(&z->slices, span_of(sl->key), sl);
	}
	if (spec) {
		free(sl->spec);
		sl->spec = spec;
		service_make(z, s);
	}
	if (before && before != s) {
		service_make(z, before);
		service_put(z, before);
	}
}

/* ---- the zone itself */

static void put32(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 24);
	at[1] = (uint8_t)(v >> 16);
	at[2] = (uint8_t)(v >> 8);
	at[3] = (uint8_t)v;
}

int dns_zone_new(struct span text, const struct sys_addr *address, struct dns_zone **out, struct err *err)
{
	struct dnsmsg_name zone, server, master, version;
	if (!dnsmsg_name_parse(text, &zone) || zone.len == 1 || zone.len > 128)
		return err_set(err, ERR_USAGE, "\"%.*s\" is no zone that services can have names in", SPAN_ARG(text));
	struct dns_zone *z = mem_new(struct dns_zone);
	z->wire = z->svc = z->pod = server = master = version = zone;
	list_init(&z->self.rows);
	list_init(&z->self.slices);
	(void)dnsmsg_name_push(&z->svc, SPAN("svc"));
	(void)dnsmsg_name_push(&z->pod, SPAN("pod"));
	(void)dnsmsg_name_push(&server, SPAN("dns"));
	(void)dnsmsg_name_push(&server, SPAN("ns"));
	(void)dnsmsg_name_push(&master, SPAN("hostmaster"));
	(void)dnsmsg_name_push(&version, SPAN("dns-version"));
	name_get(z, &z->svc)->kept = true;
	name_get(z, &z->pod)->kept = true;
	/* RFC 1035 section 3.3.13. Nobody transfers the zone, so its serial stands still; the last number is the TTL of "no"
	 * (RFC 2308). */
	static const uint32_t numbers[] = { 1, 7200, 1800, 86400, DNS_TTL_S };
	uint8_t *at = z->soa;
	memcpy(at, server.b, server.len);
	memcpy(at += server.len, master.b, master.len);
	at += master.len;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++, at += 4)
		put32(at, numbers[i]);
	z->soa_len = (size_t)(at - z->soa);
	add(z, &z->self, &zone, DNSMSG_SOA, z->soa, z->soa_len);
	add(z, &z->self, &zone, DNSMSG_NS, server.b, server.len);
	if (address && address->family && !sys_addr_zero(address))
		add_addr(z, &z->self, &server, address);
	static const char said[] = "\x05" SPECIFICATION;
	add(z, &z->self, &version, DNSMSG_TXT, said, sizeof(said) - 1);
	*out = z;
	return 0;
}

void dns_zone_free(struct dns_zone *z)
{
	if (!z)
		return;
	MAP_EACH(&z->slices, e) {
		struct slice *sl = e->value;
		free(sl->key);
		free(sl->spec);
		free(sl);
	}
	MAP_EACH(&z->names, e) {
		struct name *n = e->value;
		LIST_EACH(&n->rows, r, struct row, of_name) {
			buf_done(&r->records);
			free(r);
		}
		free(n);
	}
	MAP_EACH(&z->services, e) {
		struct service *s = e->value;
		free(s->key);
		free(s->spec);
		free(s);
	}
	map_done(&z->slices);
	map_done(&z->names);
	map_done(&z->services);
	free(z);
}

/* ---- answers */

/* Addresses of an SRV record's target, where there is room: its name is already in the message, at target_at. */
static void additional(const struct dns_zone *z, struct dnsmsg_out *o, size_t target_at, struct span target)
{
	const struct name *n = map_get(&z->names, target);
	if (!n)
		return;
	LIST_EACH(&n->rows, r, struct row, of_name)
		for (size_t at = 0; (r->type == DNSMSG_A || r->type == DNSMSG_AAAA) && at < r->records.len;) {
			const uint8_t *p = (const uint8_t *)r->records.ptr + at;
			size_t len = 12u + (size_t)(p[10] << 8 | p[11]);
			if (!dnsmsg_prepared(o, DNSMSG_ADDITIONAL, target_at, p, len))
				return;
			at += len;
		}
}

/* The row's records, beginning with the one whose turn it is. False when not all found room. */
static bool row_write(struct dnsmsg_out *o, size_t owner_at, const struct row *r, uint64_t turn)
{
	const uint8_t *p = (const uint8_t *)r->records.ptr;
	size_t first = 0, end = r->records.len;
	for (uint64_t i = r->n ? turn % r->n : 0; i; i--)
		first += 12u + (size_t)(p[first + 10] << 8 | p[first + 11]);
	for (size_t at = first; at < end;) {
		size_t len = 12u + (size_t)(p[at + 10] << 8 | p[at + 11]);
		if (!dnsmsg_prepared(o, DNSMSG_ANSWER, owner_at, p + at, len))
			return false;
		at += len;
		if (at == end && end == r->records.len) {
			at = 0;
			end = first;
		}
	}
	return true;
}

static void srv_targets(const struct dns_zone *z, struct dnsmsg_out *o, size_t from, size_t to)
{
	while (from < to) {
		size_t len = (size_t)(o->ptr[from + 10] << 8 | o->ptr[from + 11]);
		additional(z, o, from + 18, span_make(o->ptr + from + 18, len - 6));
		from += 12 + len;
	}
}

/* "10-1-2-3.ns.pod.zone": the address that the name says. False for another name. */
static bool pod_addr(const struct dns_zone *z, const struct dnsmsg_name *name, struct sys_addr *out, bool *out_exists)
{
	int before = dnsmsg_name_within(name, &z->pod);
	if (before <= 0)
		return false;
	unsigned first = name->b[0] + 1u;
	if ((int)first == before) { /* "ns.pod.zone": names are below it */
		*out_exists = true;
		return false;
	}
	if ((int)(first + name->b[first] + 1u) != before || name->b[0] >= SYS_ADDR_TEXT)
		return false;
	for (const char *sep = ".:"; *sep; sep++) {
		char text[SYS_ADDR_TEXT];
		for (unsigned i = 0; i < name->b[0]; i++)
			text[i] = name->b[i + 1] == '-' ? *sep : (char)name->b[i + 1];
		if (sys_addr_parse(span_make(text, name->b[0]), out))
			return *out_exists = true;
	}
	return false;
}

static void say_no(const struct dns_zone *z, struct dnsmsg_out *o, const struct dnsmsg_question *q, unsigned rcode)
{
	dnsmsg_rcode_set(o, rcode);
	/* The zone's name ends the question's. */
	(void)dnsmsg_record(o, DNSMSG_AUTHORITY, DNSMSG_HEAD + q->name.len - z->wire.len, DNSMSG_SOA, DNS_TTL_S, z->soa, z->soa_len);
}

/* Writes what a name has of this type; NULL, or the CNAME row that leads on. */
static const struct row *name_write(const struct dns_zone *z, const struct name *n, uint16_t type, uint64_t turn, size_t owner_at,
				    struct dnsmsg_out *o, bool *out_any)
{
	size_t from = o->len;
	const struct row *cname = NULL;
	uint16_t chosen = type;
	LIST_EACH(&n->rows, r, struct row, of_name) {
		/* RFC 8482 section 4.1: of "any" one set is enough. */
		if (chosen == DNSMSG_ANY && r->n)
			chosen = r->type;
		if (r->type == DNSMSG_CNAME && chosen != DNSMSG_CNAME)
			cname = r;
		if (r->type != chosen || !r->n)
			continue;
		*out_any = true;
		if (!row_write(o, owner_at, r, turn))
			return NULL;
	}
	if (chosen == DNSMSG_SRV)
		srv_targets(z, o, from, o->len);
	return cname;
}

enum dns_verdict dns_zone_answer(const struct dns_zone *z, struct span packet, const struct dnsmsg_question *q, uint64_t turn,
				 struct dnsmsg_out *o, struct dnsmsg_name *out_target)
{
	bool inside = dnsmsg_name_within(&q->name, &z->wire) >= 0, exists = false, any = false;
	const struct name *n = map_get(&z->names, dnsmsg_name_span(&q->name));
	struct sys_addr a;
	if (!n && !inside)
		return DNS_ELSEWHERE;
	dnsmsg_begin(o, packet, q, DNSMSG_OK, DNSMSG_AA);
	if (!n) {
		bool pod = pod_addr(z, &q->name, &a, &exists);
		uint16_t type = pod && a.family == AF_INET ? DNSMSG_A : DNSMSG_AAAA;
		if (pod && (q->type == type || q->type == DNSMSG_ANY))
			(void)dnsmsg_record(o, DNSMSG_ANSWER, DNSMSG_HEAD, type, DNS_TTL_S, a.b, sys_addr_len(&a));
		else
			say_no(z, o, q, exists ? DNSMSG_OK : DNSMSG_NXDOMAIN);
		return DNS_ANSWERED;
	}
	size_t owner_at = DNSMSG_HEAD;
	unsigned rcode = DNSMSG_OK; /* of the last name that a CNAME leads to (RFC 6604) */
	for (unsigned i = 0;; i++) {
		size_t at = o->len;
		if (i == CHASE_MAX) { /* round and round */
			dnsmsg_rcode_set(o, DNSMSG_SERVFAIL);
			return DNS_ANSWERED;
		}
		const struct row *cname = name_write(z, n, q->type, turn, owner_at, o, &any);
		if (!cname || !row_write(o, owner_at, cname, 0))
			break;
		owner_at = at + 12;
		out_target->len = (uint8_t)(cname->records.len - 12);
		memcpy(out_target->b, cname->records.ptr + 12, out_target->len);
		n = map_get(&z->names, dnsmsg_name_span(out_target));
		if (!n && dnsmsg_name_within(out_target, &z->wire) < 0)
			return DNS_CHASE;
		if (!n) {
			rcode = DNSMSG_NXDOMAIN;
			break;
		}
	}
	if (!any && inside)
		say_no(z, o, q, rcode);
	return DNS_ANSWERED;
}
