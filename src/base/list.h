/* Intrusive doubly linked list. A head and an unlinked node point to themselves.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_BASE_LIST_H
#define LODGE_BASE_LIST_H

#include "base/compiler.h"

#include <stdbool.h>

typedef struct List {
    struct List *next, *prev;
} List;

static inline void list_init(List *list)
{
    list->next = list->prev = list;
}

static inline bool list_is_empty(const List *list)
{
    return list->next == list;
}

static inline void list_insert_before(List *where, List *node)
{
    node->prev = where->prev;
    node->next = where;
    where->prev->next = node;
    where->prev = node;
}

static inline void list_append(List *list, List *node)
{
    list_insert_before(list, node);
}

static inline void list_prepend(List *list, List *node)
{
    list_insert_before(list->next, node);
}

/* Unlinks @node; removing an unlinked node does nothing. */
static inline void list_remove(List *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_first(list, type, member)                                                             \
    (list_is_empty(list) ? NULL : list_entry((list)->next, type, member))

/* @item may be removed from the list inside the loop. */
#define list_for_each(list, item, type, member)                                                    \
    for (List *item##_node = (list)->next, *item##_next = item##_node->next;                       \
         item##_node != (list); item##_node = item##_next, item##_next = item##_node->next)        \
        for (type *item = list_entry(item##_node, type, member); item; item = NULL)

#endif
