/* Quantities: Kubernetes' resource.Quantity, exact. Part of the seam of api.
 *
 * A quantity is a whole number of nano units with a format; anything finer was rounded up (away from zero) when it was
 * read, as the real one does. Values are plain structs: copy them, no memory is owned, nothing is shared.
 *
 *     struct api_quantity q;
 *     if (api_quantity_parse(SPAN("1500m"), &q, err) < 0) ...
 *     api_quantity_value(&q);   // 2, rounded up
 *     api_quantity_print(&q, &out);   // "1500m"
 *
 * Bounds, where the real one has none: 130 digits and 10^120 in magnitude; past them the error is the real one's
 * for a number that cannot be read. Binary quantities are capped at 2^63-1 when read, as in the real one. Where
 * the real one prints a number without its suffix because there is none that large (1000E becomes "1"), ours keeps the
 * largest suffix and stays the same number ("1000E").
 */
#pragma once

#include "base/base.h"

enum api_quantity_format { API_QUANTITY_DECIMAL, API_QUANTITY_BINARY, API_QUANTITY_EXPONENT };

#define API_QUANTITY_LIMBS 8
struct api_quantity {
	uint64_t nano[API_QUANTITY_LIMBS]; /* magnitude in nano units, lowest limb first */
	int8_t sign;                       /* -1, 0, 1; 0 exactly when nano is 0 */
	uint8_t format;                    /* enum api_quantity_format */
};

/* Class INVALID_REQUEST with the real words, "quantities must match the regular expression '...'". Blanks are not skipped. */
int api_quantity_parse(struct span in, struct api_quantity *out, struct err *err);
/* The canonical text, appended. */
void api_quantity_print(const struct api_quantity *q, struct buf *out);
/* What the text becomes by being decoded and encoded again, appended: blanks around it go, and a text that is already
 * in canonical magnitude stays letter by letter ("+5", "1E3", "0.5Gi" becomes "512Mi"). */
int api_quantity_canon(struct span in, struct buf *out, struct err *err);

/* value × 10^scale; scale from -9 to 18. */
struct api_quantity api_quantity_of(int64_t value, int scale, enum api_quantity_format format);

int api_quantity_cmp(const struct api_quantity *a, const struct api_quantity *b);
static inline int api_quantity_sign(const struct api_quantity *q)
{
	return q->sign;
}
/* *q += y. A zero *q takes y's format first. Sums past the struct's 512 bits stay at its largest value. */
void api_quantity_add(struct api_quantity *q, const struct api_quantity *y);
void api_quantity_sub(struct api_quantity *q, const struct api_quantity *y);
void api_quantity_mul(struct api_quantity *q, int64_t factor);
void api_quantity_neg(struct api_quantity *q);

/* In units of 10^scale (-9 to 18), rounded away from zero; past int64 the nearest of its ends. */
int64_t api_quantity_scaled(const struct api_quantity *q, int scale);
static inline int64_t api_quantity_value(const struct api_quantity *q)
{
	return api_quantity_scaled(q, 0);
}
static inline int64_t api_quantity_milli(const struct api_quantity *q)
{
	return api_quantity_scaled(q, -3);
}
/* Rounds to a multiple of 10^scale, away from zero; true when nothing changed. */
bool api_quantity_round_up(struct api_quantity *q, int scale);
double api_quantity_double(const struct api_quantity *q);
