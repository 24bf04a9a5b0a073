/* Each value is a question of its own to the authorizers: users, groups, userextras/KEY and uids are resources whose names
 * are the values, service accounts are asked for as such. The order of k8s.io/apiserver: user, groups, extra, uid. */
#include "apiserver/impersonate.h"

#define EXTRA_PREFIX "impersonate-extra-"

struct wish {
	struct call *c;
	struct span user, uid, ns, name; /* ns, name: of a service account */
	bool is_account;
	struct span *groups;
	unsigned n_groups;
	struct auth_extra *extra;
	unsigned n_extra;
};

/* ---- reading */

static bool starts_nocase(struct span s, struct span prefix)
{
	return s.len >= prefix.len && span_eq_nocase(span_sub(s, 0, prefix.len), prefix);
}

/* The key is in lower case and percent-encoded, so that it may hold what a field's name may not. */
static struct span extra_key(struct arena *a, struct span header)
{
	struct span raw = span_from(header, sizeof(EXTRA_PREFIX) - 1);
	char *low = arena_cstr(a, raw);
	for (size_t i = 0; i < raw.len; i++)
		if (low[i] >= 'A' && low[i] <= 'Z')
			low[i] |= 0x20;
	auto_buf struct buf key = {};
	struct span lower = span_make(low, raw.len);
	return percent_parse(&key, lower, false) ? arena_span(a, buf_span(&key)) : lower;
}

static void extra_add(struct wish *w, struct span key, struct span value)
{
	struct arena *a = &w->c->arena;
	unsigned i = 0;
	while (i < w->n_extra && !span_eq(w->extra[i].key, key))
		i++;
	if (i == w->n_extra)
		w->extra[w->n_extra++] = (struct auth_extra){ .key = key };
	struct auth_extra *e = &w->extra[i];
	struct span *values = arena_alloc_n(a, e->n_values + 1, sizeof(*values));
	if (e->n_values)
		memcpy(values, e->values, e->n_values * sizeof(*values));
	values[e->n_values++] = value;
	e->values = values;
}

static void wish_read(struct wish *w)
{
	struct arena *a = &w->c->arena;
	const struct http_fields *f = http_req_headers(w->c->http);
	w->groups = arena_alloc_n(a, f->n + 3, sizeof(*w->groups)); /* and those that are added below */
	w->extra = arena_alloc_n(a, f->n, sizeof(*w->extra));
	for (unsigned i = 0; i < f->n; i++) {
		struct span name = f->items[i].name, value = arena_span(a, f->items[i].value);
		if (!starts_nocase(name, SPAN("impersonate-")))
			continue;
		if (span_eq_nocase(name, SPAN("impersonate-user"))) {
			if (!w->user.len) /* the first counts */
				w->user = value;
		} else if (span_eq_nocase(name, SPAN("impersonate-uid"))) {
			if (!w->uid.len)
				w->uid = value;
		} else if (span_eq_nocase(name, SPAN("impersonate-group"))) {
			w->groups[w->n_groups++] = value;
		} else if (starts_nocase(name, SPAN(EXTRA_PREFIX))) {
			extra_add(w, extra_key(a, name), value);
		}
	}
	w->is_account = w->user.len && auth_sa_split(w->user, &w->ns, &w->name);
}

/* ---- may they */

static int may(struct wish *w, const char *group, const char *resource, struct span sub, struct span ns, struct span name)
{
	struct call *c = w->c;
	const struct auth_ask ask = { .user = &c->user,
				      .verb = SPAN("impersonate"),
				      .group = span_of(group),
				      .version = *group ? SPAN("v1") : SPAN(""),
				      .resource = span_of(resource),
				      .subresource = sub,
				      .ns = ns,
				      .name = name,
				      .is_resource = true };
	struct span reason;
	if (call_decide(c, &ask, &reason) == AUTH_ALLOW)
		return 0;
	c->about = arena_new(&c->arena, struct status_details);
	*c->about = (struct status_details){ .name = name, .group = ask.group, .kind = ask.resource };
	return auth_forbidden(&ask, reason, &c->err);
}

