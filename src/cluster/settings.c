/* Settings: a row each. config.yaml says what a person wants, cluster.json what the first start settled: objects in the cluster
 * carry addresses of those ranges, so they cannot change under it. */
#include "cluster/private.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <unistd.h>

#include "yaml/yaml.h"

#define FILE_MAX (64 << 10)

const char *const cluster_part_names[CLUSTER_PARTS] = {
	[CLUSTER_ENGINE] = "engine",
	[CLUSTER_APISERVER] = "apiserver",
	[CLUSTER_CONTROLLERS] = "controller-manager",
	[CLUSTER_SCHEDULER] = "scheduler",
	[CLUSTER_KUBELET] = "kubelet",
	[CLUSTER_PROXY] = "proxy",
	[CLUSTER_DNS] = "dns",
};

enum kind { KIND_RANGE, KIND_ADDRESS, KIND_NAME, KIND_INT, KIND_PORTS, KIND_BOOL };
#define AT(member) offsetof(struct cluster_settings, member)
static const struct row {
	const char *name;
	enum kind kind;
	size_t at;
	int64_t low, high;
	bool fixed; /* by the first start */
} rows[] = {
	{ "podCIDR", KIND_RANGE, AT(pod_cidr), 0, 0, true },
	{ "nodeMaskSize", KIND_INT, AT(node_mask), 8, 30, true },
	{ "serviceCIDR", KIND_RANGE, AT(service_cidr), 0, 0, true },
	{ "dnsAddress", KIND_ADDRESS, AT(dns_address), 0, 0, true },
	{ "clusterDomain", KIND_NAME, AT(domain), 0, 0, true },
	{ "hostNetwork", KIND_BOOL, AT(host_network), 0, 0, true },
	{ "nodeName", KIND_NAME, AT(node_name), 0, 0, true },
	{ "healthSeconds", KIND_INT, AT(health_s), 1, 3600, false }, /* how often parts are asked whether they are well */
	{ "apiPort", KIND_INT, AT(api_port), 1, 65535, false },
	{ "maxPods", KIND_INT, AT(max_pods), 1, 100000, false },
	{ "nodePorts", KIND_PORTS, AT(node_ports), 0, 0, false },
	{ "advertiseAddress", KIND_ADDRESS, AT(advertise_address), 0, 0, false },
};
/* Beside the rows. */
#define KEY_SANS "certificateNames"
#define KEY_ARGS "arguments"

