/* One request over a unix socket, waited for: for commands, which have no loop of their own. */
#include "cluster/ask.h"

#include "http/http.h"
#include "loop/loop.h"

struct asking {
	struct loop *loop;
	struct buf *out;
	int status;
	struct err *err;
	int rc;
};

static void on_data(struct http_call *c, struct span data, void *arg)
{
	struct asking *q = arg;
	buf_span_add(q->out, data);
}

static void on_done(struct http_call *c, const struct err *why, void *arg)
{
	struct asking *q = arg;
	if (why)
		q->rc = err_set(q->err, why->class, "%s", err_msg(why));
	else
		q->status = http_call_status(c);
	loop_stop(q->loop);
}

int cluster_ask(const char *sock, const char *method, const char *target, unsigned total_ms, struct buf *out, int *out_status,
	struct err *err)
{
	static const struct http_call_ops ops = { .data = on_data, .done = on_done };
	struct asking q = { .out = out, .err = err };
	struct http_client *client = NULL;
	struct http_call *call;
	int rc = loop_new(NULL, &q.loop, err);
	if (rc < 0)
		return rc;
	const struct http_client_params hp = { .loop = q.loop, .name = "ask" };
	const struct http_origin origin = { .host = "localhost", .unix_path = sock };
	const struct http_call_params p = { .origin = &origin, .method = method, .target = span_of(target), .total_ms = total_ms,
		.ops = &ops,
					    .arg = &q };
	rc = http_client_new(&hp, &client, err);
	if (rc == 0)
		rc = http_call_begin(client, &p, &call, err);
	if (rc == 0)
		loop_run(q.loop);
	http_client_free(client);
	loop_run(q.loop); /* closings */
	loop_free(q.loop);
	if (rc == 0 && q.rc == 0)
		*out_status = q.status;
	return rc < 0 ? rc : q.rc;
}
