/* Any archive into a folder, beside which another one must stay as it was. As root in a folder on /dev/shm (overlay needs
 * no mount for unpacking), else with plain copies. */
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64], witness[80];
static struct snapshot_store *store;

static void cleanup(void)
{
	snapshot_close(store);
	(void)snapshot_tree_remove(AT_FDCWD, dir, NULL);
}

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/dev/shm/knarr-fuzz-XXXXXX");
	if (!mkdtemp(dir))
		abort();
	char sub[80];
	snprintf(sub, sizeof(sub), "%s/s", dir);
	snprintf(witness, sizeof(witness), "%s/witness", dir);
	const struct snapshot_params p = { .dir = sub, .backend = SNAPSHOT_AUTO,
		.limits = { .entries = 200, .bytes = 1 << 20, .pax_bytes = 65536, .sparse_parts = 1000 } };
	struct err err = ERR_INIT;
	if (io_write_file(AT_FDCWD, witness, SPAN("untouched"), 0600, NULL) < 0 || snapshot_open(&p, &store, &err) < 0) {
		fprintf(stderr, "%s\n", err_msg(&err));
		abort();
	}
	atexit(cleanup);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!store)
		setup();
	struct tar_memory_source m;
	tar_memory_source_init(&m, span_make(data, size));
	struct tar_inflate *plain;
	tar_inflate_new(&m.source, 4 << 20, &plain);
	struct snapshot_pending *p = NULL;
	if (snapshot_unpack(store, "", tar_inflate_source(plain), &p, NULL, NULL) == 0)
		snapshot_unpack_drop(p);
	tar_inflate_free(plain);
	struct stat st;
	assert(stat(witness, &st) == 0 && st.st_size == 9 && (st.st_mode & 07777) == 0600 && st.st_nlink == 1);
	return 0;
}
