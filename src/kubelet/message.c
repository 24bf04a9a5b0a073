/* Termination messages: what a container left in its file, or (FallbackToLogsOnError) the end of its log. */
#include "kubelet/worker.h"

#include <fcntl.h>
#include <sys/stat.h>

#define MESSAGE_BYTES 4096
#define LOG_BYTES 2048
#define LOG_LINES 80

void kl_message_path(struct buf *out, const struct kl_pod *p, struct span container, uint32_t attempt)
{
	kl_container_dir(out, p, container);
	buf_printf(out, "/%08x", attempt);
}

/* The text of CRI log lines ("TIME stdout F text"), from the last LOG_LINES of them, LOG_BYTES at most. */
static void log_text(struct span lines, struct buf *out)
{
	struct span rest = lines, line;
	auto_buf struct buf all = {};
	while (span_cut(&rest, '\n', &line)) {
		struct span part, text = line;
		int i = 0;
		bool whole = true;
		for (; i < 3 && span_split(text, ' ', &part, &text); i++)
			whole = !span_starts(part, SPAN("P"));
		if (i < 3)
			continue;
		buf_span_add(&all, text);
		if (whole)
			buf_chr(&all, '\n');
	}
	struct span s = buf_span(&all);
	unsigned n = 0;
	size_t from = s.len;
	while (from > 0 && s.len - from < LOG_BYTES) {
		if (s.ptr[from - 1] == '\n' && from < s.len && ++n == LOG_LINES)
			break;
		from--;
	}
	buf_span_add(out, span_from(s, from));
}

static void tail(const char *path, size_t limit, struct buf *out)
{
	struct stat st;
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	off_t from = st.st_size > (off_t)limit ? st.st_size - (off_t)limit : 0;
	char *at = buf_reserve(out, limit);
	ssize_t n = pread(fd, at, limit, from);
	if (n > 0)
		buf_commit(out, (size_t)n);
}

void kl_message_read(const struct kl_pod *p, struct kl_container *c)
{
	auto_buf struct buf path = {}, raw = {}, text = {};
	kl_message_path(&path, p, c->name, c->attempt);
	if (c->message_path.len)
		tail(buf_cstr(&path), MESSAGE_BYTES, &raw);
	if (!raw.len && c->exit_code && span_is(c->message_policy, "FallbackToLogsOnError")) {
		buf_trunc(&path, 0);
		if (c->log_path.len)
			buf_span_add(&path, c->log_path);
		tail(buf_cstr(&path), 4 * LOG_BYTES + LOG_LINES * 48, &text);
		log_text(buf_span(&text), &raw);
	}
	/* As the API takes it: UTF-8. */
	auto_buf struct buf clean = {};
	struct span rest = buf_span(&raw);
	while (rest.len) {
		uint32_t code;
		size_t n = utf8_next(rest, &code);
		utf8_add(&clean, n ? code : 0xfffd);
		rest = span_from(rest, n ? n : 1);
	}
	c->said = buf_take(&clean, NULL);
	if (!*c->said && c->message.len) {
		free(c->said);
		c->said = mem_dup(c->message.ptr, c->message.len);
	}
}
