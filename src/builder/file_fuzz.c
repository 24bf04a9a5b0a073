/* A Dockerfile that is accepted: every instruction's words can be expanded or are refused, and as an image's trigger it is refused
 * or one that may be run. */
#include "builder/builder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool get(void *arg, struct span name, struct span *out)
{
	*out = SPAN("va lue");
	return name.len % 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena struct arena a = {};
	auto_err struct err err = ERR_INIT;
	struct builder_file f;
	if (builder_file_parse(span_make(data, size), &a, &f, &err) < 0) {
		assert(err.class == ERR_INVALID_REQUEST);
		return 0;
	}
	const struct builder_scope scope = { .escape = f.escape, .get = get };
	for (size_t s = 0; s < f.n_stages; s++)
		for (size_t i = 0; i < f.stages[s].n; i++) {
			const struct builder_instruction *in = &f.stages[s].items[i];
			struct builder_instruction again;
			struct builder_mount m;
			struct span word, *words;
			size_t n;
			assert(in->line && in->end_line >= in->line && in->code.len);
			for (size_t w = 0; w < in->n_args; w++)
				(void)builder_expand(in->args[w], &scope, &a, &word, NULL);
			for (size_t w = 0; w < in->n_pairs; w++)
				(void)builder_expand_words(in->pairs[w].value, &scope, &a, &words, &n, NULL);
			for (size_t w = 0; w < in->n_flags; w++)
				(void)builder_mount_parse(in->flags[w].value, &a, &m, NULL);
			/* An image's trigger may be any text. */
			const struct span triggers[] = { in->trigger, in->code, f.stages[s].from->code };
			for (size_t w = 0; w < ARRAY_LEN(triggers); w++)
				if (builder_trigger_parse(triggers[w], &a, &again, NULL) == 0)
					assert(again.op != BUILDER_FROM && again.op != BUILDER_MAINTAINER && again.op != BUILDER_ONBUILD);
		}
	return 0;
}
