#include "base/base.h"

#include <sys/random.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;
	(void)clock_gettime(id, &ts); /* cannot fail for these ids */
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}
static int64_t real_mono(struct clock *c)
{
	return read_clock(CLOCK_MONOTONIC);
}
static int64_t real_wall(struct clock *c)
{
	return read_clock(CLOCK_REALTIME);
}

struct clock *clock_real(void)
{
	static struct clock real = { .mono_ns = real_mono, .wall_ns = real_wall };
	return &real;
}

static int64_t fake_mono(struct clock *c)
{
	return container_of(c, struct clock_fake, clock)->mono_now_ns;
}
static int64_t fake_wall(struct clock *c)
{
	return container_of(c, struct clock_fake, clock)->wall_now_ns;
}

void clock_fake_init(struct clock_fake *c, int64_t mono_ns, int64_t wall_ns)
{
	*c = (struct clock_fake){
		.clock = { .mono_ns = fake_mono, .wall_ns = fake_wall },
		.mono_now_ns = mono_ns,
		.wall_now_ns = wall_ns,
	};
}

void clock_fake_advance(struct clock_fake *c, int64_t ns)
{
	c->mono_now_ns += ns;
	c->wall_now_ns += ns;
}

/* Days since 1970-01-01 of a proleptic Gregorian date, and back (the usual era arithmetic: 400 years have
 * 146097 days; the year begins in March so that the leap day comes last). */
static int64_t days_of_date(int64_t y, int m, int d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void date_of_days(int64_t days, int64_t *y, int *m, int *d)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t doe = days - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	*d = (int)(doy - (153 * mp + 2) / 5 + 1);
	*m = (int)(mp < 10 ? mp + 3 : mp - 9);
	*y = yoe + era * 400 + (*m <= 2);
}

static char *put_digits(char *p, uint64_t v, int width)
{
	for (int i = width - 1; i >= 0; i--, v /= 10)
		p[i] = (char)('0' + v % 10);
	return p + width;
}

size_t time_format(char out[40], int64_t unix_s, int32_t ns, int digits)
{
	int64_t days = unix_s / 86400, rest = unix_s % 86400, y;
	int m, d;
	if (rest < 0)
		rest += 86400, days--;
	date_of_days(days, &y, &m, &d);
	out[0] = 0;
	if (y < 0 || y > 9999 || ns < 0 || ns >= NS_PER_S)
		return 0;
	char *p = put_digits(out, (uint64_t)y, 4);
	*p++ = '-', p = put_digits(p, (uint64_t)m, 2);
	*p++ = '-', p = put_digits(p, (uint64_t)d, 2);
	*p++ = 'T', p = put_digits(p, (uint64_t)(rest / 3600), 2);
	*p++ = ':', p = put_digits(p, (uint64_t)(rest / 60 % 60), 2);
	*p++ = ':', p = put_digits(p, (uint64_t)(rest % 60), 2);
	int width = digits < 0 ? (ns ? 9 : 0) : digits;
	if (width) {
		*p++ = '.';
		char nine[9];
		put_digits(nine, (uint64_t)ns, 9);
		if (digits < 0)
			while (nine[width - 1] == '0')
				width--;
		memcpy(p, nine, (size_t)width);
		p += width;
	}
	*p++ = 'Z';
	*p = 0;
	return (size_t)(p - out);
}

static bool digits_at(const char *p, int n, int *out)
{
	int v = 0;
	for (int i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		v = v * 10 + (p[i] - '0');
	}
	*out = v;
	return true;
}

int time_parse(const char *p, size_t len, int64_t *out_unix_s, int32_t *out_ns)
{
	static const unsigned char month_days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const char *end = p + len;
	int y, mo, d, h, mi, s;
	if (len < 20 || !digits_at(p, 4, &y) || p[4] != '-' || !digits_at(p + 5, 2, &mo) || p[7] != '-' ||
	    !digits_at(p + 8, 2, &d) || p[10] != 'T' || !digits_at(p + 11, 2, &h) || p[13] != ':' ||
	    !digits_at(p + 14, 2, &mi) || p[16] != ':' || !digits_at(p + 17, 2, &s))
		return -1;
	bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
	if (mo < 1 || mo > 12 || d < 1 || d > month_days[mo - 1] || (mo == 2 && d == 29 && !leap) || h > 23 ||
	    mi > 59 || s > 59)
		return -1;
	p += 19;
	int32_t ns = 0;
	if (p < end && (*p == '.' || *p == ',')) {
		int32_t scale = 100000000;
		const char *first = ++p;
		for (; p < end && *p >= '0' && *p <= '9'; p++, scale /= 10)
			ns += (*p - '0') * scale;
		if (p == first)
			return -1;
	}
	int offset_s = 0;
	if (p < end && *p == 'Z') {
		p++;
	} else {
		int oh, om;
		if (end - p != 6 || (p[0] != '+' && p[0] != '-') || !digits_at(p + 1, 2, &oh) || p[3] != ':' ||
		    !digits_at(p + 4, 2, &om) || oh > 23 || om > 59)
			return -1;
		offset_s = (oh * 3600 + om * 60) * (p[0] == '-' ? -1 : 1);
		p += 6;
	}
	if (p != end)
		return -1;
	*out_unix_s = days_of_date(y, mo, d) * 86400 + h * 3600 + mi * 60 + s - offset_s;
	*out_ns = ns;
	return 0;
}

/* xoshiro256** by Blackman and Vigna, seeded by splitmix64 as its authors advise. */
static inline uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

void rng_init(struct rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
		z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
		r->s[i] = z ^ (z >> 31);
	}
}

uint64_t rng_u64(struct rng *r)
{
	uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	assert(n > 0);
	/* Values below the remainder of 2^64 by n would make some results likelier than others. */
	uint64_t skip = (0 - n) % n, v;
	do
		v = rng_u64(r);
	while (v < skip);
	return v % n;
}

void rng_secret(void *out, size_t len)
{
	char *p = out;
	while (len) {
		ssize_t n = getrandom(p, len, 0);
		if (n < 0) {
			assert(errno == EINTR);
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
}
