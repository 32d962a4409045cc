/* Which values of devices each engine has, and the engine's device that gives them.
 *
 * One table for the command lines, which refuse what is not in it, and for <domainCapabilities>,
 * which tells clients what is.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_DEVICE_TABLE_H
#define LODGE_DAEMON_DOMAIN_DEVICE_TABLE_H

#include "conf/domain/domain.h"
#include "daemon/domain/domain.h"

typedef enum DeviceProperty {
    PROPERTY_DISK_DEVICE,
    PROPERTY_DISK_BUS,
    PROPERTY_DISK_MODEL,
    PROPERTY_GRAPHICS,
    PROPERTY_VIDEO,
    PROPERTY_HOSTDEV_MODE,
    PROPERTY_HOSTDEV_STARTUP,
    PROPERTY_HOSTDEV_TYPE,
    PROPERTY_RNG_MODEL,
    PROPERTY_RNG_BACKEND,
    PROPERTY_FILESYSTEM,
    PROPERTY_TPM,
    PROPERTY_TPM_BACKEND,
    PROPERTY_TPM_VERSION,
    PROPERTY_REDIRDEV,
    PROPERTY_CHANNEL,
    PROPERTY_MEMORY_SOURCE,
    /* What <domainCapabilities> has no element for. */
    PROPERTY_AUDIO,
    PROPERTY_BALLOON,
    PROPERTY_CHARDEV,
    PROPERTY_INPUT_BUS,
    PROPERTY_INTERFACE,
    PROPERTY_MDEV,
    PROPERTY_SERIAL,
    PROPERTY_SOUND,
    PROPERTY_VSOCK,
    PROPERTY_WATCHDOG,
} DeviceProperty;

#define DEVICE_PROPERTIES (PROPERTY_WATCHDOG + 1)

/* Values of PROPERTY_REDIRDEV: the bus. */
enum { REDIRDEV_USB = 1 };

/* How a property is called in <domainCapabilities>; @element NULL: it is not there. An enum without
 * @name is a device that no engine has here. */
typedef struct DevicePropertyInfo {
    const char *element, *name;
    const XmlEnum *values;
} DevicePropertyInfo;

typedef struct DeviceValue {
    DeviceProperty property;
    int value;
    const char *device[2]; /* by GuestEngine: the word on the command line; NULL: it has none */
    const char *probe;     /* a type that the program must have; NULL: none in particular */
} DeviceValue;

extern const DevicePropertyInfo device_properties[DEVICE_PROPERTIES];
extern const DeviceValue device_values[];
extern const unsigned device_n_values;

/* The word for the command line; NULL: @engine has no such thing. */
const char *device_table_word(DeviceProperty property, int value, GuestEngine engine);
bool device_table_has(DeviceProperty property, int value, GuestEngine engine);

#endif
