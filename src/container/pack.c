/* Rotated files of logs with compress=true become name.N.gz (logs_compress). The monitor rotates and has no room for zlib; it tells
 * that it has, once for each time it is asked, so that a log that rotates a thousand times a second is no flood of words:
 *
 *     start, end, engine opens ──┐                       one file of one log at a time, on a worker
 *     ROTATED ───────────────────┴──> packs: [under way] [waits] [waits] ──nothing left──> PAUSE_MS ──> WATCH_LOG, while it runs
 *
 * What fails is told and tried again at the next of these occasions; the plain file is there meanwhile. A removal waits until the
 * worker has left the folder. */
#include <fcntl.h>

#include "container/private.h"
#include "logs/logs.h"

enum { PAUSE_MS = 200, FULL_MS = 50 };

struct pack {
	struct list link; /* engine's packs */
	struct container *c;
	bool again;       /* due once more while it was under way */
	bool dropped;     /* no more for this one */
	struct loop_task *then;
	struct loop_timer watch_timer;
	/* of the worker */
	char id[65];
	int rc;
	struct err err;
};

static struct pack *first(struct container_engine *e)
{
	return LIST_FIRST(&e->packs, struct pack, link);
}

static void pack_run(struct loop_work *w)
{
	struct container_engine *e = container_of(w, struct container_engine, pack_work);
	struct pack *p = first(e); /* the loop's thread takes only others away */
	char name[96];
	snprintf(name, sizeof(name), "%s-json.log", p->id);
	auto_fd int dir = openat(e->containers_fd, p->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->rc = dir < 0 ? err_sys(&p->err, "open the folder of the log") : logs_compress(dir, name, &e->pack_stop, &p->err);
}

static void next(struct container_engine *e);

static void pack_done(struct loop_work *w)
{
	struct container_engine *e = container_of(w, struct container_engine, pack_work);
	struct pack *p = first(e);
	struct loop_task *then = take(&p->then);
	bool more = p->rc > 0 || p->again;
	list_remove(&p->link);
	e->pack_working = p->again = false;
	if (p->rc < 0 && p->rc != -ERR_CANCELLED)
		container_warn(e, "a rotated log stays uncompressed", p->id, &p->err);
	err_done(&p->err);
	if (then)
		loop_defer(e->o.loop, then);
	if (!p->dropped && !e->closing) {
		if (more)
			list_push(&e->packs, &p->link);
		else
			loop_timer_start(&p->watch_timer, PAUSE_MS);
	}
	next(e);
	container_busy(e, -1);
}

static void next(struct container_engine *e)
{
	if (e->closing || e->pack_working || loop_timer_running(&e->pack_timer) || !first(e))
		return;
	atomic_store(&e->pack_stop, false);
	e->pack_working = loop_work_submit(e->o.pool, e->o.loop, &e->pack_work, "container log", pack_run, pack_done) == 0;
	if (e->pack_working)
		container_busy(e, 1);
	else
		loop_timer_start(&e->pack_timer, FULL_MS);
}

static void pool_again(struct loop_timer *t)
{
	next(container_of(t, struct container_engine, pack_timer));
}

static void watch(struct loop_timer *t)
{
	struct pack *p = container_of(t, struct pack, watch_timer);
	auto_err struct err err = ERR_INIT;
	if (p->c->control_sock >= 0 && monitor_send(p->c->control_sock, MONITOR_WATCH_LOG, 1, 0, 0, SPAN_EMPTY, &err) < 0 &&
	    err.errnum == EAGAIN)
		loop_timer_start(t, PAUSE_MS); /* it is behind; else it is gone, and its end is under way */
}

static bool is_at_work(const struct pack *p)
{
	return p->c->e->pack_working && first(p->c->e) == p;
}

void container_pack_due(struct container *c)
{
	struct container_engine *e = c->e;
	const struct json *log = json_getl(c->host, "LogConfig");
	if (e->closing || !span_is(container_str(log, "Type"), "json-file") || !container_log_compresses(json_getl(log, "Config")))
		return;
	if (!c->pack) {
		c->pack = mem_new(struct pack);
		c->pack->c = c;
		memcpy(c->pack->id, c->id, sizeof(c->pack->id));
		list_init(&c->pack->link);
		loop_timer_init(&c->pack->watch_timer, e->o.loop, "container log", watch);
		c->pack->watch_timer.background = true;
	}
	struct pack *p = c->pack;
	loop_timer_stop(&p->watch_timer);
	if (p->dropped)
		return;
	if (is_at_work(p))
		p->again = true;
	else if (list_empty(&p->link))
		list_push(&e->packs, &p->link);
	next(e);
}

/* True: a worker is at it, and gives up. */
static bool drop(struct pack *p)
{
	loop_timer_stop(&p->watch_timer);
	p->dropped = true;
	if (is_at_work(p)) {
		atomic_store(&p->c->e->pack_stop, true);
		return true;
	}
	list_remove(&p->link);
	return false;
}

bool container_pack_drop(struct container *c, struct loop_task *then)
{
	bool waits = c->pack && drop(c->pack);
	if (waits)
		c->pack->then = then;
	return waits;
}

void container_packs_close(struct container_engine *e)
{
	loop_timer_stop(&e->pack_timer);
	LIST_EACH (&e->all, c, struct container, link)
		if (c->pack)
			(void)drop(c->pack); /* the worker keeps the engine busy */
}

void container_packs_init(struct container_engine *e)
{
	list_init(&e->packs);
	loop_timer_init(&e->pack_timer, e->o.loop, "container log", pool_again);
	e->pack_timer.background = true;
}

void container_pack_free(struct container *c)
{
	if (!c->pack)
		return;
	(void)drop(c->pack);
	free(take(&c->pack));
}
