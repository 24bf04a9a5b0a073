/* docker load, save and import.
 *
 * An archive is taken in whole: every file becomes a blob, its path is remembered; then its index (OCI layout) or manifest.json
 * (docker archive) says what they mean. What nothing refers to goes with the next image_gc. Files named by a digest
 * must have it. */
#include "base/path.h"
#include "image/private.h"

enum { FILES_MAX = 100000 };

struct file {
	struct image_digest digest;
	uint64_t size;
	const char *link; /* path of another entry, or NULL */
};

struct load {
	const struct image_platform *want; /* NULL = here */
	struct image_store *s;
	const struct image_unpacker *u;
	const struct image_reporter *r;
	struct arena arena;
	struct map files; /* clean path → struct file */
	size_t n_files;
	unsigned loaded;
};

static const struct file *file_find(const struct load *l, struct span path)
{
	const struct file *f = map_get(&l->files, path);
	for (int i = 0; f && f->link && i < 8; i++)
		f = map_get(&l->files, span_of(f->link));
	return f && !f->link ? f : NULL;
}

static int file_take(struct load *l, struct tar_reader *r, const struct tar_entry *e, struct span path, struct err *err)
{
	struct file *f = arena_new(&l->arena, struct file);
	if (e->kind == TAR_FILE) {
		struct image_ingest *in;
		struct tar_piece piece;
		if (e->sparse)
			return err_set(err, ERR_UNSUPPORTED, "archive: %.*s is a sparse file", SPAN_ARG(path));
		int rc = image_ingest_begin(l->s, NULL, &in, NULL, err);
		if (rc < 0)
			return rc;
		while ((rc = tar_data(r, &piece, err)) > 0)
			if ((rc = image_ingest_add(in, piece.data, err)) < 0)
				break;
		if (rc < 0) {
			image_ingest_drop(in, false);
			return rc;
		}
		if ((rc = image_ingest_commit(in, &f->digest, err)) < 0)
			return rc;
		f->size = e->size;
		if (span_starts(path, SPAN("blobs/sha256/")) && !span_is(span_from(path, 13), f->digest.text + 7))
			return err_set(err, ERR_CORRUPT, "archive: %.*s has digest %s", SPAN_ARG(path), f->digest.text);
	} else {
		struct span folder = span_sub(path, 0, (size_t)MAX((ptrdiff_t)0, span_rchr(path, '/')));
		struct span target = e->kind == TAR_HARDLINK ? e->link : arena_printf(&l->arena, "%.*s/%.*s",
			SPAN_ARG(folder), SPAN_ARG(e->link));
		f->link = path_clean(&l->arena, target).ptr;
	}
	if (++l->n_files > FILES_MAX)
		return err_set(err, ERR_TOO_LARGE, "archive: more than %d files", FILES_MAX);
	map_put(&l->files, path, f);
	return 0;
}

static int json_of(struct load *l, struct span path, size_t limit, struct json *out, struct err *err)
{
	auto_buf struct buf text = {};
	const struct file *f = file_find(l, path);
	if (!f)
		return err_set(err, ERR_CORRUPT, "archive: %.*s is missing", SPAN_ARG(path));
	int rc = image_blob_read(l->s, &f->digest, &text, limit, err);
	if (rc == 0 && json_parse(&l->arena, arena_span(&l->arena, buf_span(&text)), JSON_DUPLICATES_LAST, NULL, out, err) < 0)
		rc = err_set(err, ERR_CORRUPT, "archive: %.*s: not JSON", SPAN_ARG(path));
	return rc;
}

static int name_it(struct load *l, struct span name, const struct image_digest *id, const struct image_digest *target,
	struct err *err)
{
	struct image_ref ref;
	int rc = image_ref_parse(name, &l->arena, &ref, err);
	if (rc < 0)
		return rc;
	ref.digest = SPAN_EMPTY;
	image_ref_default(&ref);
	struct span full = image_ref_text(&ref, &l->arena), shown = image_ref_familiar(&ref, &l->arena);
	if ((rc = image_name_put(l->s, full, id, target, err)) == 0) {
		l->loaded++;
		image_report(l->r, SPAN_EMPTY, 0, 0, "Loaded image: %.*s", SPAN_ARG(shown));
	}
	return rc;
}

