/* One line per event: what happened, then key=value pairs.
 *
 *     log_info("pod started", kv_span("pod", name), kv_i64("ms", took_ms));
 *     2026-11-21T09:30:00.123456Z info engine: pod started pod=web-1 ms=14
 *
 * Below the floor `control` nothing logs above debug: return the error instead. error = a person should look;
 * warn = went on, and says so; info = a state change an operator would ask about. Values from outside are
 * quoted when they hold anything but plain characters, so that no log line can be forged. Never log secrets.
 * Any thread may log; a line is one write to the destination. */
#pragma once

#include <stdbool.h>
#include "base/span.h"

struct err;

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_COUNT };

struct log_kv {
	const char *key; /* NULL = left out */
	enum { LOG_KV_SPAN, LOG_KV_I64, LOG_KV_U64, LOG_KV_ERR } kind;
	union {
		struct span span;
		int64_t i64;
		uint64_t u64;
		const struct err *err;
	};
};

static inline struct log_kv kv_span(const char *key, struct span v)
{
	return (struct log_kv){ .key = key, .kind = LOG_KV_SPAN, .span = v };
}
static inline struct log_kv kv_str(const char *key, const char *v)
{
	return kv_span(key, span_of(v));
}
static inline struct log_kv kv_i64(const char *key, int64_t v)
{
	return (struct log_kv){ .key = key, .kind = LOG_KV_I64, .i64 = v };
}
static inline struct log_kv kv_u64(const char *key, uint64_t v)
{
	return (struct log_kv){ .key = key, .kind = LOG_KV_U64, .u64 = v };
}
static inline struct log_kv kv_err(const struct err *err) /* err="class: message" */
{
	return (struct log_kv){ .key = "err", .kind = LOG_KV_ERR, .err = err };
}

void log_write(enum log_level level, const char *event, const struct log_kv *kv, size_t n_kv);
bool log_on(enum log_level level);

#define LOG_(level, event, ...)                                                                                        \
	do {                                                                                                           \
		if (log_on(level)) {                                                                                   \
			const struct log_kv kv_[] = { { .key = NULL }, ##__VA_ARGS__ };                                \
			log_write((level), (event), kv_ + 1, sizeof(kv_) / sizeof(kv_[0]) - 1);                        \
		}                                                                                                      \
	} while (0)
#define log_debug(event, ...) LOG_(LOG_DEBUG, event, ##__VA_ARGS__)
#define log_info(event, ...) LOG_(LOG_INFO, event, ##__VA_ARGS__)
#define log_warn(event, ...) LOG_(LOG_WARN, event, ##__VA_ARGS__)
#define log_error(event, ...) LOG_(LOG_ERROR, event, ##__VA_ARGS__)

/* Where lines go (default: descriptor 2), from which level on (default: info), and the component's name
 * that stands in each. The name is borrowed for ever. */
void log_open(int fd, enum log_level from, const char *component);
bool log_level_parse(struct span name, enum log_level *out_level); /* debug, info, warn, error */
