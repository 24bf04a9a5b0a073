/* Two hijacked streams that carry each other's bytes. */
#include "http/http.h"

enum { PAIR_QUEUE_BYTES = 256 << 10 };

static int side_of(const struct http_pair *p, const struct http_duplex *d)
{
	return d == p->side[1];
}

static void pair_data(struct http_duplex *d, struct span data, void *arg)
{
	struct http_pair *p = arg;
	struct http_duplex *other = p->side[!side_of(p, d)];
	if (!other)
		return;
	http_duplex_write(other, http_copy(data));
	if (http_duplex_queued(other) > PAIR_QUEUE_BYTES)
		http_duplex_pause(d);
}

static void pair_drain(struct http_duplex *d, void *arg)
{
	struct http_pair *p = arg;
	struct http_duplex *other = p->side[!side_of(p, d)];
	if (other)
		http_duplex_resume(other);
}

static void pair_end(struct http_duplex *d, void *arg)
{
	struct http_pair *p = arg;
	struct http_duplex *other = p->side[!side_of(p, d)];
	if (other)
		http_duplex_end(other);
}

static void pair_closed(struct http_duplex *d, const struct err *why, void *arg)
{
	struct http_pair *p = arg;
	int i = side_of(p, d);
	p->side[i] = NULL;
	if (p->side[!i])
		http_duplex_close(p->side[!i]);
	p->closed(p); /* p may be gone */
}

void http_pair_set(struct http_pair *p, int side, struct http_duplex *d)
{
	static const struct http_duplex_ops ops = { .data = pair_data, .end = pair_end, .drain = pair_drain, .closed = pair_closed };
	p->side[side] = d;
	http_duplex_ops_set(d, &ops, p);
}

void http_pair_abort(struct http_pair *p)
{
	for (int i = 0; i < 2; i++)
		if (p->side[i])
			http_duplex_abort(p->side[i]);
}
