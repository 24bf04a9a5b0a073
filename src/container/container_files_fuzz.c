/* `docker cp` with whatever path and archive: the first line is the path, the rest what is extracted there. Beside the root
 * stands a folder that no link and no ".." may lead to: it must stay as it was. The tree is made anew for each input. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container/files_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char top[64];
static int top_fd = -1;

static void cleanup(void)
{
	fd_close(&top_fd);
	(void)snapshot_tree_remove(AT_FDCWD, top, NULL); /* at the process' end: what stays lies in /dev/shm */
}

static void need(bool ok)
{
	if (!ok)
		abort();
}

static int tree_make(void)
{
	static const char *const links[][2] = { { "d", "dl" }, { "/d/sub/../../d/f", "abs" }, { "/nosuch/x", "dang" },
		{ "../../outside", "up" }, { "../outside/witness", "d/up" }, { "loop2", "loop1" }, { "loop1", "loop2" } };
	need(io_mkdirs(top_fd, "root/d/sub", 0755, NULL) == 0);
	int root = openat(top_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	need(root >= 0 && io_write_file_lazy(root, "d/f", SPAN("x\n"), 0644, NULL) == 0);
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		need(symlinkat(links[i][0], root, links[i][1]) == 0);
	return root;
}

static void setup(void)
{
	snprintf(top, sizeof(top), "/dev/shm/knarr-files-XXXXXX");
	need(mkdtemp(top));
	atexit(cleanup);
	top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	need(io_mkdirs(top_fd, "outside", 0755, NULL) == 0 &&
	     io_write_file_lazy(top_fd, "outside/witness", SPAN("untouched"), 0600, NULL) == 0);
}

static void outside_check(void)
{
	auto_buf struct buf text = {};
	uint64_t entries, bytes;
	struct stat st;
	auto_fd int outside = openat(top_fd, "outside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	need(outside >= 0 && io_read_file(outside, "witness", &text, 64, NULL) == 0);
	assert(span_is(buf_span(&text), "untouched"));
	need(snapshot_tree_count(outside, &entries, &bytes, NULL) == 0 && fstatat(outside, "witness", &st, 0) == 0);
	assert(entries == 1 && (st.st_mode & 07777) == 0600 && st.st_nlink == 1);
}

static int forget(struct tar_sink *s, struct span data, struct err *err)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	struct span path, archive;
	struct files_path p;
	struct container_files_stat st;
	if (top_fd < 0)
		setup();
	if (!span_split(span_make(data, size), '\n', &path, &archive))
		archive = SPAN_EMPTY;
	auto_fd int root = tree_make();
	if (container_files_path(path, &a, &p, NULL) == 0)
		assert(p.path[0] == '/' && p.parent[0] == '/' && !span_has(span_of(p.path), SPAN("/../")) &&
		       !span_ends(span_of(p.path), SPAN("/..")) && (p.inside || *p.leaf));
	if (container_files_stat(root, "c", path, &a, &st, NULL) == 0)
		assert(!span_is(st.name, "witness") && !span_is(st.name, "outside"));
	struct tar_sink sink = { .push = forget };
	(void)container_files_get(root, "c", path, &sink, NULL, NULL, NULL); /* any answer will do */
	struct tar_memory_source from;
	tar_memory_source_init(&from, archive);
	const struct container_files_put put = { .no_overwrite_dir_non_dir = size & 1,
		.limits = { .entries = 200, .bytes = 1 << 20, .pax_bytes = 65536, .sparse_parts = 1000 } };
	(void)container_files_put(root, "c", path, &from.source, &put, NULL);
	outside_check();
	need(snapshot_tree_remove(top_fd, "root", NULL) == 0);
	return 0;
}
