/* The monitor: one small process beside each container, and the spawner that alone makes them.
 *
 *     engine ── SOCK_SEQPACKET pair ── spawner (`knarr-run spawn`)
 *                                        └─ clone ─ monitor, one per container, subreaper, fixed buffers
 *                                                     ├─ its child parses, builds (runtime.h), and is gone again
 *                                                     └─ the container's first process
 *
 * The engine starts the spawner once, with one end of a socket pair as a descriptor (`knarr-run spawn --fd N`), and sends it
 * one packet per container. The spawner clones, answers with the monitor's number, a pidfd and a connected control
 * socket, and goes on; a request that it cannot read or serve is answered with an error. It ends when the engine's
 * end is closed, and what is still asked for then is not made. A monitor that was made belongs to nobody: it lives until its
 * container's end is recorded.
 *
 * In the state folder (one per container, made by the engine, mode 0700; its descriptor is passed):
 *     monitor.sock   where the monitor answers, until it ends
 *     monitor.json   {"version":1,"id","pid","startTicks","containerPid","containerStartTicks","boot","startedAt"}: who
 *                    watches. Atomic, not synced: after a power cut neither process exists. boot is the machine's boot_id.
 *     exit.json      how it ended: see struct monitor_exit. Atomic and synced before anybody is told; with EXEC or VOLATILE
 *                    not synced.
 * The folder is locked (flock) from before the monitor's clone to its end.
 * An engine that returns asks monitor_find: the exit, or the connected monitor, or that it was lost (killed).
 *
 * ---- Packets. Both sockets are SOCK_SEQPACKET, so a packet keeps its borders and there is no other framing: struct monitor_head
 * in host byte order, then len bytes of payload. A peer that breaks the form is answered with MONITOR_ERROR; on a monitor's
 * socket it is then closed. tag is chosen by who asks and comes back in the answer.
 *
 *     op             a               b              payload         answer
 *     SPAWN          -               -              see encode      SPAWNED (spawner only), ERROR
 *     STATUS         -               -              -               STATE
 *     WAIT           -               -              -               STATE when the container has ended
 *     START          -               -              -               STATE when the program runs, ERROR when it cannot. May be sent
 *                                                                   as soon as STARTED has told that it is held
 *     KILL           signal          -              -               OK, ERROR
 *     RESIZE         rows            columns        -               OK, ERROR
 *     ATTACH         MONITOR_TAKE_*  patience, ms   -               OK, then OUTPUT packets
 *     DETACH         -               -              -               OK
 *     STDIN          -               -              data            none; ERROR when there is no input any more
 *     CLOSE_STDIN    -               -              -               OK, ERROR
 *     ROTATE         -               -              -               OK, ERROR: the log begins a new file
 *     REOPEN         -               -              -               OK, ERROR: somebody else renamed the log (kubelet)
 *     SOCKETS        -               -              -               OK with the held sockets' descriptors
 *     QUIT           -               -              -               OK when the container has ended, and the monitor ends
 *     BUILD          -               -              -               none, but STARTED or ERROR of the build: with LATER
 *     WATCH_LOG      -               -              -               ROTATED when the log has begun a new file since that was told
 *                                                                   last: once, and at once when it has already
 * From the monitor:
 *     OK             -               -              -
 *     ERROR          class           errno          text
 *     OUTPUT         1 or 2          -              up to MONITOR_LINE bytes, as read from the container
 *     STATE          -               -              struct monitor_state
 *     STARTED        pid             1 when held    int64_t: when   on the control socket: the first word about the build (and
 *                                                                   the second, after START). ERROR with tag 0 is the other
 *     WARNING        -               -              text            on the control socket, before STARTED or ERROR
 *     ROTATED        -               -              -               answer to WATCH_LOG
 *     OOM            kills so far    -              -               to control sockets and who waits, tag 0: out of memory
 *                                                                   (cgroup v1 tells it before the kill is counted)
 * The control socket that SPAWNED brings has asked WAIT already (its STATE has tag 0).
 *
 * ---- Streams. Output goes to the log first, then to every attached client. The log is never dropped while the disk takes
 * it; what a full disk refused is counted (monitor_state.lost_records). A client's packets are queued by the
 * kernel; when its queue is full it is given `patience` milliseconds in which the container's pipe is not read (as with
 * any pipe), then it is dropped: ATTACH with patience 0 is dropped at once and never holds the container up. An answer that
 * finds the queue full waits as long, its requests meanwhile with it.
 * Output before ATTACH is in the log, not sent again; with MONITOR_HOLD one attaches between SPAWNED and START and misses nothing.
 * While the container does not take its input, packets of clients that have taken STDIN are not read: control requests
 * belong on a connection of their own.
 *
 * ---- Log. MONITOR_LOG_DOCKER: {"log":"text\n","stream":"stdout","time":"2026-11-21T09:30:00.123456789Z"}, escaped byte
 * for byte as Docker does, with "attrs" (log_attrs, as given) before "time"; MONITOR_LOG_CRI: `time stdout F text`. A
 * line longer than MONITOR_LINE is cut: Docker's pieces lack "\n", CRI's are tagged P. The last line without an end: no
 * "\n" in Docker's format, F in CRI's. A file that has reached max_bytes is followed by a new one before the next
 * record: name, name.1 ... name.(max_files - 1), the oldest is removed; with max_files 1 the file is emptied. With COMPRESS
 * somebody else makes name.N.gz of name.N (logs.h, logs_compress), and the folder's flock says whose turn it is: while it is taken
 * the log goes on in the file it has. name.N.gz moves along; where name.N is still beside it, that counts and the other goes. No
 * part of a record is left behind when the disk is full, and a torn end that a crash left is closed with a newline before
 * anything is appended.
 *
 * ---- Later. A SPAWN with MONITOR_LATER makes the monitor and the process that will build, while the engine still writes the
 * bundle (a third of a millisecond side by side). BUILD lets it go on. When the control socket is closed before, nobody wants the
 * container any more: the monitor removes what it has written and ends, and the state folder tells of nothing.
 *
 * ---- Exec. A SPAWN with MONITOR_EXEC makes a monitor of the same kind for one more process in a running container: it has
 * a state folder of its own, streams, terminal, log and exit.json like a container's; it holds no sockets and knows nothing of
 * memory kills (the container's monitor does). With HOLD there is no process before START (STARTED says number 0), and KILL
 * before it ends the monitor. When the container ends, so does the process.
 *
 * ---- Memory. Everything is static and sized below; from its clone on the monitor calls no allocator, and what its
 * children allocate dies with them. Private memory: README.md, measured by tests/45-monitor.
 *
 * ---- Frozen containers. KILL reaches a frozen v1 group when it is thawed: thawing is the caller's part (runtime kill does it).
 *
 * ---- Time. Milliseconds or nanoseconds since 1970 where the name says so. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/base.h"

#define MONITOR_VERSION 1
#define MONITOR_LINE 16384	  /* longest piece of a line in the log, and of a packet's output */
#define MONITOR_INPUT_MAX 4096	  /* payload of STDIN */
#define MONITOR_TEXT_MAX 1024	  /* of each text of SPAWN, with its 0 byte; of an error */
#define MONITOR_SOCKETS_MAX 64	  /* published sockets held */
#define MONITOR_CLIENTS_MAX 16	  /* connections at once; more get ERROR TOO_MANY */
#define MONITOR_PATIENCE_MAX_MS 600000
#define MONITOR_FILES_MAX 1000	  /* max_files */

