/* Int-or-string values. */
#include "api/intstr.h"

#include "api/gotext.h"

/* strconv.Atoi with its error texts. */
static int atoi_go(struct span s, int64_t *out, struct buf *why)
{
	if (span_to_i64(s, out))
		return 0;
	struct span digits = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+') ? span_from(s, 1) : s;
	bool number = digits.len > 0;
	for (size_t i = 0; i < digits.len; i++)
		number &= digits.ptr[i] >= '0' && digits.ptr[i] <= '9';
	buf_str(why, "strconv.Atoi: parsing ");
	api_go_quote(why, s);
	buf_str(why, number ? ": value out of range" : ": invalid syntax");
	return -1;
}

int api_intstr_scaled(const struct json *v, int64_t total, bool round_up, int64_t *out, struct err *err)
{
	static const char prefix[] = "invalid value for IntOrString: ";
	if (!v)
		return err_set(err, ERR_INVALID, "nil value for IntOrString");
	if (v->kind == JSON_INT) {
		*out = v->i;
		return 0;
	}
	if (v->kind != JSON_STRING)
		return err_set(err, ERR_INVALID, "%sinvalid type: neither int nor percentage", prefix);
	struct span s = json_span(v);
	if (!span_ends(s, SPAN("%")))
		return err_set(err, ERR_INVALID, "%sinvalid type: string is not a percentage", prefix);
	auto_buf struct buf why = {};
	int64_t percent;
	if (atoi_go(span_sub(s, 0, s.len - 1), &percent, &why) < 0) {
		auto_buf struct buf quoted = {};
		api_go_quote(&quoted, s);
		return err_set(err, ERR_INVALID, "%sinvalid value %s: %s", prefix, buf_cstr(&quoted), buf_cstr(&why));
	}
	/* Upstream goes through float64; 128-bit integers give the same for all counts below 2^53 and stay right above. */
	__int128 product = (__int128)percent * total, whole = product / 100, rest = product % 100;
	if (rest > 0 && round_up)
		whole++;
	if (rest < 0 && !round_up)
		whole--;
	*out = whole > INT64_MAX ? INT64_MAX : whole < INT64_MIN ? INT64_MIN : (int64_t)whole;
	return 0;
}

int64_t api_intstr_int(const struct json *v)
{
	int64_t n;
	if (json_is(v, JSON_STRING))
		return span_to_i64(json_span(v), &n) ? n : 0;
	return json_i64(v, 0);
}

struct json api_intstr_of(struct span text)
{
	int64_t n;
	if (span_to_i64(text, &n) && n >= INT32_MIN && n <= INT32_MAX)
		return json_int(n);
	return json_str(text);
}
