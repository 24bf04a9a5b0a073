/* The container's output and input. See monitor.h for what is promised to clients.
 *
 *     line[]:  |.. taken by the log ..|.. begun line ..|        read() continues at n
 *              0                   taken               n
 *                        |=== piece ===|                        what was read last, for clients that are behind
 *
 * Bytes move to the start only before the next read, which waits until no client is stuck. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "monitor/run.h"

#define PAGE 4096

static void stream_arm(struct run *m, int i)
{
	struct stream *s = &m->streams[i];
	monitor_run_arm(s->fd, SOURCE_STREAM + i, &s->armed, s->fd >= 0 && !s->stuck ? EPOLLIN : 0);
}

void monitor_stream_open(struct run *m, int i, int fd)
{
	struct stream *s = &m->streams[i];
	s->fd = fd;
	stream_arm(m, i);
}

void monitor_stream_close(struct run *m, int i)
{
	struct stream *s = &m->streams[i];
	if (s->fd < 0)
		return;
	monitor_run_arm(s->fd, SOURCE_STREAM + i, &s->armed, 0);
	monitor_log_feed(&m->log, &s->log, &s->taken, true, clock_wall_ns(clock_real()));
	monitor_log_compact(&s->log, &s->taken);
	fd_close(&s->fd);
}

bool monitor_stream_read(struct run *m, int i)
{
	struct stream *s = &m->streams[i];
	if (s->fd < 0 || s->stuck)
		return false;
	monitor_log_compact(&s->log, &s->taken);
	ssize_t n = read(s->fd, s->log.line + s->log.n, MONITOR_LINE - s->log.n);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	if (n <= 0) { /* a terminal ends with EIO */
		monitor_stream_close(m, i);
		return false;
	}
	s->piece = s->log.n;
	s->piece_len = (size_t)n;
	s->log.n += (size_t)n;
	monitor_log_feed(&m->log, &s->log, &s->taken, false, clock_wall_ns(clock_real()));
	monitor_client_output(m, i);
	stream_arm(m, i);
	/* The pipe is empty and every line is in the log: what the lines took goes back to the kernel (3 pages of 4). */
	if (s->log.n < MONITOR_LINE && s->log.n > PAGE && s->taken == s->log.n && !s->stuck) {
		monitor_log_compact(&s->log, &s->taken);
		(void)madvise(s->log.line + PAGE, MONITOR_LINE - PAGE, MADV_DONTNEED); /* a hint */
	}
	return !s->stuck;
}

/* ---- input */

void monitor_input_close(struct run *m)
{
	if (m->input_len) {
		m->input_end = true;
		return;
	}
	monitor_run_arm(m->input, SOURCE_INPUT, &m->input_armed, 0);
	fd_close(&m->input);
}

void monitor_input_write(struct run *m)
{
	while (m->input >= 0 && m->input_len) {
		ssize_t n = write(m->input, m->packet + m->input_at, m->input_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) { /* EPIPE: the program closed its input; who sends more is told */
			m->input_len = 0;
			monitor_input_close(m);
			break;
		}
		m->input_at += (size_t)n;
		m->input_len -= (size_t)n;
	}
	monitor_run_arm(m->input, SOURCE_INPUT, &m->input_armed, m->input_len ? EPOLLOUT : 0);
	if (!m->input_len && m->input_end)
		monitor_input_close(m);
	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++)
		monitor_client_arm(m, &m->clients[i]);
}

bool monitor_input_take(struct run *m, size_t len)
{
	if (m->input < 0 || m->input_end)
		return false;
	m->input_at = sizeof(struct monitor_head);
	m->input_len = len;
	monitor_input_write(m);
	return true;
}
