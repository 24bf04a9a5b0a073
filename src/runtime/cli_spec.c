/* spec: a config.json to start from. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cli.h"

static const char template_text[] =
	"{\"ociVersion\":\"1.2.0\",\"process\":{\"terminal\":true,\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"sh\"],"
	"\"env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"TERM=xterm\"],\"cwd\":\"/\","
	"\"capabilities\":{\"bounding\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],"
	"\"effective\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],"
	"\"permitted\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"]},"
	"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1024,\"soft\":1024}],\"noNewPrivileges\":true},"
	"\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"knarr\","
	"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/"
	"dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size="
	"65536k\"]},"
	"{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\","
	"\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\"%s]},"
	"{\"destination\":\"/dev/"
	"shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size="
	"65536k\"]},"
	"{\"destination\":\"/dev/"
	"mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
	"{\"destination\":\"/"
	"sys\",\"type\":\"%s\",\"source\":\"%s\",\"options\":[%s\"nosuid\",\"noexec\",\"nodev\",\"ro\"]}"
	"%s],"
	"\"linux\":{%s\"namespaces\":[{\"type\":\"pid\"},%s{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},{"
	"\"type\":\"cgroup\"}%s],"
	"\"maskedPaths\":[\"/proc/acpi\",\"/proc/asound\",\"/proc/kcore\",\"/proc/keys\",\"/proc/latency_stats\",\"/"
	"proc/timer_list\","
	"\"/proc/timer_stats\",\"/proc/sched_debug\",\"/sys/firmware\",\"/proc/scsi\"],"
	"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/sysrq-trigger\"]}}";

int runtime_cli_spec(int argc, char **argv, struct err *err)
{
	const char *bundle = ".";
	bool rootless = false;
	const struct cli_option options[] = { { "bundle b", CLI_TEXT, &bundle, NULL },
					      { "rootless", CLI_FLAG, &rootless, NULL } };
	int r = runtime_cli_parse(options, ARRAY_LEN(options), &argc, &argv, err);
	r = r < 0 ? r : runtime_cli_count(argc, 0, 0, err);
	if (r < 0)
		return r;
	auto_buf struct buf text = {}, pretty = {};
	const char *maps = "";
	if (rootless)
		maps = arena_printf(&runtime_cli.arena,
				    "\"uidMappings\":[{\"containerID\":0,\"hostID\":%u,\"size\":1}],"
				    "\"gidMappings\":[{\"containerID\":0,\"hostID\":%u,\"size\":1}],",
				    geteuid(), getegid())
			       .ptr;
	buf_printf(&text, template_text, rootless ? "" : ",\"gid=5\"", rootless ? "none" : "sysfs",
		   rootless ? "/sys" : "sysfs", rootless ? "\"rbind\"," : "",
		   rootless ? ""
			    : ",{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\","
			      "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"relatime\",\"ro\"]}",
		   maps, rootless ? "" : "{\"type\":\"network\"},", rootless ? ",{\"type\":\"user\"}" : "");
	struct json v;
	r = json_parse(&runtime_cli.arena, buf_span(&text), 0, NULL, &v, err);
	if (r < 0)
		return r;
	json_write(&pretty, &v, JSON_PRETTY | JSON_TABS);
	auto_fd int dir = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "bundle %s", bundle);
	auto_fd int fd = openat(dir, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		return err_set(err, ERR_EXISTS, "file config.json exists. Remove it first");
	if (fd < 0)
		return err_sys(err, "make config.json");
	return io_write_all(fd, pretty.ptr, pretty.len, err);
}
