/* QMP's tree of objects: what its files share. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MONITOR_QOM_H
#define LODGE_VMM_MONITOR_QOM_H

#include "vmm/monitor/internal.h"

#define QOM_OBJECTS_PATH "/objects"

/* What -object made of the id in "/objects/ID"; false: there is none. */
bool qom_object_find(const MonitorTarget *target, const char *path, MonitorObject *out);
/* Its properties but "type"; those of an object of @type. */
void qom_list_object_type(const char *type, JsonArray *array);
/* NULL: there is no such property. (transfer full) */
JsonNode *qom_object_get(const MonitorTarget *target, const MonitorObject *object,
                         const char *name);
/* False: there is no such property. */
bool qom_object_set(const MonitorTarget *target, const MonitorObject *object, const char *name,
                    JsonNode *value, GError **error);

/* Names of types. (transfer full) */
char *qom_cpu_type(const char *model);
char *qom_machine_type(const char *name);
/* One of what describes a property; @description may be NULL. */
void qom_append_property(JsonArray *array, const char *name, const char *type,
                         const char *description);
void qom_append_class_properties(JsonArray *array, const Property *table);

#endif
