/* Manifests, indexes, configurations, platforms: JSON texts from outside into structs. */
#include <ctype.h>
#include <sys/utsname.h>

#include "image/private.h"

const char IMAGE_TYPE_OCI_MANIFEST[] = "application/vnd.oci.image.manifest.v1+json";
const char IMAGE_TYPE_OCI_INDEX[] = "application/vnd.oci.image.index.v1+json";
const char IMAGE_TYPE_OCI_CONFIG[] = "application/vnd.oci.image.config.v1+json";
const char IMAGE_TYPE_OCI_LAYER[] = "application/vnd.oci.image.layer.v1.tar";
const char IMAGE_TYPE_DOCKER_MANIFEST[] = "application/vnd.docker.distribution.manifest.v2+json";
const char IMAGE_TYPE_DOCKER_LIST[] = "application/vnd.docker.distribution.manifest.list.v2+json";

/* ---- platforms ---- */

/* containerd's platforms/database.go: what people write, what Go calls it */
static const struct {
	const char *written, *arch, *variant;
} archs[] = {
	{ "i386", "386", "" }, { "x86_64", "amd64", "" }, { "x86-64", "amd64", "" }, { "aarch64", "arm64", "" },
	{ "armhf", "arm", "v7" }, { "armel", "arm", "v6" }, { "amd64", "amd64", "" }, { "arm64", "arm64", "" }, { "arm", "arm", "" },
	{ "386", "386", "" }, { "ppc64le", "ppc64le", "" }, { "ppc64", "ppc64", "" }, { "s390x", "s390x", "" },
	{ "riscv64", "riscv64", "" }, { "mips64le", "mips64le", "" }, { "mips64", "mips64", "" }, { "loong64", "loong64", "" },
	{ "wasm", "wasm", "" },
};

static const char *const systems[] = { "linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "wasi", "js",
	"solaris", "aix" };

static bool put(char *out, size_t cap, struct span s)
{
	if (s.len >= cap)
		return false;
	for (size_t i = 0; i < s.len; i++)
		out[i] = (char)tolower((unsigned char)s.ptr[i]);
	out[s.len] = 0;
	return true;
}

static bool arch_set(struct image_platform *p, const char *written)
{
	for (size_t i = 0; i < ARRAY_LEN(archs); i++)
		if (!strcmp(written, archs[i].written)) {
			snprintf(p->arch, sizeof(p->arch), "%s", archs[i].arch);
			snprintf(p->variant, sizeof(p->variant), "%s", archs[i].variant);
			return true;
		}
	return false;
}

/* arm64's v8 and amd64's v1 are what they are without saying; arm means v7. */
static void normalise(struct image_platform *p)
{
	char given[sizeof(p->variant)], written[sizeof(p->arch)];
	memcpy(given, p->variant, sizeof(given));
	memcpy(written, p->arch, sizeof(written));
	if (arch_set(p, written) && given[0])
		memcpy(p->variant, given, sizeof(given));
	if (isdigit((unsigned char)p->variant[0]) && !p->variant[1]) {
		p->variant[1] = p->variant[0];
		p->variant[0] = 'v';
		p->variant[2] = 0;
	}
	if ((!strcmp(p->arch, "arm64") && !strcmp(p->variant, "v8")) || (!strcmp(p->arch, "amd64") && !strcmp(p->variant, "v1")))
		p->variant[0] = 0;
	if (!strcmp(p->arch, "arm") && !p->variant[0])
		snprintf(p->variant, sizeof(p->variant), "v7");
}

struct image_platform image_platform_here(void)
{
	struct image_platform p = { .os = "linux" };
	struct utsname u;
	if (uname(&u) < 0 || !arch_set(&p, u.machine)) {
		if (!strncmp(u.machine, "armv", 4)) {
			snprintf(p.arch, sizeof(p.arch), "arm");
			snprintf(p.variant, sizeof(p.variant), "v%c", u.machine[4]);
		} else {
			snprintf(p.arch, sizeof(p.arch), "%.31s", u.machine);
		}
	}
	normalise(&p);
	return p;
}

