/* Privileged, CapAdd and CapDrop. */
#include "container/private.h"
#include "sys/sys.h"

/* What a container may by default, as with Docker. */
static const char *const defaults[] = { "CAP_CHOWN",	 "CAP_DAC_OVERRIDE", "CAP_FSETID",     "CAP_FOWNER",	     "CAP_MKNOD",
					"CAP_NET_RAW",	 "CAP_SETGID",	     "CAP_SETUID",     "CAP_SETFCAP",	     "CAP_SETPCAP",
					"CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",  "CAP_AUDIT_WRITE" };

/* All that there is to give: what the kernel knows, less what was taken from us (an engine in a container). */
static uint64_t all_caps(void)
{
	int last = sys_caps_last();
	struct sys_caps own;
	uint64_t known = last >= 63 ? UINT64_MAX : (UINT64_C(1) << (last + 1)) - 1;
	return sys_caps_read(&own, NULL) < 0 ? known : known & own.bounding;
}

/* As Docker shows it: in capitals and whole, however it was said. */
static int unknown(const char *field, struct span name, struct err *err)
{
	auto_buf struct buf shown = {};
	if (name.len < 4 || !span_eq_nocase(span_sub(name, 0, 4), SPAN("CAP_")))
		buf_str(&shown, "CAP_");
	for (size_t i = 0; i < name.len; i++)
		buf_chr(&shown, (char)(name.ptr[i] >= 'a' && name.ptr[i] <= 'z' ? name.ptr[i] - 'a' + 'A' : name.ptr[i]));
	return err_set(err, ERR_INVALID_REQUEST, "invalid %s: unknown capability: \"%s\"", field, buf_cstr(&shown));
}

static int one(struct span name, const char *field, uint64_t *out, struct err *err)
{
	if (span_eq_nocase(name, SPAN("ALL"))) {
		*out = all_caps();
		return 0;
	}
	int cap = sys_caps_by_name(name);
	if (cap < 0)
		return unknown(field, name, err);
	*out = UINT64_C(1) << cap;
	/* Known to Linux, but not to this kernel: granting is impossible, dropping is done. */
	if (cap > sys_caps_last() && !strcmp(field, "CapAdd"))
		return err_set(err, ERR_INVALID_REQUEST, "invalid %s: capability not supported by your kernel or not available in the "
			"current environment: \"%.*s\"", field, SPAN_ARG(name));
	return 0;
}

int container_caps(const struct json *host, uint64_t *out_bits, struct err *err)
{
	uint64_t add = 0, drop = 0, bit, base = 0;
	bool add_all = false, drop_all = false;
	JSON_EACH_ITEM (json_getl(host, "CapAdd"), item) {
		int rc = one(json_span(item), "CapAdd", &bit, err);
		if (rc < 0)
			return rc;
		add_all |= bit == all_caps();
		add |= bit;
	}
	JSON_EACH_ITEM (json_getl(host, "CapDrop"), item) {
		int rc = one(json_span(item), "CapDrop", &bit, err);
		if (rc < 0)
			return rc;
		drop_all |= bit == all_caps();
		drop |= bit;
	}
	for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
		base |= UINT64_C(1) << sys_caps_by_name(span_of(defaults[i]));
	if (json_truth(json_getl(host, "Privileged"), false))
		*out_bits = all_caps();
	else if (add_all) /* all but what is dropped by name */
		*out_bits = drop_all ? 0 : all_caps() & ~drop;
	else if (drop_all)
		*out_bits = add;
	else
		*out_bits = (base & ~drop) | add;
	*out_bits &= all_caps();
	return 0;
}

int container_caps_ambient(const struct json *extra, uint64_t bits, uint64_t *out_bits, struct err *err)
{
	uint64_t all = 0, bit;
	JSON_EACH_ITEM (json_getl(extra, "Ambient"), item) {
		int rc = one(json_span(item), "Ambient", &bit, err);
		if (rc < 0)
			return rc;
		all |= bit;
	}
	*out_bits = all & bits;
	return 0;
}

void container_caps_write(struct json_out *o, uint64_t bits)
{
	json_out_begin_array(o);
	for (int i = 0; i < 64; i++)
		if ((bits >> i & 1) && sys_caps_name(i))
			json_out_span(o, span_of(sys_caps_name(i)));
	json_out_end(o);
}
