/* The cluster's authority and all that it signs, under kubeadm's names.
 *
 *     pki/ca.{crt,key}                     signs everything; the key is root's
 *     pki/apiserver/apiserver.{crt,key}    what the API server shows. This folder becomes its user's.
 *     pki/apiserver/kubelet-client.{crt,key}  what it shows to kubelets
 *     pki/apiserver/sa.{key,pub}           signs the tokens of service accounts
 *     pki/NAME.{crt,key,kubeconfig}        a part as a client of the API server
 *
 * Certificates live a year and are made anew at a start within the last 120 days; the authority lives ten. */
#include "cluster/private.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tls/tls.h"

#define DAY_S INT64_C(86400)
#define YEAR_S (365 * DAY_S)
#define RENEW_S (120 * DAY_S)
#define FILE_MAX (64 << 10)
#define IPS_MAX 64
#define CA_REMEDY                                                                                            \
	"put back the one that belongs to the other; with both moved away a new authority is made, which kubeconfigs " \
	"handed out before do not believe"
#define NAMES_MAX (CLUSTER_SANS_MAX + 8)

static const struct client_row {
	const char *file; /* below pki; its kubeconfig too, if it has a name there */
	const char *cn, *org; /* cn "": the node's */
	bool kubeconfig;
} clients[] = {
	{ "apiserver/kubelet-client", "kube-apiserver-kubelet-client", "system:masters", false },
	/* All its controllers act under one name, and it holds the authority's key: less would be appearance (decision 0762). */
	{ "controller-manager", "system:kube-controller-manager", "system:masters", true },
	{ "scheduler", "system:kube-scheduler", NULL, true },
	{ "kubelet", "", "system:nodes", true },
	{ "proxy", "system:kube-proxy", NULL, true },
	{ "dns", "system:kube-dns", NULL, true },
	{ "admin", "kubernetes-admin", "system:masters", false },
};

struct authority {
	const char *dir;
	struct tls_key *key;
	struct buf pem;
	int64_t now_s, born_s;
	unsigned made;
};

static int key_keep(const char *path, struct tls_key **out, struct err *err)
{
	auto_buf struct buf pem = {};
	auto_err struct err why = ERR_INIT;
	int rc = io_read_file(AT_FDCWD, path, &pem, FILE_MAX, &why);
	if (rc == 0)
		return tls_key_read(buf_span(&pem), path, out, err);
	if (rc != -ERR_NOT_FOUND)
		return err_move(err, &why);
	rc = tls_key_new(TLS_ES256, out, err);
	if (rc == 0 && (rc = tls_key_save(*out, AT_FDCWD, path, err)) < 0) {
		tls_key_unref(*out);
		*out = NULL;
	}
	return rc;
}

static int authority_open(struct authority *ca, struct err *err)
{
	auto_buf struct buf path = {};
	auto_err struct err why = ERR_INIT;
	auto_cleanup(auto_tls_peer_) struct tls_peer *cert = NULL;
	auto_cleanup(auto_tls_key_) struct tls_key *of = NULL;
	buf_printf(&path, "%s/ca.key", ca->dir);
	/* A new key beside the old certificate would sign what nobody believes: none is made then. */
	if (access(buf_cstr(&path), F_OK) < 0 && errno == ENOENT) {
		auto_buf struct buf crt = {};
		buf_printf(&crt, "%s/ca.crt", ca->dir);
		if (access(buf_cstr(&crt), F_OK) == 0)
			return err_set(err, ERR_CORRUPT, "%s is missing, and %s is there: " CA_REMEDY, buf_cstr(&path), buf_cstr(&crt));
	}
	int rc = key_keep(buf_cstr(&path), &ca->key, err);
	if (rc < 0)
		return rc;
	buf_trunc(&path, 0);
	buf_printf(&path, "%s/ca.crt", ca->dir);
	rc = io_read_file(AT_FDCWD, buf_cstr(&path), &ca->pem, FILE_MAX, &why);
	if (rc == -ERR_NOT_FOUND) {
		const struct tls_cert_params p = { .kind = TLS_CERT_CA, .cn = "kubernetes", .not_before_s = ca->now_s - 300,
						   .not_after_s = ca->now_s + 10 * YEAR_S };
		rc = tls_cert_make(&p, ca->key, SPAN_EMPTY, NULL, &ca->pem, err);
		if (rc == 0)
			rc = io_write_file(AT_FDCWD, buf_cstr(&path), buf_span(&ca->pem), 0644, err);
		ca->made++;
	} else if (rc < 0) {
		return err_move(err, &why);
	}
	if (rc == 0)
		rc = tls_cert_read(buf_span(&ca->pem), buf_cstr(&path), &cert, err);
	if (rc == 0)
		rc = tls_key_read(buf_span(&ca->pem), buf_cstr(&path), &of, err);
	if (rc == 0 && !tls_key_same(of, ca->key))
		return err_set(err, ERR_CORRUPT, "%s is not the certificate of %s/ca.key: " CA_REMEDY, buf_cstr(&path), ca->dir);
	if (rc == 0)
		ca->born_s = cert->not_before_s;
	return rc;
}

