/* Rows of the option tables, and what the groups share. Inside vmm/options only.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_OPTIONS_TABLE_H
#define LODGE_VMM_OPTIONS_TABLE_H

#include "vmm/options/config.h"

/* One option. What it does is one of: @flag, @text, @apply. */
typedef struct OptionRow {
    const char *name;     /* without dashes; rows without @help are second names */
    const char *argument; /* as shown in help; NULL: it takes none */
    const char *help;
    size_t flag; /* offset of a bool in MachineConfig that becomes true */
    size_t text; /* offset of a char * in MachineConfig that takes the argument */
    bool (*apply)(MachineConfig *config, const char *argument, GError **error);
} OptionRow;

typedef struct OptionGroup {
    const char *title;
    const OptionRow *rows; /* ends with a NULL name */
} OptionGroup;

extern const OptionGroup machine_option_group, boot_option_group, block_option_group;
extern const OptionGroup network_option_group, character_option_group, device_option_group;
extern const OptionGroup process_option_group;

/* Frees what its group put into a config. */
void monitor_config_free(gpointer monitor);
void backend_config_free(gpointer backend);
void device_config_free(gpointer device);
void global_config_free(gpointer global);
void fd_config_free(gpointer fd);

/* keyval_parse() and keyval_apply() in one. */
bool option_apply(const char *argument, const char *implied, const Property *table, void *object,
                  GError **error);

/* The back end @type,id=@id of @array; the id is taken out of @options (transfer full). False:
 * the id is taken, or missing though @needs_id. */
bool option_add_backend(GPtrArray *array, const char *what, char *type, KeyvalList *options,
                        bool needs_id, GError **error);
BackendConfig *option_find_backend(const GPtrArray *array, const char *id);

/**
 * chardev_shorthand - the back end that -serial, -monitor and -qmp name by a short text
 * @text: "stdio", "mon:stdio", "unix:PATH,server=on", "chardev:ID", ...
 * @id:   of the back end to be made
 *
 * Returns: the id of the chardev, which was added to @config if needed; "none" gives NULL without
 * error. (transfer full)
 */
char *chardev_shorthand(MachineConfig *config, const char *text, const char *id, GError **error);

/* Fills in what was left out and refuses what does not go together. */
bool options_finish(MachineConfig *config, GError **error);

#endif