/* RFC 1123: labels of letters, digits and dashes, at most 253 in all. */
static bool name_ok(struct span s)
{
	struct span rest = s, label;
	if (!s.len || s.len > 253 || s.ptr[s.len - 1] == '.')
		return false;
	while (span_cut(&rest, '.', &label)) {
		if (!label.len || label.len > 63 || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
			return false;
		for (size_t i = 0; i < label.len; i++)
			if (!((label.ptr[i] >= 'a' && label.ptr[i] <= 'z') || (label.ptr[i] >= '0' && label.ptr[i] <= '9') || label.ptr[i] ==
				'-'))
				return false;
	}
	return true;
}

static bool address4(struct span text, uint32_t *out)
{
	char copy[INET_ADDRSTRLEN];
	struct in_addr a;
	if (text.len >= sizeof(copy))
		return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = 0;
	if (inet_pton(AF_INET, copy, &a) != 1)
		return false;
	*out = ntohl(a.s_addr);
	return true;
}

static bool range4(struct span text, uint32_t *out_base, uint32_t *out_bits)
{
	struct span base, bits;
	uint64_t n;
	if (!span_split(text, '/', &base, &bits) || !address4(base, out_base) || !span_to_u64(bits, &n) || n < 1 || n > 30)
		return false;
	*out_bits = (uint32_t)n;
	return (*out_base & (UINT32_MAX >> n)) == 0;
}

struct span cluster_range_at(struct arena *a, struct span range, uint32_t nth)
{
	uint32_t base, bits;
	char text[INET_ADDRSTRLEN];
	if (!range4(range, &base, &bits) || nth >= UINT32_MAX >> bits)
		return SPAN_EMPTY;
	struct in_addr in = { .s_addr = htonl(base + nth) };
	return arena_span(a, span_of(inet_ntop(AF_INET, &in, text, sizeof(text))));
}

static int set_row(struct cluster_settings *s, const struct row *r, const struct json *v, struct err *err)
{
	char *place = (char *)s + r->at;
	struct span text = json_span(v);
	uint32_t base, bits;
	switch (r->kind) {
	case KIND_INT:
		if (!json_is(v, JSON_INT) || v->i < r->low || v->i > r->high)
			return err_set(err, ERR_INVALID, "%s: a number from %lld to %lld is expected", r->name, (long long)r->low,
				(long long)r->high);
		*(int64_t *)place = v->i;
		return 0;
	case KIND_BOOL:
		if (!json_is(v, JSON_BOOL))
			return err_set(err, ERR_INVALID, "%s: true or false is expected", r->name);
		*(bool *)place = v->b;
		return 0;
	case KIND_RANGE:
		if (!range4(text, &base, &bits))
			return err_set(err, ERR_INVALID, "%s: %.*s is no range of IPv4 addresses such as 10.244.0.0/16", r->name,
				SPAN_ARG(text));
		break;
	case KIND_ADDRESS:
		if (!address4(text, &base))
			return err_set(err, ERR_INVALID, "%s: %.*s is no IPv4 address", r->name, SPAN_ARG(text));
		break;
	case KIND_NAME:
		if (!name_ok(text))
			return err_set(err, ERR_INVALID, "%s: \"%.*s\" is no name: lower case letters, digits, dashes and dots are", r->name,
				       SPAN_ARG(text));
		break;
	case KIND_PORTS: {
		struct span low, high;
		int64_t from, to;
		if (!span_split(text, '-', &low, &high) || !span_to_i64(low, &from) || !span_to_i64(high, &to) || from < 1 || to > 65535 ||
			from > to)
			return err_set(err, ERR_INVALID, "%s: %.*s is no range of ports such as 30000-32767", r->name, SPAN_ARG(text));
		break;
	}
	}
	*(struct span *)place = arena_span(&s->arena, text);
	return 0;
}

static int set_texts(struct cluster_settings *s, const struct json *v, const char *what, struct span *out, unsigned cap,
	unsigned *out_n,
		     struct err *err)
{
	if (!json_is(v, JSON_ARRAY) || v->n > cap)
		return err_set(err, ERR_INVALID, "%s: a list of at most %u texts is expected", what, cap);
	*out_n = 0;
	JSON_EACH_ITEM(v, item) {
		if (!json_is(item, JSON_STRING) || memchr(item->str, 0, item->n))
			return err_set(err, ERR_INVALID, "%s: item %u is no text", what, *out_n + 1);
		out[(*out_n)++] = arena_span(&s->arena, json_span(item));
	}
	return 0;
}

static int set_arguments(struct cluster_settings *s, const struct json *v, struct err *err)
{
	if (!json_is(v, JSON_OBJECT))
		return err_set(err, ERR_INVALID, KEY_ARGS ": a mapping from parts to lists is expected");
	JSON_EACH_MEMBER(v, m) {
		unsigned i = 0;
		while (i < CLUSTER_PARTS && !span_is(json_key(m), cluster_part_names[i]))
			i++;
		if (i == CLUSTER_PARTS) {
			const char *near = cluster_nearest(json_key(m), cluster_part_names, CLUSTER_PARTS);
			return err_set(err, ERR_INVALID, KEY_ARGS ": there is no part \"%.*s\"%s%s%s", SPAN_ARG(json_key(m)), near ?
				"; did you mean " : "",
				       near ? near : "", near ? "?" : "");
		}
		char what[64];
		snprintf(what, sizeof(what), KEY_ARGS ".%s", cluster_part_names[i]);
		int rc = set_texts(s, &m->value, what, s->args[i].text, CLUSTER_ARGS_MAX, &s->args[i].n, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int set_member(struct cluster_settings *s, const struct json_member *m, struct err *err)
{
	struct span key = json_key(m);
	const char *names[ARRAY_LEN(rows) + 2];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (span_is(key, rows[i].name))
			return set_row(s, &rows[i], &m->value, err);
		names[i] = rows[i].name;
	}
	if (span_is(key, KEY_SANS))
		return set_texts(s, &m->value, KEY_SANS, s->sans, CLUSTER_SANS_MAX, &s->n_sans, err);
	if (span_is(key, KEY_ARGS))
		return set_arguments(s, &m->value, err);
	names[ARRAY_LEN(rows)] = KEY_SANS;
	names[ARRAY_LEN(rows) + 1] = KEY_ARGS;
	const char *near = cluster_nearest(key, names, ARRAY_LEN(names));
	return err_set(err, ERR_INVALID, "unknown setting \"%.*s\"%s%s%s", SPAN_ARG(key), near ? "; did you mean " : "", near ? near
		: "",
		       near ? "?" : "");
}

/* What only makes sense together. */
static int check(const struct cluster_settings *s, struct err *err)
{
	uint32_t pods, pod_bits, services, service_bits, dns;
	if (!range4(s->pod_cidr, &pods, &pod_bits) || !range4(s->service_cidr, &services, &service_bits) || !address4(s->dns_address,
		&dns))
		return err_set(err, ERR_INVALID, "ranges are not to be read");
	uint32_t shorter = MIN(pod_bits, service_bits);
	if (pods >> (32 - shorter) == services >> (32 - shorter))
		return err_set(err, ERR_INVALID, "podCIDR %.*s and serviceCIDR %.*s overlap", SPAN_ARG(s->pod_cidr),
			SPAN_ARG(s->service_cidr));
	if (dns >> (32 - service_bits) != services >> (32 - service_bits) || dns <= services + 1)
		return err_set(err, ERR_INVALID, "dnsAddress %.*s is no free address of serviceCIDR %.*s (its first is the API server's)",
			       SPAN_ARG(s->dns_address), SPAN_ARG(s->service_cidr));
	if (s->node_mask < (int64_t)pod_bits)
		return err_set(err, ERR_INVALID, "nodeMaskSize %lld: a node's part would be larger than podCIDR %.*s",
			(long long)s->node_mask,
			       SPAN_ARG(s->pod_cidr));
	return 0;
}

int cluster_settings_parse(struct span text, struct cluster_settings *s, struct err *err)
{
	static const struct json_limits limits = { .bytes = FILE_MAX, .depth = 8, .nodes = 4096 };
	struct json tree;
	int64_t had_dns = 0;
	int rc = yaml_parse(&s->arena, text, YAML_STRICT, &limits, &tree, err);
	if (rc < 0)
		return rc;
	if (json_is(&tree, JSON_NULL))
		return 0;
	if (!json_is(&tree, JSON_OBJECT))
		return err_set(err, ERR_INVALID, "a mapping from names of settings to values is expected");
	JSON_EACH_MEMBER(&tree, m) {
		rc = set_member(s, m, err);
		if (rc < 0)
			return rc;
		had_dns |= span_is(json_key(m), "dnsAddress");
	}
	/* The tenth of the range, wherever that is. */
	if (!had_dns && json_getl(&tree, "serviceCIDR"))
		s->dns_address = cluster_range_at(&s->arena, s->service_cidr, 10);
	return check(s, err);
}

void cluster_settings_default(const struct cluster_layout *l, struct cluster_settings *s)
{
	char host[65] = "";
	*s = (struct cluster_settings){
		.pod_cidr = SPAN("10.244.0.0/16"), .service_cidr = SPAN("10.96.0.0/16"), .dns_address = SPAN("10.96.0.10"),
		.domain = SPAN("cluster.local"), .node_ports = SPAN("30000-32767"), .node_mask = 24, .api_port = 6443, .health_s = 60,
		.max_pods = 110,
		.host_network = l->is_default,
	};
	(void)gethostname(host, sizeof(host) - 1);
	for (char *c = host; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
	s->node_name = name_ok(span_of(host)) ? arena_span(&s->arena, span_of(host)) : SPAN("node");
}

/* What the first start fixed stays; a wish for something else is told, not passed over. */
static int fixed_read(const struct cluster_layout *l, struct cluster_settings *s, uint64_t wished, struct err *err)
{
	auto_buf struct buf text = {};
	struct json tree;
	int rc = io_read_file(AT_FDCWD, l->cluster.ptr, &text, FILE_MAX, NULL);
	if (rc == -ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return io_read_file(AT_FDCWD, l->cluster.ptr, &text, FILE_MAX, err);
	rc = json_parse(&s->arena, buf_span(&text), 0, NULL, &tree, err);
	if (rc < 0)
		return err_note(err, "%s", l->cluster.ptr);
	struct cluster_settings was = *s; /* with the arena, which goes back whatever comes */
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];
		const struct json *v = json_get(&tree, span_of(r->name));
		if (!r->fixed || !v)
			continue;
		rc = set_row(&was, r, v, err);
		s->arena = was.arena;
		if (rc < 0)
			return err_note(err, "%s", l->cluster.ptr);
		const char *x = (const char *)s + r->at, *y = (const char *)&was + r->at;
		bool same = r->kind == KIND_INT	   ? *(const int64_t *)x == *(const int64_t *)y
			    : r->kind == KIND_BOOL ? *(const bool *)x == *(const bool *)y
						   : span_eq(*(const struct span *)x, *(const struct span *)y);
		if (!same && wished & UINT64_C(1) << i)
			return err_set(err, ERR_IN_USE,
				       "%s was settled when this cluster was first started and cannot change under it; put it back in %s, or "
				       "'knarr reset' and start anew", r->name, l->config.ptr);
	}
	was.address = arena_span(&was.arena, json_span(json_getl(&tree, "address")));
	was.objects_made = json_i64(json_getl(&tree, "objectsMade"), 0);
	*s = was;
	return 0;
}

/* Which rows config.yaml names: those alone are wishes. */
static uint64_t wished_of(struct span text, struct arena *a)
{
	struct json tree;
	uint64_t wished = 0;
	if (!text.len || yaml_parse(a, text, 0, NULL, &tree, NULL) < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (json_is(&tree, JSON_OBJECT) && json_get(&tree, span_of(rows[i].name)))
			wished |= UINT64_C(1) << i;
	return wished;
}

int cluster_settings_read(const struct cluster_layout *l, bool want_host_network, struct cluster_settings *s, struct err *err)
{
	auto_buf struct buf text = {};
	auto_err struct err why = ERR_INIT;
	cluster_settings_default(l, s);
	int rc = io_read_file(AT_FDCWD, l->config.ptr, &text, FILE_MAX, &why);
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return err_move(err, &why);
	rc = rc < 0 ? 0 : cluster_settings_parse(buf_span(&text), s, err);
	if (rc < 0)
		return err_note(err, "%s", l->config.ptr);
	uint64_t wished = wished_of(buf_span(&text), &s->arena);
	if (want_host_network) {
		s->host_network = true;
		for (size_t i = 0; i < ARRAY_LEN(rows); i++)
			wished |= rows[i].at == AT(host_network) ? UINT64_C(1) << i : 0;
	}
	/* Its parts listen where everybody looks for them. */
	if (l->is_default && !s->host_network)
		return err_set(err, ERR_INVALID, "%s: hostNetwork: false: the default cluster is on the host's network; one with a network "
			       "of its own has a folder of its own: knarr up --data-dir D", l->config.ptr);
	return fixed_read(l, s, wished, err);
}

int cluster_settings_save(const struct cluster_layout *l, const struct cluster_settings *s, struct err *err)
{
	auto_buf struct buf b = {}, was = {};
	struct json_out o = { .buf = &b };
	json_out_begin(&o);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *place = (const char *)s + rows[i].at;
		if (!rows[i].fixed)
			continue;
		json_out_key(&o, span_of(rows[i].name));
		if (rows[i].kind == KIND_INT)
			json_out_i64(&o, *(const int64_t *)place);
		else if (rows[i].kind == KIND_BOOL)
			json_out_bool(&o, *(const bool *)place);
		else
			json_out_span(&o, *(const struct span *)place);
	}
	json_out_kspan(&o, "address", s->address);
	json_out_ki64(&o, "objectsMade", s->objects_made);
	json_out_end(&o);
	buf_chr(&b, '\n');
	if (io_read_file(AT_FDCWD, l->cluster.ptr, &was, FILE_MAX, NULL) == 0 && span_eq(buf_span(&was), buf_span(&b)))
		return 0;
	return io_write_file(AT_FDCWD, l->cluster.ptr, buf_span(&b), 0644, err);
}

void cluster_settings_done(struct cluster_settings *s)
{
	arena_done(&s->arena);
}