static bool has(const char **list, unsigned n, const char *wanted)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(list[i], wanted) == 0)
			return true;
	return false;
}

/* Long to live, of this authority, for this key, and with every name wanted? */
static bool good(const struct authority *ca, struct span pem, const struct tls_key *key, const struct tls_cert_params *p)
{
	auto_cleanup(auto_tls_peer_) struct tls_peer *cert = NULL;
	auto_cleanup(auto_tls_key_) struct tls_key *of = NULL;
	if (tls_cert_read(pem, NULL, &cert, NULL) < 0 || tls_key_read(pem, NULL, &of, NULL) < 0)
		return false;
	if (cert->not_after_s < ca->now_s + RENEW_S || cert->not_before_s > ca->now_s || cert->not_before_s < ca->born_s ||
	    !tls_key_same(of, key) || strcmp(cert->cn, p->cn) != 0)
		return false;
	for (unsigned i = 0; p->ips && p->ips[i]; i++)
		if (!has(cert->ips, cert->n_ips, p->ips[i]))
			return false;
	for (unsigned i = 0; p->dns_names && p->dns_names[i]; i++)
		if (!has(cert->dns_names, cert->n_dns_names, p->dns_names[i]))
			return false;
	return true;
}

/* DIR/file.key and .crt; the texts too, when somebody wants them. */
static int pair_keep(struct authority *ca, const char *file, struct tls_cert_params p, struct buf *cert, struct buf *key_pem,
	struct err *err)
{
	auto_buf struct buf path = {}, own = {};
	auto_cleanup(auto_tls_key_) struct tls_key *key = NULL;
	struct buf *pem = cert ? cert : &own;
	buf_printf(&path, "%s/%s.key", ca->dir, file);
	int rc = key_keep(buf_cstr(&path), &key, err);
	if (rc < 0)
		return rc;
	buf_trunc(&path, 0);
	buf_printf(&path, "%s/%s.crt", ca->dir, file);
	rc = io_read_file(AT_FDCWD, buf_cstr(&path), pem, FILE_MAX, NULL);
	if (rc < 0 || !good(ca, buf_span(pem), key, &p)) {
		buf_trunc(pem, 0);
		p.not_before_s = MAX(ca->now_s - 300, ca->born_s);
		p.not_after_s = ca->now_s + YEAR_S;
		rc = tls_cert_make(&p, key, buf_span(&ca->pem), ca->key, pem, err);
		if (rc == 0)
			rc = io_write_file(AT_FDCWD, buf_cstr(&path), buf_span(pem), 0644, err);
		ca->made++;
	}
	return rc == 0 && key_pem ? tls_key_private_pem(key, key_pem, err) : rc;
}

