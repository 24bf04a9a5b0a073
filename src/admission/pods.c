/* What is added to new pods besides resources: the service account, tolerations, priority, the runtime class's needs. */
#include "admission/private.h"

#define TOKEN_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

static struct json *spec_of(struct admission *req)
{
	return admission_object(req->arena, req->object, "spec");
}

static bool is_pod_create(const struct admission *req)
{
	return admission_is(req, "", "pods") && !req->subresource.len && req->op == ADMISSION_CREATE;
}

/* ---- ServiceAccount
 * Upstream's --service-account-lookup for legacy tokens is authentication's; this plugin is about pods alone. */

/* Every Secret that a pod names: VisitPodSecretNames. One is enough here. */
static bool container_names_secret(const struct json *c)
{
	JSON_EACH_ITEM(json_getl(c, "envFrom"), e)
		if (json_getl(e, "secretRef"))
			return true;
	JSON_EACH_ITEM(json_getl(c, "env"), e)
		if (json_path(e, "valueFrom", "secretKeyRef", NULL))
			return true;
	return false;
}

static bool volume_names_secret(const struct json *v)
{
	static const char *const plain[][2] = {
		{ "azureFile", "secretName" }, { "cephfs", "secretRef" }, { "cinder", "secretRef" }, { "flexVolume", "secretRef" },
		{ "rbd", "secretRef" }, { "secret", "secretName" }, { "scaleIO", "secretRef" }, { "iscsi", "secretRef" },
		{ "storageos", "secretRef" }, { "csi", "nodePublishSecretRef" },
	};
	for (unsigned i = 0; i < ARRAY_LEN(plain); i++) {
		const struct json *found = json_path(v, plain[i][0], plain[i][1], NULL);
		if (found && (!json_is(found, JSON_STRING) || found->n))
			return true;
	}
	JSON_EACH_ITEM(json_path(v, "projected", "sources", NULL), s)
		if (json_getl(s, "secret"))
			return true;
	return false;
}

bool admission_pod_names_secret(const struct json *spec)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	if (count_of(json_getl(spec, "imagePullSecrets")))
		return true;
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_get(spec, span_of(lists[i])), c)
			if (container_names_secret(c))
				return true;
	JSON_EACH_ITEM(json_getl(spec, "volumes"), v)
		if (volume_names_secret(v))
			return true;
	return false;
}

static bool names_it(const struct json *list, struct span name)
{
	JSON_EACH_ITEM(list, ref)
		if (span_eq(text_of(ref, "name"), name))
			return true;
	return false;
}

static int env_secrets(const struct admission *req, const char *list, const char *what, const struct json *account,
		       struct err *err)
{
	const struct json *secrets = json_getl(account, "secrets");
	JSON_EACH_ITEM(json_get(json_getl(req->object, "spec"), span_of(list)), c)
		JSON_EACH_ITEM(json_getl(c, "env"), e) {
			const struct json *ref = json_path(e, "valueFrom", "secretKeyRef", NULL);
			struct span name = text_of(ref, "name");
			if (ref && !names_it(secrets, name))
				return admission_forbid(req, err, "%s %.*s with envVar %.*s referencing secret.secretName=\"%.*s\" is not "
							"allowed because service account %.*s does not reference that secret", what,
							SPAN_ARG(text_of(c, "name")), SPAN_ARG(text_of(e, "name")), SPAN_ARG(name),
							SPAN_ARG(name_of(account)));
		}
	return 0;
}

static bool go_bool(struct span s)
{
	bool yes = false;
	return span_to_bool(s, &yes) && yes;
}

