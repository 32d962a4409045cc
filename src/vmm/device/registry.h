/* Look-up of device classes by name. A family exports an array of its classes (ends with NULL);
 * the machine lists the families (ends with NULL) in one visible table.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_DEVICE_REGISTRY_H
#define LODGE_VMM_DEVICE_REGISTRY_H

#include "vmm/device/device.h"

typedef const DeviceClass *const DeviceFamily; /* array that ends with NULL */

/* The class whose name or alias is @name, or NULL with an @error that suggests near names. Internal
 * classes are found too. */
const DeviceClass *device_registry_find(DeviceFamily *const *families, const char *name,
                                        GError **error);

/* For -device help: one line for each class that a user may add, by name. */
void device_registry_format_help(DeviceFamily *const *families, GString *out);

#endif
