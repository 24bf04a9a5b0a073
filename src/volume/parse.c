/* What one mount is: -v strings, Mounts documents, tmpfs options. Pure.
 *
 * The order of the checks is dockerd's (volume/mounts), because the first one that fails gives the words that people see. */
#include "sys/sys.h"
#include "volume/private.h"

static const char *const kinds[] = { "bind", "volume", "tmpfs", "image" };
_Static_assert(ARRAY_LEN(kinds) == VOLUME_KIND_COUNT, "a word for each kind");

const char *volume_kind_name(enum volume_kind k)
{
	return kinds[k];
}

/* ---- paths ---- */

struct span volume_path_clean(struct span path, struct arena *a)
{
	bool absolute = span_starts(path, SPAN("/"));
	auto_buf struct buf out = {};
	struct span part;
	size_t above = 0; /* length of the leading "../../" of a relative path, which nothing takes back */
	for (struct span rest = path; span_cut(&rest, '/', &part);) {
		if (!part.len || span_is(part, "."))
			continue;
		if (span_is(part, "..") && out.len > above) {
			ptrdiff_t slash = span_rchr(buf_span(&out), '/');
			buf_trunc(&out, slash < 0 ? 0 : (size_t)slash);
			continue;
		}
		if (span_is(part, "..") && absolute)
			continue;
		if (out.len || absolute)
			buf_chr(&out, '/');
		buf_span_add(&out, part);
		if (span_is(part, ".."))
			above = out.len;
	}
	if (!out.len)
		buf_chr(&out, absolute ? '/' : '.');
	return arena_span(a, buf_span(&out));
}

int volume_config_error(struct span type, struct err *err, const char *fmt, ...)
{
	auto_buf struct buf words = {};
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&words, fmt, ap);
	va_end(ap);
	return err_set(err, ERR_INVALID_REQUEST, "invalid mount config for type \"%.*s\": %s", SPAN_ARG(type), buf_cstr(&words));
}

/* True: usable as a path at all. */
static bool is_path(struct span s)
{
	return s.len <= VOLUME_PATH_MAX && !memchr(s.ptr ? s.ptr : "", 0, s.len);
}

/* linuxValidateNotRoot and linuxValidateAbsolute; NULL or what is wrong. */
static const char *target_wrong(struct span target, struct arena *a)
{
	if (!is_path(target))
		return "invalid mount path: it is longer than 4095 bytes or holds a 0 byte";
	if (span_is(volume_path_clean(target, a), "/"))
		return "invalid specification: destination can't be '/'";
	if (!span_starts(target, SPAN("/")))
		return arena_printf(a, "invalid mount path: '%.*s' mount path must be absolute", SPAN_ARG(target)).ptr;
	return NULL;
}

/* filepath.IsLocal: relative, and not above where it starts. */
static bool is_local(struct span path, struct arena *a)
{
	if (!path.len || !is_path(path) || span_starts(path, SPAN("/")))
		return false;
	struct span c = volume_path_clean(path, a);
	return !span_is(c, "..") && !span_starts(c, SPAN("../"));
}

