/* Small plugins for everything that is no new pod: nodes, storage, ingresses, certificate requests, owners. */
#include "admission/private.h"
#include "tls/tls.h"

/* ---- TaintNodesByCondition: nothing is scheduled to a new node before it has said that it is ready. */
int admission_node_taint(struct admission *req, struct err *err)
{
	static const char key[] = "node.kubernetes.io/not-ready";
	if (!admission_is(req, "", "nodes") || req->subresource.len)
		return 0;
	struct json *taints = admission_array(req->arena, admission_object(req->arena, req->object, "spec"), "taints");
	JSON_EACH_ITEM(taints, t)
		if (span_is(text_of(t, "key"), key) && span_is(text_of(t, "effect"), "NoSchedule"))
			return 0;
	struct json t = json_object();
	json_setl(req->arena, &t, "key", json_cstr(key));
	json_setl(req->arena, &t, "effect", json_cstr("NoSchedule"));
	json_push(req->arena, taints, t);
	return 0;
}

/* The newest object whose annotation says "true", the first by name among those of one second. */
static const struct json *newest_default(const struct json *list, const char *annotation, const char *old_annotation)
{
	const struct json *best = NULL;
	JSON_EACH_ITEM(list, o) {
		if (!span_is(json_span(annotation_of(o, annotation)), "true") &&
		    !(old_annotation && span_is(json_span(annotation_of(o, old_annotation)), "true")))
			continue;
		/* RFC 3339 in UTC without a fraction: order of text is order of time */
		int newer = best ? span_cmp(text_of(meta_of(o), "creationTimestamp"), text_of(meta_of(best), "creationTimestamp")) : 1;
		if (newer > 0 || (newer == 0 && span_cmp(name_of(o), name_of(best)) < 0))
			best = o;
	}
	return best;
}

/* ---- DefaultStorageClass */
int admission_storage_class(struct admission *req, struct err *err)
{
	const struct json *spec = json_getl(req->object, "spec");
	if (!admission_is(req, "", "persistentvolumeclaims") || req->subresource.len || json_getl(spec, "storageClassName") ||
	    annotation_of(req->object, "volume.beta.kubernetes.io/storage-class"))
		return 0;
	const struct json *best = newest_default(admission_list(req, "storage.k8s.io", "storageclasses", SPAN_EMPTY),
						 "storageclass.kubernetes.io/is-default-class",
						 "storageclass.beta.kubernetes.io/is-default-class");
	if (best)
		json_setl(req->arena, admission_object(req->arena, req->object, "spec"), "storageClassName", json_str(name_of(best)));
	return 0;
}

/* ---- StorageObjectInUseProtection */
int admission_storage_in_use(struct admission *req, struct err *err)
{
	const char *finalizer = admission_is(req, "", "persistentvolumes")      ? "kubernetes.io/pv-protection" :
				admission_is(req, "", "persistentvolumeclaims") ? "kubernetes.io/pvc-protection" :
										  NULL;
	if (!finalizer || req->subresource.len)
		return 0;
	struct json *list = admission_array(req->arena, admission_object(req->arena, req->object, "metadata"), "finalizers");
	JSON_EACH_ITEM(list, f)
		if (span_is(json_span(f), finalizer))
			return 0;
	json_push(req->arena, list, json_cstr(finalizer));
	return 0;
}

/* ---- PersistentVolumeClaimResize */
static struct api_quantity storage_of(const struct json *claim)
{
	struct api_quantity q = {};
	const struct json *v = json_path(claim, "spec", "resources", "requests", "storage", NULL);
	if (v)
		(void)api_quantity_parse(json_span(v), &q, NULL); /* decoding has refused what is none */
	return q;
}

static struct span class_of(const struct json *claim)
{
	const struct json *old = annotation_of(claim, "volume.beta.kubernetes.io/storage-class");
	return old ? json_span(old) : text_of(json_getl(claim, "spec"), "storageClassName");
}

