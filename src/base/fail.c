/* Armed points sit in a small fixed table guarded by a mutex: this code runs in tests alone, and also in the
 * static programs after a fork, so it allocates nothing while it is hit. */
#include "base/base.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define POINTS_MAX 256

enum action { ACT_NONE, ACT_KILL, ACT_ABORT, ACT_EXIT, ACT_SLEEP, ACT_WHILE, ACT_ERRNO };

static struct point {
	char name[64];
	enum action action;
	int arg;
	unsigned long at; /* passage at which it acts, 0 = each */
	bool onwards;
	unsigned long hits;
} points[POINTS_MAX];
static unsigned n_points;
static char while_path[256]; /* of all points that wait for a file */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
atomic_bool fail_armed_;

static const struct {
	const char *name;
	int num;
} errnos[] = {
	{ "EIO", EIO },       { "ENOSPC", ENOSPC }, { "ENOMEM", ENOMEM },     { "EPERM", EPERM },   { "EACCES", EACCES },
	{ "ENOENT", ENOENT }, { "EBUSY", EBUSY },   { "EINVAL", EINVAL },     { "ENOSYS", ENOSYS }, { "EROFS", EROFS },
	{ "EMFILE", EMFILE }, { "EINTR", EINTR },   { "EAGAIN", EAGAIN },     { "EDQUOT", EDQUOT }, { "ENODEV", ENODEV },
	{ "EPIPE", EPIPE },   { "ESRCH", ESRCH },   { "ENOTDIR", ENOTDIR },   { "ELOOP", ELOOP },   { "EXDEV", EXDEV },
	{ "EFBIG", EFBIG },   { "ENFILE", ENFILE }, { "EOVERFLOW", EOVERFLOW }, { "ETIMEDOUT", ETIMEDOUT },
	{ "ECONNRESET", ECONNRESET },
};

static struct point *point_of(struct span name, bool make)
{
	for (unsigned i = 0; i < n_points; i++)
		if (span_is(name, points[i].name))
			return &points[i];
	if (!make || n_points == POINTS_MAX || name.len >= sizeof(points[0].name))
		return NULL;
	struct point *p = &points[n_points++];
	*p = (struct point){};
	memcpy(p->name, name.ptr, name.len);
	return p;
}

static bool parse_action(struct span text, struct point *p)
{
	struct span verb, arg, when;
	int64_t n;
	if (span_split(text, '@', &text, &when)) {
		if (when.len && span_ends(when, SPAN("+"))) {
			p->onwards = true;
			when = span_sub(when, 0, when.len - 1);
		}
		if (!span_to_i64(when, &n) || n < 1)
			return false;
		p->at = (unsigned long)n;
	}
	bool has_arg = span_split(text, ':', &verb, &arg);
	if (has_arg && span_is(verb, "while")) {
		if (!arg.len || arg.len >= sizeof(while_path) || (while_path[0] && !span_is(arg, while_path)))
			return false;
		memcpy(while_path, arg.ptr, arg.len);
		while_path[arg.len] = 0;
		p->action = ACT_WHILE;
		return true;
	}
	if (has_arg && (!span_to_i64(arg, &n) || n < 0 || n > 1000000))
		return false;
	if (span_is(verb, "kill") && !has_arg)
		p->action = ACT_KILL;
	else if (span_is(verb, "abort") && !has_arg)
		p->action = ACT_ABORT;
	else if (span_is(verb, "exit") && has_arg)
		p->action = ACT_EXIT, p->arg = (int)n;
	else if (span_is(verb, "sleep") && has_arg)
		p->action = ACT_SLEEP, p->arg = (int)n;
	else if (!has_arg && span_to_i64(verb, &n) && n > 0 && n < 4096)
		p->action = ACT_ERRNO, p->arg = (int)n;
	else
		for (size_t i = 0; i < ARRAY_LEN(errnos) && !has_arg; i++)
			if (span_is(verb, errnos[i].name))
				p->action = ACT_ERRNO, p->arg = errnos[i].num;
	return p->action != ACT_NONE;
}

int fail_arm(const char *spec)
{
	int rc = 0;
	pthread_mutex_lock(&lock);
	n_points = 0;
	while_path[0] = 0;
	struct span rest = span_of(spec), one, name, action;
	while (span_cut(&rest, ';', &one)) {
		one = span_trim(one);
		if (!one.len)
			continue;
		struct point *p = NULL;
		if (span_split(one, '=', &name, &action) && name.len)
			p = point_of(name, true);
		if (!p || !parse_action(action, p)) {
			n_points = 0;
			rc = -1;
			break;
		}
	}
	atomic_store(&fail_armed_, n_points > 0);
	pthread_mutex_unlock(&lock);
	return rc;
}

int fail_init_from_env(void)
{
	const char *spec = getenv("KNARR_FAIL");
	return spec ? fail_arm(spec) : 0;
}

int fail_hit_(const char *name)
{
	pthread_mutex_lock(&lock);
	struct point *p = point_of(span_of(name), false);
	struct point now = {};
	if (p) {
		p->hits++;
		now = *p;
	}
	pthread_mutex_unlock(&lock);
	if (now.at && (now.onwards ? now.hits < now.at : now.hits != now.at))
		return 0;
	switch (now.action) {
	case ACT_KILL:
		(void)kill(getpid(), SIGKILL);
		for (;;)
			pause();
	case ACT_ABORT:
		abort();
	case ACT_EXIT:
		_exit(now.arg);
	case ACT_SLEEP: {
		struct timespec ts = { now.arg / 1000, (long)(now.arg % 1000) * 1000000 };
		while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
			;
		return 0;
	}
	case ACT_WHILE:
		while (access(while_path, F_OK) == 0) {
			struct timespec ts = { 0, 5000000 };
			(void)nanosleep(&ts, NULL);
		}
		return 0;
	case ACT_ERRNO:
		return now.arg;
	case ACT_NONE:
		break;
	}
	return 0;
}