int image_platform_parse(struct span text, struct image_platform *out, struct err *err)
{
	struct image_platform p = image_platform_here();
	struct span part[3] = {}, rest = text, more = SPAN_EMPTY;
	size_t n = 0;
	if (!text.len) {
		*out = p;
		return 0;
	}
	while (n < 3 && span_cut(&rest, '/', &part[n]))
		n++;
	for (size_t i = 0; i < text.len; i++)
		if (!isalnum((unsigned char)text.ptr[i]) && !strchr("/_.-", text.ptr[i]))
			more = text;
	char word[32];
	bool good = n && !rest.len && !more.len && part[0].len && text.ptr[text.len - 1] != '/' && put(word, sizeof(word), part[0]);
	if (good && n == 1) {
		bool is_os = false;
		for (size_t i = 0; i < ARRAY_LEN(systems); i++)
			is_os |= !strcmp(word, systems[i]);
		if (is_os)
			snprintf(p.os, sizeof(p.os), "%s", word);
		else if (!(good = arch_set(&p, word)))
			return err_set(err, ERR_INVALID_REQUEST, "\"%.*s\": unknown operating system or architecture: invalid argument",
				SPAN_ARG(text));
	} else if (good) {
		p.variant[0] = 0;
		good = part[1].len && put(p.os, sizeof(p.os), part[0]) && put(p.arch, sizeof(p.arch), part[1]);
		if (good && n == 3)
			good = part[2].len && put(p.variant, sizeof(p.variant), part[2]);
	}
	if (!good)
		return err_set(err, ERR_INVALID_REQUEST, "\"%.*s\" is an invalid component of a platform: invalid argument",
			SPAN_ARG(text));
	normalise(&p);
	*out = p;
	return 0;
}

static int version_of(const char *variant, int otherwise)
{
	return variant[0] == 'v' && isdigit((unsigned char)variant[1]) ? variant[1] - '0' : otherwise;
}

int image_platform_score(const struct image_platform *want_, const struct image_platform *have_)
{
	struct image_platform want = *want_, have = *have_;
	normalise(&want);
	normalise(&have);
	if (strcmp(want.os, have.os) != 0)
		return 0;
	if (strcmp(want.arch, have.arch) != 0) /* a 64-bit machine runs the 32-bit programs of its kind; Docker takes them last */
		return !strcmp(want.arch, "arm64") && !strcmp(have.arch, "arm") && version_of(have.variant, 7) <= 8
			? 1 + version_of(have.variant, 7) : 0;
	if (!strcmp(want.variant, have.variant))
		return 100;
	bool numbered = !strcmp(want.arch, "arm") || !strcmp(want.arch, "amd64") || !strcmp(want.arch, "arm64");
	int base = !strcmp(want.arch, "arm64") ? 8 : 1, w = version_of(want.variant, base), h = version_of(have.variant, base);
	if (numbered && h <= w)
		return 50 - (w - h);
	return 0;
}

/* ---- descriptors ---- */

static struct span kept(struct arena *a, const struct json *v)
{
	struct span s = json_span(v);
	return s.len ? arena_span(a, s) : SPAN_EMPTY;
}

static void platform_read(const struct json *v, struct image_platform *out)
{
	/* Too long for us means unknown to us: left empty, never chosen. */
	if (!put(out->os, sizeof(out->os), json_span(json_getl(v, "os"))) ||
	    !put(out->arch, sizeof(out->arch), json_span(json_getl(v, "architecture"))) ||
	    !put(out->variant, sizeof(out->variant), json_span(json_getl(v, "variant"))))
		*out = (struct image_platform){ .os = "?" };
}

static int descriptor_read(const struct json *v, struct arena *a, struct image_descriptor *out, struct err *err)
{
	*out = (struct image_descriptor){ .media_type = kept(a, json_getl(v, "mediaType")) };
	int64_t size = json_i64(json_getl(v, "size"), -1);
	if (!json_is(v, JSON_OBJECT) || size < 0)
		return err_set(err, ERR_CORRUPT, "manifest: a descriptor without size");
	out->size = (uint64_t)size;
	int rc = image_digest_parse(json_span(json_getl(v, "digest")), &out->digest, err);
	if (rc < 0)
		return err_set(err, ERR_CORRUPT, "manifest: %s", err ? err_msg(err) : "bad digest");
	const struct json *platform = json_getl(v, "platform"), *notes = json_getl(v, "annotations");
	if (platform)
		platform_read(platform, &out->platform);
	out->attestation = json_getl(notes, "vnd.docker.reference.type") != NULL || !strcmp(out->platform.os, "unknown");
	out->ref_name = kept(a, json_getl(notes, "org.opencontainers.image.ref.name"));
	out->image_name = kept(a, json_getl(notes, "io.containerd.image.name"));
	return 0;
}