int admission_pvc_resize(struct admission *req, struct err *err)
{
	if (!admission_is(req, "", "persistentvolumeclaims") || req->subresource.len)
		return 0;
	struct api_quantity now = storage_of(req->object), was = storage_of(req->old);
	if (api_quantity_cmp(&now, &was) <= 0)
		return 0;
	if (!span_is(text_of(json_getl(req->old, "status"), "phase"), "Bound"))
		return admission_forbid(req, err, "Only bound persistent volume claims can be expanded");
	struct span class = class_of(req->object);
	const struct json *sc = NULL;
	if (class.len && span_eq(class, class_of(req->old)))
		sc = admission_get(req, "storage.k8s.io", "storageclasses", SPAN_EMPTY, class);
	if (!json_truth(json_getl(sc, "allowVolumeExpansion"), false))
		return admission_forbid(req, err,
			"only dynamically provisioned pvc can be resized and the storageclass that provisions the "
					"pvc must support resize");
	return 0;
}

/* ---- DefaultIngressClass */
int admission_ingress_class(struct admission *req, struct err *err)
{
	if (!admission_is(req, "networking.k8s.io", "ingresses") || req->subresource.len ||
	    json_getl(json_getl(req->object, "spec"), "ingressClassName") ||
	    annotation_of(req->object, "kubernetes.io/ingress.class"))
		return 0;
	const struct json *best = newest_default(admission_list(req, "networking.k8s.io", "ingressclasses", SPAN_EMPTY),
						 "ingressclass.kubernetes.io/is-default-class", NULL);
	if (best)
		json_setl(req->arena, admission_object(req->arena, req->object, "spec"), "ingressClassName", json_str(name_of(best)));
	return 0;
}

/* ---- CertificateApproval, CertificateSigning: a verb on the virtual resource signers, by the signer's name or its domain. What is
 * stored counts, so that no update dodges the question by naming another signer. */
static int signer_check(struct admission *req, const char *verb, struct err *err)
{
	struct span signer = text_of(json_getl(req->old, "spec"), "signerName"), domain, rest;
	struct admission_ask ask = { .verb = span_of(verb), .group = SPAN("certificates.k8s.io"), .version = SPAN("*"),
				     .resource = SPAN("signers"), .name = signer };
	if (admission_allows(req, &ask))
		return 0;
	span_split(signer, '/', &domain, &rest);
	ask.name = arena_printf(req->arena, "%.*s/*", SPAN_ARG(domain));
	if (admission_allows(req, &ask))
		return 0;
	auto_buf struct buf quoted = {};
	api_go_quote(&quoted, signer);
	return admission_forbid(req, err, "user not permitted to %s requests with signerName %s", verb, buf_cstr(&quoted));
}

int admission_csr_approval(struct admission *req, struct err *err)
{
	if (!admission_is(req, "certificates.k8s.io", "certificatesigningrequests") || !span_is(req->subresource, "approval"))
		return 0;
	return signer_check(req, "approve", err);
}

int admission_csr_signing(struct admission *req, struct err *err)
{
	if (!admission_is(req, "certificates.k8s.io", "certificatesigningrequests") || !span_is(req->subresource, "status"))
		return 0;
	const struct json *now = json_getl(req->object, "status"), *was = json_getl(req->old, "status");
	if (span_eq(text_of(now, "certificate"), text_of(was, "certificate")) &&
	    strategy_same(json_getl(now, "conditions"), json_getl(was, "conditions")))
		return 0;
	return signer_check(req, "sign", err);
}

