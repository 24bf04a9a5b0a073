/* Schedules of CronJobs: the syntax of robfig/cron's standard parser (five fields, names, steps, @daily, @every 1h), in its words;
 * and the names of time zones. When a schedule fires is the controller's business. */
#include "strategy/workload.h"

struct bounds {
	int64_t min, max;
	const char *names; /* blank-separated, from min on */
};

/* strconv.Atoi's complaint. */
static int parse_number(struct span text, int64_t *out, struct buf *why)
{
	auto_buf struct buf shown = {};
	bool digits = text.len > 0;
	for (size_t i = 0; i < text.len; i++)
		digits &= (text.ptr[i] >= '0' && text.ptr[i] <= '9') ||
			  (i == 0 && text.len > 1 && (text.ptr[0] == '-' || text.ptr[0] == '+'));
	struct span plain = span_starts(text, SPAN("+")) ? span_from(text, 1) : text;
	if (!digits || !span_to_i64(plain, out)) {
		api_go_quote(&shown, text);
		buf_printf(why, "failed to parse int from %.*s: strconv.Atoi: parsing %s: %s", SPAN_ARG(text), buf_cstr(&shown),
			   digits ? "value out of range" : "invalid syntax");
		return -1;
	}
	if (*out < 0) {
		buf_printf(why, "negative number (%lld) not allowed: %.*s", (long long)*out, SPAN_ARG(text));
		return -1;
	}
	return 0;
}

static int parse_end(struct span text, const struct bounds *b, int64_t *out, struct buf *why)
{
	struct span rest = span_of(b->names), name;
	for (int64_t n = b->min; span_cut(&rest, ' ', &name); n++)
		if (name.len && span_eq_nocase(name, text)) {
			*out = n;
			return 0;
		}
	return parse_number(text, out, why);
}

/* number | number "-" number [ "/" number ], * and ? for all */
static int check_range(struct span expr, const struct bounds *b, struct buf *why)
{
	struct span range, step, low, high, more;
	int64_t start = b->min, end = b->max, by = 1;
	bool stepped = span_split(expr, '/', &range, &step), wide = span_split(range, '-', &low, &high);
	if (!check_one_of(low, "* ?")) {
		if (parse_end(low, b, &start, why) < 0)
			return -1;
		end = start;
		if (wide && span_split(high, '-', &more, &more)) {
			buf_printf(why, "too many hyphens: %.*s", SPAN_ARG(expr));
			return -1;
		}
		if (wide && parse_end(high, b, &end, why) < 0)
			return -1;
	}
	if (stepped && span_split(step, '/', &more, &more)) {
		buf_printf(why, "too many slashes: %.*s", SPAN_ARG(expr));
		return -1;
	}
	if (stepped) {
		if (parse_number(step, &by, why) < 0)
			return -1;
		if (!wide)
			end = b->max;
	}
	if (start < b->min)
		buf_printf(why, "beginning of range (%lld) below minimum (%lld): %.*s", (long long)start, (long long)b->min,
			   SPAN_ARG(expr));
	else if (end > b->max)
		buf_printf(why, "end of range (%lld) above maximum (%lld): %.*s", (long long)end, (long long)b->max,
			   SPAN_ARG(expr));
	else if (start > end)
		buf_printf(why, "beginning of range (%lld) beyond end of range (%lld): %.*s", (long long)start, (long long)end,
			   SPAN_ARG(expr));
	else if (!by)
		buf_printf(why, "step of range should be a positive number: %.*s", SPAN_ARG(expr));
	else
		return 0;
	return -1;
}

static int check_descriptor(struct span s, struct buf *why)
{
	auto_err struct err err = ERR_INIT;
	int64_t ns;
	if (check_one_of(s, "@yearly @annually @monthly @weekly @daily @midnight @hourly"))
		return 0;
	if (!span_starts(s, SPAN("@every "))) {
		buf_printf(why, "unrecognized descriptor: %.*s", SPAN_ARG(s));
		return -1;
	}
	if (api_duration_parse(span_from(s, strlen("@every ")), &ns, &err) == 0)
		return 0;
	buf_printf(why, "failed to parse duration %.*s: %s", SPAN_ARG(s), err_msg(&err));
	return -1;
}

static bool is_blank(char ch)
{
	return ch == ' ' || (ch >= '\t' && ch <= '\r');
}

int cron_check(struct span s, struct buf *why)
{
	static const struct bounds bounds[] = {
		{ 0, 59, "" }, { 0, 23, "" }, { 1, 31, "" }, { 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec" },
		{ 0, 6, "sun mon tue wed thu fri sat" },
	};
	if (!s.len) {
		buf_str(why, "empty spec string");
		return -1;
	}
	if (span_starts(s, SPAN("TZ=")) || span_starts(s, SPAN("CRON_TZ="))) {
		ptrdiff_t blank = span_chr(s, ' ');
		size_t from = (size_t)span_chr(s, '=') + 1;
		if (blank < 0) {
			buf_str(why, "invalid schedule format: runtime error: slice bounds out of range [:-1]");
			return -1;
		}
		struct span zone = span_sub(s, from, (size_t)blank);
		if (zone.len && !span_is(zone, "Local") && !cron_zone_exists(zone)) {
			buf_printf(why, "provided bad location %.*s: unknown time zone %.*s", SPAN_ARG(zone), SPAN_ARG(zone));
			return -1;
		}
		s = span_trim(span_from(s, (size_t)blank));
	}
	if (span_starts(s, SPAN("@")))
		return check_descriptor(s, why);
	struct span fields[6];
	unsigned n = 0;
	auto_buf struct buf list = {};
	for (size_t i = 0; i < s.len;) {
		size_t start = i;
		while (i < s.len && !is_blank(s.ptr[i]))
			i++;
		if (i > start) {
			struct span field = span_sub(s, start, i);
			buf_printf(&list, "%s%.*s", n ? " " : "", SPAN_ARG(field));
			if (n < ARRAY_LEN(fields))
				fields[n] = field;
			n++;
		}
		i += i == start;
	}
	if (n != 5) {
		buf_printf(why, "expected exactly 5 fields, found %u: [%s]", n, buf_cstr(&list));
		return -1;
	}
	for (unsigned i = 0; i < 5; i++) {
		struct span rest = fields[i], expr;
		while (span_cut(&rest, ',', &expr)) /* empty ones are skipped, as FieldsFunc does */
			if (expr.len && check_range(expr, &bounds[i], why) < 0)
				return -1;
	}
	return 0;
}

/* ---- names of time zones, as one text: pointers would be private memory of every process, an array as wide as its longest. */
static const char zones[] =
#define ZONE(name) name "\n"
#include "strategy/zones.def"
#undef ZONE
;

bool cron_zone_exists(struct span name)
{
	struct span rest = span_make(zones, sizeof(zones) - 1), one;
	while (span_cut(&rest, '\n', &one))
		if (one.len && span_eq(one, name))
			return true;
	return false;
}
