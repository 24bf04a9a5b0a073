/* Files that change under a running server. Private to apiserver; of the first thread. */
#pragma once

#include "apiserver/files.h"
#include "apiserver/server.h"

/* Watches the folders of the files that flags name (and of our own certificates), so that what is rotated is obeyed
 * without a signal. */
int reload_start(struct worker *w, struct err *err);
void reload_stop(struct worker *w);
/* Reads everything again. What cannot be read, or is no good, stays as it was; the log says so. */
void reload_run(struct apiserver *s);

/* Runs fn(arg) once no thread can be using what it had when this was called: after each has begun another turn. Any thread. */
void reload_retire(struct apiserver *s, void (*fn)(void *arg), void *arg);
