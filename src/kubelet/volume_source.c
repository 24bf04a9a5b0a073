/* What stands in the files of configMap, secret, downwardAPI and projected volumes. */
#include "kubelet/volume_impl.h"

struct files {
	struct arena *a;
	struct vol *v;
	struct kl_file *items;
	unsigned n, cap;
	int64_t uid; /* of tokens */
	struct buf errors;
	unsigned n_errors;
	bool waiting;
};

static void add(struct files *f, struct span path, struct span data, mode_t mode, int64_t uid)
{
	for (unsigned i = 0; i < f->n; i++) /* of several sources the last one wins */
		if (span_eq(f->items[i].path, path)) {
			f->items[i] = (struct kl_file){ path, data, mode, uid };
			return;
		}
	MEM_GROW(f->items, f->n, f->cap);
	f->items[f->n++] = (struct kl_file){ path, data, mode, uid };
}

static void failed(struct files *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void failed(struct files *f, const char *fmt, ...)
{
	va_list ap;
	if (f->n_errors++)
		buf_str(&f->errors, ", ");
	va_start(ap, fmt);
	buf_vprintf(&f->errors, fmt, ap);
	va_end(ap);
}

static const struct api_core_pod *pod_of(const struct files *f)
{
	return &f->v->pod->object->pod;
}

/* ---- ConfigMaps and Secrets */

struct pairs {
	const struct api_pair *ptr;
	uint32_t n;
};

static bool find(const struct pairs *maps, struct span key, struct span *out)
{
	for (unsigned m = 0; m < 2; m++)
		for (uint32_t i = 0; i < maps[m].n; i++)
			if (span_eq(maps[m].ptr[i].key, key)) {
				*out = maps[m].ptr[i].value;
				return true;
			}
	return false;
}

/* maps: data and binaryData. Copied: the cache may let go of the text. */
static void put(struct files *f, const struct pairs *maps, const struct api_core_key_to_path *items, uint32_t n_items, mode_t mode,
		bool optional, const char *what)
{
	struct span data;
	for (unsigned m = 0; m < 2 && !n_items; m++)
		for (uint32_t i = 0; i < maps[m].n; i++)
			add(f, arena_span(f->a, maps[m].ptr[i].key), arena_span(f->a, maps[m].ptr[i].value), mode, -1);
	for (uint32_t i = 0; i < n_items; i++) {
		if (find(maps, items[i].key, &data))
			add(f, items[i].path, arena_span(f->a, data), items[i].has_mode ? (mode_t)items[i].mode : mode, -1);
		else if (!optional)
			failed(f, "references non-existent %s key: %.*s", what, SPAN_ARG(items[i].key));
	}
}

/* True: json is its text. */
static bool look(struct files *f, enum kl_object_kind kind, struct span name, bool optional, struct bytes **json)
{
	static const char *const kinds[] = { "configmap", "secret" };
	const struct kl_volumes_pod *p = f->v->pod;
	for (unsigned i = 0; i < p->n_refs; i++) {
		if (!kl_ref_is(p->refs[i], kind, name))
			continue;
		struct span why = kl_ref_why(p->refs[i]);
		switch (kl_ref_look(p->refs[i], json)) {
		case KL_SEEN_THERE:
			return true;
		case KL_SEEN_ABSENT:
			if (!optional)
				failed(f, "%s \"%.*s\" not found", kinds[kind], SPAN_ARG(name));
			return false;
		case KL_SEEN_NOT:
			f->waiting = true;
			if (why.len)
				failed(f, "failed to sync %s cache: %.*s", kinds[kind], SPAN_ARG(why));
			return false;
		}
	}
	/* Followed by nobody: a kubelet without an API server. */
	if (!optional)
		failed(f, "%s \"%.*s\" not found", kinds[kind], SPAN_ARG(name));
	return false;
}

static void config_map(struct files *f, struct span name, const struct api_core_key_to_path *items, uint32_t n, mode_t mode,
	bool optional)
{
	struct bytes *json;
	struct api_core_config_map *m = arena_new(f->a, struct api_core_config_map);
	auto_err struct err err = ERR_INIT;
	if (!look(f, KL_CONFIG_MAP, name, optional, &json))
		return;
	if (api_core_config_map_decode(f->a, API_FORM_JSON, bytes_span(json), m, &err) < 0)
		return failed(f, "configmap \"%.*s\": %s", SPAN_ARG(name), err_msg(&err));
	const struct pairs maps[2] = { { m->data.ptr, m->data.n }, { m->binary_data.ptr, m->binary_data.n } };
	put(f, maps, items, n, mode, optional, "config");
}

static void secret(struct files *f, struct span name, const struct api_core_key_to_path *items, uint32_t n, mode_t mode,
	bool optional)
{
	struct bytes *json;
	struct api_core_secret *s = arena_new(f->a, struct api_core_secret);
	auto_err struct err err = ERR_INIT;
	if (!look(f, KL_SECRET, name, optional, &json))
		return;
	if (api_core_secret_decode(f->a, API_FORM_JSON, bytes_span(json), s, &err) < 0)
		return failed(f, "secret \"%.*s\": %s", SPAN_ARG(name), err_msg(&err));
	const struct pairs maps[2] = { { s->data.ptr, s->data.n } };
	put(f, maps, items, n, mode, optional, "secret");
}

/* ---- downward API */

static void downward(struct files *f, const struct api_core_downward_api_volume_file *items, uint32_t n, mode_t mode)
{
	struct kl_facts facts = {};
	f->v->pod->v->p.facts(f->v->pod->owner, &facts);
	for (uint32_t i = 0; i < n; i++) {
		auto_err struct err err = ERR_INIT;
		struct span data = SPAN("");
		int rc = 0;
		if (items[i].field_ref)
			rc = kl_field_value(f->a, pod_of(f), &facts, items[i].field_ref->field_path, &data, &err);
		else if (items[i].resource_field_ref)
			rc = kl_resource_value(f->a, pod_of(f), NULL, &facts, items[i].resource_field_ref, &data, &err);
		if (rc < 0)
			failed(f, "%s", err_msg(&err));
		else
			add(f, items[i].path, arena_span(f->a, data), items[i].has_mode ? (mode_t)items[i].mode : mode, -1);
	}
}

/* ---- tokens */

#define RENEW_SOONEST_NS (10 * NS_PER_S) /* after a failure, while the old one is still good */

static int64_t seconds_of(const struct api_core_service_account_token_projection *s)
{
	return s->has_expiration_seconds ? s->expiration_seconds : 3600;
}

static void token_taken(struct client_call *call, const struct err *why, int status, struct span body, void *arg)
{
	struct vol_token *t = arg;
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct api_authentication_token_request r;
	int64_t now = kl_vol_now_ns(t->vol);
	t->call = NULL;
	buf_trunc(&t->why, 0);
	if (why) {
		buf_printf(&t->why, "failed to fetch token: %s", err_msg(why));
	} else if (api_authentication_token_request_decode(&a, API_FORM_JSON, body, &r, &err) < 0 || !r.status.token.len) {
		buf_printf(&t->why, "failed to fetch token: the answer holds none: %s", err_msg(&err));
	} else {
		free(t->text);
		t->text = mem_dup(r.status.token.ptr, r.status.token.len);
		t->expires_ns = r.status.expiration_timestamp.unix_s * NS_PER_S;
		int64_t life = t->expires_ns - now;
		if (life <= 0) { /* the server has another clock: the token lives as long as was asked */
			log_warn("a token that was just made has expired: the clocks of the node and of the API server differ",
				 kv_span("pod", t->vol->pod->object->pod.metadata.name), kv_i64("ago_s", -life / NS_PER_S));
			life = MIN(MAX(seconds_of(t->source), 60), KL_SECONDS_MAX) * NS_PER_S;
			t->expires_ns = now + life;
		}
		/* At 80 % of its life, and once a day at least. */
		t->renew_ns = now + MIN(life / 10 * 8, 24 * 3600 * NS_PER_S);
	}
	if (t->why.len)
		t->renew_ns = now + RENEW_SOONEST_NS;
	kl_vol_wake(t->vol);
}

static void token_ask(struct vol_token *t)
{
	const struct kl_volumes_pod *p = t->vol->pod;
	const struct api_core_pod *pod = &p->object->pod;
	auto_buf struct buf path = {}, body = {};
	const struct client_kind accounts = CLIENT_KIND("", "v1", "serviceaccounts", true);
	struct span account = pod->spec.service_account_name.len ? pod->spec.service_account_name : SPAN("default");
	client_path(&path, &accounts, pod->metadata.namespace, account, "token");
	struct json_out o = { .buf = &body };
	json_out_begin(&o);
	json_out_kspan(&o, "apiVersion", SPAN("authentication.k8s.io/v1"));
	json_out_kspan(&o, "kind", SPAN("TokenRequest"));
	json_out_key(&o, SPAN("spec"));
	json_out_begin(&o);
	json_out_key(&o, SPAN("audiences"));
	json_out_begin_array(&o);
	if (t->source->audience.len)
		json_out_span(&o, t->source->audience);
	json_out_end(&o);
	json_out_ki64(&o, "expirationSeconds", seconds_of(t->source));
	json_out_key(&o, SPAN("boundObjectRef"));
	json_out_begin(&o);
	json_out_kspan(&o, "kind", SPAN("Pod"));
	json_out_kspan(&o, "apiVersion", SPAN("v1"));
	json_out_kspan(&o, "name", pod->metadata.name);
	json_out_kspan(&o, "uid", pod->metadata.uid);
	json_out_end(&o);
	json_out_end(&o);
	json_out_end(&o);
	const struct client_request r = { .method = "POST", .path = buf_span(&path), .body = buf_span(&body), .done = token_taken,
		.arg = t };
	t->call = client_send(p->v->p.client, &r);
}

/* A token that can be used; asks for one when it is time. NULL: none yet. */
static const char *token(struct vol_token *t, struct files *f)
{
	int64_t now = kl_vol_now_ns(t->vol);
	bool good = t->text && t->expires_ns > now;
	if (!t->vol->pod->v->p.client) {
		failed(f, "failed to fetch token: cannot use TokenManager when kubelet is in standalone mode");
		return NULL;
	}
	if (!t->call && now >= t->renew_ns)
		token_ask(t);
	if (good)
		return t->text;
	f->waiting = true;
	if (t->why.len)
		failed(f, "%s", buf_cstr(&t->why));
	return NULL;
}

static void each_token(struct vol *v, void (*fn)(struct vol *, const struct api_core_service_account_token_projection *, unsigned))
{
	const struct api_core_projected_volume_source *p = v->spec->projected;
	unsigned n = 0;
	for (uint32_t i = 0; p && i < p->sources.n; i++)
		if (p->sources.ptr[i].service_account_token)
			fn(v, p->sources.ptr[i].service_account_token, n++);
}

static void token_count(struct vol *v, const struct api_core_service_account_token_projection *s, unsigned i)
{
	v->n_tokens = i + 1;
}

static void token_set(struct vol *v, const struct api_core_service_account_token_projection *s, unsigned i)
{
	v->tokens[i].vol = v;
	v->tokens[i].source = s;
}

/* Also when the object was replaced: the sources are then elsewhere. */
void kl_vol_tokens_init(struct vol *v)
{
	if (!v->tokens) {
		each_token(v, token_count);
		if (v->n_tokens)
			v->tokens = mem_zalloc(v->n_tokens * sizeof(*v->tokens));
	}
	each_token(v, token_set);
}

void kl_vol_tokens_done(struct vol *v)
{
	for (unsigned i = 0; i < v->n_tokens; i++) {
		struct vol_token *t = &v->tokens[i];
		if (t->call)
			client_cancel(t->call);
		if (t->text)
			explicit_bzero(t->text, strlen(t->text));
		free(t->text);
		buf_done(&t->why);
	}
	free(v->tokens);
	v->tokens = NULL;
	v->n_tokens = 0;
}

int64_t kl_vol_tokens_due(const struct vol *v)
{
	int64_t due = INT64_MAX;
	for (unsigned i = 0; i < v->n_tokens; i++)
		if (!v->tokens[i].call)
			due = MIN(due, v->tokens[i].renew_ns);
	return due;
}

/* The user that all containers run as, when it is one: then the token is its own (util.FsUserFrom). */
static int64_t only_user(const struct api_core_pod *pod)
{
	int64_t user = -1;
	const struct api_core_pod_security_context *ps = pod->spec.security_context;
	for (uint32_t i = 0; i < pod->spec.init_containers.n + pod->spec.containers.n; i++) {
		const struct api_core_container *c = i < pod->spec.init_containers.n ? &pod->spec.init_containers.ptr[i] :
						     &pod->spec.containers.ptr[i - pod->spec.init_containers.n];
		int64_t own = c->security_context && c->security_context->has_run_as_user ? c->security_context->run_as_user :
			      ps && ps->has_run_as_user ? ps->run_as_user : -1;
		if (own < 0 || (user >= 0 && own != user))
			return -1;
		user = own;
	}
	return user;
}

/* ---- all sources of a volume */

static void projected(struct files *f, const struct api_core_projected_volume_source *p)
{
	const struct api_core_pod_security_context *ps = pod_of(f)->spec.security_context;
	mode_t mode = p->has_default_mode ? (mode_t)p->default_mode : 0644;
	unsigned n_token = 0;
	for (uint32_t i = 0; i < p->sources.n; i++) {
		const struct api_core_volume_projection *s = &p->sources.ptr[i];
		if (s->config_map)
			config_map(f, s->config_map->name, s->config_map->items.ptr, s->config_map->items.n, mode, s->config_map->optional);
		else if (s->secret)
			secret(f, s->secret->name, s->secret->items.ptr, s->secret->items.n, mode, s->secret->optional);
		else if (s->downward_api)
			downward(f, s->downward_api->items.ptr, s->downward_api->items.n, mode);
		else if (s->service_account_token) {
			struct vol_token *t = &f->v->tokens[n_token++];
			const char *text = token(t, f);
			int64_t user = only_user(pod_of(f));
			if (text)
				add(f, s->service_account_token->path, arena_span(f->a, span_of(text)),
				    user >= 0 || (ps && ps->has_fs_group) ? 0600 : mode, user);
		} else if (s->cluster_trust_bundle) {
			failed(f, "ClusterTrustBundle projection is not supported: its feature gate is off");
		}
	}
}

int kl_vol_files(struct arena *a, struct vol *v, struct kl_file **out, unsigned *out_n, struct err *err)
{
	struct files f = { .a = a, .v = v };
	const struct api_core_volume *s = v->spec;
	if (s->config_map)
		config_map(&f, s->config_map->name, s->config_map->items.ptr, s->config_map->items.n,
			   s->config_map->has_default_mode ? (mode_t)s->config_map->default_mode : 0644, s->config_map->optional);
	else if (s->secret)
		secret(&f, s->secret->secret_name, s->secret->items.ptr, s->secret->items.n,
		       s->secret->has_default_mode ? (mode_t)s->secret->default_mode : 0644, s->secret->optional);
	else if (s->downward_api)
		downward(&f, s->downward_api->items.ptr, s->downward_api->items.n,
			 s->downward_api->has_default_mode ? (mode_t)s->downward_api->default_mode : 0644);
	else if (s->projected)
		projected(&f, s->projected);
	int rc = 0;
	if (f.n_errors)
		rc = err_set(err, ERR_INVALID, f.n_errors > 1 ? "[%s]" : "%s", buf_cstr(&f.errors));
	else if (f.waiting)
		rc = err_set(err, ERR_UNAVAILABLE, "waiting for the API server");
	*out = arena_alloc_n(a, f.n + 1, sizeof(**out));
	if (f.n)
		memcpy(*out, f.items, f.n * sizeof(**out));
	*out_n = f.n;
	free(f.items);
	buf_done(&f.errors);
	return rc;
}
