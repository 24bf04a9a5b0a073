/* The splitter against the parser: an object that the parser takes gives its members, each of which the parser takes, however
 * the text is cut. */
#include "client/split.h"
#include "json/json.h"

static struct buf first, second, *to;

static int member(struct span key, struct span value, void *arg)
{
	buf_printf(to, "%.*s=", SPAN_ARG(key));
	buf_span_add(to, value);
	return 0;
}

static int item(struct span value, void *arg)
{
	buf_str(to, "[");
	buf_span_add(to, value);
	if (arg)
		assert(json_check(value, NULL, NULL) == 0);
	return 0;
}

static int end(void *arg)
{
	buf_str(to, "|");
	return 0;
}

static const struct client_split_ops ops = { member, item, end };

static int run(struct span text, size_t cut, bool good)
{
	struct client_split s;
	client_split_init(&s, &ops, good ? (void *)1 : NULL, 1 << 20);
	int rc = client_split_feed(&s, span_sub(text, 0, cut));
	if (rc == 0)
		rc = client_split_feed(&s, span_from(text, cut));
	if (good)
		assert(rc == 0 && client_split_whole(&s));
	client_split_done(&s);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 1)
		return 0;
	struct span text = span_make(data + 1, len - 1), blank = span_trim(text);
	bool good = blank.len && blank.ptr[0] == '{' && json_check(text, NULL, NULL) == 0;
	buf_trunc(&first, 0);
	buf_trunc(&second, 0);
	to = &first;
	int a = run(text, text.len, good);
	to = &second;
	int b = run(text, data[0] % (text.len + 1), good);
	assert(a == b && span_eq(buf_span(&first), buf_span(&second)));
	return 0;
}
