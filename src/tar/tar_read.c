/* Reading entries.
 *
 *     [g pax] [x pax] [L name] [K link] header [S more parts]* data, padded     ... twice 512 zeros
 *      └── taken in, in this order of power: ustar < L, K < g < x ──┘
 *
 * Invariants
 * 1. `left` + `pad` bytes stand between `in` and the next header; every exit of a function keeps that true.
 * 2. Nothing is stored from the stream before its length was compared with a limit.
 * 3. What an entry says lives in `arena`, which starts afresh with each entry; global pax values live in `globals`. */
#include <sys/stat.h>

#include "tar/private.h"

struct part { /* of a sparse file: data that is there */
	uint64_t offset, len;
};

struct keyed {
	struct span key, value;
};

struct tar_reader {
	struct tar_source *from; /* borrowed */
	struct tar_limits limits;
	struct span in;          /* what is left of the last piece */
	char block[TAR_BLOCK_BYTES]; /* a block that lay across two pieces */
	uint64_t left;           /* data of the current entry not yet read, as stored */
	unsigned pad;
	uint64_t at;             /* offset in the file of the next byte */
	uint64_t entries, bytes;
	bool ended;
	struct tar_entry e;
	struct arena arena;
	struct buf globals;      /* owned; pax records of all global headers so far */
	/* of the current entry */
	struct span pax, long_name, long_link;
	struct part *parts;
	size_t n_parts, part;
	bool sparse;
	struct tar_xattr *xattrs;
	size_t cap_xattrs;
};

void tar_reader_new(struct tar_source *from, const struct tar_limits *limits, struct tar_reader **out_reader)
{
	struct tar_reader *r = mem_new(struct tar_reader);
	r->from = from;
	if (limits)
		r->limits = *limits;
	struct tar_limits *l = &r->limits;
	l->path_bytes = l->path_bytes ? l->path_bytes : 4095;
	l->pax_bytes = l->pax_bytes ? l->pax_bytes : 1 << 20;
	l->sparse_parts = l->sparse_parts ? l->sparse_parts : 65536;
	l->entries = l->entries ? l->entries : 10000000;
	l->bytes = l->bytes ? l->bytes : UINT64_C(1) << 40;
	*out_reader = r;
}

void tar_reader_free(struct tar_reader *r)
{
	if (!r)
		return;
	arena_done(&r->arena);
	buf_done(&r->globals);
	free(r->xattrs);
	free(r);
}

uint64_t tar_entries_read(const struct tar_reader *r)
{
	return r->entries;
}

static const char *const kind_names[TAR_KIND_COUNT] = {
	[TAR_FILE] = "file", [TAR_HARDLINK] = "hard link", [TAR_SYMLINK] = "symbolic link", [TAR_CHAR] = "character device",
	[TAR_BLOCK] = "block device", [TAR_DIR] = "folder", [TAR_FIFO] = "fifo",
};

const char *tar_kind_name(enum tar_kind k)
{
	return kind_names[k];
}

/* ---- bytes ---- */

/* 1 when `in` holds something, 0 at the end of the stream. */
static int fill(struct tar_reader *r, struct err *err)
{
	while (!r->in.len) {
		int rc = r->from->pull(r->from, &r->in, err);
		if (rc <= 0) {
			r->in = SPAN_EMPTY;
			return rc;
		}
	}
	return 1;
}

static int too_short(const struct tar_reader *r, struct err *err)
{
	return err_set(err, ERR_CORRUPT, "archive: it ends within entry %llu", (unsigned long long)r->entries + 1);
}

/* The next 512 bytes in one piece; 0 at the end of the stream before the first of them. */
static int block_next(struct tar_reader *r, const char **out_block, struct err *err)
{
	int rc = fill(r, err);
	if (rc <= 0)
		return rc;
	if (r->in.len >= TAR_BLOCK_BYTES) {
		*out_block = r->in.ptr;
		r->in = span_from(r->in, TAR_BLOCK_BYTES);
		return 1;
	}
	size_t have = 0;
	while (have < TAR_BLOCK_BYTES) {
		if ((rc = fill(r, err)) <= 0)
			return rc < 0 ? rc : too_short(r, err);
		size_t n = MIN(r->in.len, TAR_BLOCK_BYTES - have);
		memcpy(r->block + have, r->in.ptr, n);
		r->in = span_from(r->in, n);
		have += n;
	}
	*out_block = r->block;
	return 1;
}

