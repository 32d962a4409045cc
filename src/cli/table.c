/* Tables and records: text and JSON.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/table.h"

#include <json-glib/json-glib.h>
#include <stdarg.h>
#include <string.h>

struct CliTable {
    const char *const *headings;
    unsigned columns;
    GPtrArray *rows; /* of char *[columns]; a cell may be NULL */
};

typedef enum RecordStyle { STYLE_COLON, STYLE_ALIGNED, STYLE_PLAIN } RecordStyle;

struct CliRecord {
    RecordStyle style;
    unsigned width;
    char *prefix;
    GPtrArray *names, *values;
};

CliTable *cli_table_new(const char *const *headings)
{
    CliTable *table = g_new0(CliTable, 1);
    table->headings = headings;
    table->columns = g_strv_length((char **)headings);
    table->rows = g_ptr_array_new();
    return table;
}

void cli_table_free(CliTable *table)
{
    if (!table) {
        return;
    }
    for (unsigned i = 0; i < table->rows->len; i++) {
        char **cells = table->rows->pdata[i];
        for (unsigned column = 0; column < table->columns; column++) {
            g_free(cells[column]);
        }
        g_free(cells);
    }
    g_ptr_array_free(table->rows, TRUE);
    g_free(table);
}

void cli_table_add_row(CliTable *table, const char *const *cells)
{
    char **row = g_new0(char *, table->columns);
    for (unsigned i = 0; i < table->columns; i++) {
        row[i] = g_strdup(cells[i]);
    }
    g_ptr_array_add(table->rows, row);
}

void cli_table_add(CliTable *table, const char *first, ...)
{
    g_autofree const char **cells = g_new0(const char *, table->columns);
    va_list list;
    va_start(list, first);
    cells[0] = first;
    for (unsigned i = 1; i < table->columns; i++) {
        cells[i] = va_arg(list, const char *);
    }
    va_end(list);
    cli_table_add_row(table, cells);
}

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

/* Columns of a terminal that @text takes as print_safely() shows it. */
static unsigned text_width(const char *text)
{
    unsigned width = 0;
    if (!g_utf8_validate(text, -1, NULL)) {
        return (unsigned)strlen(text);
    }
    for (const char *at = text; *at; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);
        if (c < 0x80 && is_control((unsigned char)c)) {
            width += 4;
        } else {
            width += g_unichar_iswide(c) ? 2 : g_unichar_iszerowidth(c) ? 0 : 1;
        }
    }
    return width;
}

static const char *cell_text(const char *cell)
{
    return cell ? cell : "-";
}

/* Control characters of names could steer the terminal: shown as \xNN. */
static void print_safely(const char *text, FILE *file)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (is_control(c)) {
            fprintf(file, "\\x%02x", c);
        } else {
            fputc(c, file);
        }
    }
}

static void print_line(const CliTable *table, const char *const *cells, const unsigned *widths,
                       FILE *file)
{
    for (unsigned i = 0; i < table->columns; i++) {
        const char *text = cell_text(cells[i]);
        fputc(' ', file);
        print_safely(text, file);
        if (i + 1 < table->columns) {
            fprintf(file, "%*s", (int)(widths[i] - text_width(text)) + 2, "");
        }
    }
    fputc('\n', file);
}

void cli_table_print(const CliTable *table, FILE *file, bool bare)
{
    g_autofree unsigned *widths = g_new0(unsigned, table->columns);
    unsigned total = 0;
    for (unsigned i = 0; i < table->columns; i++) {
        widths[i] = bare ? 0 : text_width(table->headings[i]);
        for (unsigned row = 0; row < table->rows->len; row++) {
            const char *const *cells = table->rows->pdata[row];
            widths[i] = MAX(widths[i], text_width(cell_text(cells[i])));
        }
        total += widths[i] + 3;
    }
    if (!bare) {
        print_line(table, table->headings, widths, file);
        for (unsigned i = 0; i < total; i++) {
            fputc('-', file);
        }
        fputc('\n', file);
    }
    for (unsigned row = 0; row < table->rows->len; row++) {
        print_line(table, table->rows->pdata[row], widths, file);
    }
}

/* "Managed save" is managed_save, "CPU(s)" is cpus. (transfer full) */
static char *json_key(const char *heading)
{
    GString *key = g_string_new(NULL);
    for (; *heading; heading++) {
        if (g_ascii_isalnum(*heading) || *heading == '.') {
            g_string_append_c(key, g_ascii_tolower(*heading));
        } else if (*heading == ' ' || *heading == '-' || *heading == '_') {
            g_string_append_c(key, '_');
        }
    }
    return g_string_free(key, FALSE);
}

