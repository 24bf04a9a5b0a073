/* Inside of a monitor: one process, one container, one static struct. */
#pragma once

#include "monitor/build.h"
#include "monitor/log.h"
#include "monitor/msg.h"

/* What an epoll event names. */
enum source {
	SOURCE_SIGNALS,
	SOURCE_CHILD,
	SOURCE_LISTEN,
	SOURCE_INPUT,
	SOURCE_MEMORY,
	SOURCE_STREAM,			/* 2 */
	SOURCE_CLIENT = SOURCE_STREAM + 2, /* MONITOR_CLIENTS_MAX */
	SOURCE_COUNT = SOURCE_CLIENT + MONITOR_CLIENTS_MAX
};

struct stream {
	struct log_stream log;
	size_t taken;	   /* of log.line, by the log; still there until compacted */
	size_t piece, piece_len; /* what was read last: where clients that are behind go on */
	unsigned stuck;	   /* clients that hold the reading up */
	int fd;		   /* -1 = ended or not there */
	uint32_t armed;
};

/* The answer that a client's full queue did not take; until it does no further request is read. op 0 = none */
struct owed {
	uint8_t op;
	uint16_t tag;
	int class, errnum;
	char text[96];
};

struct client {
	int fd; /* -1 = free */
	uint32_t armed;
	unsigned takes; /* MONITOR_TAKE_* */
	int patience_ms;
	bool stuck[2];
	int64_t stuck_until_ms;
	bool is_control, waits, starts, watches_log;
	uint16_t wait_tag, start_tag, log_tag;
	struct owed owed;
};

struct run {
	const struct monitor_spawn *spawn; /* in the spawner's packet, of which this process has its copy */
	int epoll, signals, listen, dir, lock;
	int child;	/* channel of the child that builds or starts; -1 = none under way */
	bool child_answered;
	bool child_starts; /* START's, not the one that builds */
	bool start_waits;  /* START came while the child that had built was about to leave */
	bool later;	   /* the child waits for BUILD */
	int terminal;	/* master */
	int input;	/* -1 = closed */
	int theirs[3];	/* the container's ends, until they are given to the child that builds; -1 */
	uint32_t input_armed;
	size_t input_len, input_at; /* in packet[] */
	bool input_end; /* close it when all of it is written */
	int memory;	/* counter of kills for lack of memory; -1 = unknown */
	int memory_event; /* what tells that it may have grown: an eventfd on v1; -1 = the counter itself */
	uint32_t memory_armed;
	uint64_t oom_told; /* kills that were told */
	uint16_t rows, cols;
	enum monitor_phase phase;
	pid_t pid;
	uint64_t ticks;
	struct monitor_exit end;
	bool recorded, quit;
	int64_t linger_until_ms;
	struct stream streams[2];
	struct log_file log;
	struct client clients[MONITOR_CLIENTS_MAX];
	/* The request under way; while the container does not take its input, what is left of that stays here and other
	 * requests, which have no payload, are read into `small`. */
	char packet[MONITOR_REQUEST_MAX];
	char small[sizeof(struct monitor_head)];
};
extern struct run monitor_run_state;

/* Everything from the clone on; control is the connection whose other end the engine gets. */
/* The state folder's lock, -1 with errno EWOULDBLOCK when another monitor has it. It is a description of its own: one on the
 * engine's would last as long as the engine holds its descriptor. */
int monitor_run_lock(int state_dir);
/* lock: of monitor_run_lock, taken over; -1: it is still to be taken. */
void monitor_run(const struct monitor_spawn *s, int control, int lock) __attribute__((noreturn));

/* run.c */
int64_t monitor_run_ms(void);
/* Makes epoll watch fd for events, or (0) forget it: an idle source must not wake us by its hang-up. */
void monitor_run_arm(int fd, enum source source, uint32_t *armed, uint32_t events);
bool monitor_run_streams_done(const struct run *m);
int monitor_run_start(struct run *m, struct err *err);
int monitor_run_build(struct run *m, struct err *err); /* BUILD */
void monitor_run_unwanted(struct run *m) __attribute__((noreturn)); /* BUILD will never come */
/* It could not be built or started: everybody is told, and without a first process this is the end. */
void monitor_run_failed(struct run *m, enum err_class class, int errnum, const char *text);
void monitor_run_state_fill(struct run *m, struct monitor_state *out);

/* stream.c */
void monitor_stream_open(struct run *m, int i, int fd);
/* Reads what is there; false when there is nothing more for now. */
bool monitor_stream_read(struct run *m, int i);
void monitor_stream_close(struct run *m, int i);
void monitor_input_write(struct run *m);
/* len bytes behind the head in packet[]. False when there is no input any more. */
bool monitor_input_take(struct run *m, size_t len);
void monitor_input_close(struct run *m);

/* client.c */
void monitor_client_accept(struct run *m);
struct client *monitor_client_add(struct run *m, int fd);
void monitor_client_event(struct run *m, struct client *c, uint32_t events);
void monitor_client_drop(struct run *m, struct client *c);
void monitor_client_arm(struct run *m, struct client *c);
/* False when the client was dropped. */
bool monitor_client_say(struct run *m, struct client *c, enum monitor_op op, uint16_t tag, int a, int b,
			struct span payload);
/* The last thing read from stream i, to all that want it. */
void monitor_client_output(struct run *m, int i);
void monitor_client_patience(struct run *m, int64_t now_ms);
/* Something waits until it has room for it, while its patience lasts. */
bool monitor_client_is_stuck(const struct client *c);
/* WAIT is answered when nothing more can come to that client. */
void monitor_client_waits_answer(struct run *m);
/* Word about the build or start: to the control connections, and to whoever asked START. */
void monitor_client_started(struct run *m);
void monitor_client_oom(struct run *m, uint64_t kills);
/* To who watches the log, if it has begun a new file. */
void monitor_client_rotated(struct run *m);
void monitor_client_failed(struct run *m, enum err_class class, int errnum, const char *text);