/* ---- CertificateSubjectRestriction: nobody becomes a member of system:masters through the signer of client certificates. */
int admission_csr_subject(struct admission *req, struct err *err)
{
	static const char signer[] = "kubernetes.io/kube-apiserver-client";
	const struct json *spec = json_getl(req->object, "spec");
	if (!admission_is(req, "certificates.k8s.io", "certificatesigningrequests") || req->subresource.len ||
	    !span_is(text_of(spec, "signerName"), signer))
		return 0;
	auto_buf struct buf pem = {};
	auto_cleanup(auto_tls_peer_) struct tls_peer *asked = NULL;
	auto_err struct err why = ERR_INIT;
	if (!base64_parse(&pem, BASE64_STD, text_of(spec, "request")) ||
	    !span_has(buf_span(&pem), SPAN("-----BEGIN CERTIFICATE REQUEST-----")))
		return admission_forbid(req, err, "failed to parse CSR: PEM block type must be CERTIFICATE REQUEST");
	if (tls_csr_names(buf_span(&pem), NULL, &asked, &why) < 0)
		return admission_forbid(req, err, "failed to parse CSR: %s", err_msg(&why));
	for (unsigned i = 0; i < asked->n_orgs; i++)
		if (strcmp(asked->orgs[i], "system:masters") == 0)
			return admission_forbid(req, err, "use of %s signer with system:masters group is not allowed", signer);
	return 0;
}

/* ---- OwnerReferencesPermissionEnforcement: who sets owners must be allowed to delete the thing, and who blocks the deletion of an
 * owner must be allowed to change that owner's finalizers. */
static bool blocks(const struct json *ref)
{
	return json_truth(json_getl(ref, "blockOwnerDeletion"), false);
}

static bool blocked_before(const struct json *old_refs, struct span uid)
{
	JSON_EACH_ITEM(old_refs, ref)
		if (blocks(ref) && span_eq(text_of(ref, "uid"), uid))
			return true;
	return false;
}

static bool ask_with_reason(const struct admission *req, const struct admission_ask *ask, struct span *out_reason)
{
	*out_reason = SPAN_EMPTY;
	return !req->lookup->allows || req->lookup->allows(req->lookup->arg, req->arena, ask, out_reason);
}

int admission_owners(struct admission *req, struct err *err)
{
	const struct json *now = json_getl(meta_of(req->object), "ownerReferences");
	const struct json *was = json_getl(meta_of(req->old), "ownerReferences");
	const struct api_resource *r = req->resource;
	struct span reason;
	if ((admission_is(req, "", "pods") && span_is(req->subresource, "status")) || strategy_same(now, was))
		return 0;
	if (req->op != ADMISSION_CREATE) {
		struct admission_ask ask = { .verb = SPAN("delete"), .group = r->group, .version = r->version, .resource = r->plural,
					     .subresource = req->subresource, .ns = req->ns, .name = req->name };
		if (!ask_with_reason(req, &ask, &reason))
			return admission_forbid(req, err, "cannot set an ownerRef on a resource you can't delete: %.*s, <nil>",
						SPAN_ARG(reason));
	}
	JSON_EACH_ITEM(now, ref) {
		if (!blocks(ref) || blocked_before(was, text_of(ref, "uid")))
			continue;
		struct span api_version = text_of(ref, "apiVersion"), kind = text_of(ref, "kind"), group, version;
		if (!span_split(api_version, '/', &group, &version)) {
			version = api_version;
			group = SPAN_EMPTY;
		}
		const struct api_resource *owner = req->lookup->kind ? req->lookup->kind(req->lookup->arg, group, version, kind) : NULL;
		if (!owner)
			return admission_forbid(req, err, "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for "
						"APIVersion %.*s Kind %.*s: no matches for kind \"%.*s\" in version \"%.*s\"",
						SPAN_ARG(api_version), SPAN_ARG(kind), SPAN_ARG(kind), SPAN_ARG(api_version));
		struct admission_ask ask = { .verb = SPAN("update"), .group = group, .version = version, .resource = owner->plural,
					     .subresource = SPAN("finalizers"), .ns = owner->namespaced ? req->ns : SPAN_EMPTY,
					     .name = text_of(ref, "name") };
		if (!ask_with_reason(req, &ask, &reason))
			return admission_forbid(req, err,
				"cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set "
						"finalizers on: %.*s, <nil>", SPAN_ARG(reason));
	}
	return 0;
}