static void nameless(struct load *l, const struct image_digest *id)
{
	l->loaded++;
	image_report(l->r, SPAN_EMPTY, 0, 0, "Loaded image ID: %s", id->text);
}

static int wanted(struct load *l, const struct image_digest *config, struct err *err)
{
	auto_buf struct buf text = {};
	struct image_config c;
	if (!l->want)
		return 0;
	int rc = image_blob_read(l->s, config, &text, MANIFEST_BYTES, err);
	rc = rc < 0 ? rc : image_config_parse(arena_span(&l->arena, buf_span(&text)), &l->arena, &c, err);
	if (rc < 0)
		return rc;
	struct image_platform plain = *l->want; /* a configuration without a variant is taken for any */
	if (!c.platform.variant[0])
		plain.variant[0] = 0;
	if (image_platform_score(l->want, &c.platform) || image_platform_score(&plain, &c.platform))
		return 0;
	return err_set(err, ERR_NOT_FOUND, "requested platform (%s/%s%s%s) not found: the archive's image is for %s/%s%s%s",
		l->want->os, l->want->arch, l->want->variant[0] ? "/" : "", l->want->variant, c.platform.os, c.platform.arch,
		c.platform.variant[0] ? "/" : "", c.platform.variant);
}

/* ---- docker archives ---- */

static int layer_type(struct image_store *s, const struct image_digest *d, const char **out, struct err *err)
{
	auto_fd int fd = -1;
	uint64_t size;
	char head[8];
	int rc = image_blob_open(s, d, &fd, &size, err);
	if (rc < 0)
		return rc;
	ssize_t n = pread(fd, head, sizeof(head), 0);
	if (n < 0)
		return err_sys(err, "read %s", d->text);
	switch (tar_format_of(span_make(head, (size_t)n))) {
	case TAR_GZIP:
		*out = "application/vnd.oci.image.layer.v1.tar+gzip";
		return 0;
	case TAR_ZSTD:
		*out = "application/vnd.oci.image.layer.v1.tar+zstd";
		return 0;
	case TAR_PLAIN:
		*out = IMAGE_TYPE_OCI_LAYER;
		return 0;
	default:
		return err_set(err, ERR_UNSUPPORTED, "layer %s: neither plain, gzip nor zstd", d->text);
	}
}

static void descriptor_out(struct json_out *o, const char *type, const struct image_digest *d, uint64_t size)
{
	json_out_begin(o);
	json_out_kspan(o, "mediaType", span_of(type));
	json_out_kspan(o, "digest", image_digest_span(d));
	json_out_key(o, SPAN("size"));
	json_out_u64(o, size);
	json_out_end(o);
}

/* An OCI manifest over blobs that are there. */
static int manifest_make(struct image_store *s, const struct image_digest *config, uint64_t config_size,
	const struct image_digest *layers,
	const uint64_t *sizes, size_t n, struct image_digest *out, struct err *err)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	json_out_ki64(&o, "schemaVersion", 2);
	json_out_kspan(&o, "mediaType", span_of(IMAGE_TYPE_OCI_MANIFEST));
	json_out_key(&o, SPAN("config"));
	descriptor_out(&o, IMAGE_TYPE_OCI_CONFIG, config, config_size);
	json_out_key(&o, SPAN("layers"));
	json_out_begin_array(&o);
	for (size_t i = 0; i < n; i++) {
		const char *type;
		int rc = layer_type(s, &layers[i], &type, err);
		if (rc < 0)
			return rc;
		descriptor_out(&o, type, &layers[i], sizes[i]);
	}
	json_out_end(&o);
	json_out_end(&o);
	return image_blob_put(s, buf_span(&b), out, err);
}

