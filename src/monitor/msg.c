/* See msg.h and monitor.h. A SPAWN's payload: struct spawn_fixed, then the texts of `texts` in order, each a u16 length
 * (with the 0 byte; 0 = not given) and its bytes. */
#include <limits.h>
#include <string.h>

#include "monitor/msg.h"
#include "sys/sys.h"

enum { LOG_NAME_MAX = NAME_MAX - 8 }; /* ".999.gz" */

struct spawn_fixed {
	uint32_t flags, max_files;
	uint64_t max_bytes;
	uint16_t rows, cols;
	uint8_t format, n_sockets;
	uint16_t zero;
};

static const struct {
	const char *name;
	size_t offset;
	bool needed;
} texts[] = {
	{ "id", offsetof(struct monitor_spawn, id), true },
	{ "root", offsetof(struct monitor_spawn, root), true },
	{ "cache", offsetof(struct monitor_spawn, cache), false },
	{ "config", offsetof(struct monitor_spawn, config), false },
	{ "log_name", offsetof(struct monitor_spawn, log_name), false },
	{ "log_attrs", offsetof(struct monitor_spawn, log_attrs), false },
};

static const char **text_at(const struct monitor_spawn *s, size_t i)
{
	return (const char **)((const char *)s + texts[i].offset);
}

/* What both sides hold to be true; the maker is told before it sends. */
static int spawn_check(const struct monitor_spawn *s, struct err *err)
{
	if (s->flags & ~(unsigned)MONITOR_FLAGS_ALL)
		return err_set(err, ERR_INVALID, "flags: unknown %#x", s->flags & ~(unsigned)MONITOR_FLAGS_ALL);
	if ((unsigned)s->format >= MONITOR_LOG_COUNT)
		return err_set(err, ERR_INVALID, "format: unknown %d", (int)s->format);
	if (s->max_files > MONITOR_FILES_MAX)
		return err_set(err, ERR_INVALID, "max_files: %u is more than %d", s->max_files, MONITOR_FILES_MAX);
	if (s->n_sockets > MONITOR_SOCKETS_MAX)
		return err_set(err, ERR_INVALID, "n_sockets: %u is more than %d", s->n_sockets, MONITOR_SOCKETS_MAX);
	if ((s->flags & MONITOR_EXEC) && s->n_sockets)
		return err_set(err, ERR_INVALID, "n_sockets: with EXEC none are held");
	if ((s->flags & MONITOR_STDIO) && (s->flags & (MONITOR_TERMINAL | MONITOR_OPEN_STDIN)))
		return err_set(err, ERR_INVALID, "flags: STDIO excludes TERMINAL and OPEN_STDIN");
	if ((s->flags & MONITOR_STDIO) && s->format != MONITOR_LOG_NONE)
		return err_set(err, ERR_INVALID, "format: with STDIO nothing passes here that could be logged");
	if ((s->flags & MONITOR_COMPRESS) && (s->format != MONITOR_LOG_DOCKER || s->max_files < 2))
		return err_set(err, ERR_INVALID, "flags: COMPRESS is for Docker's logs of at least two files");
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const char *t = *text_at(s, i);
		if (!t && texts[i].needed)
			return err_set(err, ERR_INVALID, "%s: missing", texts[i].name);
		if (t && (!*t || strlen(t) >= MONITOR_TEXT_MAX))
			return err_set(err, ERR_INVALID, "%s: empty, or longer than %d bytes", texts[i].name,
				       MONITOR_TEXT_MAX - 1);
	}
	if (strlen(s->id) > NAME_MAX)
		return err_set(err, ERR_INVALID, "id: longer than a file name");
	if (s->root[0] != '/')
		return err_set(err, ERR_INVALID, "root: %.100s is not absolute", s->root);
	if ((s->format != MONITOR_LOG_NONE) != (s->log_name != NULL))
		return err_set(err, ERR_INVALID, "log_name: a log has one, and no other thing has");
	if (s->log_attrs && (s->format != MONITOR_LOG_DOCKER || s->log_attrs[0] != '{' || strchr(s->log_attrs, '\n')))
		return err_set(err, ERR_INVALID, "log_attrs: one line, an object, and of Docker's format alone");
	if (s->log_name && (strchr(s->log_name, '/') || strlen(s->log_name) > LOG_NAME_MAX ||
			    !strcmp(s->log_name, ".") || !strcmp(s->log_name, "..")))
		return err_set(err, ERR_INVALID, "log_name: \"%.100s\" is no file name of at most %d bytes", s->log_name, LOG_NAME_MAX);
	return 0;
}

