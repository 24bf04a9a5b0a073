/* Private to src/cluster. */
#pragma once

#include "base/base.h"

/* The answer's body appended to out (bound it by out->limit), its status; -class when there was no answer. Blocks. */
int cluster_ask(const char *sock, const char *method, const char *target, unsigned total_ms, struct buf *out, int *out_status,
		struct err *err);
