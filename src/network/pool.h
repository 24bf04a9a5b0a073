/* Which addresses of a subnet are taken, and which subnet a new network gets. Pure: no kernel, no files. */
#pragma once

#include "sys/addr.h"

struct network_pool {
	struct sys_prefix subnet; /* host bits cleared; family 0 = no addresses of this family */
	struct sys_prefix range;  /* where addresses are chosen from; family 0 = the whole subnet */
	struct sys_addr gateway;  /* family 0 = none */
	uint64_t *used;               /* owned; host parts, ascending */
	size_t n_used, cap_used;
};
void network_pool_init(struct network_pool *p, const struct sys_prefix *subnet);
void network_pool_done(struct network_pool *p);

enum network_taken { NETWORK_TAKEN, NETWORK_TAKE_BUSY, NETWORK_TAKE_OUTSIDE, NETWORK_TAKE_NONE_LEFT };
/* wanted NULL = the lowest free one of the range. The first address, and the last of AF_INET, are given to nobody. */
enum network_taken network_pool_take(struct network_pool *p, const struct sys_addr *wanted, struct sys_addr *out);
void network_pool_give(struct network_pool *p, const struct sys_addr *a); /* harmless when it was free */
bool network_pool_is_used(const struct network_pool *p, const struct sys_addr *a);

/* default-address-pools: subnets of `size` bits are cut from base. */
struct network_supply {
	struct sys_prefix base;
	uint8_t size;
};
/* Docker's own: 172.17.0.0/16 to 172.31.0.0/16, then /20s of 192.168.0.0/16. */
extern const struct network_supply network_supply_default[];
extern const unsigned network_supply_default_n;
/* The first subnet of that family that overlaps none of `avoid`; false when there is none. */
bool network_supply_choose(const struct network_supply *supplies, unsigned n, int family, const struct sys_prefix *avoid,
			   size_t n_avoid, struct sys_prefix *out);
