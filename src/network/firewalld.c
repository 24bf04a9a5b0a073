/* firewalld: our interfaces in its zone trusted, which accepts and forwards what comes from them; what goes to them is let through
 * by its own rule for translated and known connections. At run time only: nothing of ours is left in its files.
 *
 * It is asked over the system's D-Bus, one changeZoneOfInterface(zone, interface) each, which does nothing where the interface is
 * in that zone already; so it is asked again whenever somebody changed nftables (firewall.c), as firewalld does when it starts or
 * reloads.
 * The whole conversation goes on the loop, a call at a time: firewalld takes 10 to 100 ms to load a change.
 *
 *     AUTH EXTERNAL, BEGIN  Hello  changeZoneOfInterface ...   ->   "OK ...\r\n"  return  return or error ...
 *
 * Who asks says in which network namespace firewalld's rules were seen: a bus is reached from every one of them. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "network/private.h"
#include "sys/sys.h"

#define ZONE "trusted"
#define WAIT_MS 20000 /* for one answer; a reload of firewalld answers nobody for seconds */
#define ANSWER_MAX 65536
#define BUS_DEFAULT "/run/dbus/system_bus_socket"

struct network_firewalld {
	struct loop *loop;
	void (*said)(void *arg, const struct err *err);
	void *arg;
	struct loop_fd fd;
	struct loop_timer timer;
	int sock;          /* -1: no conversation */
	bool open;         /* the loop has fd, until it says that it is closed */
	bool again, freed; /* to be done then */
	bool greeted;      /* "OK ..." was read */
	struct wish {
		char *name;  /* owned */
		bool leave;  /* is gone: out of the zone with its name, which others may use */
	} *wishes;         /* owned */
	unsigned n_wishes, next; /* next: answers so far, Hello not counted; wishes[next] is asked */
	bool hello;        /* Hello was answered */
	struct buf in;
};

static void wishes_free(struct wish *wishes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(wishes[i].name);
	free(wishes);
}

static void free_all(struct network_firewalld *f)
{
	wishes_free(f->wishes, f->n_wishes);
	free(f);
}

static void begin(struct network_firewalld *f);

static void closed(struct loop_fd *fd)
{
	struct network_firewalld *f = container_of(fd, struct network_firewalld, fd);
	f->open = false;
	if (f->freed) {
		free_all(f);
	} else if (f->again) {
		f->again = false;
		begin(f);
	}
}

static void hang_up(struct network_firewalld *f)
{
	loop_timer_stop(&f->timer);
	buf_done(&f->in);
	if (f->sock >= 0)
		loop_fd_close(&f->fd, closed);
	fd_close(&f->sock);
}

/* err NULL: all of them are in the zone. */
static void over(struct network_firewalld *f, const struct err *err)
{
	hang_up(f);
	f->said(f->arg, err);
}

static void failed(struct network_firewalld *f, enum err_class class, const char *words, struct span text)
{
	auto_err struct err err = ERR_INIT;
	(void)err_set(&err, class, "%s%.*s", words, SPAN_ARG(span_sub(text, 0, 200)));
	over(f, &err);
}

static void on_timer(struct loop_timer *t)
{
	failed(container_of(t, struct network_firewalld, timer), ERR_TIMEOUT, "it does not answer", SPAN_EMPTY);
}

/* A call fits into the socket's buffer: one is under way at a time. */
static bool say(struct network_firewalld *f, struct span what)
{
	if (send(f->sock, what.ptr, what.len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)what.len) {
		failed(f, ERR_UNAVAILABLE, "the system's bus takes no call", SPAN_EMPTY);
		return false;
	}
	loop_timer_start(&f->timer, WAIT_MS);
	return true;
}

static void ask_next(struct network_firewalld *f)
{
	auto_buf struct buf body = {}, call = {};
	if (f->next == f->n_wishes) {
		over(f, NULL);
		return;
	}
	const struct wish *w = &f->wishes[f->next];
	sys_dbus_text(&body, ZONE);
	sys_dbus_text(&body, w->name);
	sys_dbus_call(&call, f->next + 2, &(struct sys_dbus_call){ .path = "/org/fedoraproject/FirewallD1",
		.interface = "org.fedoraproject.FirewallD1.zone", .member = w->leave ? "removeInterface" : "changeZoneOfInterface",
		.destination = "org.fedoraproject.FirewallD1", .signature = "ss" }, buf_span(&body));
	(void)say(f, buf_span(&call)); /* it has told why not */
}

/* False: the conversation is over. */
static bool answer(struct network_firewalld *f, const struct sys_dbus_message *m)
{
	size_t at = 0;
	bool to_hello = m->reply_to == 1, to_call = m->reply_to == f->next + 2;
	if ((m->type != SYS_DBUS_RETURN && m->type != SYS_DBUS_ERROR) || (!to_hello && !(f->hello && to_call)))
		return true; /* signals, as NameAcquired */
	bool leaves = !to_hello && f->wishes[f->next].leave; /* not in the zone any more: a reload was faster */
	if (m->type == SYS_DBUS_ERROR && !leaves) {
		struct span why = sys_dbus_text_at(m->body, &at);
		failed(f, ERR_UPSTREAM, "", why.len ? why : m->error);
		return false;
	}
	f->hello = true;
	f->next += to_call;
	ask_next(f);
	return f->sock >= 0;
}

