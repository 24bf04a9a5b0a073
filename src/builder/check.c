/* What each instruction may have and must have, and the words when it does not. */
#include "builder/private.h"
#include "image/image.h"

/* ---- suggestions */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

#define SUGGEST_MAX 31 /* bytes of a name that is looked at */

/* Letters to change, add or leave out to get from a to b. */
static unsigned distance(struct span a, struct span b, bool case_matters)
{
	unsigned row[SUGGEST_MAX + 1];
	if (a.len > SUGGEST_MAX || b.len > SUGGEST_MAX)
		return SUGGEST_MAX;
	for (unsigned j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 0; i < a.len; i++) {
		unsigned diagonal = row[0];
		row[0] = (unsigned)i + 1;
		for (size_t j = 0; j < b.len; j++) {
			bool same = case_matters ? a.ptr[i] == b.ptr[j] : lower(a.ptr[i]) == lower(b.ptr[j]);
			unsigned best = diagonal + !same;
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j + 1] + 1 < best)
				best = row[j + 1] + 1;
			diagonal = row[j + 1];
			row[j + 1] = best;
		}
	}
	return row[b.len];
}

int builder_suggest(struct err *err, struct span given, const char *const *names, bool case_matters)
{
	const char *best = NULL;
	unsigned least = 3;
	for (; *names; names++) {
		unsigned d = distance(given, span_of(*names), case_matters);
		if (!d)
			return -ERR_INVALID_REQUEST; /* the name is right: something else is wrong */
		if (d < least) {
			least = d;
			best = *names;
		}
	}
	if (!best || !err)
		return -ERR_INVALID_REQUEST;
	auto_buf struct buf said = {};
	buf_str(&said, err_msg(err));
	return err_set(err, ERR_INVALID_REQUEST, "%s (did you mean %s?)", buf_cstr(&said), best);
}

/* ---- flags */

enum flag_kind { SWITCH, VALUE, VALUES };
struct flag_rule {
	unsigned ops; /* bits of enum builder_op */
	const char *name;
	enum flag_kind kind;
};
#define ON(op) (1u << BUILDER_##op)

static const struct flag_rule rules[] = {
	{ ON(FROM), "platform", VALUE },
	{ ON(ADD) | ON(COPY), "chown", VALUE },
	{ ON(ADD) | ON(COPY), "chmod", VALUE },
	{ ON(ADD) | ON(COPY), "link", SWITCH },
	{ ON(ADD) | ON(COPY), "exclude", VALUES },
	{ ON(COPY), "from", VALUE },
	{ ON(COPY), "parents", SWITCH },
	{ ON(ADD), "keep-git-dir", SWITCH },
	{ ON(ADD), "checksum", VALUE },
	{ ON(ADD), "unpack", SWITCH },
	{ ON(RUN), "mount", VALUES },
	{ ON(RUN), "network", VALUE },
	{ ON(RUN), "security", VALUE },
	{ ON(HEALTHCHECK), "interval", VALUE },
	{ ON(HEALTHCHECK), "timeout", VALUE },
	{ ON(HEALTHCHECK), "start-period", VALUE },
	{ ON(HEALTHCHECK), "start-interval", VALUE },
	{ ON(HEALTHCHECK), "retries", VALUE },
};

static int flag_check(const struct builder_instruction *in, size_t at, struct err *err)
{
	const struct builder_flag *f = &in->flags[at];
	const char *names[ARRAY_LEN(rules) + 1];
	const struct flag_rule *rule = NULL;
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (rules[i].ops >> in->op & 1) {
			names[n++] = rules[i].name;
			if (span_is(f->name, rules[i].name))
				rule = &rules[i];
		}
	names[n] = NULL;
	if (!rule) {
		(void)err_set(err, ERR_INVALID_REQUEST, "unknown flag: --%.*s", SPAN_ARG(f->name));
		return builder_suggest(err, f->name, names, true);
	}
	for (size_t i = 0; i < at && rule->kind != VALUES; i++)
		if (span_eq(in->flags[i].name, f->name))
			return err_set(err, ERR_INVALID_REQUEST, "duplicate flag specified: %.*s", SPAN_ARG(f->name));
	if (rule->kind == SWITCH ? f->has_value && !f->value.len : !f->has_value)
		return err_set(err, ERR_INVALID_REQUEST, "missing a value on flag: %.*s", SPAN_ARG(f->name));
	if (rule->kind == SWITCH && f->has_value && !span_eq_nocase(f->value, SPAN("true")) && !span_eq_nocase(f->value, SPAN("false")))
		return err_set(err, ERR_INVALID_REQUEST, "expecting boolean value for flag %.*s, not: %.*s", SPAN_ARG(f->name),
			       SPAN_ARG(f->value));
	return 0;
}

