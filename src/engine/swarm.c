/* Swarm mode and plugins: the answers of an engine whose swarm is not active and that has no plugins, in Docker's words. */
#include "engine/private.h"

void engine_swarm_manager(struct engine_call *c)
{
	engine_fail_with(c, ERR_UNAVAILABLE,
		"This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" "
		"to connect this node to swarm and try again.");
}

void engine_swarm_leave(struct engine_call *c)
{
	engine_fail_with(c, ERR_UNAVAILABLE, "This node is not part of a swarm");
}

void engine_swarm_init(struct engine_call *c)
{
	engine_fail_with(c, ERR_UNSUPPORTED, "swarm mode is not part of this engine: use its Kubernetes cluster (knarr up)");
}

void engine_plugins_list(struct engine_call *c)
{
	struct engine_filters f;
	struct json none = json_array();
	if (engine_filters_of(c, "enabled,capability", &f, &c->err) < 0)
		engine_fail(c);
	else
		engine_answer_json(c, 200, &none);
}

void engine_plugin_missing(struct engine_call *c)
{
	engine_fail_with(c, ERR_NOT_FOUND, "plugin \"%.*s\" not found", SPAN_ARG(c->name));
}

void engine_plugins_refuse(struct engine_call *c)
{
	engine_fail_with(c, ERR_UNSUPPORTED, "plugins are not supported by this engine");
}

/* BuildKit's two doors. */
void engine_session(struct engine_call *c)
{
	engine_fail_with(c, ERR_UNSUPPORTED,
		"this engine builds without BuildKit yet: run DOCKER_BUILDKIT=0 docker build ...");
}