enum monitor_op {
	MONITOR_SPAWN = 1,
	MONITOR_STATUS,
	MONITOR_WAIT,
	MONITOR_START,
	MONITOR_KILL,
	MONITOR_RESIZE,
	MONITOR_ATTACH,
	MONITOR_DETACH,
	MONITOR_STDIN,
	MONITOR_CLOSE_STDIN,
	MONITOR_ROTATE,
	MONITOR_REOPEN,
	MONITOR_SOCKETS,
	MONITOR_QUIT,
	MONITOR_BUILD,
	MONITOR_WATCH_LOG,
	MONITOR_REQUEST_COUNT,

	MONITOR_OK = 64,
	MONITOR_ERROR,
	MONITOR_SPAWNED,
	MONITOR_OUTPUT,
	MONITOR_STATE,
	MONITOR_STARTED,
	MONITOR_WARNING,
	MONITOR_OOM,
	MONITOR_ROTATED,
};

struct monitor_head {
	uint8_t version; /* MONITOR_VERSION */
	uint8_t op;
	uint16_t tag;
	int32_t a, b;
	uint32_t len; /* of the payload; equals what is left of the packet */
};

enum { MONITOR_TAKE_STDIN = 1, MONITOR_TAKE_STDOUT = 2, MONITOR_TAKE_STDERR = 4 };