struct span builder_flag_get(const struct builder_instruction *in, const char *name, bool *out_set)
{
	for (size_t i = in->n_flags; i-- > 0;)
		if (span_is(in->flags[i].name, name)) {
			if (out_set)
				*out_set = true;
			return in->flags[i].value;
		}
	if (out_set)
		*out_set = false;
	return SPAN_EMPTY;
}

bool builder_flag_on(const struct builder_instruction *in, const char *name)
{
	bool set;
	struct span value = builder_flag_get(in, name, &set);
	return set && (!value.len || span_eq_nocase(value, SPAN("true")));
}

/* ---- each instruction */

static int at_least_one(const struct builder_instruction *in, size_t n, struct err *err)
{
	return n ? 0 : err_set(err, ERR_INVALID_REQUEST, "%s requires at least one argument", builder_op_name(in->op));
}

static int exactly_one(const struct builder_instruction *in, struct err *err)
{
	return in->n_args == 1 ? 0 :
				 err_set(err, ERR_INVALID_REQUEST, "%s requires exactly one argument", builder_op_name(in->op));
}

static int blank(const struct builder_instruction *in, struct err *err)
{
	for (size_t i = 0; i < in->n_pairs; i++)
		if (!in->pairs[i].key.len)
			return err_set(err, ERR_INVALID_REQUEST, "%s names can not be blank", builder_op_name(in->op));
	return at_least_one(in, in->n_pairs, err);
}

/* [a-z][a-z0-9-_.]*, upper case being taken as lower. */
static bool stage_name_ok(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = lower(s.ptr[i]);
		if (!((c >= 'a' && c <= 'z') || (i && ((c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))))
			return false;
	}
	return s.len > 0;
}

static int check_from(const struct builder_instruction *in, struct err *err)
{
	if (in->n_args == 3 && span_eq_nocase(in->args[1], SPAN("as")))
		return stage_name_ok(in->args[2]) ?
			       0 :
			       err_set(err, ERR_INVALID_REQUEST,
				       "invalid name for build stage: \"%.*s\", name can't start with a number or contain symbols",
				       SPAN_ARG(in->args[2]));
	return in->n_args == 1 ? 0 : err_set(err, ERR_INVALID_REQUEST, "FROM requires either one or three arguments");
}

static int check_copy(const struct builder_instruction *in, struct err *err)
{
	const char *name = builder_op_name(in->op);
	if (in->n_args < 2)
		return err_set(err, ERR_INVALID_REQUEST,
			       "%s requires at least two arguments, but only one was provided. Destination could not be determined", name);
	struct span to = in->args[in->n_args - 1];
	if (span_starts(to, SPAN("<<")) && in->n_docs)
		return err_set(err, ERR_INVALID_REQUEST, "%s cannot accept a heredoc as a destination", name);
	return 0;
}

static int compare(const void *a, const void *b)
{
	return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

int builder_check(struct builder_instruction *in, struct arena *a, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; i < in->n_flags && rc == 0; i++)
		rc = flag_check(in, i, err);
	if (rc < 0)
		return rc;
	switch (in->op) {
	case BUILDER_ADD:
	case BUILDER_COPY:
		return check_copy(in, err);
	case BUILDER_ARG:
	case BUILDER_ENV:
	case BUILDER_LABEL:
		return blank(in, err);
	case BUILDER_EXPOSE:
		if (in->n_args > 1)
			qsort(in->args, in->n_args, sizeof(*in->args), compare);
		return at_least_one(in, in->n_args, err);
	case BUILDER_FROM:
		return check_from(in, err);
	case BUILDER_HEALTHCHECK:
		if (in->health_none && in->n_args)
			return err_set(err, ERR_INVALID_REQUEST, "HEALTHCHECK NONE takes no arguments");
		return at_least_one(in, in->n_args + in->health_none, err);
	case BUILDER_MAINTAINER:
	case BUILDER_STOPSIGNAL:
	case BUILDER_USER:
	case BUILDER_WORKDIR:
		return exactly_one(in, err);
	case BUILDER_ONBUILD:
		return image_trigger_check(in->trigger, err);
	case BUILDER_SHELL:
		rc = at_least_one(in, in->n_args, err);
		return rc < 0 || in->json ? rc :
					    err_set(err, ERR_INVALID_REQUEST, "SHELL requires the arguments to be in JSON form");
	case BUILDER_VOLUME:
		for (size_t i = 0; i < in->n_args; i++) {
			in->args[i] = span_trim(in->args[i]);
			if (!in->args[i].len)
				return err_set(err, ERR_INVALID_REQUEST, "VOLUME specified can not be an empty string");
		}
		return at_least_one(in, in->n_args, err);
	default: /* CMD, ENTRYPOINT, RUN: nothing is a command too */
		return 0;
	}
}

