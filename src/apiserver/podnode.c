#include "apiserver/podnode.h"

#include <pthread.h>
#include "json/json.h"

struct podnode {
	uint32_t refs; /* items; under the lock */
	uint32_t len;
	char name[];
};

/* One table for the process, as the store's detach function is one: an item must not point back at a server. Names are few (nodes),
 * and the lock is taken when a version of a pod is first looked at and when it dies. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map names;

static struct podnode *intern(struct span name)
{
	pthread_mutex_lock(&lock);
	struct podnode *n = map_get(&names, name);
	if (!n) {
		n = mem_alloc(sizeof(*n) + name.len);
		n->refs = 0;
		n->len = (uint32_t)name.len;
		if (name.len)
			memcpy(n->name, name.ptr, name.len);
		map_put(&names, span_make(n->name, n->len), n);
	}
	n->refs++;
	pthread_mutex_unlock(&lock);
	return n;
}

void podnode_detach(void *attached)
{
	struct podnode *n = attached;
	pthread_mutex_lock(&lock);
	if (--n->refs == 0) {
		map_remove(&names, span_make(n->name, n->len));
		if (!names.n)
			map_done(&names);
		free(n);
	}
	pthread_mutex_unlock(&lock);
}

unsigned podnode_names(void)
{
	pthread_mutex_lock(&lock);
	unsigned n = (unsigned)names.n;
	pthread_mutex_unlock(&lock);
	return n;
}

struct span podnode_of(struct store *s, const struct store_item *it)
{
	const struct podnode *n = store_item_attached(it);
	if (!n) {
		auto_arena struct arena a = {};
		struct json pod;
		struct span name = SPAN_EMPTY;
		if (json_parse(&a, bytes_span(it->value), JSON_BORROW | JSON_DUPLICATES_LAST, NULL, &pod, NULL) == 0)
			name = json_span(json_path(&pod, "spec", "nodeName", (char *)NULL));
		n = store_item_attach(s, it, intern(name));
	}
	return span_make(n->name, n->len);
}