int image_manifest_parse(struct span text, struct span media_type, struct arena *a, struct image_manifest *out, struct err *err)
{
	static const struct json_limits limits = { .bytes = MANIFEST_BYTES, .depth = 32, .nodes = 200000 };
	struct json v;
	int rc = json_parse(a, text, JSON_DUPLICATES_LAST, &limits, &v, err);
	if (rc < 0)
		return err_set(err, ERR_CORRUPT, "manifest: %s", err ? err_msg(err) : "not JSON");
	struct image_manifest m = { .media_type = kept(a, json_getl(&v, "mediaType")) };
	if (!m.media_type.len)
		m.media_type = arena_span(a, media_type);
	if (json_i64(json_getl(&v, "schemaVersion"), 0) == 1)
		return err_set(err, ERR_UNSUPPORTED,
			"manifest: schema version 1 is not supported (push the image again with a current client)");
	const struct json *layers = json_getl(&v, "layers"), *entries = json_getl(&v, "manifests");
	if (json_is(layers, JSON_ARRAY) == json_is(entries, JSON_ARRAY)) /* both: one digest must not mean two things */
		return err_set(err, ERR_CORRUPT, "manifest: neither (or both of) layers and manifests");
	m.kind = entries ? IMAGE_INDEX : IMAGE_MANIFEST;
	bool said_index = span_is(m.media_type, IMAGE_TYPE_OCI_INDEX) || span_is(m.media_type, IMAGE_TYPE_DOCKER_LIST);
	bool said_manifest = span_is(m.media_type, IMAGE_TYPE_OCI_MANIFEST) || span_is(m.media_type, IMAGE_TYPE_DOCKER_MANIFEST);
	if ((m.kind == IMAGE_INDEX && said_manifest) || (m.kind == IMAGE_MANIFEST && said_index))
		return err_set(err, ERR_CORRUPT, "manifest: its contents are not of its type %.*s", SPAN_ARG(m.media_type));
	const struct json *list = entries ? entries : layers;
	size_t most = entries ? IMAGE_INDEX_MAX : IMAGE_LAYERS_MAX;
	if (list->n > most)
		return err_set(err, ERR_TOO_LARGE, "manifest: %u entries (at most %zu)", list->n, most);
	m.items = arena_alloc_n(a, list->n + 1, sizeof(*m.items));
	JSON_EACH_ITEM(list, item)
		if ((rc = descriptor_read(item, a, &m.items[m.n++], err)) < 0)
			return rc;
	if (m.kind == IMAGE_MANIFEST && (rc = descriptor_read(json_getl(&v, "config"), a, &m.config, err)) < 0)
		return rc;
	*out = m;
	return 0;
}

int image_index_choose(const struct image_manifest *index, const struct image_platform *want, const struct image_descriptor **out,
	struct err *err)
{
	const struct image_descriptor *best = NULL;
	int best_score = 0;
	for (size_t i = 0; i < index->n; i++) {
		const struct image_descriptor *d = &index->items[i];
		if (d->attestation)
			continue;
		/* An entry that names no platform is taken when it is all there is (layouts of one image). */
		int score = d->platform.os[0] ? image_platform_score(want, &d->platform) : index->n == 1;
		if (score > best_score) {
			best = d;
			best_score = score;
		}
	}
	if (!best)
		return err_set(err, ERR_NOT_FOUND, "no matching manifest for %s/%s%s%s in the manifest list entries", want->os, want->arch,
			want->variant[0] ? "/" : "", want->variant);
	*out = best;
	return 0;
}

/* ---- configurations ---- */

int image_config_parse(struct span text, struct arena *a, struct image_config *out, struct err *err)
{
	static const struct json_limits limits = { .bytes = CONFIG_BYTES, .depth = 64, .nodes = 500000 };
	struct image_config c = {};
	int rc = json_parse(a, text, JSON_DUPLICATES_LAST | JSON_REPLACE_BAD_UTF8, &limits, &c.tree, err);
	if (rc < 0)
		return err_set(err, ERR_CORRUPT, "image configuration: %s", err ? err_msg(err) : "not JSON");
	const struct json *rootfs = json_getl(&c.tree, "rootfs"), *diffs = json_getl(rootfs, "diff_ids");
	struct span type = json_span(json_getl(rootfs, "type"));
	if (!json_is(&c.tree, JSON_OBJECT) || (type.len && !span_is(type, "layers")) || (diffs && !json_is(diffs,
		JSON_ARRAY) && !json_is(diffs, JSON_NULL)))
		return err_set(err, ERR_CORRUPT, "image configuration: no list of layers (rootfs.diff_ids)");
	size_t n = json_is(diffs, JSON_ARRAY) ? diffs->n : 0;
	if (n > IMAGE_LAYERS_MAX)
		return err_set(err, ERR_TOO_LARGE, "max depth exceeded: %zu layers", n);
	c.diffs = arena_alloc_n(a, n + 1, sizeof(*c.diffs));
	JSON_EACH_ITEM(diffs, d)
		if (image_digest_parse(json_span(d), &c.diffs[c.n_diffs++], err) < 0)
			return err_set(err, ERR_CORRUPT, "image configuration: %s", err ? err_msg(err) : "bad digest");
	platform_read(&c.tree, &c.platform);
	normalise(&c.platform);
	c.created = json_span(json_getl(&c.tree, "created"));
	c.author = json_span(json_getl(&c.tree, "author"));
	*out = c;
	return 0;
}
