/* Events, with Docker's attributes: image, name, every label, and what the action adds. */
#include "container/private.h"

void container_warn(const struct container_engine *e, const char *what, const char *id, const struct err *err)
{
	if (e->o.warn)
		e->o.warn(e->o.event_arg, what, id, err);
}

void container_event_send(struct container *c, const char *action, ...)
{
	struct container_engine *e = c->e;
	if (!e->o.event)
		return;
	auto_arena struct arena a = {};
	struct json attributes = json_object();
	JSON_EACH_MEMBER (json_getl(c->config, "Labels"), m)
		json_add(&a, &attributes, json_key(m), m->value);
	json_setl(&a, &attributes, "image", json_str(container_str(c->config, "Image")));
	json_setl(&a, &attributes, "name", json_cstr(c->name));
	va_list ap;
	va_start(ap, action);
	for (const char *key; (key = va_arg(ap, const char *)) != NULL;)
		json_set(&a, &attributes, span_of(key), json_cstr(va_arg(ap, const char *)));
	va_end(ap);
	json_sort(&attributes);
	e->o.event(e->o.event_arg, &(struct container_event){ .action = span_of(action), .id = span_of(c->id),
		.image = container_str(c->config, "Image"), .attributes = &attributes, .time_ns = loop_wall_ns(e->o.loop) });
}

void container_volume_event(struct container *c, enum volume_event what, const struct json *mount)
{
	static const char *const words[] = { [VOLUME_CREATED] = "create", [VOLUME_MOUNTED] = "mount", [VOLUME_UNMOUNTED] = "unmount",
		[VOLUME_DESTROYED] = "destroy" };
	struct container_engine *e = c->e;
	auto_arena struct arena a = {};
	struct json v = json_object();
	if (!e->o.event || !span_is(container_str(mount, "Kind"), "volume"))
		return;
	json_setl(&a, &v, "driver", json_cstr("local"));
	if (what == VOLUME_MOUNTED || what == VOLUME_UNMOUNTED)
		json_setl(&a, &v, "container", json_cstr(c->id));
	if (what == VOLUME_MOUNTED) {
		json_setl(&a, &v, "destination", json_str(container_str(mount, "Target")));
		json_setl(&a, &v, "propagation", json_str(container_str(mount, "Propagation")));
		json_setl(&a, &v, "read/write", json_cstr(container_truth(mount, "ReadOnly") ? "false" : "true"));
	}
	json_sort(&v);
	e->o.event(e->o.event_arg, &(struct container_event){ .action = span_of(words[what]), .volume = true,
		.id = container_str(mount, "Name"), .attributes = &v, .time_ns = loop_wall_ns(e->o.loop) });
}

void container_volume_events(struct container *c, enum volume_event what)
{
	JSON_EACH_ITEM (json_getl(&c->doc, "Plan"), m)
		container_volume_event(c, what, m);
}
