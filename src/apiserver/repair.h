/* What must be there as long as the server runs, and is put right when somebody took it away or changed it. Private to
 * apiserver; of worker 0's thread.
 *
 *     an IPAddress for each cluster IP, a claim for each node port    when one goes, and all Services every three minutes
 *     an IPAddress without its Service                                 after a minute it goes
 *     Service kubernetes, its endpoints, kube-node-lease,
 *     extension-apiserver-authentication                               when one changes, and every three minutes */
#pragma once

#include "apiserver/server.h"

int repair_start(struct worker *w, struct err *err);
void repair_stop(struct worker *w);
