/* /etc/hosts, /etc/resolv.conf and /etc/hostname of a container, and which servers its name server asks. */
#include <fcntl.h>
#include <unistd.h>

#include "network/private.h"

#define FILE_MAX (1 << 20)
#define SERVERS_MAX 8
#define SEARCH_MAX 32

static const char hosts_head[] = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n"
				 "ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/* A word for a file of lines: blanks and line ends would begin something else. */
static bool word(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 127 || s.ptr[i] == '#')
			return false;
	return s.len > 0 && s.len <= 255;
}

static void host_gateway(const struct network_sandbox *box, char out[SYS_ADDR_TEXT])
{
	out[0] = 0;
	LIST_EACH(&box->engine->networks, n, struct network, link)
		if (n->builtin && n->driver == NETWORK_BRIDGE)
			sys_addr_text(&n->pool[V4].gateway, out);
}

/* "name:address", "name:host-gateway"; an IPv6 address may stand in brackets. */
static void extra_hosts(const struct network_sandbox *box, struct buf *out)
{
	JSON_EACH_ITEM(json_getl(&box->host_config, "ExtraHosts"), item) {
		struct span name, to;
		char gateway[SYS_ADDR_TEXT];
		struct sys_addr a;
		if (!span_split(json_span(item), ':', &name, &to) && !span_split(json_span(item), '=', &name, &to))
			continue;
		if (span_is(to, "host-gateway")) {
			host_gateway(box, gateway);
			to = span_of(gateway);
		}
		if (to.len > 2 && to.ptr[0] == '[' && to.ptr[to.len - 1] == ']')
			to = span_sub(to, 1, to.len - 1);
		if (word(name) && sys_addr_parse(to, &a))
			buf_printf(out, "%.*s\t%.*s\n", SPAN_ARG(to), SPAN_ARG(name));
	}
}

/* Links on the default bridge ("ID:alias"): the only names there. */
static void legacy_links(const struct network_sandbox *box, struct buf *out)
{
	JSON_EACH_ITEM(json_getl(&box->host_config, "Links"), item) {
		struct span id, alias;
		char host[256], s[SYS_ADDR_TEXT];
		if (!span_split(json_span(item), ':', &id, &alias) || !word(alias))
			continue;
		const struct network_sandbox *other = map_get(&box->engine->sandboxes, id);
		if (!other)
			continue;
		LIST_EACH(&other->endpoints, ep, struct network_endpoint, of_sandbox) {
			if (network_user_defined(ep->net) || !ep->addr[V4].addr.family)
				continue;
			buf_printf(out, "%s\t%.*s %s", sys_addr_text(&ep->addr[V4].addr, s), SPAN_ARG(alias),
				network_sandbox_hostname(other, host));
			if (!span_is(alias, other->name))
				buf_printf(out, " %s", other->name);
			buf_chr(out, '\n');
		}
	}
}

struct span network_text_hosts(const struct network_sandbox *box, struct arena *a)
{
	auto_buf struct buf out = { 0 };
	char host[256], s[SYS_ADDR_TEXT];
	struct span domain = json_span(json_getl(&box->config, "Domainname"));
	if (box->host) {
		/* The host's own names, as Docker copies them; a host without the file has none to give. */
		if (io_read_file(AT_FDCWD, "/etc/hosts", &out, FILE_MAX, NULL) < 0)
			buf_str(&out, hosts_head);
		if (out.len && out.ptr[out.len - 1] != '\n')
			buf_chr(&out, '\n');
		extra_hosts(box, &out);
		return arena_span(a, buf_span(&out));
	}
	buf_str(&out, hosts_head);
	extra_hosts(box, &out);
	legacy_links(box, &out);
	network_sandbox_hostname(box, host);
	if (word(span_of(host)))
		LIST_EACH(&box->endpoints, ep, struct network_endpoint, of_sandbox)
			for (int v = V4; v <= V6; v++) {
				if (!ep->addr[v].addr.family)
					continue;
				buf_printf(&out, "%s\t", sys_addr_text(&ep->addr[v].addr, s));
				if (word(domain))
					buf_printf(&out, "%s.%.*s ", host, SPAN_ARG(domain));
				buf_printf(&out, "%s\n", host);
			}
	return arena_span(a, buf_span(&out));
}

