/* Look-up of device classes by name.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/device/registry.h"

#include "gbase/error.h"
#include "gbase/strutil.h"

#include <string.h>

static bool is_called(const DeviceClass *class, const char *name)
{
    return !strcmp(class->name, name) || (class->alias && !strcmp(class->alias, name));
}

static void set_unknown_error(DeviceFamily *const *families, const char *name, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (DeviceFamily *const *family = families; *family; family++) {
        for (DeviceFamily *class = *family; *class; class ++) {
            if (!(*class)->is_internal) {
                g_ptr_array_add(names, (void *)(*class)->name);
            }
        }
    }
    g_ptr_array_add(names, NULL);
    g_autofree char *hint = str_suggestion(name, (const char *const *)names->pdata);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "no device is called '%s'%s", name,
                *hint ? hint : "; '-device help' lists them");
}

const DeviceClass *device_registry_find(DeviceFamily *const *families, const char *name,
                                        GError **error)
{
    for (DeviceFamily *const *family = families; *family; family++) {
        for (DeviceFamily *class = *family; *class; class ++) {
            if (is_called(*class, name)) {
                return *class;
            }
        }
    }
    set_unknown_error(families, name, error);
    return NULL;
}

static int compare_names(const void *a, const void *b)
{
    const DeviceClass *const *first = a;
    const DeviceClass *const *second = b;
    return strcmp((*first)->name, (*second)->name);
}

void device_registry_format_help(DeviceFamily *const *families, GString *out)
{
    g_autoptr(GPtrArray) classes = g_ptr_array_new();
    for (DeviceFamily *const *family = families; *family; family++) {
        for (DeviceFamily *class = *family; *class; class ++) {
            if (!(*class)->is_internal) {
                g_ptr_array_add(classes, (void *)*class);
            }
        }
    }
    g_ptr_array_sort(classes, compare_names);
    for (guint i = 0; i < classes->len; i++) {
        const DeviceClass *class = g_ptr_array_index(classes, i);
        g_string_append_printf(out, "  %-20s %s", class->name, class->summary);
        if (class->alias) {
            g_string_append_printf(out, " (alias: %s)", class->alias);
        }
        g_string_append_c(out, '\n');
    }
}
