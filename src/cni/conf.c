/* The configuration and the environment: everything is bounded and checked before anything is done. */
#include <netinet/in.h>

#include "cni/private.h"

static const char *const versions[] = { "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };

bool cni_version_ours(struct span v, const char **out)
{
	for (size_t i = 0; i < ARRAY_LEN(versions); i++)
		if (span_is(v, versions[i])) {
			*out = versions[i];
			return true;
		}
	return false;
}

bool cni_version_from(const struct cni_call *c, const char *first)
{
	return strcmp(c->version, first) >= 0; /* single digits throughout */
}

void cni_versions_write(struct json_out *o)
{
	json_out_begin_array(o);
	for (size_t i = 0; i < ARRAY_LEN(versions); i++)
		json_out_span(o, span_of(versions[i]));
	json_out_end(o);
}

/* Linux: 1 to 15 bytes, no '/', ':', blank; not "." or "..". */
bool cni_ifname_valid(struct span s)
{
	if (!s.len || s.len >= IFNAMSIZ || span_is(s, ".") || span_is(s, ".."))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == '/' || s.ptr[i] == ':')
			return false;
	return true;
}

/* The spec's form of names and container IDs: [a-zA-Z0-9][a-zA-Z0-9_.-]* */
static bool word(struct span s, size_t max)
{
	if (!s.len || s.len > max)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char ch = s.ptr[i];
		bool alnum = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
		if (!alnum && (i == 0 || (ch != '_' && ch != '.' && ch != '-')))
			return false;
	}
	return true;
}

static int subnet_add(struct cni_call *c, struct span text)
{
	struct sys_prefix p;
	if (!sys_prefix_parse(text, &p))
		return cni_fail(c, CNI_CONFIG, "subnet \"%.*s\" is no prefix such as 10.244.0.0/24", SPAN_ARG(text));
	int v = p.addr.family == AF_INET ? V4 : V6;
	if (c->subnet[v].addr.family)
		return cni_fail(c, CNI_CONFIG, "two subnets of one family: \"%.*s\" is the second", SPAN_ARG(text));
	c->subnet[v] = sys_prefix_mask(p);
	if (sys_prefix_size(&p) < 4)
		return cni_fail(c, CNI_CONFIG, "subnet \"%.*s\" has no address for a pod", SPAN_ARG(text));
	return 0;
}

