/* Which images there are and what they are called.
 *
 *     names (sorted by text) ──┐
 *                              ├─ id ─ record ─ manifest blob ─ config blob, layer blobs ; chains = its unpacked layers
 *     images.json holds both; it is replaced as a whole (docs/decisions/0601)
 *
 * Invariants
 * 1. images.json on disk is what memory says whenever the mutex is free: a change that cannot be written is undone.
 * 2. Every name's id has a record. */
#include <dirent.h>
#include <stdarg.h>
#include <sys/file.h>

#include "image/private.h"

int image_no_such(struct span name, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "No such image: %.*s", SPAN_ARG(name));
}

struct span image_short_id(const struct image_digest *d)
{
	return span_make(d->text + 7, 12);
}

void image_report(const struct image_reporter *r, struct span id, uint64_t current, uint64_t total, const char *fmt, ...)
{
	if (!r || !r->fn)
		return;
	auto_buf struct buf b = {};
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	const struct image_progress p = { id, buf_span(&b), current, total };
	r->fn(&p, r->arg);
}

/* ---- lookups, with the mutex held ---- */

static struct record *record_get(const struct image_store *s, const struct image_digest *id)
{
	for (size_t i = 0; i < s->n_records; i++)
		if (image_digest_eq(&s->records[i]->id, id))
			return s->records[i];
	return NULL;
}