static int serving(struct authority *ca, const struct cluster_settings *s, struct arena *a, struct err *err)
{
	const char *names[NAMES_MAX], *ips[IPS_MAX + 1];
	unsigned n_names = 0, n_ips = 0;
	char host[65] = "";
	uint8_t address[16];
	names[n_names++] = "kubernetes";
	names[n_names++] = "kubernetes.default";
	names[n_names++] = "kubernetes.default.svc";
	names[n_names++] = arena_printf(a, "kubernetes.default.svc.%.*s", SPAN_ARG(s->domain)).ptr;
	names[n_names++] = "localhost";
	names[n_names++] = s->node_name.ptr;
	(void)gethostname(host, sizeof(host) - 1);
	if (host[0] && strcmp(host, s->node_name.ptr) != 0)
		names[n_names++] = host;
	ips[n_ips++] = "127.0.0.1";
	ips[n_ips++] = "::1";
	struct span service = cluster_range_at(a, s->service_cidr, 1);
	if (service.len)
		ips[n_ips++] = service.ptr;
	if (s->advertise_address.len)
		ips[n_ips++] = s->advertise_address.ptr;
	if (s->address.len)
		ips[n_ips++] = s->address.ptr;
	for (unsigned i = 0; i < s->n_sans && n_ips < IPS_MAX && n_names < NAMES_MAX - 1; i++) {
		bool ip = inet_pton(AF_INET, s->sans[i].ptr, address) == 1 || inet_pton(AF_INET6, s->sans[i].ptr, address) == 1;
		if (ip)
			ips[n_ips++] = s->sans[i].ptr;
		else
			names[n_names++] = s->sans[i].ptr;
	}
	n_ips += cluster_addresses(a, ips + n_ips, IPS_MAX - n_ips);
	names[n_names] = NULL;
	ips[n_ips] = NULL;
	return pair_keep(ca, "apiserver/apiserver",
			 (struct tls_cert_params){ .kind = TLS_CERT_SERVER, .cn = "kube-apiserver", .dns_names = names, .ips = ips }, NULL,
				NULL,
			 err);
}

/* ---- kubeconfigs */

static void data_line(struct buf *out, const char *name, struct span pem)
{
	buf_printf(out, "    %s: ", name);
	base64_add(out, BASE64_STD, pem.ptr, pem.len);
	buf_chr(out, '\n');
}

void cluster_kubeconfig_write(struct buf *out, const char *name, const char *user, struct span server, struct span ca_pem,
			      struct span cert_pem, struct span key_pem)
{
	buf_printf(out, "apiVersion: v1\nkind: Config\nclusters:\n- name: %s\n  cluster:\n", name);
	data_line(out, "certificate-authority-data", ca_pem);
	buf_printf(out, "    server: %.*s\nusers:\n- name: %s\n  user:\n", SPAN_ARG(server), user);
	data_line(out, "client-certificate-data", cert_pem);
	data_line(out, "client-key-data", key_pem);
	buf_printf(out, "contexts:\n- name: %s\n  context:\n    cluster: %s\n    user: %s\ncurrent-context: %s\npreferences: {}\n",
		name, name, user,
		   name);
}

/* Written when it differs: a file that is read by others keeps its time. */
static int text_keep(const char *path, struct span text, mode_t mode, struct err *err)
{
	auto_buf struct buf was = {};
	struct stat st;
	if (io_read_file(AT_FDCWD, path, &was, FILE_MAX, NULL) == 0 && span_eq(buf_span(&was), text) && stat(path, &st) == 0 &&
	    (st.st_mode & 0777) == mode)
		return 0;
	return io_write_file(AT_FDCWD, path, text, mode, err);
}