static int docker_image(struct load *l, const struct json *item, struct err *err)
{
	const struct file *config = file_find(l, path_clean(&l->arena, json_span(json_getl(item, "Config"))));
	const struct json *layers = json_getl(item, "Layers"), *tags = json_getl(item, "RepoTags");
	size_t n = json_is(layers, JSON_ARRAY) ? layers->n : 0, i = 0;
	if (!config)
		return err_set(err, ERR_CORRUPT, "archive: manifest.json names a configuration that is missing");
	if (n > IMAGE_LAYERS_MAX)
		return err_set(err, ERR_TOO_LARGE, "max depth exceeded: %zu layers", n);
	struct image_digest digests[IMAGE_LAYERS_MAX + 1], manifest, id;
	uint64_t sizes[IMAGE_LAYERS_MAX + 1];
	JSON_EACH_ITEM(layers, layer) {
		const struct file *f = file_find(l, path_clean(&l->arena, json_span(layer)));
		if (!f)
			return err_set(err, ERR_CORRUPT, "archive: layer %.*s is missing", SPAN_ARG(json_span(layer)));
		digests[i] = f->digest;
		sizes[i++] = f->size;
	}
	int rc = wanted(l, &config->digest, err);
	rc = rc < 0 ? rc : manifest_make(l->s, &config->digest, config->size, digests, sizes, n, &manifest, err);
	if (rc == 0)
		rc = image_register(l->s, &manifest, NULL, l->u, l->r, &id, err);
	bool any = false;
	JSON_EACH_ITEM(tags, tag)
		if (rc == 0) {
			rc = name_it(l, json_span(tag), &id, &manifest, err);
			any = true;
		}
	if (rc == 0 && !any)
		nameless(l, &id);
	return rc;
}

/* ---- OCI layouts ---- */

static int oci_entry(struct load *l, const struct image_descriptor *d, const struct json *docker, struct err *err)
{
	auto_buf struct buf text = {};
	struct image_manifest m;
	struct image_digest manifest = d->digest, id;
	int rc = image_blob_read(l->s, &manifest, &text, MANIFEST_BYTES, err);
	if (rc == 0)
		rc = image_manifest_parse(buf_span(&text), d->media_type, &l->arena, &m, err);
	if (rc == 0 && m.kind == IMAGE_INDEX) {
		struct image_platform platform = l->want ? *l->want : image_platform_here();
		const struct image_descriptor *best;
		if ((rc = image_index_choose(&m, &platform, &best, err)) == 0)
			manifest = best->digest;
	} else if (rc == 0) {
		rc = wanted(l, &m.config.digest, err);
	}
	if (rc == 0)
		rc = image_register(l->s, &manifest, NULL, l->u, l->r, &id, err);
	if (rc < 0)
		return rc;
	bool any = false;
	/* Names: containerd's annotation; else the layout's if it is more than a tag; else what manifest.json says of it. */
	struct span name = d->image_name.len ? d->image_name : span_chr(d->ref_name, '/') >= 0 || span_chr(d->ref_name,
		':') >= 0 ? d->ref_name
																: SPAN_EMPTY;
	if (name.len) {
		any = true;
		rc = name_it(l, name, &id, &d->digest, err);
	}
	JSON_EACH_ITEM(docker, item) {
		const struct file *config = file_find(l, path_clean(&l->arena, json_span(json_getl(item, "Config"))));
		if (rc < 0 || name.len || !config || !image_digest_eq(&config->digest, &id))
			continue;
		JSON_EACH_ITEM(json_getl(item, "RepoTags"), tag) {
			any = true;
			if (rc == 0)
				rc = name_it(l, json_span(tag), &id, &d->digest, err);
		}
	}
	if (rc == 0 && !any)
		nameless(l, &id);
	return rc;
}

static int oci_load(struct load *l, const struct json *docker, struct err *err)
{
	auto_buf struct buf text = {};
	struct image_manifest index = {};
	const struct file *f = file_find(l, SPAN("index.json"));
	int rc = image_blob_read(l->s, &f->digest, &text, MANIFEST_BYTES, err);
	if (rc == 0)
		rc = image_manifest_parse(buf_span(&text), span_of(IMAGE_TYPE_OCI_INDEX), &l->arena, &index, err);
	if (rc == 0 && index.kind != IMAGE_INDEX)
		rc = err_set(err, ERR_CORRUPT, "archive: index.json is no index");
	for (size_t i = 0; rc == 0 && i < index.n; i++)
		if (!index.items[i].attestation)
			rc = oci_entry(l, &index.items[i], docker, err);
	return rc;
}

