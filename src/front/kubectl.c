/* The applet: a verb, its flags and the global ones, and the verbs that only look at what is served. */
#include "front/front.h"
#include "front/private.h"

static const struct front_verb verbs[] = {
	{ "api-resources", front_api_resources_main, "list the kinds of objects that the server has" },
	{ "api-versions", front_api_versions_main, "list the versions of the groups that the server has" },
	{ "apply", front_apply_main, "make objects be as files say" },
	{ "cluster-info", front_cluster_info_main, "show where the control plane and its services are" },
	{ "config", front_config_main, "look at and change the kubeconfig" },
	{ "create", front_create_main, "create the objects of files" },
	{ "delete", front_delete_main, "delete objects" },
	{ "describe", front_describe_main, "show objects for people to read, with their events" },
	{ "exec", front_exec_main, "run a command in a container" },
	{ "explain", front_explain_main, "describe the fields of a kind of objects" },
	{ "get", front_get_main, "show objects" },
	{ "logs", front_logs_main, "print what a container wrote" },
	{ "port-forward", front_port_forward_main, "lead ports of this machine to a pod" },
	{ "rollout", front_rollout_main, "watch and steer the rollout of a workload" },
	{ "scale", front_scale_main, "set the number of replicas" },
	{ "version", front_version_main, "show the versions of client and server" },
};

/* A flag may stand before the verb too, so both tables are read with the same rows. */
#define GLOBAL_FLAGS(g)                                                                                                  \
	{ "kubeconfig", 0, FRONT_FLAG_TEXT, &(g)->kubeconfig, NULL, "file with clusters, users and contexts" },          \
	{ "context", 0, FRONT_FLAG_TEXT, &(g)->context, NULL, "which context of it" },                                   \
	{ "cluster", 0, FRONT_FLAG_TEXT, &(g)->cluster, NULL, "which cluster of it" },                                   \
	{ "user", 0, FRONT_FLAG_TEXT, &(g)->user, NULL, "which user of it" },                                            \
	{ "namespace", 'n', FRONT_FLAG_TEXT, &(g)->ns, NULL, "the namespace of the request" },                           \
	{ "server", 's', FRONT_FLAG_TEXT, &(g)->server, NULL, "address of the API server" },                             \
	{ "token", 0, FRONT_FLAG_TEXT, &(g)->token, NULL, "bearer token" },                                              \
	{ "certificate-authority", 0, FRONT_FLAG_TEXT, &(g)->authority, NULL, "file with the authority of the server" },  \
	{ "client-certificate", 0, FRONT_FLAG_TEXT, &(g)->certificate, NULL, "file with our certificate" },              \
	{ "client-key", 0, FRONT_FLAG_TEXT, &(g)->key, NULL, "file with its key" },                                      \
	{ "tls-server-name", 0, FRONT_FLAG_TEXT, &(g)->tls_name, NULL, "the name in the server's certificate" },         \
	{ "as", 0, FRONT_FLAG_TEXT, &(g)->as, NULL, "act as this user" },                                                \
	{ "as-group", 0, FRONT_FLAG_LIST, &(g)->as_groups, NULL, "and as a member of these groups" },                    \
	{ "insecure-skip-tls-verify", 0, FRONT_FLAG_BOOL, &(g)->insecure, NULL, "believe any server" },                  \
	{ "request-timeout", 0, FRONT_FLAG_TEXT, &(g)->request_timeout, NULL, "longest time of a request; 0: any" }, \
	{ "cache-dir", 0, FRONT_FLAG_TEXT, &(g)->ignored, NULL, "accepted; nothing is kept between commands" },          \
	{ "v", 'v', FRONT_FLAG_TEXT, &(g)->verbosity, NULL, "level of messages; accepted, and nothing more is said" }

int front_verb_args(struct front *f, const char *verb, const char *usage, const char *about, const struct front_flag *flags,
		    int argc, char **argv, struct front_args *out)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf page = {};
	const struct front_flag global[] = { GLOBAL_FLAGS(&f->globals), {} };
	const struct front_flag *const tables[] = { flags, global };
	int rc = front_args_parse(&f->arena, tables, ARRAY_LEN(tables), argc - 1, argv + 1, out, &err);
	if (rc < 0) {
		(void)fprintf(stderr, "error: %s\nSee 'kubectl %s --help' for usage.\n", err_msg(&err), verb);
		return rc;
	}
	if (!out->help)
		return 0;
	buf_printf(&page, "%s\n\nOptions:\n", about);
	front_args_help(&page, flags);
	buf_printf(&page, "Usage:\n  kubectl %s %s\n\nOptions of every command:\n", verb, usage);
	front_args_help(&page, global);
	rc = io_write_all(1, page.ptr, page.len, &err);
	if (rc < 0)
		(void)fprintf(stderr, "error: %s\n", err_msg(&err));
	return rc < 0 ? rc : 1;
}

