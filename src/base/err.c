/* The message sits in the object while it fits; a longer one moves to the heap. Where memory for a long message
 * cannot be had the message is cut: an error about running out must not need memory. */
#include "base/base.h"

#include <errno.h>

static const struct class_row {
	const char *name, *reason;
	short docker, kube;
	signed char retry;
	unsigned char exit_code;
} classes[ERR_COUNT] = {
	[ERR_NONE] = { "NONE", "", 200, 200, 0, 0 },
#define ERR(cls, docker_, kube_, reason_, retry_, exit_)                                                              \
	[ERR_##cls] = { #cls, reason_, docker_, kube_, retry_, exit_ },
#include "base/err.def"
#undef ERR
};

static const struct class_row *row(int class)
{
	int c = class < 0 ? -class : class;
	assert(c < ERR_COUNT);
	return &classes[c];
}

const char *err_class_name(int class)
{
	return row(class)->name;
}
int err_docker_code(int class)
{
	return row(class)->docker;
}
int err_kube_code(int class)
{
	return row(class)->kube;
}
const char *err_kube_reason(int class)
{
	return row(class)->reason;
}
bool err_may_retry(int class)
{
	return row(class)->retry;
}
int err_exit_code(int class)
{
	return row(class)->exit_code;
}

enum err_class err_class_of_errno(int errnum)
{
	switch (errnum) {
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case EACCES:
	case EPERM:
		return ERR_FORBIDDEN;
	case ENOSPC:
	case EDQUOT:
		return ERR_NO_SPACE;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case EBUSY:
	case EADDRINUSE:
		return ERR_IN_USE;
	case ECONNREFUSED:
		return ERR_UNAVAILABLE;
	case ECANCELED:
		return ERR_CANCELLED;
	default:
		return ERR_IO;
	}
}

void err_done(struct err *err)
{
	for (unsigned i = 0; i < err->n_causes; i++) {
		free(err->causes[i].field);
		free(err->causes[i].reason);
		free(err->causes[i].message);
	}
	free(err->causes);
	free(err->long_msg);
	*err = (struct err)ERR_INIT;
}

static void set_message(struct err *err, char *heap, const char *text, size_t len)
{
	if (heap) {
		err->long_msg = heap;
		return;
	}
	size_t n = MIN(len, sizeof(err->msg) - 1);
	memcpy(err->msg, text, n);
	err->msg[n] = 0;
	err->long_msg = NULL;
}

/* Formats into *err's message; keep_causes for notes and late messages. */
static void format_message(struct err *err, const char *fmt, va_list ap)
{
	char small[sizeof(err->msg)];
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	assert(n >= 0);
	char *heap = NULL;
	if ((size_t)n >= sizeof(small)) {
		heap = malloc((size_t)n + 1);
		if (heap)
			(void)vsnprintf(heap, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	/* Only now is the old message dropped: the arguments may point into it. */
	free(err->long_msg);
	set_message(err, heap, small, MIN((size_t)n, sizeof(small) - 1));
}

int err_vset(struct err *err, enum err_class class, const char *fmt, va_list ap)
{
	assert(class > ERR_NONE && class < ERR_COUNT);
	if (!err)
		return -(int)class;
	format_message(err, fmt, ap);
	err->class = class;
	err->errnum = 0;
	err->retry_ms = 0;
	return -(int)class;
}

int err_set(struct err *err, enum err_class class, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	err_vset(err, class, fmt, ap);
	va_end(ap);
	return -(int)class;
}

const char *err_why(int errnum)
{
	static const char *const words[] = {
#define WHY(number, text) [number] = text,
#include "base/errno.def"
#undef WHY
	};
	if (errnum == 0)
		return "Success";
	const char *why = errnum > 0 && (size_t)errnum < ARRAY_LEN(words) ? words[errnum] : NULL;
	return why ? why : "Unknown error";
}

static int sys_vset(struct err *err, int errnum, const char *fmt, va_list ap)
{
	enum err_class class = err_class_of_errno(errnum);
	if (!err)
		return -(int)class;
	err_vset(err, class, fmt, ap);
	err->errnum = errnum;
	const char *why = err_why(errnum);
	size_t have = strlen(err_msg(err)), more = strlen(why) + 2;
	if (!err->long_msg && have + more < sizeof(err->msg)) {
		(void)snprintf(err->msg + have, sizeof(err->msg) - have, ": %s", why);
		return -(int)class;
	}
	char *heap = malloc(have + more + 1);
	if (heap) {
		(void)snprintf(heap, have + more + 1, "%s: %s", err_msg(err), why);
		free(err->long_msg);
		err->long_msg = heap;
	}
	return -(int)class;
}

int err_sys(struct err *err, const char *fmt, ...)
{
	int errnum = errno;
	va_list ap;
	va_start(ap, fmt);
	int rc = sys_vset(err, errnum, fmt, ap);
	va_end(ap);
	return rc;
}

int err_sys_num(struct err *err, int errnum, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int rc = sys_vset(err, errnum, fmt, ap);
	va_end(ap);
	return rc;
}

int err_note(struct err *err, const char *fmt, ...)
{
	if (!err)
		return -ERR_INTERNAL;
	assert(err->class != ERR_NONE);
	char note[512];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(note, sizeof(note), fmt, ap); /* a note is short; a longer one is cut */
	va_end(ap);
	size_t len = strlen(note) + 2 + strlen(err_msg(err));
	char *heap = malloc(len + 1);
	if (!heap)
		return -(int)err->class;
	(void)snprintf(heap, len + 1, "%s: %s", note, err_msg(err));
	free(err->long_msg);
	if (len < sizeof(err->msg)) {
		set_message(err, NULL, heap, len);
		free(heap);
	} else {
		set_message(err, heap, heap, len);
	}
	return -(int)err->class;
}

void err_cause_add(struct err *err, struct span field, const char *reason, struct span message)
{
	if (!err)
		return;
	/* Capacity is the next power of two, so it need not be kept. */
	if ((err->n_causes & (err->n_causes - 1)) == 0)
		err->causes = mem_realloc_n(err->causes, err->n_causes ? (size_t)err->n_causes * 2 : 1,
					    sizeof(*err->causes));
	err->causes[err->n_causes++] = (struct err_cause){
		.field = field.ptr ? mem_dup(field.ptr, field.len) : NULL,
		.reason = mem_dup(reason, strlen(reason)),
		.message = mem_dup(message.ptr, message.len),
	};
}

int err_move(struct err *to, struct err *from)
{
	int rc = -(int)from->class;
	if (to) {
		err_done(to);
		*to = *from;
		*from = (struct err)ERR_INIT;
	} else {
		err_done(from);
	}
	return rc;
}
