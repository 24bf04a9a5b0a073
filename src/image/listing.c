/* What is read out of the store: lists, details, histories; and what nobody needs any more. */
#include <dirent.h>

#include "image/private.h"

int image_manifest_read(struct image_store *s, const struct image_digest *manifest, struct arena *a, struct image_manifest *out,
	struct image_config *out_config, struct err *err)
{
	auto_buf struct buf text = {}, config = {};
	int rc = image_blob_read(s, manifest, &text, MANIFEST_BYTES, err);
	if (rc == 0)
		rc = image_manifest_parse(buf_span(&text), SPAN_EMPTY, a, out, err);
	if (rc == 0 && out->kind != IMAGE_MANIFEST)
		rc = err_set(err, ERR_CORRUPT, "%s is an index, not a manifest", manifest->text);
	if (rc == 0)
		rc = image_blob_read(s, &out->config.digest, &config, CONFIG_BYTES, err);
	if (rc == 0)
		rc = image_config_parse(arena_span(a, buf_span(&config)), a, out_config, err);
	if (rc == 0 && out_config->n_diffs != out->n)
		rc = err_set(err, ERR_CORRUPT, "manifest %s has %zu layers, its configuration %zu", manifest->text, out->n,
			out_config->n_diffs);
	return rc;
}

static void info_names(struct image_info *info, const struct named *names, size_t n, struct arena *a)
{
	info->tags = arena_alloc_n(a, n + 1, sizeof(*info->tags));
	info->digests = arena_alloc_n(a, n + 1, sizeof(*info->digests));
	for (size_t i = 0; i < n; i++) {
		struct image_ref ref;
		if (!image_digest_eq(&names[i].id, &info->id) || image_ref_parse(span_of(names[i].text), a, &ref, NULL) < 0)
			continue;
		struct span text = image_ref_familiar(&ref, a);
		if (ref.digest.len)
			info->digests[info->n_digests++] = text;
		else
			info->tags[info->n_tags++] = text;
	}
}

static int info_read(struct image_store *s, const struct record *r, struct arena *a, struct image_info *out,
	struct image_config *config, struct image_manifest *manifest, struct err *err)
{
	int rc = image_manifest_read(s, &r->manifest, a, manifest, config, err);
	if (rc < 0)
		return err_note(err, "image %.19s", r->id.text), rc;
	*out = (struct image_info){ .id = r->id, .manifest = r->manifest, .parent = r->parent, .tagged_ns = r->tagged_ns,
		.created = config->created, .platform = config->platform };
	for (size_t i = 0; i < manifest->n; i++)
		out->size += manifest->items[i].size;
	return 0;
}

int image_list(struct image_store *s, struct arena *a, struct image_info **out, size_t *out_n, struct err *err)
{
	struct record *records;
	struct named *names;
	size_t n = image_records_copy(s, a, &records), n_names = image_names_copy(s, a, &names), had = 0;
	struct image_info *list = arena_alloc_n(a, n + 1, sizeof(*list));
	for (size_t i = 0; i < n; i++) {
		struct image_config config;
		struct image_manifest manifest;
		auto_err struct err why = ERR_INIT;
		int rc = info_read(s, &records[i], a, &list[had], &config, &manifest, &why);
		if (rc == -ERR_CORRUPT || rc == -ERR_NOT_FOUND) {
			/* Its blobs are damaged or gone: still listed, so that a person can remove it. */
			list[had] = (struct image_info){ .id = records[i].id, .manifest = records[i].manifest, .parent = records[i].parent,
				.tagged_ns = records[i].tagged_ns };
		} else if (rc < 0) {
			return err ? err_move(err, &why) : rc;
		}
		info_names(&list[had++], names, n_names, a);
	}
	*out = list;
	*out_n = had;
	return 0;
}

