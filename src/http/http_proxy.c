/* URLs, and which proxy a URL goes through. */
#include "http/http_client.h"

#include <arpa/inet.h>

static bool port_parse(struct span s, unsigned *out)
{
	uint64_t n;
	if (!span_to_u64(s, &n) || n == 0 || n > 65535)
		return false;
	*out = (unsigned)n;
	return true;
}

/* host[:port] or [v6][:port]; host comes without brackets. */
static bool authority_parse(struct span s, struct span *out_host, unsigned *out_port)
{
	struct span tail;
	if (s.len && s.ptr[0] == '[') {
		ptrdiff_t end = span_chr(s, ']');
		if (end < 0)
			return false;
		*out_host = span_sub(s, 1, (size_t)end);
		tail = span_from(s, (size_t)end + 1);
	} else {
		ptrdiff_t colon = span_chr(s, ':');
		*out_host = colon < 0 ? s : span_sub(s, 0, (size_t)colon);
		tail = colon < 0 ? SPAN_EMPTY : span_from(s, (size_t)colon);
	}
	if (tail.len && (tail.ptr[0] != ':' || (tail.len > 1 && !port_parse(span_from(tail, 1), out_port))))
		return false;
	for (size_t i = 0; i < out_host->len; i++)
		if ((unsigned char)out_host->ptr[i] <= ' ' || out_host->ptr[i] == 0x7f)
			return false;
	return out_host->len > 0;
}

int http_url_parse(struct span url, struct arena *a, struct http_origin *out_origin, struct span *out_target,
	struct err *err)
{
	struct http_origin o = {};
	ptrdiff_t at = span_find(url, SPAN("://"));
	struct span scheme = span_sub(url, 0, at < 0 ? 0 : (size_t)at);
	if (span_eq_nocase(scheme, SPAN("https")))
		o.tls = true;
	else if (!span_eq_nocase(scheme, SPAN("http")))
		return err_set(err, ERR_INVALID_REQUEST, "URL \"%.*s\": the scheme must be http or https", SPAN_ARG(url));
	struct span rest = span_from(url, (size_t)at + 3);
	size_t end = 0;
	while (end < rest.len && !strchr("/?#", rest.ptr[end]))
		end++;
	struct span authority = span_sub(rest, 0, end), host = SPAN_EMPTY, target = span_from(rest, end);
	o.port = o.tls ? 443 : 80;
	if (span_chr(authority, '@') >= 0)
		return err_set(err, ERR_INVALID_REQUEST, "URL of host \"%.*s\": a user in a URL is not supported",
			SPAN_ARG(span_from(authority, (size_t)span_rchr(authority, '@') + 1)));
	if (!authority_parse(authority, &host, &o.port))
		return err_set(err, ERR_INVALID_REQUEST, "URL \"%.*s\": host and port make no sense", SPAN_ARG(url));
	ptrdiff_t hash = span_chr(target, '#');
	if (hash >= 0)
		target = span_sub(target, 0, (size_t)hash);
	for (size_t i = 0; i < target.len; i++)
		if ((unsigned char)target.ptr[i] <= ' ' || target.ptr[i] == 0x7f)
			return err_set(err, ERR_INVALID_REQUEST, "URL \"%.*s\": character not allowed", SPAN_ARG(url));
	o.host = arena_cstr(a, host);
	if (!target.len)
		target = SPAN("/");
	else if (target.ptr[0] == '?')
		target = arena_printf(a, "/%.*s", SPAN_ARG(target));
	*out_target = arena_span(a, target);
	*out_origin = o;
	return 0;
}

