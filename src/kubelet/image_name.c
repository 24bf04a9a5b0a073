/* Names of images as distribution/reference has them, and which credential is for which (upstream's credentialprovider). */
#include <fnmatch.h>

#include "kubelet/image.h"

struct parts {
	struct span registry; /* "" = none is named: Docker's */
	struct span path, tag, digest;
	bool tagged, digested;
};

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool has_upper(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (is_upper(s.ptr[i]))
			return true;
	return false;
}

static void parts_of(struct span image, struct parts *p)
{
	struct span head, rest = image, tail;
	*p = (struct parts){};
	p->digested = span_split(image, '@', &rest, &p->digest);
	if (span_split(rest, '/', &head, &tail) &&
	    (span_chr(head, '.') >= 0 || span_chr(head, ':') >= 0 || span_is(head, "localhost") || has_upper(head))) {
		p->registry = head;
		rest = tail;
	}
	ptrdiff_t tag = span_rchr(rest, ':');
	p->tagged = tag >= 0;
	p->path = p->tagged ? span_sub(rest, 0, (size_t)tag) : rest;
	p->tag = p->tagged ? span_from(rest, (size_t)tag + 1) : SPAN_EMPTY;
}

/* Letters, digits, and between them ".", "_", "__" or hyphens. */
static bool component_ok(struct span s)
{
	size_t run = 0; /* separators in a row */
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		if (is_lower(c) || is_digit(c)) {
			run = 0;
			continue;
		}
		bool same = run && c == s.ptr[i - 1];
		if (c != '.' && c != '_' && c != '-')
			return false;
		if (i == 0 || (run && !same) || (same && (c == '.' || (c == '_' && run == 2))))
			return false;
		run++;
	}
	return s.len && !run;
}

static bool registry_ok(struct span s)
{
	struct span host = s, port = SPAN_EMPTY;
	if (s.len && s.ptr[0] == '[') {
		ptrdiff_t end = span_chr(s, ']');
		host = span_sub(s, 1, end < 0 ? 1 : (size_t)end);
		port = span_from(s, (size_t)(end < 0 ? 0 : end + 1));
		if (end < 2 || (port.len && port.ptr[0] != ':'))
			return false;
		for (size_t i = 0; i < host.len; i++)
			if (host.ptr[i] != ':' && !is_digit(host.ptr[i]) && !((host.ptr[i] | 0x20) >= 'a' && (host.ptr[i] | 0x20) <= 'f'))
				return false;
	} else {
		ptrdiff_t colon = span_chr(s, ':');
		host = colon >= 0 ? span_sub(s, 0, (size_t)colon) : s;
		port = colon >= 0 ? span_from(s, (size_t)colon) : SPAN_EMPTY;
		struct span rest = host, label;
		if (!host.len)
			return false;
		while (span_cut(&rest, '.', &label)) {
			if (!label.len || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
				return false;
			for (size_t i = 0; i < label.len; i++)
				if (!is_lower(label.ptr[i]) && !is_upper(label.ptr[i]) && !is_digit(label.ptr[i]) && label.ptr[i] != '-')
					return false;
		}
		if (host.ptr[host.len - 1] == '.')
			return false;
	}
	for (size_t i = 1; i < port.len; i++)
		if (!is_digit(port.ptr[i]))
			return false;
	return port.len != 1;
}

static bool tag_ok(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		if (!is_lower(c) && !is_upper(c) && !is_digit(c) && c != '_' && (i == 0 || (c != '.' && c != '-')))
			return false;
	}
	return s.len > 0 && s.len <= 128;
}

static bool digest_ok(struct span s)
{
	struct span algorithm, hex;
	if (!span_split(s, ':', &algorithm, &hex) || hex.len < 32 || !algorithm.len)
		return false;
	for (size_t i = 0; i < algorithm.len; i++) {
		char c = algorithm.ptr[i];
		bool letter = is_lower(c) || is_upper(c);
		if (!letter && (i == 0 || (!is_digit(c) && c != '-' && c != '_' && c != '+' && c != '.')))
			return false;
	}
	for (size_t i = 0; i < hex.len; i++)
		if (!is_digit(hex.ptr[i]) && !((hex.ptr[i] | 0x20) >= 'a' && (hex.ptr[i] | 0x20) <= 'f'))
			return false;
	return true;
}

