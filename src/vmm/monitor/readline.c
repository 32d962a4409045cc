/* Line editing for a person at a terminal.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/monitor/readline.h"

#include <stdbool.h>
#include <string.h>

#define CONTROL(letter) ((letter)&0x1f)
#define ESCAPE 0x1b
#define RUBOUT 0x7f

typedef enum KeyState { KEY_PLAIN, KEY_ESCAPE, KEY_SEQUENCE } KeyState;

struct Readline {
    const char *prompt;
    ReadlineUser user;
    GString *line;
    size_t cursor; /* bytes into the line */
    GPtrArray *history;
    guint history_at; /* entry shown; history->len: the line being typed */
    char *saved;      /* that line, while an older one is shown */
    KeyState state;
    unsigned parameter; /* number of an escape sequence */
    bool was_return;    /* a newline that follows belongs to it */
};

Readline *readline_new(const char *prompt, const ReadlineUser *user)
{
    Readline *r = g_new0(Readline, 1);
    r->prompt = prompt;
    r->user = *user;
    r->line = g_string_new(NULL);
    r->history = g_ptr_array_new_with_free_func(g_free);
    return r;
}

void readline_free(Readline *r)
{
    if (r) {
        g_string_free(r->line, TRUE);
        g_ptr_array_unref(r->history);
        g_free(r->saved);
        g_free(r);
    }
}

static void put(Readline *r, const char *text)
{
    r->user.write(r->user.opaque, text, strlen(text));
}

/* Writes the whole line anew: a terminal is fast, and the cursor right. */
void readline_show(Readline *r)
{
    g_autoptr(GString) out = g_string_new("\r\033[K");
    g_string_append(out, r->prompt);
    g_string_append_len(out, r->line->str, (gssize)r->line->len);
    if (r->cursor < r->line->len) {
        g_string_append_printf(out, "\033[%zuD", r->line->len - r->cursor);
    }
    r->user.write(r->user.opaque, out->str, out->len);
}

void readline_reset(Readline *r)
{
    g_string_truncate(r->line, 0);
    g_clear_pointer(&r->saved, g_free);
    r->cursor = 0;
    r->history_at = r->history->len;
    r->state = KEY_PLAIN;
}

static void set_line(Readline *r, const char *text)
{
    g_string_assign(r->line, text);
    r->cursor = r->line->len;
    readline_show(r);
}

static void show_history(Readline *r, int step)
{
    guint at = r->history_at + (guint)step;
    if (at > r->history->len) { /* also below 0 */
        return;
    }
    if (r->history_at == r->history->len) {
        g_free(r->saved);
        r->saved = g_strdup(r->line->str);
    }
    r->history_at = at;
    set_line(r, at == r->history->len ? r->saved : g_ptr_array_index(r->history, at));
}

static void remember(Readline *r)
{
    guint count = r->history->len;
    if (!r->line->len ||
        (count && !strcmp(g_ptr_array_index(r->history, count - 1), r->line->str))) {
        return;
    }
    if (count == READLINE_HISTORY_MAX) {
        g_ptr_array_remove_index(r->history, 0);
    }
    g_ptr_array_add(r->history, g_strdup(r->line->str));
}

static void end_line(Readline *r)
{
    g_autofree char *line = g_strdup(r->line->str);
    put(r, "\r\n");
    remember(r);
    readline_reset(r);
    r->user.run(r->user.opaque, line);
    readline_show(r);
}

static void insert(Readline *r, const char *text, size_t length)
{
    if (r->line->len + length > READLINE_BYTES_MAX) {
        return;
    }
    g_string_insert_len(r->line, (gssize)r->cursor, text, (gssize)length);
    r->cursor += length;
    if (r->cursor == r->line->len) {
        r->user.write(r->user.opaque, text, length);
    } else {
        readline_show(r);
    }
}

static void erase(Readline *r, size_t from, size_t to)
{
    g_string_erase(r->line, (gssize)from, (gssize)(to - from));
    r->cursor = from;
    readline_show(r);
}

static size_t word_start(const Readline *r)
{
    size_t at = r->cursor;
    while (at && r->line->str[at - 1] == ' ') {
        at--;
    }
    while (at && r->line->str[at - 1] != ' ') {
        at--;
    }
    return at;
}