static int limit_secrets(const struct admission *req, const struct json *account, struct err *err)
{
	const struct json *spec = json_getl(req->object, "spec");
	if (!go_bool(json_span(annotation_of(account, "kubernetes.io/enforce-mountable-secrets"))))
		return 0;
	JSON_EACH_ITEM(json_getl(spec, "volumes"), v) {
		const struct json *secret = json_getl(v, "secret");
		struct span name = text_of(secret, "secretName");
		if (secret && !names_it(json_getl(account, "secrets"), name))
			return admission_forbid(req, err, "volume with secret.secretName=\"%.*s\" is not allowed because service account "
						"%.*s does not reference that secret", SPAN_ARG(name), SPAN_ARG(name_of(account)));
	}
	int rc = env_secrets(req, "initContainers", "init container", account, err);
	if (rc == 0)
		rc = env_secrets(req, "containers", "container", account, err);
	if (rc < 0)
		return rc;
	uint32_t i = 0;
	JSON_EACH_ITEM(json_getl(spec, "imagePullSecrets"), ref) {
		struct span name = text_of(ref, "name");
		if (!names_it(json_getl(account, "imagePullSecrets"), name))
			return admission_forbid(req, err, "imagePullSecrets[%u].name=\"%.*s\" is not allowed because service account %.*s does "
						"not reference that imagePullSecret", i, SPAN_ARG(name), SPAN_ARG(name_of(account)));
		i++;
	}
	return 0;
}

static void mount_token(struct admission *req, struct json *spec)
{
	static const char *const lists[] = { "initContainers", "containers" };
	static const char volume[] =
		"{\"name\":\"\",\"projected\":{\"defaultMode\":420,\"sources\":["
		"{\"serviceAccountToken\":{\"expirationSeconds\":3607,\"path\":\"token\"}},"
		"{\"configMap\":{\"name\":\"kube-root-ca.crt\",\"items\":[{\"key\":\"ca.crt\",\"path\":\"ca.crt\"}]}},"
		"{\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{\"apiVersion\":\"v1\","
		"\"fieldPath\":\"metadata.namespace\"}}]}}]}}";
	struct arena *a = req->arena;
	struct span name = SPAN_EMPTY;
	bool has_volume = false, needed = false;
	JSON_EACH_ITEM(json_getl(spec, "volumes"), v) {
		if (span_starts(text_of(v, "name"), SPAN("kube-api-access-"))) {
			name = text_of(v, "name");
			has_volume = true;
			break;
		}
	}
	if (!has_volume) {
		char suffix[5];
		req->lookup->random_suffix(req->lookup->arg, suffix, sizeof(suffix));
		name = arena_printf(a, "kube-api-access-%.5s", suffix);
	}
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
		JSON_EACH_ITEM(json_get(spec, span_of(lists[i])), c) {
			bool mounted = false;
			JSON_EACH_ITEM(json_getl(c, "volumeMounts"), m)
				mounted |= span_is(text_of(m, "mountPath"), TOKEN_DIR);
			if (mounted)
				continue;
			struct json m = json_object();
			json_setl(a, &m, "name", json_str(name));
			json_setl(a, &m, "readOnly", json_bool(true));
			json_setl(a, &m, "mountPath", json_cstr(TOKEN_DIR));
			json_push(a, admission_array(a, c, "volumeMounts"), m);
			needed = true;
		}
	if (has_volume || !needed)
		return;
	struct json v;
	int rc = json_parse(a, span_of(volume), JSON_BORROW, NULL, &v, NULL);
	assert(rc == 0);
	json_setl(a, &v, "name", json_str(name));
	json_push(a, admission_array(a, spec, "volumes"), v);
}

static int sa_lookup(struct admission *req, struct span name, const struct json **out, struct err *err)
{
	*out = admission_get(req, "", "serviceaccounts", req->ns, name);
	if (*out)
		return 0;
	return admission_forbid(req, err, "error looking up service account %.*s/%.*s: serviceaccount \"%.*s\" not found",
				SPAN_ARG(req->ns), SPAN_ARG(name), SPAN_ARG(name));
}

