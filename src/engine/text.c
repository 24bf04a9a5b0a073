/* Small forms that several answers share. */
#include "engine/private.h"

void engine_human_size(struct buf *out, double bytes)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB" };
	unsigned i = 0;
	while (bytes >= 1000 && i < ARRAY_LEN(units) - 1) {
		bytes /= 1000;
		i++;
	}
	buf_printf(out, "%.4g%s", bytes, units[i]);
}

int64_t engine_unix_of(struct span rfc3339)
{
	int64_t s;
	int32_t ns;
	return time_parse(rfc3339.ptr ? rfc3339.ptr : "", rfc3339.len, &s, &ns) == 0 ? s : 0;
}

struct json engine_text(struct arena *a, struct span s)
{
	return json_str(arena_span(a, s));
}

struct json engine_strings(struct arena *a, const struct span *items, size_t n)
{
	struct json v = json_array();
	for (size_t i = 0; i < n; i++)
		(void)json_push(a, &v, engine_text(a, items[i]));
	return v;
}

struct json engine_time(struct arena *a, int64_t unix_ns)
{
	char text[40];
	int64_t s = unix_ns / NS_PER_S, ns = unix_ns % NS_PER_S;
	if (ns < 0) {
		s--;
		ns += NS_PER_S;
	}
	size_t n = time_format(text, s, (int32_t)ns, -1);
	return engine_text(a, span_make(text, n));
}

/* Docker's Size is that of the unpacked layers. What is not unpacked (load with another platform) counts as it came. */
uint64_t engine_image_size(struct engine *e, const struct image_info *i)
{
	char chain[65];
	uint64_t total = 0;
	struct snapshot_layer layer;
	if (image_top(e->images, &i->id, chain, NULL) < 0)
		return i->size;
	while (chain[0]) {
		if (snapshot_layer_get(e->snapshots, chain, &layer, NULL) < 0)
			return i->size;
		total += layer.bytes;
		if (snapshot_backend(e->snapshots) == SNAPSHOT_COPY)
			break; /* each layer is the whole tree up to it */
		memcpy(chain, layer.parent, sizeof(chain));
	}
	return total;
}
