/* Status objects: how every answer that is not the object asked for looks. Private to apiserver. */
#pragma once

#include "base/base.h"

/* What the answer is about; empty parts are left out. */
struct status_details {
	struct span name, group,
		kind; /* kind: the resource's plural, as upstream's details have it; the Kind for INVALID */
	struct span uid;
};
/* HTTP code for an error (err's class by base/err.def). */
int status_code(const struct err *err);
/* The JSON of a Status for an error, with a newline, appended. details may be NULL. INTERNAL, IO and CORRUPT errors get upstream's
 * form "Internal error occurred: ...". Causes and retryAfterSeconds come from err. */
void status_write(struct buf *out, const struct err *err, const struct status_details *details);
/* The same for an error that upstream answers without a reason and with code 500. */
void status_write_unknown(struct buf *out, const struct err *err);
/* A success: what deletion of a whole collection or of some kinds answers. */
void status_write_success(struct buf *out, const struct status_details *details);
