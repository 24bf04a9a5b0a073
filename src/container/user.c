/* Config.User: who the program runs as. Names are looked up in the image's own files, as Docker does; numbers need none.
 *
 * The files are the image's: names beneath the root are resolved by the kernel (sys/path.h), sizes and lines are bounded. */
#include <errno.h>
#include <fcntl.h>

#include "container/private.h"
#include "sys/sys.h"

#define FILE_MAX (4 << 20)
#define GROUPS_MAX 1024

static void file_get(int root, const char *path, struct arena *a, struct span *out)
{
	auto_buf struct buf b = {};
	auto_fd int fd = sys_path_open(root, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	*out = SPAN_EMPTY;
	/* An image without the file has no names; so has one whose file is no file. */
	if (fd >= 0 && io_read_all(fd, &b, FILE_MAX, NULL) == 0)
		*out = arena_span(a, buf_span(&b));
}

/* Fields of a line of passwd or group; false on one with fewer than n. */
static bool fields_cut(struct span line, struct span *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct span rest = SPAN_EMPTY;
		bool more = span_split(line, ':', &out[i], &rest);
		if (!more && i + 1 < n)
			return false;
		line = rest;
	}
	return true;
}

static bool id_parse(struct span s, uint32_t *out)
{
	uint64_t n;
	if (!s.len || s.ptr[0] == '+' || !span_to_u64(s, &n) || n > INT32_MAX)
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool is_number(struct span s)
{
	int64_t n;
	return span_to_i64(s, &n);
}

static int group_find(struct span groups, struct span name, uint32_t *out, struct err *err)
{
	struct span rest = groups, line, f[3];
	uint32_t id;
	while (span_cut(&rest, '\n', &line))
		if (fields_cut(line, f, 3) && span_eq(f[0], name) && id_parse(f[2], &id)) {
			*out = id;
			return 0;
		}
	if (id_parse(name, out))
		return 0;
	if (is_number(name))
		return err_set(err, ERR_INVALID_REQUEST, "uids and gids must be in range 0-2147483647");
	return err_set(err, ERR_INVALID_REQUEST, "unable to find group %.*s: no matching entries in group file", SPAN_ARG(name));
}

static void add(struct container_ids *ids, uint32_t gid)
{
	for (size_t i = 0; i < ids->n_more; i++)
		if (ids->more[i] == gid)
			return;
	if (ids->n_more < GROUPS_MAX)
		ids->more[ids->n_more++] = gid;
}

int container_user_find(int root, struct span user, const struct json *extra, struct span policy, struct arena *a,
	struct container_ids *out, struct err *err)
{
	struct span who, group, passwd, groups, rest, line, f[6], name = SPAN_EMPTY;
	bool has_group = span_split(user, ':', &who, &group) && group.len;
	struct container_ids ids = { .home = "", .more = arena_alloc_n(a, GROUPS_MAX, sizeof(*ids.more)) };
	file_get(root, "/etc/passwd", a, &passwd);
	file_get(root, "/etc/group", a, &groups);
	bool found = false, numeric = id_parse(who, &ids.uid);
	if (!who.len)
		ids.uid = 0;
	/* A line by name wins over one by number. */
	for (int by_number = 0; by_number < 2 && !found; by_number++) {
		rest = passwd;
		while (!found && span_cut(&rest, '\n', &line)) {
			uint32_t uid, gid;
			if (!fields_cut(line, f, 6) || !id_parse(f[2], &uid) || !id_parse(f[3], &gid))
				continue;
			if (by_number ? (numeric || !who.len) && uid == ids.uid : who.len && span_eq(f[0], who)) {
				ids.uid = uid;
				ids.gid = gid;
				ids.home = arena_cstr(a, f[5]);
				name = f[0];
				found = true;
			}
		}
	}
	if (!found && who.len && !numeric)
		return is_number(who) ? err_set(err, ERR_INVALID_REQUEST, "uids and gids must be in range 0-2147483647")
				      : err_set(err, ERR_INVALID_REQUEST,
						"unable to find user %.*s: no matching entries in passwd file", SPAN_ARG(who));
	if (has_group) {
		int rc = group_find(groups, group, &ids.gid, err);
		if (rc < 0)
			return rc;
	}
	/* The groups that list the user: Docker asks for them where no group was named, the CRI unless only its own shall count. */
	if (name.len && !span_is(policy, "strict") && (!has_group || span_is(policy, "merge"))) {
		rest = groups;
		while (span_cut(&rest, '\n', &line)) {
			struct span g[4], members, member;
			uint32_t gid;
			if (!fields_cut(line, g, 4) || !id_parse(g[2], &gid))
				continue;
			members = g[3];
			while (span_cut(&members, ',', &member))
				if (span_eq(span_trim(member), name))
					add(&ids, gid);
		}
	}
	JSON_EACH_ITEM (extra, item) {
		uint32_t gid;
		int rc = group_find(groups, json_span(item), &gid, err);
		if (rc < 0)
			return rc;
		add(&ids, gid);
	}
	if (!ids.home[0])
		ids.home = ids.uid == 0 ? "/root" : "/";
	*out = ids;
	return 0;
}
