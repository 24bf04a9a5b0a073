/* The applet: a process around one API server. The main thread does nothing but wait for signals. */
#include "apiserver/apiserver.h"
#include "apiserver/privileges.h"

#include <malloc.h>
#include <signal.h>
#include <time.h>

/* Serves on while load balancers and clients learn that it goes; another signal cuts that short. */
static void stop_slowly(struct apiserver *s, const sigset_t *set, int64_t delay_ms)
{
	struct clock *clock = clock_real();
	int64_t until = clock_mono_ms(clock) + delay_ms, left;
	apiserver_stop_announce(s);
	while ((left = until - clock_mono_ms(clock)) > 0) {
		const struct timespec wait = { .tv_sec = left / 1000, .tv_nsec = left % 1000 * NS_PER_MS };
		int sig = sigtimedwait(set, NULL, &wait);
		if (sig == SIGTERM || sig == SIGINT)
			return;
	}
}

static void run(struct apiserver *s, const struct apiserver_options *o, const sigset_t *set)
{
	int sig;
	for (;;) {
		(void)sigwait(set, &sig);
		if (sig != SIGHUP)
			break;
		apiserver_reload(s);
	}
	log_info("stopping", kv_i64("signal", sig));
	if (o->shutdown_delay_ms)
		stop_slowly(s, set, o->shutdown_delay_ms);
	apiserver_stop(s);
}

int apiserver_main(int argc, char **argv)
{
	struct apiserver_options o;
	auto_err struct err err = ERR_INIT;
	struct apiserver *s;
	bool help;
	log_open(2, LOG_INFO, "apiserver");
	apiserver_options_default(&o);
	if (apiserver_options_parse(&o, argc - 1, argv + 1, &help, &err) < 0) {
		(void)fprintf(stderr, "Error: %s\n", err_msg(&err));
		apiserver_options_done(&o);
		return 1;
	}
	if (help) {
		apiserver_options_help();
		apiserver_options_done(&o);
		return 0;
	}
	/* Blocked before any thread exists, so that only the wait above sees them. */
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	/* A turn that fans an event out to 1,000 watches uses some 300 KB and gives them back: by default that is returned
	 * to the kernel and faulted in again each time, a tenth of the turn. */
	(void)mallopt(M_TRIM_THRESHOLD, 2 << 20);
	(void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
	io_descriptors_raise();
	if (privileges_sockets(&o, &err) < 0 || apiserver_start(&o, &s, &err) < 0) {
		(void)fprintf(stderr, "Error: %s\n", err_msg(&err));
		apiserver_options_done(&o);
		return err_exit_code(err.class);
	}
	log_info("serving", kv_u64("port", apiserver_port(s)));
	run(s, &o, &set);
	apiserver_options_done(&o);
	return 0;
}
