/* A git repository as a context: what dockerd's gitutils does, by the git program, in a folder of the build's own.
 *
 *     init ──> fetch --depth 1 REF ──(no shallow there)──> fetch REF ──> checkout FETCH_HEAD ──> submodules ──> without .git
 *
 * Nothing of the machine's settings counts (no system file, no HOME), nothing asks at a terminal, no hook runs: there are none in a
 * fresh folder without a template, and core.hooksPath leads nowhere. Protocols are those of a remote context, for submodules too;
 * so a repository cannot name a file of this machine or a program (ext::). Each git has the build's thread as its keeper: it is
 * killed when that ends, and when the build is to end. */
#include "builder/giturl.h"
#include "builder/work.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/proc.h"
#include "sys/sys.h"

#define TICK_MS 200    /* a wish to end is looked for so often */
#define SAID_MAX 2048  /* bytes of what git says that are told */
#define WORDS_MAX 16

struct git {
	struct build *w;
	const char *program, *root;
	const char *env[16];
	struct loop *loop;
	struct loop_timer tick;
	struct proc *proc;     /* each run has one of its own, which the loop lets go of later */
	int status;
	bool over;
};

struct started {
	struct proc proc;
	struct git *git;
};

static void on_ended(struct proc *p, int status, const struct rusage *used)
{
	struct git *g = container_of(p, struct started, proc)->git;
	g->status = status;
	g->over = true;
}

static void on_tick(struct loop_timer *t)
{
	struct git *g = container_of(t, struct git, tick);
	if (!g->over && builder_stop_raised(g->w->p->stop))
		proc_signal_group(g->proc, SIGKILL);
	loop_timer_start(t, TICK_MS);
}

/* What it said at its end, as one line. */
static struct span said(struct git *g, int fd)
{
	char text[SAID_MAX];
	struct stat st;
	off_t from = fstat(fd, &st) == 0 && st.st_size > SAID_MAX ? st.st_size - SAID_MAX : 0;
	ssize_t n = pread(fd, text, sizeof(text), from);
	return span_trim(arena_span(g->w->a, span_make(text, n > 0 ? (size_t)n : 0)));
}

/* 0; -class; INVALID_REQUEST with what it said when it fails. Words end with NULL. */
static int run(struct git *g, const char *what, const char *const *words, struct err *err)
{
	static const char *const always[] = { "-c", "core.hooksPath=/dev/null", "-c", "credential.helper=", "-c",
		"core.fsmonitor=false" };
	const char *argv[WORDS_MAX + ARRAY_LEN(always) + 2] = { g->program };
	size_t n = 1;
	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		argv[n++] = always[i];
	for (size_t i = 0; words[i]; i++)
		argv[n++] = words[i];
	auto_fd int out = open(g->w->b->work, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (out < 0)
		return err_sys(err, "make a file in %s", g->w->b->work);
	const struct proc_wish wish = { .path = g->program, .argv = argv, .env = g->env, .in = -1, .out = out, .err = out,
		.dir = g->root, .group = PROC_GROUP_OWN, .death_signal = SIGKILL };
	struct started *s = arena_new(g->w->a, struct started);
	s->git = g;
	g->proc = &s->proc;
	g->over = false;
	int rc = proc_start(g->proc, g->loop, "git", &wish, on_ended, err);
	while (rc == 0 && !g->over)
		(void)loop_turn(g->loop, true);
	rc = rc < 0 ? rc : builder_stop_check(g->w->p->stop, err);
	if (rc < 0 || (WIFEXITED(g->status) && WEXITSTATUS(g->status) == 0))
		return rc;
	struct span words_said = said(g, out);
	auto_buf struct buf how = {};
	proc_status_text(&how, g->status);
	return err_set(err, ERR_INVALID_REQUEST, "%s: %.*s: %s", what, SPAN_ARG(words_said), buf_cstr(&how));
}

static const char *program_find(struct arena *a)
{
	static const char *const folders[] = { "/usr/local/bin", "/usr/bin", "/bin" };
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		const char *path = arena_printf(a, "%s/git", folders[i]).ptr;
		if (access(path, X_OK) == 0)
			return path;
	}
	return NULL;
}

static void env_set(struct git *g)
{
	struct arena *a = g->w->a;
	const struct builder_params *p = g->w->p;
	size_t n = 0;
	g->env[n++] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	g->env[n++] = "LC_ALL=C";
	g->env[n++] = "HOME=/dev/null";
	g->env[n++] = "XDG_CONFIG_HOME=/dev/null";
	g->env[n++] = "GIT_CONFIG_NOSYSTEM=1";
	g->env[n++] = "GIT_CONFIG_GLOBAL=/dev/null";
	g->env[n++] = "GIT_TERMINAL_PROMPT=0";
	g->env[n++] = "GIT_ASKPASS=/bin/false";
	g->env[n++] = "GIT_SSH_COMMAND=ssh -o BatchMode=yes";
	g->env[n++] = "GIT_PROTOCOL_FROM_USER=0";
	g->env[n++] = "GIT_ALLOW_PROTOCOL=git:http:https:ssh";
	if (p->http_proxy.len)
		g->env[n++] = arena_printf(a, "http_proxy=%.*s", SPAN_ARG(p->http_proxy)).ptr;
	if (p->https_proxy.len)
		g->env[n++] = arena_printf(a, "https_proxy=%.*s", SPAN_ARG(p->https_proxy)).ptr;
	if (p->no_proxy.len)
		g->env[n++] = arena_printf(a, "no_proxy=%.*s", SPAN_ARG(p->no_proxy)).ptr;
	assert(n < ARRAY_LEN(g->env)); /* a NULL ends it */
}