enum monitor_log_format { MONITOR_LOG_NONE, MONITOR_LOG_DOCKER, MONITOR_LOG_CRI, MONITOR_LOG_COUNT };

enum monitor_flags {
	MONITOR_HOLD = 1 << 0,	     /* build only; START lets the program run */
	MONITOR_OPEN_STDIN = 1 << 1, /* a pipe that clients write to; else standard input is /dev/null */
	MONITOR_STDIN_ONCE = 1 << 2, /* standard input is closed when the client that took it leaves */
	MONITOR_STDIO = 1 << 3,	     /* stdio[] are the container's own: nothing is logged, nothing can be attached */
	MONITOR_TERMINAL = 1 << 4,   /* config.json says process.terminal: the monitor holds the master */
	MONITOR_SYSTEMD_CGROUP = 1 << 5,
	MONITOR_NO_PIVOT = 1 << 6,
	MONITOR_NO_KEYRING = 1 << 7,
	MONITOR_EXEC = 1 << 8,	     /* not a container but one more process in the running container `id` */
	MONITOR_VOLATILE = 1 << 9,   /* nobody asks for the exit after a power cut: exit.json is not synced */
	MONITOR_LATER = 1 << 10,     /* the bundle is not written yet: BUILD says when. Not with EXEC */
	MONITOR_COMPRESS = 1 << 11,  /* rotated files are compressed by somebody: with LOG_DOCKER and max_files from 2 */
	MONITOR_FLAGS_ALL = (1 << 12) - 1,
};

/* What a SPAWN carries. Texts and descriptors are borrowed for the call. */
struct monitor_spawn {
	unsigned flags;
	enum monitor_log_format format;
	uint64_t max_bytes; /* 0 = the log is not rotated */
	unsigned max_files; /* 1 to MONITOR_FILES_MAX; 0 means 1 */
	uint16_t rows, cols; /* of the terminal; 0 = the kernel's */
	const char *id;	      /* of the container, runtime_opts.id */
	const char *root;     /* runtime_opts.root: the runtime's folder of folders, absolute */
	const char *cache;    /* runtime_opts.cache_dir; NULL = none */
	const char *config;   /* name of config.json when it is not in the bundle; NULL. With EXEC of the process
				 object: NULL = process.json in the bundle */
	const char *log_name; /* no slash; NULL without a log */
	const char *log_attrs; /* with LOG_DOCKER: a JSON object that each record carries as "attrs"; NULL = none */
	int state_dir, bundle; /* folders; bundle's path is what the kernel calls it */
	int log_dir;	       /* -1 without a log */
	int stdio[3];	       /* with MONITOR_STDIO */
	int sockets[MONITOR_SOCKETS_MAX];
	unsigned n_sockets;
};

struct monitor_spawned {
	uint16_t tag;
	pid_t pid;
	int pidfd, control; /* owned by the caller */
};

enum monitor_phase { MONITOR_BUILDING, MONITOR_CREATED, MONITOR_RUNNING, MONITOR_ENDED, MONITOR_PHASE_COUNT };

/* Answer to STATUS and WAIT. */
struct monitor_state {
	uint32_t phase;	    /* enum monitor_phase */
	int32_t pid;	    /* of the container's first process; 0 before it exists */
	int32_t exit_code;  /* 128 + signal when it was killed; -1 before */
	int32_t signal;	    /* 0 = none */
	int64_t started_ns, finished_ns; /* since 1970; 0 = not yet */
	uint64_t oom_kills; /* processes that the kernel killed in the container's group for lack of memory */
	uint64_t log_bytes; /* size of the current log file */
	uint64_t lost_records; /* that the disk refused */
	int32_t lost_errno;    /* why the last one was */
	uint32_t clients;
	int32_t class;	   /* err class, when it could not be built or started */
	char error[MONITOR_TEXT_MAX]; /* "" = none */
};

/* What exit.json says. */
struct monitor_exit {
	pid_t pid;
	int exit_code, signal;
	uint64_t oom_kills;
	int64_t started_ns, finished_ns;
	enum err_class class; /* ERR_NONE, or why the program never ran */
	char error[MONITOR_TEXT_MAX];
};