int admission_sa_mutate(struct admission *req, struct err *err)
{
	if (!is_pod_create(req))
		return 0;
	if (annotation_of(req->object, "kubernetes.io/config.mirror")) /* its spec must stay what the kubelet has */
		return admission_sa_validate(req, err);
	struct json *spec = spec_of(req);
	if (!text_of(spec, "serviceAccountName").len)
		json_setl(req->arena, spec, "serviceAccountName", json_cstr("default"));
	/* The served version has both names of the field; decoding and defaulting keep them equal. */
	json_setl(req->arena, spec, "serviceAccount", *json_getl(spec, "serviceAccountName"));
	const struct json *account;
	int rc = sa_lookup(req, text_of(spec, "serviceAccountName"), &account, err);
	if (rc < 0)
		return rc;
	bool automount = json_truth(json_getl(account, "automountServiceAccountToken"), true);
	if (json_truth(json_getl(spec, "automountServiceAccountToken"), automount))
		mount_token(req, spec);
	const struct json *pull = json_getl(account, "imagePullSecrets");
	if (!count_of(json_getl(spec, "imagePullSecrets")) && count_of(pull)) {
		struct json *list = admission_array(req->arena, spec, "imagePullSecrets");
		JSON_EACH_ITEM(pull, ref) {
			struct json one = json_object();
			if (text_of(ref, "name").len)
				json_setl(req->arena, &one, "name", json_str(text_of(ref, "name")));
			json_push(req->arena, list, one);
		}
	}
	return admission_sa_validate(req, err);
}

int admission_sa_validate(struct admission *req, struct err *err)
{
	const struct json *spec = json_getl(req->object, "spec"), *account;
	if (!admission_is(req, "", "pods"))
		return 0;
	if (req->op == ADMISSION_UPDATE && span_is(req->subresource, "ephemeralcontainers")) {
		/* Only what ephemeral containers bring in is new: their env may not name Secrets that the account does not list. */
		int rc = sa_lookup(req, text_of(spec, "serviceAccountName"), &account, err);
		if (rc < 0 || !go_bool(json_span(annotation_of(account, "kubernetes.io/enforce-mountable-secrets"))))
			return rc;
		return env_secrets(req, "ephemeralContainers", "ephemeral container", account, err);
	}
	if (!is_pod_create(req))
		return 0;
	if (annotation_of(req->object, "kubernetes.io/config.mirror")) {
		if (text_of(spec, "serviceAccountName").len)
			return admission_forbid(req, err, "a mirror pod may not reference service accounts");
		if (admission_pod_names_secret(spec))
			return admission_forbid(req, err, "a mirror pod may not reference secrets");
		JSON_EACH_ITEM(json_getl(spec, "volumes"), v)
			JSON_EACH_ITEM(json_path(v, "projected", "sources", NULL), s)
				if (json_getl(s, "serviceAccountToken"))
					return admission_forbid(req, err, "a mirror pod may not use ServiceAccountToken volume projections");
		return 0;
	}
	if (!text_of(spec, "serviceAccountName").len)
		return admission_forbid(req, err, "no service account specified for pod %.*s/%.*s", SPAN_ARG(req->ns),
					SPAN_ARG(name_of(req->object)));
	int rc = sa_lookup(req, text_of(spec, "serviceAccountName"), &account, err);
	return rc < 0 ? rc : limit_secrets(req, account, err);
}

/* ---- DefaultTolerationSeconds: pods without an opinion leave a node that is not ready or unreachable after five minutes. */
static bool tolerates(const struct json *list, const char *key)
{
	JSON_EACH_ITEM(list, t) {
		struct span k = text_of(t, "key"), effect = text_of(t, "effect");
		if ((span_is(k, key) || !k.len) && (span_is(effect, "NoExecute") || !effect.len))
			return true;
	}
	return false;
}

static void tolerate(struct arena *a, struct json *spec, const char *key, int64_t seconds)
{
	struct json t = json_object();
	json_setl(a, &t, "key", json_cstr(key));
	json_setl(a, &t, "operator", json_cstr("Exists"));
	json_setl(a, &t, "effect", json_cstr("NoExecute"));
	json_setl(a, &t, "tolerationSeconds", json_int(seconds));
	json_push(a, admission_array(a, spec, "tolerations"), t);
}

int admission_tolerations(struct admission *req, struct err *err)
{
	if (!admission_is(req, "", "pods") || req->subresource.len)
		return 0;
	struct json *spec = spec_of(req);
	const struct admission_config *config = admission_settings(req);
	const struct json *list = json_getl(spec, "tolerations");
	bool not_ready = tolerates(list, "node.kubernetes.io/not-ready");
	bool unreachable = tolerates(list, "node.kubernetes.io/unreachable");
	if (!not_ready)
		tolerate(req->arena, spec, "node.kubernetes.io/not-ready", config->not_ready_toleration_s);
	if (!unreachable)
		tolerate(req->arena, spec, "node.kubernetes.io/unreachable", config->unreachable_toleration_s);
	return 0;
}

