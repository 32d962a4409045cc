/* Texts and parsed forms of the definitions used last.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/config-cache.h"

#include <string.h>

typedef struct Row {
    GList link; /* of by_use; its data is the row */
    Domain *domain;
    GBytes *text;
    bool is_public;
} Row;

static void row_free(gpointer data)
{
    Row *row = data;
    g_bytes_unref(row->text);
    g_free(row);
}

void config_cache_init(ConfigCache *cache)
{
    g_mutex_init(&cache->lock);
    cache->rows = g_hash_table_new_full(NULL, NULL, NULL, row_free);
    g_queue_init(&cache->by_use);
}

static void drop_locked(ConfigCache *cache, Domain *domain)
{
    Row *row = g_hash_table_lookup(cache->rows, domain);
    if (row) {
        cache->size -= g_bytes_get_size(row->text);
        g_queue_unlink(&cache->by_use, &row->link);
        g_hash_table_remove(cache->rows, domain);
    }
}

void config_cache_put(ConfigCache *cache, Domain *domain, const char *text, bool is_public)
{
    gsize size = strlen(text) + 1;
    g_mutex_lock(&cache->lock);
    drop_locked(cache, domain);
    while (cache->by_use.head && cache->size + size > CONFIG_TEXTS_MAX) {
        const Row *oldest = cache->by_use.head->data;
        drop_locked(cache, oldest->domain);
    }
    if (size <= CONFIG_TEXTS_MAX / 16) {
        Row *row = g_new0(Row, 1);
        row->link.data = row;
        row->domain = domain;
        row->text = g_bytes_new(text, size);
        row->is_public = is_public;
        cache->size += size;
        g_hash_table_insert(cache->rows, domain, row);
        g_queue_push_tail_link(&cache->by_use, &row->link);
    }
    g_mutex_unlock(&cache->lock);
}

GBytes *config_cache_get(ConfigCache *cache, Domain *domain, bool only_public)
{
    GBytes *text = NULL;
    g_mutex_lock(&cache->lock);
    Row *row = g_hash_table_lookup(cache->rows, domain);
    if (row && (row->is_public || !only_public)) {
        g_queue_unlink(&cache->by_use, &row->link);
        g_queue_push_tail_link(&cache->by_use, &row->link);
        text = g_bytes_ref(row->text);
    }
    g_mutex_unlock(&cache->lock);
    return text;
}

void config_cache_drop(ConfigCache *cache, Domain *domain)
{
    g_mutex_lock(&cache->lock);
    drop_locked(cache, domain);
    g_mutex_unlock(&cache->lock);
}

void config_cache_note_parsed(ConfigCache *cache, Domain *domain)
{
    g_mutex_lock(&cache->lock);
    Domain *oldest = cache->parsed[cache->next];
    cache->parsed[cache->next] = domain_ref(domain);
    cache->next = (cache->next + 1) % CONFIGS_PARSED_MAX;
    g_mutex_unlock(&cache->lock);
    if (!oldest) {
        return;
    }
    /* The lock of another domain must not be waited for with one held. One that is in use keeps
     * what it has until it is noted again. */
    if (oldest != domain && g_mutex_trylock(&oldest->lock)) {
        g_clear_pointer(&oldest->parsed_config, domain_def_free);
        g_mutex_unlock(&oldest->lock);
    }
    domain_unref(oldest);
}
