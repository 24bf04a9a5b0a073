/* JSONPath templates as Kubernetes means them (k8s.io/client-go/util/jsonpath): kubectl -o jsonpath, --sort-by, custom columns,
 * printer columns of custom resources. Part of the seam of api.
 *
 *     {.items[*].metadata.name}   {range .items[*]}{.metadata.name}{"\n"}{end}   {.users[?(@.name=="e2e")].user}
 *
 * Text outside braces stays; inside: .field ['field'] [n] [from:to:step] [*] .* .. unions filters "text" numbers true, range
 * and end, $ and @ for the current value.
 *
 * A parsed path lives in its arena, never changes, and any thread may run it. Members of objects are visited in the order of
 * their keys (upstream: in any order). Bounds: text 64 KB, nesting of filters and unions 16, a million results.
 */
#pragma once

#include "base/base.h"
#include "json/json.h"

struct api_jsonpath;

/* Class INVALID_REQUEST with upstream's words: unclosed action, unterminated filter, invalid array index x, ... */
int api_jsonpath_parse(struct arena *a, struct span text, struct api_jsonpath **out, struct err *err);
/* What people write where a whole template is not needed ("metadata.name", ".metadata.name", "{.metadata.name}") as a template;
 * appended. Class INVALID_REQUEST: unexpected path string, expected a 'name1.name2' or ... */
int api_jsonpath_relaxed(struct span text, struct buf *out, struct err *err);

enum api_jsonpath_flags {
	API_JSONPATH_MISSING = 1 << 0, /* a field that is not there gives nothing; else an error: x is not found */
	API_JSONPATH_AS_JSON = 1 << 1, /* print each part's results as a JSON list (-o jsonpath-as-json) */
};
/* One list of values for each part of the template (texts and actions; the parts of a range once for each turn). The values
 * share children with data and live in the arena. Class INVALID_REQUEST with upstream's words. */
struct api_jsonpath_part {
	unsigned n;
	struct json *values;
};
struct api_jsonpath_result {
	unsigned n;
	struct api_jsonpath_part *parts;
};
int api_jsonpath_find(const struct api_jsonpath *path, struct arena *a, const struct json *data, unsigned flags,
		      struct api_jsonpath_result *out, struct err *err);
/* Finds and prints, as kubectl does: values of one part with blanks between, objects and lists as JSON. Appended. */
int api_jsonpath_print(const struct api_jsonpath *path, const struct json *data, unsigned flags, struct buf *out,
		       struct err *err);
/* One value as it is printed in a text. Appended. */
void api_jsonpath_print_value(struct buf *out, const struct json *v);
