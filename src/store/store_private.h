/* What the files of src/store share. Not for outsiders.
 *
 *   store.c         open, close, calls, status          store_disk.c    SQLite: schema, load, commit, checkpoint
 *   store_txn.c     building transactions               store_undo.c    undo history: thinning, reading
 *   store_commit.c  the committer thread                store_backup.c  backup, restore
 *   store_lease.c   leases                              store_iter.c    ranges, also at older revisions
 *   store_state.c   snapshots, ring, reclamation        store_port.c    completions and watches of one loop
 *   store_tree.c    the copy-on-write B-tree
 *
 * Threads: everything in `struct state` and below belongs to the committer, except the marked atomics and what a
 * published snapshot points to, which never changes again. */
#pragma once

#include <pthread.h>
#include <sqlite3.h>
#include "store/store.h"

/* ---- B-tree. Items sit in inner nodes too, so there are no separators that could keep a deleted value alive. */
#define NODE_MAX 62
#define NODE_MIN 20

struct node {
	uint64_t born;   /* number of the batch that made it: only that batch may change it */
	uint32_t total;  /* items in this subtree */
	uint16_t n;
	uint8_t leaf;
	uint8_t dead;    /* dropped by the batch that made it */
	struct store_item *items[NODE_MAX];
	struct node *kids[]; /* n + 1; absent in leaves */
};

/* ---- what may only be freed when no snapshot sees it: tagged pointers */
enum garbage_kind { GARBAGE_NODE, GARBAGE_ITEM, GARBAGE_SEGMENT, GARBAGE_DIR };

struct garbage {
	uintptr_t *v; /* owned; pointer | enum garbage_kind */
	size_t n, cap;
};

/* ---- ring */
#define SEGMENT_EVENTS 128
#define SEGMENT_BYTES (1 << 20)

struct segment {
	_Atomic uint32_t refs;
	uint32_t n;         /* the committer's: readers take the end from their snapshot */
	uint64_t born;
	uint64_t first;     /* number of its first event */
	uint64_t bytes;     /* that only the ring keeps alive */
	int64_t last_ms;    /* monotonic time of its last event */
	struct store_event events[SEGMENT_EVENTS]; /* items are owned */
};

struct ring_dir {
	uint64_t born;
	uint32_t n;
	struct segment *segments[]; /* each shared by all directories: one reference, given back through garbage */
};

/* ---- snapshots */
#define SNAPSHOT_BIAS (INT64_C(1) << 60)
#define SLOT_BITS 10
#define SLOTS_PER_CHUNK (1u << SLOT_BITS)
#define SLOT_CHUNKS 1024u
#define CURRENT_COUNT_BITS 44

struct store_snapshot {
	_Atomic int64_t count;
	struct state *st;
	uint32_t index;
	uint64_t seq;        /* number of the batch that published it */
	int64_t rev, floor_rev;
	struct node *root;   /* NULL = empty */
	struct ring_dir *dir;
	uint64_t events_end; /* number behind the last event */
	_Atomic(struct store_snapshot *) next_dead;
	struct list live;    /* the committer's: oldest first */
	struct garbage garbage; /* the committer's: what this is the newest live snapshot to see */
	struct store_snapshot *next_free;
};

struct state {
	/* Index of the current snapshot's slot << 44 | number of references taken through this word. One fetch_add gets
	 * the slot and the reference at once, so there is no moment between reading a pointer and counting it. */
	_Atomic uint64_t current;
	_Atomic(struct store_snapshot *) chunks[SLOT_CHUNKS];
	_Atomic(struct store_snapshot *) dead; /* superseded slots whose last reference went */
	void (*on_dead)(void *arg); /* a reader released the last reference of a superseded snapshot */
	void *on_dead_arg;
	void (*detach)(void *attached);

	/* the committer's from here on */
	uint32_t n_slots;
	struct store_snapshot *free_slots;
	struct store_snapshot *published;
	struct list live;
	uint64_t n_live;

