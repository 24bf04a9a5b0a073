/* The ends of a chain: memory and descriptors, to read from and to write to. */
#include <unistd.h>

#include "tar/private.h"

static int memory_pull(struct tar_source *source, struct span *out_piece, struct err *err)
{
	struct tar_memory_source *s = container_of(source, struct tar_memory_source, source);
	size_t n = s->piece_bytes ? MIN(s->piece_bytes, s->left.len) : s->left.len;
	if (!n)
		return 0;
	*out_piece = span_sub(s->left, 0, n);
	s->left = span_from(s->left, n);
	return 1;
}

void tar_memory_source_init(struct tar_memory_source *s, struct span all)
{
	*s = (struct tar_memory_source){ .source.pull = memory_pull, .left = all };
}

static int fd_pull(struct tar_source *source, struct span *out_piece, struct err *err)
{
	struct tar_fd_source *s = container_of(source, struct tar_fd_source, source);
	if (!s->buf)
		s->buf = mem_alloc(TAR_PIECE_BYTES);
	ssize_t n;
	do
		n = read(s->fd, s->buf, TAR_PIECE_BYTES);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "read");
	*out_piece = span_make(s->buf, (size_t)n);
	return n > 0;
}

void tar_fd_source_init(struct tar_fd_source *s, int fd)
{
	*s = (struct tar_fd_source){ .source.pull = fd_pull, .fd = fd };
}

void tar_fd_source_done(struct tar_fd_source *s)
{
	free(s->buf);
	s->buf = NULL;
}

static int buf_push(struct tar_sink *sink, struct span data, struct err *err)
{
	struct tar_buf_sink *s = container_of(sink, struct tar_buf_sink, sink);
	buf_span_add(s->buf, data);
	if (buf_overflowed(s->buf))
		return err_set(err, ERR_TOO_LARGE, "archive: more than %zu bytes", s->buf->limit);
	return 0;
}

void tar_buf_sink_init(struct tar_buf_sink *s, struct buf *b)
{
	*s = (struct tar_buf_sink){ .sink.push = buf_push, .buf = b };
}

static int fd_push(struct tar_sink *sink, struct span data, struct err *err)
{
	return io_write_all(container_of(sink, struct tar_fd_sink, sink)->fd, data.ptr, data.len, err);
}

void tar_fd_sink_init(struct tar_fd_sink *s, int fd)
{
	*s = (struct tar_fd_sink){ .sink.push = fd_push, .fd = fd };
}
