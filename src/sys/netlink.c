/* Framing of netlink (RFC 3549; linux/netlink.h): heads and attributes padded to 4 bytes, host byte order. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "sys/netlink.h"

#define ANSWER_MAX 65536 /* the kernel's dumps come in pieces of at most 32 KB */
#define KEPT_MAX (256 << 20)
#define TORN_MAX 20 /* so often a dump is asked for again */

void sys_nl_batch_done(struct sys_nl_batch *b)
{
	buf_done(&b->out);
	b->n = 0;
}

int sys_nl_open(int protocol, struct err *err)
{
	auto_fd int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	struct sockaddr_nl me = { .nl_family = AF_NETLINK };
	int on = 1, room = 1 << 20;
	if (s < 0 || bind(s, (struct sockaddr *)&me, sizeof(me)) < 0)
		return err_sys(err, "opening a netlink socket");
	/* Words for failures, and no copy of the request in them. Absence of either changes texts alone. */
	(void)setsockopt(s, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(s, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	(void)setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	(void)setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	return take_fd(&s);
}

int sys_nl_listen(int protocol, const int *groups, struct err *err)
{
	auto_fd int s = sys_nl_open(protocol, err);
	if (s < 0)
		return s;
	for (; *groups; groups++)
		if (setsockopt(s, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, groups, sizeof(*groups)) < 0)
			return err_sys(err, "listening to group %d of netlink", *groups);
	return take_fd(&s);
}

uint32_t sys_nl_port(int sock)
{
	struct sockaddr_nl me = { 0 };
	socklen_t len = sizeof(me);
	return getsockname(sock, (struct sockaddr *)&me, &len) == 0 ? me.nl_pid : 0;
}

static void pad(struct buf *out)
{
	static const char zero[4];
	buf_add(out, zero, -out->len & 3);
}

size_t sys_nl_begin(struct sys_nl_batch *b, uint16_t type, unsigned flags, const void *head, size_t len)
{
	size_t at = b->out.len;
	bool ack = !(flags & SYS_NL_NO_ACK) && (flags & NLM_F_DUMP) != NLM_F_DUMP;
	struct nlmsghdr h = { .nlmsg_type = type,
			      .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (ack ? NLM_F_ACK : 0) | (flags & 0xffff)),
			      .nlmsg_seq = ++b->seq };
	b->n += ack;
	buf_add(&b->out, &h, sizeof(h));
	buf_add(&b->out, head, len);
	pad(&b->out);
	return at;
}

void sys_nl_end(struct sys_nl_batch *b, size_t message)
{
	uint32_t len = (uint32_t)(b->out.len - message);
	memcpy(b->out.ptr + message + offsetof(struct nlmsghdr, nlmsg_len), &len, 4);
}

void sys_nl_put(struct sys_nl_batch *b, uint16_t type, const void *data, size_t len)
{
	assert(len < 65000);
	struct nlattr a = { .nla_len = (uint16_t)(NLA_HDRLEN + len), .nla_type = type };
	buf_add(&b->out, &a, sizeof(a));
	buf_add(&b->out, data, len);
	pad(&b->out);
}

void sys_nl_be32(struct sys_nl_batch *b, uint16_t type, uint32_t v)
{
	v = htonl(v);
	sys_nl_put(b, type, &v, 4);
}

size_t sys_nl_nest(struct sys_nl_batch *b, uint16_t type)
{
	size_t at = b->out.len;
	sys_nl_put(b, type | NLA_F_NESTED, NULL, 0);
	return at;
}

void sys_nl_nest_end(struct sys_nl_batch *b, size_t nest)
{
	size_t len = b->out.len - nest;
	assert(len < 65536); /* who nests lists bounds them */
	uint16_t short_len = (uint16_t)len;
	memcpy(b->out.ptr + nest + offsetof(struct nlattr, nla_len), &short_len, 2);
}

void sys_nl_attrs(const void *data, size_t len, const struct nlattr **out, unsigned n_out)
{
	memset(out, 0, n_out * sizeof(*out));
	const char *p = data;
	while (len >= NLA_HDRLEN) {
		const struct nlattr *a = (const struct nlattr *)(const void *)p;
		if (a->nla_len < NLA_HDRLEN || a->nla_len > len)
			return;
		unsigned type = a->nla_type & NLA_TYPE_MASK;
		if (type < n_out)
			out[type] = a;
		size_t step = MIN((size_t)NLA_ALIGN(a->nla_len), len);
		p += step;
		len -= step;
	}
}

struct span sys_nl_text(const struct nlattr *a)
{
	if (!a)
		return SPAN_EMPTY;
	const char *s = sys_nl_data(a);
	return span_make(s, strnlen(s, sys_nl_len(a)));
}

uint32_t sys_nl_get_u32(const struct nlattr *a)
{
	uint32_t v = 0;
	if (a && sys_nl_len(a) >= 4)
		memcpy(&v, sys_nl_data(a), 4);
	return v;
}

uint32_t sys_nl_get_be32(const struct nlattr *a)
{
	return ntohl(sys_nl_get_u32(a));
}

static int send_all(int sock, struct sys_nl_batch *b, const char *what, struct err *err)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n;
	do
		n = sendto(sock, b->out.ptr, b->out.len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	while (n < 0 && errno == EINTR);
	buf_trunc(&b->out, 0);
	b->n = 0;
	if (n < 0)
		return err_sys(err, "%s: asking the kernel", what);
	return 0;
}

/* struct nlmsgerr, then (EXT_ACK, CAP_ACK) attributes; NLMSGERR_ATTR_MSG is text. */
static int failure(const struct nlmsghdr *m, const char *what, struct err *err)
{
	const struct nlmsgerr *e = NLMSG_DATA(m);
	struct span words = SPAN_EMPTY;
	if (m->nlmsg_flags & NLM_F_ACK_TLVS) {
		size_t at = NLMSG_HDRLEN + sizeof(*e);
		if (!(m->nlmsg_flags & NLM_F_CAPPED))
			at += NLMSG_ALIGN(e->msg.nlmsg_len) - NLMSG_HDRLEN;
		const struct nlattr *attrs[NLMSGERR_ATTR_MSG + 1] = { NULL };
		if (at < m->nlmsg_len)
			sys_nl_attrs((const char *)m + at, m->nlmsg_len - at, attrs, ARRAY_LEN(attrs));
		words = sys_nl_text(attrs[NLMSGERR_ATTR_MSG]);
	}
	if (words.len)
		return err_sys_num(err, -e->error, "%s: %.*s", what, SPAN_ARG(words));
	return err_sys_num(err, -e->error, "%s", what);
}

static bool listed(const int *list, int errnum)
{
	for (; list && *list; list++)
		if (*list == errnum)
			return true;
	return false;
}

static ssize_t answer(int sock, char *data, int flags)
{
	ssize_t n;
	do
		n = recv(sock, data, ANSWER_MAX, flags);
	while (n < 0 && errno == EINTR);
	return n;
}

int sys_nl_commit(int sock, struct sys_nl_batch *b, const int *ignore, const char *what, struct err *err)
{
	unsigned want = b->n, got = 0;
	int rc = send_all(sock, b, what, err);
	if (rc < 0)
		return rc;
	auto_free char *data = mem_alloc(ANSWER_MAX);
	while (true) {
		ssize_t n = answer(sock, data, MSG_DONTWAIT);
		if (n < 0)
			break;
		for (struct nlmsghdr *m = (struct nlmsghdr *)(void *)data; NLMSG_OK(m, (size_t)n); m = NLMSG_NEXT(m, n)) {
			if (m->nlmsg_type != NLMSG_ERROR || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)))
				continue;
			int errnum = -((struct nlmsgerr *)NLMSG_DATA(m))->error;
			got++;
			if (errnum && rc == 0 && !listed(ignore, errnum))
				rc = failure(m, what, err);
		}
	}
	if (rc == 0 && errno != EAGAIN)
		return err_sys(err, "%s: reading the kernel's answers", what);
	if (rc == 0 && got < want)
		return err_set(err, ERR_INTERNAL, "%s: the kernel answered %u of %u messages", what, got, want);
	return rc;
}