static unsigned spawn_fds(struct monitor_spawn *s, int **out)
{
	unsigned n = 0;
	out[n++] = &s->state_dir;
	out[n++] = &s->bundle;
	if (s->format != MONITOR_LOG_NONE)
		out[n++] = &s->log_dir;
	for (int i = 0; i < 3 && (s->flags & MONITOR_STDIO); i++)
		out[n++] = &s->stdio[i];
	for (unsigned i = 0; i < s->n_sockets; i++)
		out[n++] = &s->sockets[i];
	return n;
}

ssize_t monitor_spawn_encode(const struct monitor_spawn *s, uint16_t tag, void *out, int *fds, unsigned *out_n_fds,
			     struct err *err)
{
	int r = spawn_check(s, err);
	if (r < 0)
		return r;
	struct monitor_spawn copy = *s;
	int *from[MONITOR_SPAWN_FDS];
	unsigned n_fds = spawn_fds(&copy, from);
	for (unsigned i = 0; i < n_fds; i++) {
		if (*from[i] < 0)
			return err_set(err, ERR_INVALID, "descriptor %u of %u is missing", i, n_fds);
		fds[i] = *from[i];
	}
	struct spawn_fixed fixed = { .flags = s->flags,
				     .max_files = s->max_files,
				     .max_bytes = s->max_bytes,
				     .rows = s->rows,
				     .cols = s->cols,
				     .format = (uint8_t)s->format,
				     .n_sockets = (uint8_t)s->n_sockets };
	char *p = (char *)out + sizeof(struct monitor_head);
	memcpy(p, &fixed, sizeof(fixed));
	p += sizeof(fixed);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const char *t = *text_at(s, i);
		uint16_t len = t ? (uint16_t)(strlen(t) + 1) : 0;
		memcpy(p, &len, sizeof(len));
		if (len)
			memcpy(p + sizeof(len), t, len);
		p += sizeof(len) + len;
	}
	size_t total = (size_t)(p - (char *)out);
	struct monitor_head head = { .version = MONITOR_VERSION,
				     .op = MONITOR_SPAWN,
				     .tag = tag,
				     .len = (uint32_t)(total - sizeof(head)) };
	memcpy(out, &head, sizeof(head));
	*out_n_fds = n_fds;
	return (ssize_t)total;
}

int monitor_msg_head(const void *packet, size_t len, struct monitor_head *out, struct err *err)
{
	struct monitor_head h;
	if (len < sizeof(h))
		return err_set(err, ERR_INVALID_REQUEST, "a packet of %zu bytes is shorter than its head", len);
	memcpy(&h, packet, sizeof(h));
	if (h.version != MONITOR_VERSION)
		return err_set(err, ERR_INVALID_REQUEST, "version %u, this is version %d", h.version, MONITOR_VERSION);
	if (h.len != len - sizeof(h))
		return err_set(err, ERR_INVALID_REQUEST, "%u bytes announced, %zu came", h.len, len - sizeof(h));
	*out = h;
	return 0;
}