static int client_keep(struct authority *ca, const struct cluster_layout *l, const struct cluster_settings *s,
	const struct client_row *r,
		       struct err *err)
{
	auto_buf struct buf cert = {}, key = {}, text = {}, path = {}, server = {}, name = {};
	auto_buf struct buf cn = {};
	const char *orgs[2] = { r->org, NULL };
	buf_str(&cn, r->cn);
	if (!cn.len)
		buf_printf(&cn, "system:node:%s", s->node_name.ptr);
	const struct tls_cert_params params = { .kind = TLS_CERT_CLIENT, .cn = buf_cstr(&cn), .orgs = orgs };
	int rc = pair_keep(ca, r->file, params, &cert, &key, err);
	bool admin = strcmp(r->file, "admin") == 0;
	if (rc < 0 || (!admin && !r->kubeconfig))
		return rc;
	/* People come from outside, parts live in the same namespace. */
	buf_printf(&server, "https://%s:%lld", admin && s->address.len ? s->address.ptr : "127.0.0.1", (long long)s->api_port);
	buf_printf(&name, "knarr%s%s", l->is_default ? "" : "-", l->is_default ? "" : l->id);
	buf_printf(&path, "%s/%s.kubeconfig", ca->dir, r->file);
	auto_buf struct buf user = {};
	buf_printf(&user, admin ? "%s-admin" : "%s", admin ? buf_cstr(&name) : buf_cstr(&cn));
	cluster_kubeconfig_write(&text, buf_cstr(&name), buf_cstr(&user), buf_span(&server), buf_span(&ca->pem), buf_span(&cert),
		buf_span(&key));
	return text_keep(admin ? l->admin.ptr : buf_cstr(&path), buf_span(&text), 0600, err);
}

static int accounts_keep(struct authority *ca, struct err *err)
{
	auto_buf struct buf path = {}, pem = {};
	auto_cleanup(auto_tls_key_) struct tls_key *key = NULL;
	buf_printf(&path, "%s/apiserver/sa.key", ca->dir);
	int rc = key_keep(buf_cstr(&path), &key, err);
	if (rc == 0)
		rc = tls_key_public_pem(key, &pem, err);
	buf_trunc(&path, 0);
	buf_printf(&path, "%s/apiserver/sa.pub", ca->dir);
	return rc < 0 ? rc : text_keep(buf_cstr(&path), buf_span(&pem), 0644, err);
}

int cluster_certs_issue(const struct cluster_layout *l, const char *name, const char *group, int64_t now_s, struct buf *ca_pem,
			struct buf *cert_pem, struct buf *key_pem, struct err *err)
{
	auto_buf struct buf path = {}, text = {};
	auto_cleanup(auto_tls_key_) struct tls_key *ca_key = NULL;
	auto_cleanup(auto_tls_key_) struct tls_key *key = NULL;
	const char *orgs[2] = { group, NULL };
	const struct tls_cert_params p = { .kind = TLS_CERT_CLIENT, .cn = name, .orgs = orgs, .not_before_s = now_s - 300,
					   .not_after_s = now_s + YEAR_S };
	buf_printf(&path, "%s/ca.crt", l->pki.ptr);
	int rc = io_read_file(AT_FDCWD, buf_cstr(&path), ca_pem, FILE_MAX, err);
	buf_trunc(&path, path.len - 3);
	buf_str(&path, "key");
	if (rc == 0)
		rc = io_read_file(AT_FDCWD, buf_cstr(&path), &text, FILE_MAX, err);
	if (rc == 0)
		rc = tls_key_read(buf_span(&text), buf_cstr(&path), &ca_key, err);
	if (rc == 0)
		rc = tls_key_new(TLS_ES256, &key, err);
	if (rc == 0)
		rc = tls_cert_make(&p, key, buf_span(ca_pem), ca_key, cert_pem, err);
	return rc < 0 ? rc : tls_key_private_pem(key, key_pem, err);
}

int cluster_certs_make(const struct cluster_layout *l, const struct cluster_settings *s, int64_t now_s, unsigned *out_new,
	struct err *err)
{
	auto_arena struct arena a = {};
	auto_buf struct buf dir = {};
	struct authority ca = { .dir = l->pki.ptr, .now_s = now_s };
	buf_printf(&dir, "%s/apiserver", ca.dir);
	int rc = io_mkdirs(AT_FDCWD, buf_cstr(&dir), 0700, err);
	if (rc == 0)
		rc = authority_open(&ca, err);
	if (rc == 0)
		rc = serving(&ca, s, &a, err);
	if (rc == 0)
		rc = accounts_keep(&ca, err);
	for (size_t i = 0; i < ARRAY_LEN(clients) && rc == 0; i++)
		rc = client_keep(&ca, l, s, &clients[i], err);
	*out_new = ca.made;
	tls_key_unref(ca.key);
	buf_done(&ca.pem);
	return rc;
}