static void read_on(struct network_firewalld *f)
{
	while (f->sock >= 0) {
		struct span data = buf_span(&f->in);
		struct sys_dbus_message m;
		size_t size;
		if (!f->greeted) {
			ptrdiff_t end = span_chr(data, '\n');
			if (end < 0)
				return;
			if (!span_starts(data, SPAN("OK "))) {
				failed(f, ERR_FORBIDDEN, "the system's bus refuses us: ", span_trim(span_sub(data, 0, (size_t)end)));
				return;
			}
			f->greeted = true;
			buf_shift(&f->in, (size_t)end + 1);
			continue;
		}
		if (data.len < SYS_DBUS_HEAD)
			return;
		if (!sys_dbus_size(data, &size)) {
			failed(f, ERR_UPSTREAM, "the system's bus sent no message of D-Bus 1", SPAN_EMPTY);
			return;
		}
		if (data.len < size)
			return;
		if (!sys_dbus_read(data, &m)) {
			failed(f, ERR_UPSTREAM, "a message of the system's bus is not understood", SPAN_EMPTY);
			return;
		}
		if (!answer(f, &m))
			return;
		buf_shift(&f->in, size);
	}
}

static void on_ready(struct loop_fd *fd, unsigned events)
{
	struct network_firewalld *f = container_of(fd, struct network_firewalld, fd);
	char piece[4096];
	ssize_t n = recv(f->sock, piece, sizeof(piece), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || f->in.len + (size_t)n > ANSWER_MAX) {
		failed(f, ERR_UNAVAILABLE, "the system's bus closed the connection", SPAN_EMPTY);
		return;
	}
	buf_add(&f->in, piece, (size_t)n);
	read_on(f);
}

/* DBUS_SYSTEM_BUS_ADDRESS as libdbus reads it, as far as it is "unix:path=...". */
static bool bus_path(struct sockaddr_un *out)
{
	struct span said = span_of(getenv("DBUS_SYSTEM_BUS_ADDRESS")), path = SPAN(BUS_DEFAULT);
	struct span end;
	if (span_starts(said, SPAN("unix:path=")) && span_cut(&said, ',', &end))
		path = span_from(end, 10);
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return path.len < sizeof(out->sun_path) && memcpy(out->sun_path, path.ptr, path.len);
}

static void begin(struct network_firewalld *f)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf hello = {}, first = {};
	struct sockaddr_un addr;
	auto_fd int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0 || !bus_path(&addr) || connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		(void)err_sys(&err, "reach the system's bus");
	else
		(void)loop_fd_open(&f->fd, f->loop, "firewalld", sock, on_ready, &err);
	if (err.class) {
		f->said(f->arg, &err);
		return;
	}
	f->open = true;
	f->sock = take_fd(&sock);
	f->greeted = f->hello = false;
	f->next = 0;
	loop_fd_background(&f->fd, true);
	loop_fd_want(&f->fd, LOOP_READ);
	buf_span_add(&first, SYS_DBUS_AUTH);
	sys_dbus_call(&hello, 1, &(struct sys_dbus_call){ .path = "/org/freedesktop/DBus", .interface = "org.freedesktop.DBus",
		.member = "Hello", .destination = "org.freedesktop.DBus" }, SPAN_EMPTY);
	buf_span_add(&first, buf_span(&hello));
	(void)say(f, buf_span(&first)); /* it has told why not */
}

struct network_firewalld *network_firewalld_new(struct loop *l, void (*said)(void *arg, const struct err *err), void *arg)
{
	struct network_firewalld *f = mem_new(struct network_firewalld);
	*f = (struct network_firewalld){ .loop = l, .said = said, .arg = arg, .sock = -1 };
	loop_timer_init(&f->timer, l, "firewalld", on_timer);
	f->timer.background = true;
	return f;
}

static bool is_named(const char *const *names, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

void network_firewalld_want(struct network_firewalld *f, const char *const *names, unsigned n)
{
	unsigned n_old = f->n_wishes;
	struct wish *old = f->wishes;
	f->wishes = mem_realloc_n(NULL, n + n_old + 1, sizeof(*f->wishes));
	f->n_wishes = 0;
	for (unsigned i = 0; i < n_old; i++)
		if ((!old[i].leave || f->open) && !is_named(names, n, old[i].name))
			f->wishes[f->n_wishes++] = (struct wish){ .name = mem_dup(old[i].name, strlen(old[i].name)), .leave = true };
	for (unsigned i = 0; i < n; i++)
		f->wishes[f->n_wishes++] = (struct wish){ .name = mem_dup(names[i], strlen(names[i])) };
	wishes_free(old, n_old);
	f->again = f->open; /* a conversation that is under way begins anew */
	hang_up(f);
	if (!f->open && f->n_wishes)
		begin(f);
}

void network_firewalld_free(struct network_firewalld *f)
{
	if (!f)
		return;
	f->freed = true;
	f->again = false;
	hang_up(f);
	if (!f->open)
		free_all(f);
}