int monitor_msg_request(const void *packet, size_t len, struct monitor_head *out, struct err *err)
{
	struct monitor_head h;
	int r = monitor_msg_head(packet, len, &h, err);
	if (r < 0)
		return r;
	if (h.op <= MONITOR_SPAWN || h.op >= MONITOR_REQUEST_COUNT)
		return err_set(err, ERR_INVALID_REQUEST, "unknown request %u", h.op);
	if (h.op == MONITOR_STDIN ? h.len > MONITOR_INPUT_MAX : h.len != 0)
		return err_set(err, ERR_INVALID_REQUEST, "request %u with %u bytes", h.op, h.len);
	if (h.op == MONITOR_KILL && (h.a < 1 || h.a > 64))
		return err_set(err, ERR_INVALID, "no signal has the number %d", h.a);
	if (h.op == MONITOR_RESIZE && (h.a < 0 || h.a > 65535 || h.b < 0 || h.b > 65535))
		return err_set(err, ERR_INVALID, "a terminal of %d rows and %d columns", h.a, h.b);
	if (h.op == MONITOR_ATTACH &&
	    (h.a < 1 || h.a > (MONITOR_TAKE_STDIN | MONITOR_TAKE_STDOUT | MONITOR_TAKE_STDERR)))
		return err_set(err, ERR_INVALID, "attach to streams %#x", (unsigned)h.a);
	if (h.op == MONITOR_ATTACH && (h.b < 0 || h.b > MONITOR_PATIENCE_MAX_MS))
		return err_set(err, ERR_INVALID, "a patience of %d ms", h.b);
	*out = h;
	return 0;
}

int monitor_msg_spawn(const void *packet, size_t len, const int *fds, unsigned n_fds, struct monitor_spawn *out,
		      struct err *err)
{
	struct monitor_head h;
	struct spawn_fixed fixed;
	int r = monitor_msg_head(packet, len, &h, err);
	if (r < 0)
		return r;
	if (h.op != MONITOR_SPAWN)
		return err_set(err, ERR_INVALID_REQUEST, "the spawner does not know request %u", h.op);
	if (h.len < sizeof(fixed))
		return err_set(err, ERR_INVALID_REQUEST, "%u bytes are too few", h.len);
	const char *p = (const char *)packet + sizeof(h), *end = (const char *)packet + len;
	memcpy(&fixed, p, sizeof(fixed));
	p += sizeof(fixed);
	struct monitor_spawn s = { .flags = fixed.flags,
				   .format = (enum monitor_log_format)fixed.format,
				   .max_bytes = fixed.max_bytes,
				   .max_files = fixed.max_files,
				   .rows = fixed.rows,
				   .cols = fixed.cols,
				   .n_sockets = fixed.n_sockets,
				   .log_dir = -1,
				   .stdio = { -1, -1, -1 } };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		uint16_t n;
		if (end - p < (ptrdiff_t)sizeof(n))
			return err_set(err, ERR_INVALID_REQUEST, "%s: the packet ends", texts[i].name);
		memcpy(&n, p, sizeof(n));
		p += sizeof(n);
		if (end - p < n || (n && memchr(p, 0, n) != p + n - 1))
			return err_set(err, ERR_INVALID_REQUEST, "%s: no text of %u bytes", texts[i].name, n);
		*text_at(&s, i) = n ? p : NULL;
		p += n;
	}
	if (p != end || fixed.zero)
		return err_set(err, ERR_INVALID_REQUEST, "%td bytes too many", end - p);
	r = spawn_check(&s, err);
	if (r < 0)
		return r;
	int *to[MONITOR_SPAWN_FDS];
	unsigned want = spawn_fds(&s, to);
	if (want != n_fds)
		return err_set(err, ERR_INVALID_REQUEST, "%u descriptors came, %u belong to such a request", n_fds,
			       want);
	for (unsigned i = 0; i < want; i++)
		*to[i] = fds[i];
	*out = s;
	return 0;
}

ssize_t monitor_msg_send(int sock, const struct monitor_head *head, struct span payload, const int *fds,
			 unsigned n_fds, int flags)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)head, sizeof(*head) },
				{ (void *)(uintptr_t)payload.ptr, payload.len } };
	return sys_message_send(sock, iov, payload.len ? 2 : 1, fds, n_fds, flags);
}
