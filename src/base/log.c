#include "base/base.h"

static struct {
	int fd;
	enum log_level from;
	const char *component;
} dest = { .fd = 2, .from = LOG_INFO, .component = "knarr" };

static const char *const level_names[LOG_LEVEL_COUNT] = {
	[LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"
};

void log_open(int fd, enum log_level from, const char *component)
{
	dest.fd = fd;
	dest.from = from;
	dest.component = component;
}

bool log_level_parse(struct span name, enum log_level *out_level)
{
	for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
		if (span_is(name, level_names[i])) {
			*out_level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

bool log_on(enum log_level level)
{
	return level >= dest.from;
}

/* Plain when it is one word that cannot be taken for anything else; otherwise quoted, with \n, \", \\ and \xNN. Bytes
 * above ASCII pass, so that UTF-8 stays readable. */
static void put_value(struct buf *b, struct span v)
{
	bool plain = v.len > 0;
	for (size_t i = 0; i < v.len && plain; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		plain = c > ' ' && c != '"' && c != '=' && c != '\\' && c != 0x7f;
	}
	if (plain) {
		buf_span_add(b, v);
		return;
	}
	buf_chr(b, '"');
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c == '\n')
			buf_str(b, "\\n");
		else if (c < ' ' || c == 0x7f)
			buf_printf(b, "\\x%02x", c);
		else
			buf_chr(b, (char)c);
	}
	buf_chr(b, '"');
}

void log_write(enum log_level level, const char *event, const struct log_kv *kv, size_t n_kv)
{
	if (!log_on(level))
		return;
	auto_buf struct buf line = { .limit = 64 * 1024 };
	char when[40];
	int64_t now = clock_wall_ns(clock_real());
	time_format(when, now / NS_PER_S, (int32_t)(now % NS_PER_S), 6);
	buf_printf(&line, "%s %s %s: %s", when, level_names[level], dest.component, event);
	for (size_t i = 0; i < n_kv; i++) {
		if (!kv[i].key)
			continue;
		buf_printf(&line, " %s=", kv[i].key);
		switch (kv[i].kind) {
		case LOG_KV_SPAN:
			put_value(&line, kv[i].span);
			break;
		case LOG_KV_I64:
			buf_i64(&line, kv[i].i64);
			break;
		case LOG_KV_U64:
			buf_u64(&line, kv[i].u64);
			break;
		case LOG_KV_ERR:
			put_value(&line, span_of(err_msg(kv[i].err)));
			break;
		}
	}
	if (buf_overflowed(&line) || line.len + 1 > line.limit) {
		static const char cut[] = " (cut)";
		buf_trunc(&line, MIN(line.len, line.limit - sizeof(cut)));
		line.overflowed = false;
		buf_str(&line, cut);
	}
	buf_chr(&line, '\n');
	/* A log that cannot be written has nowhere to say so. */
	(void)!write(dest.fd, line.ptr, line.len);
}