	/* the batch under work */
	uint64_t seq;             /* its number */
	struct node *root;
	int64_t rev;              /* last revision used in it */
	struct node **fresh;      /* nodes made by it */
	size_t n_fresh, cap_fresh;
	struct store_item **made; /* items put by it, borrowed from the tree */
	size_t n_made, cap_made;
	struct store_item **lost; /* items put and replaced by it: they die at its end */
	size_t n_lost, cap_lost;
	struct garbage retired;   /* what it superseded */
	struct store_event *staged;
	size_t n_staged, cap_staged;

	/* the ring, as published */
	struct ring_dir *dir;
	uint64_t events_end;
	int64_t floor_rev;
	uint64_t ring_bytes;
	uint64_t ring_events;
};

struct store_item *store_item_new(struct span key, struct bytes *value);
static inline uint64_t store_item_bytes(const struct store_item *it) { return it->key_len + it->value->len; }

void store_state_init(struct state *st, int64_t rev);
void store_state_done(struct state *st);
/* A batch: put and delete change the working tree and stage events; commit publishes, drop forgets. */
void store_state_begin(struct state *st);
const struct store_item *store_state_get(struct state *st, struct span key); /* of the working tree */
void store_state_put(struct state *st, struct store_item *it);  /* takes the reference; it->rev etc. are set */
bool store_state_delete(struct state *st, struct span key, int64_t rev);
void store_state_load_settle(struct state *st); /* loading: no events, no way back */
void store_state_commit(struct state *st, int64_t rev, int64_t now_ms);
void store_state_drop(struct state *st);
bool store_state_full(const struct state *st); /* no slot is left for another snapshot */
void store_state_reap(struct state *st);
/* Drops ring segments older than before_ms or beyond max_bytes, or with revisions up to rev. Inside a batch. */
bool store_state_ring_due(const struct state *st, int64_t before_ms, uint64_t max_bytes);
void store_state_ring_trim(struct state *st, int64_t before_ms, uint64_t max_bytes, int64_t upto_rev);
int64_t store_state_ring_oldest_ms(const struct state *st); /* INT64_MAX when empty */
struct store_snapshot *store_state_acquire(struct state *st);

uint64_t store_snapshot_events_begin(const struct store_snapshot *snap);
/* Segment that holds event seq, and its end as this snapshot sees it. seq must be in the ring. */
struct segment *store_snapshot_segment(const struct store_snapshot *snap, uint64_t seq, uint64_t *out_end);
uint64_t store_snapshot_event_of_rev(const struct store_snapshot *snap, int64_t rev); /* first event at or above rev */

/* tree */
const struct store_item *store_tree_get(const struct node *root, struct span key);
/* Index of the first item >= key; *out_found if equal. */
unsigned store_node_search(const struct node *n, struct span key, bool *out_found);
struct store_item *store_tree_put(struct state *st, struct store_item *it);
struct store_item *store_tree_delete(struct state *st, struct span key);
uint64_t store_tree_rank(const struct node *root, struct span key); /* items below key */
uint64_t store_tree_rank_end(const struct node *root, struct span prefix); /* items below the end of the prefix */
bool store_tree_check(const struct node *root, bool is_root); /* invariants; for tests */
void store_garbage_add(struct garbage *g, void *p, enum garbage_kind kind);

/* -1, 0 or 1 as the key lies below, in or above the prefix range. */
static inline int store_key_vs_prefix(struct span key, struct span prefix)
{
	size_t n = MIN(key.len, prefix.len);
	int c = n ? memcmp(key.ptr, prefix.ptr, n) : 0;
	if (c)
		return c < 0 ? -1 : 1;
	return key.len < prefix.len ? -1 : 0;
}

/* ---- calls */
enum dirt { DIRT_NONE, DIRT_VOLATILE, DIRT_FLEETING }; /* how a transaction is kept, and what its items are until a flush */

enum call_kind { CALL_TXN, CALL_SYNC, CALL_GRANT, CALL_KEEP, CALL_REVOKE, CALL_COMPACT, CALL_HISTORY, CALL_HISTORY_AT,
		 CALL_BACKUP, CALL_KIND_COUNT };

