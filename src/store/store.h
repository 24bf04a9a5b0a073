/* The store: keys with revisions, in etcd's model, behind one table of functions. The seam of src/store.
 *
 * MODEL (etcd v3). One revision number counts committed transactions that changed something. A key carries the
 * revision of its creation, that of its last change, a version (1 at creation, +1 a change) and at most one lease.
 * A transaction compares, then runs one of two branches; everything in it happens at one revision. A watch tells
 * every change of a key or prefix from a revision on, in order, without gaps, or says EXPIRED. The first change of an
 * empty store has revision 2.
 *
 * WHERE THINGS ARE. The current state is in memory in an immutable tree; a `struct store_snapshot` is a counted
 * handle on it, taken by any thread without a lock, and everything read through it is of one revision for as long as
 * it is held. Recent changes stand in a bounded ring of events (history_ms, history_bytes). Only writing waits, so
 * only writing (and what must ask the disk, or with another backend a peer) takes a completion.
 *
 * DURABILITY. An ordinary transaction is answered after its sync: whatever was answered without error is there after
 * SIGKILL or loss of power, at the same revision. A transaction that was answered with IO, NO_SPACE or UNAVAILABLE
 * changed nothing that anybody can see; but when the process dies before any later write succeeded, the disk may
 * turn out to hold it after all (the device took the data and failed the sync). Revisions are never used twice, not
 * even those of such failures.
 *   A VOLATILE transaction (store_txn_volatile) is answered from memory. A clean store_close keeps it. A crash may
 * lose exactly this: volatile changes since the last flush (at most volatile_flush_ms ago and volatile_bytes large), and fleeting
 * ones, see below; each key then is as the last durable change left it (absent, if it never was durable). Deleting is volatile
 * only for what was never written to disk. Revisions are reserved on disk in blocks of 10,000 before volatile changes use
 * them, so after a crash numbering goes on above every revision ever seen; it may jump by a block.
 *   A FLEETING transaction (store_txn_fleeting) is a volatile one whose keys their owner deletes fleeting_ms later, or changes
 * before. The flush of the hour leaves out what ends before the next one comes: it would be written twice, with its end, and
 * read never. A clean close, a backup and the flush of more than volatile_bytes write it with all else, and the flush of the
 * hour does when its owner is late by an interval. So a crash may lose fleeting changes of the last fleeting_ms +
 * volatile_flush_ms. Deleting what was left out writes nothing.
 *   Watches do not outlive the process: after a restart a watch may begin at the store's revision + 1 (an unbroken
 * continuation after a clean close), any older one is EXPIRED, and its owner lists again.
 *
 * THREADS. Any thread may take snapshots, read, and hand in calls. Answers and watch events come out of a
 * `struct store_port`, one per loop thread: the store calls the port's wake function (on the committer's thread; at most
 * once until the port runs again), the loop calls store_port_run, and all callbacks run there. A call without port
 * is answered on the committer's thread: its callback must be short and must not wait.
 *
 *     struct store_options o = { .dir = "/var/lib/knarr/store" };
 *     if (store_open(&o, &s, &err) < 0) ...
 *     struct store_port *p = store_port_open(s, wake_my_loop, loop);
 *     struct store_txn *t = store_txn_new();
 *     store_txn_if(t, key, STORE_REV, STORE_EQUAL, seen_rev);           // optimistic lock; 0 = must not exist
 *     store_txn_put(t, STORE_THEN, key, value, 0);
 *     store_txn_get(t, STORE_ELSE, key);                                // on conflict: what is there now
 *     store_commit(s, t, p, on_written, request);
 *     ...
 *     struct store_snapshot *snap = store_snapshot(s);
 *     const struct store_item *it = store_get(snap, key);
 *     store_snapshot_unref(snap);
 *
 * LIMITS. Key 1 to 1,024 bytes; value up to STORE_VALUE_MAX; STORE_TXN_OPS_MAX compares and operations each; a key is
 * changed at most once in a transaction (INVALID_REQUEST otherwise). At most a million snapshots of different revisions. */