int volume_name_check(struct span name, struct err *err)
{
	bool ok = name.len <= VOLUME_NAME_MAX && name.len > 0;
	for (size_t i = 0; ok && i < name.len; i++) {
		char c = name.ptr[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		ok = letter || (i && (c == '_' || c == '.' || c == '-'));
	}
	if (name.len == 1)
		return err_set(err, ERR_INVALID_REQUEST, "volume name is too short, names should be at least two alphanumeric "
			"characters");
	if (!ok)
		return err_set(err, ERR_INVALID_REQUEST, "\"%.*s\" includes invalid characters for a local volume name, only "
			"\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
			SPAN_ARG(name));
	return 0;
}

/* ---- the mode of a -v string ---- */

enum mode_group { MODE_RW, MODE_LABEL, MODE_PROPAGATION, MODE_COPY, MODE_CONSISTENCY, MODE_GROUPS };
static const struct {
	const char *word;
	enum mode_group group;
} modes[] = {
	{ "rw", MODE_RW },
	{ "ro", MODE_RW },
	{ "z", MODE_LABEL },
	{ "Z", MODE_LABEL },
	{ "private", MODE_PROPAGATION },
	{ "rprivate", MODE_PROPAGATION },
	{ "slave", MODE_PROPAGATION },
	{ "rslave", MODE_PROPAGATION },
	{ "shared", MODE_PROPAGATION },
	{ "rshared", MODE_PROPAGATION },
	{ "nocopy", MODE_COPY },
	{ "consistent", MODE_CONSISTENCY }, /* of Docker Desktop's file sharing: accepted, nothing to do here */
	{ "cached", MODE_CONSISTENCY },
	{ "delegated", MODE_CONSISTENCY },
};

/* words[g]: the word of each group, empty = none. False when the text is no mode. */
static bool mode_parse(struct span mode, struct span words[MODE_GROUPS])
{
	memset(words, 0, MODE_GROUPS * sizeof(*words));
	for (bool more = mode.len > 0; more;) {
		struct span word = mode;
		more = span_split(mode, ',', &word, &mode);
		size_t i = 0;
		while (i < ARRAY_LEN(modes) && !span_is(word, modes[i].word))
			i++;
		if (i == ARRAY_LEN(modes) || words[modes[i].group].len)
			return false;
		words[modes[i].group] = word;
	}
	return true;
}

int volume_mount_parse(struct span text, struct span driver, struct arena *a, struct volume_mount *out, struct err *err)
{
	struct span part[3] = {}, rest = text, words[MODE_GROUPS];
	unsigned n = 0;
	for (bool more = true; more && n < 3; n++) {
		part[n] = rest;
		more = span_split(rest, ':', &part[n], &rest);
		if (!more)
			rest = SPAN_EMPTY;
		else if (n == 2)
			n = 3; /* a third colon */
	}
	if (!part[0].len || n > 3 || (n == 2 && mode_parse(part[1], words)))
		return err_set(err, ERR_INVALID_REQUEST, "invalid volume specification: '%.*s'", SPAN_ARG(text));
	if (!mode_parse(part[2], words))
		return err_set(err, ERR_INVALID_REQUEST, "invalid mode: %.*s", SPAN_ARG(part[2]));
	struct span source = n == 1 ? SPAN_EMPTY : part[0], target = n == 1 ? part[0] : part[1];
	struct volume_mount m = { .kind = span_starts(source, SPAN("/")) ? VOLUME_BIND : VOLUME_NAMED, .mode = arena_span(a, part[2]),
		.read_only = span_is(words[MODE_RW], "ro"), .no_copy = words[MODE_COPY].len > 0 };
	const char *wrong = target.len ? target_wrong(target, a) : "field Target must not be empty";
	if (!wrong && m.kind == VOLUME_BIND && m.no_copy)
		wrong = "field VolumeOptions must not be specified";
	if (!wrong && m.kind == VOLUME_BIND && !is_path(source))
		wrong = "invalid mount path: it is longer than 4095 bytes or holds a 0 byte";
	if (!wrong && m.kind == VOLUME_NAMED && words[MODE_PROPAGATION].len)
		wrong = "field BindOptions must not be specified";
	if (!wrong && m.kind == VOLUME_NAMED && m.read_only && !source.len)
		wrong = "must not set ReadOnly mode when using anonymous volumes";
	if (wrong)
		return err_set(err, ERR_INVALID_REQUEST, "invalid volume specification: '%.*s': invalid mount config for type \"%s\": %s",
			SPAN_ARG(text), kinds[m.kind], wrong);
	m.target = volume_path_clean(target, a);
	m.label = words[MODE_LABEL].len ? words[MODE_LABEL].ptr[0] : 0;
	if (m.kind == VOLUME_BIND) {
		m.source = volume_path_clean(source, a);
		m.propagation_said = words[MODE_PROPAGATION].len > 0;
		m.propagation = m.propagation_said ? arena_span(a, words[MODE_PROPAGATION]) : SPAN("rprivate");
	} else {
		m.name = arena_span(a, source);
		m.driver = arena_span(a, driver);
		if (!m.mode.len && source.len)
			m.mode = SPAN("z"); /* as dockerd shows it */
	}
	*out = m;
	return 0;
}

int volume_anonymous_parse(struct span target, struct arena *a, struct volume_mount *out, struct err *err)
{
	const char *wrong = target_wrong(target, a);
	if (wrong)
		return err_set(err, ERR_INVALID_REQUEST, "invalid volume specification: '%.*s': invalid mount config for type "
			"\"volume\": %s", SPAN_ARG(target), wrong);
	*out = (struct volume_mount){ .kind = VOLUME_NAMED, .target = volume_path_clean(target, a) };
	return 0;
}

int volume_from_parse(struct span text, struct span *out_container, struct span *out_mode, struct err *err)
{
	struct span id = text, mode = SPAN_EMPTY, words[MODE_GROUPS];
	if (!text.len)
		return err_set(err, ERR_INVALID_REQUEST, "volumes-from specification cannot be an empty string");
	(void)span_split(text, ':', &id, &mode); /* without a colon the mode stays empty */
	if (!mode_parse(mode, words) || words[MODE_PROPAGATION].len || words[MODE_COPY].len)
		return err_set(err, ERR_INVALID_REQUEST, "invalid mode: %.*s", SPAN_ARG(mode));
	*out_container = id;
	*out_mode = mode;
	return 0;
}

/* ---- tmpfs ---- */

/* Options that carry a value (tmpfs(5)); the others are the mount flags that sys knows. */
static const char *const tmpfs_keys[] = { "size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "mpol" };
/* Pairs of which the later word wins. */
static const char *const opposites[][2] = {
	{ "ro", "rw" }, { "nosuid", "suid" }, { "nodev", "dev" }, { "noexec", "exec" }, { "sync", "async" },
	{ "atime", "noatime" }, { "diratime", "nodiratime" }, { "relatime", "norelatime" }, { "strictatime", "nostrictatime" },
};

static bool replaces(struct span later, struct span earlier)
{
	struct span k1 = later, k2 = earlier, v;
	(void)span_split(later, '=', &k1, &v);
	(void)span_split(earlier, '=', &k2, &v);
	if (span_eq(k1, k2))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(opposites); i++)
		if ((span_is(later, opposites[i][0]) && span_is(earlier, opposites[i][1])) ||
		    (span_is(later, opposites[i][1]) && span_is(earlier, opposites[i][0])))
			return true;
	return false;
}

int volume_tmpfs_options(struct span given, struct arena *a, struct span *out, struct err *err)
{
	enum { WORDS_MAX = 64 };
	struct span words[WORDS_MAX] = { SPAN("noexec"), SPAN("nosuid"), SPAN("nodev") }, word;
	size_t n = 3;
	while (span_cut(&given, ',', &word)) {
		struct span key = word, value = SPAN_EMPTY;
		struct sys_mount_opts flags = {};
		bool known = false, valued = span_split(word, '=', &key, &value);
		for (size_t i = 0; valued && !known && i < ARRAY_LEN(tmpfs_keys); i++)
			known = span_is(key, tmpfs_keys[i]) && value.len && is_path(value);
		/* Propagation and id maps are mount words too, but not of a tmpfs. */
		if (!known && (valued || !sys_mount_option(&flags, word) || flags.propagation || flags.idmap || flags.copy_up ||
				      flags.rec_set || flags.rec_clear))
			return err_set(err, ERR_INVALID_REQUEST, "invalid tmpfs option [\"%.*s\"]", SPAN_ARG(word));
		size_t kept = 0;
		for (size_t i = 0; i < n; i++)
			if (!replaces(word, words[i]))
				words[kept++] = words[i];
		n = kept;
		if (n == WORDS_MAX)
			return err_set(err, ERR_INVALID_REQUEST, "invalid tmpfs options: more than %d", WORDS_MAX);
		words[n++] = word;
	}
	auto_buf struct buf text = {};
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_chr(&text, ',');
		buf_span_add(&text, words[i]);
	}
	*out = arena_span(a, buf_span(&text));
	return 0;
}

