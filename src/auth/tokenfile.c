/* Static tokens: CSV lines token,user,uid[,"group1,group2,..."], as --token-auth-file has them. Fields may be quoted with
 * "" for a quote (RFC 4180); empty lines are skipped; a line with fewer than three fields is an error.
 *
 * Tokens are found by their SHA-256: an attacker who measures the time of a lookup learns about hashes, not tokens. */
#include "auth/auth.h"

struct row {
	uint8_t hash[32];
	struct auth_user user;
};

struct auth_tokens {
	struct arena arena;
	struct map by_hash; /* the 32 bytes -> row */
};

void auth_tokens_free(struct auth_tokens *t)
{
	if (!t)
		return;
	map_done(&t->by_hash);
	arena_done(&t->arena);
	free(t);
}

/* One field at *rest, which then begins behind its comma. False on a broken quote. */
static bool field(struct arena *a, struct span *rest, struct span *out, bool *out_last)
{
	auto_buf struct buf b = {};
	if (rest->len && rest->ptr[0] == '"') {
		*rest = span_from(*rest, 1);
		for (;;) {
			ptrdiff_t q = span_chr(*rest, '"');
			if (q < 0)
				return false;
			buf_add(&b, rest->ptr, (size_t)q);
			*rest = span_from(*rest, (size_t)q + 1);
			if (!rest->len || rest->ptr[0] != '"')
				break;
			buf_chr(&b, '"');
			*rest = span_from(*rest, 1);
		}
		if (rest->len && rest->ptr[0] != ',')
			return false;
	} else {
		ptrdiff_t comma = span_chr(*rest, ',');
		size_t n = comma < 0 ? rest->len : (size_t)comma;
		if (span_chr(span_sub(*rest, 0, n), '"') >= 0)
			return false;
		buf_add(&b, rest->ptr, n);
		*rest = span_from(*rest, n);
	}
	*out = arena_span(a, buf_span(&b));
	*out_last = rest->len == 0;
	if (!*out_last)
		*rest = span_from(*rest, 1);
	return true;
}

static int parse_line(struct auth_tokens *t, struct span line, const char *where, unsigned number, struct err *err)
{
	struct span fields[4] = {};
	unsigned n = 0;
	bool last = false;
	while (!last) {
		struct span f;
		if (!field(&t->arena, &line, &f, &last))
			return err_set(err, ERR_INVALID, "%s, line %u: a quote is out of place", where, number);
		if (n < ARRAY_LEN(fields))
			fields[n] = f;
		n++;
	}
	if (n < 3)
		return err_set(err, ERR_INVALID,
			       "%s, line %u: token file needs at least 3 columns (token, user name, user uid), found %u", where,
			       number, n);
	if (!fields[0].len)
		return err_set(err, ERR_INVALID, "%s, line %u: the token is empty", where, number);
	struct row *row = arena_new(&t->arena, struct row);
	tls_sha256(fields[0], row->hash);
	unsigned n_groups = 1, cap = 2;
	for (size_t i = 0; i < fields[3].len; i++)
		cap += fields[3].ptr[i] == ',';
	struct span *groups = arena_alloc_n(&t->arena, cap, sizeof(*groups)), rest = fields[3], group;
	n_groups = 0;
	while (span_cut(&rest, ',', &group)) {
		group = span_trim(group);
		if (group.len)
			groups[n_groups++] = group;
	}
	groups[n_groups++] = SPAN(AUTH_GROUP_AUTHENTICATED);
	row->user = (struct auth_user){ .name = fields[1], .uid = fields[2], .groups = groups, .n_groups = n_groups };
	if (map_put(&t->by_hash, span_make(row->hash, sizeof(row->hash)), row))
		return err_set(err, ERR_INVALID, "%s, line %u: the token of this line stands in an earlier one too", where, number);
	return 0;
}

int auth_tokens_parse(struct span csv, const char *where, struct auth_tokens **out_tokens, struct err *err)
{
	struct auth_tokens *t = mem_new(struct auth_tokens);
	struct span line;
	for (unsigned number = 1; span_cut(&csv, '\n', &line); number++) {
		line = span_trim(line);
		int rc = line.len ? parse_line(t, line, where, number, err) : 0;
		if (rc < 0) {
			auth_tokens_free(t);
			return rc;
		}
	}
	*out_tokens = t;
	return 0;
}

bool auth_tokens_find(const struct auth_tokens *t, struct span token, struct arena *a, struct auth_user *out_user)
{
	uint8_t hash[32];
	tls_sha256(token, hash);
	const struct row *row = t ? map_get(&t->by_hash, span_make(hash, sizeof(hash))) : NULL;
	if (!row)
		return false;
	/* A copy: the file may be replaced while the request goes on. */
	struct span *groups = arena_alloc_n(a, row->user.n_groups, sizeof(*groups));
	for (unsigned i = 0; i < row->user.n_groups; i++)
		groups[i] = arena_span(a, row->user.groups[i]);
	*out_user = (struct auth_user){ .name = arena_span(a, row->user.name),
					.uid = arena_span(a, row->user.uid),
					.groups = groups,
					.n_groups = row->user.n_groups };
	return true;
}