#pragma once

#include "base/base.h"

struct store;
struct store_snapshot;
struct store_port;
struct store_watch;
struct store_txn;
struct node;
struct segment;

#define STORE_KEY_MAX 1024
#define STORE_VALUE_MAX (8 << 20)
#define STORE_TXN_OPS_MAX 1024

/* ---- opening */

struct store_options {
	const char *dir;           /* of the embedded store; made if missing (0700). Holds `store.db` and `lock`. */
	struct clock *clock;       /* NULL = the real one. With another one, tell the store of changes: store_kick. */
	int64_t quota_bytes;       /* pages in use on disk; 0 = 8 GB. Beyond it puts get NO_SPACE, deletes go on. */
	int64_t history_ms;        /* protocol history: age, 0 = 5 minutes ... */
	int64_t history_bytes;     /* ... and memory that it alone keeps alive, 0 = 64 MB */
	int64_t undo_ms;           /* older revisions on disk: age, 0 = 24 hours; never more bytes than live data (1 MB) */
	int64_t volatile_flush_ms; /* 0 = 1 hour */
	int64_t volatile_bytes;    /* 0 = 4 MB */
	int64_t fleeting_ms;       /* how long a fleeting change stands; 0 = for ever: it is flushed as a volatile one */
	void (*detach)(void *attached); /* frees what store_item_attach hung on an item; any thread */
	int wal_pages;             /* a log of this many 8 KB pages is moved home in an idle moment, of 8 times as many
				    * at once; 0 = 512 */
	const char *vfs;           /* SQLite's name of the file layer, NULL = the system's; for fault tests */
};

/* Opens (or makes) the embedded store; reads all of it, checks every record's sum and the count of records. Blocks.
 * IN_USE: another process holds the folder. CORRUPT: which record is damaged, what to do. UNSUPPORTED: written by a
 * newer version. */
int store_open(const struct store_options *o, struct store **out_store, struct err *err);
/* Finishes what was handed in, writes volatile state, closes. Every snapshot, watch and port is gone before. Blocks.
 * A failure to write volatile state is reported; the store is closed all the same. */
int store_close(struct store *s, struct err *err);

/* ---- items and snapshots */

/* One version of one key. Immutable and counted; the marked places of the value are the reader's business: `rev` is
 * what belongs into resourceVersion. */
struct store_item {
	_Atomic uint32_t refs;
	uint16_t key_len;
	uint8_t dirty_;         /* the committer's: not on disk in this version, and why (enum dirt) */
	int64_t rev;            /* of this version (etcd: mod_revision) */
	int64_t create_rev;
	int64_t version;
	int64_t lease;          /* 0 = none */
	int64_t at_ms;          /* Unix time of the commit */
	struct bytes *value;    /* shared; never NULL */
	_Atomic(void *) attached;
	int64_t row_;           /* the committer's: id of this key's newest record on disk, 0 = none */
	uint64_t born_;
	char key[];             /* key_len bytes and a 0 byte */
};
static inline struct span store_item_key(const struct store_item *it)
{
	return (struct span){ it->key, it->key_len };
}
static inline struct store_item *store_item_ref(const struct store_item *it)
{
	struct store_item *i = (struct store_item *)it;
	atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
	return i;
}
void store_item_unref(struct store_item *it); /* accepts NULL */
/* Hangs derived data (columns, another encoding) on an item, once: the first one in wins, and what is attached then
 * is returned; a loser's own is detached at once. Lives as long as the item. */
void *store_item_attach(struct store *s, const struct store_item *it, void *data);
static inline void *store_item_attached(const struct store_item *it)
{
	return atomic_load_explicit(&((struct store_item *)it)->attached, memory_order_acquire);
}