int image_inspect(struct image_store *s, const struct image_digest *id, struct arena *a, struct image_info *out,
	struct image_config *out_config, struct image_manifest *out_manifest, struct err *err)
{
	struct record *records;
	struct named *names;
	size_t n = image_records_copy(s, a, &records), n_names = image_names_copy(s, a, &names), i = 0;
	while (i < n && !image_digest_eq(&records[i].id, id))
		i++;
	if (i == n)
		return image_no_such(image_digest_span(id), err);
	struct image_info info;
	int rc = info_read(s, &records[i], a, &info, out_config, out_manifest, err);
	if (rc < 0)
		return rc;
	info_names(&info, names, n_names, a);
	*out = info;
	return 0;
}

void image_children(struct image_store *s, const struct image_digest *parent, struct arena *a, struct image_digest **out,
	size_t *out_n)
{
	struct record *records;
	size_t n = image_records_copy(s, a, &records), had = 0;
	struct image_digest *list = arena_alloc_n(a, n + 1, sizeof(*list));
	for (size_t i = 0; i < n; i++)
		if (records[i].made && image_digest_eq(&records[i].parent, parent))
			list[had++] = records[i].id;
	*out = list;
	*out_n = had;
}

bool image_descends(struct image_store *s, const struct image_digest *id, const struct image_digest *from)
{
	auto_arena struct arena a = {};
	struct record *records;
	size_t n = image_records_copy(s, &a, &records), i;
	struct image_digest at = *id;
	/* No way is longer than there are images. */
	for (size_t steps = 0; steps <= n && !image_digest_eq(&at, from); steps++) {
		for (i = 0; i < n && !image_digest_eq(&records[i].id, &at); i++)
			;
		if (i == n || !records[i].made)
			return false;
		at = records[i].parent;
	}
	return image_digest_eq(&at, from);
}

struct image_hold {
	struct image_store *s;
	struct operation op;
};

struct image_hold *image_hold_begin(struct image_store *s)
{
	struct image_hold *h = mem_new(struct image_hold);
	h->s = s;
	image_operation_begin(s, &h->op);
	return h;
}

void image_hold_end(struct image_hold *h)
{
	if (!h)
		return;
	image_operation_end(h->s, &h->op);
	free(h);
}

int image_top(struct image_store *s, const struct image_digest *id, char out_chain[65], struct err *err)
{
	int rc = image_no_such(image_digest_span(id), NULL);
	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < s->n_records && rc < 0; i++) {
		const struct record *r = s->records[i];
		if (!image_digest_eq(&r->id, id))
			continue;
		snprintf(out_chain, 65, "%s", r->n_chains ? r->chains[r->n_chains - 1] : "");
		rc = 0;
	}
	pthread_mutex_unlock(&s->mutex);
	return rc < 0 ? image_no_such(image_digest_span(id), err) : 0;
}

int image_history(struct image_store *s, const struct image_digest *id, struct arena *a, struct image_history **out,
	size_t *out_n,
	struct err *err)
{
	struct image_info info;
	struct image_config config;
	struct image_manifest manifest;
	int rc = image_inspect(s, id, a, &info, &config, &manifest, err);
	if (rc < 0)
		return rc;
	const struct json *list = json_getl(&config.tree, "history");
	size_t n = json_is(list, JSON_ARRAY) ? list->n : 0, layer = 0;
	struct image_history *h = arena_alloc_n(a, n + 1, sizeof(*h));
	for (size_t i = 0; i < n; i++) { /* the text is oldest first */
		const struct json *e = &list->items[i];
		struct image_history *to = &h[n - 1 - i];
		*to = (struct image_history){ .created = json_span(json_getl(e, "created")),
			.created_by = json_span(json_getl(e, "created_by")), .comment = json_span(json_getl(e, "comment")),
			.empty_layer = json_truth(json_getl(e, "empty_layer"), false) };
		if (!to->empty_layer) {
			if (layer >= manifest.n)
				return err_set(err, ERR_CORRUPT, "too many non-empty layers in History section");
			to->size = manifest.items[layer++].size;
		}
	}
	/* Each entry is an image of this machine's as far as the parents go. */
	struct record *records;
	struct named *names;
	size_t n_records = image_records_copy(s, a, &records), n_names = image_names_copy(s, a, &names);
	struct image_digest at = info.id;
	for (size_t i = 0; i < n && at.text[0]; i++) {
		struct image_info one = { .id = at };
		size_t k = 0;
		while (k < n_records && !image_digest_eq(&records[k].id, &at))
			k++;
		if (k == n_records)
			break;
		info_names(&one, names, n_names, a);
		h[i].id = at;
		h[i].tags = one.tags;
		h[i].n_tags = one.n_tags;
		at = records[k].parent;
	}
	*out = h;
	*out_n = n;
	return 0;
}