/* ---- api-resources */

static void resource_row(struct front_columns *c, const struct front_resource *r, bool names_only, bool wide)
{
	auto_buf struct buf text = {};
	if (names_only) {
		buf_span_add(&text, r->plural);
		if (r->group.len)
			buf_printf(&text, ".%.*s", SPAN_ARG(r->group));
		front_columns_cell(c, buf_span(&text), true);
		return;
	}
	front_columns_cell(c, r->plural, false);
	for (unsigned i = 0; i < r->short_names.n; i++)
		buf_printf(&text, "%s%.*s", i ? "," : "", SPAN_ARG(r->short_names.items[i]));
	front_columns_cell(c, buf_span(&text), false);
	buf_trunc(&text, 0);
	if (r->group.len)
		buf_printf(&text, "%.*s/", SPAN_ARG(r->group));
	buf_span_add(&text, r->version);
	front_columns_cell(c, buf_span(&text), false);
	front_columns_cell(c, r->namespaced ? SPAN("true") : SPAN("false"), false);
	front_columns_cell(c, r->kind, !wide);
	if (!wide)
		return;
	for (unsigned pass = 0; pass < 2; pass++) {
		const struct front_words *w = pass ? &r->categories : &r->verbs;
		buf_trunc(&text, 0);
		for (unsigned i = 0; i < w->n; i++)
			buf_printf(&text, "%s%.*s", i ? "," : "", SPAN_ARG(w->items[i]));
		front_columns_cell(c, buf_span(&text), pass == 1);
	}
}

/* By group, then by name, as kubectl sorts them. */
static int resource_cmp(const void *pa, const void *pb)
{
	const struct front_resource *const *a = pa, *const *b = pb;
	int c = span_cmp((*a)->group, (*b)->group);
	return c ? c : span_cmp((*a)->plural, (*b)->plural);
}

static int name_cmp(const void *pa, const void *pb)
{
	const struct front_resource *const *a = pa, *const *b = pb;
	int c = span_cmp((*a)->plural, (*b)->plural);
	return c ? c : span_cmp((*a)->group, (*b)->group);
}

static int kind_cmp(const void *pa, const void *pb)
{
	const struct front_resource *const *a = pa, *const *b = pb;
	int c = span_cmp((*a)->kind, (*b)->kind);
	return c ? c : span_cmp((*a)->group, (*b)->group);
}

int front_api_resources_main(struct front *f, int argc, char **argv)
{
	static const char *const heads[] = { "NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", "VERBS", "CATEGORIES" };
	auto_err struct err err = ERR_INIT;
	struct front_columns columns = {};
	struct front_args args;
	struct span group = SPAN_EMPTY, namespaced = SPAN_EMPTY, output = SPAN_EMPTY, order = SPAN_EMPTY;
	struct front_words with = {};
	bool no_headers = false;
	const struct front_flag flags[] = {
		{ "api-group", 0, FRONT_FLAG_TEXT, &group, NULL, "those of this group only" },
		{ "namespaced", 0, FRONT_FLAG_TEXT, &namespaced, "true", "those that live in namespaces (=false: that do not)" },
		{ "no-headers", 0, FRONT_FLAG_BOOL, &no_headers, NULL, "no line of column names" },
		{ "output", 'o', FRONT_FLAG_TEXT, &output, NULL, "wide or name" },
		{ "verbs", 0, FRONT_FLAG_LIST, &with, NULL, "those that can do all of these" },
		{ "sort-by", 0, FRONT_FLAG_TEXT, &order, NULL, "name or kind" },
		{},
	};
	int rc = front_verb_args(f, "api-resources", "[flags]", "Shows the kinds of objects that the server has.", flags, argc, argv,
		&args);
	if (rc)
		return rc < 0;
	bool wide = span_is(output, "wide"), names = span_is(output, "name");
	if (order.len && !span_is(order, "name") && !span_is(order, "kind"))
		rc = err_set(&err, ERR_USAGE, "--sort-by accepts only name or kind");
	else
		rc = output.len && !wide && !names ? err_set(&err, ERR_USAGE, "--output %.*s is not available", SPAN_ARG(output))
					   : front_discover(f, &err);
	if (rc < 0)
		return front_complain(f, &err, NULL) < 0;
	const struct front_resource **rows = arena_alloc_n(&f->arena, f->discovery.n + 1, sizeof(struct front_resource *));
	unsigned n = 0;
	for (unsigned i = 0; i < f->discovery.n; i++) {
		const struct front_resource *r = &f->discovery.rows[i];
		bool can = true;
		for (unsigned k = 0; k < with.n && can; k++)
			can = front_resource_can(r, arena_cstr(&f->arena, with.items[k]));
		if (can && r->preferred && r->verbs.n && (!group.len || span_eq(group, r->group)) &&
		    (!namespaced.len || r->namespaced == span_is(namespaced, "true")))
			rows[n++] = r;
	}
	qsort(rows, n, sizeof(rows[0]), span_is(order, "kind") ? kind_cmp : span_is(order, "name") ? name_cmp : resource_cmp);
	for (unsigned i = 0, last = wide ? 6 : 4; n && !no_headers && !names && i <= last; i++)
		front_columns_cell(&columns, span_of(heads[i]), i == last);
	for (unsigned i = 0; i < n; i++)
		resource_row(&columns, rows[i], names, wide);
	front_columns_flush(&columns, &f->out);
	front_columns_done(&columns);
	return 0;
}