/* The current state. Never NULL, never waits. Hold it for a request, not for ever: it keeps what it sees alive. */
struct store_snapshot *store_snapshot(struct store *s);
struct store_snapshot *store_snapshot_ref(struct store_snapshot *snap);
void store_snapshot_unref(struct store_snapshot *snap); /* accepts NULL */
int64_t store_snapshot_rev(const struct store_snapshot *snap);
/* Events and reads at a revision reach down to the one above this. */
int64_t store_snapshot_floor(const struct store_snapshot *snap);

/* The item, borrowed until the snapshot is released (take a reference to keep it), or NULL. */
const struct store_item *store_get(struct store_snapshot *snap, struct span key);
/* Number of keys with the prefix; O(log n). */
uint64_t store_count(struct store_snapshot *snap, struct span prefix);

/* In key order (bytes), all keys with a prefix, from a key on, now or at an older revision:
 *     struct store_iter it;
 *     if (store_iter_init(&it, snap, prefix, from, 0, &err) < 0) ...
 *     while ((item = store_iter_next(&it))) ...
 *     store_iter_done(&it);
 * prefix and from are copied into the iterator; from may be empty. rev 0 = the snapshot's; an older one (above the floor or
 * equal to it) is rebuilt from the ring at the cost of one pass over the younger events. EXPIRED below the floor;
 * INVALID_REQUEST above the snapshot. The iterator borrows the snapshot; items are borrowed as with store_get. */
#define STORE_DEPTH_MAX 12
struct store_undone {
	struct span key;
	uint64_t seq;
	const struct store_item *item; /* NULL = did not exist */
};
struct store_iter {
	struct store_snapshot *snap; /* borrowed */
	struct {
		const struct node *node;
		unsigned at;
	} stack[STORE_DEPTH_MAX];
	unsigned depth;
	struct store_undone *undone; /* owned */
	size_t n_undone, undone_at;
	uint16_t prefix_len;
	char prefix[STORE_KEY_MAX];
};
int store_iter_init(struct store_iter *it, struct store_snapshot *snap, struct span prefix, struct span from, int64_t rev,
		    struct err *err);
const struct store_item *store_iter_next(struct store_iter *it);
/* How many are still to come, this pass not disturbed; what remainingItemCount needs. */
uint64_t store_iter_left(const struct store_iter *it);
void store_iter_done(struct store_iter *it);

/* ---- calls: everything that may wait */

struct store_version { /* one entry of undo history */
	int64_t rev, create_rev, version, at_ms;
	struct span key;       /* lives as long as the call */
	struct bytes *value;   /* shared; NULL = deleted */
};

/* What a completion gets; the store frees it after the callback has returned. Take references to keep parts. */
struct store_call {
	struct list link_;
	int kind_;
	struct store_port *port_;
	void (*done)(struct store_call *call, void *arg);
	void *arg;
	struct err err;   /* class 0 = success */
	int64_t rev;      /* transaction: its revision (unchanged store: the current one); else the current one */
	int64_t lease;    /* lease calls */
	int64_t ttl_ms;   /* granted or remaining */
	struct store_version *versions; /* history calls: newest first, or by key */
	size_t n_versions;
	bool more;        /* history calls: ask again with `next` */
	int64_t next;
};
typedef void store_done_fn(struct store_call *call, void *arg);

/* ---- transactions */

enum store_field { STORE_REV, STORE_CREATE_REV, STORE_VERSION, STORE_LEASE, STORE_VALUE, STORE_FIELD_COUNT };
enum store_compare { STORE_EQUAL, STORE_NOT_EQUAL, STORE_LESS, STORE_GREATER };
enum store_branch { STORE_THEN, STORE_ELSE };

/* Built by one thread, handed over by store_commit. Keys are copied; values are shared (a reference is taken).
 * A mistake while building (limits) is remembered and comes out as the call's error. */
