/* jansson's side of bench/json.c. It is opened with dlopen, and its header stays in this file, because its names (json_copy,
 * json_equal, JSON_NULL) are ours too. */
#include <dlfcn.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "json_jansson.h"

static struct {
	json_t *(*loadb)(const char *text, size_t len, size_t flags, json_error_t *err);
	char *(*dumps)(const json_t *v, size_t flags);
	void (*delete)(json_t *v);
} jansson;

bool bench_jansson_open(void)
{
	void *lib = dlopen("libjansson.so.4", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
	if (!lib)
		return false;
	jansson.loadb = (__typeof__(jansson.loadb))dlsym(lib, "json_loadb");
	jansson.dumps = (__typeof__(jansson.dumps))dlsym(lib, "json_dumps");
	jansson.delete = (__typeof__(jansson.delete))dlsym(lib, "json_delete");
	return jansson.loadb && jansson.dumps && jansson.delete;
}

void *bench_jansson_load(const char *text, size_t len)
{
	return jansson.loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
}

void bench_jansson_drop(void *v)
{
	jansson.delete(v);
}

void bench_jansson_dump(const void *v)
{
	free(jansson.dumps(v, JSON_COMPACT));
}
