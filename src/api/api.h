/* The seam of api: the object model of Kubernetes, CRI and etcd. Parts, each a page of its own: */
#pragma once

#include "api/schema.h"   /* types and fields */
#include "api/resource.h" /* resources and registries */
#include "api/codec.h"    /* JSON, YAML, protobuf */