struct span network_text_hostname(const struct network_sandbox *box, struct arena *a)
{
	char host[256];
	struct span name = json_span(json_getl(&box->config, "Hostname"));
	if (box->host && name.len == 0 && gethostname(host, sizeof(host)) == 0) {
		host[sizeof(host) - 1] = 0;
		return arena_printf(a, "%s\n", host);
	}
	return arena_printf(a, "%s\n", network_sandbox_hostname(box, host));
}

/* ---- resolv.conf */

struct resolv {
	struct sys_addr servers[SERVERS_MAX];
	unsigned n;
	struct span search[SEARCH_MAX];
	unsigned n_search;
	struct span options; /* the words, as they stand */
};

static void add_server(struct resolv *r, struct span text)
{
	struct sys_addr a;
	ptrdiff_t zone = span_chr(text, '%');
	if (zone >= 0) /* fe80::1%eth0 means nothing elsewhere */
		return;
	if (r->n < SERVERS_MAX && sys_addr_parse(text, &a))
		r->servers[r->n++] = a;
}

/* resolv.conf(5): keyword, blanks, value; the last search or domain line counts, options add up. */
static void read_host(struct resolv *r, struct buf *text, struct buf *options)
{
	struct span rest = buf_span(text), line;
	while (span_cut(&rest, '\n', &line)) {
		line = span_trim(line);
		size_t at = 0;
		while (at < line.len && line.ptr[at] != ' ' && line.ptr[at] != '\t')
			at++;
		struct span key = span_sub(line, 0, at), value = span_trim(span_from(line, at));
		if (span_is(key, "nameserver")) {
			add_server(r, value);
		} else if (span_is(key, "search") || span_is(key, "domain")) {
			r->n_search = 0;
			struct span one;
			while (span_cut(&value, ' ', &one))
				if (word(span_trim(one)) && r->n_search < SEARCH_MAX)
					r->search[r->n_search++] = span_trim(one);
		} else if (span_is(key, "options")) {
			if (options->len)
				buf_chr(options, ' ');
			buf_span_add(options, value);
		}
	}
}

static const struct json *list_of(const struct network_sandbox *box, const char *key, const struct json *otherwise)
{
	const struct json *v = json_get(&box->host_config, span_of(key));
	return json_is(v, JSON_ARRAY) && v->n ? v : otherwise;
}

/* systemd-resolved's stub at 127.0.0.53 is nobody's outside the host; the servers behind it are in its own file. */
static void host_text(struct buf *out)
{
	if (io_read_file(AT_FDCWD, "/etc/resolv.conf", out, FILE_MAX, NULL) < 0)
		buf_trunc(out, 0);
	struct resolv r = { 0 };
	auto_buf struct buf options = { 0 };
	read_host(&r, out, &options);
	if (r.n == 1 && r.servers[0].family == AF_INET && memcmp(r.servers[0].b, (uint8_t[]){ 127, 0, 0, 53 }, 4) == 0) {
		auto_buf struct buf real = { 0 };
		if (io_read_file(AT_FDCWD, "/run/systemd/resolve/resolv.conf", &real, FILE_MAX, NULL) == 0) {
			buf_trunc(out, 0);
			buf_span_add(out, buf_span(&real));
		}
	}
}

