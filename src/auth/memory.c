/* One slot a hash, chosen by its first bytes; a newer token takes the place of an older one. Nobody chooses what evicts what
 * without a key that signs.
 *
 * Invariant: a slot is four words that are written one by one, and two writers may leave a mixture. It matches no token: that
 * would be a second preimage of SHA-256. */
#include "auth/memory.h"

#define SLOTS 512 /* 16 KB */

struct auth_memory {
	_Atomic uint64_t slots[SLOTS][4];
};

struct auth_memory *auth_memory_new(void)
{
	return mem_new(struct auth_memory);
}

void auth_memory_free(struct auth_memory *m)
{
	free(m);
}

bool auth_memory_has(const struct auth_memory *m, const uint8_t hash[32])
{
	uint64_t words[4], same = 1;
	memcpy(words, hash, sizeof(words));
	const _Atomic uint64_t *slot = m->slots[words[0] % SLOTS];
	for (int i = 0; i < 4; i++)
		same &= atomic_load_explicit(&slot[i], memory_order_relaxed) == words[i];
	return same;
}

void auth_memory_add(struct auth_memory *m, const uint8_t hash[32])
{
	uint64_t words[4];
	if (auth_memory_has(m, hash))
		return; /* its cache lines stay shared */
	memcpy(words, hash, sizeof(words));
	_Atomic uint64_t *slot = m->slots[words[0] % SLOTS];
	for (int i = 0; i < 4; i++)
		atomic_store_explicit(&slot[i], words[i], memory_order_relaxed);
}
