/* Certificate requests: approved when the asker may have such a certificate, signed when approved, deleted when old. */
#include "controllers/csr_plan.h"

#include <fcntl.h>

#define BACKDATE_S 300
#define SHORT_S (8 * 3600) /* of a life shorter than this nothing is taken for the backdating */
#define FILE_MAX (1 << 20)
#define NAMES_MAX 256

static void event(struct controller *c, const struct change *ch)
{
	if (ch->what != CHANGE_REMOVED)
		cm_add(c, ch->e->item->key);
}

static const struct json *condition(const struct json *csr, const char *type)
{
	return tree_find(tree_get(tree_get(csr, "status"), "conditions"), "type", span_of(type));
}

static bool request_pem(const struct json *csr, struct buf *out)
{
	return base64_parse(out, BASE64_STD, tree_span(tree_get(csr, "spec"), "request"));
}

/* Conditions as they are, and one more. */
static struct json with_condition(struct pass *p, const struct json *csr, const char *type, const char *reason, struct span message)
{
	const struct json *old = tree_get(tree_get(csr, "status"), "conditions");
	struct json list = json_is(old, JSON_ARRAY) ? json_copy(&p->arena, old) : json_array(), patch = json_object();
	(void)tree_condition(&p->arena, &list, type, "True", reason, message, p->now_s, "lastUpdateTime");
	tree_set_span(&p->arena, tree_at(&p->arena, &patch, "metadata"), "resourceVersion", tree_meta_span(csr, "resourceVersion"));
	tree_set(&p->arena, tree_at(&p->arena, &patch, "status"), "conditions", list);
	return patch;
}

/* ---- approving: a subresource of the request for which the asker needs the right to create (upstream's sarApprover). Serving
 * certificates of kubelets are approved where selfnodeserver was granted, which nobody has unless an administrator says so
 * (decision 0702). */

struct approval {
	struct json csr;
	const char *subresource, *words;
};

static bool on_access(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	struct approval *s = p->state;
	if (why)
		return false;
	if (!tree_bool(tree_get(answer, "status"), "allowed", false)) {
		p->again = true; /* the grant may come yet, and nobody would tell us; upstream's sarApprover comes back too */
		return true;
	}
	struct json patch = with_condition(p, &s->csr, "Approved", "AutoApproved", span_of(s->words));
	pass_merge(p, CM_CSRS, SPAN_EMPTY, p->name, "approval", &patch)->fine = ERR_NOT_FOUND;
	return true;
}

static void ask(struct pass *p)
{
	struct approval *s = p->state;
	struct arena *a = &p->arena;
	const struct json *from = tree_get(&s->csr, "spec");
	struct json sar = json_object(), spec = json_object(), what = json_object();
	tree_set_cstr(a, &what, "group", "certificates.k8s.io");
	tree_set_cstr(a, &what, "resource", "certificatesigningrequests");
	tree_set_cstr(a, &what, "subresource", s->subresource);
	tree_set_cstr(a, &what, "verb", "create");
	tree_set_cstr(a, &what, "version", "*");
	tree_set(a, &spec, "resourceAttributes", what);
	tree_set_span(a, &spec, "user", tree_span(from, "username"));
	tree_set_span(a, &spec, "uid", tree_span(from, "uid"));
	if (tree_get(from, "groups"))
		tree_set(a, &spec, "groups", *tree_get(from, "groups"));
	if (tree_get(from, "extra"))
		tree_set(a, &spec, "extra", *tree_get(from, "extra"));
	tree_set_cstr(a, &sar, "apiVersion", "authorization.k8s.io/v1");
	tree_set_cstr(a, &sar, "kind", "SubjectAccessReview");
	tree_set(a, &sar, "spec", spec);
	pass_send(p, "POST", SPAN("/apis/authorization.k8s.io/v1/subjectaccessreviews"), &sar, NULL)->done = on_access;
}