/* ---- for the engine; any thread, blocking, nothing is kept */

/* SPAWN as a packet: bytes into out (at least MONITOR_SPAWN_MAX), descriptors in the order in which they must be sent
 * into fds (at least MONITOR_SPAWN_FDS). Returns the length; INVALID names the field. */
#define MONITOR_SPAWN_MAX 6144
#define MONITOR_SPAWN_FDS (6 + MONITOR_SOCKETS_MAX)
ssize_t monitor_spawn_encode(const struct monitor_spawn *s, uint16_t tag, void *out, int *fds, unsigned *out_n_fds,
			     struct err *err);
/* Asks the spawner and hears its answer. UNAVAILABLE when the spawner is gone; with errnum EAGAIN when it did not answer in the
 * time that monitor_patience allows: its answer may come yet, so nothing else can be asked on this socket. */
int monitor_spawn(int spawner, const struct monitor_spawn *s, struct monitor_spawned *out, struct err *err);

int monitor_send(int sock, enum monitor_op op, uint16_t tag, int32_t a, int32_t b, struct span payload, struct err *err);
/* One packet; *out_len is what payload (cap bytes) got. fds may be NULL: descriptors that come are then closed. GONE
 * when the peer closed. */
int monitor_recv(int sock, struct monitor_head *out, void *payload, size_t cap, int *fds, unsigned cap_fds,
		 unsigned *out_n_fds, struct err *err);
/* Asks and waits for the answer with that tag; OUTPUT packets in between are skipped: not for attached
 * connections. ERROR comes back as err. out_state may be NULL. */
int monitor_call(int sock, enum monitor_op op, int32_t a, int32_t b, struct monitor_state *out_state, struct err *err);
/* A connection to the monitor of a state folder. UNAVAILABLE when nobody listens; TOO_MANY, without waiting, when as many as it can
 * have wait to be taken already: it is stopped or hangs. */
int monitor_connect(int state_dir, struct err *err);
/* From now on what is sent and awaited on a connection is UNAVAILABLE after so many milliseconds; 0 = it waits for ever. */
void monitor_patience(int sock, int wait_ms);
#define MONITOR_ANSWER_MS 10000 /* for an answer that needs no disk: far more than a loaded machine takes */
/* What a monitor that does not answer cannot be asked: signals the container's first process, or the monitor itself, as
 * monitor.json names them by number and start time. NOT_FOUND when that process has ended. */
int monitor_signal(int state_dir, bool itself, int sig, struct err *err);
/* A pidfd of the monitor that monitor.json names, readable when it has ended. NOT_FOUND when it has already. */
int monitor_process(int state_dir, struct err *err);
/* Likewise what it would say of itself, as far as monitor.json knows: phase, pid, started_ns. */
int monitor_recorded(int state_dir, struct monitor_state *out, struct err *err);
/* What exit.json says: the last word about a run whose monitor has ended. NOT_FOUND without one. */
int monitor_exit_recorded(int state_dir, struct monitor_exit *out, struct err *err);

enum monitor_found { MONITOR_FOUND_NOTHING, MONITOR_FOUND_ALIVE, MONITOR_FOUND_EXIT, MONITOR_FOUND_LOST };
/* What a state folder holds: no monitor since the machine was started; a live one (its number and start time agree, *out_sock is
 * connected, or -1: as many as it can have wait to be taken already, it is stopped or hangs); the recorded exit, whether its
 * monitor is still there or not; or neither, a monitor that was killed. What is not synced may be there without its contents after
 * a power cut (a rename reaches the disk before the data does): torn, it counts as not there. One that is just beginning or ending
 * is waited for; TIMEOUT when it has done neither after five seconds. */
int monitor_find(int state_dir, enum monitor_found *out, int *out_sock, struct monitor_exit *out_exit, struct err *err);

/* ---- applets */
int monitor_spawn_main(int argc, char **argv); /* knarr-run spawn --fd N */
int monitor_main(int argc, char **argv);       /* knarr-run monitor FOLDER [status|wait|kill N|...]: asks by hand */
int monitor_init_main(int argc, char **argv);  /* knarr-run init [--] COMMAND [ARGUMENT...] */
int monitor_pause_main(int argc, char **argv); /* knarr-run pause */