int http_proxy_parse(const char *url, struct arena *a, const char **out_host, unsigned *out_port, struct span *out_basic,
	struct err *err)
{
	struct span u = span_of(url), host = SPAN_EMPTY;
	ptrdiff_t at = span_find(u, SPAN("://"));
	if (at >= 0 && !span_eq_nocase(span_sub(u, 0, (size_t)at), SPAN("http")))
		return err_set(err, ERR_UNSUPPORTED, "proxy of kind %.*s: only http:// proxies are supported", (int)at, url);
	if (at >= 0)
		u = span_from(u, (size_t)at + 3);
	ptrdiff_t slash = span_chr(u, '/');
	if (slash >= 0)
		u = span_sub(u, 0, (size_t)slash);
	ptrdiff_t user = span_rchr(u, '@');
	*out_basic = SPAN_EMPTY;
	if (user >= 0) {
		auto_buf struct buf plain = {}, coded = {};
		if (!percent_parse(&plain, span_sub(u, 0, (size_t)user), false))
			return err_set(err, ERR_INVALID_REQUEST, "proxy: user and password are badly escaped");
		base64_add(&coded, BASE64_STD, plain.ptr, plain.len);
		*out_basic = arena_span(a, buf_span(&coded));
		u = span_from(u, (size_t)user + 1);
	}
	*out_port = 80;
	if (!authority_parse(u, &host, out_port))
		return err_set(err, ERR_INVALID_REQUEST, "proxy \"%.*s\": host and port make no sense", SPAN_ARG(u));
	*out_host = arena_cstr(a, host);
	return 0;
}

/* ---- NO_PROXY, as Go's httpproxy reads it ---- */

static bool in_network(const char *host, struct span net)
{
	struct span base, bits;
	uint64_t n;
	unsigned char addr[16], want[16];
	char text[INET6_ADDRSTRLEN];
	if (!span_split(net, '/', &base, &bits) || !span_to_u64(bits, &n) || base.len >= sizeof(text))
		return false;
	memcpy(text, base.ptr, base.len);
	text[base.len] = 0;
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;
	if (n > (family == AF_INET ? 32 : 128) || inet_pton(family, text, want) != 1 || inet_pton(family, host, addr) != 1)
		return false;
	size_t whole = (size_t)n / 8;
	unsigned rest = (unsigned)n % 8;
	return !memcmp(addr, want, whole) && (!rest || (addr[whole] ^ want[whole]) >> (8 - rest) == 0);
}

static bool loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;
	if (!strcasecmp(host, "localhost"))
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static bool excepted(struct span rule, const char *host, unsigned port)
{
	struct span name = SPAN_EMPTY, h = span_of(host);
	unsigned rule_port = 0;
	if (span_is(rule, "*"))
		return true;
	if (in_network(host, rule))
		return true;
	unsigned char any[16];
	char text[256];
	if (rule.len >= sizeof(text))
		return false;
	memcpy(text, rule.ptr, rule.len);
	text[rule.len] = 0;
	if (inet_pton(AF_INET6, text, any) == 1)
		return !strcasecmp(text, host);
	if (!authority_parse(rule, &name, &rule_port) || (rule_port && rule_port != port))
		return false;
	if (span_starts(name, SPAN("*.")))
		name = span_from(name, 1);
	if (name.ptr[0] == '.') /* names below it only */
		return h.len > name.len && span_eq_nocase(span_from(h, h.len - name.len), name);
	if (span_eq_nocase(h, name))
		return true;
	/* "example.org" covers "www.example.org" too; an address covers itself alone. */
	return h.len > name.len && h.ptr[h.len - name.len - 1] == '.' &&
		span_eq_nocase(span_from(h, h.len - name.len), name);
}

struct span http_proxy_for(const struct http_origin *o, struct span http_proxy, struct span https_proxy,
	struct span no_proxy)
{
	struct span proxy = o->tls ? https_proxy : http_proxy;
	unsigned port = o->port ? o->port : o->tls ? 443 : 80;
	if (!proxy.len || o->unix_path || loopback(o->host))
		return SPAN_EMPTY;
	struct span part;
	while (span_cut(&no_proxy, ',', &part)) {
		part = span_trim(part);
		if (part.len && excepted(part, o->host, port))
			return SPAN_EMPTY;
	}
	return proxy;
}
