/* Options of the machine itself: type, accelerator, processors, memory, identity.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "gbase/error.h"
#include "gbase/size.h"
#include "gbase/strutil.h"
#include "vmm/options/table.h"

#include <string.h>

#define RAM_MIN MIB
#define RAM_MAX (UINT64_C(4096) * GIB)

static const char *const off_choices[] = { "off", "auto", NULL };
static const char *const auto_choices[] = { "auto", "on", "off", NULL };

static const Property machine_properties[] = {
    { .name = "type",
      .kind = PROPERTY_STRING,
      .offset = offsetof(MachineOptions, type),
      .help = "which machine; '-machine help' lists them" },
    { .name = "accel",
      .kind = PROPERTY_STRING,
      .offset = offsetof(MachineOptions, accel),
      .help = "as -accel" },
    { .name = "memory-backend",
      .kind = PROPERTY_STRING,
      .offset = offsetof(MachineOptions, memory_backend),
      .help = "id of the memory-backend-* object that is the guest's RAM" },
    { .name = "dump-guest-core",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(MachineOptions, dumps_core),
      .fallback = "on",
      .help = "guest RAM is in core dumps of the process" },
    { .name = "mem-merge",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(MachineOptions, merges_pages),
      .fallback = "on",
      .help = "the host may merge equal pages (KSM)" },
    { .name = "hpet",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(MachineOptions, has_hpet),
      .fallback = "on",
      .help = "high-precision timer (q35)" },
    { .name = "acpi",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(MachineOptions, has_acpi),
      .fallback = "on",
      .help = "ACPI tables" },
    { .name = "isa-serial",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(MachineOptions, has_isa_serial),
      .fallback = "on",
      .help = "serial port (microvm)" },
    { .name = "rtc",
      .kind = PROPERTY_ENUM,
      .choices = auto_choices,
      .offset = offsetof(MachineOptions, rtc),
      .fallback = "auto",
      .help = "real-time clock (microvm; auto: no)" },
    { .name = "auto-kernel-cmdline",
      .kind = PROPERTY_ENUM,
      .choices = auto_choices,
      .offset = offsetof(MachineOptions, auto_kernel_cmdline),
      .fallback = "auto",
      .help = "add virtio_mmio.device= to -append where ACPI is off (microvm)" },
    { .name = "usb",
      .kind = PROPERTY_ENUM,
      .choices = off_choices,
      .offset = offsetof(MachineOptions, usb),
      .help = "no USB controller yet" },
    { .name = "smm",
      .kind = PROPERTY_ENUM,
      .choices = off_choices,
      .offset = offsetof(MachineOptions, smm),
      .help = "no system management mode" },
    { .name = "vmport",
      .kind = PROPERTY_ENUM,
      .choices = off_choices,
      .offset = offsetof(MachineOptions, vmport),
      .help = "no VMware port" },
    { .name = NULL },
};

static bool parse_accel_names(MachineConfig *config, const char *names, GError **error)
{
    static const char *const known[] = { "kvm", "xlate", "tcg", NULL };
    g_auto(GStrv) words = g_strsplit(names, ":", 0);
    for (char **word = words; *word; word++) {
        if (!g_strv_contains(known, *word)) {
            g_autofree char *hint = str_suggestion(*word, known);
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                        "no accelerator is called '%s'%s", *word, hint);
            return false;
        }
        if (config->accel.count == CONFIG_ACCELS_MAX) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "too many accelerators");
            return false;
        }
        bool is_xlate = strcmp(*word, "kvm") != 0;
        config->accel.name[config->accel.count++] = g_strdup(is_xlate ? "xlate" : "kvm");
    }
    return true;
}

static const Property accel_properties[] = {
    { .name = "jit",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(AccelConfig, uses_jit),
      .fallback = "on",
      .help = "translate code (xlate); off: interpret each instruction" },
    { .name = "tb-size",
      .kind = PROPERTY_UINT,
      .offset = offsetof(AccelConfig, code_cache_mib),
      .max = CONFIG_CODE_CACHE_MIB_MAX,
      .fallback = "0",
      .help = "MiB of translated code to keep (xlate); 0: 128" },
    { .name = "x-host-bmi2",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(AccelConfig, host_bmi2),
      .fallback = "on",
      .help = "off: translate as for a host without BMI2 (to test that)" },
    { .name = "x-host-fsgsbase",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(AccelConfig, host_fsgsbase),
      .fallback = "on",
      .help = "off: as on a host without FSGSBASE (to test that)" },
    { .name = NULL },
};

static bool apply_accel(MachineConfig *config, const char *argument, GError **error)
{
    g_autoptr(KeyvalList) list = keyval_parse(argument, "accel", error);
    if (!list) {
        return false;
    }
    if (keyval_has_word(list, "help")) {
        config->help = HELP_ACCELS;
        return true;
    }
    g_autofree char *names = keyval_take(list, "accel");
    if (!names) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "the accelerator is missing");
        return false;
    }
    return parse_accel_names(config, names, error) &&
           keyval_apply(list, accel_properties, &config->accel, error);
}

static bool apply_enable_kvm(MachineConfig *config, const char *argument, GError **error)
{
    return parse_accel_names(config, "kvm", error);
}

static bool apply_machine(MachineConfig *config, const char *argument, GError **error)
{
    g_autoptr(KeyvalList) list = keyval_parse(argument, "type", error);
    if (!list) {
        return false;
    }
    if (keyval_has_word(list, "help")) {
        const char *type = keyval_get(list, "type");
        config->help = type ? HELP_MACHINE_PROPERTIES : HELP_MACHINES;
        config->help_name = g_strdup(type);
        return true;
    }
    if (!keyval_apply(list, machine_properties, &config->machine, error)) {
        return false;
    }
    g_autofree char *accel = g_steal_pointer(&config->machine.accel);
    return !accel || parse_accel_names(config, accel, error);
}

void machine_options_format_help(GString *out)
{
    properties_format_help(machine_properties, out);
}

void accel_options_format_help(GString *out)
{
    properties_format_help(accel_properties, out);
}

static bool apply_cpu(MachineConfig *config, const char *argument, GError **error)
{
    if (!strcmp(argument, "help") || !strcmp(argument, "?")) {
        config->help = HELP_CPUS;
        return true;
    }
    g_free(config->cpu);
    config->cpu = g_strdup(argument);
    return true;
}

#define SMP_COUNT(member, help_)                                                                   \
    {                                                                                              \
        .name = #member, .kind = PROPERTY_UINT, .offset = offsetof(SmpConfig, member), .min = 1,   \
        .max = 4096, .help = help_                                                                 \
    }
static const Property smp_properties[] = {
    SMP_COUNT(cpus, "vCPUs"),
    SMP_COUNT(maxcpus, "vCPUs with those added later"),
    SMP_COUNT(sockets, "sockets"),
    SMP_COUNT(dies, "dies of a socket"),
    SMP_COUNT(cores, "cores of a die"),
    SMP_COUNT(threads, "threads of a core"),
    { .name = NULL },
};

static bool apply_smp(MachineConfig *config, const char *argument, GError **error)
{
    return option_apply(argument, "cpus", smp_properties, &config->smp, error);
}

static bool apply_no_hpet(MachineConfig *config, const char *argument, GError **error)
{
    config->machine.has_hpet = false;
    return true;
}

static bool apply_no_acpi(MachineConfig *config, const char *argument, GError **error)
{
    config->machine.has_acpi = false;
    return true;
}

typedef struct OvercommitOptions {
    bool mem_lock, cpu_pm;
} OvercommitOptions;

static bool apply_overcommit(MachineConfig *config, const char *argument, GError **error)
{
    static const Property properties[] = {
        { .name = "mem-lock",
          .kind = PROPERTY_BOOL,
          .offset = offsetof(OvercommitOptions, mem_lock) },
        { .name = "cpu-pm", .kind = PROPERTY_BOOL, .offset = offsetof(OvercommitOptions, cpu_pm) },
        { .name = NULL },
    };
    OvercommitOptions overcommit = { 0 };
    if (!option_apply(argument, NULL, properties, &overcommit, error)) {
        return false;
    }
    if (overcommit.cpu_pm) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "cpu-pm=on is not supported");
        return false;
    }
    config->locks_memory = overcommit.mem_lock;
    return true;
}

typedef struct MemoryOptions {
    char *size;
} MemoryOptions;

static const Property memory_properties[] = {
    { .name = "size",
      .kind = PROPERTY_STRING,
      .offset = offsetof(MemoryOptions, size),
      .help = "bytes, MiB without a suffix" },
    { .name = NULL },
};

static bool apply_memory(MachineConfig *config, const char *argument, GError **error)
{
    MemoryOptions memory = { 0 };
    bool ok = option_apply(argument, "size", memory_properties, &memory, error);
    g_autofree char *text = memory.size;
    uint64_t bytes;
    if (!ok || !size_parse(text, MIB, &bytes, error)) {
        return false;
    }
    if (bytes < RAM_MIN || bytes > RAM_MAX) {
        g_autofree char *most = size_format(RAM_MAX);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "%s is not a size that a guest can have; allowed: 1M to %s", text, most);
        return false;
    }
    config->ram_bytes = round_down(bytes, 4096);
    return true;
}

typedef struct NameOptions {
    char *guest, *process;
    bool debug_threads;
} NameOptions;

static const Property name_properties[] = {
    { .name = "guest",
      .kind = PROPERTY_STRING,
      .offset = offsetof(NameOptions, guest),
      .help = "name of the guest" },
    { .name = "process",
      .kind = PROPERTY_STRING,
      .offset = offsetof(NameOptions, process),
      .help = "name of the process, up to 15 characters" },
    { .name = "debug-threads",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(NameOptions, debug_threads),
      .help = "accepted: threads always have names" },
    { .name = NULL },
};

static bool apply_name(MachineConfig *config, const char *argument, GError **error)
{
    NameOptions name = { 0 };
    bool ok = option_apply(argument, "guest", name_properties, &name, error);
    g_free(config->name);
    g_free(config->process_name);
    config->name = name.guest;
    config->process_name = name.process;
    return ok;
}

static bool apply_uuid(MachineConfig *config, const char *argument, GError **error)
{
    config->has_uuid = uuid_parse(argument, &config->uuid, error);
    return config->has_uuid;
}

static const char *const rtc_clocks[] = { "host", "vm", NULL };
static const char *const rtc_driftfixes[] = { "none", "slew", NULL };

typedef struct RtcOptions {
    char *base;
    uint32_t clock, driftfix;
} RtcOptions;

static const Property rtc_properties[] = {
    { .name = "base",
      .kind = PROPERTY_STRING,
      .offset = offsetof(RtcOptions, base),
      .help = "utc, localtime or a date as 2026-01-31T12:00:00" },
    { .name = "clock",
      .kind = PROPERTY_ENUM,
      .offset = offsetof(RtcOptions, clock),
      .choices = rtc_clocks,
      .help = "host: goes on while the guest is paused" },
    { .name = "driftfix",
      .kind = PROPERTY_ENUM,
      .offset = offsetof(RtcOptions, driftfix),
      .choices = rtc_driftfixes,
      .help = "both: lost periodic interrupts are not repeated" },
    { .name = NULL },
};

static bool parse_rtc_base(RtcConfig *rtc, const char *text, GError **error)
{
    if (!strcmp(text, "utc")) {
        rtc->base = RTC_BASE_UTC;
    } else if (!strcmp(text, "localtime")) {
        rtc->base = RTC_BASE_LOCALTIME;
    } else {
        g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
        g_autoptr(GDateTime) date = g_date_time_new_from_iso8601(text, utc);
        if (!date) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "base cannot be '%s'; allowed: utc, localtime, or a date as "
                        "2026-01-31T12:00:00",
                        text);
            return false;
        }
        rtc->base = RTC_BASE_DATETIME;
        rtc->datetime_s = g_date_time_to_unix(date);
    }
    return true;
}

static bool apply_rtc(MachineConfig *config, const char *argument, GError **error)
{
    RtcOptions rtc = { 0 };
    bool ok = option_apply(argument, NULL, rtc_properties, &rtc, error);
    config->rtc.clock = rtc.clock;
    ok = ok && (!rtc.base || parse_rtc_base(&config->rtc, rtc.base, error));
    g_free(rtc.base);
    return ok;
}

static bool apply_global(MachineConfig *config, const char *argument, GError **error)
{
    GlobalConfig *global = g_new0(GlobalConfig, 1);
    g_ptr_array_add(config->globals, global);
    const char *dot = strchr(argument, '.');
    const char *equals = strchr(argument, '=');
    if (dot && equals && dot < equals && dot > argument && equals > dot + 1) {
        global->driver = g_strndup(argument, (gsize)(dot - argument));
        global->property = g_strndup(dot + 1, (gsize)(equals - dot - 1));
        global->value = g_strdup(equals + 1);
        return true;
    }
    static const Property properties[] = {
        { .name = "driver", .kind = PROPERTY_STRING, .offset = offsetof(GlobalConfig, driver) },
        { .name = "property", .kind = PROPERTY_STRING, .offset = offsetof(GlobalConfig, property) },
        { .name = "value", .kind = PROPERTY_STRING, .offset = offsetof(GlobalConfig, value) },
        { .name = NULL },
    };
    if (!option_apply(argument, NULL, properties, global, error)) {
        return false;
    }
    if (!global->driver || !global->property || !global->value) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'%s' is not DRIVER.PROPERTY=VALUE", argument);
        return false;
    }
    return true;
}

void global_config_free(gpointer object)
{
    GlobalConfig *global = object;
    g_free(global->driver);
    g_free(global->property);
    g_free(global->value);
    g_free(global);
}

static const OptionRow rows[] = {
    { .name = "machine",
      .argument = "TYPE[,PROPERTY=VALUE...]",
      .apply = apply_machine,
      .help = "the kind of machine (default: q35)" },
    { .name = "M", .argument = "TYPE", .apply = apply_machine },
    { .name = "accel",
      .argument = "NAME[:NAME][,jit=on|off][,tb-size=MIB]",
      .apply = apply_accel,
      .help = "what runs guest code: the first that works (default: kvm:xlate)" },
    { .name = "enable-kvm", .apply = apply_enable_kvm, .help = "as -accel kvm" },
    { .name = "cpu",
      .argument = "MODEL[,+FEATURE][,-FEATURE]...",
      .apply = apply_cpu,
      .help = "processor model and features" },
    { .name = "smp",
      .argument = "[cpus=]N[,sockets=N][,dies=N][,cores=N][,threads=N]",
      .apply = apply_smp,
      .help = "number and topology of vCPUs (default: 1)" },
    { .name = "m",
      .argument = "[size=]SIZE",
      .apply = apply_memory,
      .help = "guest RAM; MiB without a suffix (default: 128M)" },
    { .name = "name",
      .argument = "NAME[,process=NAME]",
      .apply = apply_name,
      .help = "name of the guest" },
    { .name = "uuid", .argument = "UUID", .apply = apply_uuid, .help = "identity of the guest" },
    { .name = "rtc",
      .argument = "[base=utc|localtime|DATE][,clock=host|vm]",
      .apply = apply_rtc,
      .help = "what the real-time clock starts at" },
    { .name = "no-hpet", .apply = apply_no_hpet, .help = "as -machine hpet=off" },
    { .name = "no-acpi", .apply = apply_no_acpi, .help = "as -machine acpi=off" },
    { .name = "overcommit",
      .argument = "mem-lock=on|off",
      .apply = apply_overcommit,
      .help = "keep guest and process in memory" },
    { .name = "global",
      .argument = "DRIVER.PROPERTY=VALUE",
      .apply = apply_global,
      .help = "property of all devices of one kind" },
    { .name = NULL },
};

const OptionGroup machine_option_group = { "Machine", rows };