int volume_tmpfs_parse(struct span target, struct span options, struct arena *a, struct volume_mount *out, struct err *err)
{
	const char *wrong = target_wrong(target, a);
	if (wrong)
		return err_set(err, ERR_INVALID_REQUEST, "%s", wrong);
	struct volume_mount m = { .kind = VOLUME_TMPFS, .target = volume_path_clean(target, a) };
	int rc = volume_tmpfs_options(options, a, &m.tmpfs_options, err);
	if (rc == 0)
		*out = m;
	return rc;
}

/* TmpfsOptions of a Mounts document. */
static int tmpfs_read(const struct json *doc, struct arena *a, struct volume_mount *m, struct err *err)
{
	const struct json *o = json_getl(doc, "TmpfsOptions");
	auto_buf struct buf words = {};
	m->tmpfs_bytes = json_i64(json_getl(o, "SizeBytes"), 0);
	int64_t mode = json_i64(json_getl(o, "Mode"), 0);
	if (m->tmpfs_bytes < 0 || mode < 0 || mode > 07777)
		return volume_config_error(SPAN("tmpfs"), err, "%s", mode < 0 || mode > 07777 ? "invalid mode" : "invalid size");
	m->tmpfs_mode = (uint32_t)mode;
	if (m->read_only)
		buf_str(&words, "ro,");
	if (mode)
		buf_printf(&words, "mode=%o,", (unsigned)mode);
	if (m->tmpfs_bytes)
		buf_printf(&words, "size=%lld,", (long long)m->tmpfs_bytes);
	JSON_EACH_ITEM(json_getl(o, "Options"), item) {
		struct span k = item->kind == JSON_ARRAY && item->n ? json_span(&item->items[0]) : SPAN_EMPTY;
		struct span v = item->kind == JSON_ARRAY && item->n == 2 ? json_span(&item->items[1]) : SPAN_EMPTY;
		if (!k.len || item->n > 2 || (item->n == 2 && !v.len) || span_chr(k, ',') >= 0 || span_chr(v, ',') >= 0)
			return volume_config_error(SPAN("tmpfs"), err, "invalid option array length");
		buf_printf(&words, "%.*s%s%.*s,", SPAN_ARG(k), v.len ? "=" : "", SPAN_ARG(v));
	}
	if (words.len)
		buf_trunc(&words, words.len - 1);
	auto_err struct err why = ERR_INIT;
	if (volume_tmpfs_options(buf_span(&words), a, &m->tmpfs_options, &why) < 0)
		return volume_config_error(SPAN("tmpfs"), err, "%s", err_msg(&why));
	return 0;
}

