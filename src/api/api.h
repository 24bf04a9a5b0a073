/* The seam of api: the object model of Kubernetes, CRI and etcd. Parts, each a page of its own: */
#pragma once

#include "api/schema.h"   /* types and fields */
#include "api/resource.h" /* resources and registries */
#include "api/convert.h"  /* versions of one storage */
#include "api/codec.h"    /* JSON, YAML, protobuf */
#include "api/typed.h"    /* C structs of types */
#include "api/quantity.h" /* resource.Quantity */
#include "api/intstr.h"   /* int-or-string, percentages */
#include "api/times.h"    /* times, durations, ages */
#include "api/names.h"    /* syntax of names and addresses */
#include "api/fielderr.h" /* field errors */
#include "api/gotext.h"   /* how Go prints values */
#include "api/selector.h" /* label and field selectors */
#include "api/jsonpatch.h" /* JSON patch, merge patch */
#include "api/jsonpath.h"  /* JSONPath templates */
#include "api/smp.h"       /* strategic merge patch */
#include "api/fieldset.h"  /* sets of field paths */
#include "api/ssa.h"       /* server-side apply */
#include "api/cells.h"     /* table cells */
