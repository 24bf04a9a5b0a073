/* Pods: what the files pod_*.c and workload_*.c share. Private to strategy.
 *
 * Paths and words are those of the API server's internal form of a pod, in which hostNetwork, hostPID, hostIPC, hostUsers and
 * shareProcessNamespace stand in the security context; objects here have their place in v1. */
#pragma once

#include "strategy/check.h"

/* PodValidationOptions: what an update lets through because the stored object has it already. */
struct pod_opts {
	bool is_pod; /* a Pod, not a template */
	bool lax_deletion_cost, lax_selector_values, lax_huge_pages, lax_spread_selector, lax_token_path, lax_host_sysctls;
	bool lax_node_affinity_values, any_selinux_policy;
};
/* From what is stored; NULL on create. */
struct pod_opts pod_opts_of(struct arena *a, const struct json *old_spec, const struct json *old_meta);
struct pod_opts pod_opts_of_template(struct arena *a, const struct json *old_template);

/* A pod spec while it is checked. */
struct pod_view {
	struct check *c;
	const struct pod_opts *opts;
	const struct json *spec;
	const struct json *meta;          /* of a real pod; NULL in templates */
	const struct json **volumes;      /* those without complaint */
	uint32_t n_volumes;
	const struct json *grace;         /* terminationGracePeriodSeconds; NULL: unset */
	bool host_users;
};
const struct json *pod_volume(const struct pod_view *v, struct span name); /* NULL: no good one of that name */

/* Each container: init, regular, ephemeral, as VisitContainersWithPath goes. fn returns false to stop. */
typedef bool pod_container_fn(void *ctx, const struct path *at, const struct json *container);
void pod_containers_each(const struct path *spec_at, const struct json *spec, pod_container_fn *fn, void *ctx);
bool pod_is_sidecar(const struct json *container); /* restartPolicy: Always */

/* ---- parts */
void check_pod_spec(struct check *c, const struct path *at, const struct json *spec, const struct json *meta,
		    const struct pod_opts *opts);
/* ValidatePodTemplateSpec; template NULL counts as empty. */
void check_pod_template(struct check *c, const struct path *at, const struct json *template, const struct pod_opts *opts);
/* ValidatePodSpecificAnnotations. */
void check_pod_annotations(struct check *c, const struct path *at, const struct json *annotations, const struct json *spec,
			   const struct pod_opts *opts);
/* Annotations and fields of seccomp and AppArmor must say the same. */
void check_pod_profiles(struct check *c, const struct path *spec_at, const struct json *meta, const struct json *spec);
void check_pod_containers(struct pod_view *v, const struct path *spec_at);
void check_pod_env(struct pod_view *v, const struct path *at, const struct json *container);
void check_pod_field_ref(struct check *c, const struct path *at, const struct json *ref, const char *choices);
void check_pod_resource_ref(struct check *c, const struct path *at, const struct json *ref, bool in_volume);
void check_pod_volumes(struct pod_view *v, const struct path *at);
void check_pod_mounts(struct pod_view *v, const struct path *at, const struct json *container);
bool check_pod_local_path(struct check *c, const struct path *at, struct span path);    /* validateLocalDescendingPath */
bool check_pod_nonreserved_path(struct check *c, const struct path *at, struct span path); /* ValidateLocalNonReservedPath */
bool pod_path_has_backstep(struct span path);
void check_pod_probes(struct pod_view *v, const struct path *at, const struct json *container); /* lifecycle too */
void check_pod_resources(struct pod_view *v, const struct path *at, const struct json *requirements);
void check_pod_overhead(struct check *c, const struct path *at, const struct json *overhead, const struct pod_opts *opts);
void check_pod_claims(struct pod_view *v, const struct path *at);
void check_pod_security(struct pod_view *v, const struct path *spec_at);
void check_pod_container_security(struct pod_view *v, const struct path *at, const struct json *sc);
void check_pod_windows_host_process(struct pod_view *v, const struct path *spec_at);
void check_pod_os(struct pod_view *v, const struct path *spec_at);
void check_pod_affinity(struct pod_view *v, const struct path *at, const struct json *affinity);
void check_pod_tolerations(struct check *c, const struct path *at, const struct json *tolerations);
void check_pod_spread(struct pod_view *v, const struct path *at, const struct json *constraints);
void check_pod_pull_policy(struct check *c, const struct path *at, struct span policy);
bool pod_deletion_cost_is_good(const struct json *annotations);
struct span pod_qos(struct arena *a, const struct json *spec); /* ComputePodQOS: "Guaranteed", ... */
bool pod_huge_page_fits(struct span resource, const struct json *value);
bool pod_is_huge_page(struct span resource);

/* ---- whole pods (pod_update.c, pod_status.c) */
check_fn check_pod, check_pod_status, check_pod_ephemeral, check_pod_resize, check_pod_binding;
void check_pod_annotation_update(struct check *c, const struct json *pod, const struct json *old, const struct pod_opts *opts);

/* ---- complaints that check.h has no word for */
/* shown: Go's text of the value; empty for none at all (OmitValueType). */
void pod_bad(struct check *c, const struct path *at, enum api_field_error type, struct span shown, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
#define bad_null(c, at, ...) pod_bad((c), (at), API_FE_INVALID, SPAN("\"null\""), __VA_ARGS__)
/* ValidateImmutableField with a pointer that may be unset ("null"). */
void check_immutable_pointer(struct check *c, const struct path *at, const char *go_type, const struct json *now,
			     const struct json *was);
/* Equality by type: members that are Go's zero value where the type has no pointer count as absent. NULL is absent. */
bool pod_same(const struct api_type *t, const struct json *a, const struct json *b);
bool pod_same_named(const char *type, const struct json *a, const struct json *b);

/* ---- defaults, prepare, warnings */
void default_pod_spec(struct arena *a, struct json *spec);
void default_pod_template(struct arena *a, struct json *template);
/* DropDisabledTemplateFields: what 1.33 has switched off is cleared, unless the stored object uses it. */
void pod_drop_disabled(struct arena *a, struct json *spec, const struct json *old_spec);
void pod_drop_disabled_template(struct arena *a, struct json *template, const struct json *old_template);
void pod_warnings(struct check *c, const struct path *at, const struct json *spec, const struct json *meta);
