/* What every namespace has from its start: the service account default, and the authority that vouches for the API server. And
 * the tokens of Secrets that ask for one. */
#include "auth/auth.h"
#include "controllers/frame.h"

#include <fcntl.h>

#define FILE_MAX (1 << 20)

/* ---- service account default */

static void account_event(struct controller *c, const struct change *ch)
{
	if (ch->kind == CM_NAMESPACES && ch->what != CHANGE_REMOVED)
		cm_add(c, ch->e->item->key);
	else if (ch->kind == CM_ACCOUNTS && ch->what == CHANGE_REMOVED && span_is(ch->e->item->name, "default"))
		cm_add(c, ch->e->item->ns);
}

/* A namespace that is going takes nothing new. */
static bool on_made(struct pass *p, struct op *o, const struct err *why, const struct json *answer)
{
	return why && (why->class == ERR_EXISTS || why->class == ERR_NOT_FOUND ||
		       span_has(span_of(err_msg(why)), SPAN("because it is being terminated")));
}

static void account_reconcile(struct pass *p)
{
	struct entry *ns = cm_get_key(p->cm, CM_NAMESPACES, p->key);
	struct json account = json_object();
	if (!ns || ns->row->deleted_s || cm_get(p->cm, CM_ACCOUNTS, p->key, SPAN("default")))
		return;
	tree_set_cstr(&p->arena, &account, "apiVersion", "v1");
	tree_set_cstr(&p->arena, &account, "kind", "ServiceAccount");
	tree_set_cstr(&p->arena, tree_at(&p->arena, &account, "metadata"), "name", "default");
	pass_create(p, CM_ACCOUNTS, p->key, &account)->done = on_made;
}

const struct controller_row cm_service_account = {
	.name = "serviceaccount-controller", .watches = BIT(CM_NAMESPACES) | BIT(CM_ACCOUNTS), .event = account_event,
	.reconcile = account_reconcile,
};

/* ---- kube-root-ca.crt */

#define CA_NAME "kube-root-ca.crt"

static void ca_event(struct controller *c, const struct change *ch)
{
	if (ch->kind == CM_NAMESPACES && ch->what != CHANGE_REMOVED)
		cm_add(c, ch->e->item->key);
	else if (ch->kind == CM_CONFIG_MAPS)
		cm_add(c, ch->e->item->ns);
}

static void ca_reconcile(struct pass *p)
{
	struct entry *ns = cm_get_key(p->cm, CM_NAMESPACES, p->key), *e = cm_get(p->cm, CM_CONFIG_MAPS, p->key, SPAN(CA_NAME));
	struct arena *a = &p->arena;
	struct json map = json_object(), diff, patch = json_object();
	if (!ns || ns->row->deleted_s)
		return;
	tree_set(a, tree_at(a, &map, "data"), "ca.crt", json_str(p->cm->root_ca));
	if (e) {
		struct json now = cm_tree(a, CM_CONFIG_MAPS, e);
		if (!tree_diff(a, tree_get(&now, "data"), tree_get(&map, "data"), &diff))
			return;
		tree_set(a, &patch, "data", diff);
		pass_merge(p, CM_CONFIG_MAPS, p->key, SPAN(CA_NAME), NULL, &patch)->fine = ERR_NOT_FOUND;
		return;
	}
	struct json *meta = tree_at(a, &map, "metadata");
	tree_set_cstr(a, meta, "name", CA_NAME);
	tree_set_cstr(a, tree_at(a, meta, "annotations"), "kubernetes.io/description",
		      "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
		      "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
		      "Kubernetes clusters.");
	tree_set_cstr(a, &map, "apiVersion", "v1");
	tree_set_cstr(a, &map, "kind", "ConfigMap");
	pass_create(p, CM_CONFIG_MAPS, p->key, &map)->done = on_made;
}

const struct controller_row cm_root_ca = {
	.name = "root-ca-certificate-publisher-controller", .watches = BIT(CM_NAMESPACES) | BIT(CM_CONFIG_MAPS), .event = ca_event,
	.reconcile = ca_reconcile,
};

/* ---- tokens of Secrets */

#define ACCOUNT_NOTE "kubernetes.io/service-account.name"
#define ACCOUNT_UID "kubernetes.io/service-account.uid"