/* ---- RUN --mount */

static const char *const kinds[] = { "bind", "cache", "tmpfs", "secret", "ssh", NULL };
static const char *const sharings[] = { "shared", "private", "locked", NULL };

/* One field of a line of comma separated values (RFC 4180): quoted ones may hold commas, and "" for a quote. */
static int field_next(struct span *rest, bool *out_more, struct arena *a, struct span *out, struct err *err)
{
	auto_buf struct buf b = {};
	size_t i = 0;
	bool quoted = rest->len && *rest->ptr == '"';
	for (i = quoted; i < rest->len; i++) {
		char c = rest->ptr[i];
		if (quoted && c == '"') {
			if (i + 1 < rest->len && rest->ptr[i + 1] == '"') {
				i++;
			} else if (i + 1 == rest->len || rest->ptr[i + 1] == ',') {
				i++;
				break;
			} else {
				return err_set(err, ERR_INVALID_REQUEST, "failed to parse csv mounts: extraneous or missing \" in quoted-field");
			}
		} else if (!quoted && c == ',') {
			break;
		} else if (!quoted && c == '"') {
			return err_set(err, ERR_INVALID_REQUEST, "failed to parse csv mounts: bare \" in non-quoted-field");
		}
		buf_chr(&b, c);
	}
	if (quoted && (i < 2 || rest->ptr[i - 1] != '"'))
		return err_set(err, ERR_INVALID_REQUEST, "failed to parse csv mounts: extraneous or missing \" in quoted-field");
	*out = arena_span(a, buf_span(&b));
	*out_more = i < rest->len; /* a comma, behind which stands one more, if an empty one */
	*rest = span_from(*rest, i + *out_more);
	return 0;
}

/* "64m", "1.5g" is no such: whole numbers with one of b k m g t, and an optional b or ib. */
static bool size_read(struct span s, uint64_t *out)
{
	size_t n = 0;
	uint64_t v;
	while (n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '9')
		n++;
	if (!span_to_u64(span_sub(s, 0, n), &v))
		return false;
	s = span_from(s, n);
	unsigned shift = 0;
	if (s.len && lower(*s.ptr) != 'b') {
		const char *at = strchr("kmgtp", lower(*s.ptr));
		if (!at)
			return false;
		shift = 10 * (unsigned)(at - "kmgtp" + 1);
		s = span_from(s, 1);
		if (s.len && lower(*s.ptr) == 'i')
			s = span_from(s, 1);
	}
	if (s.len && !span_eq_nocase(s, SPAN("b")))
		return false;
	*out = v << shift;
	return *out >> shift == v;
}

static int choose(const char *const *names, struct span value, const char *what, unsigned *out, struct err *err)
{
	for (unsigned i = 0; names[i]; i++)
		if (span_eq_nocase(value, span_of(names[i]))) {
			*out = i;
			return 0;
		}
	(void)err_set(err, ERR_INVALID_REQUEST, "unsupported %s \"%.*s\"", what, SPAN_ARG(value));
	return builder_suggest(err, value, names, true);
}

static int number(struct span value, unsigned base, const char *what, uint32_t *out, bool *out_set, struct err *err)
{
	uint64_t v;
	if (!span_to_u64_base(value, base, &v) || v > UINT32_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "invalid value %.*s for %s", SPAN_ARG(value), what);
	*out = (uint32_t)v;
	*out_set = true;
	return 0;
}

static bool keeps_secret(const struct builder_mount *m)
{
	return m->kind == BUILDER_MOUNT_SECRET || m->kind == BUILDER_MOUNT_SSH;
}

