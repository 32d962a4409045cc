/* Comma-separated key=value lists.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/options/keyval.h"

#include "gbase/error.h"
#include "gbase/strutil.h"

#include <string.h>

static void keyval_free(gpointer pair)
{
    Keyval *keyval = pair;
    g_free(keyval->key);
    g_free(keyval->value);
    g_free(keyval);
}

KeyvalList *keyval_list_new(void)
{
    KeyvalList *list = g_new0(KeyvalList, 1);
    list->pairs = g_ptr_array_new_with_free_func(keyval_free);
    return list;
}

void keyval_list_free(KeyvalList *list)
{
    if (list) {
        g_ptr_array_unref(list->pairs);
        g_free(list);
    }
}

static Keyval *add_pair(KeyvalList *list, const char *key, const char *value)
{
    Keyval *pair = g_new0(Keyval, 1);
    pair->key = g_strdup(key);
    pair->value = g_strdup(value);
    g_ptr_array_add(list->pairs, pair);
    return pair;
}

void keyval_add(KeyvalList *list, const char *key, const char *value)
{
    add_pair(list, key, value);
}

/* Reads up to the next single comma; ",," gives one. Returns what follows the comma, or NULL at the
 * end. */
static const char *next_item(const char *text, GString *item)
{
    g_string_truncate(item, 0);
    for (; *text; text++) {
        if (*text == ',') {
            if (text[1] != ',') {
                return text + 1;
            }
            text++;
        }
        g_string_append_c(item, *text);
    }
    return NULL;
}

static bool add_item(KeyvalList *list, const char *item, const char *implied, GError **error)
{
    const char *equals = strchr(item, '=');
    if (!*item || equals == item) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s",
                    *item ? "'=' without a name before it" : "a name is missing between commas");
        return false;
    }
    if (equals) {
        g_autofree char *key = g_strndup(item, (gsize)(equals - item));
        add_pair(list, key, equals + 1);
    } else if (implied) {
        add_pair(list, implied, item);
    } else {
        add_pair(list, item, "on")->is_bare = true;
    }
    return true;
}

KeyvalList *keyval_parse(const char *text, const char *implied, GError **error)
{
    g_autoptr(KeyvalList) list = keyval_list_new();
    g_autoptr(GString) item = g_string_new(NULL);
    do {
        text = next_item(text, item);
        /* "-device help": the word alone is never the value of an implied key. */
        bool is_help = !strcmp(item->str, "help") || !strcmp(item->str, "?");
        if (!add_item(list, is_help ? "help" : item->str, is_help ? NULL : implied, error)) {
            return NULL;
        }
        implied = NULL;
    } while (text);
    return g_steal_pointer(&list);
}

const char *keyval_get(const KeyvalList *list, const char *key)
{
    for (guint i = list->pairs->len; i; i--) {
        const Keyval *pair = g_ptr_array_index(list->pairs, i - 1);
        if (!strcmp(pair->key, key)) {
            return pair->value;
        }
    }
    return NULL;
}

bool keyval_has_word(const KeyvalList *list, const char *key)
{
    for (guint i = 0; i < list->pairs->len; i++) {
        const Keyval *pair = g_ptr_array_index(list->pairs, i);
        if (pair->is_bare && !strcmp(pair->key, key)) {
            return true;
        }
    }
    return false;
}

char *keyval_take(KeyvalList *list, const char *key)
{
    char *value = g_strdup(keyval_get(list, key));
    for (guint i = list->pairs->len; i; i--) {
        const Keyval *pair = g_ptr_array_index(list->pairs, i - 1);
        if (!strcmp(pair->key, key)) {
            g_ptr_array_remove_index(list->pairs, i - 1);
        }
    }
    return value;
}

static bool refuse_key(const char *key, const Property *table, GError **error)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    for (const Property *p = table; p->name; p++) {
        g_ptr_array_add(known, (void *)p->name);
    }
    g_ptr_array_add(known, NULL);
    const char *const *names = (const char *const *)known->pdata;
    g_autofree char *list = str_list_join(names);
    const char *near = str_closest(key, names);
    if (near) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "'%s' is not supported; did you mean '%s'?", key, near);
    } else {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "'%s' is not supported; it takes %s",
                    key, list);
    }
    return false;
}

bool keyval_apply(const KeyvalList *list, const Property *table, void *object, GError **error)
{
    for (guint i = 0; i < list->pairs->len; i++) {
        const Keyval *pair = g_ptr_array_index(list->pairs, i);
        const Property *property = property_find(table, pair->key);
        const char *value = pair->value;
        if (!property && pair->is_bare && g_str_has_prefix(pair->key, "no")) {
            property = property_find(table, pair->key + 2);
            value = "off";
        }
        if (!property) {
            return refuse_key(pair->key, table, error);
        }
        if (!property_set(property, object, value, error)) {
            return false;
        }
    }
    return true;
}

char *keyval_format(const KeyvalList *list)
{
    GString *out = g_string_new(NULL);
    for (guint i = 0; i < list->pairs->len; i++) {
        const Keyval *pair = g_ptr_array_index(list->pairs, i);
        g_string_append_printf(out, "%s%s=", i ? "," : "", pair->key);
        for (const char *p = pair->value; *p; p++) {
            g_string_append(out, *p == ',' ? ",," : (char[]){ *p, 0 });
        }
    }
    return g_string_free(out, FALSE);
}