static void approve(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_CSRS, p->key);
	auto_buf struct buf pem = {};
	auto_cleanup(auto_tls_peer_) struct tls_peer *asked = NULL;
	if (!e)
		return;
	struct approval *s = arena_new(&p->arena, struct approval);
	p->state = s;
	s->csr = cm_tree(&p->arena, CM_CSRS, e);
	int signer = csr_signer_of(tree_span(tree_get(&s->csr, "spec"), "signerName"));
	if ((signer != CSR_KUBELET_CLIENT && signer != CSR_KUBELET_SERVING) || condition(&s->csr, "Approved") ||
	    condition(&s->csr, "Denied") || tree_span(tree_get(&s->csr, "status"), "certificate").len)
		return;
	if (!request_pem(&s->csr, &pem) || tls_csr_names(buf_span(&pem), NULL, &asked, NULL) < 0 ||
	    csr_unfit((enum csr_signer)signer, &s->csr, asked))
		return; /* a person decides */
	bool own = span_is(tree_span(tree_get(&s->csr, "spec"), "username"), asked->cn);
	if (signer == CSR_KUBELET_SERVING && !own)
		return;
	s->subresource = signer == CSR_KUBELET_SERVING ? "selfnodeserver" : own ? "selfnodeclient" : "nodeclient";
	s->words = signer == CSR_KUBELET_SERVING
			   ? "Auto approving self kubelet serving certificate after SubjectAccessReview."
		   : own ? "Auto approving self kubelet client certificate after SubjectAccessReview."
			 : "Auto approving kubelet client certificate after SubjectAccessReview.";
	ask(p);
}

const struct controller_row cm_csr_approving = {
	.name = "certificatesigningrequest-approving-controller", .watches = BIT(CM_CSRS), .event = event, .reconcile = approve,
};

/* ---- signing */

struct authority {
	struct buf pem;
	struct tls_key *key;
	int64_t end_s;
};

static void authority_done(struct authority *ca)
{
	buf_done(&ca->pem);
	tls_key_unref(ca->key);
	*ca = (struct authority){};
}

static int authority_read(const struct controllers_options *o, struct authority *out, struct err *err)
{
	struct authority ca = {};
	auto_buf struct buf key = {};
	auto_cleanup(auto_tls_peer_) struct tls_peer *cert = NULL;
	auto_cleanup(auto_tls_key_) struct tls_key *of = NULL;
	int rc = io_read_file(AT_FDCWD, o->signing_cert_file.ptr, &ca.pem, FILE_MAX, err);
	if (rc == 0)
		rc = io_read_file(AT_FDCWD, o->signing_key_file.ptr, &key, FILE_MAX, err);
	if (rc == 0)
		rc = tls_cert_read(buf_span(&ca.pem), o->signing_cert_file.ptr, &cert, err);
	if (rc == 0)
		rc = tls_key_read(buf_span(&key), o->signing_key_file.ptr, &ca.key, err);
	if (rc == 0 && (!cert->is_ca || !tls_key_is_private(ca.key)))
		rc = err_set(err, ERR_INVALID, "%s is no certificate authority with its private key", o->signing_cert_file.ptr);
	if (rc == 0)
		rc = tls_key_read(buf_span(&ca.pem), o->signing_cert_file.ptr, &of, err);
	if (rc == 0 && !tls_key_same(of, ca.key))
		rc = err_set(err, ERR_INVALID, "%s is not the certificate of %s", o->signing_cert_file.ptr, o->signing_key_file.ptr);
	if (key.ptr)
		explicit_bzero(key.ptr, key.len);
	if (rc < 0) {
		authority_done(&ca);
		return rc;
	}
	ca.end_s = cert->not_after_s;
	*out = ca;
	return 0;
}

/* The files are read for each certificate, which are few: who replaces the authority need not restart us (upstream's is dynamic
 * too). Between the writes of certificate and key, and when they cannot be read, the last good pair signs. */
static const struct authority *authority_now(struct pass *p)
{
	struct authority *ca = p->c->state, fresh;
	auto_err struct err err = ERR_INIT;
	if (authority_read(p->cm->options, &fresh, &err) < 0) {
		log_warn("the authority that signs: kept what there was", kv_err(&err));
		return ca;
	}
	authority_done(ca);
	*ca = fresh;
	return ca;
}

