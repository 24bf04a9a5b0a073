/* Private to yaml: what its files share. */
#pragma once

#include "yaml/yaml.h"

/* What a scalar is, after its tag and text were looked at. */
enum yaml_type {
	YAML_TYPE_NULL,
	YAML_TYPE_BOOL,
	YAML_TYPE_INT,
	YAML_TYPE_FLOAT,
	YAML_TYPE_STRING,
	YAML_TYPE_TIMESTAMP,
};

/* The type of a plain scalar without a tag; *out is its value (of a string and a timestamp: the text itself). */
enum yaml_type yaml_resolve(struct span text, struct json *out);
/* Whether go-yaml takes the text for a time. */
bool yaml_is_timestamp(struct span text);
/* Go's strconv.FormatFloat(d, 'g', -1, bits) of a finite d: shortest, with an exponent when that is below -4 or
 * above 5. bits is 32 or 64. */
void yaml_float_text(struct buf *out, double d, int bits);
/* Go's order of map keys in YAML output: -1, 0 or 1. */
int yaml_key_cmp(struct span a, struct span b);