struct txn_compare {
	struct bytes *key;
	struct bytes *value; /* NULL for numbers */
	int64_t number;
	uint8_t field, how;
};
enum op_kind { OP_PUT, OP_DELETE, OP_DELETE_PREFIX, OP_GET, OP_RANGE };
struct txn_op {
	struct bytes *key;
	struct bytes *value;
	int64_t lease;
	uint32_t limit;
	uint8_t kind, branch, count_only;
};
struct store_txn {
	struct store_call call; /* first */
	struct txn_compare *compares;
	size_t n_compares, cap_compares;
	struct txn_op *ops;
	size_t n_ops, cap_ops;
	size_t bytes;
	enum dirt dirt;
	bool held;
	struct store_result *results;
	size_t n_results;
};
void store_txn_results_clear(struct store_txn *t);

struct other_call { /* every kind but transactions */
	struct store_call call; /* first */
	struct bytes *key;      /* key, prefix or path */
	int64_t number, number2, number3;
	uint32_t limit;
};
void store_call_free(struct store_call *call);

/* ---- undo history in memory: one entry per record on disk that is no longer current, in order of death */
struct dead {
	int64_t row;       /* 0 = removed already */
	int64_t born_rev, died_rev;
	uint32_t born_s, died_s; /* Unix seconds */
	uint32_t bytes;
	uint32_t hash;     /* of the key */
	bool tombstone;
};
struct undo {
	struct dead *v; /* owned; a queue [head, n) */
	size_t head, n, cap;
	uint64_t shifted; /* entries that have left the array: v[i] is entry shifted + i */
	size_t tier[2];  /* index up to which each tier has been thinned */
	uint64_t bytes, rows;
};
uint32_t store_undo_hash(struct span key);
void store_undo_add(struct undo *u, struct dead d);
void store_undo_done(struct undo *u);

/* ---- disk */
struct disk_row {
	const struct store_item *item; /* borrowed; NULL = tombstone */
	struct span key;
	int64_t row, rev, at_ms;
};
struct disk_batch {
	struct disk_row *rows; /* owned array */
	size_t n_rows, cap_rows;
	struct { int64_t id, ttl_ms; } *leases; /* owned; ttl 0 = delete */
	size_t n_leases, cap_leases;
	int64_t reserve;  /* new reserved revision, 0 = as it is */
};
struct disk {
	sqlite3 *db;
	char *path;
	sqlite3_stmt *begin, *commit, *rollback, *insert, *lease_put, *lease_delete, *meta_put, *row_delete, *row_get,
		*page_count, *free_count;
	int64_t reserved;   /* durable */
	int64_t removed;    /* records ever removed; durable with each removal */
	int64_t last_row;   /* durable */
	uint64_t page_size, pages, free_pages; /* as last measured */
	uint64_t written_since; /* payload bytes since then */
	int wal_pages;
	int64_t laid_out_ms; /* monotonic; when zeros were last put behind the log */
	bool cached;        /* SQLite holds pages since a commit */
};
struct store;
int store_disk_open(struct store *s, struct err *err); /* opens, checks, loads the state, leases and undo */
void store_disk_close(struct disk *d);
int store_disk_commit(struct disk *d, const struct disk_batch *b, int64_t now_ms, struct err *err);
/* Removes records; ids that are 0 are skipped. */
int store_disk_remove(struct disk *d, const int64_t *rows, size_t n, int64_t rev, struct err *err);
bool store_disk_shrink(struct disk *d, struct err *err); /* one step; true = there may be more */
void store_disk_rest(struct disk *d); /* gives SQLite's page cache back: the file's right edge is all that comes again */
int store_disk_checkpoint(struct disk *d, bool truncate, struct err *err);
void store_disk_measure(struct disk *d);
int store_disk_row_read(struct disk *d, int64_t row, struct store_version *out, struct err *err); /* owns key and value */
int store_disk_err(struct disk *d, int rc, struct err *err, const char *what);
uint64_t store_disk_sum(struct span key, int64_t rev, int64_t create_rev, int64_t version, int64_t lease, int64_t at_ms,
		  bool is_delete, struct span value);

/* ---- leases */
struct lease {
	int64_t id, ttl_ms;
	int64_t ends_ms;        /* monotonic */
	struct buf keys;        /* u16 length, key; may hold keys that have left */
	size_t n_keys, n_gone;
	bool ending;
	char name[8];           /* the id's bytes: key of the map */
	struct list link;
};

