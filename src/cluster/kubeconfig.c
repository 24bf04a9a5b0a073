/* `knarr kubeconfig`: the administrator's file, or one for a person: with a certificate of their own, so that audit names them; and
 * into a file that has other clusters already. */
#include "cluster/private.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "yaml/yaml.h"

#define FILE_MAX (4 << 20)
#define NAME_MAX_ 64 /* of a certificate's CN (RFC 5280, ub-common-name) */

/* The list of that name, made when it is missing or null. */
static struct json *list_of(struct arena *a, struct json *o, const char *name)
{
	struct json *v = json_get(o, span_of(name));
	if (!v || json_is(v, JSON_NULL))
		v = json_set(a, o, span_of(name), json_array());
	return json_is(v, JSON_ARRAY) ? v : NULL;
}

int cluster_kubeconfig_merge(struct arena *a, const struct json *from, struct json *into, struct err *err)
{
	static const char *const lists[] = { "clusters", "users", "contexts" };
	if (json_is(into, JSON_NULL)) {
		*into = json_object();
		json_setl(a, into, "apiVersion", json_cstr("v1"));
		json_setl(a, into, "kind", json_cstr("Config"));
	}
	if (!json_is(into, JSON_OBJECT))
		return err_set(err, ERR_INVALID, "it is no kubeconfig");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct json *to = list_of(a, into, lists[i]);
		if (!to)
			return err_set(err, ERR_INVALID, "it is no kubeconfig: %s is no list", lists[i]);
		JSON_EACH_ITEM(json_get(from, span_of(lists[i])), ours) {
			struct json *place = NULL;
			JSON_EACH_ITEM(to, theirs)
				if (span_eq(json_span(json_getl(theirs, "name")), json_span(json_getl(ours, "name"))))
					place = theirs;
			if (!place)
				place = json_push(a, to, JSON_NULL_VALUE);
			*place = json_copy(a, ours);
		}
	}
	if (!json_span(json_getl(into, "current-context")).len)
		json_setl(a, into, "current-context", json_copy(a, json_getl(from, "current-context")));
	return 0;
}

/* The file keeps its owner and mode, and a link to it (of who keeps such files elsewhere) stays one; a new one is its reader's
 * alone and belongs to whom its folder belongs. */
static int merge_into(const char *given, struct span text, struct err *err)
{
	char real[PATH_MAX];
	const char *path = realpath(given, real) ? real : given;
	auto_arena struct arena a = {};
	auto_buf struct buf was = {}, out = {};
	auto_err struct err why = ERR_INIT;
	struct json from, into = JSON_NULL_VALUE;
	struct stat st = { .st_mode = 0600 }, folder;
	int rc = yaml_parse(&a, text, 0, NULL, &from, err);
	if (rc < 0)
		return rc;
	rc = io_read_file(AT_FDCWD, path, &was, FILE_MAX, &why);
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return err_move(err, &why);
	bool there = rc == 0 && stat(path, &st) == 0;
	if (rc == 0 && (rc = yaml_parse(&a, buf_span(&was), 0, NULL, &into, err)) < 0)
		return err_note(err, "%s", path);
	if ((rc = cluster_kubeconfig_merge(&a, &from, &into, err)) < 0)
		return err_note(err, "%s", path);
	auto_buf struct buf dir = {};
	ptrdiff_t slash = span_rchr(span_of(path), '/');
	buf_span_add(&dir, slash > 0 ? span_make(path, (size_t)slash) : SPAN("."));
	if (!there && stat(buf_cstr(&dir), &folder) == 0) {
		st.st_uid = folder.st_uid;
		st.st_gid = folder.st_gid;
	}
	yaml_write(&out, &into);
	rc = io_write_file(AT_FDCWD, path, buf_span(&out), st.st_mode & 0777, err);
	if (rc == 0 && geteuid() == 0 && lchown(path, st.st_uid, st.st_gid) < 0)
		rc = err_sys(err, "%s", path);
	return rc;
}

static int own_file(const struct cluster_layout *l, const char *user, struct buf *out, struct err *err)
{
	auto_buf struct buf ca = {}, cert = {}, key = {}, name = {}, owner = {};
	struct cluster_settings s;
	int rc = cluster_settings_read(l, false, &s, err);
	if (rc == 0)
		rc = cluster_certs_issue(l, user, "system:masters", clock_wall_ns(clock_real()) / NS_PER_S, &ca, &cert, &key, err);
	if (rc == 0) {
		auto_buf struct buf server = {};
		buf_printf(&server, "https://%s:%lld", s.address.len ? s.address.ptr : "127.0.0.1", (long long)s.api_port);
		buf_printf(&name, "knarr%s%s", l->is_default ? "" : "-", l->is_default ? "" : l->id);
		buf_printf(&owner, "%s-%s", buf_cstr(&name), user);
		cluster_kubeconfig_write(out, buf_cstr(&name), buf_cstr(&owner), buf_span(&server), buf_span(&ca), buf_span(&cert),
			buf_span(&key));
	}
	cluster_settings_done(&s);
	return rc;
}

static bool user_ok(struct span user)
{
	for (size_t i = 0; i < user.len; i++)
		if ((unsigned char)user.ptr[i] <= ' ' || strchr("\"'\\:#{}[],&*!|>%@`", user.ptr[i]))
			return false;
	return user.len <= NAME_MAX_;
}

int cluster_kubeconfig_main(int argc, char **argv)
{
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf text = {};
	struct cluster_layout l = {};
	struct span dir = SPAN_EMPTY, user = SPAN_EMPTY, into = SPAN_EMPTY;
	bool path = false;
	const struct cluster_option options[] = {
		{ "data-dir", 0, CLUSTER_OPTION_TEXT, &dir, "folder of everything (default $KNARR_DATA_DIR or /var/lib/knarr)" },
		{ "path", 0, CLUSTER_OPTION_TRUE, &path, "print where the administrator's file is instead" },
		{ "user", 0, CLUSTER_OPTION_TEXT, &user, "with a new certificate for an administrator of this name" },
		{ "merge", 0, CLUSTER_OPTION_TEXT, &into, "put it into this file instead of printing it" },
	};
	struct cluster_usage u = { .usage = "kubeconfig [flags]", .options = options, .n_options = ARRAY_LEN(options),
				   .about = "Prints the administrator's kubeconfig: who has it, is root of the cluster." };
	int rc = cluster_options_parse(&u, argc - 1, argv + 1, &err);
	if (rc > 0)
		return 0;
	if (rc == 0 && !user_ok(user))
		rc = err_set(&err, ERR_USAGE, "--user %.*s: up to %d characters without blanks and quotes are a name", SPAN_ARG(user),
			NAME_MAX_);
	if (rc == 0)
		rc = cluster_layout_init(&l, dir, &err);
	if (rc == 0 && user.len)
		rc = own_file(&l, user.ptr, &text, &err);
	else if (rc == 0)
		rc = io_read_file(AT_FDCWD, l.admin.ptr, &text, FILE_MAX, &err);
	if (rc == -ERR_NOT_FOUND)
		rc = err_set(&err, ERR_NOT_FOUND, "there is no cluster in %s; 'knarr up' makes one", l.data.ptr);
	if (rc == 0 && path)
		printf("%s\n", l.admin.ptr);
	else if (rc == 0 && into.len)
		rc = merge_into(into.ptr, buf_span(&text), &err);
	else if (rc == 0)
		(void)fwrite(text.ptr, 1, text.len, stdout);
	cluster_layout_done(&l);
	return rc < 0 ? cluster_fail("kubeconfig", &err) : 0;
}