static JsonNode *json_value(const char *cell)
{
    if (!cell || strcmp(cell, "-") == 0) {
        return json_node_new(JSON_NODE_NULL);
    }
    char *end;
    gint64 number = g_ascii_strtoll(cell, &end, 10);
    g_autofree char *again = g_strdup_printf("%" G_GINT64_FORMAT, number);
    if (strcmp(again, cell) == 0) {
        return json_node_init_int(json_node_alloc(), number);
    }
    return json_node_init_string(json_node_alloc(), cell);
}

static void print_json(JsonNode *root, FILE *file)
{
    g_autoptr(JsonGenerator) generator = json_generator_new();
    json_generator_set_pretty(generator, TRUE);
    json_generator_set_root(generator, root);
    g_autofree char *text = json_generator_to_data(generator, NULL);
    fprintf(file, "%s\n", text);
    json_node_unref(root);
}

void cli_table_print_json(const CliTable *table, FILE *file)
{
    JsonArray *array = json_array_new();
    for (unsigned row = 0; row < table->rows->len; row++) {
        char *const *cells = table->rows->pdata[row];
        JsonObject *object = json_object_new();
        for (unsigned i = 0; i < table->columns; i++) {
            g_autofree char *key = json_key(table->headings[i]);
            json_object_set_member(object, key, json_value(cells[i]));
        }
        json_array_add_object_element(array, object);
    }
    print_json(json_node_init_array(json_node_alloc(), array), file);
    json_array_unref(array);
}

static CliRecord *record_new(RecordStyle style, unsigned width, const char *prefix)
{
    CliRecord *record = g_new0(CliRecord, 1);
    record->style = style;
    record->width = width;
    record->prefix = g_strdup(prefix);
    record->names = g_ptr_array_new_with_free_func(g_free);
    record->values = g_ptr_array_new_with_free_func(g_free);
    return record;
}

CliRecord *cli_record_new(unsigned width)
{
    return record_new(STYLE_COLON, width, "");
}

CliRecord *cli_record_new_aligned(unsigned width)
{
    return record_new(STYLE_ALIGNED, width, "");
}

CliRecord *cli_record_new_plain(const char *prefix)
{
    return record_new(STYLE_PLAIN, 0, prefix);
}

void cli_record_free(CliRecord *record)
{
    if (record) {
        g_free(record->prefix);
        g_ptr_array_free(record->names, TRUE);
        g_ptr_array_free(record->values, TRUE);
        g_free(record);
    }
}

void cli_record_add(CliRecord *record, const char *name, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    g_ptr_array_add(record->names, g_strdup(name));
    g_ptr_array_add(record->values, g_strdup_vprintf(fmt, list));
    va_end(list);
}

/* The lines of a value stand below each other. */
static void print_lines(const char *value, unsigned width, FILE *file)
{
    g_auto(GStrv) lines = g_strsplit(value, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        if (i > 0) {
            fprintf(file, "\n%*s", (int)width, "");
        }
        print_safely(lines[i], file);
    }
}

void cli_record_print(const CliRecord *record, FILE *file)
{
    for (unsigned i = 0; i < record->names->len; i++) {
        const char *name = record->names->pdata[i];
        g_autofree char *colon = g_strconcat(name, ":", NULL);
        fputs(record->prefix, file);
        switch (record->style) {
        case STYLE_COLON:
            fprintf(file, "%-*s%s", (int)record->width, colon,
                    strlen(colon) < record->width ? "" : " ");
            break;
        case STYLE_ALIGNED:
            fprintf(file, "%-*s: ", (int)record->width, name);
            break;
        case STYLE_PLAIN:
            fprintf(file, "%s ", name);
            break;
        }
        print_lines(record->values->pdata[i], record->width, file);
        fputc('\n', file);
    }
}

static JsonObject *record_object(const CliRecord *record)
{
    JsonObject *object = json_object_new();
    for (unsigned i = 0; i < record->names->len; i++) {
        g_autofree char *key = json_key(record->names->pdata[i]);
        json_object_set_member(object, key, json_value(record->values->pdata[i]));
    }
    return object;
}

void cli_record_print_json(const CliRecord *record, FILE *file)
{
    JsonObject *object = record_object(record);
    print_json(json_node_init_object(json_node_alloc(), object), file);
    json_object_unref(object);
}

void cli_records_print_json(CliRecord *const *records, unsigned count, FILE *file)
{
    JsonArray *array = json_array_new();
    for (unsigned i = 0; i < count; i++) {
        json_array_add_object_element(array, record_object(records[i]));
    }
    print_json(json_node_init_array(json_node_alloc(), array), file);
    json_array_unref(array);
}

void cli_value_print_json(const char *text, FILE *file)
{
    print_json(json_value(text), file);
}

char *cli_size_text(guint64 bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 1024 && unit + 1 < G_N_ELEMENTS(units)) {
        value /= 1024;
        unit++;
    }
    return g_strdup_printf("%.3f %s", value, units[unit]);
}
