/* Feature gates of Kubernetes 1.33, as --feature-gates names them. Private to apiserver. */
#pragma once

#include "base/base.h"

/* "A=true,B=false". What a gate is by default is what this server does, so a value that says the same is taken; one that says
 * otherwise is refused, never ignored. Class USAGE; unknown names in upstream's words. */
int gates_parse(struct span text, struct err *err);
unsigned gates_n(void);
/* The i-th: its name, its stage ("ALPHA", "BETA", "", "DEPRECATED"; "" is GA, as the metric kubernetes_feature_enabled has it)
 * and whether it is on. */
const char *gates_at(unsigned i, const char **out_stage, bool *out_on);