static int skip(struct tar_reader *r, uint64_t n, struct err *err)
{
	while (n) {
		int rc = fill(r, err);
		if (rc <= 0)
			return rc < 0 ? rc : too_short(r, err);
		size_t step = (size_t)MIN(n, (uint64_t)r->in.len);
		r->in = span_from(r->in, step);
		n -= step;
	}
	return 0;
}

static unsigned padding(uint64_t size)
{
	return (unsigned)(-size & (TAR_BLOCK_BYTES - 1));
}

/* The data of an extension header, 0-ended, in the arena. */
static int extension(struct tar_reader *r, int64_t size, const char *what, struct span *out, struct err *err)
{
	if ((uint64_t)size > r->limits.pax_bytes)
		return err_set(err, ERR_TOO_LARGE, "archive: %s of %lld bytes (at most %zu)", what, (long long)size,
			r->limits.pax_bytes);
	size_t len = (size_t)size, have = 0;
	char *to = arena_alloc(&r->arena, len + 1);
	while (have < len) {
		int rc = fill(r, err);
		if (rc <= 0)
			return rc < 0 ? rc : too_short(r, err);
		size_t n = MIN(r->in.len, len - have);
		memcpy(to + have, r->in.ptr, n);
		r->in = span_from(r->in, n);
		have += n;
	}
	to[len] = 0;
	*out = span_make(to, len);
	return skip(r, padding((uint64_t)size), err);
}

/* ---- headers ---- */

static int corrupt(const struct tar_reader *r, const char *what, struct err *err)
{
	return err_set(err, ERR_CORRUPT, "archive: entry %llu: %s", (unsigned long long)r->entries + 1, what);
}

#define NUMBER(r, field, what, out, err)                                                                               \
	(tar_number_read(field, sizeof(field), (out)) ? 0 : corrupt((r), "malformed " what, (err)))

static struct span text_of(struct tar_reader *r, const char *field, size_t len)
{
	return arena_span(&r->arena, span_make(field, strnlen(field, len)));
}

static int name_check(const struct tar_reader *r, struct span name, const char *what, struct err *err)
{
	if (memchr(name.ptr, 0, name.len))
		return corrupt(r, "a 0 byte in a name", err);
	if (name.len > r->limits.path_bytes)
		return err_set(err, ERR_TOO_LARGE, "archive: entry %llu: %s of %zu bytes (at most %zu)",
			(unsigned long long)r->entries + 1, what, name.len, r->limits.path_bytes);
	return 0;
}

static int parts_add(struct tar_reader *r, size_t *cap, int64_t offset, int64_t len, struct err *err)
{
	const struct part *last = r->n_parts ? &r->parts[r->n_parts - 1] : NULL;
	if (offset < 0 || len < 0 || offset > INT64_MAX - len || (last && (uint64_t)offset < last->offset + last->len))
		return corrupt(r, "malformed list of sparse parts", err);
	if (r->n_parts >= r->limits.sparse_parts)
		return err_set(err, ERR_TOO_LARGE, "archive: entry %llu: more than %zu sparse parts",
			(unsigned long long)r->entries + 1, r->limits.sparse_parts);
	if (r->n_parts == *cap) {
		size_t grown = *cap ? *cap * 2 : 16;
		struct part *p = arena_alloc_n(&r->arena, grown, sizeof(*p));
		if (r->n_parts)
			memcpy(p, r->parts, r->n_parts * sizeof(*p));
		r->parts = p;
		*cap = grown;
	}
	r->parts[r->n_parts++] = (struct part){ (uint64_t)offset, (uint64_t)len };
	return 0;
}