/* ---- Mounts ---- */

static bool is_propagation(struct span s)
{
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (modes[i].group == MODE_PROPAGATION && span_is(s, modes[i].word))
			return true;
	return false;
}

static bool there(const struct json *v)
{
	return v && v->kind != JSON_NULL;
}

static const char *bind_read(const struct json *doc, struct span source, struct arena *a, struct volume_mount *m)
{
	const struct json *o = json_getl(doc, "BindOptions");
	struct span propagation = json_span(json_getl(o, "Propagation"));
	if (!source.len)
		return "field Source must not be empty";
	if (propagation.len && !is_propagation(propagation))
		return arena_printf(a, "invalid propagation mode: %.*s", SPAN_ARG(propagation)).ptr;
	if (there(json_getl(doc, "VolumeOptions")))
		return "field VolumeOptions must not be specified";
	if (!span_starts(source, SPAN("/")) || !is_path(source))
		return arena_printf(a, "invalid mount path: '%.*s' mount path must be absolute", SPAN_ARG(source)).ptr;
	m->source = volume_path_clean(source, a);
	m->propagation_said = propagation.len > 0;
	m->propagation = m->propagation_said ? arena_span(a, propagation) : SPAN("rprivate");
	m->create_source = json_truth(json_getl(o, "CreateMountpoint"), false);
	m->non_recursive = json_truth(json_getl(o, "NonRecursive"), false);
	m->read_only_non_recursive = json_truth(json_getl(o, "ReadOnlyNonRecursive"), false);
	m->read_only_force_recursive = json_truth(json_getl(o, "ReadOnlyForceRecursive"), false);
	if (m->read_only_non_recursive && !m->read_only)
		return "mount is not read-only, but ReadOnlyNonRecursive is set";
	if (m->read_only_force_recursive && !m->read_only)
		return "mount is not read-only, but ReadOnlyForceRecursive is set";
	if (m->read_only_force_recursive && m->read_only_non_recursive)
		return "ReadOnlyForceRecursive and ReadOnlyNonRecursive exclude each other";
	return NULL;
}