struct store_txn *store_txn_new(void);
void store_txn_free(struct store_txn *t); /* only if not handed over; accepts NULL */
/* The number fields of an absent key are 0; its value equals nothing and is unequal to nothing: false (as in etcd). */
void store_txn_if(struct store_txn *t, struct span key, enum store_field field, enum store_compare how, int64_t number);
void store_txn_if_value(struct store_txn *t, struct span key, enum store_compare how, struct span value);
void store_txn_put(struct store_txn *t, enum store_branch b, struct span key, struct bytes *value, int64_t lease);
void store_txn_delete(struct store_txn *t, enum store_branch b, struct span key);
void store_txn_delete_prefix(struct store_txn *t, enum store_branch b, struct span prefix);
void store_txn_get(struct store_txn *t, enum store_branch b, struct span key);
/* limit 0 = none, at most 65,536 items are answered; count_only gives no items. */
void store_txn_range(struct store_txn *t, enum store_branch b, struct span prefix, uint32_t limit, bool count_only);
/* See DURABILITY above. For renewals and heart beats only, and for Events. Of several calls the last one counts. */
void store_txn_volatile(struct store_txn *t);
void store_txn_fleeting(struct store_txn *t);

struct store_result { /* of one operation of the branch that ran, in its order */
	struct store_item **items; /* get, range: found; put: the new item */
	size_t n_items;
	struct store_item **prev;  /* put, delete: what was there */
	size_t n_prev;
	uint64_t count;            /* range: of all keys in it; delete: deleted */
};
bool store_txn_held(const struct store_call *call);  /* the compares were all true, STORE_THEN ran */
/* For tests alone (a model is compared with every answer): whoever writes here knows what it wrote, and reads from snapshots. */
size_t store_txn_results(const struct store_call *call, const struct store_result **out_results);

/* Hands the transaction over. done runs on the port's thread, or the committer's when port is NULL; never inside this call. */
void store_commit(struct store *s, struct store_txn *t, struct store_port *port, store_done_fn *done, void *arg);

/* ---- the other calls. All answer through done. */

/* Linearizable read: a snapshot taken after the answer holds every write answered (anywhere) before the question. For tests alone,
 * as long as each store is one process's: there a snapshot holds them anyway. */
void store_sync(struct store *s, struct store_port *port, store_done_fn *done, void *arg);
/* id 0 = choose one. EXISTS when taken. Durable. ttl_ms at least 1,000. A restart begins every lease's time anew. */
void store_lease_grant(struct store *s, int64_t id, int64_t ttl_ms, struct store_port *port, store_done_fn *done, void *arg);
void store_lease_keep(struct store *s, int64_t id, struct store_port *port, store_done_fn *done, void *arg);
/* Deletes the lease and its keys (in transactions of up to 1,000 keys); also what happens when its time is up. */
void store_lease_revoke(struct store *s, int64_t id, struct store_port *port, store_done_fn *done, void *arg);
/* Forgets protocol history up to and including rev: watches from there and reads below it are EXPIRED. Undo history stays. */
void store_compact(struct store *s, int64_t rev, struct store_port *port, store_done_fn *done, void *arg);
/* Versions of one key on disk, newest first, at most limit (0 = 1,000); continue with call->next. */
void store_history(struct store *s, struct span key, uint32_t limit, int64_t next, struct store_port *port,
		   store_done_fn *done, void *arg);
/* What has been superseded or deleted since a revision (rev > 0) or a Unix time (at_ms, to the second): the versions of
 * keys with the prefix that stood then, in no order, up to 1,000 a call; continue with call->next while call->more. Keys
 * that have not changed since are not told: they are the items of a snapshot taken before the first call whose rev (at_ms)
 * is not above; what both tell is the same. Where a version was thinned away, its older neighbour stands for it. */
void store_history_at(struct store *s, struct span prefix, int64_t rev, int64_t at_ms, int64_t next,
		      struct store_port *port, store_done_fn *done, void *arg);
/* A complete copy in one file (written beside it, synced, renamed), while work goes on. */
void store_backup(struct store *s, const char *path, struct store_port *port, store_done_fn *done, void *arg);
/* Checks a backup completely and makes it the store of an empty or missing dir; EXISTS if that holds a store. Revisions
 * go on a thousand million above the backup's, so that none that a client saw comes again. Blocks. */
