/* From manifests and blobs to images: layers through the unpacker, then the record. */
#include "image/private.h"

int image_layer_unpack(struct image_store *s, const struct image_descriptor *layer, const struct image_digest *diff,
	const char *parent,
	const char *chain, const struct image_unpacker *u, struct err *err)
{
	auto_fd int fd = -1;
	uint64_t size;
	int rc = image_blob_open(s, &layer->digest, &fd, &size, err);
	if (rc < 0)
		return rc;
	struct pread_source file;
	struct hash_source plain;
	struct image_relay relay;
	image_pread_source_init(&file, fd);
	rc = image_relay_begin(&relay, &file.source, err);
	if (rc < 0)
		return rc;
	image_hash_source_init(&plain, &relay.source);
	void *pending = NULL;
	rc = u->unpack(u->arg, parent, &plain.source, &pending, err);
	struct image_digest is = image_hash_source_end(&plain);
	image_relay_end(&relay);
	free(file.buf);
	if (rc < 0)
		return rc;
	if (!image_digest_eq(&is, diff)) {
		u->drop(u->arg, pending);
		return err_set(err, ERR_CORRUPT, "layer %s: decompressed it hashes to %s, its image says %s",
			layer->digest.text, is.text, diff->text);
	}
	return u->commit(u->arg, pending, chain, parent, err);
}

int image_register(struct image_store *s, const struct image_digest *manifest, const struct image_digest *parent,
	const struct image_unpacker *u, const struct image_reporter *r, struct image_digest *out_id, struct err *err)
{
	auto_arena struct arena a = {};
	struct image_manifest m;
	struct image_config config;
	struct operation op;
	image_operation_begin(s, &op);
	int rc = image_manifest_read(s, manifest, &a, &m, &config, err);
	char below[65] = "", chain[65];
	for (size_t i = 0; rc == 0 && i < m.n; i++) {
		image_chain(below, &config.diffs[i], chain);
		image_operation_chain(s, &op, chain);
		if (!image_blob_touch(s, &m.items[i].digest)) {
			rc = err_set(err, ERR_NOT_FOUND, "layer %s of the image is missing", m.items[i].digest.text);
		} else if (u && !u->has(u->arg, chain)) {
			image_report(r, image_short_id(&m.items[i].digest), 0, m.items[i].size, "Loading layer");
			rc = image_layer_unpack(s, &m.items[i], &config.diffs[i], below, chain, u, err);
		}
		memcpy(below, chain, sizeof(below));
	}
	if (rc == 0)
		rc = image_record_put(s, &m.config.digest, manifest, parent, &config, NULL, err);
	if (rc == 0)
		*out_id = m.config.digest;
	image_operation_end(s, &op);
	return rc;
}
