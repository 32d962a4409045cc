/* JSON writer. SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/json-out.h"

#include <inttypes.h>
#include <stdio.h>

JsonOut *json_out_new(void)
{
    JsonOut *json = g_new0(JsonOut, 1);
    json->text = g_string_new(NULL);
    return json;
}

void json_quote(GString *text, const char *value)
{
    g_autofree char *valid = g_utf8_make_valid(value, -1);
    g_string_append_c(text, '"');
    for (const char *p = valid; *p; p++) {
        unsigned char c = (unsigned char)*p;
        switch (c) {
        case '"':
        case '\\':
            g_string_append_c(text, '\\');
            g_string_append_c(text, *p);
            break;
        case '\n':
            g_string_append(text, "\\n");
            break;
        case '\t':
            g_string_append(text, "\\t");
            break;
        default:
            if (c < 0x20 || c == 0x7f) {
                g_string_append_printf(text, "\\u%04X", c);
            } else {
                g_string_append_c(text, *p);
            }
        }
    }
    g_string_append_c(text, '"');
}

static void new_line(JsonOut *json)
{
    g_string_append_c(json->text, '\n');
    for (unsigned i = 0; i < json->depth; i++) {
        g_string_append(json->text, "    ");
    }
}

static void begin_element(JsonOut *json, const char *key)
{
    if (json->has_element) {
        g_string_append_c(json->text, ',');
    }
    if (json->depth) {
        new_line(json);
    }
    json->has_element = true;
    if (key) {
        json_quote(json->text, key);
        g_string_append(json->text, ": ");
    }
}

void json_out_open(JsonOut *json, const char *key, char bracket)
{
    begin_element(json, key);
    g_string_append_c(json->text, bracket);
    json->depth++;
    json->has_element = false;
}

void json_out_close(JsonOut *json, char bracket)
{
    json->depth--;
    new_line(json);
    g_string_append_c(json->text, bracket);
    json->has_element = true;
}

void json_out_string(JsonOut *json, const char *key, const char *value)
{
    begin_element(json, key);
    json_quote(json->text, value);
}

void json_out_uint(JsonOut *json, const char *key, uint64_t value)
{
    begin_element(json, key);
    g_string_append_printf(json->text, "%" PRIu64, value);
}

void json_out_int(JsonOut *json, const char *key, int64_t value)
{
    begin_element(json, key);
    g_string_append_printf(json->text, "%" PRId64, value);
}

void json_out_bool(JsonOut *json, const char *key, bool value)
{
    begin_element(json, key);
    g_string_append(json->text, value ? "true" : "false");
}

void json_out_print(JsonOut *json)
{
    printf("%s\n", json->text->str);
    json_out_free(json);
}

void json_out_free(JsonOut *json)
{
    if (json) {
        g_string_free(json->text, TRUE);
        g_free(json);
    }
}
