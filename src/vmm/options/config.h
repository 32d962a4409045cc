/* What the command line asks for, as data. Nothing here was looked at beyond its own syntax: names
 * of devices, models and back ends are resolved by vmm/machine.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_OPTIONS_CONFIG_H
#define LODGE_VMM_OPTIONS_CONFIG_H

#include "block/throttle.h"
#include "gbase/uuid.h"
#include "vmm/options/keyval.h"

#define CONFIG_VCPUS_MAX 255
#define CONFIG_ACCELS_MAX 4
#define CONFIG_CODE_CACHE_MIB_MAX 2047 /* emitted code jumps by 32-bit distances */

typedef enum HelpTopic {
    HELP_NONE,
    HELP_OPTIONS,
    HELP_VERSION,
    HELP_MACHINES,
    HELP_MACHINE_PROPERTIES, /* @help_name: of a type, or NULL */
    HELP_ACCELS,
    HELP_CPUS,
    HELP_DEVICES,
    HELP_DEVICE_PROPERTIES, /* @help_name: of a device */
    HELP_NETDEVS,
    HELP_CHARDEVS,
    HELP_OBJECTS,
} HelpTopic;

/* -smp; 0: not given. Resolved by options_parse(): then all are set and agree. */
typedef struct SmpConfig {
    uint64_t cpus, maxcpus, sockets, dies, cores, threads;
} SmpConfig;

typedef enum Tristate { TRISTATE_AUTO, TRISTATE_ON, TRISTATE_OFF } Tristate;

/* -machine. Strings may be NULL. */
typedef struct MachineOptions {
    char *type;
    char *accel;
    char *memory_backend;
    bool has_hpet, has_acpi, has_isa_serial;
    uint32_t rtc, auto_kernel_cmdline; /* Tristate */
    uint32_t usb, smm, vmport;
    bool dumps_core, merges_pages; /* RAM: in dumps of the process; by KSM */
} MachineOptions;

/* -accel: names in the order to try. */
typedef struct AccelConfig {
    char *name[CONFIG_ACCELS_MAX];
    unsigned count;
    /* Of xlate. */
    bool uses_jit;
    uint64_t code_cache_mib; /* 0: the default */
    bool host_bmi2, host_fsgsbase;
} AccelConfig;

/* -netdev, -chardev, -object: a back end of @type with its own options. */
typedef struct BackendConfig {
    char *type;
    char *id; /* NULL: the machine makes one up */
    KeyvalList *options;
} BackendConfig;

/* -device; and what -drive if=virtio, -nic and -serial make. */
typedef struct DeviceConfig {
    char *driver;
    char *id;               /* or NULL */
    KeyvalList *properties; /* without driver and id */
} DeviceConfig;

typedef enum DriveInterface { DRIVE_NONE, DRIVE_VIRTIO } DriveInterface;

/* -drive; strings may be NULL. */
typedef struct DriveConfig {
    char *id, *file, *format, *serial;
    uint32_t interface, cache, aio, media, discard, detect_zeroes, werror, rerror;
    bool readonly, snapshot, copies_on_read;
    uint64_t index;
    ThrottleConfig limits;
    char *limits_group; /* name that drives share limits by, or NULL */
} DriveConfig;

extern const char *const drive_interfaces[], *const drive_caches[], *const drive_aios[];
extern const char *const drive_medias[], *const drive_discards[], *const drive_detect_zeroes[];
extern const char *const drive_error_actions[];
/* Indexes into drive_discards. */
typedef enum DriveDiscard {
    DRIVE_DISCARD_IGNORE,
    DRIVE_DISCARD_OFF,
    DRIVE_DISCARD_UNMAP,
    DRIVE_DISCARD_ON
} DriveDiscard;
/* Indexes into drive_error_actions. */
typedef enum DriveErrorAction {
    DRIVE_ERROR_DEFAULT, /* enospc when writing, report when reading */
    DRIVE_ERROR_REPORT,
    DRIVE_ERROR_IGNORE,
    DRIVE_ERROR_STOP,
    DRIVE_ERROR_ENOSPC
} DriveErrorAction;

/* -mon, -monitor, -qmp */
typedef struct MonitorConfig {
    char *chardev; /* id */
    bool is_control, is_pretty;
} MonitorConfig;

