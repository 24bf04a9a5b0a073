/* Names of images: the grammar of distribution/reference, by hand, because every name that a person types comes through here
 * and its errors are shown word for word.
 *
 *     name   := domain '/' path          domain := component ('.' component)* [':' digits] | '[' ipv6 ']' [':' digits]
 *     path   := part ('/' part)*         part   := [a-z0-9]+ (('_' | '.' | '__' | '-'+) [a-z0-9]+)*
 *     tag    := [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
 *     digest := algorithm ':' hex{32,}   algorithm := [A-Za-z][A-Za-z0-9]* (('+' | '.' | '-' | '_') ...)* */
#include <ctype.h>

#include "image/private.h"

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_port(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
	return s.len > 0;
}

static bool is_domain(struct span d)
{
	if (d.len && d.ptr[0] == '[') {
		ptrdiff_t end = span_chr(d, ']');
		struct span rest = end < 0 ? SPAN_EMPTY : span_from(d, (size_t)end + 1);
		if (end < 2)
			return false;
		for (ptrdiff_t i = 1; i < end; i++)
			if (!isxdigit((unsigned char)d.ptr[i]) && d.ptr[i] != ':')
				return false;
		return !rest.len || (rest.ptr[0] == ':' && is_port(span_from(rest, 1)));
	}
	struct span host, port;
	if (span_split(d, ':', &host, &port) && !is_port(port))
		return false;
	bool any = false;
	for (size_t i = 0, start = 0; i <= host.len; i++) {
		if (i < host.len && host.ptr[i] != '.') {
			if (!is_alnum(host.ptr[i]) && host.ptr[i] != '-')
				return false;
			continue;
		}
		if (i == start || host.ptr[start] == '-' || host.ptr[i - 1] == '-')
			return false;
		start = i + 1;
		any = true;
	}
	return any;
}

static bool is_part(struct span p)
{
	for (size_t i = 0; i < p.len;) {
		if (!is_lower_alnum(p.ptr[i]))
			return false;
		while (i < p.len && is_lower_alnum(p.ptr[i]))
			i++;
		if (i == p.len)
			return true;
		char c = p.ptr[i];
		size_t n = 0;
		while (i < p.len && p.ptr[i] == c)
			i++, n++;
		if (!(c == '-' || (c == '.' && n == 1) || (c == '_' && n <= 2)))
			return false;
	}
	return false;
}

static bool is_path(struct span path)
{
	size_t start = 0;
	for (size_t i = 0; i <= path.len; i++)
		if (i == path.len || path.ptr[i] == '/') {
			if (!is_part(span_sub(path, start, i)))
				return false;
			start = i + 1;
		}
	return true;
}

static bool is_tag(struct span t)
{
	if (!t.len || t.len > 128 || t.ptr[0] == '.' || t.ptr[0] == '-')
		return false;
	for (size_t i = 0; i < t.len; i++)
		if (!is_alnum(t.ptr[i]) && !strchr("_.-", t.ptr[i]))
			return false;
	return true;
}

static bool is_digest_form(struct span d)
{
	struct span alg, hex;
	if (!span_split(d, ':', &alg, &hex) || hex.len < 32)
		return false;
	for (size_t i = 0; i < hex.len; i++)
		if (!isxdigit((unsigned char)hex.ptr[i]))
			return false;
	bool fresh = true; /* a letter must come */
	for (size_t i = 0; i < alg.len; i++) {
		if (fresh && !isalpha((unsigned char)alg.ptr[i]))
			return false;
		fresh = strchr("+.-_", alg.ptr[i]) != NULL;
		if (!fresh && !is_alnum(alg.ptr[i]))
			return false;
	}
	return alg.len && !fresh;
}

static const char bad_form[] = "invalid reference format";

static int invalid(struct err *err)
{
	return err_set(err, ERR_INVALID_REQUEST, "%s", bad_form);
}

static bool has_upper(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z')
			return true;
	return false;
}

