/* Table cells: what `kubectl get` shows of an object. Part of the seam of api.
 *
 * The columns of a kind are in its resource row (api_resource.columns); this makes the cells. Built-in kinds have a row of recipes
 * each in cells.c, custom resources a JSONPath per column (api_column.shows). Pure functions; ages count from now. */
#pragma once

#include "api/resource.h"
#include "json/json.h"

/* The cells of a row into cells, which has room for n_columns + API_TABLE_MORE; returns how many: one for each column, and what
 * upstream sends without a column (the age of an IPAddress). Strings live in the arena or the object. */
enum { API_TABLE_MORE = 1 };
unsigned api_table_cells(struct arena *a, const struct api_resource *resource, const struct json *object, int64_t now_unix_s,
		     struct json *cells);
/* Pods that have ended carry a row condition {type: Completed, status: True, reason: phase, message: ...}; else false. */
bool api_table_completed(const struct api_resource *resource, const struct json *object, struct span *out_reason);
/* Has a built-in kind recipes of its own (or else Name and Created At)? For tests of completeness. */
unsigned api_table_recipes(struct span group, struct span kind);
/* The Status column of a pod ("CrashLoopBackOff", "Init:0/1", "Terminating"). */
struct span api_pod_status_text(struct arena *a, const struct json *pod);