static int protocol_of(struct span s, uint8_t *out)
{
	static const struct {
		const char *name;
		uint8_t number;
	} rows[] = { { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "sctp", IPPROTO_SCTP } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (span_eq_nocase(s, span_of(rows[i].name))) {
			*out = rows[i].number;
			return 0;
		}
	return -1;
}

static int ports_read(struct cni_call *c, const struct json *list)
{
	if (!list || list->kind == JSON_NULL)
		return 0;
	if (list->kind != JSON_ARRAY || list->n > CNI_PORTS_MAX)
		return cni_fail(c, CNI_CONFIG, "runtimeConfig.portMappings is no list of at most %d", CNI_PORTS_MAX);
	c->ports = arena_alloc_n(&c->arena, list->n + 1, sizeof(*c->ports));
	JSON_EACH_ITEM(list, item) {
		struct cni_port p = { .protocol = IPPROTO_TCP };
		int64_t host = json_i64(json_getl(item, "hostPort"), -1), pod = json_i64(json_getl(item, "containerPort"), -1);
		struct span protocol = json_span(json_getl(item, "protocol")), at = json_span(json_getl(item, "hostIP"));
		if (host == 0)
			continue; /* a port without a place on the host: the reference plugin leaves it out as well */
		if (host < 1 || host > 65535 || pod < 1 || pod > 65535)
			return cni_fail(c, CNI_CONFIG, "runtimeConfig.portMappings[%u]: hostPort and containerPort must be 1 to 65535",
					(unsigned)(item - list->items));
		if (protocol.len && protocol_of(protocol, &p.protocol) < 0)
			return cni_fail(c, CNI_CONFIG, "runtimeConfig.portMappings[%u]: protocol \"%.*s\" is not tcp, udp or sctp",
					(unsigned)(item - list->items), SPAN_ARG(protocol));
		if (at.len && !sys_addr_parse(at, &p.at))
			return cni_fail(c, CNI_CONFIG, "runtimeConfig.portMappings[%u]: hostIP \"%.*s\" is no address",
					(unsigned)(item - list->items), SPAN_ARG(at));
		if (p.at.family && sys_addr_zero(&p.at))
			p.at.family = 0;
		p.host = (uint16_t)host;
		p.pod = (uint16_t)pod;
		c->ports[c->n_ports++] = p;
	}
	return 0;
}

int cni_conf_read(struct cni_call *c, struct span text)
{
	static const struct json_limits limits = { .bytes = CNI_CONF_MAX, .depth = 32, .nodes = 100000 };
	if (json_parse(&c->arena, text, JSON_DUPLICATES_LAST, &limits, &c->conf, &c->err) < 0)
		return cni_fail_with(c, CNI_DECODE);
	const struct json *f = &c->conf;
	if (f->kind != JSON_OBJECT)
		return cni_fail(c, CNI_DECODE, "the configuration is no object");
	struct span version = json_span(json_getl(f, "cniVersion"));
	if (!cni_version_ours(version.len ? version : SPAN("0.3.0"), &c->version)) {
		c->version = "1.0.0";
		return cni_fail(c, CNI_INCOMPATIBLE, "cniVersion \"%.*s\" is not spoken here", SPAN_ARG(version));
	}
	if (span_is(c->command, "VERSION"))
		return 0;
	c->name = json_span(json_getl(f, "name"));
	if (!word(c->name, 100))
		return cni_fail(c, CNI_CONFIG, "the network's name \"%.*s\" is missing or not made of letters, digits, '.', '_' and '-'",
				(int)MIN(c->name.len, (size_t)100), c->name.ptr ? c->name.ptr : "");
	struct span id = json_span(json_getl(f, "id"));
	if (!id.len)
		id = SPAN("0");
	if (id.len > 8)
		return cni_fail(c, CNI_CONFIG, "id has more than 8 digits");
	for (size_t i = 0; i < id.len; i++)
		if (hex_value(id.ptr[i]) < 0 || (id.ptr[i] >= 'A' && id.ptr[i] <= 'F'))
			return cni_fail(c, CNI_CONFIG, "id \"%.*s\" is not made of hex digits in lower case", SPAN_ARG(id));
	memcpy(c->id, id.ptr, id.len);
	snprintf(c->table, sizeof(c->table), "knarr_cni_%s", c->id);
	snprintf(c->prefix, sizeof(c->prefix), "k%s-", c->id);
	struct json *one = json_getl(f, "subnet"), *many = json_getl(f, "subnets");
	if (json_is(one, JSON_STRING) && subnet_add(c, json_span(one)) < 0)
		return -1;
	JSON_EACH_ITEM(many, s)
		if (subnet_add(c, json_span(s)) < 0)
			return -1;
	int64_t mtu = json_i64(json_getl(f, "mtu"), 0);
	if (mtu < 0 || mtu > 65535 || (mtu && mtu < (c->subnet[V6].addr.family ? 1280 : 68)))
		return cni_fail(c, CNI_CONFIG, "mtu %lld is none", (long long)mtu);
	c->mtu = (unsigned)mtu;
	struct span state = json_span(json_getl(f, "stateDir"));
	if (state.len && (state.ptr[0] != '/' || state.len > 3000 || memchr(state.ptr, 0, state.len)))
		return cni_fail(c, CNI_CONFIG, "stateDir is no absolute path");
	c->state = state.len ? arena_cstr(&c->arena, state) : "/var/lib/knarr/cni/state";
	if (ports_read(c, json_path(f, "runtimeConfig", "portMappings", NULL)) < 0)
		return -1;
	bool pod = span_is(c->command, "ADD") || span_is(c->command, "DEL") || span_is(c->command, "CHECK");
	if (pod && !word(c->container, CNI_ID_MAX))
		return cni_fail(c, CNI_ENVIRONMENT, "CNI_CONTAINERID is missing or no ID");
	if (pod && !cni_ifname_valid(c->ifname))
		return cni_fail(c, CNI_ENVIRONMENT, "CNI_IFNAME is missing or no name of an interface");
	if (pod && !c->netns.len && !span_is(c->command, "DEL"))
		return cni_fail(c, CNI_ENVIRONMENT, "CNI_NETNS is missing");
	if (span_is(c->command, "ADD") && !c->subnet[V4].addr.family && !c->subnet[V6].addr.family)
		return cni_fail(c, CNI_CONFIG, "the configuration has no subnet");
	return 0;
}
