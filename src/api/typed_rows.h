/* Where the members of typed structs are; made by tools/gen/api_typed.py. Private to api. */
#pragma once

#include "api/rows.h"
#include "api/typed.h"

struct api_member { /* one a field of the type, in the type's order */
	uint16_t at;
	uint16_t has; /* of the presence flag; 0 = none */
};
struct api_typed_row { /* by enum api_typed */
	uint16_t type;  /* in api_t_types */
	uint16_t first; /* of its members in api_t_members */
	uint32_t size;
};
extern const struct api_member api_t_members[];
extern const struct api_typed_row api_t_typed[];
extern const uint16_t api_t_typed_of[]; /* by type: enum api_typed + 1, 0 = no struct */
