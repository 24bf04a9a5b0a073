/* The error object.
 *
 * A function that can fail returns 0 or a negative class, takes `struct err *err` last, and leaves *err untouched on
 * success. err may be NULL where the caller only wants the class. Make the error where the facts are, add
 * a note while climbing:
 *
 *     auto_err struct err err = ERR_INIT;
 *     if (layer_open(s, digest, &fd, &err) < 0)
 *             return err_note(&err, "unpacking layer %s", name);      // "unpacking layer X: <what was there>"
 *
 * err_set replaces what was there. Messages begin in lower case and say what, where and why. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include "base/auto.h"
#include "base/span.h"

enum err_class {
	ERR_NONE = 0,
#define ERR(name, docker, kube, reason, retry, exit_code) ERR_##name,
#include "base/err.def"
#undef ERR
	ERR_COUNT
};

/* One cause of an INVALID object: which field, which of Kubernetes' cause types, in which words. */
struct err_cause {
	char *field;   /* owned; "spec.containers[0].image", may be NULL */
	char *reason;  /* owned; "FieldValueRequired", ... */
	char *message; /* owned; "Required value", ... */
};

struct err {
	enum err_class class;
	int errnum;              /* errno of the failed call, 0 = none */
	int retry_ms;            /* wait this long before trying again; 0 = unknown */
	unsigned n_causes;
	struct err_cause *causes; /* owned, in the order found */
	char *long_msg;          /* owned; used instead of msg when that is too short */
	char msg[240];
};

#define ERR_INIT { .class = ERR_NONE }

void err_done(struct err *err); /* frees and clears */
#define auto_err auto_cleanup(err_done)

/* Each returns -class, so that `return err_set(...)` is the usual form. */
int err_set(struct err *err, enum err_class class, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int err_vset(struct err *err, enum err_class class, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));
/* "No such file or directory" of ENOENT. Lives for ever; never NULL. Our own words, the same in both programs, whose C libraries
 * (glibc, musl) have different ones, and without a lock or a locale. */
const char *err_why(int errnum);

/* The failed system call's errno, class IO unless errno has a class of its own (ENOENT: NOT_FOUND, ENOSPC and EDQUOT:
 * NO_SPACE, EEXIST: EXISTS, EACCES and EPERM: FORBIDDEN, ETIMEDOUT: TIMEOUT, EBUSY: IN_USE); the message gets
 * ": " and the errno's text behind. Reads errno before anything else. */
int err_sys(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int err_sys_num(struct err *err, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "note: " before the message that is there. */
int err_note(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds a cause (copied); sets no class and no message. */
void err_cause_add(struct err *err, struct span field, const char *reason, struct span message);
/* Moves *from into *to (what was in *to is freed); returns -class. */
int err_move(struct err *to, struct err *from);

static inline const char *err_msg(const struct err *err)
{
	return err->long_msg ? err->long_msg : err->msg;
}
/* Facts of the table; class may be given positive or as the negative result of a call. */
const char *err_class_name(int class);  /* "NOT_FOUND" */
int err_docker_code(int class);
int err_kube_code(int class);
const char *err_kube_reason(int class); /* "" for none */
bool err_may_retry(int class);
int err_exit_code(int class);
enum err_class err_class_of_errno(int errnum);
