#include "apiserver/kubelet.h"

#include <fcntl.h>

#include "apiserver/sub.h"

#define FILE_MAX (1 << 20)

struct kubelets {
	struct tls_ctx *tls[KUBELET_TRUST_COUNT]; /* owned */
	uint8_t digest[32];			  /* of what they are made of */
};

static int read_file(struct span path, struct buf *out, struct err *err)
{
	auto_free char *name = mem_dup(path.ptr, path.len);
	return path.len ? io_read_file(AT_FDCWD, name, out, FILE_MAX, err) : 0;
}

int kubelet_open(const struct apiserver_options *o, struct kubelets **out, struct err *err)
{
	auto_buf struct buf cert = {}, key = {}, ca = {};
	struct kubelets *k = mem_new(struct kubelets);
	int rc = read_file(o->kubelet_client_certificate, &cert, err);
	if (rc == 0)
		rc = read_file(o->kubelet_client_key, &key, err);
	if (rc == 0)
		rc = read_file(o->kubelet_certificate_authority, &ca, err);
	struct tls_hash hash = {};
	tls_sha256_begin(&hash);
	tls_hash_add(&hash, cert.ptr, cert.len);
	tls_hash_add(&hash, key.ptr, key.len);
	tls_hash_add(&hash, ca.ptr, ca.len);
	tls_hash_end(&hash, k->digest);
	const struct tls_pair pair = { .cert_pem = buf_span(&cert), .key_pem = buf_span(&key) };
	const struct tls_client_params rows[KUBELET_TRUST_COUNT] = {
		[KUBELET_VERIFIED] = { .ca_pem = buf_span(&ca),
				       .ca_where = "--kubelet-certificate-authority",
				       .pair = cert.len ? &pair : NULL,
				       .alpn = TLS_ALPN_HTTP,
				       .insecure = !ca.len },
		[KUBELET_ANY] = { .pair = cert.len ? &pair : NULL, .alpn = TLS_ALPN_HTTP, .insecure = true },
		[KUBELET_PLAIN] = { .alpn = TLS_ALPN_HTTP, .insecure = true },
	};
	for (int i = 0; i < KUBELET_TRUST_COUNT && rc == 0; i++)
		rc = tls_client_new(&rows[i], &k->tls[i], err);
	if (rc < 0) {
		kubelet_close(k);
		return err_note(err, "credentials for kubelets");
	}
	*out = k;
	return 0;
}

bool kubelet_same(const struct kubelets *a, const struct kubelets *b)
{
	return memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

void kubelet_close(struct kubelets *k)
{
	for (int i = 0; k && i < KUBELET_TRUST_COUNT; i++)
		tls_ctx_unref(k->tls[i]);
	free(k);
}

struct tls_ctx *kubelet_tls(const struct kubelets *k, enum kubelet_trust trust)
{
	return k->tls[trust];
}

/* The first address of the first type that the node has. */
static struct span preferred(const struct json *addresses, struct span types)
{
	struct span type;
	while (span_cut(&types, ',', &type))
		JSON_EACH_ITEM(addresses, item)
			if (span_eq(span_trim(type), json_span(json_getl(item, "type"))))
				return json_span(json_getl(item, "address"));
	return SPAN_EMPTY;
}

int kubelet_find(struct call *c, struct span node, struct kubelet_place *out)
{
	struct json object;
	const struct store_item *it = sub_object(c, SPAN(""), "nodes", SPAN_EMPTY, node, &object);
	if (c->err.class != ERR_NONE)
		return -c->err.class;
	if (!it)
		return err_set(&c->err, ERR_NOT_FOUND, "nodes \"%.*s\" not found", SPAN_ARG(node));
	const struct json *status = json_getl(&object, "status"), *addresses = json_getl(status, "addresses");
	int64_t port = json_i64(json_path(status, "daemonEndpoints", "kubeletEndpoint", "Port", (char *)NULL), 0);
	out->host = preferred(addresses, c->server->opt->kubelet_address_types);
	out->port = port > 0 && port < 65536 ? (unsigned)port : (unsigned)c->server->opt->kubelet_port;
	if (out->host.len)
		return 0;
	auto_buf struct buf known = {};
	JSON_EACH_ITEM(addresses, item)
		buf_printf(&known, "%s{%.*s %.*s}", known.len ? " " : "", SPAN_ARG(json_span(json_getl(item, "type"))),
			   SPAN_ARG(json_span(json_getl(item, "address"))));
	return err_set(&c->err, ERR_INTERNAL, "no preferred addresses found; known addresses: [%s]",
		       known.len ? buf_cstr(&known) : "");
}