/* GNU's old form: four parts in the header, 21 in each block behind it. */
static int sparse_gnu(struct tar_reader *r, const struct tar_gnu_tail *tail, struct err *err)
{
	size_t cap = 0;
	int64_t real;
	int rc = NUMBER(r, tail->real_size, "size", &real, err);
	if (rc < 0)
		return rc;
	if (real < 0)
		return corrupt(r, "negative size", err);
	const char *pair = tail->sparse[0];
	unsigned n = 4;
	bool more = tail->is_extended;
	char held[TAR_BLOCK_BYTES]; /* the block is lent: the next one may lie in its place */
	for (;;) {
		for (unsigned i = 0; i < n && pair[24 * i]; i++) {
			int64_t offset, len;
			if (!tar_number_read(pair + 24 * i, 12, &offset) || !tar_number_read(pair + 24 * i + 12, 12, &len))
				return corrupt(r, "malformed list of sparse parts", err);
			if ((rc = parts_add(r, &cap, offset, len, err)) < 0)
				return rc;
		}
		if (!more)
			break;
		const char *block;
		if ((rc = block_next(r, &block, err)) <= 0)
			return rc < 0 ? rc : too_short(r, err);
		memcpy(held, block, sizeof(held));
		pair = held;
		n = 21;
		more = held[504];
	}
	r->sparse = true;
	r->e.size = (uint64_t)real;
	return 0;
}

/* A decimal number and its line end at the start of the file's data (pax 1.0). */
static int sparse_line(struct tar_reader *r, char *block, size_t *at, uint64_t *budget, int64_t *out, struct err *err)
{
	uint64_t v = 0;
	for (unsigned digits = 0;; digits++) {
		if (*at == TAR_BLOCK_BYTES) {
			if (r->left < TAR_BLOCK_BYTES || !*budget)
				return corrupt(r, "malformed list of sparse parts", err);
			const char *b;
			int rc = block_next(r, &b, err);
			if (rc <= 0)
				return rc < 0 ? rc : too_short(r, err);
			memcpy(block, b, TAR_BLOCK_BYTES);
			r->left -= TAR_BLOCK_BYTES;
			--*budget;
			*at = 0;
		}
		char c = block[(*at)++];
		if (c == '\n' && digits)
			break;
		if (c < '0' || c > '9' || digits > 18)
			return corrupt(r, "malformed list of sparse parts", err);
		v = v * 10 + (unsigned)(c - '0');
	}
	*out = (int64_t)v;
	return 0;
}

static int sparse_pax_1(struct tar_reader *r, struct err *err)
{
	char block[TAR_BLOCK_BYTES];
	size_t at = TAR_BLOCK_BYTES, cap = 0;
	uint64_t budget = r->limits.sparse_parts / 12 + 2; /* blocks: two numbers of up to 19 digits a part */
	int64_t n, offset, len;
	budget *= 2;
	int rc = sparse_line(r, block, &at, &budget, &n, err);
	for (int64_t i = 0; rc == 0 && i < n; i++) {
		if ((rc = sparse_line(r, block, &at, &budget, &offset, err)) == 0 &&
		    (rc = sparse_line(r, block, &at, &budget, &len, err)) == 0)
			rc = parts_add(r, &cap, offset, len, err);
	}
	return rc;
}