static int sign(struct pass *p, const struct json *csr, struct span request, struct buf *out, struct err *err)
{
	const struct authority *ca = authority_now(p);
	const struct json *spec = tree_get(csr, "spec");
	auto_cleanup(auto_tls_peer_) struct tls_peer *asked = NULL;
	auto_cleanup(auto_tls_key_) struct tls_key *key = NULL;
	int rc = tls_csr_read(request, "spec.request", &asked, &key, err);
	int kind = csr_kind(tree_get(spec, "usages"));
	int64_t life_s = p->cm->options->signing_ms / 1000, wanted_s = tree_int(spec, "expirationSeconds", 0);
	if (rc < 0)
		return rc;
	const char *unfit = csr_unfit((enum csr_signer)csr_signer_of(tree_span(spec, "signerName")), csr, asked);
	if (unfit || kind < 0)
		return err_set(err, ERR_INVALID, "%s", unfit ? unfit : "usages that this signer does not give");
	if (wanted_s && wanted_s < life_s)
		life_s = MAX(wanted_s, 600);
	/* tls_peer counts its lists; certificates take them with an end. */
	const char *lists[4][NAMES_MAX + 1] = {};
	const char **from[4] = { asked->orgs, asked->dns_names, asked->ips, asked->uris };
	const unsigned n[4] = { asked->n_orgs, asked->n_dns_names, asked->n_ips, asked->n_uris };
	for (unsigned i = 0; i < 4; i++) {
		if (n[i] > NAMES_MAX)
			return err_set(err, ERR_INVALID, "more than %d names of a kind", NAMES_MAX);
		for (unsigned k = 0; k < n[i]; k++)
			lists[i][k] = from[i][k];
	}
	int64_t end_s = p->now_s + life_s - (life_s < SHORT_S ? 0 : BACKDATE_S);
	if (end_s > ca->end_s)
		end_s = ca->end_s;
	const struct tls_cert_params cp = { .kind = (enum tls_cert_kind)kind, .cn = asked->cn, .orgs = lists[0], .dns_names = lists[1],
					    .ips = lists[2], .uris = lists[3], .not_before_s = p->now_s - BACKDATE_S,
					    .not_after_s = end_s };
	return tls_cert_make(&cp, key, buf_span(&ca->pem), ca->key, out, err);
}

static void sign_reconcile(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_CSRS, p->key);
	struct arena *a = &p->arena;
	auto_buf struct buf request = {}, cert = {}, text = {};
	auto_err struct err err = ERR_INIT;
	struct json patch;
	if (!e)
		return;
	struct json csr = cm_tree(a, CM_CSRS, e);
	if (csr_signer_of(tree_span(tree_get(&csr, "spec"), "signerName")) < 0 || !condition(&csr, "Approved") ||
	    condition(&csr, "Denied") || condition(&csr, "Failed") || tree_span(tree_get(&csr, "status"), "certificate").len)
		return;
	if (!request_pem(&csr, &request))
		err_set(&err, ERR_INVALID, "the request is not base64");
	else
		(void)sign(p, &csr, buf_span(&request), &cert, &err);
	if (err.class == ERR_NONE) {
		patch = json_object();
		tree_set_span(a, tree_at(a, &patch, "metadata"), "resourceVersion", tree_meta_span(&csr, "resourceVersion"));
		base64_add(&text, BASE64_STD, cert.ptr, cert.len);
		tree_set(a, tree_at(a, &patch, "status"), "certificate", json_str(arena_span(a, buf_span(&text))));
	} else {
		patch = with_condition(p, &csr, "Failed", "SignerValidationFailure", arena_span(a, span_of(err_msg(&err))));
	}
	pass_merge(p, CM_CSRS, SPAN_EMPTY, p->name, "status", &patch)->fine = ERR_NOT_FOUND;
}

static void sign_stop(struct controller *c)
{
	authority_done(c->state);
	free(c->state);
}

static int sign_start(struct controller *c, struct err *err)
{
	struct authority *ca = mem_new(struct authority);
	c->state = ca;
	int rc = authority_read(c->cm->options, ca, err);
	if (rc < 0)
		sign_stop(c);
	return rc;
}

static bool sign_possible(const struct controllers_options *o)
{
	return o->signing_cert_file.len > 0;
}

const struct controller_row cm_csr_signing = {
	.name = "certificatesigningrequest-signing-controller", .watches = BIT(CM_CSRS), .event = event, .reconcile = sign_reconcile,
	.start = sign_start, .stop = sign_stop, .possible = sign_possible,
};

/* ---- cleaning */

static void clean(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_CSRS, p->key);
	auto_buf struct buf pem = {};
	auto_cleanup(auto_tls_peer_) struct tls_peer *cert = NULL;
	int64_t end_s = 0;
	if (!e || e->row->deleted_s)
		return;
	struct json csr = cm_tree(&p->arena, CM_CSRS, e);
	if (base64_parse(&pem, BASE64_STD, tree_span(tree_get(&csr, "status"), "certificate")) && pem.len &&
	    tls_cert_read(buf_span(&pem), NULL, &cert, NULL) == 0)
		end_s = cert->not_after_s;
	int64_t due_s = csr_deletion_s(&csr, end_s);
	if (p->now_s < due_s)
		pass_after(p, (due_s - p->now_s) * 1000 + 1000);
	else
		pass_delete(p, CM_CSRS, SPAN_EMPTY, p->name, tree_meta_span(&csr, "uid"), NULL);
}

const struct controller_row cm_csr_cleaner = {
	.name = "certificatesigningrequest-cleaner-controller", .watches = BIT(CM_CSRS), .event = event, .reconcile = clean,
};
