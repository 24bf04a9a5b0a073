/* Tables: a text on the left, what it means on the right. Meanings of Dockerfiles are printed in a form of one line for each
 * instruction. */
#include "builder/builder.h"
#include "builder/giturl.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- Dockerfiles */

static void print_instruction(struct buf *out, const struct builder_instruction *in)
{
	buf_printf(out, "%u", in->line);
	if (in->end_line != in->line)
		buf_printf(out, "-%u", in->end_line);
	buf_printf(out, " %s", builder_op_name(in->op));
	for (size_t i = 0; i < in->n_flags; i++)
		buf_printf(out, in->flags[i].has_value ? " --%.*s=%.*s" : " --%.*s", SPAN_ARG(in->flags[i].name),
			   SPAN_ARG(in->flags[i].value));
	buf_str(out, in->health_none ? " NONE" : in->json ? " json" : "");
	for (size_t i = 0; i < in->n_args; i++)
		buf_printf(out, " [%.*s]", SPAN_ARG(in->args[i]));
	for (size_t i = 0; i < in->n_pairs; i++)
		buf_printf(out, in->pairs[i].has_value ? " {%.*s|%.*s}" : " {%.*s}", SPAN_ARG(in->pairs[i].key), SPAN_ARG(in->pairs[i].value));
	for (size_t i = 0; i < in->n_docs; i++)
		buf_printf(out, " <%u %.*s%s%s:%.*s>", in->docs[i].fd, SPAN_ARG(in->docs[i].name), in->docs[i].expand ? "" : " quoted",
			   in->docs[i].chomp ? " chomp" : "", SPAN_ARG(in->docs[i].content));
	if (in->op == BUILDER_ONBUILD)
		buf_printf(out, " (%.*s)", SPAN_ARG(in->trigger));
	buf_chr(out, '\n');
}

static void print_file(struct buf *out, struct span text)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct builder_file f;
	if (builder_file_parse(text, &a, &f, &err) < 0) {
		assert_int_equal(err.class, ERR_INVALID_REQUEST);
		buf_printf(out, "error: %s\n", err_msg(&err));
		return;
	}
	if (f.escape != '\\')
		buf_printf(out, "escape %c\n", f.escape);
	if (f.syntax.len || f.check.len)
		buf_printf(out, "syntax '%.*s' check '%.*s'\n", SPAN_ARG(f.syntax), SPAN_ARG(f.check));
	for (size_t i = 0; i < f.n_globals; i++)
		print_instruction(out, &f.globals[i]);
	for (size_t s = 0; s < f.n_stages; s++) {
		buf_printf(out, "== %.*s|%.*s|%.*s\n", SPAN_ARG(f.stages[s].base), SPAN_ARG(f.stages[s].name), SPAN_ARG(f.stages[s].platform));
		for (size_t i = 0; i < f.stages[s].n; i++)
			print_instruction(out, &f.stages[s].items[i]);
	}
	for (size_t i = 0; i < f.n_warnings; i++)
		buf_printf(out, "%.*s\n", SPAN_ARG(f.warnings[i]));
}

#define F "FROM a\n"
#define E(line, text) "error: dockerfile parse error on line " #line ": " text "\n"

