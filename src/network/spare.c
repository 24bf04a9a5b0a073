/* One network namespace that is ready beforehand. Making one costs the kernel 0.3 to 0.4 ms and its first settings 0.1, a fifth of
 * what a container's start is made of; none of it depends on the container. So whoever takes the spare one has the next made by a
 * thread of this file, which has nothing else to do.
 *
 *     loop    take ── there? ── yes: pinned under the container's id          thread  make ── keep ── SPARE_S over: close
 *                       └─ no: makes its own, as ever                                  ^─ somebody took it
 *
 * Invariants
 * 1. The spare one is two descriptors and no name: when this process ends, however it does, the kernel takes it away.
 * 2. It is as a namespace that is made for the container would be: the settings of every container, and what a new one inherits of
 *    the host, which may change; so it is thrown away when it is SPARE_S old. At rest there is none.
 * 3. The thread leaves the host's namespace for its own and comes back before anything else; if it cannot, the process ends. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <time.h>

#include "network/private.h"

#define SPARE_S 10
/* The start that took the last one is under way and wants both processors and the kernel's lock of networks. */
#define PAUSE_NS 2000000

struct network_spare {
	const struct network_engine *engine; /* its host_ns */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool wanted, quit; /* under the lock, like what follows */
	int ns, route;     /* -1 = there is none */
};

/* As Docker sets them for every container: ping without a capability, ports below 1024 for everybody. */
const struct network_sysctl_row network_ns_sysctls[2] = {
	{ "net.ipv4.ping_group_range", "net/ipv4/ping_group_range", "0 2147483647" },
	{ "net.ipv4.ip_unprivileged_port_start", "net/ipv4/ip_unprivileged_port_start", "0" },
};

int network_ns_no_v6(struct err *err)
{
	/* Interfaces to come have no IPv6; lo is there already and keeps ::1. A kernel without IPv6 has no such file. */
	auto_err struct err why = ERR_INIT;
	if (network_sysctl("net/ipv6/conf/default/disable_ipv6", "1", &why) < 0 && why.errnum != ENOENT)
		return err ? err_move(err, &why) : -(int)why.class;
	return 0;
}

int network_ns_first(int *out_route, struct err *err)
{
	auto_nl_batch struct sys_nl_batch b = { 0 };
	auto_fd int route = sys_nl_open(NETLINK_ROUTE, err);
	if (route < 0)
		return -(int)(err ? err->class : ERR_IO);
	sys_link_up_add(&b, 1, true); /* lo is always the first */
	int rc = sys_nl_commit(route, &b, NULL, "starting the loopback interface", err);
	if (rc == 0)
		*out_route = take_fd(&route);
	return rc;
}

/* The thread is in the new namespace in between. A failure is no more than a spare one that is not there. */
static bool make(const struct network_engine *e, int *out_ns, int *out_route)
{
	auto_fd int ns = -1, route = -1;
	if (unshare(CLONE_NEWNET) < 0)
		return false;
	ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	bool made = ns >= 0;
	for (size_t i = 0; i < ARRAY_LEN(network_ns_sysctls) && made; i++)
		made = network_sysctl(network_ns_sysctls[i].file, network_ns_sysctls[i].value, NULL) == 0;
	made = made && network_ns_no_v6(NULL) == 0 && network_ns_first(&route, NULL) == 0;
	network_ns_leave(e);
	FAILPOINT("network.spare.made");
	if (!made)
		return false;
	*out_ns = take_fd(&ns);
	*out_route = take_fd(&route);
	return true;
}

static void drop(struct network_spare *s)
{
	fd_close(&s->ns);
	fd_close(&s->route);
}

static void *run(void *arg)
{
	struct network_spare *s = arg;
	struct timespec until;
	pthread_mutex_lock(&s->lock);
	while (!s->quit) {
		if (s->wanted) {
			int ns = -1, route = -1;
			const struct timespec pause = { .tv_nsec = PAUSE_NS };
			s->wanted = false;
			pthread_mutex_unlock(&s->lock);
			(void)nanosleep(&pause, NULL); /* all signals are blocked */
			(void)make(s->engine, &ns, &route); /* -1 says it */
			pthread_mutex_lock(&s->lock);
			drop(s);
			s->ns = ns;
			s->route = route;
			clock_gettime(CLOCK_MONOTONIC, &until);
			until.tv_sec += SPARE_S;
		} else if (s->ns >= 0) {
			if (pthread_cond_timedwait(&s->cond, &s->lock, &until) == ETIMEDOUT)
				drop(s);
		} else {
			pthread_cond_wait(&s->cond, &s->lock);
		}
	}
	drop(s);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* Without a thread there is none, and everybody makes its own. */
static struct network_spare *begin(const struct network_engine *e)
{
	struct network_spare *s = mem_new(struct network_spare);
	pthread_condattr_t attr;
	pthread_attr_t small;
	sigset_t all, old;
	s->engine = e;
	s->ns = s->route = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->cond, &attr);
	pthread_condattr_destroy(&attr);
	pthread_attr_init(&small);
	(void)pthread_attr_setstacksize(&small, 256 << 10); /* refused: the default is larger */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int failed = pthread_create(&s->thread, &small, run, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&small);
	if (failed) {
		pthread_cond_destroy(&s->cond);
		pthread_mutex_destroy(&s->lock);
		free(s);
		return NULL;
	}
	return s;
}

bool network_spare_take(struct network_engine *e, int *out_ns, int *out_route)
{
	if (!e->spare && !(e->spare = begin(e)))
		return false;
	struct network_spare *s = e->spare;
	pthread_mutex_lock(&s->lock);
	bool there = s->ns >= 0;
	if (there) {
		*out_ns = take_fd(&s->ns);
		*out_route = take_fd(&s->route);
	}
	s->wanted = true;
	pthread_mutex_unlock(&s->lock);
	pthread_cond_signal(&s->cond);
	return there;
}

void network_spare_close(struct network_spare *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->quit = true;
	pthread_mutex_unlock(&s->lock);
	pthread_cond_signal(&s->cond);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->cond);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