static void move(Readline *r, size_t to)
{
    r->cursor = to > r->line->len ? r->line->len : to;
    readline_show(r);
}

/* Length of what all words begin with. */
static size_t common_prefix(const GPtrArray *words)
{
    const char *first = g_ptr_array_index(words, 0);
    size_t length = strlen(first);
    for (guint i = 1; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        size_t n = 0;
        while (n < length && word[n] == first[n]) {
            n++;
        }
        length = n;
    }
    return length;
}

static void complete(Readline *r)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *line = g_strndup(r->line->str, r->cursor);
    const char *space = strrchr(line, ' ');
    size_t typed = strlen(space ? space + 1 : line);
    r->user.complete(r->user.opaque, line, words);
    if (!words->len) {
        return;
    }
    const char *first = g_ptr_array_index(words, 0);
    size_t length = common_prefix(words);
    if (length > typed) {
        insert(r, first + typed, length - typed);
    }
    if (words->len == 1) {
        insert(r, " ", 1);
    } else if (length == typed) {
        put(r, "\r\n");
        for (guint i = 0; i < words->len; i++) {
            put(r, g_ptr_array_index(words, i));
            put(r, i + 1 < words->len ? "  " : "\r\n");
        }
        readline_show(r);
    }
}

static void push_sequence(Readline *r, uint8_t byte)
{
    if (g_ascii_isdigit((char)byte)) {
        r->parameter = (r->parameter * 10 + (byte - '0')) % 1000;
        return;
    }
    r->state = KEY_PLAIN;
    switch (byte) {
    case 'A':
        show_history(r, -1);
        break;
    case 'B':
        show_history(r, 1);
        break;
    case 'C':
        move(r, r->cursor + 1);
        break;
    case 'D':
        move(r, r->cursor ? r->cursor - 1 : 0);
        break;
    case 'H':
        move(r, 0);
        break;
    case 'F':
        move(r, r->line->len);
        break;
    case '~':
        if (r->parameter == 3 && r->cursor < r->line->len) {
            erase(r, r->cursor, r->cursor + 1);
        } else if (r->parameter == 1 || r->parameter == 4) {
            move(r, r->parameter == 1 ? 0 : r->line->len);
        }
        break;
    default:
        break;
    }
}

static void push_control(Readline *r, uint8_t byte)
{
    switch (byte) {
    case CONTROL('a'):
        move(r, 0);
        break;
    case CONTROL('b'):
        move(r, r->cursor ? r->cursor - 1 : 0);
        break;
    case CONTROL('d'):
        if (r->cursor < r->line->len) {
            erase(r, r->cursor, r->cursor + 1);
        }
        break;
    case CONTROL('e'):
        move(r, r->line->len);
        break;
    case CONTROL('f'):
        move(r, r->cursor + 1);
        break;
    case CONTROL('h'):
    case RUBOUT:
        if (r->cursor) {
            erase(r, r->cursor - 1, r->cursor);
        }
        break;
    case CONTROL('i'):
        complete(r);
        break;
    case CONTROL('k'):
        g_string_truncate(r->line, r->cursor);
        readline_show(r);
        break;
    case CONTROL('l'):
        put(r, "\033[H\033[2J");
        readline_show(r);
        break;
    case CONTROL('n'):
        show_history(r, 1);
        break;
    case CONTROL('p'):
        show_history(r, -1);
        break;
    case CONTROL('u'):
        erase(r, 0, r->cursor);
        break;
    case CONTROL('w'):
        erase(r, word_start(r), r->cursor);
        break;
    default:
        break;
    }
}

void readline_push(Readline *r, uint8_t byte)
{
    bool ends_return = byte == '\n' && r->was_return;
    r->was_return = byte == '\r';
    if (r->state == KEY_ESCAPE) {
        r->state = byte == '[' || byte == 'O' ? KEY_SEQUENCE : KEY_PLAIN;
        r->parameter = 0;
    } else if (r->state == KEY_SEQUENCE) {
        push_sequence(r, byte);
    } else if (byte == ESCAPE) {
        r->state = KEY_ESCAPE;
    } else if (byte == '\r' || byte == '\n') {
        if (!ends_return) {
            end_line(r);
        }
    } else if (byte < 0x20 || byte == RUBOUT) {
        push_control(r, byte);
    } else {
        insert(r, (const char *)&byte, 1);
    }
}
