/* A stream decompressed ahead, by a thread of its own.
 *
 *     its thread:  from ── inflate ──▶ [ slot | slot | slot | slot ] ──▶ whoever pulls: hash, archive, files
 *                                        ▲ taken            ▲ made
 *
 * One layer alone then keeps two processors busy: decompressing is about as much work as hashing and writing what comes of it
 * (docs/decisions/0815). A slot is lent without a copy until the next pull. RELAY_SLOTS * TAR_PIECE_BYTES, 1 MB, is all that
 * a stream holds, however large it is.
 *
 * Invariants
 * 1. made - taken is between 0 and RELAY_SLOTS; the thread writes only into slot made % RELAY_SLOTS, and that one is not lent.
 * 2. `rc` and `why` are the thread's until `ended`, then the puller's. */
#include "image/private.h"

static void *run(void *arg)
{
	struct image_relay *r = arg;
	for (;;) {
		pthread_mutex_lock(&r->mutex);
		while (!r->stopped && r->made - r->taken == RELAY_SLOTS)
			pthread_cond_wait(&r->room, &r->mutex);
		bool stopped = r->stopped;
		struct relay_slot *slot = &r->slots[r->made % RELAY_SLOTS];
		pthread_mutex_unlock(&r->mutex);
		if (!slot->memory)
			slot->memory = mem_alloc(TAR_PIECE_BYTES);
		int rc = stopped ? 0 : tar_inflate_into(r->inflate, slot->memory, &slot->piece, &r->why);
		pthread_mutex_lock(&r->mutex);
		if (rc > 0) {
			r->made++;
		} else {
			r->rc = rc;
			r->ended = true;
		}
		bool worth = r->ended || r->made - r->taken >= 2;
		pthread_mutex_unlock(&r->mutex);
		if (worth) /* a sleeper is woken for two pieces, not for each */
			pthread_cond_signal(&r->more);
		if (rc <= 0)
			return NULL;
	}
}

static int relay_pull(struct tar_source *source, struct span *out_piece, struct err *err)
{
	struct image_relay *r = container_of(source, struct image_relay, source);
	pthread_mutex_lock(&r->mutex);
	if (r->lent) {
		r->lent = false;
		/* Nor is the other, before half of the slots are free. */
		if (r->made - ++r->taken <= RELAY_SLOTS / 2)
			pthread_cond_signal(&r->room);
	}
	while (r->made == r->taken && !r->ended)
		pthread_cond_wait(&r->more, &r->mutex);
	int rc = 1;
	if (r->made != r->taken) {
		*out_piece = r->slots[r->taken % RELAY_SLOTS].piece;
		r->lent = true;
	} else {
		rc = r->rc;
		if (rc < 0 && r->why.class)
			rc = err_move(err, &r->why);
	}
	pthread_mutex_unlock(&r->mutex);
	return rc;
}

int image_relay_begin(struct image_relay *r, struct tar_source *from, struct err *err)
{
	*r = (struct image_relay){ .source.pull = relay_pull, .why = ERR_INIT };
	pthread_mutex_init(&r->mutex, NULL);
	pthread_cond_init(&r->room, NULL);
	pthread_cond_init(&r->more, NULL);
	tar_inflate_new(from, 0, &r->inflate);
	int num = pthread_create(&r->thread, NULL, run, r);
	r->running = !num;
	if (!num)
		return 0;
	image_relay_end(r);
	return err_sys_num(err, num, "start a thread");
}

void image_relay_end(struct image_relay *r)
{
	if (r->running) {
		pthread_mutex_lock(&r->mutex);
		r->stopped = true;
		pthread_cond_signal(&r->room);
		pthread_mutex_unlock(&r->mutex);
		pthread_join(r->thread, NULL);
		r->running = false;
	}
	tar_inflate_free(r->inflate);
	r->inflate = NULL;
	for (size_t i = 0; i < RELAY_SLOTS; i++)
		free(r->slots[i].memory);
	err_done(&r->why);
	pthread_cond_destroy(&r->more);
	pthread_cond_destroy(&r->room);
	pthread_mutex_destroy(&r->mutex);
}
