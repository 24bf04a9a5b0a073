/* One operation of src/api on a JSON object from standard input, for comparing with the real kubectl:
 *     api-tool jsonpath TEMPLATE | json PATCH | merge PATCH | strategic PATCH        < object
 *     api-tool three overwrite | keep     < {"original": ..., "modified": ..., "current": ...}      what kubectl apply sends
 * Prints the result and ends with 0, or prints the error's text and ends with 1. */
#include <unistd.h>

#include "api/jsonpatch.h"
#include "api/jsonpath.h"
#include "api/smp.h"

/* The built-in type of an object by its apiVersion and kind; the short group is the first part of the group's name. */
static const struct api_type *type_of(struct arena *a, const struct json *object)
{
	struct span version = json_span(json_getl(object, "apiVersion")), kind = json_span(json_getl(object, "kind")), group, rest;
	if (!span_split(version, '/', &group, &rest))
		return api_type_find(arena_printf(a, "core/%.*s.%.*s", SPAN_ARG(version), SPAN_ARG(kind)));
	(void)span_split(group, '.', &group, &version);
	return api_type_find(arena_printf(a, "%.*s/%.*s.%.*s", SPAN_ARG(group), SPAN_ARG(rest), SPAN_ARG(kind)));
}

static int run(struct arena *a, const char *verb, struct span arg, struct json *object, struct buf *out, struct err *err)
{
	struct json patch;
	int rc;
	if (!strcmp(verb, "jsonpath")) {
		struct api_jsonpath *path;
		rc = api_jsonpath_parse(a, arg, &path, err);
		return rc < 0 ? rc : api_jsonpath_print(path, object, API_JSONPATH_MISSING, out, err);
	}
	if (!strcmp(verb, "three")) {
		struct json *original = json_getl(object, "original"), *modified = json_getl(object, "modified"),
			    *current = json_getl(object, "current");
		const struct api_type *t = type_of(a, modified);
		rc = t ? api_smp_diff_three(a, t, original, modified, current, span_is(arg, "overwrite"), &patch, err) :
			 api_merge_patch_three(a, original, modified, current, &patch, err);
		if (rc == 0)
			json_write(out, &patch, 0);
		return rc;
	}
	if ((rc = json_parse(a, arg, 0, NULL, &patch, err)) < 0)
		return rc;
	if (!strcmp(verb, "json"))
		rc = api_json_patch(a, object, &patch, NULL, err);
	else if (!strcmp(verb, "merge"))
		rc = api_merge_patch(a, object, &patch, err);
	else if (!strcmp(verb, "strategic") && type_of(a, object))
		rc = api_smp_apply(a, type_of(a, object), object, &patch, err);
	else
		return err_set(err, ERR_USAGE, "unknown verb %s", verb);
	if (rc == 0)
		json_write(out, object, 0);
	return rc;
}

int main(int argc, char **argv)
{
	auto_arena struct arena a = {};
	auto_buf struct buf in = {}, out = {};
	auto_err struct err err = ERR_INIT;
	struct json object;
	ssize_t n;
	if (argc != 3)
		return 2;
	do {
		char *room = buf_reserve(&in, 65536);
		n = read(0, room, 65536);
		if (n > 0)
			buf_commit(&in, (size_t)n);
	} while (n > 0);
	int rc = json_parse(&a, buf_span(&in), 0, NULL, &object, &err);
	if (rc == 0)
		rc = run(&a, argv[1], span_of(argv[2]), &object, &out, &err);
	if (rc < 0)
		printf("%s", err_msg(&err));
	else
		fwrite(buf_cstr(&out), 1, out.len, stdout);
	return rc < 0;
}
