/* What the fuzz targets of http share: one loop under a clock that stands still, input cut into pieces. Private. */
#pragma once

#include "http/http_client.h"

static struct loop *fuzz_loop(void)
{
	static struct loop *l;
	static struct clock_fake clock;
	if (!l) {
		clock_fake_init(&clock, NS_PER_S, NS_PER_S);
		if (loop_new(&clock.clock, &l, NULL) < 0)
			abort();
	}
	return l;
}

/* The first byte chooses how the rest is cut: 0 = whole, else pieces of so many bytes. */
static bool fuzz_piece(struct span *rest, uint8_t cut, struct span *out)
{
	if (!rest->len)
		return false;
	*out = span_sub(*rest, 0, cut ? cut : rest->len);
	*rest = span_from(*rest, out->len);
	return true;
}
