/* The conversions of convert.c's rows. Private to api. */
#pragma once

#include "api/convert.h"

void api_convert_event_from_core(struct arena *a, struct json *event);
void api_convert_event_to_core(struct arena *a, struct json *event);
void api_convert_hpa_to_v1(struct arena *a, struct json *hpa);
void api_convert_hpa_from_v1(struct arena *a, struct json *hpa);
/* v2 needs none of the annotations: those that are there are not believed. */
void api_convert_hpa_clean(struct arena *a, struct json *hpa);

void api_convert_claim_to_v1beta2(struct arena *a, struct json *claim);
void api_convert_claim_from_v1beta2(struct arena *a, struct json *claim);
void api_convert_template_to_v1beta2(struct arena *a, struct json *template);
void api_convert_template_from_v1beta2(struct arena *a, struct json *template);
void api_convert_slice_to_v1beta2(struct arena *a, struct json *slice);
void api_convert_slice_from_v1beta2(struct arena *a, struct json *slice);
void api_convert_slice_to_v1alpha3(struct arena *a, struct json *slice);
void api_convert_slice_from_v1alpha3(struct arena *a, struct json *slice);
