/* The supervisor's inside: server.c owns it, part.c one process each, rows.c what they are, objects.c what a new cluster holds. */
#pragma once

#include "cluster/private.h"
#include "http/http.h"
#include "loop/loop.h"
#include "proc/proc.h"

struct server;
struct network_passage;
struct part;

/* ---- rows.c */

enum socket_id { SOCKET_API, SOCKET_API_HOST, SOCKET_API_UNIX, SOCKET_DOCKER, SOCKETS };
#define SOCKET_BIT(id) (1U << (id))

#define PART_ARGS_MAX 96
struct part_args {
	struct arena *arena;
	const char *v[PART_ARGS_MAX];
	unsigned n;
};
void part_arg(struct part_args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* How a part says that it is well: an answer of 2xx over HTTP. */
struct part_probe {
	const struct span *unix_path; /* else: HTTPS at 127.0.0.1 */
	unsigned port;
	bool plain;	    /* HTTP */
	bool any;	    /* an answer of any status says that it lives: it knows us not */
	const char *target; /* NULL: it cannot be asked; it says that it serves (notify_ready) */
};
struct part_row {
	const char *applet;
	unsigned sockets;  /* SOCKET_BITs, passed in the order of socket_id */
	unsigned stage;    /* of stopping: 0 first */
	void (*arguments)(const struct server *s, struct part_args *a);
	void (*probe)(const struct server *s, struct part_probe *out);
};
extern const struct part_row part_rows[CLUSTER_PARTS];
#define STAGES 2

/* ---- part.c */

struct part {
	struct server *server;
	const struct part_row *row;
	const char *name;
	struct proc proc;
	enum cluster_part_state state;
	unsigned ends;		/* in a row: the back-off's exponent */
	uint64_t restarts, start_ticks;
	int64_t began_ms, began_s, ready_ms; /* of this life; ready_ms -1: not yet */
	struct loop_timer timer; /* the next start, or the next probe */
	unsigned probes;
	bool any_status;	/* of the probe that is out */
	unsigned bad;		/* probes that failed, in a row */
	struct http_call *call;	/* the probe that is out */
	struct buf health;	/* empty: well */
	char last_end[40];
};
void part_init(struct part *p, struct server *s, unsigned id);
void part_done(struct part *p);
void part_start(struct part *p);
/* Is it still well? Asked each minute; three failures in a row end it, and it is started anew. */
void part_look(struct part *p);
/* Is its log, or the supervisor's own, too long? */
void part_log_look(const struct server *s, const char *name);
/* SIGTERM, or SIGKILL; it is not started again. True: there was a process to end. */
bool part_stop(struct part *p, int signum);

/* It said that it serves. */
void part_notice(struct part *p);

/* ---- notices.c */

struct notices {
	struct server *server;
	struct loop_fd fd;
	int sock;
};
int notices_open(struct notices *n, struct server *s, struct err *err);
void notices_close(struct notices *n);

/* ---- objects.c */

struct objects {
	struct server *server;
	unsigned out;
	unsigned rounds;  /* that failed, in a row: the back-off's exponent */
	unsigned refused; /* of this round: the same would be said again */
	bool begun, failed;
	struct loop_timer again;
};
void objects_init(struct objects *o, struct server *s);
void objects_start(struct objects *o); /* the API server answers */
void objects_done(struct objects *o);

/* ---- node.c */

struct node;
/* Follows this machine's node until it is Ready (server_node_ready). */
void node_watch(struct server *s);
void node_free(struct node *n); /* accepts NULL */
/* Is what a kubelet said of the node at said_s the word of this one? first_s: when the first word that was seen was said. */
bool cluster_word_is_new(int64_t said_s, int64_t first_s, int64_t began_s, int64_t now_s);

/* ---- containers.c */

struct ending {
	struct server *server;
	struct buf body;
	unsigned out, stopped;
	void (*done)(struct server *s);
};
/* Stops every container through the engine's socket; done follows, whatever came of it. */
void ending_start(struct ending *e, struct server *s, void (*done)(struct server *s));

/* ---- network.c */

/* The namespace of a cluster with a network of its own, made or found again, with its cable and the cable's way through
 * firewalls of others; the calling thread is inside it afterwards. s->address is settled. */
int cluster_network_enter(const struct cluster_layout *l, struct cluster_settings *s, struct network_passage **out,
			  struct err *err);
/* The calling thread enters what is there. NOT_FOUND. */
int cluster_network_join(const struct cluster_layout *l, struct err *err);
/* Cable, rules and namespace go. */
int cluster_network_remove(const struct cluster_layout *l, struct err *err);

/* ---- server.c */

struct step {
	const char *name;
	struct span detail; /* in the server's arena */
	int64_t ms;
};
struct server {
	struct loop *loop;
	struct cluster_layout l;
	struct cluster_settings s;
	struct arena texts;
	int lock;
	int sockets[SOCKETS];
	const char *phase;
	struct step steps[CLUSTER_STEPS_MAX];
	unsigned n_steps;
	const char *failed_step, *remedy;
	struct err failure;
	int64_t began_ms, began_s; /* monotonic, wall */
	struct part parts[CLUSTER_PARTS];
	struct notices notices;
	struct objects objects;
	struct network_passage *passage; /* owned; NULL on the host's network */
	struct node *node; /* owned; NULL: not watched (any more) */
	bool node_ready;
	struct ending ending;
	struct http_client *http;
	struct tls_ctx *any_tls; /* believes whatever listens at 127.0.0.1 of our own ports */
	struct loop_task changed;
	struct loop_timer minute, logs, certs, deadline;
	struct loop_ending asked;	   /* to stop; containers go on */
	struct loop_signal asked_all; /* SIGUSR1: containers stop too */
	struct loop_signal asked_certs; /* SIGUSR2 */
	const char *systemd; /* its NOTIFY_SOCKET; NULL: none */
	bool stopping, stop_containers, finishing;
	unsigned stage;
};
void server_step(struct server *s, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Something that state.json says has changed; written once, at the end of this turn. */
void server_changed(struct server *s);
void server_part_ready(struct server *s, struct part *p);
void server_part_ended(struct server *s, struct part *p);
void server_node_ready(struct server *s);
void server_notice(struct server *s, pid_t pid);
