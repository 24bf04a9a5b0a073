/* logs: what a container wrote, or goes on writing. A workload stands for one of its pods, a selector for each of them. */
#include "front/private.h"

#define TAIL_DEFAULT INT64_MIN

struct logs {
	struct front *f;
	struct span container, selector, since_time;
	bool follow, previous, timestamps, all_containers, prefix, ignore_errors;
	int64_t tail, since_ns, limit_bytes;
	/* of the stream that runs */
	struct span line_prefix; /* empty: pieces go out as they come */
	bool line_begins;
	int rc;
	struct err *err;
};

static bool on_log(struct front *f, struct span data, void *arg)
{
	struct logs *g = arg;
	if (!g->line_prefix.len) {
		buf_span_add(&f->out, data);
	} else {
		for (size_t i = 0; i < data.len; i++) {
			if (g->line_begins)
				buf_span_add(&f->out, g->line_prefix);
			buf_chr(&f->out, data.ptr[i]);
			g->line_begins = data.ptr[i] == '\n';
		}
	}
	g->rc = front_flush(f, g->err);
	return g->rc == 0;
}

static int stream(struct logs *g, struct span ns, struct span pod, struct span container, struct err *err)
{
	auto_buf struct buf path = {};
	static const struct client_kind pods = { SPAN_INIT(""), SPAN_INIT("v1"), SPAN_INIT("pods"), true };
	client_path(&path, &pods, ns, pod, "log");
	buf_str(&path, "?container=");
	percent_add(&path, container, NULL);
	if (g->follow)
		buf_str(&path, "&follow=true");
	if (g->previous)
		buf_str(&path, "&previous=true");
	if (g->timestamps)
		buf_str(&path, "&timestamps=true");
	if (g->tail >= 0)
		buf_printf(&path, "&tailLines=%lld", (long long)g->tail);
	if (g->since_ns > 0) /* whole seconds, rounded up, as kubectl does */
		buf_printf(&path, "&sinceSeconds=%lld", (long long)((g->since_ns + 999999999) / 1000000000));
	if (g->limit_bytes > 0)
		buf_printf(&path, "&limitBytes=%lld", (long long)g->limit_bytes);
	if (g->since_time.len) {
		buf_str(&path, "&sinceTime=");
		percent_add(&path, g->since_time, NULL);
	}
	g->line_prefix = g->prefix ? arena_printf(&g->f->arena, "[pod/%.*s/%.*s] ", SPAN_ARG(pod), SPAN_ARG(container)) : SPAN_EMPTY;
	g->line_begins = true;
	g->rc = 0;
	g->err = err;
	int rc = front_stream(g->f, buf_span(&path), "*/*", on_log, g, 0, err);
	return g->rc < 0 ? g->rc : rc;
}

static struct span container_name(const struct json *c)
{
	return json_span(json_getl(c, "name"));
}

static int of_pod(struct logs *g, const struct json *pod, struct err *err)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	struct span ns = json_span(json_path(pod, "metadata", "namespace", NULL));
	struct span name = json_span(json_path(pod, "metadata", "name", NULL)), container = g->container;
	if (container.len && !g->all_containers) {
		bool any = false;
		for (size_t i = 0; i < ARRAY_LEN(lists); i++)
			JSON_EACH_ITEM(json_path(pod, "spec", lists[i], NULL), c)
				any = any || span_eq(container_name(c), container);
		if (!any)
			return err_set(err, ERR_NOT_FOUND, "container %.*s is not valid for pod %.*s", SPAN_ARG(container), SPAN_ARG(name));
	}
	if (!g->all_containers) {
		int rc = container.len ? 0 : front_pod_container(pod, false, &container, err);
		return rc < 0 ? rc : stream(g, ns, name, container, err);
	}
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_path(pod, "spec", lists[i], NULL), c) {
			int rc = stream(g, ns, name, container_name(c), err);
			if (rc < 0 && !g->ignore_errors)
				return rc;
			if (rc < 0) {
				buf_printf(&g->f->out, "error: %s\n", err_msg(err));
				err_done(err);
			}
		}
	return 0;
}

/* ---- which pods */

static int of_target(struct logs *g, const struct front_target *t, struct err *err)
{
	struct json object, pod;
	unsigned n;
	int rc = front_pod_of(g->f, t, &object, &pod, &n, err);
	if (rc == -ERR_NOT_FOUND && g->f->said.answered) {
		const char *why = arena_cstr(&g->f->arena, span_of(err_msg(err)));
		g->f->said.answered = false;
		return err_set(err, ERR_NOT_FOUND, "error from server (NotFound): %s in namespace \"%.*s\"", why, SPAN_ARG(t->ns));
	}
	if (rc < 0)
		return rc;
	if (n > 1)
		(void)fprintf(stderr, "Found %u pods, using pod/%.*s\n", n, SPAN_ARG(json_span(json_path(&pod, "metadata", "name", NULL))));
	return of_pod(g, &pod, err);
}