/* A number that no other question has: what is left of an answer that was not read to its end is not taken for the next one's. */
static uint32_t number_anew(struct sys_nl_batch *b)
{
	static _Atomic uint32_t last;
	uint32_t seq = ++last;
	memcpy(b->out.ptr + offsetof(struct nlmsghdr, nlmsg_seq), &seq, 4);
	return seq;
}

struct asked {
	int (*fn)(void *arg, const struct nlmsghdr *m);
	void *arg;
	struct buf kept; /* of a dump: its messages, until it is known to be whole */
	bool stop, torn;
};

static void tell(struct asked *q, const struct nlmsghdr *m)
{
	if (!q->stop && q->fn(q->arg, m) != 0)
		q->stop = true;
}

/* Reads to the end of the answer to message seq. */
static int read_answer(int sock, struct asked *q, uint32_t seq, bool keep, const char *what, struct err *err)
{
	auto_free char *data = mem_alloc(ANSWER_MAX);
	while (true) {
		ssize_t n = answer(sock, data, 0); /* a dump goes on as its pieces are read */
		if (n <= 0)
			return n < 0 ? err_sys(err, "%s: reading the kernel's answers", what)
				     : err_set(err, ERR_INTERNAL, "%s: the kernel's answer has no end", what);
		for (struct nlmsghdr *m = (struct nlmsghdr *)(void *)data; NLMSG_OK(m, (size_t)n); m = NLMSG_NEXT(m, n)) {
			if (m->nlmsg_seq != seq)
				continue;
			q->torn |= (m->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
			if (m->nlmsg_type == NLMSG_DONE)
				return 0;
			if (m->nlmsg_type == NLMSG_ERROR && m->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr)))
				return ((struct nlmsgerr *)NLMSG_DATA(m))->error ? failure(m, what, err) : 0;
			if (!keep) {
				tell(q, m);
				continue;
			}
			if (q->kept.len > KEPT_MAX)
				return err_set(err, ERR_TOO_LARGE, "%s: more than %d MB", what, KEPT_MAX >> 20);
			buf_add(&q->kept, m, m->nlmsg_len);
			pad(&q->kept);
		}
	}
}

