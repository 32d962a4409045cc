/* Output of commands: tables and records, as text in virsh's form or as JSON.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_TABLE_H
#define LODGE_CLI_TABLE_H

#include <glib.h>
#include <stdbool.h>
#include <stdio.h>

typedef struct CliTable CliTable;

/* @headings: ends with NULL; kept by the caller for the table's life. In JSON each is a key: lower
 * case, words joined with "_". */
CliTable *cli_table_new(const char *const *headings);
void cli_table_free(CliTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CliTable, cli_table_free)

/* Adds a row: as many texts (copied; NULL is printed as "-") as there are headings. */
void cli_table_add(CliTable *table, const char *first, ...);
/* The same from an array. */
void cli_table_add_row(CliTable *table, const char *const *cells);

/* Prints the table; without headings if @bare. */
void cli_table_print(const CliTable *table, FILE *file, bool bare);
/* Prints a JSON array with an object for each row. A cell that is a number is one, NULL is null. */
void cli_table_print_json(const CliTable *table, FILE *file);

typedef struct CliRecord CliRecord;

/* Names and values, printed one a line: "Name:           value". @width: where values start. */
CliRecord *cli_record_new(unsigned width);
/* The same as "name           : value". */
CliRecord *cli_record_new_aligned(unsigned width);
/* The same as "name value", each after @prefix (may be ""; copied). */
CliRecord *cli_record_new_plain(const char *prefix);
void cli_record_free(CliRecord *record);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CliRecord, cli_record_free)
void cli_record_add(CliRecord *record, const char *name, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
void cli_record_print(const CliRecord *record, FILE *file);
/* Prints a JSON object. */
void cli_record_print_json(const CliRecord *record, FILE *file);
/* Prints a JSON array of objects. */
void cli_records_print_json(CliRecord *const *records, unsigned count, FILE *file);
/* Prints one value: a number if @text is one, else a string. */
void cli_value_print_json(const char *text, FILE *file);

/* "1.500 GiB": three decimals, as virsh's --human. (transfer full) */
char *cli_size_text(guint64 bytes);

#endif