static int of_selector(struct logs *g, struct err *err)
{
	struct json list;
	int rc = front_pods_list(g->f, g->f->ns, g->selector, &list, err);
	const struct json *items = rc < 0 ? NULL : json_getl(&list, "items");
	if (rc == 0 && g->follow && items && items->n > 1)
		return err_set(err, ERR_UNSUPPORTED, "-f follows one pod; the selector means %u", items->n);
	if (rc == 0 && (!items || !items->n))
		(void)fprintf(stderr, "No resources found in %.*s namespace.\n", SPAN_ARG(g->f->ns));
	JSON_EACH_ITEM(items, pod)
		if (rc == 0)
			rc = of_pod(g, pod, err);
	return rc;
}

static int run(struct logs *g, struct front_args *args, struct front_targets *targets, struct err *err)
{
	struct front_words *w = &args->words;
	if ((!w->n && !g->selector.len) || w->n > 2)
		return err_set(err, ERR_USAGE,
			"expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required "
			       "argument for the logs command\nSee 'kubectl logs -h' for help and examples");
	if (w->n && g->selector.len)
		return err_set(err, ERR_USAGE, "only a selector (-l) or a POD name is allowed");
	if (w->n == 2 && g->container.len)
		return err_set(err, ERR_USAGE, "only one of -c or an inline [CONTAINER] arg is allowed");
	if (w->n == 2)
		g->container = w->items[1]; /* logs POD CONTAINER */
	if (g->since_ns > 0 && g->since_time.len)
		return err_set(err, ERR_USAGE, "at most one of `sinceTime` or `sinceSeconds` may be specified");
	if (g->tail < -1 && g->tail != TAIL_DEFAULT)
		return err_set(err, ERR_USAGE, "--tail must be greater than or equal to -1");
	if (g->all_containers && g->container.len)
		return err_set(err, ERR_USAGE, "--all-containers=true should not be specified with container name %.*s",
			SPAN_ARG(g->container));
	if (g->selector.len) {
		if (g->tail == TAIL_DEFAULT)
			g->tail = 10; /* with a selector the default is the last ten lines */
		int rc = front_connect(g->f, err);
		return rc < 0 ? rc : of_selector(g, err);
	}
	int rc = front_discover(g->f, err);
	struct span one = span_chr(w->items[0], '/') >= 0 ? w->items[0] : arena_printf(&g->f->arena, "pods/%.*s",
		SPAN_ARG(w->items[0]));
	const struct front_words words = { &one, 1 };
	if (rc == 0)
		rc = front_targets_words(g->f, &words, targets, err);
	return rc < 0 ? rc : of_target(g, &targets->items[0], err);
}

int front_logs_main(struct front *f, int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct logs g = { .f = f, .tail = TAIL_DEFAULT };
	struct front_targets targets = {};
	struct front_args args;
	const struct front_flag flags[] = {
		{ "follow", 'f', FRONT_FLAG_BOOL, &g.follow, NULL, "go on with what comes" },
		{ "previous", 'p', FRONT_FLAG_BOOL, &g.previous, NULL, "of the container's life before this one" },
		{ "container", 'c', FRONT_FLAG_TEXT, &g.container, NULL, "which container" },
		{ "all-containers", 0, FRONT_FLAG_BOOL, &g.all_containers, NULL, "every container of the pod" },
		{ "selector", 'l', FRONT_FLAG_TEXT, &g.selector, NULL, "pods with these labels" },
		{ "tail", 0, FRONT_FLAG_NUMBER, &g.tail, NULL, "the last so many lines; -1: all (10 with a selector)" },
		{ "since", 0, FRONT_FLAG_DURATION, &g.since_ns, NULL, "no older than this: 5s, 2m, 3h" },
		{ "since-time", 0, FRONT_FLAG_TEXT, &g.since_time, NULL, "from this time on (RFC 3339)" },
		{ "limit-bytes", 0, FRONT_FLAG_NUMBER, &g.limit_bytes, NULL, "at most so many bytes" },
		{ "timestamps", 0, FRONT_FLAG_BOOL, &g.timestamps, NULL, "the time before each line" },
		{ "prefix", 0, FRONT_FLAG_BOOL, &g.prefix, NULL, "pod and container before each line" },
		{ "ignore-errors", 0, FRONT_FLAG_BOOL, &g.ignore_errors, NULL, "go on with the next container when one fails" },
		{},
	};
	int rc = front_verb_args(f, "logs", "[-f] [-p] (POD | TYPE/NAME) [-c CONTAINER] [flags]", "Prints what a container wrote.",
		flags, argc,
				 argv, &args);
	if (rc)
		return rc < 0;
	if (run(&g, &args, &targets, &err) < 0)
		(void)front_complain(f, &err, NULL);
	front_targets_done(&targets);
	return f->complaints > 0;
}
