/* What is kept in memory of persistent definitions.
 *
 * A daemon may hold ten thousand definitions of which few are looked at: their files are the truth.
 * Of those used last the text is kept up to a number of bytes, and the parsed form of a few.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_CONFIG_CACHE_H
#define LODGE_DAEMON_DOMAIN_CONFIG_CACHE_H

#include "daemon/domain/domain.h"

#include <glib.h>
#include <stdbool.h>

#define CONFIG_TEXTS_MAX (16u << 20)
#define CONFIGS_PARSED_MAX 64u

typedef struct ConfigCache {
    GMutex lock;      /* a leaf: taken after a domain's */
    GHashTable *rows; /* Domain (borrowed) -> row */
    GQueue by_use;    /* of rows, the one used last at the tail */
    gsize size;
    Domain *parsed[CONFIGS_PARSED_MAX]; /* references or NULL; the oldest is at @next */
    unsigned next;
} ConfigCache;

void config_cache_init(ConfigCache *cache);

/* Keeps @text, as the file has it. @is_public: it holds no secrets, so that all may read it. */
void config_cache_put(ConfigCache *cache, Domain *domain, const char *text, bool is_public);

/* The text (transfer full) or NULL; with @only_public only one that holds no secrets. */
GBytes *config_cache_get(ConfigCache *cache, Domain *domain, bool only_public);

/* The definition changed or went. */
void config_cache_drop(ConfigCache *cache, Domain *domain);

/* @domain has a parsed definition now: that of the one which has had it longest is freed. With
 * @domain's lock. */
void config_cache_note_parsed(ConfigCache *cache, Domain *domain);

#endif
