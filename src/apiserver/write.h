/* What the writing verbs share. Private to apiserver. */
#pragma once

#include "apiserver/server.h"

/* Decodes the body as a type; kind is for the message. */
int write_decode(struct call *c, const struct api_type *type, struct span kind, struct json *out);
/* Takes a snapshot into c->snap, appends the key, reads the object; NULL with c->err NONE when there is none. */
const struct store_item *write_current(struct call *c, struct buf *key, struct json *out);
/* System fields, defaults, strategy, managers, validation, encoding into c->value. */
int write_finish(struct call *c, struct json *object, const struct json *old, bool tracked);
/* Commits c->value at the key if its revision is still seen_rev (0: it must not exist). c->written or c->again follows. */
void write_put(struct call *c, struct span key, int64_t seen_rev);
/* An update or a patch of what is not there: finishes the object and commits it, answers a dry run, or fails the call. */
void write_fresh(struct call *c, struct span key, struct json *object, bool tracked);
void write_commit(struct call *c, struct store_txn *txn);
void write_answer(struct call *c, int64_t rev); /* c->value as the object */
int write_conflict(struct call *c);
/* Server-side apply's view of the call: the resource's type and version, the sub-resource. */
struct api_ssa write_ssa(struct call *c);
struct span write_now(struct call *c);
void write_namespace_key(struct buf *out, struct span ns);

/* ---- what updates and patches share */
enum write_fields { FIELDS_WARN, FIELDS_STRICT, FIELDS_IGNORE }; /* ?fieldValidation= */
int write_field_validation(struct call *c, enum write_fields *out);
int write_found_fields(struct call *c, const struct api_decode *d, enum write_fields how); /* the warnings */
/* apiVersion, kind and namespace of an object must be the request's, or absent. */
int write_kind_agree(struct call *c, const struct json *object);
int write_namespace_agree(struct call *c, struct json *object);
struct json *write_meta(struct call *c, struct json *object); /* metadata, made when absent */
/* Commits c->value over `it`, deletes what has lost its last finalizer, or answers at once when nothing changed. */
void write_change(struct call *c, struct span key, const struct store_item *it, const struct json *object);
/* After a lost race: the change is computed anew, until there were too many. */
void write_again(struct call *c, void (*try)(struct call *c));

/* ---- patch.c */
void patch_begin(struct call *c); /* the body is there */
/* A JSON, merge or strategic patch of a tree of that type (Scale); the result is checked. */
int patch_tree(struct call *c, const struct api_type *type, const struct json *old, struct json *out);
/* Is it a server-side apply? Then: its patch, and who applies. */
bool patch_is_apply(struct call *c);
int patch_apply_read(struct call *c, struct json *out_patch, struct span *out_manager);
