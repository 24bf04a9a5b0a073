/* Lists of volumes: filters as dockerd's, and what prune takes. */
#include "regex/regex.h"
#include "volume/private.h"

static int bad_value(struct span key, const struct json *values, struct err *err)
{
	auto_buf struct buf words = {};
	JSON_EACH_ITEM(values, v)
		buf_printf(&words, "%s%.*s", words.len ? " " : "", SPAN_ARG(json_span(v)));
	return err_set(err, ERR_INVALID_REQUEST, "invalid filter '%.*s=[%s]'", SPAN_ARG(key), buf_cstr(&words));
}

static int keys_check(const struct json *filters, const char *const *known, struct err *err)
{
	JSON_EACH_MEMBER(filters, f) {
		size_t i = 0;
		while (known[i] && !span_is(json_key(f), known[i]))
			i++;
		if (!known[i])
			return err_set(err, ERR_INVALID_REQUEST, "invalid filter '%.*s'", SPAN_ARG(json_key(f)));
	}
	return 0;
}

/* A filter that says yes or no. Both words, or none: `otherwise`. */
static int truth(const struct json *filters, const char *key, int otherwise, int *out, struct err *err)
{
	const struct json *values = json_get(filters, span_of(key));
	bool yes = false, no = false;
	JSON_EACH_ITEM(values, v) {
		struct span s = json_span(v);
		bool y = span_is(s, "true") || span_is(s, "1"), n = span_is(s, "false") || span_is(s, "0");
		if (!y && !n)
			return bad_value(span_of(key), values, err);
		yes |= y;
		no |= n;
	}
	*out = yes == no ? otherwise : yes;
	return 0;
}

static bool label_match(const struct json *labels, struct span want)
{
	struct span key = want, value = SPAN_EMPTY;
	bool valued = span_split(want, '=', &key, &value);
	const struct json *have = json_get(labels, key);
	return have && (!valued || span_eq(json_span(have), value));
}

static bool labels_match(const struct json *filters, const struct json *labels)
{
	JSON_EACH_ITEM(json_getl(filters, "label"), want)
		if (!label_match(labels, json_span(want)))
			return false;
	bool refused = json_is(json_getl(filters, "label!"), JSON_ARRAY) && json_getl(filters, "label!")->n;
	JSON_EACH_ITEM(json_getl(filters, "label!"), want)
		refused = refused && label_match(labels, json_span(want));
	return !refused;
}

/* As Go's filters.Match: any of the words, as a regular expression found anywhere; one that is none matches nothing. */
static bool name_match(const struct json *values, struct span name)
{
	struct regex_scratch scratch = {};
	bool found = !json_is(values, JSON_ARRAY) || !values->n;
	JSON_EACH_ITEM(values, v) {
		auto_regex struct regex *re = found ? NULL : regex_new(json_span(v), 0, NULL);
		found = found || span_eq(json_span(v), name) || (re && regex_matches(re, &scratch, name));
	}
	regex_scratch_done(&scratch);
	return found;
}

static bool word_match(const struct json *values, const char *have)
{
	bool found = !json_is(values, JSON_ARRAY) || !values->n;
	JSON_EACH_ITEM(values, v)
		found = found || span_is(json_span(v), have);
	return found;
}

int volume_list(struct volume_store *s, const struct json *filters, struct arena *a, struct volume_info **out, size_t *out_n,
	struct err *err)
{
	static const char *const known[] = { "name", "label", "label!", "driver", "dangling", "scope", NULL };
	struct volume_info *list;
	size_t n, kept = 0;
	int dangling = -1;
	int rc = keys_check(filters, known, err);
	if (rc == 0)
		rc = truth(filters, "dangling", -1, &dangling, err);
	if (rc < 0)
		return rc;
	volume_all(s, a, &list, &n);
	for (size_t i = 0; i < n; i++)
		if ((dangling < 0 || dangling == (list[i].n_users == 0)) && labels_match(filters, list[i].labels) &&
		    name_match(json_getl(filters, "name"), list[i].name) && word_match(json_getl(filters, "driver"), "local") &&
		    word_match(json_getl(filters, "scope"), "local"))
			list[kept++] = list[i];
	*out = list;
	*out_n = kept;
	return 0;
}

int volume_prune(struct volume_store *s, const struct json *filters, bool all_names, struct arena *a, struct span **out,
	size_t *out_n, uint64_t *out_bytes, struct err *err)
{
	static const char *const known[] = { "label", "label!", "all", NULL };
	struct volume_info *list;
	size_t n, gone = 0;
	uint64_t bytes = 0;
	int all = all_names;
	int rc = keys_check(filters, known, err);
	if (rc == 0)
		rc = truth(filters, "all", all_names, &all, err);
	if (rc < 0)
		return rc;
	volume_all(s, a, &list, &n);
	struct span *names = arena_alloc_n(a, n + 1, sizeof(*names));
	for (size_t i = 0; i < n && rc == 0; i++) {
		uint64_t size = 0;
		/* What a device or a server gave (options) is not ours to delete: it holds somebody's data, as dockerd sees it too. */
		bool foreign = json_is(list[i].options, JSON_OBJECT) && list[i].options->n;
		if (list[i].n_users || foreign || !(all || list[i].anonymous) || !labels_match(filters, list[i].labels) ||
		    volume_usage(s, list[i].name, &size, NULL) < 0)
			continue;
		auto_err struct err why = ERR_INIT;
		rc = volume_remove(s, list[i].name, false, &why);
		if (rc == 0) {
			names[gone++] = list[i].name;
			bytes += size;
		} else if (rc == -ERR_IN_USE || rc == -ERR_NOT_FOUND) {
			rc = 0; /* somebody took it, or took it away, meanwhile */
		} else {
			(void)err_move(err, &why);
		}
	}
	if (rc < 0)
		return rc;
	*out = names;
	*out_n = gone;
	*out_bytes = bytes;
	return 0;
}