static void token_event(struct controller *c, const struct change *ch)
{
	if (ch->kind == CM_SECRETS) {
		if (ch->what != CHANGE_REMOVED)
			cm_add(c, ch->e->item->key);
		return;
	}
	if (ch->what == CHANGE_CHANGED)
		return;
	LIST_EACH(cm_index(c->cm, CM_SECRETS, CM_BY_NS, ch->e->item->ns), e, struct entry, in[CM_BY_NS].link)
		cm_add(c, e->item->key);
}

static struct json base64_of(struct arena *a, struct span s)
{
	auto_buf struct buf b = {};
	base64_add(&b, BASE64_STD, s.ptr, s.len);
	return json_str(arena_span(a, buf_span(&b)));
}

static void token_reconcile(struct pass *p)
{
	struct entry *e = cm_get_key(p->cm, CM_SECRETS, p->key);
	struct arena *a = &p->arena;
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf token = {};
	struct json patch = json_object(), wanted = json_object(), diff;
	if (!e || e->row->deleted_s)
		return;
	struct json secret = cm_tree(a, CM_SECRETS, e);
	struct span name = tree_annotation(&secret, ACCOUNT_NOTE), uid = tree_annotation(&secret, ACCOUNT_UID);
	struct entry *account = cm_get(p->cm, CM_ACCOUNTS, p->ns, name);
	if (!account || (uid.len && !span_eq(uid, account->item->uid))) {
		/* A Secret that came just before its account is not a leftover: only one that had its account goes. */
		if (uid.len)
			pass_delete(p, CM_SECRETS, p->ns, p->name, tree_meta_span(&secret, "uid"), NULL);
		return;
	}
	const struct json *data = tree_get(&secret, "data");
	tree_set(a, &wanted, "ca.crt", base64_of(a, p->cm->root_ca));
	tree_set(a, &wanted, "namespace", base64_of(a, p->ns));
	if (tree_span(data, "token").len) {
		tree_set(a, &wanted, "token", *tree_get(data, "token"));
	} else {
		struct auth_issuer issuer = { .sign = p->c->state };
		if (auth_token_issue_legacy(&issuer, p->ns, name, account->item->uid, p->name, &token, &err) < 0) {
			pass_fail(p, err.class, "token: %s", err_msg(&err));
			return;
		}
		tree_set(a, &wanted, "token", base64_of(a, buf_span(&token)));
	}
	JSON_EACH_MEMBER(data, m)
		if (!json_get(&wanted, json_key(m)))
			(void)json_set(a, &wanted, json_key(m), m->value);
	bool differs = tree_diff(a, data, &wanted, &diff);
	if (!differs && uid.len)
		return;
	struct json *meta = tree_at(a, &patch, "metadata");
	tree_set_span(a, meta, "resourceVersion", tree_meta_span(&secret, "resourceVersion"));
	tree_set(a, tree_at(a, meta, "annotations"), ACCOUNT_UID, json_str(arena_span(a, account->item->uid)));
	if (differs)
		tree_set(a, &patch, "data", diff);
	pass_merge(p, CM_SECRETS, p->ns, p->name, NULL, &patch)->fine = ERR_NOT_FOUND;
}

static int token_start(struct controller *c, struct err *err)
{
	auto_buf struct buf pem = {};
	struct span file = c->cm->options->sa_key_file;
	struct tls_key *key = NULL;
	int rc = io_read_file(AT_FDCWD, file.ptr, &pem, FILE_MAX, err);
	if (rc == 0)
		rc = tls_key_read(buf_span(&pem), file.ptr, &key, err);
	if (rc == 0 && !tls_key_is_private(key)) {
		tls_key_unref(key);
		return err_set(err, ERR_INVALID, "%s holds no private key", file.ptr);
	}
	c->state = key;
	return rc;
}

static void token_stop(struct controller *c)
{
	tls_key_unref(c->state);
}

static bool token_possible(const struct controllers_options *o)
{
	return o->sa_key_file.len > 0;
}

const struct controller_row cm_service_account_token = {
	.name = "serviceaccount-token-controller", .watches = BIT(CM_SECRETS) | BIT(CM_ACCOUNTS), .event = token_event,
	.reconcile = token_reconcile, .start = token_start, .stop = token_stop, .possible = token_possible,
};
