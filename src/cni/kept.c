/* What the kernel forgets when somebody flushes its ruleset: which ports of the host lead to which pod.
 *
 *     STATE/NETWORK+ports/k0-x2m5qa1c     "6 8080 80 -\n17 53 5353 192.0.2.7\n"
 *                                          protocol, host's port, pod's port, address or -
 *
 * A file belongs to the lease that names its interface; without one it means nothing. No network's name has a "+". File and kernel
 * change under the lock of the network's folder: who makes the table again holds all of them, and sees either both or neither. Not
 * synced: the files mean no more than the kernel's table, which no restart of the machine survives either. */
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <unistd.h>

#include "cni/private.h"

#define KEPT_MAX (CNI_PORTS_MAX * (SYS_ADDR_TEXT + 16))

static const char *place(struct cni_call *c, const struct cni_lease *l, struct buf *out)
{
	buf_printf(out, "%s/%.*s+ports", c->state, SPAN_ARG(c->name));
	if (l)
		buf_printf(out, "/%s", l->host);
	return buf_cstr(out);
}

int cni_kept_write(struct cni_call *c, const struct cni_lease *l)
{
	auto_buf struct buf folder = { 0 }, path = { 0 }, text = { 0 };
	if (!c->n_ports) {
		cni_kept_remove(c, l);
		return 0;
	}
	for (unsigned i = 0; i < c->n_ports; i++) {
		const struct cni_port *p = &c->ports[i];
		char at[SYS_ADDR_TEXT];
		buf_printf(&text, "%u %u %u %s\n", p->protocol, p->host, p->pod, p->at.family ? sys_addr_text(&p->at, at) : "-");
	}
	if (io_mkdirs(AT_FDCWD, place(c, NULL, &folder), 0700, &c->err) < 0 ||
	    io_write_file_lazy(AT_FDCWD, place(c, l, &path), buf_span(&text), 0600, &c->err) < 0)
		return cni_fail_with(c, CNI_IO);
	return 0;
}

void cni_kept_remove(struct cni_call *c, const struct cni_lease *l)
{
	auto_buf struct buf path = { 0 };
	if (l->host[0])
		(void)unlink(place(c, l, &path)); /* most pods have none */
}

void cni_kept_lock(struct cni_call *c, struct cni_kept *k)
{
	struct dirent *e;
	DIR *d = opendir(c->state);
	k->n = 0;
	while (d && k->n < ARRAY_LEN(k->dirs) && (e = readdir(d))) {
		if (e->d_name[0] == '.' || strchr(e->d_name, '+'))
			continue;
		int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc = -1;
		while (fd >= 0 && (rc = flock(fd, LOCK_EX)) < 0 && errno == EINTR)
			;
		if (rc == 0)
			k->dirs[k->n++] = fd;
		else
			fd_close(&fd);
	}
	if (d)
		closedir(d);
}

void cni_kept_done(struct cni_kept *k)
{
	while (k->n)
		close(k->dirs[--k->n]);
}

struct reading {
	void (*fn)(void *arg, const struct cni_lease *l, const struct cni_port *ports, unsigned n);
	void *arg;
	struct span folder; /* STATE/NETWORK+ports */
};

static bool port_read(struct span line, struct cni_port *out)
{
	struct span f[4];
	uint64_t n[3];
	for (int i = 0; i < 4; i++)
		if (!span_cut(&line, ' ', &f[i]) || (i < 3 && (!span_to_u64(f[i], &n[i]) || n[i] > 65535)))
			return false;
	*out = (struct cni_port){ .protocol = (uint8_t)n[0], .host = (uint16_t)n[1], .pod = (uint16_t)n[2] };
	return n[0] < 256 && (span_is(f[3], "-") || sys_addr_parse(f[3], &out->at));
}

static int on_lease(void *arg, struct span container, struct span ifname, const struct cni_lease *one)
{
	struct reading *r = arg;
	auto_buf struct buf path = { 0 }, text = { 0 };
	struct span rest, line;
	unsigned n = 0;
	buf_printf(&path, "%.*s/%s", SPAN_ARG(r->folder), one->host);
	if (io_read_file(AT_FDCWD, buf_cstr(&path), &text, KEPT_MAX, NULL) < 0)
		return 0; /* no ports */
	auto_free struct cni_port *ports = mem_realloc_n(NULL, CNI_PORTS_MAX, sizeof(*ports));
	rest = buf_span(&text);
	while (n < CNI_PORTS_MAX && span_cut(&rest, '\n', &line))
		n += port_read(line, &ports[n]);
	r->fn(r->arg, one, ports, n);
	return 0;
}

int cni_kept_each(struct cni_call *c, const struct cni_kept *k,
		  void (*fn)(void *arg, const struct cni_lease *l, const struct cni_port *ports, unsigned n), void *arg)
{
	int rc = 0;
	for (unsigned i = 0; i < k->n && rc == 0; i++) {
		char self[32], name[4096];
		auto_buf struct buf folder = { 0 };
		struct cni_call one = { .dir = k->dirs[i] };
		snprintf(self, sizeof(self), "/proc/self/fd/%d", k->dirs[i]);
		ssize_t n = readlink(self, name, sizeof(name));
		if (n <= 0 || n == sizeof(name))
			continue;
		buf_printf(&folder, "%.*s+ports", (int)n, name);
		struct reading r = { .fn = fn, .arg = arg, .folder = buf_span(&folder) };
		rc = cni_lease_each(&one, on_lease, &r);
		if (rc < 0) {
			err_move(&c->err, &one.err);
			rc = cni_fail_with(c, CNI_IO);
		}
		err_done(&one.err);
	}
	return rc;
}
