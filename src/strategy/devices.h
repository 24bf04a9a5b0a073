/* What the kinds of resource.k8s.io share. Private to strategy. */
#pragma once

#include "strategy/check.h"

/* Runs a check that is written for what is stored on objects of any version. */
void check_device_as_stored(struct check *c, const struct json *object, const struct json *old, check_fn *check);

/* Parts of one or more DNS subdomains with "/" between, 253 bytes at most. */
void check_device_pool_name(struct check *c, const struct path *at, struct span name);
/* The name of an attribute or a capacity: a C identifier, behind a domain and "/" if it has one; domain: it must. */
void check_device_attribute_name(struct check *c, const struct path *at, struct span name, bool domain);