static const char *const file_rows[][2] = {
	/* stages, arguments before them, platforms */
	{ "FROM scratch", "== scratch||\n" },
	{ "from a as B-1\nFROM --platform=$BUILDPLATFORM b AS c\n", "== a|b-1|\n== b|c|$BUILDPLATFORM\n" },
	{ "ARG A\nARG B=1 C=\"x y\"\nFROM $A\nARG B", "1 ARG {A}\n2 ARG {B|1} {C|\"x y\"}\n== $A||\n4 ARG {B}\n" },
	{ "", "error: file with no instructions\n" },
	{ "# nothing\n\n   # but comments\n", "error: file with no instructions\n" },
	{ "RUN x\nFROM a", E(1, "no build stage in current context") },
	{ "ARG x\nENV y=1\n", E(2, "no build stage in current context") },
	{ "FROM", E(1, "FROM requires either one or three arguments") },
	{ "FROM a b", E(1, "FROM requires either one or three arguments") },
	{ "FROM a in b", E(1, "FROM requires either one or three arguments") },
	{ "FROM a AS 1x", E(1, "invalid name for build stage: \"1x\", name can't start with a number or contain symbols") },
	/* directives */
	{ "# escape=`\n# syntax = docker/dockerfile:1 \n#check=skip=all\nFROM a\nRUN x `\n y\n",
	  "escape `\nsyntax 'docker/dockerfile:1' check 'skip=all'\n== a||\n5-6 RUN [x  y]\n" },
	{ "# escape=x\nFROM a", E(1, "invalid escape token 'x' does not match ` or \\") },
	{ "# escape=`\n#ESCAPE=\\\nFROM a", E(2, "only one escape parser directive can be used") },
	{ "#syntax=a\n#syntax=b\nFROM a", E(2, "only one syntax parser directive can be used") },
	{ "# about\n# escape=`\nFROM a\nRUN x \\\ny", "== a||\n4-5 RUN [x y]\n" },
	{ "\n# escape=`\nFROM a\nRUN x \\\ny", "== a||\n4-5 RUN [x y]\n" },
	{ "\xef\xbb\xbf# escape=`\r\nFROM a\r\nRUN x `\r\ny\r\n", "escape `\n== a||\n3-4 RUN [x y]\n" },
	/* lines */
	{ "FROM a\nRUN a \\\n  # comment\n  b \\ \t\n\tc", "== a||\n2-5 RUN [a   b \tc]\n" },
	{ F "RUN a \\\n\n b\n", "== a||\n2-4 RUN [a  b]\n[WARNING]: Empty continuation line found in:\n    RUN a  b\n"
				  "[WARNING]: Empty continuation lines will become errors in a future release.\n" },
	{ F "RUN a \\\\\nRUN b", "== a||\n2 RUN [a \\\\]\n3 RUN [b]\n" },
	{ F "RUN a \\", "== a||\n2 RUN [a]\n" },
	{ F "  rUn\t a  b ", "== a||\n2 RUN [a  b]\n" },
	{ F "FORM b", E(2, "unknown instruction: FORM (did you mean FROM?)") },
	{ F "RUNN b", E(2, "unknown instruction: RUNN (did you mean RUN?)") },
	{ F "\n\nWHATEVER b", E(4, "unknown instruction: WHATEVER") },
	/* commands */
	{ F "RUN [\"a\", \"b c\"]\nCMD []\nENTRYPOINT [\"x\"", "== a||\n2 RUN json [a] [b c]\n3 CMD json\n4 ENTRYPOINT [[\"x\"]\n" },
	{ F "CMD\nRUN ['a']", "== a||\n2 CMD\n3 RUN [['a']]\n" },
	{ F "CMD [\"a\", 1]", E(2, "when using JSON array syntax, arrays must be comprised of strings only") },
	{ F "SHELL [\"a\",\"-c\"]", "== a||\n2 SHELL json [a] [-c]\n" },
	{ F "SHELL a -c", E(2, "SHELL requires the arguments to be in JSON form") },
	{ F "SHELL []", E(2, "SHELL requires at least one argument") },
	{ F "RUN --mount=type=cache,target=/x --mount=type=tmpfs,target=/y --network=none make --all",
	  "== a||\n2 RUN --mount=type=cache,target=/x --mount=type=tmpfs,target=/y --network=none [make --all]\n" },
	{ F "RUN -- --x", "== a||\n2 RUN [--x]\n" },
	{ F "RUN --netwrk=none x", E(2, "unknown flag: --netwrk (did you mean network?)") },
	{ F "RUN --network=a --network=b x", E(2, "duplicate flag specified: network") },
	{ F "RUN --network x", E(2, "missing a value on flag: network") },
	{ F "CMD --x y", E(2, "unknown flag: --x") },
	/* copies */
	{ F "COPY a b c/", "== a||\n2 COPY [a] [b] [c/]\n" },
	{ F "COPY --from=0 --chown=1:2 --chmod=755 --link --exclude=*.o --exclude=x [\"a b\", \"/c\"]",
	  "== a||\n2 COPY --from=0 --chown=1:2 --chmod=755 --link --exclude=*.o --exclude=x json [a b] [/c]\n" },
	{ F "ADD --checksum=sha256:1 --keep-git-dir=true http://x /", "== a||\n2 ADD --checksum=sha256:1 --keep-git-dir=true [http://x] [/]\n" },
	{ F "ADD --link=maybe a b", E(2, "expecting boolean value for flag link, not: maybe") },
	{ F "ADD --link= a b", E(2, "missing a value on flag: link") },
	{ F "ADD --from=x a b", E(2, "unknown flag: --from") },
	{ F "COPY a", E(2, "COPY requires at least two arguments, but only one was provided. Destination could not be determined") },
	{ F "COPY --chown='a b' x y", "== a||\n2 COPY --chown=a b [x] [y]\n" },
	/* here-documents */
	{ F "RUN <<EOF\necho $x\n# no comment\n\nEOF\nUSER a", "== a||\n2-6 RUN [<<EOF] <0 EOF:echo $x\n# no comment\n\n>\n7 USER [a]\n" },
	{ F "COPY <<\"a b\" <<-c /\n1\na b\n\t2\n\tc\n", "== a||\n2-6 COPY [<<\"a] [b\"] [<<-c] [/] <0 a b quoted:1\n> <0 c chomp:\t2\n>\n" },
	{ F "RUN 3<<E cat && x << y\nz\nE\n", "== a||\n2-4 RUN [3<<E cat && x << y] <3 E:z\n>\n" },
	{ F "RUN <<E\nz\n", E(2, "unterminated heredoc") },
	{ F "RUN [\"<<E\"]\nUSER b", "== a||\n2 RUN json [<<E]\n3 USER [b]\n" },
	{ F "CMD cat <<E\nUSER b", "== a||\n2 CMD [cat <<E]\n3 USER [b]\n" },
	{ F "COPY x <<E\nz\nE\n", E(2, "COPY cannot accept a heredoc as a destination") },
	/* names and values */
	{ F "ENV a=1 b=\"2 3\" c=4\\ 5 d= e='$x'", "== a||\n2 ENV {a|1} {b|\"2 3\"} {c|4\\ 5} {d|} {e|'$x'}\n" },
	{ F "ENV a  b  c=d ", "== a||\n2 ENV {a|b  c=d}\n" },
	{ F "ENV a", E(2, "ENV must have two arguments") },
	{ F "ENV a=1 b", E(2, "Syntax error - can't find = in \"b\". Must be of the form: name=value") },
	{ F "ENV =1", E(2, "ENV names can not be blank") },
	{ F "LABEL", E(2, "LABEL requires at least one argument") },
	{ F "LABEL a.b=\"x\" \\\n c=y", "== a||\n2-3 LABEL {a.b|\"x\"} {c|y}\n" },
	{ F "ARG =x", E(2, "ARG names can not be blank") },
	{ F "ARG", E(2, "ARG requires at least one argument") },
	/* the rest */
	{ F "EXPOSE 80 443/udp 1-3", "== a||\n2 EXPOSE [1-3] [443/udp] [80]\n" },
	{ F "EXPOSE", E(2, "EXPOSE requires at least one argument") },
	{ F "VOLUME /a /b\nVOLUME [\"/c d\"]", "== a||\n2 VOLUME [/a] [/b]\n3 VOLUME json [/c d]\n" },
	{ F "VOLUME [\" \"]", E(2, "VOLUME specified can not be an empty string") },
	{ F "USER a:b\nWORKDIR /x y\nSTOPSIGNAL 9\nMAINTAINER me <a@b>", "== a||\n2 USER [a:b]\n3 WORKDIR [/x y]\n4 STOPSIGNAL [9]\n5 MAINTAINER [me <a@b>]\n" },
	{ F "WORKDIR", E(2, "WORKDIR requires exactly one argument") },
	{ F "USER", E(2, "USER requires exactly one argument") },
	{ F "HEALTHCHECK none", "== a||\n2 HEALTHCHECK NONE\n" },
	{ F "HEALTHCHECK --interval=5s --retries=3 CMD curl x\nHEALTHCHECK CMD [\"a\"]",
	  "== a||\n2 HEALTHCHECK --interval=5s --retries=3 [curl x]\n3 HEALTHCHECK json [a]\n" },
	{ F "HEALTHCHECK", E(2, "HEALTHCHECK requires at least one argument") },
	{ F "HEALTHCHECK CMD", E(2, "Missing command after HEALTHCHECK CMD") },
	{ F "HEALTHCHECK NONE x", E(2, "HEALTHCHECK NONE takes no arguments") },
	{ F "HEALTHCHECK http x", E(2, "Unknown type \"HTTP\" in HEALTHCHECK (try CMD)") },
	{ F "ONBUILD RUN x y\nONBUILD COPY <<E /f\n1\nE\n", "== a||\n2 ONBUILD (RUN x y)\n3-5 ONBUILD <0 E:1\n> (COPY <<E /f\n1\nE)\n" },
	{ F "ONBUILD", E(2, "ONBUILD requires at least one argument") },
	{ F "ONBUILD ONBUILD RUN x", E(2, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed") },
	{ F "ONBUILD from x", E(2, "FROM isn't allowed as an ONBUILD trigger") },
	{ F "ONBUILD RUNN x", E(2, "unknown instruction: RUNN (did you mean RUN?)") },
};

static void files(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(file_rows); i++) {
		auto_buf struct buf out = {};
		print_file(&out, span_of(file_rows[i][0]));
		if (strcmp(buf_cstr(&out), file_rows[i][1]))
			print_message("row %zu: %s\n", i, file_rows[i][0]);
		assert_string_equal(buf_cstr(&out), file_rows[i][1]);
	}
}

static void file_bounds(void **state)
{
	auto_buf struct buf text = {}, out = {};
	buf_str(&text, F "RUN ");
	for (int i = 0; i < 70000; i++)
		buf_chr(&text, 'x');
	print_file(&out, buf_span(&text));
	assert_string_equal(buf_cstr(&out), E(2, "dockerfile line greater than max allowed size of 65535"));
	buf_trunc(&text, 0);
	buf_trunc(&out, 0);
	for (int i = 0; i <= BUILDER_INSTRUCTIONS_MAX; i++)
		buf_str(&text, F);
	print_file(&out, buf_span(&text));
	assert_string_equal(buf_cstr(&out), E(10001, "more than 10000 instructions"));
	buf_trunc(&out, 0);
	while (text.len <= BUILDER_FILE_MAX)
		buf_str(&text, "# and so on\n");
	print_file(&out, buf_span(&text));
	assert_string_equal(buf_cstr(&out), "error: dockerfile larger than 1048576 bytes\n");
}

static void triggers(void **state)
{
	static const char *const rows[][2] = {
		{ "RUN x", "1 RUN [x]\n" },
		{ "COPY <<E /f\n1\nE", "1-3 COPY [<<E] [/f] <0 E:1\n>\n" },
		{ "RUN x\nRUN y", "error: ONBUILD trigger has more than one instruction\n" },
		{ "", "error: file with no instructions\n" },
		{ "BLAH", "error: unknown instruction: BLAH\n" },
		{ "FROM x", "error: FROM isn't allowed as an ONBUILD trigger\n" },
		{ "from --platform=linux/amd64 x AS y", "error: FROM isn't allowed as an ONBUILD trigger\n" },
		{ "MAINTAINER x", "error: MAINTAINER isn't allowed as an ONBUILD trigger\n" },
		{ "ONBUILD RUN x", "error: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		struct builder_instruction in;
		if (builder_trigger_parse(span_of(rows[i][0]), &a, &in, &err) < 0)
			buf_printf(&out, "error: %s\n", err_msg(&err));
		else
			print_instruction(&out, &in);
		assert_string_equal(buf_cstr(&out), rows[i][1]);
	}
}

static void heredoc_tabs(void **state)
{
	auto_arena struct arena a = {};
	struct builder_heredoc d = { .content = SPAN("\t\tx\ty\n\n\tz\n") };
	assert_true(span_is(builder_heredoc_text(&d, &a), "\t\tx\ty\n\n\tz\n"));
	d.chomp = true;
	assert_true(span_is(builder_heredoc_text(&d, &a), "x\ty\n\nz\n"));
}

/* ---- mounts */

static void mounts(void **state)
{
	static const char *const rows[][2] = {
		{ "target=/x", "bind from= source= target=/x id= ro" },
		{ "type=bind,from=a,source=/b,dst=/c,rw", "bind from=a source=/b target=/c id= rw" },
		{ "type=cache,id=m,target=/c,sharing=locked,mode=0750,uid=1,gid=2", "cache from= source= target=/c id=m rw locked mode=750 uid=1 gid=2" },
		{ "type=tmpfs,target=/t,size=64m", "tmpfs from= source= target=/t id= rw size=67108864" },
		{ "type=tmpfs,target=/t,size=1GiB", "tmpfs from= source= target=/t id= rw size=1073741824" },
		{ "type=secret,id=s,env=TOKEN,required", "secret from= source= target= id=s ro env=TOKEN required" },
		{ "TYPE=ssh,required=0", "ssh from= source= target= id= ro" },
		{ "\"target=/a,b\",ro=false", "bind from= source= target=/a,b id= rw" },
		{ "\"target=/a\"\"b\"", "bind from= source= target=/a\"b id= ro" },
		{ "type=nfs", "unsupported mount type \"nfs\"" },
		{ "type=cahce", "unsupported mount type \"cahce\" (did you mean cache?)" },
		{ "type=cache,sharing=lock", "unsupported sharing value \"lock\" (did you mean locked?)" },
		{ "tarjet=/x", "unexpected key 'tarjet' in 'tarjet=/x' (did you mean target?)" },
		{ "target=/x,", "invalid field '' must be a key=value pair" },
		{ "target", "invalid field 'target' must be a key=value pair" },
		{ "required", "unexpected key 'required' for mount type 'bind'" },
		{ "size=1", "unexpected key 'size' for mount type 'bind'" },
		{ "type=tmpfs,size=1x", "invalid value for size: 1x" },
		{ "type=tmpfs,size=99999999t", "invalid value for size: 99999999t" },
		{ "ro=maybe", "invalid value for ro: maybe" },
		{ "type=cache,mode=9", "invalid value 9 for mode" },
		{ "mode=7", "mode not allowed for \"bind\" type mounts" },
		{ "type=tmpfs,uid=1", "uid not allowed for \"tmpfs\" type mounts" },
		{ "sharing=shared", "invalid cache sharing set for bind mount" },
		{ "type=secret", "invalid secret mount. one of source, target required" },
		{ "type=secret,source=a,id=b", "both source and id can't be set" },
		{ "type=secret,from=a,id=b", "secret mount should not have a from" },
		{ "env=X", "unexpected key 'env' for mount type 'bind'" },
		{ "\"target=/x", "failed to parse csv mounts: extraneous or missing \" in quoted-field" },
		{ "a\"b", "failed to parse csv mounts: bare \" in non-quoted-field" },
	};
	static const char *const kinds[] = { "bind", "cache", "tmpfs", "secret", "ssh" }, *const sharings[] = { " shared", " private", " locked" };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		struct builder_mount m;
		if (builder_mount_parse(span_of(rows[i][0]), &a, &m, &err) < 0) {
			buf_str(&out, err_msg(&err));
		} else {
			buf_printf(&out, "%s from=%.*s source=%.*s target=%.*s id=%.*s %s%s", kinds[m.kind], SPAN_ARG(m.from), SPAN_ARG(m.source),
				   SPAN_ARG(m.target), SPAN_ARG(m.id), m.read_only ? "ro" : "rw", m.sharing_set ? sharings[m.sharing] : "");
			if (m.mode_set)
				buf_printf(&out, " mode=%o", m.mode);
			if (m.uid_set)
				buf_printf(&out, " uid=%u", m.uid);
			if (m.gid_set)
				buf_printf(&out, " gid=%u", m.gid);
			if (m.size)
				buf_printf(&out, " size=%llu", (unsigned long long)m.size);
			if (m.env.len)
				buf_printf(&out, " env=%.*s", SPAN_ARG(m.env));
			buf_str(&out, m.required ? " required" : "");
		}
		assert_string_equal(buf_cstr(&out), rows[i][1]);
	}
}

/* ---- words */

static bool get(void *arg, struct span name, struct span *out)
{
	static const char *const env[][2] = {
		{ "A", "hello" }, { "E", "" }, { "P", "/usr/local/bin" }, { "W", "one two" }, { "Q", "a\"b" }, { "1", "first" }, { "S", "a*b" }
	};
	for (size_t i = 0; i < ARRAY_LEN(env); i++)
		if (span_is(name, env[i][0])) {
			*out = span_of(env[i][1]);
			return true;
		}
	return false;
}

#define FAIL(text, why) "error: failed to process \"" text "\": " why

static void expansion(void **state)
{
	static const char *const rows[][2] = {
		{ "", "" },
		{ "x $A ${A}x $Ax $A-x", "x hello hellox  hello-x" },
		{ "$U.$E.$1.$10", "..first." },
		{ "'$A' \"$A\" \\$A \"\\$A\" '\\$A'", "$A hello $A $A \\$A" },
		{ "\"a\\\"b\" \"a\\xb\" a\\xb a\\\\b \"a\\\\b\"", "a\"b a\\xb axb a\\b a\\b" },
		{ "a\\", "a" },
		{ "$", "$" },
		{ "$ $. ${A:-x} ${U:-x} ${E:-x} ${E-x} ${U-x}", "$ $. hello x x  x" },
		{ "${A:+x} ${U:+x} ${E:+x} ${E+x}", "x   x" },
		{ "${U:-${A}y} ${U:-'a}b'} ${U:-\"$A\"}", "helloy a}b hello" },
		{ "${A:?no} ${A?}", "hello hello" },
		{ "${U:?}", FAIL("${U:?}", "U: is not allowed to be unset") },
		{ "${E:?}", FAIL("${E:?}", "E: is not allowed to be empty") },
		{ "${U?why not}", FAIL("${U?why not}", "U: why not") },
		{ "${P#*/} ${P##*/} ${P%/*} ${P%%/*}|", "usr/local/bin bin /usr/local |" },
		{ "${A#he} ${A#x} ${A%lo} ${A#?} ${A%?}", "llo hello hel ello hell" },
		{ "${S#a\\*} ${S%\\*b}", "b a" },
		{ "${A/l/L} ${A//l/L} ${A/x/y} ${P//\\//.} ${A/l*/!}", "heLlo heLLo hello .usr.local.bin he!" },
		{ "${A/l}", FAIL("${A/l}", "syntax error: missing '/' in ${}") },
		{ "${A", FAIL("${A", "syntax error: missing '}'") },
		{ "${", FAIL("${", "syntax error: missing '}'") },
		{ "${A:-x", FAIL("${A:-x", "syntax error: missing '}'") },
		{ "${}", FAIL("${}", "syntax error: bad substitution") },
		{ "${:x}", FAIL("${:x}", "syntax error: bad substitution") },
		{ "${A:x}", FAIL("${A:x}", "unsupported modifier (:x) in substitution") },
		{ "${A^}", FAIL("${A^}", "unsupported modifier (^) in substitution") },
		{ "${A#\\x}", FAIL("${A#\\x}", "invalid pattern (\\x) in substitution: invalid escape '\\x'") },
		{ "'x", FAIL("'x", "unexpected end of statement while looking for matching single-quote") },
		{ "\"x", FAIL("\"x", "unexpected end of statement while looking for matching double-quote") },
		{ "$Q \xc3\xa9", "a\"b \xc3\xa9" },
	};
	struct builder_scope scope = { .escape = '\\', .get = get };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		struct span got;
		if (builder_expand(span_of(rows[i][0]), &scope, &a, &got, &err) < 0)
			buf_printf(&out, "error: %s", err_msg(&err));
		else
			buf_span_add(&out, got);
		assert_string_equal(buf_cstr(&out), rows[i][1]);
	}
}