int image_load(struct image_store *s, struct tar_source *from, const struct image_platform *want, const struct image_unpacker *u,
	const struct image_reporter *r, struct err *err)
{
	struct load l = { .s = s, .want = want, .u = u, .r = r };
	struct tar_inflate *plain;
	struct tar_reader *reader;
	const struct tar_entry *e;
	struct operation op;
	image_operation_begin(s, &op);
	tar_inflate_new(from, 0, &plain);
	tar_reader_new(tar_inflate_source(plain), NULL, &reader);
	int rc;
	while ((rc = tar_next(reader, &e, err)) > 0) {
		struct span path = path_clean(&l.arena, e->path);
		if (path.len && (e->kind == TAR_FILE || e->kind == TAR_SYMLINK || e->kind == TAR_HARDLINK) &&
		    (rc = file_take(&l, reader, e, path, err)) < 0)
			break;
		if (r && r->cancelled && r->cancelled(r->arg)) {
			rc = err_set(err, ERR_CANCELLED, "context canceled");
			break;
		}
	}
	FAILPOINT("image.load.taken");
	struct json docker = JSON_NULL_VALUE;
	bool has_docker = rc == 0 && file_find(&l, SPAN("manifest.json"));
	if (has_docker)
		rc = json_of(&l, SPAN("manifest.json"), MANIFEST_BYTES, &docker, err);
	if (rc == 0 && file_find(&l, SPAN("index.json")))
		rc = oci_load(&l, &docker, err);
	else if (rc == 0 && has_docker)
		JSON_EACH_ITEM(&docker, item) {
			if (rc == 0)
				rc = docker_image(&l, item, err);
		}
	else if (rc == 0)
		rc = err_set(err, ERR_INVALID_REQUEST, "not an image archive: it has neither manifest.json nor index.json");
	if (rc == 0 && !l.loaded)
		rc = err_set(err, ERR_INVALID_REQUEST, "the archive holds no image");
	tar_reader_free(reader);
	tar_inflate_free(plain);
	map_done(&l.files);
	arena_done(&l.arena);
	image_operation_end(s, &op);
	return rc;
}

/* ---- save ---- */

struct save {
	struct image_store *s;
	struct tar_writer w;
	struct arena arena;
	struct map written; /* digests */
	struct saved *images; /* owned */
	size_t n_images, cap_images;
};

static int entry_out(struct save *v, const char *path, struct span data, struct err *err)
{
	const struct tar_entry e = { .kind = TAR_FILE, .path = span_of(path), .mode = 0644, .size = data.len,
		.atime.tv_nsec = UTIME_OMIT,
		.ctime.tv_nsec = UTIME_OMIT };
	int rc = tar_write(&v->w, &e, err);
	return rc < 0 || !data.len ? rc : tar_write_data(&v->w, data, err);
}

static int folder_out(struct save *v, const char *path, struct err *err)
{
	const struct tar_entry e = { .kind = TAR_DIR, .path = span_of(path), .mode = 0755, .atime.tv_nsec = UTIME_OMIT,
		.ctime.tv_nsec = UTIME_OMIT };
	return tar_write(&v->w, &e, err);
}

static int blob_out(struct save *v, const struct image_digest *d, struct err *err)
{
	auto_fd int fd = -1;
	uint64_t size;
	if (map_get(&v->written, image_digest_span(d)))
		return 0;
	map_put(&v->written, arena_span(&v->arena, image_digest_span(d)), v);
	int rc = image_blob_open(v->s, d, &fd, &size, err);
	if (rc < 0)
		return rc;
	char path[100];
	snprintf(path, sizeof(path), "blobs/sha256/%s", d->text + 7);
	const struct tar_entry e = { .kind = TAR_FILE, .path = span_of(path), .mode = 0644, .size = size, .atime.tv_nsec = UTIME_OMIT,
		.ctime.tv_nsec = UTIME_OMIT };
	struct pread_source file;
	image_pread_source_init(&file, fd);
	struct span piece;
	rc = tar_write(&v->w, &e, err);
	while (rc == 0 && (rc = file.source.pull(&file.source, &piece, err)) > 0)
		rc = tar_write_data(&v->w, piece, err);
	free(file.buf);
	return rc;
}

