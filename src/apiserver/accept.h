/* Content negotiation: what the client takes and what it sends. Private to apiserver. RFC 9110 section 12.5.1, and the
 * parameters as, v, g of Kubernetes. */
#pragma once

#include "base/base.h"

enum form { FORM_JSON, FORM_YAML, FORM_PROTO, FORM_COUNT };
/* What an object is answered as. */
enum shape { SHAPE_OBJECT, SHAPE_TABLE, SHAPE_PARTIAL, SHAPE_DISCOVERY_V2, SHAPE_DISCOVERY_V2BETA1, SHAPE_COUNT };

struct accepted {
	enum form form;
	enum shape shape;
	bool pretty; /* application/json;pretty=1 */
};

enum {				  /* what a handler can give */
       ACCEPT_PROTO = 1 << 0,	  /* protobuf */
       ACCEPT_SHAPES = 1 << 1,	  /* Table and PartialObjectMetadata (watch and list alike) */
       ACCEPT_DISCOVERY = 1 << 2, /* aggregated discovery */
       ACCEPT_YAML = 1 << 3,
};
/* The best of what the header (all Accept fields joined; empty = anything) asks for and can_do has: by q, then by the order in
 * the header. 0, or NOT_ACCEPTABLE in upstream's words. */
int accept_read(struct span header, unsigned can_do, struct accepted *out, struct err *err);
/* The Content-Type of an answer: "application/json", "application/vnd.kubernetes.protobuf;stream=watch" ... */
const char *accept_content_type(enum form form, bool watch);

/* Content-Type of a body: empty counts as JSON. UNSUPPORTED_MEDIA in upstream's words otherwise. */
int content_form(struct span content_type, bool proto, enum form *out, struct err *err);
/* A media type without its parameters, and one parameter (unquoted), for patch types. */
struct span media_type(struct span content_type);
bool media_param(struct span content_type, const char *name, struct span *out);
/* q of one clause of Accept in thousandths. */
int accept_quality(struct span clause);
