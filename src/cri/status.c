/* The runtime as a whole: version, conditions, configuration. */
#include <sys/syscall.h>

#include "cri/private.h"

void cri_version(struct cri_call *k, const void *in)
{
	const struct api_cri_version_response out = { .version = SPAN("0.1.0"), .runtime_name = SPAN("knarr"),
		.runtime_version = SPAN(KNARR_VERSION), .runtime_api_version = SPAN("v1") };
	cri_answer(k, &out);
}

/* mount_setattr(2) with AT_RECURSIVE came with Linux 5.12: an empty attribute is refused by a kernel that knows the call, too, but
 * otherwise. */
static bool has_recursive_read_only(void)
{
	return syscall(SYS_mount_setattr, -1, "", 0, NULL, (size_t)0) < 0 && errno != ENOSYS;
}

bool cri_selinux_there(void)
{
	return access("/sys/fs/selinux/enforce", F_OK) == 0;
}

static void text(struct json_out *o, const char *key, const char *value)
{
	json_out_key(o, span_of(key));
	json_out_span(o, span_of(value));
}

static struct span info_config(struct cri *c, struct arena *a)
{
	auto_buf struct buf b = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	text(&o, "sandboxImage", CRI_PAUSE_IMAGE);
	text(&o, "rootDir", c->p.data_dir);
	text(&o, "stateDir", c->p.run_dir);
	text(&o, "cgroupDriver", container_systemd(c->containers) ? "systemd" : "cgroupfs");
	text(&o, "snapshotter", snapshot_backend_name(snapshot_backend(c->p.snapshots)));
	json_out_key(&o, SPAN("cni"));
	json_out_begin(&o);
	text(&o, "binDir", c->p.cni_bin_dir);
	text(&o, "confDir", c->p.cni_conf_dir);
	json_out_end(&o);
	json_out_end(&o);
	return arena_span(a, buf_span(&b));
}

static struct span quoted(struct arena *a, const char *s)
{
	auto_buf struct buf b = {};
	json_write_string(&b, span_of(s), 0);
	return arena_span(a, buf_span(&b));
}

void cri_status(struct cri_call *k, const void *in)
{
	const struct api_cri_status_request *q = in;
	struct cri *c = k->cri;
	struct arena *a = &k->arena;
	const char *why = "OK";
	const struct json *net = cri_cni_config(c->cni, &why);
	struct api_cri_runtime_condition conditions[] = {
		{ .type = SPAN("RuntimeReady"), .status = true },
		{ .type = SPAN("NetworkReady"), .status = net != NULL },
	};
	if (!net) {
		conditions[1].reason = SPAN("NetworkPluginNotReady");
		conditions[1].message = arena_printf(a, "Network plugin returns error: %s", why);
	}
	struct api_cri_runtime_status status = {};
	status.conditions.ptr = conditions;
	status.conditions.n = ARRAY_LEN(conditions);
	struct api_cri_runtime_handler_features features = { .recursive_read_only_mounts = has_recursive_read_only() };
	struct api_cri_runtime_handler handlers[] = { { .features = &features }, { SPAN("knarr"), &features },
		{ SPAN("runc"), &features } };
	struct api_cri_runtime_features whole = { .supplemental_groups_policy = true };
	struct api_cri_status_response out = { .status = &status, .features = &whole };
	out.runtime_handlers.ptr = handlers;
	out.runtime_handlers.n = ARRAY_LEN(handlers);
	struct api_pair info[3];
	if (q->verbose) {
		auto_buf struct buf b = {};
		if (net)
			json_write(&b, net, 0);
		info[0] = (struct api_pair){ SPAN("cniconfig"), net ? arena_span(a, buf_span(&b)) : SPAN("{}") };
		info[1] = (struct api_pair){ SPAN("config"), info_config(c, a) };
		info[2] = (struct api_pair){ SPAN("lastCNILoadStatus"), quoted(a, net ? "OK" : why) };
		out.info.ptr = info;
		out.info.n = ARRAY_LEN(info);
	}
	cri_answer(k, &out);
}

void cri_runtime_config(struct cri_call *k, const void *in)
{
	enum { SYSTEMD, CGROUPFS }; /* CgroupDriver */
	struct api_cri_linux_runtime_configuration conf = {};
	conf.cgroup_driver = container_systemd(k->cri->containers) ? SYSTEMD : CGROUPFS;
	const struct api_cri_runtime_config_response out = { .linux_ = &conf };
	cri_answer(k, &out);
}

/* Plugins that can take address ranges at run time get it (cri.h: capability ipRanges); others have it in their configuration. */
void cri_update_runtime_config(struct cri_call *k, const void *in)
{
	const struct api_cri_update_runtime_config_request *q = in;
	const struct api_cri_network_config *n = q->runtime_config ? q->runtime_config->network_config : NULL;
	struct span rest = n ? n->pod_cidr : SPAN_EMPTY, one;
	while (span_cut(&rest, ',', &one)) { /* with two families: one of each, as node.spec.podCIDRs joined */
		struct api_ip ip;
		unsigned bits;
		if (!api_cidr_parse(span_trim(one), &ip, &bits)) {
			cri_fail_with(k, ERR_INVALID_REQUEST, "invalid pod CIDR \"%.*s\"", SPAN_ARG(one));
			return;
		}
	}
	if (n && n->pod_cidr.len) {
		free(k->cri->pod_cidr);
		k->cri->pod_cidr = mem_dup(n->pod_cidr.ptr, n->pod_cidr.len);
	}
	cri_answer_empty(k);
}