/* ---- Priority */
static const struct json *default_class(const struct admission *req)
{
	const struct json *best = NULL;
	JSON_EACH_ITEM(admission_list(req, "scheduling.k8s.io", "priorityclasses", SPAN_EMPTY), pc)
		if (json_truth(json_getl(pc, "globalDefault"), false) &&
		    (!best || json_i64(json_getl(best, "value"), 0) > json_i64(json_getl(pc, "value"), 0)))
			best = pc;
	return best;
}

int admission_priority_mutate(struct admission *req, struct err *err)
{
	if (!is_pod_create(req)) {
		/* A PUT that leaves these out means what is stored: they cannot change. */
		if (!admission_is(req, "", "pods") || req->subresource.len || req->op != ADMISSION_UPDATE)
			return 0;
		static const char *const kept[] = { "priority", "preemptionPolicy" };
		const struct json *old = json_getl(req->old, "spec");
		for (unsigned i = 0; i < ARRAY_LEN(kept); i++) {
			const struct json *was = json_get(old, span_of(kept[i]));
			if (was && !json_get(spec_of(req), span_of(kept[i])))
				json_set(req->arena, spec_of(req), span_of(kept[i]), json_copy(req->arena, was));
		}
		return 0;
	}
	struct json *spec = spec_of(req);
	struct span name = text_of(spec, "priorityClassName"), policy = SPAN("PreemptLowerPriority");
	int64_t priority = 0;
	const struct json *pc = name.len ? admission_get(req, "scheduling.k8s.io", "priorityclasses", SPAN_EMPTY, name) :
					   default_class(req);
	if (name.len && !pc)
		return admission_forbid(req, err, "no PriorityClass with name %.*s was found", SPAN_ARG(name));
	if (pc) {
		priority = json_i64(json_getl(pc, "value"), 0);
		policy = text_of(pc, "preemptionPolicy");
		if (!name.len)
			json_setl(req->arena, spec, "priorityClassName", json_str(name_of(pc)));
	}
	const struct json *own = json_getl(spec, "priority");
	if (own && json_i64(own, 0) != priority)
		return admission_forbid(req, err,
			"the integer value of priority (%lld) must not be provided in pod spec; priority admission "
					"controller computed %lld from the given PriorityClass name", (long long)json_i64(own, 0),
					(long long)priority);
	json_setl(req->arena, spec, "priority", json_int(priority));
	if (!policy.len)
		return 0;
	const struct json *own_policy = json_getl(spec, "preemptionPolicy");
	if (own_policy && !span_eq(json_span(own_policy), policy))
		return admission_forbid(req, err, "the string value of PreemptionPolicy (%.*s) must not be provided in pod spec; priority "
					"admission controller computed %.*s from the given PriorityClass name",
					SPAN_ARG(json_span(own_policy)), SPAN_ARG(policy));
	json_setl(req->arena, spec, "preemptionPolicy", json_str(policy));
	return 0;
}

int admission_priority_validate(struct admission *req, struct err *err)
{
	if (!admission_is(req, "scheduling.k8s.io", "priorityclasses") || req->subresource.len || req->op == ADMISSION_DELETE ||
	    !json_truth(json_getl(req->object, "globalDefault"), false))
		return 0;
	const struct json *other = default_class(req);
	if (other && (req->op == ADMISSION_CREATE || !span_eq(name_of(other), name_of(req->object))))
		return admission_forbid(req, err, "PriorityClass %.*s is already marked as default. Only one default can exist",
					SPAN_ARG(name_of(other)));
	return 0;
}

/* ---- RuntimeClass: its overhead, its nodes. */
static int runtime_class_of(const struct admission *req, const struct json **out, struct err *err)
{
	*out = NULL;
	const struct json *name = json_getl(json_getl(req->object, "spec"), "runtimeClassName");
	if (!name)
		return 0;
	*out = admission_get(req, "node.k8s.io", "runtimeclasses", SPAN_EMPTY, json_span(name));
	if (*out)
		return 0;
	auto_buf struct buf quoted = {};
	api_go_quote(&quoted, json_span(name));
	return admission_forbid(req, err, "pod rejected: RuntimeClass %s not found", buf_cstr(&quoted));
}

