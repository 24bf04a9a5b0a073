/* How Go prints values: the error texts of Kubernetes are full of %q and %v, and people search for them word for word.
 * Part of the seam of api: error texts quote this way. */
#pragma once

#include "base/base.h"
#include "json/json.h"

/* strconv.Quote (%q): printable UTF-8 stays, the rest becomes \n, \x00, \u00a0 and so on. Appended, quotes included. */
void api_go_quote(struct buf *out, struct span s);
/* fmt's %v of a decoded JSON value: map[a:1 b:[x y]], <nil>, strings bare, numbers as float64 or int64. */
void api_go_value(struct buf *out, const struct json *v);
/* fmt's %T of a decoded JSON value as Kubernetes decodes it: string, int64, float64, bool, map[string]interface {},
 * []interface {}, <nil>. */
const char *api_go_type(const struct json *v);
/* fmt's %v of a float64: shortest digits, exponent form below 1e-4 and from 1e6 on. */
void api_go_float(struct buf *out, double d);
