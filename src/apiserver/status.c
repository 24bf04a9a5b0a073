#include "apiserver/status.h"

#include "json/json.h"

int status_code(const struct err *err)
{
	return err_kube_code(err->class);
}

static void head(struct json_out *o, const char *status)
{
	json_out_begin(o);
	json_out_kspan(o, "kind", SPAN("Status"));
	json_out_kspan(o, "apiVersion", SPAN("v1"));
	json_out_key(o, SPAN("metadata"));
	json_out_begin(o);
	json_out_end(o);
	json_out_kspan(o, "status", span_of(status));
}

static void write_details(struct json_out *o, const struct status_details *d, const struct err *err)
{
	unsigned n_causes = err ? err->n_causes : 0;
	int64_t retry_s = err && err->retry_ms ? (err->retry_ms + 999) / 1000 : 0;
	if (!n_causes && !retry_s && (!d || (!d->name.len && !d->group.len && !d->kind.len && !d->uid.len)))
		return;
	json_out_key(o, SPAN("details"));
	json_out_begin(o);
	if (d) {
		json_out_kspan(o, "name", d->name);
		json_out_kspan(o, "group", d->group);
		json_out_kspan(o, "kind", d->kind);
		json_out_kspan(o, "uid", d->uid);
	}
	if (n_causes) {
		json_out_key(o, SPAN("causes"));
		json_out_begin_array(o);
		for (unsigned i = 0; i < n_causes; i++) {
			json_out_begin(o);
			json_out_kspan(o, "reason", span_of(err->causes[i].reason));
			json_out_kspan(o, "message", span_of(err->causes[i].message));
			json_out_kspan(o, "field", span_of(err->causes[i].field));
			json_out_end(o);
		}
		json_out_end(o);
	}
	json_out_ki64(o, "retryAfterSeconds", retry_s);
	json_out_end(o);
}

void status_write(struct buf *out, const struct err *err, const struct status_details *details)
{
	assert(err->class != ERR_NONE);
	struct json_out o = { .buf = out, .style = JSON_HTML };
	head(&o, "Failure");
	auto_buf struct buf msg = {};
	bool internal = err->class == ERR_INTERNAL || err->class == ERR_IO || err->class == ERR_CORRUPT;
	buf_printf(&msg, "%s%s", internal ? "Internal error occurred: " : "", err_msg(err));
	json_out_kspan(&o, "message", buf_span(&msg));
	json_out_kspan(&o, "reason", span_of(err_kube_reason(err->class)));
	write_details(&o, details, err);
	json_out_ki64(&o, "code", status_code(err));
	json_out_end(&o);
	buf_chr(out, '\n');
}

void status_write_unknown(struct buf *out, const struct err *err)
{
	struct json_out o = { .buf = out, .style = JSON_HTML };
	head(&o, "Failure");
	json_out_kspan(&o, "message", span_of(err_msg(err)));
	json_out_ki64(&o, "code", 500);
	json_out_end(&o);
	buf_chr(out, '\n');
}

void status_write_success(struct buf *out, const struct status_details *details)
{
	struct json_out o = { .buf = out, .style = JSON_HTML };
	head(&o, "Success");
	write_details(&o, details, NULL);
	json_out_end(&o);
	buf_chr(out, '\n');
}