/* ---- one staged change; side tables follow it only after the commit */
struct change {
	struct store_item *item; /* referenced; NULL = deleted */
	struct store_item *prev; /* referenced; NULL = created */
	int64_t rev, at_ms;
	int64_t new_row;         /* record written for it, 0 = none */
	int64_t old_row;         /* record that this one makes history, 0 = none */
	bool flush;              /* no change: a volatile item written down */
};

struct backup_job;

struct store {
	const struct store_ops *ops;
	struct state st;
	struct clock *clock;
	struct store_options o;
	char *dir; /* owned */
	int lock_fd;

	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* queue, sleeping, stopping, status */
	pthread_cond_t cond;
	struct list queue;
	bool stopping, kicked;
	atomic_bool sleeping;
	struct store_status status;

	pthread_mutex_t ports_lock;
	struct list ports;

	/* the committer's */
	struct disk disk;
	struct undo undo;
	struct map leases;
	struct list lease_list;
	struct change *changes;
	size_t n_changes, cap_changes;
	struct disk_batch batch;
	int64_t next_row;
	uint64_t live_bytes, dirty_bytes;
	int64_t dirty_since_ms;  /* monotonic; when dirty_bytes left 0, or of the last flush if that left fleeting items */
	int64_t retry_ms;        /* after a failure: flushes and ends of leases not before */
	int64_t idle_retry_ms;   /* the same for housekeeping */
	int64_t busy_ms;         /* time of the last batch with calls */
	int64_t burnt_rev;       /* highest revision of a refused batch: it may be on disk, so nobody gets it again */
	int64_t compact_rev;     /* asked for in this batch */
	bool flush_now;
	bool idle_work;          /* something was written since idle rounds came to an end */
	bool volatile_used;      /* this batch made volatile changes */
	uint64_t commits, syncs;
	int last_error;
	struct err close_err;
	struct list backups;     /* calls */
	struct backup_job *backup;
};

static inline int64_t store_mono_ms(struct store *s) { return clock_mono_ms(s->clock); }
static inline int64_t store_unix_ms(struct store *s) { return clock_wall_ns(s->clock) / NS_PER_MS; }

int store_committer_start(struct store *s, struct err *err);
void store_committer_stop(struct store *s); /* finishes the queue, writes volatile state; failures in close_err */
void store_committer_submit(struct store *s, struct store_call *call);
void store_committer_kick(struct store *s);
void store_committer_on_dead(void *arg);

/* Applies one transaction to the working state; a refusal goes into call.err and changes nothing. */
void store_txn_apply(struct store *s, struct store_txn *t, int64_t at_ms);
int64_t store_change_rev(struct store *s); /* a revision not used before */
void store_change_put(struct store *s, const struct txn_op *op, int64_t rev, int64_t at_ms, enum dirt dirt,
		struct store_item **out_item, struct store_item **out_prev); /* borrowed */
void store_change_delete(struct store *s, const struct store_item *it, int64_t rev, int64_t at_ms);
void store_change_flush(struct store *s, struct store_item *it);
void store_changes_follow(struct store *s); /* after the commit: the side tables */
void store_changes_forget(struct store *s);

struct lease *store_lease_get(struct store *s, int64_t id);
struct lease *store_lease_add(struct store *s, int64_t id, int64_t ttl_ms);
void store_lease_remove(struct store *s, struct lease *l);
void store_lease_follow(struct store *s, const struct change *c);
void store_lease_key_add(struct lease *l, struct span key);
int64_t store_lease_next_end(const struct store *s);
/* Deletes up to 1,000 of its keys in the batch under work; true when none is left and the lease itself went. */
bool store_lease_end_step(struct store *s, struct lease *l, int64_t at_ms);
void store_leases_done(struct store *s);
void store_lease_stage(struct store *s, int64_t id, int64_t ttl_ms);

int store_undo_thin(struct store *s, bool force, struct err *err); /* one step of up to 1,000 records */
bool store_undo_due(struct store *s, bool force);
void store_undo_history(struct store *s, struct other_call *c);
void store_undo_history_at(struct store *s, struct other_call *c);

void store_backup_step(struct store *s, struct list *answered); /* one step of the running or next one */
void store_backup_abort(struct store *s, struct list *answered);

void store_port_answer(struct store_port *p, struct store_call *call);
void store_ports_wake(struct store *s, bool events);
