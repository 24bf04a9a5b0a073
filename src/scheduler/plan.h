/* Nodes and pods as a scheduling cycle sees them, filters and scores. Pure functions over columns; private to src/scheduler. */
#pragma once

#include "api/api.h"
#include "json/json.h"

enum { SCHED_CPU, SCHED_MEMORY, SCHED_EPHEMERAL, SCHED_BASICS }; /* milli, bytes, bytes */
#define SCHED_EXTENDED_MAX 8
#define SCHED_PORTS_MAX 64

struct sched_amount { /* of an extended resource */
	struct span name;
	int64_t n;
};
struct sched_request {
	int64_t basics[SCHED_BASICS];
	struct sched_amount more[SCHED_EXTENDED_MAX];
	unsigned n_more;
};
struct sched_port {
	struct span ip, protocol; /* "" = all, TCP */
	int64_t port;
};
/* A pod that wants a node. Everything lies in the arena it was read into. */
struct sched_pod {
	struct span node_name;
	struct sched_request request;
	struct sched_port ports[SCHED_PORTS_MAX];
	unsigned n_ports;
	const struct json *tolerations, *node_selector, *terms; /* terms: required node affinity */
	int64_t priority;
	const char *unknown;  /* what it asks for and nobody here decides; NULL: nothing */
};
struct sched_node {
	struct span name;
	const struct json *labels, *taints;
	bool unschedulable;
	struct sched_request room, used;
	int64_t max_pods, n_pods;
	int64_t weight[2]; /* milli processors and bytes that scores go by: pods that name nothing count as a little */
	struct sched_port *ports; /* in use */
	unsigned n_ports;
};
/* False: more extended resources or ports than SCHED_*_MAX, or nonsense. */
bool sched_pod_read(struct arena *a, const struct json *pod, struct sched_pod *out);
bool sched_node_read(struct arena *a, const struct json *node, struct sched_node *out);
/* Counts a pod as being there: its requests, its weight, itself. Its ports are the caller's. */
void sched_node_count(struct sched_node *n, const struct sched_pod *p);
void sched_request_add(struct sched_request *to, const struct sched_request *by, int sign);

enum sched_verdict {
	SCHED_FITS,
	SCHED_NO_ROOM,  /* would fit if others went */
	SCHED_NEVER,    /* not whatever others do */
};
#define SCHED_REASONS_MAX 12
/* NULL-ended reasons in kube-scheduler's words (in the arena), at least one unless it fits. */
enum sched_verdict sched_filter(struct arena *a, const struct sched_pod *p, const struct sched_node *n,
				struct span reasons[static SCHED_REASONS_MAX], unsigned *out_n);
/* 0 to 100: how empty the node would be with the pod on it (LeastAllocated of cpu and memory). */
int64_t sched_score(const struct sched_pod *p, const struct sched_node *n);

/* "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: ..." */
struct sched_tally {
	struct {
		struct span reason;
		unsigned n;
	} rows[64];
	unsigned n_rows, no_room, never;
};
void sched_tally_add(struct sched_tally *t, enum sched_verdict v, const struct span *reasons, unsigned n);
struct span sched_tally_words(struct arena *a, struct sched_tally *t, unsigned n_nodes);
