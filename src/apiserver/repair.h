/* What must be there as long as the server runs, and is put right when somebody took it away or changed it. Private to
 * apiserver; of worker 0's thread. What concerns a Service or an address is told in Events (tell.h).
 *
 *     an IPAddress for each cluster IP, a claim for each node port    when one goes, and all Services every three minutes
 *     an IPAddress without its Service                                 after a minute it goes
 *     an Event                                                         --event-ttl after its last change it goes
 *     Service kubernetes, its endpoints, kube-node-lease,
 *     extension-apiserver-authentication                               when one changes, and every three minutes
 *     an APIService for each version that CRDs serve                    when one changes, or what is served, and every
 *                                                                      three minutes */
#pragma once

#include "apiserver/server.h"

int repair_start(struct worker *w, struct err *err);
void repair_stop(struct worker *w);
/* Other versions are served than before. Harmless before the start and after the stop. */
void repair_versions(struct worker *w);