/* -global */
typedef struct GlobalConfig {
    char *driver, *property, *value;
} GlobalConfig;

/* -add-fd */
typedef struct FdConfig {
    uint64_t fd, set;
    char *note;
} FdConfig;

typedef enum RtcBase { RTC_BASE_UTC, RTC_BASE_LOCALTIME, RTC_BASE_DATETIME } RtcBase;
typedef enum RtcClock { RTC_CLOCK_HOST, RTC_CLOCK_VM } RtcClock;

typedef struct RtcConfig {
    char *base_text;
    RtcBase base;
    int64_t datetime_s; /* since the epoch, RTC_BASE_DATETIME */
    uint32_t clock;     /* RtcClock */
} RtcConfig;

/* -smbios: strings of tables 0 to 3; NULL: the default. */
typedef struct SmbiosConfig {
    struct {
        char *vendor, *version, *date;
    } bios;
    struct {
        char *manufacturer, *product, *version, *serial, *sku, *family;
    } system;
    struct {
        char *manufacturer, *product, *version, *serial, *asset, *location;
    } board;
    struct {
        char *manufacturer, *version, *serial, *asset, *sku;
    } chassis;
    GPtrArray *oem_strings; /* type 11; of char * */
} SmbiosConfig;

/* -sandbox: what the process may no longer do once the machine is made. */
typedef enum SandboxSwitch { SANDBOX_ALLOW, SANDBOX_DENY, SANDBOX_CHILDREN } SandboxSwitch;

typedef struct SandboxConfig {
    bool is_on;
    uint32_t obsolete, elevate, spawn, resources; /* SandboxSwitch */
} SandboxConfig;

typedef struct MachineConfig {
    HelpTopic help;
    char *help_name;

    MachineOptions machine;
    AccelConfig accel;
    char *cpu; /* -cpu as written, or NULL */
    SmpConfig smp;
    uint64_t ram_bytes;
    char *name, *process_name;
    bool has_uuid;
    Uuid uuid;
    RtcConfig rtc;
    SmbiosConfig smbios;
    char *boot_order, *boot_once;
    bool boot_menu, boot_strict;

    char *kernel, *initrd, *append, *bios;

    GPtrArray *drives;    /* of DriveConfig */
    GPtrArray *blockdevs; /* of char *: arguments of -blockdev, in the order given */
    GPtrArray *netdevs;   /* of BackendConfig */
    GPtrArray *chardevs;  /* of BackendConfig */
    GPtrArray *objects;   /* of BackendConfig */
    GPtrArray *devices;   /* of DeviceConfig, in the order given */
    GPtrArray *serials;   /* of char *: chardev id of serial port n, or NULL for none */
    GPtrArray *monitors;  /* of MonitorConfig */
    GPtrArray *globals;   /* of GlobalConfig */
    GPtrArray *fds;       /* of FdConfig */
    char *gdb;            /* chardev id, or NULL */

    bool starts_paused, no_reboot, no_shutdown;
    bool no_defaults, no_user_config, is_nographic;
    bool has_display_option, has_net_option;
    bool daemonize, log_timestamps;
    bool locks_memory; /* RAM and process stay in memory */
    SandboxConfig sandbox;
    char *pidfile;
} MachineConfig;

MachineConfig *machine_config_new(void);
void machine_config_free(MachineConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MachineConfig, machine_config_free)

/**
 * options_parse - command line to configuration
 * @argv: as main() gets it; both -name and --name are known
 *
 * Ends at the first error, and at an option that asks for help (config->help then says for what).
 * Returns: (transfer full) the configuration, checked for contradictions between options, or NULL
 * with an error of one line that names the option.
 */
MachineConfig *options_parse(int argc, char *const *argv, GError **error);

/* The text of -help. (transfer full) */
char *options_format_help(const char *program);

/* Properties of -machine and -accel, for their help. */
void machine_options_format_help(GString *out);
void accel_options_format_help(GString *out);

/* For other makers of configurations (monitor): a new element, owned by the array it is put in. */
BackendConfig *backend_config_new(const char *type, const char *id);
DeviceConfig *device_config_new(const char *driver, const char *id);
/* A drive by -drive's options without "id" and "if"; NULL with @error. */
DriveConfig *drive_config_new(const char *id, const KeyvalList *options, GError **error);
void drive_config_free(gpointer drive);

#endif