const char *kl_image_name_problem(struct arena *a, struct span image)
{
	static const char *const problem = "invalid reference format";
	struct parts p;
	parts_of(image, &p);
	if (p.registry.ptr && !registry_ok(p.registry))
		return problem;
	if ((p.tagged && !tag_ok(p.tag)) || (p.digested && !digest_ok(p.digest)))
		return problem;
	if (has_upper(p.path))
		return arena_cstr(a, arena_printf(a, "invalid reference format: repository name (%s%.*s) must be lowercase",
						  p.registry.ptr || memchr(p.path.ptr, '/', p.path.len) ? "" : "library/", SPAN_ARG(p.path)));
	struct span rest = p.path, part;
	while (span_cut(&rest, '/', &part))
		if (!component_ok(part))
			return problem;
	return p.path.len && p.path.ptr[p.path.len - 1] != '/' && p.path.len <= 255 ? NULL : problem;
}

struct span kl_image_repository(struct arena *a, struct span image)
{
	struct parts p;
	parts_of(image, &p);
	if (p.registry.len && !span_is(p.registry, "index.docker.io"))
		return arena_printf(a, "%.*s/%.*s", SPAN_ARG(p.registry), SPAN_ARG(p.path));
	return arena_printf(a, "docker.io/%s%.*s", span_chr(p.path, '/') < 0 ? "library/" : "", SPAN_ARG(p.path));
}

/* ---- credentials */

/* "host.of.it:port" and "/path" of "host.of.it:port/path" */
static void place_of(struct span s, struct span *host, struct span *port, struct span *path)
{
	ptrdiff_t slash = span_chr(s, '/');
	struct span all = slash >= 0 ? span_sub(s, 0, (size_t)slash) : s;
	*path = slash >= 0 ? span_from(s, (size_t)slash) : SPAN_EMPTY;
	ptrdiff_t colon = span_rchr(all, ':');
	if (colon >= 0 && span_chr(all, ']') > colon) /* within an IPv6 address */
		colon = -1;
	*host = colon >= 0 ? span_sub(all, 0, (size_t)colon) : all;
	*port = colon >= 0 ? span_from(all, (size_t)colon) : SPAN_EMPTY;
}

struct span kl_image_key(struct arena *a, struct span key)
{
	if (span_starts(key, SPAN("https://")))
		key = span_from(key, 8);
	else if (span_starts(key, SPAN("http://")))
		key = span_from(key, 7);
	ptrdiff_t slash = span_chr(key, '/');
	struct span host = slash >= 0 ? span_sub(key, 0, (size_t)slash) : key;
	struct span path = slash >= 0 ? span_from(key, (size_t)slash) : SPAN_EMPTY;
	/* The API's own path says nothing about repositories. */
	if (span_starts(path, SPAN("/v2/")) || span_starts(path, SPAN("/v1/")))
		path = span_from(path, 3);
	if (span_is(path, "/"))
		path = SPAN_EMPTY;
	if (span_is(host, "index.docker.io"))
		host = SPAN("docker.io");
	return arena_printf(a, "%.*s%.*s", SPAN_ARG(host), SPAN_ARG(path));
}

bool kl_image_key_fits(struct arena *a, struct span key, struct span repository)
{
	struct span kh, kp, kpath, rh, rp, rpath;
	place_of(key, &kh, &kp, &kpath);
	place_of(repository, &rh, &rp, &rpath);
	if (!span_eq(kp, rp) || !span_starts(rpath, kpath))
		return false;
	if (span_starts(kh, SPAN("["))) /* an address, no pattern */
		return span_eq(kh, rh);
	/* A * stands for (a part of) one label, never for several of them. */
	struct span klabel, rlabel;
	bool more_k = true, more_r = true;
	while (more_k && more_r) {
		more_k = span_cut(&kh, '.', &klabel);
		more_r = span_cut(&rh, '.', &rlabel);
		if (more_k != more_r || (more_k && fnmatch(arena_cstr(a, klabel), arena_cstr(a, rlabel), 0) != 0))
			return false;
	}
	return true;
}
