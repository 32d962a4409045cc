/* Commands of `lodge`: what a command is, and the table of all of them.
 *
 * Names, options and the order of positional arguments are virsh's, so that scripts and fingers
 * need not learn anything; what virsh lacks is marked in the command's description.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_COMMAND_H
#define LODGE_CLI_COMMAND_H

#include <glib.h>
#include <stdbool.h>

typedef struct CliSession CliSession;
typedef struct CliArgs CliArgs;

typedef enum CliOptionKind {
    CLI_FLAG,   /* --name */
    CLI_STRING, /* --name VALUE, --name=VALUE, or by position */
    CLI_NUMBER, /* as CLI_STRING; a decimal or 0x number */
    CLI_REST,   /* all words that are left; the last of its command */
} CliOptionKind;

enum {
    CLI_REQUIRED = 1u << 0,
    CLI_NAMED = 1u << 1, /* never taken by position */
};

/* What a value names: completion offers those. */
typedef enum CliValue {
    CLI_VALUE_ANY,
    CLI_VALUE_DOMAIN,
    CLI_VALUE_ACTIVE_DOMAIN,
    CLI_VALUE_INACTIVE_DOMAIN,
    CLI_VALUE_FILE,
    CLI_VALUE_DISK,
    CLI_VALUE_INTERFACE,
    CLI_VALUE_COMMAND,
    CLI_VALUE_EVENT,
} CliValue;

typedef struct CliOption {
    const char *name;
    CliOptionKind kind;
    unsigned flags; /* CLI_REQUIRED, CLI_NAMED */
    CliValue value;
    const char *help;
} CliOption;

#define CLI_OPTIONS_END                                                                            \
    {                                                                                              \
    }

enum {
    CLI_NO_CONNECTION = 1u << 0, /* works without a daemon */
    CLI_BARE = 1u << 1,          /* no empty line follows the output */
    CLI_ALIAS = 1u << 2,         /* a second name: not listed */
};

typedef struct CliCommand {
    const char *name;
    const char *summary;      /* a line without full stop */
    const char *description;  /* more lines, or NULL */
    const CliOption *options; /* ends with CLI_OPTIONS_END; NULL: none */
    unsigned flags;
    /* Returns: success; else @error says what failed. Its message may hold several lines, each
     * printed as one "error: " line, the most general first. */
    bool (*run)(CliSession *session, const CliArgs *args, GError **error);
} CliCommand;

typedef struct CliGroup {
    const char *name;  /* the word for `help` */
    const char *title; /* its heading */
    /* Its tables, ending with NULL; each ends with a row without name. */
    const CliCommand *const *tables;
} CliGroup;

/* All groups in the order of `help`; ends with a row without name. */
extern const CliGroup cli_groups[];

/* Returns: the command of that name, or NULL. */
const CliCommand *cli_command_find(const char *name);
/* Returns: the group of that name, or NULL. */
const CliGroup *cli_group_find(const char *name);
/* Returns: the option of that name, or NULL. */
const CliOption *cli_command_option(const CliCommand *command, const char *name);
/* The commands of a group that are no aliases, by name. (transfer container) */
GPtrArray *cli_group_list(const CliGroup *group);
/* Calls @visit for each command that is no alias, in the order of `help`. */
void cli_command_foreach(void (*visit)(const CliCommand *command, void *opaque), void *opaque);
/* "; did you mean 'name'?" of a command that is nearly @name, or nothing. (transfer full) */
char *cli_command_suggestion(const char *name);

/* What a command is about that virsh has and lodge does not, as "networks"; or NULL. */
const char *cli_later_subject(const char *name);

/* "unknown command: 'nam'", with the nearest name where there is one, or that it is virsh's.
 * (transfer full) */
char *cli_command_unknown(const char *name);

#endif
