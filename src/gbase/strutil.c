/* Strings: the nearest known word, and lists for messages.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gbase/strutil.h"

#include <errno.h>
#include <string.h>

#define WORD_MAX 63
#define LISTED_CHOICES_MAX 24

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

unsigned str_edit_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    if (la > WORD_MAX || lb > WORD_MAX) {
        return (unsigned)MAX(la, lb);
    }
    unsigned rows[3][WORD_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= lb; j++) {
        above[j] = (unsigned)j;
        before[j] = 0;
    }
    for (size_t i = 1; i <= la; i++) {
        row[0] = (unsigned)i;
        char ca = g_ascii_tolower(a[i - 1]);
        for (size_t j = 1; j <= lb; j++) {
            char cb = g_ascii_tolower(b[j - 1]);
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (ca != cb));
            bool swapped = i > 1 && j > 1 && ca == g_ascii_tolower(b[j - 2]) &&
                           cb == g_ascii_tolower(a[i - 2]);
            if (swapped && before[j - 2] + 1 < row[j]) {
                row[j] = before[j - 2] + 1;
            }
        }
        unsigned *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[lb];
}

const char *str_closest(const char *word, const char *const *choices)
{
    const char *best = NULL;
    unsigned best_distance = 1 + (unsigned)strlen(word) / 3;
    for (; *choices; choices++) {
        unsigned distance = str_edit_distance(word, *choices);
        if (distance < best_distance || (distance == best_distance && !best)) {
            best = *choices;
            best_distance = distance;
        }
    }
    return best;
}

char *str_list_join(const char *const *words)
{
    return g_strjoinv(", ", (char **)words);
}

char *str_did_you_mean(const char *word, const char *const *choices)
{
    const char *near = str_closest(word, choices);
    return near ? g_strdup_printf("; did you mean '%s'?", near) : g_strdup("");
}

char *str_suggestion(const char *word, const char *const *choices)
{
    g_autofree char *near = str_did_you_mean(word, choices);
    if (*near) {
        return g_steal_pointer(&near);
    }
    unsigned count = g_strv_length((char **)choices);
    if (!count || count > LISTED_CHOICES_MAX) {
        return g_strdup("");
    }
    g_autofree char *list = str_list_join(choices);
    return g_strdup_printf("; supported: %s", list);
}

bool str_parse_bool(const char *text, bool *out_value)
{
    static const char *const yes[] = { "on", "yes", "true", "1", NULL };
    static const char *const no[] = { "off", "no", "false", "0", NULL };
    if (g_strv_contains(yes, text)) {
        *out_value = true;
        return true;
    }
    if (g_strv_contains(no, text)) {
        *out_value = false;
        return true;
    }
    return false;
}

bool str_is_id(const char *text)
{
    static const char allowed[] = G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-._";
    return g_ascii_isalpha(*text) && strspn(text, allowed) == strlen(text);
}

bool str_parse_u64(const char *text, guint64 *out_value)
{
    bool is_hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *digits = is_hex ? text + 2 : text;
    if (is_hex ? !g_ascii_isxdigit(*digits) : !g_ascii_isdigit(*digits)) {
        return false;
    }
    char *end;
    errno = 0;
    guint64 value = g_ascii_strtoull(digits, &end, is_hex ? 16 : 10);
    if (*end || errno) {
        return false;
    }
    *out_value = value;
    return true;
}
