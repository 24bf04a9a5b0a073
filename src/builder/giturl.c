/* Which remote contexts are git repositories, and what their fragment asks for: as dockerd reads them (its urlutil and gitutils).
 * Pure. */
#include "builder/giturl.h"

bool builder_git_is(struct span url)
{
	static const char *const begins[] = { "git://", "git@", "github.com/" };
	struct span path, fragment = SPAN_EMPTY;
	for (size_t i = 0; i < ARRAY_LEN(begins); i++)
		if (span_starts(url, span_of(begins[i])))
			return true;
	if (!span_starts(url, SPAN("http://")) && !span_starts(url, SPAN("https://")))
		return false;
	bool has = span_split(url, '#', &path, &fragment);
	return span_ends(path, SPAN(".git")) && (!has || fragment.len);
}

static bool printable(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
			return false;
	return true;
}

int builder_git_parse(struct span url, struct arena *a, struct git_url *out, struct err *err)
{
	struct span fragment = SPAN_EMPTY, remote = url;
	*out = (struct git_url){};
	(void)span_split(url, '#', &remote, &fragment);
	(void)span_split(fragment, ':', &out->ref, &out->subdir);
	if (url.len > BUILDER_GIT_URL_MAX)
		return err_set(err, ERR_INVALID_REQUEST, "the URL of the repository is longer than %d bytes", BUILDER_GIT_URL_MAX);
	/* What git would take for an option, and what a line of its protocols cannot hold. */
	if (span_starts(out->ref, SPAN("-")))
		return err_set(err, ERR_INVALID_REQUEST, "invalid refspec: %.*s", SPAN_ARG(out->ref));
	if (!printable(remote) || !printable(out->ref) || memchr(out->subdir.ptr ? out->subdir.ptr : "", 0, out->subdir.len))
		return err_set(err, ERR_INVALID_REQUEST, "invalid git URL: it holds white space or control characters");
	out->remote = span_starts(remote, SPAN("github.com/")) ? arena_printf(a, "https://%.*s", SPAN_ARG(remote)) : remote;
	return 0;
}
