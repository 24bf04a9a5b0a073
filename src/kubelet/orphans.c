/* What pods left behind that nobody knows any more: the kubelet was away when they went. Looked for once, when both the sources
 * and the runtime are known: whatever is still there then belongs to no pod. */
#include "kubelet/cgroups.h"
#include "kubelet/files.h"
#include "kubelet/pod.h"
#include "kubelet/volume.h"

#include <dirent.h>

struct orphan {
	struct kl *k;
	char uid[];
};

static void on_purged(void *arg)
{
	struct orphan *o = arg;
	o->k->folders_out--;
	log_info("folder of a pod that is gone was removed", kv_str("uid", o->uid));
	free(o);
}

static void purge(struct kl *k, const char *uid)
{
	size_t len = strlen(uid);
	struct orphan *o = mem_zalloc(sizeof(*o) + len + 1);
	o->k = k;
	memcpy(o->uid, uid, len);
	k->folders_out++;
	kl_volumes_purge(k->volumes, span_of(o->uid), on_purged, o);
}

static void pods(struct kl *k)
{
	auto_buf struct buf path = {};
	buf_printf(&path, "%.*s/pods", SPAN_ARG(k->o->root_dir));
	DIR *d = opendir(buf_cstr(&path));
	for (struct dirent *e; d && (e = readdir(d));)
		/* Deep folders of a removal that was not finished stand here, too. */
		if ((e->d_name[0] != '.' && !map_get(&k->pods, span_of(e->d_name))) || span_starts(span_of(e->d_name), SPAN(".deep-")))
			purge(k, e->d_name);
	if (d)
		(void)closedir(d);
}

/* NS_NAME_UID */
static void logs(struct kl *k)
{
	DIR *d = opendir(k->o->pod_log_dir.ptr);
	for (struct dirent *e; d && (e = readdir(d));) {
		auto_buf struct buf path = {};
		struct span name = span_of(e->d_name);
		ptrdiff_t at = span_rchr(name, '_');
		if (e->d_name[0] == '.' || at < 0 || span_chr(name, '_') == at || map_get(&k->pods, span_from(name, (size_t)at + 1)))
			continue;
		buf_printf(&path, "%.*s/%s", SPAN_ARG(k->o->pod_log_dir), e->d_name);
		(void)kl_tree_remove(buf_cstr(&path), NULL);
	}
	if (d)
		(void)closedir(d);
}

void kl_orphans_sweep(struct kl *k)
{
	if (k->orphans_swept || !k->pods_synced || !k->runtime_known)
		return;
	k->orphans_swept = true;
	pods(k);
	logs(k);
	kl_cgroups_sweep(k);
}
