/* A CRD's status: conditions, and the names that it may use. What the controllers of apiextensions-apiserver compute (naming,
 * establishing, apiapproval); who writes it is the API server. */
#include "custom/private.h"

static struct span text_of(const struct json *object, const char *name)
{
	return json_span(json_get(object, span_of(name)));
}

static struct json *object_in(struct arena *a, struct json *object, const char *name)
{
	struct json *v = json_get(object, span_of(name));
	return json_is(v, JSON_OBJECT) ? v : json_set(a, object, span_of(name), json_object());
}

static struct json *condition_of(const struct json *crd, const char *type)
{
	JSON_EACH_ITEM(json_path(crd, "status", "conditions", (char *)NULL), c)
		if (span_is(text_of(c, "type"), type))
			return c;
	return NULL;
}

bool custom_condition_true(const struct json *crd, const char *type)
{
	return span_is(text_of(condition_of(crd, type), "status"), "True");
}

bool custom_condition_set(struct arena *a, struct json *crd, const char *type, const char *status, const char *reason,
			  struct span message, struct span now)
{
	struct json *c = condition_of(crd, type);
	if (c && span_is(text_of(c, "status"), status) && span_is(text_of(c, "reason"), reason) &&
	    span_eq(text_of(c, "message"), message))
		return false;
	if (!c) {
		struct json *of = object_in(a, crd, "status"), *list = json_getl(of, "conditions");
		if (!json_is(list, JSON_ARRAY))
			list = json_setl(a, of, "conditions", json_array());
		c = json_push(a, list, json_object());
		(void)json_setl(a, c, "type", json_cstr(type));
	}
	if (!span_is(text_of(c, "status"), status) || !text_of(c, "lastTransitionTime").len)
		(void)json_setl(a, c, "lastTransitionTime", json_str(arena_span(a, now)));
	(void)json_setl(a, c, "status", json_cstr(status));
	(void)json_setl(a, c, "reason", json_cstr(reason));
	(void)json_setl(a, c, "message", json_str(arena_span(a, message)));
	return true;
}

/* ---- names */

static const struct json *spec_names(const struct json *crd)
{
	return json_path(crd, "spec", "names", (char *)NULL);
}

static bool has_text(const struct json *list, struct span text)
{
	JSON_EACH_ITEM(list, item)
		if (span_eq(json_span(item), text))
			return true;
	return false;
}

struct claims {
	const struct json *const *others;
	unsigned n;
	struct span group;
};

/* Has some CRD of the group accepted the name? Plural, singular and short names are one space, kinds and list kinds another. */
static bool is_used(const struct claims *c, bool kind, struct span name)
{
	for (unsigned i = 0; i < c->n; i++) {
		const struct json *has = json_path(c->others[i], "status", "acceptedNames", (char *)NULL);
		if (!span_eq(json_span(json_path(c->others[i], "spec", "group", (char *)NULL)), c->group))
			continue;
		if (kind ? span_eq(text_of(has, "kind"), name) || span_eq(text_of(has, "listKind"), name)
			 : span_eq(text_of(has, "plural"), name) || span_eq(text_of(has, "singular"), name) ||
				   has_text(json_getl(has, "shortNames"), name))
			return true;
	}
	return false;
}

struct verdict {
	const char *reason; /* of the last conflict; NULL = none */
	struct span message;
};

static struct span in_use(struct arena *a, struct span name)
{
	auto_buf struct buf b = {};
	api_go_quote(&b, name);
	buf_str(&b, " is already in use");
	return arena_span(a, buf_span(&b));
}

static void claim(struct arena *a, const struct claims *c, const char *name, const char *reason, const struct json *wanted,
		  const struct json *was, struct json *accepted, struct verdict *v)
{
	struct span want = text_of(wanted, name);
	bool kind = span_is(span_of(name), "kind") || span_is(span_of(name), "listKind");
	if (!span_eq(want, text_of(was, name)) && is_used(c, kind, want)) {
		*v = (struct verdict){ reason, in_use(a, want) };
		return;
	}
	if (want.len)
		(void)json_set(a, accepted, span_of(name), json_str(arena_span(a, want)));
	else
		(void)json_remove(accepted, span_of(name));
}

static void claim_short(struct arena *a, const struct claims *c, const struct json *wanted, const struct json *was,
			struct json *accepted, struct verdict *v)
{
	const struct json *want = json_getl(wanted, "shortNames"), *had = json_getl(was, "shortNames");
	auto_buf struct buf why = {};
	unsigned n = 0;
	JSON_EACH_ITEM(want, item) {
		if (has_text(had, json_span(item)) || !is_used(c, false, json_span(item)))
			continue;
		struct span one = in_use(a, json_span(item));
		buf_printf(&why, "%s%.*s", n++ ? ", " : "", SPAN_ARG(one));
	}
	if (n) {
		struct span list = arena_printf(a, n > 1 ? "[%s]" : "%s", buf_cstr(&why));
		*v = (struct verdict){ "ShortNamesConflict", list };
	} else if (want) {
		(void)json_setl(a, accepted, "shortNames", json_copy(a, want));
	} else {
		(void)json_remove(accepted, SPAN("shortNames"));
	}
}