static void kblob(struct json_out *o, const char *key, const struct image_digest *d)
{
	char path[100];
	snprintf(path, sizeof(path), "blobs/sha256/%s", d->text + 7);
	if (key)
		json_out_kspan(o, key, span_of(path));
	else
		json_out_span(o, span_of(path));
}

/* ---- what is saved: images, each with the tags that it gets in the archive ---- */

struct saved {
	struct image_digest id;
	struct image_ref *refs; /* in the arena; each with a tag */
	size_t n_refs;
};

static struct saved *saved_get(struct save *v, const struct image_digest *id)
{
	for (size_t i = 0; i < v->n_images; i++)
		if (image_digest_eq(&v->images[i].id, id))
			return &v->images[i];
	MEM_GROW(v->images, v->n_images, v->cap_images);
	v->images[v->n_images] = (struct saved){ .id = *id };
	return &v->images[v->n_images++];
}

static void saved_ref(struct save *v, const struct image_digest *id, const struct image_ref *ref)
{
	struct saved *i = saved_get(v, id);
	for (size_t k = 0; ref && k < i->n_refs; k++)
		if (span_eq(i->refs[k].tag, ref->tag) && span_eq(i->refs[k].path, ref->path) && span_eq(i->refs[k].domain, ref->domain))
			return;
	if (!ref || !ref->tag.len)
		return;
	struct image_ref *more = arena_alloc_n(&v->arena, i->n_refs + 1, sizeof(*more));
	if (i->n_refs)
		memcpy(more, i->refs, i->n_refs * sizeof(*more));
	more[i->n_refs++] = *ref;
	i->refs = more;
}

/* A name alone means all its tags, as with dockerd; when there is no such name it may be an id. */
static int saved_add(struct save *v, struct span text, struct err *err)
{
	struct image_ref ref = {};
	struct image_digest id, owner, target;
	struct named *names;
	bool is_ref = image_ref_parse(text, &v->arena, &ref, NULL) == 0;
	if (is_ref && !ref.tag.len && !ref.digest.len) {
		struct span wanted = image_ref_name(&ref, &v->arena);
		size_t found = 0, n = image_names_copy(v->s, &v->arena, &names);
		for (size_t i = 0; i < n; i++) {
			struct image_ref one;
			if (image_ref_parse(span_of(names[i].text), &v->arena, &one, NULL) < 0 ||
			    !span_eq(image_ref_name(&one, &v->arena), wanted))
				continue;
			saved_ref(v, &names[i].id, &one);
			found++;
		}
		if (found)
			return 0;
	}
	int rc = image_find(v->s, text, &id, err);
	if (rc < 0)
		return rc;
	bool named = is_ref && ref.tag.len && !ref.digest.len &&
		     image_name_get(v->s, image_ref_text(&ref, &v->arena), &owner, &target) && image_digest_eq(&owner, &id);
	saved_ref(v, &id, named ? &ref : NULL);
	return 0;
}

static void index_item(struct json_out *o, const struct image_manifest *m, const struct image_digest *manifest, size_t size,
	const struct image_ref *ref, struct arena *a)
{
	json_out_begin(o);
	json_out_kspan(o, "mediaType", m->media_type.len ? m->media_type : span_of(IMAGE_TYPE_OCI_MANIFEST));
	json_out_kspan(o, "digest", image_digest_span(manifest));
	json_out_ki64(o, "size", (int64_t)size);
	if (ref) {
		json_out_key(o, SPAN("annotations"));
		json_out_begin(o);
		json_out_kspan(o, "io.containerd.image.name", image_ref_text(ref, a));
		json_out_kspan(o, "org.opencontainers.image.ref.name", ref->tag);
		json_out_end(o);
	}
	json_out_end(o);
}

