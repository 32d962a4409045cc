/* QMP's tree of objects: what its files share. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MONITOR_QOM_H
#define LODGE_VMM_MONITOR_QOM_H

#include "vmm/monitor/internal.h"

#define QOM_OBJECTS_PATH "/objects"

/* What -object made of the id in "/objects/ID"; false: there is none. */
bool qom_object_find(const MonitorTarget *target, const char *path, MonitorObject *out);
/* Its properties but "type". */
void qom_object_list(const MonitorObject *object, JsonArray *array);
/* NULL: there is no such property. (transfer full) */
JsonNode *qom_object_get(const MonitorTarget *target, const MonitorObject *object,
                         const char *name);
/* False: there is no such property. */
bool qom_object_set(const MonitorTarget *target, const MonitorObject *object, const char *name,
                    JsonNode *value, GError **error);

#endif
