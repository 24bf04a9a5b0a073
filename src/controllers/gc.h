/* The graph of owners and dependents, and what is to become of a node. The pure part of the garbage collector; private. */
#pragma once

#include "controllers/frame.h"

/* How an owner reference stands. */
enum gc_owner { GC_SOLID, GC_DANGLING, GC_WAITING };
enum gc_verdict {
	GC_KEEP,
	GC_DROP_REFS,          /* some owners live: the references to the others go */
	GC_DELETE,             /* by the policy that its own finalizers ask for, else in the background */
	GC_DELETE_FOREGROUND,  /* an owner waits for it, and it has dependents of its own */
	GC_UNBLOCK_FOREGROUND, /* the same, but they wait for each other: first it stops blocking */
};
/* Pure: upstream's attemptToDeleteItem behind its questions. circle: a dependent of the node itself waits for its dependents. */
enum gc_verdict gc_verdict_of(const enum gc_owner *owners, unsigned n, bool has_dependents, bool circle);