static void splitting(void **state)
{
	static const struct {
		const char *text, *words;
		bool keep, raw;
	} rows[] = {
		{ "a b  c\td", "[a][b][c][d]" },
		{ "$W \"$W\" '$W' x${W}y", "[one][two][one two][$W][xone][twoy]" },
		{ "a\\ b ''", "[a b]" },
		{ "", "" },
		{ "$U ${U:-x y} $E", "[x][y]" },
		{ "$U ${U:-x} ${U} ${U#y} ${U/a/b} $A", "[$U][${U:-x}][${U}][${U#y}][${U/a/b}][hello]", .keep = true },
		{ "\"a b\" c\\ d 'e'", "[\"a b\"][c\\ d]['e']", .raw = true },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		auto_buf struct buf out = {};
		struct builder_scope scope = { .escape = '\\', .get = get, .keep_unset = rows[i].keep, .raw_quotes = rows[i].raw, .raw_escapes = rows[i].raw };
		struct span *words;
		size_t n;
		assert_int_equal(builder_expand_words(span_of(rows[i].text), &scope, &a, &words, &n, &err), 0);
		for (size_t w = 0; w < n; w++)
			buf_printf(&out, "[%.*s]", SPAN_ARG(words[w]));
		assert_string_equal(buf_cstr(&out), rows[i].words);
	}
}