int image_ref_parse(struct span text, struct arena *a, struct image_ref *out, struct err *err)
{
	uint8_t raw[32];
	if (text.len == 64 && hex_parse(text, raw) && !has_upper(text))
		return err_set(err, ERR_INVALID_REQUEST, "invalid repository name (%.*s), cannot specify 64-byte hexadecimal strings",
			SPAN_ARG(text));
	if (!text.len || text.len > 4096 || memchr(text.ptr, 0, text.len))
		return invalid(err);
	struct image_ref r = {};
	struct span rest = arena_span(a, text), first, tail;
	bool slash = span_split(rest, '/', &first, &tail);
	if (slash && (span_chr(first, '.') >= 0 || span_chr(first, ':') >= 0 || span_is(first, "localhost") || has_upper(first))) {
		r.domain = span_is(first, "index.docker.io") ? SPAN("docker.io") : first;
		rest = tail;
	} else {
		r.domain = SPAN("docker.io");
	}
	struct span remote = rest, ignored;
	(void)span_split(rest, ':', &remote, &ignored);
	(void)span_split(remote, '@', &remote, &ignored);
	if (has_upper(remote))
		return err_set(err, ERR_INVALID_REQUEST, "invalid reference format: repository name (%.*s) must be lowercase",
			SPAN_ARG(remote));
	struct span digest = SPAN_EMPTY, name = rest;
	ptrdiff_t at = span_chr(rest, '@');
	if (at >= 0) {
		digest = span_from(rest, (size_t)at + 1);
		name = span_sub(rest, 0, (size_t)at);
		if (!is_digest_form(digest))
			return invalid(err);
	}
	ptrdiff_t colon = span_rchr(name, ':');
	if (colon >= 0) {
		r.tag = span_from(name, (size_t)colon + 1);
		name = span_sub(name, 0, (size_t)colon);
		if (!is_tag(r.tag))
			return invalid(err);
	}
	if (!is_domain(r.domain) || !is_path(name))
		return invalid(err);
	r.path = span_is(r.domain, "docker.io") && span_chr(name, '/') < 0 ? arena_printf(a, "library/%.*s", SPAN_ARG(name)) : name;
	if (r.path.len > 255)
		return err_set(err, ERR_INVALID_REQUEST, "repository name must not be more than 255 characters");
	if (digest.len) {
		struct image_digest d;
		int rc = image_digest_parse(digest, &d, err);
		if (rc < 0)
			return rc;
		r.digest = arena_span(a, image_digest_span(&d));
	}
	*out = r;
	return 0;
}

void image_ref_default(struct image_ref *r)
{
	if (!r->tag.len && !r->digest.len)
		r->tag = SPAN("latest");
}

struct span image_ref_name(const struct image_ref *r, struct arena *a)
{
	return arena_printf(a, "%.*s/%.*s", SPAN_ARG(r->domain), SPAN_ARG(r->path));
}

static struct span with_tail(const struct image_ref *r, struct span name, struct arena *a)
{
	return arena_printf(a, "%.*s%s%.*s%s%.*s", SPAN_ARG(name), r->tag.len ? ":" : "", SPAN_ARG(r->tag), r->digest.len ? "@" : "",
		SPAN_ARG(r->digest));
}

struct span image_ref_text(const struct image_ref *r, struct arena *a)
{
	return with_tail(r, image_ref_name(r, a), a);
}

struct span image_ref_familiar_name(const struct image_ref *r, struct arena *a)
{
	if (!span_is(r->domain, "docker.io"))
		return image_ref_name(r, a);
	struct span short_path = span_starts(r->path, SPAN("library/")) ? span_from(r->path, 8) : r->path;
	uint8_t raw[32];
	if (span_chr(short_path, '/') >= 0)
		short_path = r->path; /* library/a/b is only short without its domain */
	else if (short_path.len == 64 && hex_parse(short_path, raw))
		return r->path; /* alone it would be an id */
	/* docker.io/x.y/z: without the domain it would read as a host. (distribution/reference shortens it all the same.) */
	struct span first, rest;
	if (span_split(short_path, '/', &first, &rest) && (span_chr(first, '.') >= 0 || span_is(first, "localhost")))
		return image_ref_name(r, a);
	return short_path;
}

struct span image_ref_familiar(const struct image_ref *r, struct arena *a)
{
	return with_tail(r, image_ref_familiar_name(r, a), a);
}

/* ---- digests ---- */

int image_digest_parse(struct span text, struct image_digest *out, struct err *err)
{
	struct span alg, hex;
	uint8_t raw[32];
	if (!is_digest_form(text) && (!span_split(text, ':', &alg, &hex) || !alg.len || !hex.len))
		return err_set(err, ERR_INVALID_REQUEST, "invalid checksum digest format");
	(void)span_split(text, ':', &alg, &hex);
	if (!span_is(alg, "sha256"))
		return err_set(err, ERR_INVALID_REQUEST, "unsupported digest algorithm");
	if (hex.len != 64)
		return err_set(err, ERR_INVALID_REQUEST, "invalid checksum digest length");
	if (!hex_parse(hex, raw) || has_upper(hex))
		return err_set(err, ERR_INVALID_REQUEST, "invalid checksum digest format");
	memcpy(out->text, text.ptr, IMAGE_DIGEST_LEN);
	out->text[IMAGE_DIGEST_LEN] = 0;
	return 0;
}

struct image_digest image_digest_raw(const uint8_t sha[32])
{
	struct image_digest d;
	auto_buf struct buf b = {};
	buf_str(&b, "sha256:");
	hex_add(&b, sha, 32);
	memcpy(d.text, b.ptr, sizeof(d.text));
	return d;
}

struct image_digest image_digest_of(struct span data)
{
	uint8_t sha[32];
	tls_sha256(data, sha);
	return image_digest_raw(sha);
}

void image_chain(const char *below, const struct image_digest *diff, char out[65])
{
	if (!*below) {
		memcpy(out, diff->text + 7, 65);
		return;
	}
	char both[2 * IMAGE_DIGEST_LEN + 2];
	int n = snprintf(both, sizeof(both), "sha256:%.64s %s", below, diff->text);
	struct image_digest d = image_digest_of(span_make(both, (size_t)n));
	memcpy(out, d.text + 7, 65);
}
