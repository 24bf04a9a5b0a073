/* How a kind's strategy is written. Private to strategy.
 *
 * Paths are chains on the C stack, made into text only when something is wrong:
 *
 *     static void check_probe(struct check *c, const struct path *at, const struct json *probe)
 *     {
 *             check_non_negative(c, &PATH(at, "periodSeconds"), json_getl(probe, "periodSeconds"));
 *             ...
 *             JSON_EACH_INDEX(list, item, i)
 *                     check_item(c, &PATH_INDEX(at, i), item);
 *     }
 *
 * Messages and their order are upstream's: pkg/apis/.../validation of Kubernetes 1.33. A check adds its complaint and goes on,
 * as upstream does.
 *
 * The value that a complaint shows is what Go 1.33 prints: %q of strings, %v of numbers and booleans, %#v of anything else
 * (bad_typed). Go prints a memory address for a pointer inside such a value; where one is set ours shows JSON instead. */
#pragma once

#include "strategy/strategy.h"

struct path {
	const struct path *up;
	struct span name; /* field, or map key (then keyed) */
	int32_t index;    /* >= 0: an index */
	bool keyed;       /* [key] instead of .key */
};
#define PATH_ROOT ((const struct path *)NULL)
/* A field below `at`: &PATH(at, "spec"); several steps: &PATH(&PATH(at, "spec"), "x"). */
#define PATH(at, field_name) ((const struct path){ .up = (at), .name = SPAN(field_name), .index = -1 })
#define PATH_SPAN(at, field_span) ((const struct path){ .up = (at), .name = (field_span), .index = -1 })
#define PATH_INDEX(at, i) ((const struct path){ .up = (at), .index = (int32_t)(i) })
#define PATH_KEY(at, key_span) ((const struct path){ .up = (at), .name = (key_span), .index = -1, .keyed = true })
void path_text(const struct path *at, struct buf *out); /* "spec.containers[0].env[x]"; PATH_ROOT is "<nil>", as upstream */