static int mount_field(struct builder_mount *m, struct span field, bool *ro_said, struct err *err)
{
	static const char *const keys[] = { "type", "from", "source", "target", "readonly", "id", "sharing", "required", "mode", "uid",
					    "gid", "src", "dst", "destination", "ro", "rw", "readwrite", "size", "env", NULL };
	struct span key, value;
	unsigned which;
	bool yes = true, has_value = span_split(field, '=', &key, &value);
	if (!has_value)
		key = field;
	for (which = 0; keys[which] && !span_eq_nocase(key, span_of(keys[which])); which++)
		;
	const char *name = keys[which];
	if (!name) {
		if (!has_value)
			return err_set(err, ERR_INVALID_REQUEST, "invalid field '%.*s' must be a key=value pair", SPAN_ARG(field));
		(void)err_set(err, ERR_INVALID_REQUEST, "unexpected key '%.*s' in '%.*s'", SPAN_ARG(key), SPAN_ARG(field));
		return builder_suggest(err, key, keys, true);
	}
#define IS(x) (strcmp(name, x) == 0)
	if (IS("readonly") || IS("ro") || IS("readwrite") || IS("rw") || IS("required")) {
		if (has_value && !span_to_bool(value, &yes))
			return err_set(err, ERR_INVALID_REQUEST, "invalid value for %s: %.*s", name, SPAN_ARG(value));
		if (IS("required")) {
			if (!keeps_secret(m))
				return err_set(err, ERR_INVALID_REQUEST, "unexpected key 'required' for mount type '%s'", kinds[m->kind]);
			m->required = yes;
			return 0;
		}
		m->read_only = IS("readonly") || IS("ro") ? yes : !yes;
		*ro_said = true;
		return 0;
	}
	if (!has_value)
		return err_set(err, ERR_INVALID_REQUEST, "invalid field '%.*s' must be a key=value pair", SPAN_ARG(field));
	if (IS("type")) {
		int rc = choose(kinds, value, "mount type", &which, err);
		if (rc == 0)
			m->kind = which;
		return rc;
	}
	if (IS("sharing")) {
		int rc = choose(sharings, value, "sharing value", &which, err);
		if (rc == 0)
			m->sharing = which, m->sharing_set = true;
		return rc;
	}
	if (IS("mode"))
		return number(value, 8, "mode", &m->mode, &m->mode_set, err);
	if (IS("uid"))
		return number(value, 10, "uid", &m->uid, &m->uid_set, err);
	if (IS("gid"))
		return number(value, 10, "gid", &m->gid, &m->gid_set, err);
	if (IS("size")) {
		if (m->kind != BUILDER_MOUNT_TMPFS)
			return err_set(err, ERR_INVALID_REQUEST, "unexpected key 'size' for mount type '%s'", kinds[m->kind]);
		return size_read(value, &m->size) ?
			       0 :
			       err_set(err, ERR_INVALID_REQUEST, "invalid value for size: %.*s", SPAN_ARG(value));
	}
	if (IS("env") && m->kind != BUILDER_MOUNT_SECRET)
		return err_set(err, ERR_INVALID_REQUEST, "unexpected key 'env' for mount type '%s'", kinds[m->kind]);
	struct span *to = IS("from")			 ? &m->from :
			  IS("id")			 ? &m->id :
			  IS("env")			 ? &m->env :
			  IS("source") || IS("src") ? &m->source :
						      &m->target;
	*to = value;
	return 0;
#undef IS
}

int builder_mount_parse(struct span text, struct arena *a, struct builder_mount *out, struct err *err)
{
	struct builder_mount m = { .kind = BUILDER_MOUNT_BIND };
	bool ro_said = false, more;
	do {
		struct span field = SPAN_EMPTY;
		int rc = field_next(&text, &more, a, &field, err);
		if (rc == 0)
			rc = mount_field(&m, field, &ro_said, err);
		if (rc < 0)
			return rc;
	} while (more);
	const char *kind = kinds[m.kind];
	if (!keeps_secret(&m) && m.kind != BUILDER_MOUNT_CACHE && (m.mode_set || m.uid_set || m.gid_set))
		return err_set(err, ERR_INVALID_REQUEST, "%s not allowed for \"%s\" type mounts",
			       m.mode_set ? "mode" : m.uid_set ? "uid" : "gid", kind);
	if (!ro_said)
		m.read_only = m.kind != BUILDER_MOUNT_CACHE && m.kind != BUILDER_MOUNT_TMPFS;
	if (m.kind == BUILDER_MOUNT_SECRET) {
		if (m.from.len)
			return err_set(err, ERR_INVALID_REQUEST, "secret mount should not have a from");
		if (m.sharing_set)
			return err_set(err, ERR_INVALID_REQUEST, "secret mount should not define sharing");
		if (!m.source.len && !m.target.len && !m.id.len)
			return err_set(err, ERR_INVALID_REQUEST, "invalid secret mount. one of source, target required");
		if (m.source.len && m.id.len)
			return err_set(err, ERR_INVALID_REQUEST, "both source and id can't be set");
	}
	if (m.sharing_set && m.kind != BUILDER_MOUNT_CACHE)
		return err_set(err, ERR_INVALID_REQUEST, "invalid cache sharing set for %s mount", kind);
	*out = m;
	return 0;
}
