/* The bundle that benches run: what an engine asks for (six namespaces, Docker's mounts and masks), around an ELF file
 * of 140 bytes, so that what is measured is the runtime. See bundle.h. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "bundle.h"

static void elf_write(const char *path, const unsigned char *code, size_t len)
{
	unsigned char f[200] = { 0x7f, 'E', 'L', 'F', 2, 1, 1, [16] = 2, [18] = 62, [20] = 1 };
	uint64_t base = 0x400000, entry = base + 120, off = 64, size = 120 + len, align = 4096;
	uint32_t type = 1, flags = 5;
	uint16_t ehsize = 64, phsize = 56, one = 1;
	memcpy(f + 24, &entry, 8);
	memcpy(f + 32, &off, 8);
	memcpy(f + 52, &ehsize, 2);
	memcpy(f + 54, &phsize, 2);
	memcpy(f + 56, &one, 2);
	memcpy(f + 64, &type, 4);
	memcpy(f + 68, &flags, 4);
	memcpy(f + 80, &base, 8);
	memcpy(f + 88, &base, 8);
	memcpy(f + 96, &size, 8);
	memcpy(f + 104, &size, 8);
	memcpy(f + 112, &align, 8);
	memcpy(f + 120, code, len);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (fd < 0 || write(fd, f, size) != (ssize_t)size)
		abort();
	close(fd);
}

static const char config_text[] =
	"{\"ociVersion\":\"1.0.2\",\"process\":{\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"%s\"],\"env\":[\"PATH=/"
	"bin\",\"HOME=/\"],\"cwd\":\"/\","
	"\"capabilities\":{\"bounding\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],\"effective\":["
	"\"CAP_AUDIT_WRITE\","
	"\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],\"permitted\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_"
	"SERVICE\"]},"
	"\"noNewPrivileges\":true},\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"bench\",\"mounts\":["
	"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/"
	"dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size="
	"65536k\"]},"
	"{\"destination\":\"/dev/"
	"pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode="
	"0666\",\"mode=0620\",\"gid=5\"]},"
	"{\"destination\":\"/dev/"
	"shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size="
	"65536k\"]},"
	"{\"destination\":\"/dev/"
	"mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
	"{\"destination\":\"/"
	"sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]}],"
	"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},{"
	"\"type\":\"cgroup\"}%s],"
	"\"maskedPaths\":[\"/proc/acpi\",\"/proc/kcore\",\"/proc/keys\",\"/proc/latency_stats\",\"/proc/"
	"timer_list\",\"/proc/sched_debug\",\"/sys/firmware\",\"/proc/scsi\"],"
	"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/sysrq-trigger\"]%s}}";

void bench_bundle_make(const char *dir, const char *program, const char *network, const char *profile)
{
	/* xor edi, edi; mov eax, 60 (exit); syscall */
	static const unsigned char exits[] = { 0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05 };
	/* mov eax, 34 (pause); syscall; jmp back */
	static const unsigned char waits[] = { 0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7 };
	char path[256];
	auto_buf struct buf seccomp = {}, ns = {}, text = {};
	mkdir(dir, 0755);
	snprintf(path, sizeof(path), "%s/rootfs", dir);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/rootfs/true", dir);
	elf_write(path, exits, sizeof(exits));
	snprintf(path, sizeof(path), "%s/rootfs/pause", dir);
	elf_write(path, waits, sizeof(waits));
	if (profile) {
		buf_str(&seccomp, ",\"seccomp\":");
		if (io_read_file(AT_FDCWD, profile, &seccomp, 1 << 20, NULL) < 0) {
			fprintf(stderr, "bench: %s is missing; run from the source tree\n", profile);
			exit(1);
		}
	}
	if (network)
		buf_printf(&ns, *network ? ",{\"type\":\"network\",\"path\":\"%s\"}" : ",{\"type\":\"network\"}", network);
	buf_printf(&text, config_text, program, buf_cstr(&ns), profile ? buf_cstr(&seccomp) : "");
	snprintf(path, sizeof(path), "%s/config.json", dir);
	if (io_write_file_lazy(AT_FDCWD, path, buf_span(&text), 0644, NULL) < 0)
		abort();
}