/* "offset,len,offset,len": pax 0.1, and what the repeated keys of 0.0 are gathered into. */
static int sparse_pax_list(struct tar_reader *r, struct span list, struct err *err)
{
	size_t cap = 0;
	struct span a, b;
	while (span_cut(&list, ',', &a)) {
		int64_t offset, len;
		if (!span_cut(&list, ',', &b) || !span_to_i64(a, &offset) || !span_to_i64(b, &len))
			return corrupt(r, "malformed list of sparse parts", err);
		int rc = parts_add(r, &cap, offset, len, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The parts must account for exactly the stored bytes and lie within the file. */
static int sparse_check(struct tar_reader *r, struct err *err)
{
	uint64_t stored = 0;
	for (size_t i = 0; i < r->n_parts; i++) {
		if (r->parts[i].offset + r->parts[i].len > r->e.size)
			return corrupt(r, "a sparse part beyond the end of the file", err);
		stored += r->parts[i].len;
	}
	if (stored != r->left)
		return corrupt(r, "sparse parts that do not add up to the stored size", err);
	return 0;
}

static void xattr_set(struct tar_reader *r, struct span name, struct span value)
{
	size_t i = 0;
	while (i < r->e.n_xattrs && !span_eq(r->xattrs[i].name, name))
		i++;
	if (i == r->e.n_xattrs) {
		MEM_GROW(r->xattrs, r->e.n_xattrs, r->cap_xattrs);
		r->e.n_xattrs++;
	}
	r->xattrs[i] = (struct tar_xattr){ name, value };
	r->e.xattrs = r->xattrs;
}

static void xattr_unset(struct tar_reader *r, struct span name)
{
	for (size_t i = 0; i < r->e.n_xattrs; i++)
		if (span_eq(r->xattrs[i].name, name)) {
			memmove(&r->xattrs[i], &r->xattrs[i + 1], (r->e.n_xattrs - i - 1) * sizeof(*r->xattrs));
			r->e.n_xattrs--;
			return;
		}
}

struct sparse_keys {
	struct span map, name;
	struct buf gathered; /* 0.0 repeats its keys */
	int64_t major, real_size;
	bool any;
};

static int pax_number(struct tar_reader *r, struct span v, uint64_t *out, struct err *err)
{
	return span_to_u64(v, out) && *out <= INT64_MAX ? 0 : corrupt(r, "malformed number in a pax record", err);
}

static int sparse_key(struct tar_reader *r, struct sparse_keys *s, struct span key, struct span value, struct err *err)
{
	uint64_t n = 0;
	s->any = true;
	if (span_is(key, "name")) {
		s->name = value;
	} else if (span_is(key, "map")) {
		s->map = value;
	} else if (span_is(key, "offset") || span_is(key, "numbytes")) {
		buf_span_add(&s->gathered, value);
		buf_chr(&s->gathered, ',');
	} else if (span_is(key, "major") || span_is(key, "size") || span_is(key, "realsize")) {
		if (pax_number(r, value, &n, err) < 0)
			return -ERR_CORRUPT;
		*(span_is(key, "major") ? &s->major : &s->real_size) = (int64_t)n;
	}
	return 0; /* minor and numblocks say nothing that is needed */
}

/* One set of pax records over the entry. sparse is NULL for global headers. */
static int pax_apply(struct tar_reader *r, struct span records, struct sparse_keys *sparse, struct err *err)
{
	static const struct span xattr_prefix = SPAN_INIT("SCHILY.xattr."), sparse_prefix = SPAN_INIT("GNU.sparse.");
	struct tar_entry *e = &r->e;
	struct span key, value;
	int rc = 0, more = 0;
	while (rc == 0 && (more = tar_pax_next(&records, &key, &value)) > 0) {
		if (span_starts(key, xattr_prefix)) {
			if (value.len)
				xattr_set(r, span_from(key, xattr_prefix.len), value);
			else
				xattr_unset(r, span_from(key, xattr_prefix.len));
			continue;
		}
		if (sparse && span_starts(key, sparse_prefix)) {
			rc = sparse_key(r, sparse, span_from(key, sparse_prefix.len), value, err);
			continue;
		}
		if (!value.len) /* "deletes": what the header itself says stands */
			continue;
		if (span_is(key, "path"))
			e->path = value;
		else if (span_is(key, "linkpath"))
			e->link = value;
		else if (span_is(key, "uname"))
			e->uname = value;
		else if (span_is(key, "gname"))
			e->gname = value;
		else if (span_is(key, "uid"))
			rc = pax_number(r, value, &e->uid, err);
		else if (span_is(key, "gid"))
			rc = pax_number(r, value, &e->gid, err);
		else if (span_is(key, "size"))
			rc = pax_number(r, value, &e->size, err);
		else if (span_is(key, "mtime") || span_is(key, "atime") || span_is(key, "ctime"))
			rc = tar_pax_time_read(value, key.ptr[0] == 'm' ? &e->mtime : key.ptr[0] == 'a' ? &e->atime : &e->ctime)
				? 0 : corrupt(r, "malformed time in a pax record", err);
	}
	return rc == 0 && more < 0 ? corrupt(r, "malformed pax record", err) : rc;
}

/* The values must be 0-ended and outlive the piece: copies, where a record gave them. */
static void settle(struct tar_reader *r, struct span *s)
{
	*s = arena_span(&r->arena, *s);
}

static enum tar_kind kind_of(char type, struct span path)
{
	switch (type) {
	case '1': return TAR_HARDLINK;
	case '2': return TAR_SYMLINK;
	case '3': return TAR_CHAR;
	case '4': return TAR_BLOCK;
	case '5': return TAR_DIR;
	case '6': return TAR_FIFO;
	case 0: /* before POSIX a folder was a file whose name ends in '/' */
		return path.len && path.ptr[path.len - 1] == '/' ? TAR_DIR : TAR_FILE;
	default: return TAR_FILE;
	}
}

/* The fixed fields. */
static int header_read(struct tar_reader *r, const struct tar_header *h, struct err *err)
{
	struct tar_entry *e = &r->e;
	int64_t mode, uid, gid, size, mtime, major = 0, minor = 0;
	int rc;
	if ((rc = NUMBER(r, h->mode, "mode", &mode, err)) < 0 || (rc = NUMBER(r, h->uid, "uid", &uid, err)) < 0 ||
	    (rc = NUMBER(r, h->gid, "gid", &gid, err)) < 0 || (rc = NUMBER(r, h->size, "size", &size, err)) < 0 ||
	    (rc = NUMBER(r, h->mtime, "time", &mtime, err)) < 0)
		return rc;
	if (h->type == '3' || h->type == '4')
		if ((rc = NUMBER(r, h->major, "device number", &major, err)) < 0 ||
		    (rc = NUMBER(r, h->minor, "device number", &minor, err)) < 0)
			return rc;
	if (uid < 0 || gid < 0 || size < 0 || major < 0 || minor < 0 || major > UINT32_MAX || minor > UINT32_MAX)
		return corrupt(r, "a number out of range", err);
	*e = (struct tar_entry){
		.mode = (mode_t)(mode & 07777), .uid = (uint64_t)uid, .gid = (uint64_t)gid, .size = (uint64_t)size,
		.mtime.tv_sec = mtime, .atime.tv_nsec = UTIME_OMIT, .ctime.tv_nsec = UTIME_OMIT,
		.major = (unsigned)major, .minor = (unsigned)minor,
	};
	struct span name = span_make(h->name, strnlen(h->name, sizeof(h->name)));
	bool posix = memcmp(h->magic, "ustar\0", 6) == 0, gnu = memcmp(h->magic, "ustar  ", 8) == 0;
	if (posix || gnu) {
		e->uname = text_of(r, h->uname, sizeof(h->uname));
		e->gname = text_of(r, h->gname, sizeof(h->gname));
	}
	size_t prefix = posix ? strnlen(h->prefix, sizeof(h->prefix)) : 0;
	if (prefix)
		e->path = arena_printf(&r->arena, "%.*s/%.*s", (int)prefix, h->prefix, SPAN_ARG(name));
	else
		e->path = arena_span(&r->arena, name);
	e->link = text_of(r, h->link, sizeof(h->link));
	if (gnu && h->type != 'S') { /* only incremental archives fill these */
		struct tar_gnu_tail tail;
		memcpy(&tail, h->prefix, sizeof(tail));
		int64_t t;
		if (tail.atime[0] && tar_number_read(tail.atime, sizeof(tail.atime), &t))
			e->atime = (struct timespec){ .tv_sec = t };
		if (tail.ctime[0] && tar_number_read(tail.ctime, sizeof(tail.ctime), &t))
			e->ctime = (struct timespec){ .tv_sec = t };
	}
	return 0;
}

static bool all_zero(const char *block)
{
	return block[0] == 0 && memcmp(block, block + 1, TAR_BLOCK_BYTES - 1) == 0;
}

/* Everything but the data of one entry; h is a copy. */
static int entry_read(struct tar_reader *r, const struct tar_header *h, struct err *err)
{
	struct tar_entry *e = &r->e;
	struct sparse_keys sparse = { .real_size = -1 };
	int rc = header_read(r, h, err);
	if (rc < 0)
		return rc;
	struct span plain_path = e->path;
	if (r->long_name.ptr)
		e->path = r->long_name;
	if (r->long_link.ptr)
		e->link = r->long_link;
	if (r->globals.len)
		rc = pax_apply(r, buf_span(&r->globals), NULL, err);
	if (rc == 0 && r->pax.len)
		rc = pax_apply(r, r->pax, &sparse, err);
	if (rc < 0)
		goto out;
	settle(r, &e->path);
	settle(r, &e->link);
	e->kind = kind_of(h->type, plain_path);
	/* Only files have data; whatever else claims a size has none stored (POSIX: "ignored" for links, devices, folders). */
	r->left = e->kind == TAR_FILE ? e->size : 0;
	if (e->kind != TAR_FILE)
		e->size = 0;
	r->pad = padding(r->left);

	if (h->type == 'S') {
		struct tar_gnu_tail tail;
		memcpy(&tail, h->prefix, sizeof(tail));
		rc = sparse_gnu(r, &tail, err);
	} else if (sparse.any && e->kind == TAR_FILE) {
		r->sparse = true;
		if (sparse.name.len) {
			e->path = sparse.name;
			settle(r, &e->path);
		}
		if (sparse.real_size < 0) {
			rc = corrupt(r, "a sparse file without its size", err);
			goto out;
		}
		e->size = (uint64_t)sparse.real_size;
		rc = sparse.major == 1 ? sparse_pax_1(r, err)
				       : sparse_pax_list(r, sparse.map.len ? sparse.map : buf_span(&sparse.gathered), err);
	}
	if (rc == 0 && r->sparse)
		rc = sparse_check(r, err);
	e->sparse = r->sparse;
	if (rc == 0 && !e->path.len)
		rc = corrupt(r, "no name", err);
	if (rc == 0 && (rc = name_check(r, e->path, "a path", err)) == 0 && (rc = name_check(r, e->link, "a link target", err)) == 0 &&
	    (e->kind == TAR_HARDLINK || e->kind == TAR_SYMLINK) && !e->link.len)
		rc = corrupt(r, "a link without target", err);
	if (rc == 0 && r->left > r->limits.bytes - r->bytes)
		rc = err_set(err, ERR_TOO_LARGE, "archive: %.*s: files of more than %llu bytes together", SPAN_ARG(e->path),
			(unsigned long long)r->limits.bytes);
	if (rc == 0)
		r->bytes += r->left;
out:
	buf_done(&sparse.gathered);
	return rc;
}

static int extension_read(struct tar_reader *r, const struct tar_header *h, struct err *err)
{
	int64_t size;
	int rc = NUMBER(r, h->size, "size", &size, err);
	if (rc < 0)
		return rc;
	if (size < 0)
		return corrupt(r, "negative size", err);
	struct span text;
	bool pax = h->type == 'x' || h->type == 'g' || h->type == 'X';
	if ((rc = extension(r, size, pax ? "a pax header" : "a long name", &text, err)) < 0)
		return rc;
	switch (h->type) {
	case 'L':
		r->long_name = span_make(text.ptr, strnlen(text.ptr, text.len));
		break;
	case 'K':
		r->long_link = span_make(text.ptr, strnlen(text.ptr, text.len));
		break;
	case 'g':
		/* Records of later headers override earlier ones by standing behind them. */
		if (r->globals.len + text.len > r->limits.pax_bytes)
			return err_set(err, ERR_TOO_LARGE, "archive: global pax headers of more than %zu bytes", r->limits.pax_bytes);
		buf_span_add(&r->globals, text);
		break;
	default: /* x; X is Sun's old letter for it */
		r->pax = text;
	}
	return 0;
}

/* Passes over what is left of the current entry. */
static int finish(struct tar_reader *r, struct err *err)
{
	int rc = skip(r, r->left, err);
	if (rc < 0)
		return rc;
	r->left = 0;
	/* The docker client appends a Dockerfile from elsewhere (`-f -`) and stops behind its last byte, without padding or end; Go
	 * and GNU tar take that too. Padding that begins must be whole. */
	rc = r->pad ? fill(r, err) : 1;
	if (rc > 0)
		rc = skip(r, r->pad, err);
	if (rc == 0)
		r->pad = 0;
	return rc;
}

int tar_next(struct tar_reader *r, const struct tar_entry **out_entry, struct err *err)
{
	if (r->ended)
		return 0;
	int rc = finish(r, err);
	if (rc < 0)
		return rc;
	arena_reset(&r->arena);
	r->pax = r->long_name = r->long_link = SPAN_EMPTY;
	r->parts = NULL;
	r->n_parts = r->part = 0;
	r->sparse = false;
	r->at = 0;
	size_t extensions = 0; /* bytes that headers before the entry may hold together */
	for (;;) {
		const char *block;
		if ((rc = block_next(r, &block, err)) < 0)
			return rc;
		if (rc == 0) {
			if (extensions)
				return too_short(r, err);
			r->ended = true;
			return 0;
		}
		if (all_zero(block)) {
			/* One block of zeros alone is taken for the end too: GNU tar warns and goes on as if it were. */
			r->ended = true;
			return extensions ? too_short(r, err) : 0;
		}
		struct tar_header h;
		memcpy(&h, block, sizeof(h));
		int64_t sum;
		if (!tar_number_read(h.sum, sizeof(h.sum), &sum) || (sum != tar_sum(&h, false) && sum != (int)tar_sum(&h, true)))
			return corrupt(r, "bad checksum of the header (not a tar archive?)", err);
		if (h.type == 'V' || h.type == 'M' || h.type == 'N')
			return err_set(err, ERR_UNSUPPORTED, "archive: entry %llu: type '%c' (a volume)",
				(unsigned long long)r->entries + 1, h.type);
		if (h.type != 'x' && h.type != 'X' && h.type != 'g' && h.type != 'L' && h.type != 'K') {
			if (r->entries >= r->limits.entries)
				return err_set(err, ERR_TOO_LARGE, "archive: more than %llu entries", (unsigned long long)r->limits.entries);
			if ((rc = entry_read(r, &h, err)) < 0)
				return rc;
			r->entries++;
			*out_entry = &r->e;
			return 1;
		}
		/* Headers without an entry behind them: at most eight, so that they cannot fill memory. */
		if (++extensions > 8)
			return corrupt(r, "more than eight extension headers before it", err);
		if ((rc = extension_read(r, &h, err)) < 0)
			return rc;
		if (h.type == 'g')
			extensions--;
	}
}

int tar_data(struct tar_reader *r, struct tar_piece *out_piece, struct err *err)
{
	if (!r->left)
		return 0;
	if (r->sparse) {
		while (r->part < r->n_parts && r->at >= r->parts[r->part].offset + r->parts[r->part].len)
			r->part++;
		assert(r->part < r->n_parts); /* sparse_check: the parts add up to left */
		r->at = MAX(r->at, r->parts[r->part].offset);
	}
	int rc = fill(r, err);
	if (rc <= 0)
		return rc < 0 ? rc : too_short(r, err);
	uint64_t most = r->left;
	if (r->sparse)
		most = MIN(most, r->parts[r->part].offset + r->parts[r->part].len - r->at);
	size_t n = (size_t)MIN(most, (uint64_t)r->in.len);
	*out_piece = (struct tar_piece){ .offset = r->at, .data = span_make(r->in.ptr, n) };
	r->in = span_from(r->in, n);
	r->left -= n;
	r->at += n;
	return 1;
}

int tar_drain(struct tar_reader *r, struct err *err)
{
	int rc = finish(r, err);
	if (rc < 0)
		return rc;
	r->ended = true;
	while ((rc = fill(r, err)) > 0)
		r->in = SPAN_EMPTY;
	return rc;
}