static size_t name_place(const struct image_store *s, struct span text)
{
	size_t lo = 0, hi = s->n_names;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (span_cmp(span_of(s->names[mid]->text), text) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct named *name_get(const struct image_store *s, struct span text)
{
	size_t i = name_place(s, text);
	return i < s->n_names && span_is(text, s->names[i]->text) ? s->names[i] : NULL;
}

static void record_free(struct record *r)
{
	free(r->chains);
	free(r);
}

static void name_free(struct named *n)
{
	free(n->text);
	free(n);
}

static void name_insert(struct image_store *s, struct named *n)
{
	size_t at = name_place(s, span_of(n->text));
	MEM_GROW(s->names, s->n_names, s->cap_names);
	memmove(&s->names[at + 1], &s->names[at], (s->n_names - at) * sizeof(*s->names));
	s->names[at] = n;
	s->n_names++;
}

static void name_take_out(struct image_store *s, struct named *n)
{
	size_t at = name_place(s, span_of(n->text));
	assert(at < s->n_names && s->names[at] == n);
	s->n_names--;
	memmove(&s->names[at], &s->names[at + 1], (s->n_names - at) * sizeof(*s->names));
}

static void record_take_out(struct image_store *s, struct record *r)
{
	size_t at = 0;
	while (s->records[at] != r)
		at++;
	s->records[at] = s->records[--s->n_records];
}

/* ---- on disk ---- */

static int write_all(struct image_store *s, struct err *err)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	json_out_ki64(&o, "version", 1);
	json_out_key(&o, SPAN("images"));
	json_out_begin_array(&o);
	for (size_t i = 0; i < s->n_records; i++) {
		const struct record *r = s->records[i];
		json_out_begin(&o);
		json_out_kspan(&o, "id", image_digest_span(&r->id));
		json_out_kspan(&o, "manifest", image_digest_span(&r->manifest));
		json_out_kspan(&o, "parent", image_digest_span(&r->parent));
		json_out_kbool(&o, "made", r->made);
		json_out_key(&o, SPAN("tagged"));
		json_out_i64(&o, r->tagged_ns);
		json_out_key(&o, SPAN("chains"));
		json_out_begin_array(&o);
		for (size_t c = 0; c < r->n_chains; c++)
			json_out_span(&o, span_of(r->chains[c]));
		json_out_end(&o);
		json_out_end(&o);
	}
	json_out_end(&o);
	json_out_key(&o, SPAN("names"));
	json_out_begin_array(&o);
	for (size_t i = 0; i < s->n_names; i++) {
		const struct named *n = s->names[i];
		json_out_begin(&o);
		json_out_kspan(&o, "name", span_of(n->text));
		json_out_kspan(&o, "id", image_digest_span(&n->id));
		json_out_kspan(&o, "target", image_digest_span(&n->target));
		json_out_end(&o);
	}
	json_out_end(&o);
	json_out_end(&o);
	int rc = io_write_file(s->dirfd, "images.json", buf_span(&b), 0600, err);
	FAILPOINT("image.store.written");
	return rc < 0 ? err_note(err, "recording images"), rc : 0;
}

static bool digest_read(const struct json *v, bool may_be_empty, struct image_digest *out)
{
	struct span t = json_span(v);
	*out = (struct image_digest){};
	return (may_be_empty && !t.len) || image_digest_parse(t, out, NULL) == 0;
}

static int read_all(struct image_store *s, struct err *err)
{
	auto_buf struct buf text = {};
	auto_arena struct arena a = {};
	struct json v;
	int rc = io_read_file(s->dirfd, "images.json", &text, 256 << 20, err);
	if (rc == -ERR_NOT_FOUND) {
		if (err)
			err_done(err);
		return 0;
	}
	if (rc == 0)
		rc = json_parse(&a, buf_span(&text), JSON_BORROW, &(struct json_limits){ .bytes = 256 << 20 }, &v, err);
	if (rc < 0)
		return err_note(err, "%s/images.json", s->dir), -ERR_CORRUPT;
	if (json_i64(json_getl(&v, "version"), 0) != 1)
		return err_set(err, ERR_UNSUPPORTED, "%s/images.json: made by another version", s->dir);
	JSON_EACH_ITEM(json_getl(&v, "images"), item) {
		struct record *r = mem_new(struct record);
		const struct json *chains = json_getl(item, "chains");
		size_t n = json_is(chains, JSON_ARRAY) ? chains->n : 0;
		bool good = digest_read(json_getl(item, "id"), false, &r->id) && digest_read(json_getl(item, "manifest"),
			false, &r->manifest) &&
			    digest_read(json_getl(item, "parent"), true, &r->parent) && n <= IMAGE_LAYERS_MAX;
		r->made = r->parent.text[0] || json_truth(json_getl(item, "made"), false);
		r->tagged_ns = json_i64(json_getl(item, "tagged"), 0);
		r->chains = mem_alloc((n + 1) * sizeof(*r->chains));
		JSON_EACH_ITEM(chains, c) {
			if (!good || json_span(c).len != 64) {
				good = false;
				break;
			}
			memcpy(r->chains[r->n_chains], json_span(c).ptr, 64);
			r->chains[r->n_chains++][64] = 0;
		}
		MEM_GROW(s->records, s->n_records, s->cap_records);
		s->records[s->n_records++] = r;
		if (!good)
			return err_set(err, ERR_CORRUPT, "%s/images.json: a record is damaged", s->dir);
	}
	JSON_EACH_ITEM(json_getl(&v, "names"), item) {
		struct named *n = mem_new(struct named);
		struct span name = json_span(json_getl(item, "name"));
		n->text = mem_dup(name.ptr ? name.ptr : "", name.len);
		bool good = digest_read(json_getl(item, "id"), false, &n->id) && digest_read(json_getl(item, "target"), false,
			&n->target) &&
			    record_get(s, &n->id);
		name_insert(s, n);
		if (!good)
			return err_set(err, ERR_CORRUPT, "%s/images.json: name %.*s is damaged", s->dir, SPAN_ARG(name));
	}
	return 0;
}

static int sub_open(int dirfd, const char *name, struct err *err)
{
	int rc = io_mkdirs(dirfd, name, 0700, err);
	int fd = rc < 0 ? -1 : openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return rc < 0 ? rc : fd < 0 ? err_sys(err, "open folder %s", name) : fd;
}

/* What an earlier process was writing when it died, and nobody goes on with: names that begin so. Partial downloads, which are
 * resumed, are called by their digest. */
static void litter_remove(int folder, const char *prefix)
{
	DIR *d = fdopendir(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;
	while (d && (e = readdir(d)))
		if (span_starts(span_of(e->d_name), span_of(prefix)) && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			(void)unlinkat(folder, e->d_name, 0); /* image_gc tries again */
	if (d)
		closedir(d);
}

int image_store_open(const char *dir, struct image_store **out_store, struct err *err)
{
	auto_cleanup(auto_image_store_) struct image_store *s = mem_new(struct image_store);
	s->dirfd = s->blobs = s->ingest = s->lock = -1;
	pthread_mutex_init(&s->mutex, NULL);
	list_init(&s->operations);
	s->next_ingest = (uint64_t)clock_wall_ns(clock_real()); /* temporary names of an earlier process stay apart */
	int rc = io_mkdirs(AT_FDCWD, dir, 0700, err);
	if (rc < 0)
		return rc;
	s->dir = mem_dup(dir, strlen(dir));
	s->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dirfd < 0)
		return err_sys(err, "open %s", dir);
	s->lock = openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock < 0)
		return err_sys(err, "open %s/lock", dir);
	if (flock(s->lock, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? err_set(err, ERR_IN_USE, "%s is open in another process", dir) : err_sys(err, "lock %s", dir);
	if ((rc = s->blobs = sub_open(s->dirfd, "blobs/sha256", err)) < 0 || (rc = s->ingest = sub_open(s->dirfd, "ingest", err)) < 0 ||
	    (rc = read_all(s, err)) < 0)
		return rc;
	litter_remove(s->ingest, ".");
	litter_remove(s->dirfd, ".images.json.");
	*out_store = take(&s);
	return 0;
}

void image_store_close(struct image_store *s)
{
	if (!s)
		return;
	assert(list_empty(&s->operations));
	for (size_t i = 0; i < s->n_records; i++)
		record_free(s->records[i]);
	for (size_t i = 0; i < s->n_names; i++)
		name_free(s->names[i]);
	free(s->records);
	free(s->names);
	map_done(&s->verified);
	map_done(&s->ingesting);
	arena_done(&s->verified_arena);
	fd_close(&s->dirfd);
	fd_close(&s->blobs);
	fd_close(&s->ingest);
	fd_close(&s->lock);
	pthread_mutex_destroy(&s->mutex);
	free(s->dir);
	free(s);
}

/* ---- operations under way ---- */

void image_operation_begin(struct image_store *s, struct operation *op)
{
	*op = (struct operation){ .began_ns = clock_wall_ns(clock_real()) };
	pthread_mutex_lock(&s->mutex);
	list_push(&s->operations, &op->link);
	pthread_mutex_unlock(&s->mutex);
}

void image_operation_end(struct image_store *s, struct operation *op)
{
	pthread_mutex_lock(&s->mutex);
	list_remove(&op->link);
	pthread_mutex_unlock(&s->mutex);
	map_done(&op->chains);
	arena_done(&op->arena);
}

void image_operation_chain(struct image_store *s, struct operation *op, const char *chain)
{
	pthread_mutex_lock(&s->mutex);
	if (!map_get(&op->chains, span_of(chain)))
		map_put(&op->chains, arena_span(&op->arena, span_of(chain)), op);
	pthread_mutex_unlock(&s->mutex);
}

bool image_chain_used(const char *chain, void *store)
{
	struct image_store *s = store;
	bool used = false;
	pthread_mutex_lock(&s->mutex);
	LIST_EACH(&s->operations, op, struct operation, link)
		used |= map_get(&op->chains, span_of(chain)) != NULL;
	for (size_t i = 0; i < s->n_records && !used; i++)
		for (size_t c = 0; c < s->records[i]->n_chains && !used; c++)
			used = !strcmp(s->records[i]->chains[c], chain);
	pthread_mutex_unlock(&s->mutex);
	return used;
}

/* ---- changes ---- */

struct naming { /* so that it can be undone */
	struct named *n;
	struct named old;
	bool fresh;
};

static struct naming name_set(struct image_store *s, struct span text, const struct image_digest *id,
	const struct image_digest *target)
{
	struct naming c = { .n = name_get(s, text) };
	c.fresh = !c.n;
	if (c.fresh) {
		c.n = mem_new(struct named);
		c.n->text = mem_dup(text.ptr, text.len);
		name_insert(s, c.n);
	}
	c.old = *c.n;
	c.n->id = *id;
	c.n->target = *target;
	return c;
}

static void name_undo(struct image_store *s, struct naming *c)
{
	*c->n = c->old;
	if (c->fresh) {
		name_take_out(s, c->n);
		name_free(c->n);
	}
}

static bool name_moved(const struct naming *c)
{
	return c->fresh || !image_digest_eq(&c->old.id, &c->n->id) || !image_digest_eq(&c->old.target, &c->n->target);
}

int image_record_put(struct image_store *s, const struct image_digest *id, const struct image_digest *manifest,
	const struct image_digest *parent, const struct image_config *config, const struct image_naming *names, struct err *err)
{
	static const struct image_naming no_names;
	struct naming named[ARRAY_LEN(no_names.texts)];
	size_t n_named = 0;
	if (!names)
		names = &no_names;
	pthread_mutex_lock(&s->mutex);
	struct record *r = record_get(s, id), old = {};
	bool fresh = !r, moved = fresh;
	if (fresh) {
		r = mem_new(struct record);
		r->id = *id;
		r->chains = mem_alloc((config->n_diffs + 1) * sizeof(*r->chains));
		for (size_t i = 0; i < config->n_diffs; i++)
			image_chain(i ? r->chains[i - 1] : "", &config->diffs[i], r->chains[i]);
		r->n_chains = config->n_diffs;
		MEM_GROW(s->records, s->n_records, s->cap_records);
		s->records[s->n_records++] = r;
	}
	old = *r;
	r->manifest = *manifest;
	if (parent) {
		r->parent = *parent;
		r->made = true;
	}
	for (size_t i = 0; i < ARRAY_LEN(named) && names->texts[i].len; i++) {
		named[n_named++] = name_set(s, names->texts[i], id, names->target);
		moved |= name_moved(&named[i]);
	}
	/* A pull of what is there changes nothing that one can see: that is how programs learn that it was there. */
	if (moved)
		r->tagged_ns = clock_wall_ns(clock_real());
	int rc = write_all(s, err);
	while (rc < 0 && n_named)
		name_undo(s, &named[--n_named]);
	if (rc < 0 && fresh) {
		s->n_records--;
		record_free(r);
	} else if (rc < 0) {
		*r = old;
	}
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

int image_name_put(struct image_store *s, struct span text, const struct image_digest *id, const struct image_digest *target,
	struct err *err)
{
	pthread_mutex_lock(&s->mutex);
	struct record *r = record_get(s, id);
	int rc = r ? 0 : image_no_such(image_digest_span(id), err);
	if (rc == 0) {
		int64_t old_tagged = r->tagged_ns;
		struct naming c = name_set(s, text, id, target);
		r->tagged_ns = clock_wall_ns(clock_real());
		rc = write_all(s, err);
		if (rc < 0) {
			r->tagged_ns = old_tagged;
			name_undo(s, &c);
		}
	}
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

bool image_name_get(struct image_store *s, struct span text, struct image_digest *out_id, struct image_digest *out_target)
{
	pthread_mutex_lock(&s->mutex);
	const struct named *n = name_get(s, text);
	if (n) {
		*out_id = n->id;
		*out_target = n->target;
	}
	pthread_mutex_unlock(&s->mutex);
	return n;
}

int image_tag(struct image_store *s, const struct image_digest *id, struct span text, struct err *err)
{
	auto_arena struct arena a = {};
	struct image_ref ref;
	int rc = image_ref_parse(text, &a, &ref, err);
	if (rc < 0)
		return rc;
	if (ref.digest.len)
		return err_set(err, ERR_INVALID_REQUEST, "refusing to create a tag with a digest reference");
	image_ref_default(&ref);
	struct image_digest manifest = {};
	pthread_mutex_lock(&s->mutex);
	const struct record *r = record_get(s, id);
	if (r)
		manifest = r->manifest;
	pthread_mutex_unlock(&s->mutex);
	return r ? image_name_put(s, image_ref_text(&ref, &a), id, &manifest, err) : image_no_such(image_digest_span(id), err);
}

bool image_known(struct image_store *s, const struct image_digest *id)
{
	pthread_mutex_lock(&s->mutex);
	bool known = record_get(s, id);
	pthread_mutex_unlock(&s->mutex);
	return known;
}

/* ---- removing ---- */

struct removal {
	struct image_store *s;
	const struct image_remove_params *p;
	struct arena *a;
	struct image_removed *items; /* in a */
	size_t n, cap;
};

static void removed_add(struct removal *m, bool deleted, struct span what)
{
	if (m->n == m->cap) {
		size_t cap = m->cap ? m->cap * 2 : 16;
		struct image_removed *items = arena_alloc_n(m->a, cap, sizeof(*items));
		if (m->n)
			memcpy(items, m->items, m->n * sizeof(*items));
		m->items = items;
		m->cap = cap;
	}
	m->items[m->n++] = (struct image_removed){ deleted, arena_span(m->a, what) };
}

static struct span familiar(const struct named *n, struct arena *a)
{
	struct image_ref ref;
	return image_ref_parse(span_of(n->text), a, &ref, NULL) == 0 ? image_ref_familiar(&ref, a) : span_of(n->text);
}

static struct span name_part(const char *text)
{
	struct span s = span_of(text);
	ptrdiff_t at = span_chr(s, '@');
	if (at >= 0)
		return span_sub(s, 0, (size_t)at);
	return span_sub(s, 0, (size_t)span_rchr(s, ':'));
}

static bool is_digest_name(const struct named *n)
{
	return strchr(n->text, '@') != NULL;
}

/* All of one repository, and at most one tag. False for none. */
static bool single_reference(const struct image_store *s, const struct image_digest *id)
{
	struct span repo = SPAN_EMPTY;
	unsigned tags = 0, n = 0;
	for (size_t i = 0; i < s->n_names; i++) {
		const struct named *x = s->names[i];
		if (!image_digest_eq(&x->id, id))
			continue;
		if (n++ && !span_eq(repo, name_part(x->text)))
			return false;
		repo = name_part(x->text);
		tags += !is_digest_name(x);
	}
	return n && tags <= 1;
}

static unsigned names_of(const struct image_store *s, const struct image_digest *id)
{
	unsigned n = 0;
	for (size_t i = 0; i < s->n_names; i++)
		n += image_digest_eq(&s->names[i]->id, id);
	return n;
}

static void untag(struct removal *m, struct named *n)
{
	removed_add(m, false, familiar(n, m->a));
	name_take_out(m->s, n);
	name_free(n);
}

enum { CHILD = 1, RUNNING = 2, ACTIVE = 4, STOPPED = 8, HARD = CHILD | RUNNING };

/* Docker's checkImageDeleteConflict, in its order and words. */
static int conflict(const struct removal *m, const struct image_digest *id, unsigned mask, struct err *err)
{
	char container[65];
	bool running = false;
	struct span short_id = image_short_id(id);
	if (mask & CHILD)
		for (size_t i = 0; i < m->s->n_records; i++)
			if (image_digest_eq(&m->s->records[i]->parent, id))
				return err_set(err, ERR_IN_USE,
					"conflict: unable to delete %.*s (cannot be forced) - image has dependent child images",
					SPAN_ARG(short_id));
	if ((mask & RUNNING) && m->p->used && m->p->used(m->p->arg, id, true, container, &running))
		return err_set(err, ERR_IN_USE,
			"conflict: unable to delete %.*s (cannot be forced) - image is being used by running container %.12s",
			SPAN_ARG(short_id), container);
	if ((mask & ACTIVE) && names_of(m->s, id))
		return err_set(err, ERR_IN_USE,
			"conflict: unable to delete %.*s (must be forced) - image is referenced in multiple repositories",
			SPAN_ARG(short_id));
	if ((mask & STOPPED) && m->p->used && m->p->used(m->p->arg, id, false, container, &running))
		return err_set(err, ERR_IN_USE,
			"conflict: unable to delete %.*s (must be forced) - image is being used by stopped container %.12s",
			SPAN_ARG(short_id), container);
	return 0;
}

/* Has another image than this one the layer? */
static bool layer_shared(const struct image_store *s, const struct record *r, const char *chain)
{
	for (size_t i = 0; i < s->n_records; i++)
		if (s->records[i] != r)
			for (size_t k = 0; k < s->records[i]->n_chains; k++)
				if (strcmp(s->records[i]->chains[k], chain) == 0)
					return true;
	return false;
}

/* The image itself and, unless told otherwise, the nameless parents that it leaves behind. quiet: one that is in use stays, as its
 * parents do. */
static int delete_chain(struct removal *m, struct image_digest id, bool force, bool quiet, struct err *err)
{
	for (bool first = !quiet;; first = false) {
		struct record *r = record_get(m->s, &id);
		if (!r)
			return 0;
		if (!first && (names_of(m->s, &id) || conflict(m, &id, quiet && force ? HARD : HARD | STOPPED, NULL) < 0))
			return 0;
		int rc = first ? conflict(m, &id, force ? HARD : HARD | ACTIVE | STOPPED, err) : 0;
		if (rc < 0)
			return rc;
		for (size_t i = m->s->n_names; i-- > 0;)
			if (image_digest_eq(&m->s->names[i]->id, &id))
				untag(m, m->s->names[i]);
		removed_add(m, true, image_digest_span(&id));
		for (size_t c = r->n_chains; c-- > 0;)
			if (!layer_shared(m->s, r, r->chains[c]))
				removed_add(m, true, arena_printf(m->a, "sha256:%s", r->chains[c]));
		quiet = false; /* a parent stays for a stopped container, forced or not */
		struct image_digest parent = r->parent;
		record_take_out(m->s, r);
		record_free(r);
		if (m->p->no_prune || !parent.text[0])
			return 0;
		id = parent;
	}
}

static int find_locked(struct image_store *s, struct span text, struct image_digest *out, struct named **out_name, struct err *err)
{
	*out_name = NULL;
	struct span hex = span_starts(text, SPAN("sha256:")) ? span_from(text, 7) : text;
	uint8_t raw[32];
	struct image_digest d = {};
	if (hex.len == 64 && hex_parse(hex, raw)) {
		memcpy(d.text, "sha256:", 7);
		memcpy(d.text + 7, hex.ptr, 64);
		const struct record *r = record_get(s, &d);
		if (!r)
			return image_no_such(text, err);
		*out = r->id;
		return 0;
	}
	auto_arena struct arena a = {};
	struct image_ref ref;
	auto_err struct err bad = ERR_INIT;
	int rc = image_ref_parse(text, &a, &ref, &bad);
	if (rc == 0) {
		struct image_ref full = ref;
		if (full.digest.len) /* with both, the digest decides */
			full.tag = SPAN_EMPTY;
		image_ref_default(&full);
		struct named *n = name_get(s, image_ref_text(&full, &a));
		if (n) {
			*out = n->id;
			*out_name = n;
			return 0;
		}
	}
	/* The beginning of an id. */
	const struct record *found = NULL;
	bool is_hex = hex.len > 0 && hex.len < 64;
	for (size_t i = 0; i < hex.len; i++)
		is_hex &= strchr("0123456789abcdef", hex.ptr[i]) != NULL;
	for (size_t i = 0; is_hex && i < s->n_records; i++)
		if (span_starts(span_of(s->records[i]->id.text + 7), hex)) {
			if (found)
				return err_set(err, ERR_INVALID_REQUEST, "Multiple IDs found with provided prefix: %.*s", SPAN_ARG(hex));
			found = s->records[i];
		}
	if (found) {
		*out = found->id;
		return 0;
	}
	if (rc < 0)
		return err ? err_move(err, &bad) : rc;
	image_ref_default(&ref);
	return image_no_such(image_ref_familiar(&ref, &a), err);
}

int image_find(struct image_store *s, struct span text, struct image_digest *out_id, struct err *err)
{
	struct named *n;
	pthread_mutex_lock(&s->mutex);
	int rc = find_locked(s, text, out_id, &n, err);
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

/* Docker's ImageDelete. */
static int remove_locked(struct removal *m, struct span text, struct err *err)
{
	struct image_store *s = m->s;
	struct named *n;
	struct image_digest id;
	int rc = find_locked(s, text, &id, &n, err);
	if (rc < 0)
		return rc;
	bool force = m->p->force;
	char container[65];
	bool running;
	if (n) {
		if (!force && single_reference(s, &id) && m->p->used && m->p->used(m->p->arg, &id, false, container, &running))
			return err_set(err, ERR_IN_USE,
				"conflict: unable to remove repository reference \"%.*s\" (must force) - container %.12s is "
				"using its referenced image %.*s", SPAN_ARG(text), container, SPAN_ARG(image_short_id(&id)));
		bool was_digest = is_digest_name(n);
		struct span repo = arena_span(m->a, name_part(n->text));
		untag(m, n);
		/* A repository's last tag takes the digests of that repository along. */
		bool tag_left = false;
		for (size_t i = 0; i < s->n_names; i++)
			tag_left |= image_digest_eq(&s->names[i]->id, &id) && !is_digest_name(s->names[i]) && span_eq(repo,
				name_part(s->names[i]->text));
		if (!was_digest && !tag_left)
			for (size_t i = s->n_names; i-- > 0;)
				if (image_digest_eq(&s->names[i]->id, &id) && is_digest_name(s->names[i]) && span_eq(repo,
					name_part(s->names[i]->text)))
					untag(m, s->names[i]);
		if (names_of(s, &id))
			return 0;
		/* Its name is gone, which is what was asked for: whoever still needs the image keeps it. */
		return delete_chain(m, id, force, true, err);
	}
	if (single_reference(s, &id)) {
		if ((rc = conflict(m, &id, force ? HARD : HARD | STOPPED, err)) < 0)
			return rc;
		for (size_t i = s->n_names; i-- > 0;)
			if (image_digest_eq(&s->names[i]->id, &id))
				untag(m, s->names[i]);
	}
	return delete_chain(m, id, force, false, err);
}

/* Whatever was changed is written; if that fails memory is read back from what is on disk. */
static int settle(struct removal *m, int rc, struct err *err)
{
	struct image_store *s = m->s;
	if (!m->n)
		return rc;
	int wrote = write_all(s, rc < 0 ? NULL : err);
	if (wrote < 0) {
		for (size_t i = 0; i < s->n_records; i++)
			record_free(s->records[i]);
		for (size_t i = 0; i < s->n_names; i++)
			name_free(s->names[i]);
		s->n_records = s->n_names = 0;
		(void)read_all(s, NULL); /* the error to report is the write's */
	}
	return rc < 0 ? rc : wrote;
}

int image_remove(struct image_store *s, struct span text, const struct image_remove_params *p, struct arena *a,
	struct image_removed **out, size_t *out_n, struct err *err)
{
	struct removal m = { .s = s, .p = p, .a = a };
	pthread_mutex_lock(&s->mutex);
	int rc = settle(&m, remove_locked(&m, text, err), err);
	pthread_mutex_unlock(&s->mutex);
	if (rc < 0)
		return rc;
	*out = m.items;
	*out_n = m.n;
	return 0;
}

int image_remove_all(struct image_store *s, const struct span *names, size_t n_names, const struct image_remove_params *p,
	struct arena *a, struct image_removed **out, size_t *out_ends, struct err *err)
{
	struct removal m = { .s = s, .p = p, .a = a };
	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < n_names; i++) {
		(void)remove_locked(&m, names[i], NULL);
		out_ends[i] = m.n;
	}
	int rc = settle(&m, 0, err);
	pthread_mutex_unlock(&s->mutex);
	*out = m.items;
	return rc;
}

/* ---- for listing.c and gc.c ---- */

size_t image_records_copy(struct image_store *s, struct arena *a, struct record **out)
{
	pthread_mutex_lock(&s->mutex);
	size_t n = s->n_records;
	struct record *r = arena_alloc_n(a, n + 1, sizeof(*r));
	for (size_t i = 0; i < n; i++)
		r[i] = *s->records[i]; /* chains are not looked at: they may go */
	pthread_mutex_unlock(&s->mutex);
	*out = r;
	return n;
}

size_t image_names_copy(struct image_store *s, struct arena *a, struct named **out)
{
	pthread_mutex_lock(&s->mutex);
	size_t n = s->n_names;
	struct named *x = arena_alloc_n(a, n + 1, sizeof(*x));
	for (size_t i = 0; i < n; i++) {
		x[i] = *s->names[i];
		x[i].text = arena_cstr(a, span_of(x[i].text));
	}
	pthread_mutex_unlock(&s->mutex);
	*out = x;
	return n;
}
