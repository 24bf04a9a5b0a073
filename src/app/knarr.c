/* knarr: the thinker. Picks an applet by the name it is called by, else by its first word. */
#include "app/applet.h"

#include "apiserver/apiserver.h"
#include "base/base.h"
#include "cluster/cluster.h"
#include "controllers/controllers.h"
#include "dns/dns.h"
#include "front/front.h"
#include "kubelet/kubelet.h"
#include "proxy/proxy.h"
#include "scheduler/scheduler.h"
#include "engine/engine.h"

#include <fcntl.h>

static applet_fn applet_help, applet_runtime, applet_version;

static const struct applet applets[] = {
#define APPLET(name, fn, help) { name, fn, help },
#include "app/applets.def"
#undef APPLET
};

static int applet_version(int argc, char **argv)
{
	printf("knarr version " KNARR_VERSION "\n");
	return 0;
}

static int applet_help(int argc, char **argv)
{
	printf("Usage: knarr COMMAND [ARG...]\n"
	       "\n"
	       "Docker and Kubernetes in one small program.\n"
	       "\n"
	       "Commands:\n");
	for (size_t i = 0; i < ARRAY_LEN(applets); i++)
		if (applets[i].help)
			printf("  %-20s %s\n", applets[i].name, applets[i].help);
	printf("\nRun 'knarr COMMAND --help' for more about a command.\n");
	return 0;
}

/* The doer stands beside us when run from a build folder, and in libexec when installed. */
static int exec_doer(char **argv)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0) {
		perror("knarr: /proc/self/exe");
		return 1;
	}
	self[n] = 0;
	struct span dir = span_sub(span_make(self, (size_t)n), 0, (size_t)span_rchr(span_make(self, (size_t)n), '/'));
	static const char *const places[] = { "knarr-run", "../libexec/knarr/knarr-run" };
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		auto_buf struct buf path = {};
		buf_printf(&path, "%.*s/%s", SPAN_ARG(dir), places[i]);
		(void)execv(buf_cstr(&path), argv); /* returns only when it failed */
		if (errno != ENOENT) {
			(void)fprintf(stderr, "knarr: %s: %s\n", buf_cstr(&path), err_why(errno));
			return 126;
		}
	}
	(void)fprintf(stderr, "knarr: knarr-run is neither beside %.*s/knarr nor in %.*s/../libexec/knarr\n", SPAN_ARG(dir),
		      SPAN_ARG(dir));
	return 127;
}

static int applet_runtime(int argc, char **argv)
{
	/* knarr-run takes the applet as its first word, as we do: "knarr-run runtime ...". */
	static char doer[] = "knarr-run";
	char **doer_argv = mem_alloc(sizeof(char *) * ((size_t)argc + 2));
	doer_argv[0] = doer;
	for (int i = 0; i <= argc; i++)
		doer_argv[i + 1] = argv[i];
	return exec_doer(doer_argv);
}

static const struct applet *applet_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(applets); i++)
		if (strcmp(applets[i].name, name) == 0)
			return &applets[i];
	return NULL;
}

int main(int argc, char **argv)
{
	if (fail_init_from_env() < 0) {
		(void)fprintf(stderr, "knarr: KNARR_FAIL makes no sense\n");
		return 125;
	}
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *called = argc > 0 ? (slash ? slash + 1 : argv[0]) : "knarr";
	const struct applet *applet = applet_find(called);
	if (!applet) {
		if (argc < 2) {
			(void)applet_help(argc, argv);
			return 0;
		}
		argc--, argv++;
		const char *word = argv[0];
		if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
			word = "help";
		else if (strcmp(word, "--version") == 0 || strcmp(word, "-v") == 0)
			word = "version";
		applet = applet_find(word);
		if (!applet) {
			(void)fprintf(stderr, "knarr: '%s' is not a knarr command.\nSee 'knarr --help'\n", argv[0]);
			return 1;
		}
	}
	int status = applet->run(argc, argv);
	/* What was printed must have arrived: a full disk or a closed pipe is a failure of the command. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("knarr: standard output");
		if (status == 0)
			status = 1;
	}
	size_report();
	return status;
}