int store_restore(const char *backup, const char *dir, struct err *err);

/* ---- ports and watches */

/* wake(arg) runs on the committer's thread (or inside store_watch_* on the port's own) and must only schedule
 * store_port_run on the port's thread, e.g. through an eventfd. */
struct store_port *store_port_open(struct store *s, void (*wake)(void *arg), void *arg);
/* Runs callbacks for what has arrived, up to about budget events per watch; true = there is more, run again soon. */
bool store_port_run(struct store_port *p, unsigned budget);
/* Watches are closed and calls answered before. */
void store_port_close(struct store_port *p);
/* The revision up to which every caught-up watch of this port has been told everything: for bookmarks. */
int64_t store_port_rev(const struct store_port *p);

struct store_event {
	int64_t rev;
	struct store_item *item; /* NULL = deleted */
	struct store_item *prev; /* NULL = created */
};
static inline struct span store_event_key(const struct store_event *e)
{
	return store_item_key(e->item ? e->item : e->prev);
}
/* Events for one or many watches of the same prefix: watches that are up to date get the very same batch (compare
 * `serial`), so that what is made of it can be shared. The array is valid during the callback; the events themselves and
 * all that they point to live as long as a reference to the segment: one count, not one per event. */
struct store_batch {
	const struct store_event *const *events; /* in order */
	size_t n;
	uint64_t serial;          /* differs between batches of one port */
	struct segment *segment;  /* the piece of the ring that they stand in; counted */
};
void store_segment_unref(struct segment *seg); /* any thread; accepts NULL */

struct store_watch_fns {
	/* Returns how many of the events it took (the first ones). Fewer than all pauses the watch: it costs nothing until
	 * store_watch_resume, and then goes on from there. */
	size_t (*events)(struct store_watch *w, const struct store_batch *b, void *arg);
	/* It fell behind the ring (EXPIRED). Nothing follows; close it. */
	void (*expired)(struct store_watch *w, void *arg);
};
/* Changes of keys with the prefix (exact: of that key) at revisions from on (0 = after the current one). EXPIRED at
 * once if from is not above the floor. On the port's thread, as all of these. The first event never comes inside. */
int store_watch_open(struct store_port *p, struct span prefix, bool exact, int64_t from, const struct store_watch_fns *fns,
		     void *arg, struct store_watch **out_watch, struct err *err);
void store_watch_resume(struct store_watch *w);
/* Every event up to this revision has been taken. */
int64_t store_watch_rev(const struct store_watch *w);
void store_watch_close(struct store_watch *w); /* also from inside its callbacks */

/* ---- looking in */

struct store_status {
	int64_t rev, floor_rev;
	uint64_t items, live_bytes;          /* keys and values */
	uint64_t ring_events, ring_bytes;    /* bytes that only the ring keeps alive */
	uint64_t undo_rows, undo_bytes;
	uint64_t dirty_bytes;                /* volatile, not on disk */
	uint64_t snapshots;                  /* of different revisions, the current one included */
	uint64_t disk_bytes, disk_used_bytes, wal_bytes, quota_bytes;
	uint64_t commits, syncs;             /* batches published; of those with a sync */
	int last_error;                      /* class of the last refused batch, 0 once one has succeeded again */
	uint64_t leases;
};
/* As of the last batch that was answered: a snapshot may show the next one a moment before. */
void store_status(struct store *s, struct store_status *out_status);
/* Makes the committer look at the clock and its timers. */
void store_kick(struct store *s);

/* The backend table. A second backend (etcd over gRPC) keeps the same state in memory, fed by one watch, and fills in
 * these; nothing above sees a difference. Each takes ownership of the call and answers it later, never inside. */
struct store_ops {
	const char *name;
	void (*submit)(struct store *s, struct store_call *call); /* any of the calls above */
	int (*close)(struct store *s, struct err *err);
	void (*kick)(struct store *s);
};