/* ---- what nobody needs ---- */

static void need(struct map *needed, struct arena *a, const struct image_digest *d)
{
	if (!map_get(needed, image_digest_span(d)))
		map_put(needed, arena_span(a, image_digest_span(d)), a);
}

static int folder_sweep(int dirfd, const struct map *needed, int64_t before_ns, unsigned *blobs, uint64_t *bytes, struct err *err)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		fd_close(&fd);
		return err_sys(err, "read the folder of contents");
	}
	struct dirent *e;
	int rc = 0;
	while (rc == 0 && (e = readdir(d))) {
		char key[IMAGE_DIGEST_LEN + 200];
		struct stat st;
		snprintf(key, sizeof(key), "sha256:%.190s", e->d_name);
		if ((needed && map_get(needed, span_of(key))) || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			!S_ISREG(st.st_mode))
			continue;
		/* Newer than the oldest operation: that one may be about to name it. */
		if ((int64_t)st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec >= before_ns)
			continue;
		if (unlinkat(fd, e->d_name, 0) < 0) {
			rc = err_sys(err, "remove content %s", e->d_name);
		} else {
			++*blobs;
			*bytes += (uint64_t)st.st_size;
		}
	}
	closedir(d);
	return rc;
}

int image_gc(struct image_store *s, int64_t keep_partial_s, unsigned *out_blobs, uint64_t *out_bytes, struct err *err)
{
	auto_arena struct arena a = {};
	auto_map struct map needed = {};
	/* The limit is taken before the records are read: whoever registers meanwhile has newer blobs, or touched them. The
	 * clock of files ticks coarsely (4 ms), hence the margins. */
	int64_t now = clock_wall_ns(clock_real()) - 20 * NS_PER_MS, before = now;
	pthread_mutex_lock(&s->mutex);
	LIST_EACH(&s->operations, op, struct operation, link)
		before = MIN(before, op->began_ns - NS_PER_S);
	pthread_mutex_unlock(&s->mutex);
	struct record *records;
	struct named *names;
	size_t n = image_records_copy(s, &a, &records), n_names = image_names_copy(s, &a, &names);
	for (size_t i = 0; i < n; i++) {
		struct image_manifest m;
		auto_buf struct buf text = {};
		auto_err struct err why = ERR_INIT;
		need(&needed, &a, &records[i].manifest);
		need(&needed, &a, &records[i].id);
		int rc = image_blob_read(s, &records[i].manifest, &text, MANIFEST_BYTES, &why);
		if (rc == 0)
			rc = image_manifest_parse(buf_span(&text), SPAN_EMPTY, &a, &m, &why);
		if (rc == -ERR_CORRUPT || rc == -ERR_NOT_FOUND)
			continue; /* a damaged image needs nothing that could be found */
		if (rc < 0)
			return err ? err_move(err, &why) : rc;
		need(&needed, &a, &m.config.digest);
		for (size_t k = 0; k < m.n; k++)
			need(&needed, &a, &m.items[k].digest);
	}
	for (size_t i = 0; i < n_names; i++)
		need(&needed, &a, &names[i].target);
	unsigned blobs = 0;
	uint64_t bytes = 0;
	pthread_mutex_lock(&s->mutex); /* see image_blob_touch */
	int rc = folder_sweep(s->blobs, &needed, before, &blobs, &bytes, err);
	if (rc == 0)
		rc = folder_sweep(s->ingest, NULL, MIN(before, now - keep_partial_s * NS_PER_S), &blobs, &bytes, err);
	pthread_mutex_unlock(&s->mutex);
	if (out_blobs)
		*out_blobs = blobs;
	if (out_bytes)
		*out_bytes = bytes;
	return rc;
}