/* The host's file, with what the container or the settings say instead. text and options hold the bytes that r points to. */
static void collect(const struct network_sandbox *box, struct resolv *r, struct buf *text, struct buf *options)
{
	*r = (struct resolv){ 0 };
	host_text(text);
	read_host(r, text, options);
	const struct json *dns = list_of(box, "Dns", &box->engine->set.dns), *search = list_of(box, "DnsSearch",
		&box->engine->set.dns_search);
	const struct json *opts = list_of(box, "DnsOptions", &box->engine->set.dns_opts);
	if (json_is(dns, JSON_ARRAY) && dns->n) {
		r->n = 0;
		JSON_EACH_ITEM(dns, item)
			add_server(r, json_span(item));
	}
	if (json_is(search, JSON_ARRAY) && search->n) {
		r->n_search = 0;
		JSON_EACH_ITEM(search, item)
			if (!span_is(json_span(item), ".") && word(json_span(item)) && r->n_search < SEARCH_MAX)
				r->search[r->n_search++] = json_span(item);
	}
	if (json_is(opts, JSON_ARRAY) && opts->n) {
		buf_trunc(options, 0);
		JSON_EACH_ITEM(opts, item)
			if (word(json_span(item)))
				buf_printf(options, "%s%.*s", options->len ? " " : "", SPAN_ARG(json_span(item)));
	}
	r->options = buf_span(options);
}

static bool has_ndots(struct span options, int *out)
{
	struct span one;
	uint64_t v;
	bool found = false;
	while (span_cut(&options, ' ', &one))
		if (span_starts(one, SPAN("ndots:")) && span_to_u64(span_from(one, 6), &v) && v < 100) {
			*out = (int)v;
			found = true;
		}
	return found;
}

struct span network_text_resolv(const struct network_sandbox *box, struct arena *a)
{
	auto_buf struct buf text = { 0 }, options = { 0 }, out = { 0 };
	char s[SYS_ADDR_TEXT];
	struct resolv r;
	int ndots;
	bool inner = box->dns || box->dns_ports[0], named = json_is(list_of(box, "Dns", NULL), JSON_ARRAY);
	collect(box, &r, &text, &options);
	buf_str(&out,
		"# Generated by Knarr.\n# This file can be edited; Knarr will not make further changes once it\n# has been modified.\n\n");
	unsigned written = 0;
	if (inner) {
		buf_str(&out, "nameserver 127.0.0.11\n");
		written++;
	}
	for (unsigned i = 0; i < r.n && !inner; i++) {
		/* The host's loopback is not the container's. */
		if (sys_addr_loopback(&r.servers[i]) && !box->host && !named)
			continue;
		buf_printf(&out, "nameserver %s\n", sys_addr_text(&r.servers[i], s));
		written++;
	}
	if (!written && !box->host)
		buf_str(&out, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
			/* as Docker where the host offers nothing that can be reached */
	for (unsigned i = 0; i < r.n_search; i++)
		buf_printf(&out, "%s%.*s", i ? " " : "search ", SPAN_ARG(r.search[i]));
	if (r.n_search)
		buf_chr(&out, '\n');
	bool add = inner && !has_ndots(r.options, &ndots);
	if (r.options.len || add)
		buf_printf(&out, "options %.*s%s%s\n", SPAN_ARG(r.options), r.options.len && add ? " " : "", add ? "ndots:0" : "");
	return arena_span(a, buf_span(&out));
}

unsigned network_text_resolvers(const struct network_sandbox *box, struct network_resolver *out, unsigned cap, int *out_ndots)
{
	auto_buf struct buf text = { 0 }, options = { 0 };
	struct resolv r;
	unsigned n = 0;
	/* The host's own file here, stub and all: we ask from where it is served. */
	bool named = json_is(list_of(box, "Dns", NULL), JSON_ARRAY) || box->engine->set.dns.n;
	collect(box, &r, &text, &options);
	if (!named) {
		r.n = 0;
		buf_trunc(&text, 0);
		auto_buf struct buf ignored = { 0 };
		if (io_read_file(AT_FDCWD, "/etc/resolv.conf", &text, FILE_MAX, NULL) == 0)
			read_host(&r, &text, &ignored);
	}
	*out_ndots = 0;
	const struct json *opts = json_getl(&box->host_config, "DnsOptions");
	JSON_EACH_ITEM(opts, item)
		(void)has_ndots(json_span(item), out_ndots); /* stays 0 where none is said */
	for (unsigned i = 0; i < r.n && n < cap; i++)
		out[n++] = (struct network_resolver){ r.servers[i], !named && sys_addr_loopback(&r.servers[i]) };
	return n;
}
