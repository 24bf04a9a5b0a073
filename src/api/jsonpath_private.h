/* The parsed form of a JSONPath template: made by jsonpath_parse.c, run by jsonpath.c. */
#pragma once

#include "api/jsonpath.h"

enum node_kind {
	NODE_TEXT,
	NODE_ACTION,     /* one {...}, or one member of a union */
	NODE_FIELD,
	NODE_ARRAY,
	NODE_FILTER,
	NODE_INT,
	NODE_FLOAT,
	NODE_BOOL,
	NODE_WILDCARD,
	NODE_RECURSIVE,
	NODE_UNION,      /* list: its actions */
	NODE_IDENTIFIER,
};

struct node_list {
	struct node *first, *last;
};

struct bound {
	bool known, derived;
	int64_t value;
};

struct node {
	enum node_kind kind;
	struct node *next;
	struct span text;       /* TEXT, FIELD, IDENTIFIER; operator of FILTER, "exists" when there is none */
	struct node_list list;  /* ACTION, UNION; left side of FILTER */
	struct node_list right; /* FILTER */
	struct bound bounds[3]; /* ARRAY: from, to, step */
	union {
		int64_t i;
		double d;
		bool b;
	};
};

struct api_jsonpath {
	struct node_list root; /* TEXT and ACTION nodes */
};
