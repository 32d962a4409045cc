/* Options of the process and its life.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/options/json.h"
#include "vmm/options/table.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

static bool apply_help(MachineConfig *config, const char *argument, GError **error)
{
    config->help = HELP_OPTIONS;
    return true;
}

static bool apply_version(MachineConfig *config, const char *argument, GError **error)
{
    config->help = HELP_VERSION;
    return true;
}

static bool only_none(const char *argument, GError **error)
{
    if (!strcmp(argument, "none")) {
        return true;
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                "'%s' is not supported; supported: none", argument);
    return false;
}

static bool apply_display(MachineConfig *config, const char *argument, GError **error)
{
    config->has_display_option = true;
    return only_none(argument, error);
}

static bool apply_vga(MachineConfig *config, const char *argument, GError **error)
{
    return only_none(argument, error);
}

static bool apply_add_fd(MachineConfig *config, const char *argument, GError **error)
{
    static const Property properties[] = {
        { .name = "fd", .kind = PROPERTY_UINT, .offset = offsetof(FdConfig, fd), .max = INT_MAX },
        { .name = "set", .kind = PROPERTY_UINT, .offset = offsetof(FdConfig, set), .max = INT_MAX },
        { .name = "opaque", .kind = PROPERTY_STRING, .offset = offsetof(FdConfig, note) },
        { .name = NULL },
    };
    FdConfig *fd = g_new0(FdConfig, 1);
    fd->fd = UINT64_MAX;
    g_ptr_array_add(config->fds, fd);
    if (!option_apply(argument, NULL, properties, fd, error)) {
        return false;
    }
    if (fd->fd == UINT64_MAX || fd->fd <= 2 || fcntl((int)fd->fd, F_GETFD) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "fd=NUMBER must be an open descriptor above 2");
        return false;
    }
    return true;
}

void fd_config_free(gpointer object)
{
    FdConfig *fd = object;
    g_free(fd->note);
    g_free(fd);
}

static const char *const sandbox_obsolete[] = { "deny", "allow", NULL };
static const char *const sandbox_choices[] = { "allow", "deny", NULL };
static const char *const sandbox_elevate[] = { "allow", "deny", "children", NULL };

typedef struct SandboxOptions {
    bool enable;
    uint32_t obsolete, elevate, spawn, resources;
} SandboxOptions;

#define SANDBOX_ENUM(name_, member, choices_)                                                      \
    {                                                                                              \
        .name = name_, .kind = PROPERTY_ENUM, .offset = offsetof(SandboxOptions, member),          \
        .choices = (choices_)                                                                      \
    }

static bool apply_sandbox(MachineConfig *config, const char *argument, GError **error)
{
    static const Property properties[] = {
        { .name = "enable", .kind = PROPERTY_BOOL, .offset = offsetof(SandboxOptions, enable) },
        SANDBOX_ENUM("obsolete", obsolete, sandbox_obsolete),
        SANDBOX_ENUM("elevateprivileges", elevate, sandbox_elevate),
        SANDBOX_ENUM("spawn", spawn, sandbox_choices),
        SANDBOX_ENUM("resourcecontrol", resources, sandbox_choices),
        { .name = NULL },
    };
    SandboxOptions sandbox = { 0 };
    if (!option_apply(argument, "enable", properties, &sandbox, error)) {
        return false;
    }
    config->sandbox = (SandboxConfig){
        .is_on = sandbox.enable,
        .obsolete = sandbox.obsolete == 0 ? SANDBOX_DENY : SANDBOX_ALLOW,
        .elevate = sandbox.elevate,
        .spawn = sandbox.spawn,
        .resources = sandbox.resources,
    };
    return true;
}

static bool apply_action(MachineConfig *config, const char *argument, GError **error)
{
    static const char *const reboots[] = { "reset", "shutdown", NULL };
    static const char *const shutdowns[] = { "poweroff", "pause", NULL };
    static const char *const panics[] = { "shutdown", NULL };
    static const char *const watchdogs[] = { "reset", "shutdown", "poweroff",   "pause",
                                             "debug", "none",     "inject-nmi", NULL };
    struct {
        uint32_t reboot, shutdown, panic, watchdog;
    } action = { config->no_reboot, config->no_shutdown, 0, 0 };
    const Property properties[] = {
        { .name = "reboot", .kind = PROPERTY_ENUM, .offset = 0, .choices = reboots },
        { .name = "shutdown", .kind = PROPERTY_ENUM, .offset = 4, .choices = shutdowns },
        { .name = "panic", .kind = PROPERTY_ENUM, .offset = 8, .choices = panics },
        { .name = "watchdog", .kind = PROPERTY_ENUM, .offset = 12, .choices = watchdogs },
        { .name = NULL },
    };
    bool ok = option_apply(argument, NULL, properties, &action, error);
    config->no_reboot = action.reboot == 1;
    config->no_shutdown = action.shutdown == 1;
    return ok;
}

static bool apply_audiodev(MachineConfig *config, const char *argument, GError **error)
{
    g_autoptr(KeyvalList) list = keyval_parse_either(argument, "driver", error);
    const char *driver = list ? keyval_get(list, "driver") : NULL;
    if (list && g_strcmp0(driver, "none") != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "driver '%s' is not supported; supported: none", driver ? driver : "");
    }
    return list && !g_strcmp0(driver, "none");
}

typedef struct MsgOptions {
    bool timestamp;
} MsgOptions;

static bool apply_msg(MachineConfig *config, const char *argument, GError **error)
{
    static const Property properties[] = {
        { .name = "timestamp", .kind = PROPERTY_BOOL, .offset = offsetof(MsgOptions, timestamp) },
        { .name = NULL },
    };
    MsgOptions msg = { 0 };
    bool ok = option_apply(argument, "timestamp", properties, &msg, error);
    config->log_timestamps = msg.timestamp;
    return ok;
}

#define FLAG(name_, member, help_)                                                                 \
    {                                                                                              \
        .name = name_, .flag = offsetof(MachineConfig, member), .help = help_                      \
    }

static const OptionRow rows[] = {
    FLAG("nographic", is_nographic, "serial port and monitor on the terminal; Ctrl-a h for help"),
    { .name = "display",
      .argument = "none",
      .apply = apply_display,
      .help = "no display, and no console on the terminal by default" },
    { .name = "vga", .argument = "none", .apply = apply_vga, .help = "no display adapter" },
    FLAG("nodefaults", no_defaults, "only the devices that are asked for"),
    FLAG("no-user-config", no_user_config, "accepted: there are no configuration files"),
    FLAG("S", starts_paused, "do not start the vCPUs; 'cont' does"),
    FLAG("no-reboot", no_reboot, "end when the guest resets"),
    FLAG("no-shutdown", no_shutdown, "stay, paused, when the guest powers off"),
    FLAG("daemonize", daemonize, "go on in the background once the guest is ready"),
    { .name = "pidfile",
      .argument = "FILE",
      .text = offsetof(MachineConfig, pidfile),
      .help = "write the process id there" },
    { .name = "add-fd",
      .argument = "fd=NUMBER,set=SET[,opaque=TEXT]",
      .apply = apply_add_fd,
      .help = "an inherited descriptor, opened as /dev/fdset/SET" },
    { .name = "sandbox",
      .argument = "on|off[,obsolete=allow|deny][,elevateprivileges=allow|deny|children]"
                  "[,spawn=allow|deny][,resourcecontrol=allow|deny]",
      .apply = apply_sandbox,
      .help = "filter of system calls (seccomp)" },
    { .name = "action",
      .argument = "[reboot=reset|shutdown][,shutdown=poweroff|pause][,panic=shutdown]",
      .apply = apply_action,
      .help = "what happens when the guest resets, powers off or panics" },
    { .name = "audiodev", .argument = "none,id=NAME", .apply = apply_audiodev, .help = "no sound" },
    { .name = "msg",
      .argument = "timestamp=on|off",
      .apply = apply_msg,
      .help = "time before each message" },
    { .name = "version", .apply = apply_version, .help = "print the version" },
    { .name = "help", .apply = apply_help, .help = "print this" },
    { .name = "h", .apply = apply_help },
    { .name = NULL },
};

const OptionGroup process_option_group = { "Process", rows };
