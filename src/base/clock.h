/* Time and chance as parameters, so that a test turns time by hand and repeats a run by its seed.
 *
 * Code that needs the time takes a `struct clock *`. mono_ns never goes back and measures waits; wall_ns is Unix time
 * and may jump. The real clock is clock_real(). */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct clock {
	int64_t (*mono_ns)(struct clock *c);
	int64_t (*wall_ns)(struct clock *c);
};

struct clock *clock_real(void);

static inline int64_t clock_mono_ns(struct clock *c)
{
	return c->mono_ns(c);
}
static inline int64_t clock_wall_ns(struct clock *c)
{
	return c->wall_ns(c);
}
static inline int64_t clock_mono_ms(struct clock *c)
{
	return c->mono_ns(c) / 1000000;
}

/* Set by hand. Both start where they are put; clock_fake_advance moves both. */
struct clock_fake {
	struct clock clock;
	int64_t mono_now_ns, wall_now_ns;
};
void clock_fake_init(struct clock_fake *c, int64_t mono_ns, int64_t wall_ns);
void clock_fake_advance(struct clock_fake *c, int64_t ns);

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* RFC 3339 in UTC. digits = fraction digits: 0, 6 (Kubernetes MicroTime), 9; -1 = as few as needed, as Go's
 * RFC3339Nano prints. out must hold 40 bytes; returns the length. Years 0 to 9999; others give 0. */
size_t time_format(char out[40], int64_t unix_s, int32_t ns, int digits);
/* Parses RFC 3339 with any offset and up to 9 fraction digits (more are cut). 0, or -1 when it is not one. */
int time_parse(const char *ptr, size_t len, int64_t *out_unix_s, int32_t *out_ns);

/* Repeatable pseudo-random numbers (xoshiro256**): not for secrets; use rng_secret for those. */
struct rng {
	uint64_t s[4];
};
void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* 0 .. n-1, unbiased; n > 0 */
/* Fills with bytes of the kernel's generator; aborts if that fails. */
void rng_secret(void *out, size_t len);
