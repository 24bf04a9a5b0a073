/* A gate says what a release does unless told otherwise; here there is nothing to be told. */
#include "apiserver/gates.h"

enum stage { ALPHA, BETA, GA, DEPRECATED, STAGE_COUNT };
static const char *const stages[STAGE_COUNT] = { "ALPHA", "BETA", "", "DEPRECATED" };

/* The names one behind the other, and where each begins: a pointer would be private memory of every process. */
struct names {
#define GATE(name, stage, on, locked) char name[sizeof(#name)];
#include "apiserver/gates.def"
#undef GATE
};
static const struct names names = {
#define GATE(name, stage, on, locked) #name,
#include "apiserver/gates.def"
#undef GATE
};
static const struct gate {
	uint16_t name_at;
	uint8_t stage;
	bool on : 1, locked : 1;
} gates[] = {
#define GATE(name, stage, on, locked) { offsetof(struct names, name), stage, on, locked },
#include "apiserver/gates.def"
#undef GATE
};

static const char *name_of(const struct gate *g)
{
	return (const char *)&names + g->name_at;
}

unsigned gates_n(void)
{
	return ARRAY_LEN(gates);
}

const char *gates_at(unsigned i, const char **out_stage, bool *out_on)
{
	*out_stage = stages[gates[i].stage];
	*out_on = gates[i].on;
	return name_of(&gates[i]);
}

static int gate_set(struct span name, bool on, struct err *err)
{
	if (span_is(name, "AllAlpha") && !on)
		return 0; /* as they are */
	if (span_is(name, "AllAlpha") || span_is(name, "AllBeta"))
		return err_set(err, ERR_USAGE, "feature gate %.*s=%s: this server cannot switch a whole stage",
			       SPAN_ARG(name), on ? "true" : "false");
	for (size_t i = 0; i < ARRAY_LEN(gates); i++) {
		const struct gate *g = &gates[i];
		if (!span_is(name, name_of(g)))
			continue;
		if (on == g->on)
			return 0;
		const char *word = on ? "true" : "false";
		if (g->locked)
			return err_set(err, ERR_USAGE, "cannot set feature gate %s to %s, feature is locked to %s", name_of(g),
				       word, g->on ? "true" : "false");
		return err_set(err, ERR_USAGE, "feature gate %s=%s: this server has no such switch, it is always %s", name_of(g),
			       word, g->on ? "on" : "off");
	}
	return err_set(err, ERR_USAGE, "unrecognized feature gate: %.*s", SPAN_ARG(name));
}

int gates_parse(struct span text, struct err *err)
{
	struct span rest = text, one, name, value;
	while (span_cut(&rest, ',', &one)) {
		bool on;
		one = span_trim(one);
		if (!one.len)
			continue;
		if (!span_split(one, '=', &name, &value))
			return err_set(err, ERR_USAGE, "missing bool value for %.*s", SPAN_ARG(one));
		name = span_trim(name);
		value = span_trim(value);
		if (!span_to_bool(value, &on))
			return err_set(err, ERR_USAGE,
				       "invalid value of %.*s=%.*s, err: strconv.ParseBool: parsing \"%.*s\": invalid syntax",
				       SPAN_ARG(name), SPAN_ARG(value), SPAN_ARG(value));
		int rc = gate_set(name, on, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}
