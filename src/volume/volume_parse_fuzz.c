/* -v strings, Mounts documents, tmpfs options: whatever comes, a mount that is accepted keeps what the seam promises of it. */
#include "volume/volume.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct volume_mount *m)
{
	assert(m->kind < VOLUME_KIND_COUNT);
	assert(m->target.len > 1 && m->target.ptr[0] == '/' && !span_has(m->target, SPAN("//")) && !span_ends(m->target, SPAN("/..")) &&
	       !span_has(m->target, SPAN("/../")) && !span_ends(m->target, SPAN("/")));
	assert(m->kind != VOLUME_BIND || (m->source.len && m->source.ptr[0] == '/' && m->propagation.len));
	assert(!m->subpath.len || (m->subpath.ptr[0] != '/' && !span_starts(m->subpath, SPAN("../")) && !span_is(m->subpath, "..")));
	assert(m->kind != VOLUME_TMPFS || m->tmpfs_options.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	struct span text = span_make(data, size), container, mode;
	struct volume_mount m;
	struct json doc;
	if (volume_mount_parse(text, SPAN_EMPTY, &a, &m, NULL) == 0)
		check(&m);
	if (volume_tmpfs_parse(SPAN("/t"), text, &a, &m, NULL) == 0)
		check(&m);
	(void)volume_from_parse(text, &container, &mode, NULL); /* must not crash; nothing is promised of bad text */
	if (json_parse(&a, text, 0, NULL, &doc, NULL) < 0)
		return 0;
	if (volume_mount_read(&doc, &a, &m, NULL) == 0)
		check(&m);
	struct volume_mount *list;
	size_t n;
	const struct volume_plan p = { .host_config = &doc, .volumes = json_getl(&doc, "Volumes") };
	if (volume_mounts_plan(&p, &a, &list, &n, NULL) == 0)
		for (size_t i = 0; i < n; i++) {
			check(&list[i]);
			for (size_t k = 0; k < i && n < 100; k++)
				assert(!span_eq(list[i].target, list[k].target));
		}
	return 0;
}