int sys_nl_ask(int sock, struct sys_nl_batch *b, int (*fn)(void *arg, const struct nlmsghdr *m), void *arg,
	const char *what,
		   struct err *err)
{
	auto_buf struct buf question = {};
	struct nlmsghdr head;
	memcpy(&head, b->out.ptr, sizeof(head));
	bool keep = (head.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP && !b->torn_ok;
	struct asked q = { .fn = fn, .arg = arg };
	buf_span_add(&question, buf_span(&b->out));
	int rc;
	for (unsigned i = 0;; i++) {
		q.torn = false;
		uint32_t seq = number_anew(b);
		rc = send_all(sock, b, what, err);
		if (rc == 0)
			rc = read_answer(sock, &q, seq, keep, what, err);
		if (rc < 0 || !keep || !q.torn)
			break;
		buf_trunc(&q.kept, 0);
		if (i == TORN_MAX) {
			rc = err_set(err, ERR_STALE, "%s: others changed it each of the %d times that it was read", what, TORN_MAX + 1);
			break;
		}
		buf_span_add(&b->out, buf_span(&question));
	}
	size_t left = rc < 0 ? 0 : q.kept.len;
	for (struct nlmsghdr *m = (struct nlmsghdr *)(void *)q.kept.ptr; left && NLMSG_OK(m, left); m = NLMSG_NEXT(m, left))
		tell(&q, m);
	buf_done(&q.kept);
	return rc;
}
