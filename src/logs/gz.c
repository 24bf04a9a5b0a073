/* A rotated file that was compressed: gzip (RFC 1952), inflated as it is read.
 *
 * The state takes 75 KB, whatever the file holds: a window of 32 KB, as much input, zlib's own. A file is read to where it ended
 * when it was opened, so that it comes to an end. */
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "logs/private.h"

enum { IN_BYTES = 32 * 1024, HEAD = 10, FLG_EXTRA = 4 };

struct logs_gz {
	z_stream z;
	int fd; /* borrowed */
	uint64_t at, size;
	bool within; /* a member has begun and not ended */
	bool members; /* one has ended */
	uint8_t in[IN_BYTES];
};

int logs_gz_open(int fd, struct logs_gz **out_gz, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat");
	struct logs_gz *g = mem_new(struct logs_gz);
	g->fd = fd;
	g->size = (uint64_t)st.st_size;
	if (inflateInit2(&g->z, 15 + 16) != Z_OK) {
		free(g);
		return err_set(err, ERR_INTERNAL, "zlib cannot begin");
	}
	*out_gz = g;
	return 0;
}

void logs_gz_free(struct logs_gz *g)
{
	if (!g)
		return;
	(void)inflateEnd(&g->z);
	free(g);
}

/* 1: there is input, 0: the file has ended. */
static int refill(struct logs_gz *g, struct err *err)
{
	if (g->z.avail_in)
		return 1;
	size_t want = (size_t)MIN(g->size - g->at, (uint64_t)IN_BYTES);
	ssize_t n;
	do
		n = want ? pread(g->fd, g->in, want, (off_t)g->at) : 0;
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "read");
	g->at += (uint64_t)n;
	g->z.next_in = g->in;
	g->z.avail_in = (unsigned)n;
	return n > 0;
}

ssize_t logs_gz_read(struct logs_gz *g, char *to, size_t cap, struct err *err)
{
	g->z.next_out = (Bytef *)to;
	g->z.avail_out = (unsigned)cap;
	while (g->z.avail_out == cap) {
		int rc = refill(g, err);
		if (rc < 0)
			return rc;
		if (rc == 0 && !g->within && g->members)
			return 0;
		/* Without input too: what a full buffer had no room for. */
		g->within = true;
		int z = inflate(&g->z, Z_NO_FLUSH);
		if (z == Z_STREAM_END) {
			g->within = false;
			g->members = true;
			(void)inflateReset(&g->z); /* cannot fail on a stream that was begun */
		} else if (g->z.avail_out < cap) {
			break; /* what came before an error; that comes again */
		} else if (z != Z_OK && z != Z_BUF_ERROR) {
			return err_set(err, ERR_CORRUPT, "%s", g->z.msg ? g->z.msg : "no gzip");
		} else if (rc == 0) {
			return err_set(err, ERR_CORRUPT, "it ends too early");
		}
	}
	return (ssize_t)(cap - g->z.avail_out);
}

/* ---- of which file it was made */

void logs_gz_extra(ino_t of, uint8_t out[LOGS_GZ_EXTRA])
{
	static const uint8_t head[4] = { 'k', 'n', 8, 0 };
	memcpy(out, head, sizeof(head));
	for (int i = 0; i < 8; i++)
		out[4 + i] = (uint8_t)((uint64_t)of >> (8 * i));
}

bool logs_gz_is_of(int fd, ino_t of)
{
	uint8_t head[HEAD + 2 + LOGS_GZ_EXTRA], want[LOGS_GZ_EXTRA];
	if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head) || head[0] != 0x1f || head[1] != 0x8b || !(head[3] & FLG_EXTRA))
		return false;
	logs_gz_extra(of, want);
	return head[HEAD] == LOGS_GZ_EXTRA && head[HEAD + 1] == 0 && memcmp(head + HEAD + 2, want, LOGS_GZ_EXTRA) == 0;
}
