/* A doubly linked list whose links sit inside the element.
 *
 *     struct list waiting;  list_init(&waiting);
 *     list_push(&waiting, &req->link);
 *     LIST_EACH(&waiting, r, struct request, link) ...      // r may be removed inside the loop
 *
 * A link that was initialised or removed points at itself, so list_remove twice is harmless. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "base/auto.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}
static inline void list_insert_after_(struct list *at, struct list *link)
{
	link->next = at->next;
	link->prev = at;
	at->next->prev = link;
	at->next = link;
}
static inline void list_push(struct list *head, struct list *link) /* at the end */
{
	list_insert_after_(head->prev, link);
}
static inline void list_push_front(struct list *head, struct list *link)
{
	list_insert_after_(head, link);
}
static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}
static inline struct list *list_pop(struct list *head) /* the first, or NULL */
{
	struct list *l = head->next;
	if (l == head)
		return NULL;
	/* As list_remove, with head named: readers and analyzers see that l is its first no more. */
	head->next = l->next;
	l->next->prev = head;
	list_init(l);
	return l;
}
/* Moves all of from to the end of to. */
static inline void list_append(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define LIST_ENTRY(link, type, member) container_of(link, type, member)
#define LIST_FIRST(head, type, member) (list_empty(head) ? NULL : LIST_ENTRY((head)->next, type, member))
#define LIST_LAST(head, type, member) (list_empty(head) ? NULL : LIST_ENTRY((head)->prev, type, member))
#define LIST_POP(head, type, member)                                                                                   \
	({ struct list *popped_ = list_pop(head); popped_ ? LIST_ENTRY(popped_, type, member) : NULL; })
#define LIST_EACH(head, var, type, member)                                                                             \
	for (type *var = LIST_ENTRY((head)->next, type, member),                                                       \
		  *var##_next_ = LIST_ENTRY(var->member.next, type, member);                                           \
	     &var->member != (head); var = var##_next_, var##_next_ = LIST_ENTRY(var->member.next, type, member))
