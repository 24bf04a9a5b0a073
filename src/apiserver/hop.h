/* Which headers go from one connection to the next, and how they change: pure. Private to apiserver. */
#pragma once

#include "http/http.h"

/* Not ours to pass on: the connection's own (RFC 9110 section 7.6.1), what says who is asking, and what is made anew. */
bool hop_stays(struct span name);
/* Headers that a Connection field names are the connection's too. */
bool hop_named(const struct http_fields *all, struct span name);
/* Sec-WebSocket-Protocol without the pseudo protocol that carries a browser's token. */
struct span hop_protocols(struct arena *a, struct span protocols);
/* A Location that the other server answered: a redirect to itself leads back through us, under prefix
 * (k8s.io/apimachinery/pkg/util/proxy); one to anywhere else stays as it is. own_host: ours, as the client knows it. */
struct span hop_location(struct arena *a, struct span value, struct span own_host, struct span prefix);