static const char *named_read(const struct json *doc, struct span source, struct arena *a, struct volume_mount *m)
{
	const struct json *o = json_getl(doc, "VolumeOptions"), *driver = json_getl(o, "DriverConfig");
	struct span subpath = json_span(json_getl(o, "Subpath"));
	if (there(json_getl(doc, "BindOptions")))
		return "field BindOptions must not be specified";
	if (subpath.len && !source.len)
		return "must not set Subpath when using anonymous volumes";
	if (subpath.len && !is_local(subpath, a))
		return "subpath must be a relative path within the volume";
	if (m->read_only && !source.len)
		return "must not set ReadOnly mode when using anonymous volumes";
	m->name = arena_span(a, source);
	m->driver = arena_span(a, json_span(json_getl(driver, "Name")));
	m->driver_options = json_getl(driver, "Options");
	m->labels = json_getl(o, "Labels");
	m->no_copy = json_truth(json_getl(o, "NoCopy"), false);
	m->subpath = subpath.len ? volume_path_clean(subpath, a) : SPAN_EMPTY;
	m->mode = SPAN("z"); /* as dockerd shows it */
	return NULL;
}

static const char *image_read(const struct json *doc, struct span source, struct arena *a, struct volume_mount *m)
{
	struct span subpath = json_span(json_path(doc, "ImageOptions", "Subpath", NULL));
	if (there(json_getl(doc, "BindOptions")))
		return "field BindOptions must not be specified";
	if (there(json_getl(doc, "VolumeOptions")))
		return "field VolumeOptions must not be specified";
	if (!source.len)
		return "field Source must not be empty";
	if (subpath.len && !is_local(subpath, a))
		return "subpath must be a relative path within the volume";
	m->source = arena_span(a, source);
	m->subpath = subpath.len ? volume_path_clean(subpath, a) : SPAN_EMPTY;
	return NULL;
}

int volume_mount_read(const struct json *doc, struct arena *a, struct volume_mount *out, struct err *err)
{
	struct span type = json_span(json_getl(doc, "Type")), source = json_span(json_getl(doc, "Source")),
		    target = json_span(json_getl(doc, "Target"));
	struct volume_mount m = { .kind = VOLUME_KIND_COUNT, .from_mounts = true, .spec = doc,
		.read_only = json_truth(json_getl(doc, "ReadOnly"), false) };
	for (unsigned k = 0; k < VOLUME_KIND_COUNT; k++)
		if (span_is(type, kinds[k]))
			m.kind = (enum volume_kind)k;
	const char *wrong = target.len ? target_wrong(target, a) : "field Target must not be empty";
	if (wrong)
		return volume_config_error(type, err, "%s", wrong);
	m.target = volume_path_clean(target, a);
	switch (m.kind) {
	case VOLUME_BIND:
		wrong = bind_read(doc, source, a, &m);
		break;
	case VOLUME_NAMED:
		wrong = named_read(doc, source, a, &m);
		break;
	case VOLUME_IMAGE:
		wrong = image_read(doc, source, a, &m);
		break;
	case VOLUME_TMPFS:
		if (there(json_getl(doc, "BindOptions")))
			wrong = "field BindOptions must not be specified";
		else if (source.len)
			wrong = "field Source must not be specified";
		else if (tmpfs_read(doc, a, &m, err) < 0)
			return -ERR_INVALID_REQUEST;
		break;
	default:
		wrong = "mount type unknown";
	}
	if (wrong)
		return volume_config_error(type, err, "%s", wrong);
	*out = m;
	return 0;
}
