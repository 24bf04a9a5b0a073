/* What plugins share. Private to admission. */
#pragma once

#include "strategy/strategy.h"
#include "admission/admission.h"

/* One per file of plugins; admission.c has the table that names them. */
admission_fn admission_lifecycle, admission_limits_mutate, admission_limits_validate;
admission_fn admission_sa_mutate, admission_sa_validate, admission_node_taint, admission_pod_security;
admission_fn admission_priority_mutate, admission_priority_validate, admission_tolerations;
admission_fn admission_storage_class, admission_storage_in_use, admission_pvc_resize;
admission_fn admission_runtime_class_mutate, admission_runtime_class_validate;
admission_fn admission_csr_approval, admission_csr_signing, admission_csr_subject, admission_ingress_class;
admission_fn admission_owners, admission_node_restriction;
/* Does a pod spec name any Secret? */
bool admission_pod_names_secret(const struct json *spec);

/* `pods "x" is forbidden: WHY`. */
int admission_forbid(const struct admission *req, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with another name: PodSecurity and namespaces take the request's as it is. */
int admission_forbid_name(const struct admission *req, struct span name, struct err *err, struct span why);
/* `namespaces "x" not found`, of another object (of the core group) than the request's: its details name that one. */
int admission_missing(struct admission *req, struct span resource, struct span name, struct err *err);
void admission_warn(struct admission *req, struct span text);
void admission_audit(struct admission *req, const char *key, struct span value);
bool admission_is(const struct admission *req, const char *group, const char *plural);
bool admission_in_group(const struct admission *req, const char *group);

const struct json *admission_get(const struct admission *req, const char *group, const char *resource, struct span ns,
				 struct span name);
const struct json *admission_list(const struct admission *req, const char *group, const char *resource, struct span ns);
bool admission_allows(const struct admission *req, const struct admission_ask *ask);
const struct admission_config *admission_settings(const struct admission *req);

/* ---- reading */
static inline struct span text_of(const struct json *object, const char *key)
{
	return json_span(json_get(object, span_of(key)));
}
static inline const struct json *meta_of(const struct json *object)
{
	return json_getl(object, "metadata");
}
static inline struct span name_of(const struct json *object)
{
	return text_of(meta_of(object), "name");
}
static inline const struct json *annotation_of(const struct json *object, const char *key)
{
	return json_get(json_getl(meta_of(object), "annotations"), span_of(key));
}
static inline uint32_t count_of(const struct json *v)
{
	return v && (v->kind == JSON_ARRAY || v->kind == JSON_OBJECT) ? v->n : 0;
}
/* Member `key` as an object or array of the object; made when absent. */
struct json *admission_object(struct arena *a, struct json *object, const char *key);
struct json *admission_array(struct arena *a, struct json *object, const char *key);
