/* Building transactions, and what every call has in common. A mistake while building is kept in call.err and answered
 * like any refusal, so that a builder is a plain list of lines. */
#include "store/store_private.h"

struct store_txn *store_txn_new(void)
{
	struct store_txn *t = mem_new(struct store_txn);
	list_init(&t->call.link_);
	t->call.kind_ = CALL_TXN;
	return t;
}

void store_txn_results_clear(struct store_txn *t)
{
	for (size_t i = 0; i < t->n_results; i++) {
		struct store_result *r = &t->results[i];
		for (size_t k = 0; k < r->n_items; k++)
			store_item_unref(r->items[k]);
		for (size_t k = 0; k < r->n_prev; k++)
			store_item_unref(r->prev[k]);
		free(r->items);
		free(r->prev);
	}
	free(t->results);
	t->results = NULL;
	t->n_results = 0;
	t->held = false;
}

static void txn_done(struct store_txn *t)
{
	store_txn_results_clear(t);
	for (size_t i = 0; i < t->n_compares; i++) {
		bytes_unref(t->compares[i].key);
		bytes_unref(t->compares[i].value);
	}
	for (size_t i = 0; i < t->n_ops; i++) {
		bytes_unref(t->ops[i].key);
		bytes_unref(t->ops[i].value);
	}
	free(t->compares);
	free(t->ops);
}

void store_call_free(struct store_call *call)
{
	if (call->kind_ == CALL_TXN)
		txn_done((struct store_txn *)call);
	else
		bytes_unref(((struct other_call *)call)->key);
	for (size_t i = 0; i < call->n_versions; i++) {
		bytes_unref(call->versions[i].value);
		free((void *)call->versions[i].key.ptr);
	}
	free(call->versions);
	err_done(&call->err);
	free(call);
}

void store_txn_free(struct store_txn *t)
{
	if (t)
		store_call_free(&t->call);
}

static bool good(struct store_txn *t, size_t n, struct span key, bool may_be_empty)
{
	if (t->call.err.class)
		return false;
	if (n >= STORE_TXN_OPS_MAX)
		err_set(&t->call.err, ERR_TOO_LARGE, "a transaction takes at most %d compares and operations each",
			STORE_TXN_OPS_MAX);
	else if (key.len > STORE_KEY_MAX)
		err_set(&t->call.err, ERR_TOO_LARGE, "key of %zu bytes is longer than %d", key.len, STORE_KEY_MAX);
	else if (!key.len && !may_be_empty)
		err_set(&t->call.err, ERR_INVALID_REQUEST, "key is empty");
	else
		return true;
	return false;
}

static void compare_add(struct store_txn *t, struct span key, struct txn_compare c)
{
	if (!good(t, t->n_compares, key, false))
		return;
	c.key = bytes_of(key);
	MEM_GROW(t->compares, t->n_compares, t->cap_compares);
	t->compares[t->n_compares++] = c;
}

void store_txn_if(struct store_txn *t, struct span key, enum store_field field, enum store_compare how, int64_t number)
{
	assert(field < STORE_VALUE);
	compare_add(t, key, (struct txn_compare){ .number = number, .field = (uint8_t)field, .how = (uint8_t)how });
}

void store_txn_if_value(struct store_txn *t, struct span key, enum store_compare how, struct span value)
{
	auto_bytes struct bytes *v = bytes_of(value);
	size_t before = t->n_compares;
	compare_add(t, key, (struct txn_compare){ .field = STORE_VALUE, .how = (uint8_t)how });
	if (t->n_compares > before)
		t->compares[before].value = take(&v);
}

static struct txn_op *op_add(struct store_txn *t, enum store_branch b, struct span key, enum op_kind kind, bool may_be_empty)
{
	if (!good(t, t->n_ops, key, may_be_empty))
		return NULL;
	MEM_GROW(t->ops, t->n_ops, t->cap_ops);
	struct txn_op *op = &t->ops[t->n_ops++];
	*op = (struct txn_op){ .key = bytes_of(key), .kind = (uint8_t)kind, .branch = (uint8_t)b };
	return op;
}

void store_txn_put(struct store_txn *t, enum store_branch b, struct span key, struct bytes *value, int64_t lease)
{
	if (value->len > STORE_VALUE_MAX) {
		if (!t->call.err.class)
			err_set(&t->call.err, ERR_TOO_LARGE, "value of %zu bytes is larger than %d", value->len, STORE_VALUE_MAX);
		return;
	}
	struct txn_op *op = op_add(t, b, key, OP_PUT, false);
	if (!op)
		return;
	op->value = bytes_ref(value);
	op->lease = lease;
	t->bytes += key.len + value->len;
}

void store_txn_delete(struct store_txn *t, enum store_branch b, struct span key)
{
	(void)op_add(t, b, key, OP_DELETE, false);
}

void store_txn_delete_prefix(struct store_txn *t, enum store_branch b, struct span prefix)
{
	(void)op_add(t, b, prefix, OP_DELETE_PREFIX, true);
}

void store_txn_get(struct store_txn *t, enum store_branch b, struct span key)
{
	(void)op_add(t, b, key, OP_GET, false);
}

void store_txn_range(struct store_txn *t, enum store_branch b, struct span prefix, uint32_t limit, bool count_only)
{
	struct txn_op *op = op_add(t, b, prefix, OP_RANGE, true);
	if (!op)
		return;
	op->limit = limit && limit < 65536 ? limit : 65536;
	op->count_only = count_only;
}

void store_txn_volatile(struct store_txn *t)
{
	t->dirt = DIRT_VOLATILE;
}

void store_txn_fleeting(struct store_txn *t)
{
	t->dirt = DIRT_FLEETING;
}

bool store_txn_held(const struct store_call *call)
{
	assert(call->kind_ == CALL_TXN);
	return ((const struct store_txn *)call)->held;
}

size_t store_txn_results(const struct store_call *call, const struct store_result **out_results)
{
	assert(call->kind_ == CALL_TXN);
	const struct store_txn *t = (const struct store_txn *)call;
	*out_results = t->results;
	return t->n_results;
}
