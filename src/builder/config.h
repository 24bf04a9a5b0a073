/* What instructions do to an image's configuration, and the words that its history keeps of them. Pure. Private. */
#pragma once

#include "builder/plan.h"

struct config {
	struct arena *a;
	struct json doc;    /* ContainerConfig */
	struct span author; /* MAINTAINER */
	bool cmd_set;       /* CMD was given in this stage: ENTRYPOINT leaves it */
	char escape;
	struct vars *vars;
};
/* Begins a stage upon an image's configuration (NULL: scratch): PATH is there, triggers are taken out.
 * *out_triggers: its OnBuild. */
void builder_config_begin(struct config *c, const struct json *image, struct json *out_triggers);
/* ENV, then ARG. For builder_expand. */
struct builder_scope builder_config_scope(struct config *c);
/* CMD, ENTRYPOINT, ENV, LABEL, EXPOSE, VOLUME, USER, WORKDIR, STOPSIGNAL, HEALTHCHECK, ONBUILD, SHELL, MAINTAINER, ARG. *out_said:
 * "CMD [\"a\" \"b\"]", as history says it behind "#(nop) ". */
int builder_config_apply(struct config *c, const struct builder_instruction *in, struct span *out_said, struct err *err);
/* One LABEL of the request: "LABEL a=b". */
void builder_config_label(struct config *c, const struct json_member *label, struct span *out_said);
/* A command line's words: of the exec form as they are, else behind the shell. */
struct json builder_config_command(struct config *c, const struct builder_instruction *in);
struct json builder_config_shell(struct config *c); /* SHELL's words, a copy */
/* Docker's document: every member that it always has, in its order. cmd, image: replace Cmd and Image; NULL = as they are. */
void builder_config_write(struct json_out *o, const struct json *doc, const struct json *cmd, struct span image);
/* An absolute path without ".", "..", double slashes and, but for "/", a last one. */
struct span builder_path_clean(struct arena *a, struct span path);
/* Go's %q of a string. */
void builder_quote(struct buf *out, struct span s);
int builder_duration(struct span text, int64_t *out_ns, struct err *err); /* Go's time.ParseDuration */