static void expansion_bounds(void **state)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	auto_buf struct buf deep = {}, wide = {};
	struct builder_scope scope = { .escape = '\\', .get = get };
	struct span got;
	for (int i = 0; i <= BUILDER_NEST_MAX; i++)
		buf_str(&deep, "${U:-");
	assert_int_equal(builder_expand(buf_span(&deep), &scope, &a, &got, &err), -ERR_INVALID_REQUEST);
	for (int i = 0; i < 1000; i++) /* each l becomes 1,000 bytes, 300 times */
		buf_chr(&wide, 'y');
	auto_buf struct buf text = {};
	for (int i = 0; i < 300; i++)
		buf_printf(&text, "${P//?/%s}", buf_cstr(&wide));
	assert_int_equal(builder_expand(buf_span(&text), &scope, &a, &got, &err), -ERR_INVALID_REQUEST);
	assert_non_null(strstr(err_msg(&err), "too long"));
}

/* ---- patterns */

static void globs(void **state)
{
	static const struct {
		const char *pattern, *name;
		int want; /* -1 = malformed */
	} rows[] = {
		{ "abc", "abc", 1 }, { "*", "abc", 1 }, { "*c", "abc", 1 }, { "a*", "a", 1 }, { "a*", "ab/c", 0 }, { "a*/b", "abc/b", 1 },
		{ "a*/b", "a/c/b", 0 }, { "a*b*c*d*e*/f", "axbxcxdxe/f", 1 }, { "a*b*c*d*e*/f", "axbxcxdxexxx/f", 1 },
		{ "a*b*c*d*e*/f", "axbxcxdxe/xxx/f", 0 }, { "a*b?c*x", "abxbbxdbxebxczzx", 1 }, { "a*b?c*x", "abxbbxdbxebxczzy", 0 },
		{ "ab[c]", "abc", 1 }, { "ab[b-d]", "abc", 1 }, { "ab[e-g]", "abc", 0 }, { "ab[^c]", "abc", 0 }, { "ab[^e-g]", "abc", 1 },
		{ "a\\*b", "a*b", 1 }, { "a\\*b", "ab", 0 }, { "a?b", "a\xe2\x98\xba" "b", 1 },
		{ "a[^a]b", "a\xe2\x98\xba" "b", 1 }, { "a???b", "a\xe2\x98\xba" "b", 0 },
		{ "[a-\xce\xb6]*", "\xce\xb1", 1 }, { "*[a-\xce\xb6]", "A", 0 }, { "a?b", "a/b", 0 }, { "a*b", "a/b", 0 }, { "[\\]a]", "]", 1 },
		{ "[x\xa4]", "x", -1 }, { "?\xa4*", "\xa4\xa4y", 1 },
		{ "\xa4", "\xa5", 0 }, { "[\\-x]", "-", 1 }, { "[]a]", "]", -1 }, { "[-]", "-", -1 }, { "[x-]", "x", -1 }, { "[-x]", "x", -1 }, { "\\", "a", -1 },
		{ "[a-b-c]", "a", -1 },
		{ "[", "a", -1 }, { "[^", "a", -1 }, { "a[", "ab", -1 }, { "*x", "xxx", 1 }, { "", "", 1 }, { "", "a", 0 }, { "**", "ab", 1 }, { "**", "a/b", 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_err struct err err = ERR_INIT;
		bool out = false;
		int rc = builder_glob(span_of(rows[i].pattern), span_of(rows[i].name), &out, &err);
		if ((rc < 0 ? -1 : out) != rows[i].want)
			fail_msg("%s against %s: %d", rows[i].pattern, rows[i].name, rc < 0 ? rc : out);
	}
	assert_true(builder_glob_is(SPAN("a*")) && builder_glob_is(SPAN("[a]")) && !builder_glob_is(SPAN("a.b")));
}

static void ignores(void **state)
{
	static const struct {
		const char *text, *out, *in; /* paths that are left out, and that are not */
	} rows[] = {
		{ "# comment\n\n  x  \n/y/\n", "x x/a y y/b/c", "xx a/x z" },
		{ "*.o\n**/*.tmp", "a.o a.tmp b/a.tmp b/c/a.tmp", "b/a.o o" },
		{ "**", "a a/b .x", "" },
		{ "*\n!keep\n!dir/file", "a dir dir/x", "keep keep/a dir/file" },
		{ "node_modules\n!node_modules/a\nnode_modules/a/b", "node_modules node_modules/x node_modules/a/b", "node_modules/a node_modules/a/c" },
		{ "a/**", "a/b a/b/c", "a ab/c" },
		{ "**/foo", "foo a/foo a/b/foo foo/x", "afoo foox" },
		{ "**foo", "foo afoo a/bfoo", "foox" },
		{ "a/*/c", "a/b/c a/b/c/d", "a/c a/b/d" },
		{ "a/**/c", "a/c a/b/c a/b/d/c", "a/b" },
		{ "a/../b", "b", "a" },
		{ "[ab].c\nx?", "a.c b.c x1", "c.c x x/1" },
		{ "a.b\n(x)\n", "a.b (x)", "aab x" },
		{ "\xef\xbb\xbf" "x\r\ny", "x y", "" },
		{ "", "", "a" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct builder_ignore ig;
		assert_int_equal(builder_ignore_parse(span_of(rows[i].text), &a, &ig, &err), 0);
		for (int in = 0; in < 2; in++) {
			struct span rest = span_of(in ? rows[i].in : rows[i].out), path;
			while (rest.len && span_cut(&rest, ' ', &path))
				if (builder_ignore_has(&ig, path) == in)
					fail_msg("row %zu (%s): %.*s", i, rows[i].text, SPAN_ARG(path));
		}
	}
	static const char *const bad[][2] = {
		{ "!", "illegal exclusion pattern: \"!\"" }, { "[", "syntax error in pattern" }, { "a\\", "syntax error in pattern" }
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct builder_ignore ig;
		assert_int_equal(builder_ignore_parse(span_of(bad[i][0]), &a, &ig, &err), -ERR_INVALID_REQUEST);
		assert_string_equal(err_msg(&err), bad[i][1]);
	}
}

static void gits(void **state)
{
	static const struct {
		const char *url, *remote, *ref, *subdir; /* remote NULL: no repository; ref NULL: refused, remote begins what is said */
	} rows[] = {
		{ "https://h/u/r.git", "https://h/u/r.git", "", "" },
		{ "https://h/u/r.git#v1", "https://h/u/r.git", "v1", "" },
		{ "http://h/r.git#v1:a/b", "http://h/r.git", "v1", "a/b" },
		{ "git://h/r#:a:b", "git://h/r", "", "a:b" },
		{ "github.com/u/r", "https://github.com/u/r", "", "" },
		{ "github.com/u/r#x", "https://github.com/u/r", "x", "" },
		{ "git@h:u/r.git#main", "git@h:u/r.git", "main", "" },
		{ "https://h/u/r.git#", NULL, NULL, NULL },
		{ "https://h/u/r.git?x=1", NULL, NULL, NULL },
		{ "https://h/Dockerfile", NULL, NULL, NULL },
		{ "file:///r.git", NULL, NULL, NULL },
		{ "ssh://git@h/r.git", NULL, NULL, NULL },
		{ "ext::sh -c id", NULL, NULL, NULL },
		{ "git://h/r#-o", "invalid refspec: -o", NULL, NULL },
		{ "git://h/r#a b", "invalid git URL", NULL, NULL },
		{ "git://h/r\n#a", "invalid git URL", NULL, NULL },
		{ "git@-oProxyCommand=x y:z", "invalid git URL", NULL, NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_arena struct arena a = {};
		auto_err struct err err = ERR_INIT;
		struct git_url u;
		struct span url = span_of(rows[i].url);
		if (builder_git_is(url) != (rows[i].remote != NULL))
			fail_msg("%s: a repository? %d", rows[i].url, builder_git_is(url));
		if (!rows[i].remote)
			continue;
		int rc = builder_git_parse(url, &a, &u, &err);
		if (!rows[i].ref) {
			assert_int_equal(rc, -ERR_INVALID_REQUEST);
			assert_true(span_starts(span_of(err_msg(&err)), span_of(rows[i].remote)));
			continue;
		}
		assert_int_equal(rc, 0);
		if (!span_is(u.remote, rows[i].remote) || !span_is(u.ref, rows[i].ref) || !span_is(u.subdir, rows[i].subdir))
			fail_msg("%s: %.*s, %.*s, %.*s", rows[i].url, SPAN_ARG(u.remote), SPAN_ARG(u.ref), SPAN_ARG(u.subdir));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files),     cmocka_unit_test(file_bounds), cmocka_unit_test(triggers),
		cmocka_unit_test(heredoc_tabs), cmocka_unit_test(mounts),   cmocka_unit_test(expansion),
		cmocka_unit_test(splitting), cmocka_unit_test(expansion_bounds), cmocka_unit_test(globs),
		cmocka_unit_test(ignores),   cmocka_unit_test(gits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