/* Does t already say what s says? tolerations.isSuperset. */
static bool toleration_covers(const struct json *t, const struct json *s)
{
	if (strategy_same(t, s))
		return true;
	struct span tk = text_of(t, "key"), te = text_of(t, "effect");
	bool exists = span_is(text_of(t, "operator"), "Exists");
	if (!span_eq(tk, text_of(s, "key")) && !(!tk.len && exists))
		return false;
	if (te.len && !span_eq(te, text_of(s, "effect")))
		return false;
	if (span_is(te, "NoExecute")) {
		const struct json *have = json_getl(t, "tolerationSeconds"), *want = json_getl(s, "tolerationSeconds");
		if (have && (!want || json_i64(have, 0) < json_i64(want, 0)))
			return false;
	}
	if (exists)
		return true;
	return span_is(text_of(s, "operator"), "Equal") && span_eq(text_of(t, "value"), text_of(s, "value"));
}

/* All of both lists, those that another one covers left out; MergeTolerations. */
static struct json tolerations_merged(struct arena *a, const struct json *first, const struct json *second)
{
	struct json all = json_array(), out = json_array();
	JSON_EACH_ITEM(first, t)
		json_push(a, &all, *t);
	JSON_EACH_ITEM(second, t)
		json_push(a, &all, json_copy(a, t));
	for (uint32_t i = 0; i < all.n; i++) {
		bool covered = false;
		for (uint32_t j = 0; j < out.n && !covered; j++)
			covered = toleration_covers(&out.items[j], &all.items[i]);
		for (uint32_t j = i + 1; j < all.n && !covered; j++)
			covered = !strategy_same(&all.items[i], &all.items[j]) && toleration_covers(&all.items[j], &all.items[i]);
		if (!covered)
			json_push(a, &out, all.items[i]);
	}
	return out;
}

int admission_runtime_class_mutate(struct admission *req, struct err *err)
{
	if (!is_pod_create(req))
		return 0;
	const struct json *rc;
	int failed = runtime_class_of(req, &rc, err);
	if (failed < 0)
		return failed;
	struct arena *a = req->arena;
	struct json *spec = spec_of(req);
	const struct json *overhead = json_getl(rc, "overhead"), *fixed = json_getl(overhead, "podFixed");
	if (overhead) {
		const struct json *own = json_getl(spec, "overhead");
		if (own && !strategy_same(own, fixed))
			return admission_forbid(req, err, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
		if (fixed)
			json_setl(a, spec, "overhead", json_copy(a, fixed));
	}
	const struct json *scheduling = json_getl(rc, "scheduling");
	JSON_EACH_MEMBER(json_getl(scheduling, "nodeSelector"), m) {
		struct json *selector = admission_object(a, spec, "nodeSelector");
		const struct json *own = json_get(selector, json_key(m));
		if (own && !span_eq(json_span(own), json_span(&m->value)))
			return admission_forbid(req, err, "conflict: runtimeClass.scheduling.nodeSelector[%.*s] = %.*s; "
						"pod.spec.nodeSelector[%.*s] = %.*s", SPAN_ARG(json_key(m)), SPAN_ARG(json_span(&m->value)),
						SPAN_ARG(json_key(m)), SPAN_ARG(json_span(own)));
		json_set(a, selector, json_key(m), m->value);
	}
	const struct json *more = json_getl(scheduling, "tolerations"), *have = json_getl(spec, "tolerations");
	if (scheduling && (count_of(more) || count_of(have)))
		json_setl(a, spec, "tolerations", tolerations_merged(a, have, more));
	return 0;
}

int admission_runtime_class_validate(struct admission *req, struct err *err)
{
	if (!is_pod_create(req))
		return 0;
	const struct json *rc, *own = json_getl(json_getl(req->object, "spec"), "overhead");
	int failed = runtime_class_of(req, &rc, err);
	if (failed < 0)
		return failed;
	const struct json *overhead = json_getl(rc, "overhead");
	if (overhead && !strategy_same(own, json_getl(overhead, "podFixed")))
		return admission_forbid(req, err, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
	if (!overhead && own)
		return admission_forbid(req, err, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
	return 0;
}