static int may_all(struct wish *w)
{
	static const char authn[] = "authentication.k8s.io";
	int rc = w->is_account ? may(w, "", "serviceaccounts", SPAN_EMPTY, w->ns, w->name)
			       : may(w, "", "users", SPAN_EMPTY, SPAN_EMPTY, w->user);
	for (unsigned i = 0; i < w->n_groups && rc == 0; i++)
		rc = may(w, "", "groups", SPAN_EMPTY, SPAN_EMPTY, w->groups[i]);
	for (unsigned i = 0; i < w->n_extra && rc == 0; i++)
		for (unsigned k = 0; k < w->extra[i].n_values && rc == 0; k++)
			rc = may(w, authn, "userextras", w->extra[i].key, SPAN_EMPTY, w->extra[i].values[k]);
	if (rc == 0 && w->uid.len)
		rc = may(w, authn, "uids", SPAN_EMPTY, SPAN_EMPTY, w->uid);
	return rc;
}

/* ---- who they are then */

static void groups_complete(struct wish *w)
{
	struct arena *a = &w->c->arena;
	if (w->is_account && !w->n_groups) {
		w->groups[w->n_groups++] = SPAN(AUTH_GROUP_SERVICEACCOUNTS);
		w->groups[w->n_groups++] = arena_printf(a, AUTH_GROUP_SERVICEACCOUNTS ":%.*s", SPAN_ARG(w->ns));
	}
	for (unsigned i = 0; i < w->n_groups; i++)
		if (span_is(w->groups[i], AUTH_GROUP_AUTHENTICATED) || span_is(w->groups[i], AUTH_GROUP_UNAUTHENTICATED))
			return;
	w->groups[w->n_groups++] = span_is(w->user, AUTH_USER_ANONYMOUS) ? SPAN(AUTH_GROUP_UNAUTHENTICATED)
									  : SPAN(AUTH_GROUP_AUTHENTICATED);
}

/* Upstream prints the object references that it made of the headers, as Go prints a slice of structs. */
static int without_user(struct wish *w)
{
	struct call *c = w->c;
	auto_buf struct buf b = {};
	bool first = true;
	buf_printf(&b, "Internal Server Error: \"%.*s\": requested [", SPAN_ARG(http_req_target(c->http)));
	for (unsigned i = 0; i < w->n_groups; i++, first = false)
		buf_printf(&b, "%s{Group  %.*s    }", first ? "" : " ", SPAN_ARG(w->groups[i]));
	for (unsigned i = 0; i < w->n_extra; i++)
		for (unsigned k = 0; k < w->extra[i].n_values; k++, first = false)
			buf_printf(&b, "%s{UserExtra  %.*s  authentication.k8s.io/v1  %.*s}", first ? "" : " ",
				   SPAN_ARG(w->extra[i].values[k]), SPAN_ARG(w->extra[i].key));
	if (w->uid.len)
		buf_printf(&b, "%s{UID  %.*s  authentication.k8s.io/v1  }", first ? "" : " ", SPAN_ARG(w->uid));
	buf_str(&b, "] without impersonating a user\n");
	call_answer(c, 500, "text/plain; charset=utf-8", &b);
	return -ERR_INTERNAL;
}

int impersonate_user(struct call *c)
{
	struct wish w = { .c = c };
	wish_read(&w);
	if (!w.user.len)
		return w.n_groups || w.n_extra || w.uid.len ? without_user(&w) : 0;
	int rc = may_all(&w);
	if (rc < 0)
		return rc;
	groups_complete(&w);
	c->actor = c->user;
	c->acting = true;
	c->user = (struct auth_user){ .name = w.user,
				      .uid = w.uid,
				      .groups = w.groups,
				      .n_groups = w.n_groups,
				      .extra = w.extra,
				      .n_extra = w.n_extra };
	return 0;
}