static int clone_all(struct git *g, const struct git_url *u, struct err *err)
{
	struct arena *a = g->w->a;
	const char *remote = arena_cstr(a, u->remote), *ref = u->ref.len ? arena_cstr(a, u->ref) : "HEAD";
	int rc = run(g, "failed to init repo", (const char *const[]){ "init", "-q", "--template=", NULL }, err);
	rc = rc < 0 ? rc : run(g, "failed add origin repo", (const char *const[]){ "remote", "add", "origin", "--", remote, NULL },
		err);
	if (rc < 0)
		return rc;
	/* Servers of plain files have no shallow history to give. */
	rc = run(g, "error fetching", (const char *const[]){ "fetch", "-q", "--depth", "1", "origin", "--", ref, NULL }, NULL);
	if (rc == -ERR_INVALID_REQUEST)
		rc = run(g, "error fetching", (const char *const[]){ "fetch", "-q", "origin", "--", ref, NULL }, err);
	else if (rc < 0)
		(void)err_set(err, (enum err_class)-rc, "error fetching %s", remote);
	rc = rc < 0 ? rc : run(g, "error checking out", (const char *const[]){ "checkout", "-q", "FETCH_HEAD", NULL }, err);
	return rc < 0 ? rc : run(g, "error initializing submodules", (const char *const[]){ "submodule", "-q", "update", "--init",
		"--recursive", "--depth=1", NULL }, err);
}

/* The part that was asked for, inside the repository whatever its links say. */
static int part_open(struct git *g, const struct git_url *u, int *out_fd, struct err *err)
{
	auto_fd int root = open(g->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_free char *sub = mem_dup(u->subdir.len ? u->subdir.ptr : "/", u->subdir.len ? u->subdir.len : 1);
	if (root < 0)
		return err_sys(err, "open %s", g->root);
	/* What git keeps of its own is no part of a context: it is another after every clone. */
	int rc = snapshot_tree_remove(root, ".git", err);
	if (rc < 0)
		return rc;
	*out_fd = sys_path_open(root, sub, O_RDONLY | O_DIRECTORY, 0);
	if (*out_fd >= 0)
		return 0;
	return errno == ENOTDIR ? err_set(err, ERR_INVALID_REQUEST, "error setting git context, not a directory: %s", sub) :
		err_set(err, ERR_INVALID_REQUEST, "error setting git context, \"%s\" not within git root", sub);
}

/* What was checked out, as the archive that a client would have sent: owned by root, read like any other. */
static int context_make(struct git *g, int part, struct tree *out, struct err *err)
{
	struct build *w = g->w;
	const struct layer_owner own = { .set = true };
	struct tree folder;
	struct tar_fd_sink sink;
	struct layer l;
	auto_fd int spool = open(w->b->work, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	int rc = builder_tree_folder(&folder, part, w->p->stop, err); /* takes part */
	if (rc == 0 && spool < 0)
		rc = err_sys(err, "make a file in %s", w->b->work);
	if (rc == 0) {
		tar_fd_sink_init(&sink, spool);
		builder_layer_begin(&l, &sink.sink, -1, NULL, builder_now_ns(w));
		l.stop = w->p->stop;
		l.any_name = true;
		rc = builder_layer_copy(&l, &folder, folder.root, SPAN_EMPTY, NULL, &own, err);
		rc = rc < 0 ? rc : builder_layer_end(&l, err);
		builder_layer_done(&l);
	}
	builder_tree_done(&folder);
	if (rc < 0)
		return rc;
	struct tar_fd_source source;
	if (lseek(spool, 0, SEEK_SET) < 0)
		return err_sys(err, "read what was cloned");
	tar_fd_source_init(&source, spool);
	rc = builder_tree_read(out, &source.source, w->b->work, w->p->stop, err);
	tar_fd_source_done(&source);
	return rc;
}

static int cloned(struct git *g, const struct git_url *u, struct tree *out, struct err *err)
{
	int part = -1, rc = loop_new(NULL, &g->loop, err);
	if (rc < 0)
		return rc;
	loop_timer_init(&g->tick, g->loop, "git tick", on_tick);
	loop_timer_start(&g->tick, TICK_MS);
	rc = clone_all(g, u, err);
	loop_timer_stop(&g->tick);
	while (loop_turn(g->loop, false))
		(void)poll(NULL, 0, 1);
	loop_free(g->loop);
	rc = rc < 0 ? rc : part_open(g, u, &part, err);
	return rc < 0 ? rc : context_make(g, part, out, err);
}

int builder_git(struct build *w, struct span url, struct tree *out, struct err *err)
{
	struct git g = { .w = w, .program = program_find(w->a) };
	struct git_url u;
	int rc = builder_git_parse(url, w->a, &u, err);
	if (rc < 0)
		return rc;
	if (!g.program)
		return err_set(err, ERR_UNSUPPORTED,
			"unable to build from %.*s: there is no git program on this machine: install git, or clone it and build "
			"from the folder",
			SPAN_ARG(url));
	g.root = arena_printf(w->a, "%s/%s", w->b->work, builder_work_name(w->b, w->a, "git")).ptr;
	if (mkdir(g.root, 0700) < 0)
		return err_sys(err, "make folder %s", g.root);
	env_set(&g);
	rc = cloned(&g, &u, out, err);
	auto_fd int work = open(w->b->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (work >= 0)
		(void)snapshot_tree_remove(work, strrchr(g.root, '/') + 1, NULL); /* else it goes with the next open */
	return rc < 0 ? err_note(err, "unable to prepare context from %.*s", SPAN_ARG(u.remote)), rc : 0;
}
