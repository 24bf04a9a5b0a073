/* The machine, from /proc, /sys and /etc. */
#include "kubelet/machine.h"

#include "api/api.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

static void line_of(const char *path, char *out, size_t size)
{
	auto_buf struct buf text = {};
	out[0] = 0;
	if (io_read_file(AT_FDCWD, path, &text, 4096, NULL) == 0)
		(void)snprintf(out, size, "%.*s", SPAN_ARG(span_trim(buf_span(&text))));
}

/* A number of /proc/meminfo, in bytes. */
static int64_t meminfo(const char *key)
{
	auto_buf struct buf text = {};
	struct span rest, line, head, tail;
	uint64_t kib;
	if (io_read_file(AT_FDCWD, "/proc/meminfo", &text, 1 << 16, NULL) < 0)
		return 0;
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &line)) {
		if (!span_split(line, ':', &head, &tail) || !span_is(head, key))
			continue;
		(void)span_split(span_trim(tail), ' ', &head, &tail);
		return span_to_u64(head, &kib) ? (int64_t)kib * 1024 : 0;
	}
	return 0;
}

static void os_image(char *out, size_t size)
{
	auto_buf struct buf text = {};
	struct span rest, line, key, value;
	(void)snprintf(out, size, "Linux");
	if (io_read_file(AT_FDCWD, "/etc/os-release", &text, 1 << 16, NULL) < 0)
		return;
	rest = buf_span(&text);
	while (span_cut(&rest, '\n', &line)) {
		if (!span_split(line, '=', &key, &value) || !span_is(key, "PRETTY_NAME"))
			continue;
		if (value.len >= 2 && value.ptr[0] == '"')
			value = span_sub(value, 1, value.len - 1);
		(void)snprintf(out, size, "%.*s", SPAN_ARG(value));
	}
}

void kl_machine_read(struct machine *m, const char *root_dir)
{
	struct utsname u = {};
	uint64_t total = 0, avail, inodes, inodes_free;
	*m = (struct machine){};
	(void)uname(&u);
	m->cpus = MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
	m->memory = meminfo("MemTotal");
	(void)io_mkdirs(AT_FDCWD, root_dir, 0750, NULL);
	(void)kl_machine_disk(root_dir, &total, &avail, &inodes, &inodes_free);
	m->storage = (int64_t)total;
	m->arch = strcmp(u.machine, "x86_64") == 0 ? "amd64" : strcmp(u.machine, "aarch64") == 0 ? "arm64" :
		  strcmp(u.machine, "riscv64") == 0 ? "riscv64" : strcmp(u.machine, "ppc64le") == 0 ? "ppc64le" :
		  strcmp(u.machine, "s390x") == 0 ? "s390x" : "unknown";
	(void)snprintf(m->kernel, sizeof(m->kernel), "%s", u.release);
	line_of("/etc/machine-id", m->machine_id, sizeof(m->machine_id));
	line_of("/sys/class/dmi/id/product_uuid", m->system_uuid, sizeof(m->system_uuid));
	if (!m->system_uuid[0])
		memcpy(m->system_uuid, m->machine_id, sizeof(m->system_uuid));
	line_of("/proc/sys/kernel/random/boot_id", m->boot_id, sizeof(m->boot_id));
	os_image(m->os_image, sizeof(m->os_image));
}

bool kl_machine_disk(const char *path, uint64_t *out_total, uint64_t *out_avail, uint64_t *out_inodes, uint64_t *out_inodes_free)
{
	struct statvfs v;
	*out_total = *out_avail = *out_inodes = *out_inodes_free = 0;
	if (statvfs(path, &v) < 0)
		return false;
	*out_total = (uint64_t)v.f_blocks * v.f_frsize;
	*out_avail = (uint64_t)v.f_bavail * v.f_frsize;
	*out_inodes = v.f_files;
	*out_inodes_free = v.f_favail;
	return true;
}

int64_t kl_machine_memory_available(void)
{
	return meminfo("MemAvailable");
}

int64_t kl_machine_pids_max(void)
{
	char text[32];
	int64_t n;
	line_of("/proc/sys/kernel/pid_max", text, sizeof(text));
	return span_to_i64(span_of(text), &n) ? n : 0;
}

int64_t kl_machine_pids_available(void)
{
	struct sysinfo si;
	return sysinfo(&si) < 0 ? INT64_MAX : kl_machine_pids_max() - si.procs;
}

int64_t kl_machine_reserved(struct span list, const char *name, char sep, int64_t whole)
{
	struct span rest = list, one, key, value;
	while (span_cut(&rest, ',', &one)) {
		int64_t percent;
		struct api_quantity q;
		if (!span_split(span_trim(one), sep, &key, &value) || !span_is(key, name))
			continue;
		if (span_ends(value, SPAN("%")))
			return span_to_i64(span_sub(value, 0, value.len - 1), &percent) && percent >= 0 && percent <= 100
				       ? whole / 100 * percent : 0;
		if (api_quantity_parse(value, &q, NULL) < 0)
			return 0;
		return strcmp(name, "cpu") == 0 ? api_quantity_milli(&q) : api_quantity_value(&q);
	}
	return 0;
}

bool kl_machine_address(const char *host, bool v6, char out[46])
{
	struct addrinfo *list = NULL, hints = { .ai_socktype = SOCK_DGRAM, .ai_family = v6 ? AF_INET6 : AF_INET,
						.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);
	if (getaddrinfo(host, "9", &hints, &list) != 0)
		return false;
	/* No packet leaves: connecting a datagram socket only chooses the route. */
	auto_fd int fd = socket(list->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && connect(fd, list->ai_addr, list->ai_addrlen) == 0 && getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
		  getnameinfo((struct sockaddr *)&own, len, out, 46, NULL, 0, NI_NUMERICHOST) == 0;
	freeaddrinfo(list);
	return ok;
}
