/* Tokens whose signatures held. Private to auth; the promise is in auth.h. */
#pragma once

#include "auth/auth.h"

bool auth_memory_has(const struct auth_memory *m, const uint8_t hash[32]);
void auth_memory_add(struct auth_memory *m, const uint8_t hash[32]);