static int saved_write(struct save *v, const struct saved *i, struct json_out *index, struct json_out *docker, struct err *err)
{
	struct image_info info;
	struct image_config config;
	struct image_manifest m;
	auto_buf struct buf manifest = {};
	int rc = image_inspect(v->s, &i->id, &v->arena, &info, &config, &m, err);
	if (rc == 0)
		rc = blob_out(v, &info.manifest, err);
	if (rc == 0)
		rc = blob_out(v, &i->id, err);
	for (size_t k = 0; rc == 0 && k < m.n; k++)
		rc = blob_out(v, &m.items[k].digest, err);
	if (rc == 0)
		rc = image_blob_read(v->s, &info.manifest, &manifest, MANIFEST_BYTES, err);
	if (rc < 0)
		return rc;
	for (size_t k = 0; k < MAX(i->n_refs, (size_t)1); k++)
		index_item(index, &m, &info.manifest, manifest.len, i->n_refs ? &i->refs[k] : NULL, &v->arena);
	json_out_begin(docker);
	kblob(docker, "Config", &i->id);
	json_out_key(docker, SPAN("RepoTags"));
	json_out_begin_array(docker);
	for (size_t k = 0; k < i->n_refs; k++)
		json_out_span(docker, image_ref_familiar(&i->refs[k], &v->arena));
	json_out_end(docker);
	json_out_key(docker, SPAN("Layers"));
	json_out_begin_array(docker);
	for (size_t k = 0; k < m.n; k++)
		kblob(docker, NULL, &m.items[k].digest);
	json_out_end(docker);
	json_out_end(docker);
	return 0;
}

int image_save(struct image_store *s, const struct span *names, size_t n, struct tar_sink *to, struct err *err)
{
	struct save v = { .s = s };
	struct operation op;
	auto_buf struct buf index = {}, docker = {};
	struct json_out oi = { .buf = &index }, od = { .buf = &docker };
	image_operation_begin(s, &op);
	tar_writer_init(&v.w, to);
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = saved_add(&v, names[i], err);
	json_out_begin(&oi);
	json_out_ki64(&oi, "schemaVersion", 2);
	json_out_kspan(&oi, "mediaType", span_of(IMAGE_TYPE_OCI_INDEX));
	json_out_key(&oi, SPAN("manifests"));
	json_out_begin_array(&oi);
	json_out_begin_array(&od);
	if (rc == 0)
		rc = folder_out(&v, "blobs", err);
	if (rc == 0)
		rc = folder_out(&v, "blobs/sha256", err);
	for (size_t i = 0; rc == 0 && i < v.n_images; i++)
		rc = saved_write(&v, &v.images[i], &oi, &od, err);
	if (rc == 0) {
		json_out_end(&oi);
		json_out_end(&oi);
		json_out_end(&od);
		if ((rc = entry_out(&v, "index.json", buf_span(&index), err)) == 0 &&
		    (rc = entry_out(&v, "manifest.json", buf_span(&docker), err)) == 0 &&
		    (rc = entry_out(&v, "oci-layout", SPAN("{\"imageLayoutVersion\":\"1.0.0\"}"), err)) == 0)
			rc = tar_write_end(&v.w, err);
	}
	tar_writer_done(&v.w);
	free(v.images);
	map_done(&v.written);
	arena_done(&v.arena);
	image_operation_end(s, &op);
	return rc;
}

/* ---- import ---- */

static int import_blob(struct image_store *s, struct tar_source *from, struct image_digest *out, uint64_t *out_size,
	struct err *err)
{
	struct image_ingest *in;
	struct span piece;
	int rc = image_ingest_begin(s, NULL, &in, NULL, err);
	if (rc < 0)
		return rc;
	while ((rc = from->pull(from, &piece, err)) > 0)
		if ((rc = image_ingest_add(in, piece, err)) < 0)
			break;
	*out_size = image_ingest_size(in);
	if (rc < 0) {
		image_ingest_drop(in, false);
		return rc;
	}
	return image_ingest_commit(in, out, err);
}

