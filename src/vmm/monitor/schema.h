/* The commands, types and events of QMP as one table: dispatch, checks of arguments, query-commands
 * and query-qmp-schema all come from it. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MONITOR_SCHEMA_H
#define LODGE_VMM_MONITOR_SCHEMA_H

#include "vmm/monitor/monitor.h"

#include <json-glib/json-glib.h>

typedef struct MonitorSession MonitorSession;

/* Members are written "name:type,?optional:type"; a type in brackets is a list of it. Built-in
 * types: str, int, number, bool, any. "...:any" at the end lets other members pass. */
typedef struct SchemaStruct {
    const char *name;
    const char *members;
} SchemaStruct;

typedef struct SchemaEnum {
    const char *name;
    const char *values; /* "a,b,c" */
} SchemaEnum;

typedef struct SchemaEvent {
    const char *name;
    const char *members; /* "": it carries no data */
} SchemaEvent;

typedef struct QmpCommand {
    const char *name;
    const char *arguments; /* members; "": none */
    const char *returns;   /* type; "": an empty object */
    /* @arguments were checked against the table, and are an empty object if none were given.
     * Returns: the result (transfer full), NULL with @error set, or NULL without: an empty object.
     */
    JsonNode *(*run)(MonitorSession *session, JsonObject *arguments, GError **error);
} QmpCommand;

/* Each ends with a NULL name. */
extern const QmpCommand qmp_commands[];
extern const SchemaStruct schema_structs[];
extern const SchemaEnum schema_enums[];
extern const SchemaEvent schema_events[];

const QmpCommand *qmp_command_find(const char *name);
/* The struct's members, or NULL. */
const char *schema_members(const char *struct_name);

/* Whether @arguments are what @members say; @error in QMP's words if not. */
bool schema_check(const char *members, JsonObject *arguments, GError **error);

/* Results of query-commands and query-qmp-schema. (transfer full) */
JsonNode *schema_list_commands(void);
JsonNode *schema_introspect(void);

#endif
