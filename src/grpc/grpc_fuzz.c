/* Fuzz target: the parsers of what a gRPC peer writes. The first byte chooses; framing is fed whole and in portions. */
#include "grpc/grpc_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int frames_run(struct span in, size_t portion, struct buf *log)
{
	struct grpc_frames f = { .limit = 1000 };
	struct buf why = {};
	int rc = 0;
	while (in.len && rc >= 0) {
		struct span piece = span_sub(in, 0, portion), message;
		in = span_from(in, piece.len);
		while ((rc = grpc_frames_next(&f, &piece, &message, &why)) > 0) {
			if (message.len > 1000)
				abort();
			buf_printf(log, "%zu:", message.len);
			buf_span_add(log, message);
		}
	}
	if (rc >= 0)
		buf_printf(log, "%d", grpc_frames_between(&f));
	else if (!why.len)
		abort();
	grpc_frames_done(&f);
	buf_done(&why);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	struct span in = span_make(data + 1, size - 1);
	struct buf a = {}, b = {}, c = {};
	int64_t ms;
	enum grpc_status status;
	switch (data[0] & 3) {
	case 0:
		if (frames_run(in, SIZE_MAX, &a) != frames_run(in, 1 + (data[0] >> 2), &b) || !span_eq(buf_span(&a), buf_span(&b)))
			abort();
		break;
	case 1:
		grpc_message_decode(&a, in);
		grpc_message_encode(&b, buf_span(&a));
		grpc_message_decode(&c, buf_span(&b));
		if (a.len > in.len || !span_eq(buf_span(&a), buf_span(&c)))
			abort();
		break;
	case 2:
		if (grpc_bin_decode(&a, in)) {
			grpc_bin_encode(&b, buf_span(&a));
			if (!grpc_bin_decode(&c, buf_span(&b)) || !span_eq(buf_span(&a), buf_span(&c)))
				abort();
		} else if (a.len) {
			abort();
		}
		break;
	default:
		if (grpc_timeout_parse(in, &ms)) {
			char text[16];
			int64_t again;
			grpc_timeout_format(ms, text);
			/* Rounded up, never down: a deadline may come late, not early. */
			if (ms < 0 || !grpc_timeout_parse(span_of(text), &again) || again < MIN(ms, INT64_C(359999996400000)))
				abort();
		}
		if (grpc_status_parse(in, &status) && status >= GRPC_STATUS_COUNT)
			abort();
		(void)grpc_content_type(in);
	}
	buf_done(&a);
	buf_done(&b);
	buf_done(&c);
	return 0;
}