/* What the layer hashes to once decompressed; unpacked on the way when there is somebody for it. */
static int import_layer(struct image_store *s, const struct image_digest *blob, const struct image_unpacker *u,
	struct operation *op,
	struct image_digest *out_diff, struct err *err)
{
	auto_fd int fd = -1;
	uint64_t size;
	int rc = image_blob_open(s, blob, &fd, &size, err);
	if (rc < 0)
		return rc;
	struct pread_source file;
	struct hash_source plain;
	struct image_relay relay;
	void *pending = NULL;
	image_pread_source_init(&file, fd);
	rc = image_relay_begin(&relay, &file.source, err);
	if (rc < 0)
		return rc;
	image_hash_source_init(&plain, &relay.source);
	struct tar_reader *r = NULL;
	const struct tar_entry *e;
	if (u) {
		rc = u->unpack(u->arg, "", &plain.source, &pending, err);
	} else { /* still: only a tar archive is a layer */
		tar_reader_new(&plain.source, NULL, &r);
		while ((rc = tar_next(r, &e, err)) > 0)
			;
		if (rc == 0)
			rc = tar_drain(r, err);
		tar_reader_free(r);
	}
	*out_diff = image_hash_source_end(&plain);
	image_relay_end(&relay);
	free(file.buf);
	if (rc == 0 && u) {
		image_operation_chain(s, op, out_diff->text + 7);
		rc = u->commit(u->arg, pending, out_diff->text + 7, "", err);
	}
	return rc;
}

int image_import(struct image_store *s, struct tar_source *from, const struct image_import_params *p, struct image_digest *out_id,
	struct err *err)
{
	struct operation op;
	struct image_digest blob, diff, config, manifest, id;
	uint64_t size = 0;
	auto_arena struct arena a = {};
	struct json container;
	struct image_ref ref;
	int rc = 0;
	if (p->ref.len && (rc = image_ref_parse(p->ref, &a, &ref, err)) < 0)
		return rc;
	if (p->config.len && (rc = json_parse(&a, p->config, 0, NULL, &container, err)) < 0)
		return rc;
	if (p->config.len && !json_is(&container, JSON_OBJECT))
		return err_set(err, ERR_INVALID_REQUEST, "the configuration to import with is no object");
	image_operation_begin(s, &op);
	if ((rc = import_blob(s, from, &blob, &size, err)) == 0)
		rc = import_layer(s, &blob, p->unpacker, &op, &diff, err);
	if (rc == 0) {
		struct image_platform platform = p->platform.os[0] ? p->platform : image_platform_here();
		int64_t now = clock_wall_ns(clock_real());
		char when[40];
		size_t len = time_format(when, now / NS_PER_S, (int32_t)(now % NS_PER_S), -1);
		struct span created = span_make(when, len);
		auto_buf struct buf b = {};
		struct json_out o = { .buf = &b };
		json_out_begin(&o);
		json_out_kspan(&o, "architecture", span_of(platform.arch));
		json_out_kspan(&o, "variant", span_of(platform.variant));
		json_out_kspan(&o, "os", span_of(platform.os));
		json_out_kspan(&o, "created", created);
		json_out_key(&o, SPAN("config"));
		if (p->config.len) {
			json_out_value(&o, &container);
		} else {
			json_out_begin(&o);
			json_out_end(&o);
		}
		json_out_key(&o, SPAN("rootfs"));
		json_out_begin(&o);
		json_out_kspan(&o, "type", SPAN("layers"));
		json_out_key(&o, SPAN("diff_ids"));
		json_out_begin_array(&o);
		json_out_span(&o, image_digest_span(&diff));
		json_out_end(&o);
		json_out_end(&o);
		json_out_key(&o, SPAN("history"));
		json_out_begin_array(&o);
		json_out_begin(&o);
		json_out_kspan(&o, "created", created);
		json_out_kspan(&o, "comment", p->message.len ? p->message : SPAN("Imported from -"));
		json_out_end(&o);
		json_out_end(&o);
		json_out_end(&o);
		rc = image_blob_put(s, buf_span(&b), &config, err);
		if (rc == 0)
			rc = manifest_make(s, &config, b.len, &blob, &size, 1, &manifest, err);
	}
	if (rc == 0)
		rc = image_register(s, &manifest, NULL, p->unpacker, NULL, &id, err);
	if (rc == 0 && p->ref.len)
		rc = image_tag(s, &id, p->ref, err);
	image_operation_end(s, &op);
	if (rc == 0)
		*out_id = id;
	return rc;
}
