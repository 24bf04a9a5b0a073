/* The scheduler's state: nodes, pods and where each pod stands. Private to src/scheduler.
 *
 *     gated ──> active ──cycle──> binding ──> assigned
 *                 ^  └─fits nowhere─> unschedulable ──something changed, or 5 min──> backoff ──> active
 *                 └──────────────────────────── the binding failed <── binding */
#pragma once

#include "client/client.h"
#include "scheduler/plan.h"

enum place { PLACE_NONE, PLACE_GATED, PLACE_ACTIVE, PLACE_BACKOFF, PLACE_UNSCHEDULABLE, PLACE_BINDING, PLACE_ASSIGNED };

struct scheduler;
struct node {
	struct client_item *item; /* NULL: only named by pods */
	struct list pods;         /* pod.link: assigned and being bound */
	struct arena arena;       /* of columns */
	struct sched_node columns;
	bool dirty, good;         /* columns are to be made anew; they could be made */
	char name[];
};
struct pod {
	struct scheduler *s;
	struct client_item *item;
	struct node *node;     /* counted there; NULL: nowhere */
	struct list link;      /* of node.pods */
	struct list queued;    /* of scheduler.pending, while it has no node */
	enum place place;
	struct loop_timer timer; /* end of back-off, or of five minutes */
	struct client_call *call; /* of its binding */
	int64_t priority, since_ms, tried_ms;
	unsigned attempts;
};
struct scheduler {
	struct loop *loop;
	struct client *client;
	struct client_informer *pods, *nodes;
	struct client_recorder *events;
	struct map by_name; /* nodes */
	struct list pending;
	struct loop_task cycle;
	struct rng rng;
	bool begun;
};
struct scheduler *scheduler_new(struct loop *l, struct client *client);
void scheduler_start(struct scheduler *s);
void scheduler_free(struct scheduler *s); /* accepts NULL */