/* Items of an array (NULL: none) with their index; break and continue do what they say. */
#define JSON_EACH_INDEX(array, item, i)                                                                                \
	for (uint32_t i = 0, i##_n_ = json_is((array), JSON_ARRAY) ? (array)->n : 0, i##_go_ = 1; i##_go_ && i < i##_n_; i++) \
		for (struct json *item = (i##_go_ = 0, &(array)->items[i]); item; item = NULL, i##_go_ = 1)

/* ---- reading members; all accept NULL. Absent is Go's zero value. */
#define member(object, literal) json_getl((object), literal)
static inline struct span member_text(const struct json *object, const char *name)
{
	return json_span(json_get(object, span_of(name)));
}
static inline int64_t member_int(const struct json *object, const char *name)
{
	return json_i64(json_get(object, span_of(name)), 0);
}
static inline bool member_true(const struct json *object, const char *name)
{
	return json_truth(json_get(object, span_of(name)), false);
}
static inline uint32_t json_count(const struct json *list_or_map)
{
	return json_is(list_or_map, JSON_ARRAY) || json_is(list_or_map, JSON_OBJECT) ? list_or_map->n : 0;
}
bool check_list_has(const struct json *strings, struct span value);
bool check_one_of(struct span value, const char *choices); /* blank-separated */
static inline bool member_changed(const struct json *a, const struct json *b, const char *name)
{
	return !strategy_same(json_get(a, span_of(name)), json_get(b, span_of(name)));
}

struct check {
	struct strategy *s;
	const struct strategy_kind *kind; /* NULL for kinds without row */
	struct arena *arena;
	struct err err;      /* collects causes */
	unsigned n;          /* complaints so far: a caller may compare before and after */
};

/* ---- complaints, one per kind of field error */
void bad_required(struct check *c, const struct path *at, const char *detail); /* "" for none */
/* A scalar, or NULL: null. Lists and objects show as JSON: use bad_typed for them. */
void bad_value(struct check *c, const struct path *at, const struct json *value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void bad_string(struct check *c, const struct path *at, struct span value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void bad_int(struct check *c, const struct path *at, int64_t value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Go syntax by type: "resource.Quantity", "intstr.IntOrString", "core/v1.ServicePort", "[]core/v1.ServicePort",
	"map[string]string", "[]string", "meta/v1.LabelSelector". */
void bad_typed(struct check *c, const struct path *at, const char *go_type, const struct json *value, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
void bad_forbidden(struct check *c, const struct path *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* supported values: "a", "b": blank-separated, in the order that upstream prints them (most sort) */
void bad_choice(struct check *c, const struct path *at, struct span value, const char *choices);
void bad_duplicate(struct check *c, const struct path *at, const struct json *value);
/* A struct, in Go syntax; detail "" for none. */
void bad_duplicate_typed(struct check *c, const struct path *at, const char *go_type, const struct json *value, const char *detail);
void bad_duplicate_string(struct check *c, const struct path *at, struct span value);
void bad_not_found(struct check *c, const struct path *at, struct span value);
void bad_too_long(struct check *c, const struct path *at, int64_t most); /* may not be more than N bytes */
void bad_too_many(struct check *c, const struct path *at, int64_t have, int64_t most); /* have < 0: not shown */
void bad_internal(struct check *c, const struct path *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* For details that come from api/names.h: one INVALID per complaint. */
void bad_complaints(struct check *c, const struct path *at, struct span value, const struct api_complaints *list);
/* Go's %#v, appended: what bad_typed shows. */
void strategy_go_syntax(struct buf *out, const char *go_type, const struct json *value);
/* As Go prints a time.Time, which is how messages show times: "2020-01-02 03:04:05 +0000 UTC", appended. False: it is none. */
bool strategy_go_time(struct buf *out, struct span text);
/* Is the text a JSON object (or null)? Else what Go's json.Unmarshal into a map says, appended. */
bool strategy_json_is_object(struct span text, struct buf *out);

/* ---- common checks */
bool check_choice(struct check *c, const struct path *at, const struct json *value, const char *choices); /* absent passes */
bool check_name(struct check *c, const struct path *at, struct span value, api_name_fn *rule);
void check_warn_name(struct check *c, const struct json *object, const char *used_in); /* warns of a name that is no DNS label */
void check_non_negative(struct check *c, const struct path *at, const struct json *number); /* absent passes */
void check_positive(struct check *c, const struct path *at, const struct json *number); /* must be greater than zero */
void check_port(struct check *c, const struct path *at, int64_t port); /* must be between 1 and 65535, inclusive */
void check_labels(struct check *c, const struct path *at, const struct json *labels);
void check_annotations(struct check *c, const struct path *at, const struct json *annotations);
/* metav1.LabelSelector, as ValidateLabelSelector; NULL passes. values_lax: AllowInvalidLabelValueInSelector. */
void check_label_selector(struct check *c, const struct path *at, const struct json *selector, bool values_lax);
bool check_selector_has_bad_value(const struct json *selector); /* LabelSelectorHasInvalidLabelValue */
/* now equals was, else `field is immutable` on the new value, shown as go_type ("" for scalars). */
void check_immutable(struct check *c, const struct path *at, const char *go_type, const struct json *now, const struct json *was);
/* An address with the path of its field (IsValidIPForLegacyField, IsValidIP). */
void check_ip(struct check *c, const struct path *at, struct span ip, enum api_ip_mode mode);
void check_cidr(struct check *c, const struct path *at, struct span cidr, enum api_ip_mode mode);
/* metav1.Condition list, as ValidateConditions. */
void check_conditions(struct check *c, const struct path *at, const struct json *conditions);
/* The quantity at value, false when it cannot be read (decoding has refused such ones). */
bool check_quantity(const struct json *value, struct api_quantity *out);
/* Whole numbers for resources that are counted, not negative: ValidateResourceQuantityValue. */
void check_resource_value(struct check *c, const struct path *at, struct span resource, const struct json *value);
void check_non_negative_quantity(struct check *c, const struct path *at, const struct json *value);
bool check_is_integer_resource(struct span resource);
void check_resource_name(struct check *c, const struct path *at, struct span name); /* validateResourceName */
void check_container_resource_name(struct check *c, const struct path *at, struct span name); /* in limits.c */
/* ---- parts of claims and volumes that others hold too (claims.c, volumes.c). old_spec may be NULL. */
void default_claim_spec(struct arena *a, struct json *spec);
void check_claim_spec(struct check *c, const struct path *at, const struct json *spec, const struct json *old_spec);
void check_access_modes(struct check *c, const struct path *at, const struct json *modes);
void strategy_warn_claim_spec(struct strategy *s, const struct path *at, const struct json *spec);
/* A PersistentVolumeSpec; inline_in: in a VolumeAttachment. old_spec for what old objects are allowed. */
void check_volume_spec(struct check *c, const struct path *at, const struct json *spec, struct span name, bool inline_in,
		       const struct json *old_spec);
/* Sources of volumes, as pods and persistent volumes hold them; of_volume: the persistent volume's variant. */
void check_host_path(struct check *c, const struct path *at, const struct json *source);
void check_gce_disk(struct check *c, const struct path *at, const struct json *source);
void check_aws_disk(struct check *c, const struct path *at, const struct json *source);
void check_flocker(struct check *c, const struct path *at, const struct json *source);
void check_nfs(struct check *c, const struct path *at, const struct json *source);
void check_rbd(struct check *c, const struct path *at, const struct json *source);
void check_quobyte(struct check *c, const struct path *at, const struct json *source);
void check_iscsi(struct check *c, const struct path *at, const struct json *source, struct span volume, bool of_volume);
void check_fc(struct check *c, const struct path *at, const struct json *source);
void check_flex(struct check *c, const struct path *at, const struct json *source);
void check_azure_file(struct check *c, const struct path *at, const struct json *source, bool of_volume);
void check_azure_disk(struct check *c, const struct path *at, const struct json *source);
void check_scale_io(struct check *c, const struct path *at, const struct json *source);
void check_storage_os(struct check *c, const struct path *at, const struct json *source, bool of_volume);
void check_csi_driver_name(struct check *c, const struct path *at, struct span name);

/* The text at name below at must not be empty: Required value. False when it is. */
bool check_present(struct check *c, const struct path *at, const struct json *object, const char *name);
/* core's NodeSelector: ValidateNodeSelector. values_lax as for label selectors. */
void check_node_selector(struct check *c, const struct path *at, const struct json *selector, bool values_lax);
void check_node_term(struct check *c, const struct path *at, const struct json *term, bool values_lax); /* one of its terms */
bool check_node_selector_has_bad_value(const struct json *selector);
void check_signer_name(struct check *c, const struct path *at, struct span name); /* example.com/signer */
void check_tolerations(struct check *c, const struct path *at, const struct json *list); /* ValidateTolerations */
void check_webhook_url(struct check *c, const struct path *at, struct span url);
void check_webhook_service(struct check *c, const struct path *at, const struct json *service);
void check_domain_path(struct check *c, const struct path *at, struct span value); /* acme.io/foo */
void check_int_or_percent(struct check *c, const struct path *at, const struct json *value);      /* ValidatePositiveIntOrPercent */
void check_at_most_100_percent(struct check *c, const struct path *at, const struct json *value); /* IsNotMoreThan100Percent */
void check_port_number_or_name(struct check *c, const struct path *at, const struct json *port); /* ValidatePortNumOrName */
/* An address that is no loopback, link-local or unspecified one: ValidateNonSpecialIP. */
void check_non_special_ip(struct check *c, const struct path *at, struct span ip);
void strategy_warn_ip(struct strategy *s, const struct path *at, struct span ip);     /* GetWarningsForIP */
void strategy_warn_cidr(struct strategy *s, const struct path *at, struct span cidr); /* GetWarningsForCIDR */
bool check_is_ip(struct span s);
bool check_is_ipv6(struct span s);
/* What differs between two values, a line per leaf: "- spec.a: 1", "+ spec.a: 2". Upstream prints go-cmp's picture, whose form is
 * declared to be unstable. Appended. */
void strategy_diff(struct buf *out, const struct json *old, const struct json *now);

/* ---- metadata. `core` variants also know the names of finalizers (pkg/apis/core's ValidateObjectMeta). */
enum meta_flavor { META_CORE, META_PLAIN };
/* On create: the kind's scope and name rule; path: metadata. */
void check_meta(struct check *c, const struct json *object, enum meta_flavor flavor, api_name_fn *name_rule);
void check_meta_update(struct check *c, const struct json *object, const struct json *old, enum meta_flavor flavor);
/* For metadata of parts: namespaced as given, at any path. */
void check_meta_at(struct check *c, const struct path *at, const struct json *meta, bool namespaced, enum meta_flavor flavor,
		   api_name_fn *name_rule);
void check_meta_update_at(struct check *c, const struct path *at, const struct json *meta, const struct json *old,
			  enum meta_flavor flavor);

/* ---- help for prepare functions */
/* Takes a member of old into object, copied (absent in old: removed). strategy_keep_in: within a member, "metadata" "labels". */
void strategy_keep(struct strategy *s, const char *name);
void strategy_keep_in(struct strategy *s, const char *outer, const char *name);
void strategy_drop(struct strategy *s, const char *name);
/* Removes a member of a member. */
void strategy_drop_in(struct strategy *s, const char *outer, const char *name);
/* metadata.generation: 1 on create; on update old's, plus 1 when changed. */
void strategy_generation(struct strategy *s, bool changed);
/* Is a top-level member another than old's, as Go would see it: what the type omits when empty and explicit zeros are the same.
 * False on create. */
bool strategy_part_changed(const struct strategy *s, const char *name);
static inline bool strategy_creates(const struct strategy *s)
{
	return !s->old;
}
struct json *strategy_meta(struct strategy *s); /* metadata, made when absent */
/* Ready-made prepare functions. */
void prepare_nothing(struct strategy *s);
void prepare_status(struct strategy *s);      /* status: cleared on create, kept on update */
void prepare_generation(struct strategy *s);  /* the same, and generation by spec */
void prepare_status_only(struct strategy *s); /* subresource status: the spec is old's */
void prepare_status_meta(struct strategy *s); /* subresource status: spec and metadata.labels are old's */

/* ---- defaults: a value where there is none */
void default_string(struct arena *a, struct json *object, const char *key, const char *value); /* also when "" */
void default_unset(struct arena *a, struct json *object, const char *key, const char *value);  /* a Go pointer: only when absent */
void default_int(struct arena *a, struct json *object, const char *key, int64_t value);        /* when absent */
void default_int_nonzero(struct arena *a, struct json *object, const char *key, int64_t value); /* absent or 0 */
void default_bool(struct arena *a, struct json *object, const char *key, bool value);
struct json *default_object(struct arena *a, struct json *object, const char *key); /* makes {} when absent; returns it */
/* A core/v1.ResourceList: each value rounded up to milli units. NULL does nothing. */
void default_resource_list(struct arena *a, struct json *list);
void default_resources(struct arena *a, struct json *requirements); /* limits and requests */

/* ---- one row per kind, named in kinds.def */
typedef void default_fn(struct arena *a, struct json *object);
typedef void prepare_fn(struct strategy *s);
typedef void check_fn(struct check *c, const struct json *object, const struct json *old); /* old NULL on create */

struct strategy_sub {
	const char *name;    /* "status", ... */
	prepare_fn *prepare; /* NULL: nothing is kept */
	check_fn *check;     /* all of ValidateUpdate, metadata too; NULL: nothing beyond the common rules */
};
struct strategy_kind {
	const char *group, *kind; /* "" "Pod" */
	const char *version;      /* NULL: any */
	unsigned flags;           /* enum strategy_flags */
	default_fn *defaults;     /* NULL: none */
	prepare_fn *prepare;      /* NULL: prepare_status */
	check_fn *check;          /* what upstream's Validate and ValidateUpdate do, metadata too; NULL: metadata alone */
	check_fn *warnings;       /* WarningsOnCreate and WarningsOnUpdate: calls strategy_warn; NULL: none */
	struct strategy_sub subs[4];
};
/* A type whose defaults apply wherever it stands. */
struct strategy_type {
	const char *name; /* "core/v1.PodSpec" */
	default_fn *defaults;
};
const struct strategy_kind *strategy_kind_find(struct span group, struct span version, struct span kind);
