#include "client/split.h"

#define DEPTH_MAX 10000

void client_split_init(struct client_split *s, const struct client_split_ops *ops, void *arg, size_t value_limit)
{
	*s = (struct client_split){ .ops = ops, .arg = arg, .limit = value_limit };
}

void client_split_done(struct client_split *s)
{
	buf_done(&s->held);
}

bool client_split_whole(const struct client_split *s)
{
	return s->depth == 0 && !s->in_string;
}

/* The depth at which values of interest begin: 1 for members, 2 for items of the list. */
static unsigned value_depth(const struct client_split *s)
{
	return s->in_items ? 2 : 1;
}

/* A value ends before data[i]; [from, i) is what of it lies in this piece. */
static int value_end(struct client_split *s, const char *data, size_t from, size_t i)
{
	struct span value = span_make(data + from, i - from);
	int rc;
	if (s->held.len) {
		buf_span_add(&s->held, value);
		value = buf_span(&s->held);
	}
	value = span_trim(value);
	if (value.len > s->limit)
		return -ERR_TOO_LARGE;
	s->taking = false;
	if (s->in_items)
		rc = s->ops->item(value, s->arg);
	else
		rc = s->ops->member(span_make(s->key, s->key_len), value, s->arg);
	buf_trunc(&s->held, 0);
	return rc;
}

/* A byte of a string, its closing quote among them. */
static void string_byte(struct client_split *s, char ch)
{
	bool escaped = s->escaped;
	s->escaped = !escaped && ch == '\\';
	if (s->escaped)
		return;
	if (ch == '"' && !escaped)
		s->in_string = s->in_key = false;
	else if (s->in_key && s->key_len < sizeof(s->key))
		s->key[s->key_len++] = ch;
}

int client_split_feed(struct client_split *s, struct span data)
{
	size_t from = 0; /* where the value that is being taken begins in this piece */
	for (size_t i = 0; i < data.len; i++) {
		char ch = data.ptr[i];
		int rc = 0;
		if (s->in_string) {
			string_byte(s, ch);
			continue;
		}
		switch (ch) {
		case ' ':
		case '\t':
		case '\r':
		case '\n':
			continue;
		case '"':
			if (s->depth == 0)
				return -ERR_UPSTREAM;
			s->in_string = true;
			if (s->depth == 1 && !s->after_colon) {
				s->in_key = true;
				s->key_len = 0;
				continue;
			}
			break;
		case '{':
		case '[':
			if (s->depth == 0 && ch != '{')
				return -ERR_UPSTREAM;
			if (s->depth == DEPTH_MAX)
				return -ERR_TOO_LARGE;
			if (s->depth == 1 && s->after_colon && ch == '[' && !s->taking &&
			    span_is(span_make(s->key, s->key_len), "items")) {
				s->in_items = true;
				s->depth++;
				continue;
			}
			if (s->depth == value_depth(s) && !s->taking && (s->in_items || s->after_colon)) {
				s->taking = true;
				from = i;
			}
			s->depth++;
			continue;
		case '}':
		case ']':
			if (s->depth == 0)
				return -ERR_UPSTREAM;
			if (s->depth == value_depth(s) && s->taking) /* a scalar, or a value before this end */
				rc = value_end(s, data.ptr, from, i);
			s->depth--;
			if (s->in_items && s->depth == 1) {
				s->in_items = false;
				s->after_colon = false;
			} else if (rc == 0 && s->depth == 0) {
				s->after_colon = false;
				rc = s->ops->end(s->arg);
			}
			if (rc)
				return rc;
			continue;
		case ':':
			if (s->depth == 1)
				s->after_colon = true;
			continue;
		case ',':
			if (s->depth == value_depth(s) && s->taking)
				rc = value_end(s, data.ptr, from, i);
			if (s->depth == 1)
				s->after_colon = false;
			if (rc)
				return rc;
			continue;
		default:
			break;
		}
		/* The first byte of a string, number or word. */
		if (s->depth == 0)
			return -ERR_UPSTREAM;
		if (s->depth == value_depth(s) && !s->taking && (s->in_items || s->after_colon)) {
			s->taking = true;
			from = i;
		}
	}
	if (s->taking) {
		buf_add(&s->held, data.ptr + from, data.len - from);
		if (s->held.len > s->limit)
			return -ERR_TOO_LARGE;
	}
	return 0;
}