static int span_order(const void *pa, const void *pb)
{
	return span_cmp(*(const struct span *)pa, *(const struct span *)pb);
}

int front_api_versions_main(struct front *f, int argc, char **argv)
{
	static const struct front_flag flags[] = { {} };
	auto_err struct err err = ERR_INIT;
	struct front_args args;
	int rc = front_verb_args(f, "api-versions", "", "Shows the versions of the groups that the server has.", flags, argc, argv,
		&args);
	if (rc)
		return rc < 0;
	rc = front_discover(f, &err);
	if (rc < 0)
		return front_complain(f, &err, NULL) < 0;
	struct span *list = arena_alloc_n(&f->arena, f->discovery.n + 1, sizeof(*list));
	unsigned n = f->discovery.n;
	for (unsigned i = 0; i < n; i++) {
		const struct front_resource *r = &f->discovery.rows[i];
		list[i] = r->group.len ? arena_printf(&f->arena, "%.*s/%.*s", SPAN_ARG(r->group), SPAN_ARG(r->version)) : r->version;
	}
	qsort(list, n, sizeof(*list), span_order);
	for (unsigned i = 0; i < n; i++)
		if (!i || !span_eq(list[i], list[i - 1]))
			buf_printf(&f->out, "%.*s\n", SPAN_ARG(list[i]));
	return 0;
}

/* ---- the applet */

static int print_commands(void)
{
	printf("kubectl controls a Kubernetes cluster.\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		printf("  %-15s %s\n", verbs[i].name, verbs[i].help);
	printf("\nUsage:\n  kubectl [flags] [options]\n\n"
	       "Use \"kubectl <command> --help\" for more information about a given command.\n");
	return 0;
}

/* Global flags may come before the verb: they are moved behind it. Returns the verb's place; argc when there is none. */
static int verb_place(int argc, char **argv)
{
	static const char *const bare[] = { "--insecure-skip-tls-verify", "-h", "--help" };
	for (int i = 1; i < argc; i++) {
		bool alone = strchr(argv[i], '=') != NULL;
		if (argv[i][0] != '-')
			return i;
		for (size_t k = 0; k < ARRAY_LEN(bare) && !alone; k++)
			alone = strcmp(argv[i], bare[k]) == 0;
		if (argv[i][1] != '-' && argv[i][1] && argv[i][2])
			alone = true; /* -nvalue */
		i += !alone;
	}
	return argc;
}

int front_kubectl_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	struct front f = {};
	int at = verb_place(argc, argv), status = 1;
	const struct front_flag global[] = { GLOBAL_FLAGS(&f.globals), {} };
	const struct front_flag *const tables[] = { global };
	struct front_args args;
	if (at >= argc && front_args_parse(&f.arena, tables, 1, argc - 1, argv + 1, &args, &err) < 0) {
		(void)fprintf(stderr, "error: %s\nSee 'kubectl --help' for usage.\n", err_msg(&err));
		front_done(&f);
		return 1;
	}
	if (at >= argc || strcmp(argv[at], "help") == 0)
		return print_commands();
	char *word = argv[at];
	memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof(*argv));
	argv[1] = word;
	const struct front_verb *verb = NULL;
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (strcmp(verbs[i].name, word) == 0)
			verb = &verbs[i];
	if (!verb) {
		(void)fprintf(stderr, "error: unknown command \"%s\" for \"kubectl\"\n", word);
		return 1;
	}
	status = verb->run(&f, argc - 1, argv + 1);
	if (front_flush(&f, &err) < 0) {
		(void)fprintf(stderr, "error: %s\n", err_msg(&err));
		status = 1;
	}
	front_done(&f);
	return status;
}