static bool list_same(const struct json *a, const struct json *b)
{
	bool no_a = !json_is(a, JSON_ARRAY) || !a->n, no_b = !json_is(b, JSON_ARRAY) || !b->n;
	return no_a || no_b ? no_a && no_b : json_equal(a, b);
}

static bool names_same(const struct json *a, const struct json *b)
{
	static const char *const texts[] = { "plural", "singular", "kind", "listKind" };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (!span_eq(text_of(a, texts[i]), text_of(b, texts[i])))
			return false;
	return list_same(json_getl(a, "shortNames"), json_getl(b, "shortNames")) &&
	       list_same(json_getl(a, "categories"), json_getl(b, "categories"));
}

bool custom_names_accept(struct arena *a, struct json *crd, const struct json *const *others, unsigned n_others, struct span now)
{
	const struct json *wanted = spec_names(crd), *was = json_path(crd, "status", "acceptedNames", (char *)NULL);
	const struct claims c = { others, n_others, json_span(json_path(crd, "spec", "group", (char *)NULL)) };
	struct verdict v = {};
	if (names_same(wanted, was))
		return false;
	struct json accepted = was ? json_copy(a, was) : json_object();
	claim(a, &c, "plural", "PluralConflict", wanted, was, &accepted, &v);
	claim(a, &c, "singular", "SingularConflict", wanted, was, &accepted, &v);
	claim_short(a, &c, wanted, was, &accepted, &v);
	claim(a, &c, "kind", "KindConflict", wanted, was, &accepted, &v);
	claim(a, &c, "listKind", "ListKindConflict", wanted, was, &accepted, &v);
	if (json_getl(wanted, "categories"))
		(void)json_setl(a, &accepted, "categories", json_copy(a, json_getl(wanted, "categories")));
	else
		(void)json_remove(&accepted, SPAN("categories"));
	bool changed = !was || !names_same(&accepted, was);
	(void)json_setl(a, object_in(a, crd, "status"), "acceptedNames", accepted);
	if (v.reason)
		changed |= custom_condition_set(a, crd, "NamesAccepted", "False", v.reason, v.message, now);
	else
		changed |= custom_condition_set(a, crd, "NamesAccepted", "True", "NoConflicts", SPAN("no conflicts found"), now);
	if (v.reason && !condition_of(crd, "Established"))
		changed |= custom_condition_set(a, crd, "Established", "False", "NotAccepted", SPAN("not all names are accepted"),
						now);
	return changed;
}

bool custom_establish(struct arena *a, struct json *crd, struct span now)
{
	return custom_condition_true(crd, "NamesAccepted") && !custom_condition_true(crd, "Established") &&
	       custom_condition_set(a, crd, "Established", "True", "InitialNamesAccepted",
				    SPAN("the initial names have been accepted"), now);
}

/* ---- groups of the Kubernetes community */

#define APPROVAL "api-approved.kubernetes.io"
#define SEE "see https://github.com/kubernetes/enhancements/pull/1111"

static bool is_url(struct span text)
{
	ptrdiff_t at = span_find(text, SPAN("://"));
	struct span host = at > 0 ? span_from(text, (size_t)at + 3) : SPAN_EMPTY;
	return host.len && host.ptr[0] != '/';
}

bool custom_approval_set(struct arena *a, struct json *crd, struct span now)
{
	struct span group = json_span(json_path(crd, "spec", "group", (char *)NULL));
	struct span note = json_span(json_get(json_path(crd, "metadata", "annotations", (char *)NULL), SPAN(APPROVAL)));
	static const char type[] = "KubernetesAPIApprovalPolicyConformant";
	if (!span_is(group, "k8s.io") && !span_is(group, "kubernetes.io") && !span_ends(group, SPAN(".k8s.io")) &&
	    !span_ends(group, SPAN(".kubernetes.io")))
		return false;
	if (!note.len)
		return custom_condition_set(a, crd, type, "False", "MissingAnnotation",
					    SPAN("protected groups must have approval annotation \"" APPROVAL "\", " SEE), now);
	if (span_starts(note, SPAN("unapproved"))) {
		auto_buf struct buf why = {};
		buf_str(&why, "not approved: ");
		api_go_quote(&why, note);
		return custom_condition_set(a, crd, type, "False", "UnapprovedAnnotation", buf_span(&why), now);
	}
	if (is_url(note))
		return custom_condition_set(a, crd, type, "True", "ApprovedAnnotation",
					    arena_printf(a, "approved in %.*s", SPAN_ARG(note)), now);
	return custom_condition_set(a, crd, type, "False", "InvalidAnnotation",
				    SPAN("protected groups must have approval annotation \"" APPROVAL
					 "\" with either a URL or a reason starting with \"unapproved\", " SEE),
				    now);
}
