/* Between volume.c and volume_source.c. */
#pragma once

#include "kubelet/files.h"
#include "kubelet/volume.h"

/* A projected service account token: asked for, kept, renewed. */
struct vol_token {
	struct vol *vol;
	const struct api_core_service_account_token_projection *source; /* of the pod's object; kept current */
	struct client_call *call; /* NULL = none is out */
	char *text;               /* owned; NULL = none yet */
	int64_t renew_ns, expires_ns; /* wall clock */
	struct buf why;           /* the last failure */
};

struct vol {
	struct kl_volumes_pod *pod;
	const struct api_core_volume *spec;
	char *path;               /* owned; where the containers find it; NULL = not set up yet */
	bool set, dirty;          /* set: usable. dirty: to be looked at */
	bool readonly;            /* whatever the mount says */
	unsigned failures;
	int64_t retry_ms;         /* loop_now_ms scale; 0 = none is due */
	struct buf told;          /* the failure that was told last */
	struct vol_token *tokens; /* one for each token among the sources */
	unsigned n_tokens;
	/* of a claim */
	struct client_call *call;
	char *pv_name, *pv_path;  /* owned */
	struct span pv_type;      /* literal or in pv_path's allocation: hostPath's type */
	bool pv_local;
	struct buf why;
	struct vol_own *own;      /* its files are being given to fsGroup; NULL: no */
	struct err own_why;       /* ... and could not be */
	bool owned;
};

struct kl_volumes {
	struct kl_volumes_params p;
	struct loop_pool *pool; /* NULL until there is something for it to do */
	struct list removals, ownings; /* under way */
};

struct kl_volumes_pod {
	struct kl_volumes *v;
	struct kl_object *object; /* reference */
	char *uid, *dir;          /* owned; dir: ROOT/pods/UID */
	void *owner;
	struct vol *vols;
	unsigned n_vols;
	struct kl_ref **refs;
	unsigned n_refs, cap_refs;
	bool was_ready;
	struct loop_task settle;
	struct loop_timer timer;  /* the earliest of retries and renewals */
	struct loop_timer patience;
};

void kl_vol_wake(struct vol *v); /* to be looked at in this turn */
int64_t kl_vol_now_ns(const struct vol *v);

/* ---- volume_work.c */
int64_t kl_vol_backoff_ms(unsigned failures);
/* Unmounts and removes both folders (dir2 may be NULL); takes the texts. Again and again until it is done. */
void kl_vol_remove(struct kl_volumes *v, char *dir, char *dir2, void (*gone)(void *arg), void *arg);
/* kl_tree_own on a worker, once for each volume: 0 when it is done, -ERR_UNAVAILABLE while it is under way (kl_vol_wake comes), or
 * why it failed. */
int kl_vol_own(struct vol *v, const char *path, int64_t gid, bool mismatch, struct err *err);
void kl_vol_own_leave(struct vol *v);
void kl_vol_works_done(struct kl_volumes *v);

/* The files of a configMap, secret, downwardAPI or projected volume, in the arena. -ERR_UNAVAILABLE: something is still being
 * asked for, and kl_vol_wake comes. */
int kl_vol_files(struct arena *a, struct vol *v, struct kl_file **out, unsigned *out_n, struct err *err);
void kl_vol_tokens_init(struct vol *v);
void kl_vol_tokens_done(struct vol *v);
/* When a token wants to be renewed (wall clock); INT64_MAX = never. */
int64_t kl_vol_tokens_due(const struct vol *v);
