/* Containers, as far as images and the engine as a whole ask about them: there are none yet. */
#include "engine/private.h"

void engine_info_containers(struct engine_call *c, struct json *info)
{
	static const char *const counts[] = { "Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped" };
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		(void)json_set(&c->arena, info, span_of(counts[i]), json_int(0));
}

void engine_image_users(struct engine *e, struct image_remove_params *p)
{
	p->used = NULL;
}
