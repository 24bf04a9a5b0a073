/* A cluster's own network: which cable, and where its address is kept. The cable itself is network.h's. */
#include "cluster/server.h"

#include "network/network.h"

static struct network_cable cable_of(const struct cluster_layout *l)
{
	return (struct network_cable){ .id = l->id, .pin = l->pin.ptr };
}

int cluster_network_enter(const struct cluster_layout *l, struct cluster_settings *s, struct network_passage **out, struct err *err)
{
	struct network_cable c = cable_of(l);
	char address[NETWORK_CABLE_ADDRESS];
	c.address = s->address.len ? s->address.ptr : NULL;
	int rc = network_passage_open(&c, out, err);
	if (rc == 0)
		rc = network_cable_enter(&c, address, err);
	if (rc == 0)
		s->address = arena_span(&s->arena, span_of(address));
	return rc;
}

int cluster_network_join(const struct cluster_layout *l, struct err *err)
{
	return network_cable_join(l->pin.ptr, err);
}

int cluster_network_remove(const struct cluster_layout *l, struct err *err)
{
	const struct network_cable c = cable_of(l);
	return network_cable_remove(&c, err);
}
