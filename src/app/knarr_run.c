/* knarr-run, the doer: one static program, several applets. The name it is called by, or its first word, picks one. */
#include "app/applet.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cni/cni.h"
#include "monitor/monitor.h"
#include "runtime/runtime.h"

static const struct {
	struct applet applet;
	const char *link; /* argv[0] of this name means the applet too; NULL = none */
} applets[] = {
	{ { "runtime", runtime_main, "OCI runtime with runc's command line" }, "knarr-runc" },
	{ { "spawn", monitor_spawn_main, "makes a monitor for each container that the engine asks for" }, NULL },
	{ { "monitor", monitor_main, "asks a container's monitor by hand" }, NULL },
	{ { "init", monitor_init_main, "process 1 of a container: hands signals on, reaps" }, "docker-init" },
	{ { "cni", cni_main, "CNI plugin of the pod network" }, "knarr-cni" },
	{ { "pause", monitor_pause_main, "holds the namespaces of a sandbox" }, NULL },
};

static int usage(int status)
{
	FILE *out = status ? stderr : stdout;
	fputs("usage: knarr-run APPLET [arguments]\n\napplets:\n", out);
	for (size_t i = 0; i < ARRAY_LEN(applets); i++)
		fprintf(out, "   %-10s %s\n", applets[i].applet.name, applets[i].applet.help);
	return status;
}

static int run(int argc, char **argv)
{
	const char *slash = argc ? strrchr(argv[0], '/') : NULL, *name = slash ? slash + 1 : argc ? argv[0] : "";
	for (size_t i = 0; i < ARRAY_LEN(applets); i++)
		if (!strcmp(name, applets[i].applet.name) || (applets[i].link && !strcmp(name, applets[i].link)))
			return applets[i].applet.run(argc, argv);
	for (size_t i = 0; argc > 1 && i < ARRAY_LEN(applets); i++)
		if (!strcmp(argv[1], applets[i].applet.name))
			return applets[i].applet.run(argc - 1, argv + 1);
	return usage(argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) ? 0 : 125);
}

int main(int argc, char **argv)
{
	if (fail_init_from_env() < 0) {
		fputs("knarr-run: KNARR_FAIL makes no sense\n", stderr);
		return 125;
	}
	int status = run(argc, argv);
	size_report();
	return status;
}
