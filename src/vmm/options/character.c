/* Options of character back ends, and of what sits on them: serial ports, monitors, debugger.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/options/json.h"
#include "vmm/options/table.h"

#include <string.h>

#define SERIALS_MAX 4

/* Short texts and the back ends they stand for. */
typedef struct Shorthand {
    const char *prefix;  /* up to a colon, or the whole text */
    const char *type;    /* of the chardev */
    const char *key;     /* the text after the colon is its value; NULL: there is none */
    const char *options; /* more of them */
} Shorthand;

static const Shorthand shorthands[] = {
    { "stdio", "stdio", NULL, NULL },     { "null", "null", NULL, NULL },
    { "pty", "pty", NULL, NULL },         { "file", "file", "path", NULL },
    { "pipe", "pipe", "path", NULL },     { "unix", "socket", "path", NULL },
    { "tcp", "socket", "address", NULL }, { "telnet", "socket", "address", "telnet=on" },
};

static const Shorthand *find_shorthand(const char *text, const char *colon)
{
    size_t length = colon ? (size_t)(colon - text) : strlen(text);
    for (unsigned i = 0; i < G_N_ELEMENTS(shorthands); i++) {
        const Shorthand *s = &shorthands[i];
        if (!strncmp(s->prefix, text, length) && !s->prefix[length] && !colon == !s->key) {
            return s;
        }
    }
    return NULL;
}

static void refuse_shorthand(const char *text, GError **error)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                "'%s' is not supported; supported: stdio, mon:stdio, pty, null, none, file:PATH, "
                "pipe:PATH, unix:PATH[,server=on][,wait=off], tcp:[HOST]:PORT[,server=on], "
                "telnet:..., chardev:ID",
                text);
}

/* "HOST:PORT" in the list's "address" becomes host= and port=. */
static bool split_address(KeyvalList *list, GError **error)
{
    g_autofree char *address = keyval_take(list, "address");
    char *colon = address ? strrchr(address, ':') : NULL;
    if (!address) {
        return true;
    }
    if (!colon || !colon[1]) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'%s' is not HOST:PORT or :PORT", address);
        return false;
    }
    *colon = 0;
    keyval_add(list, "host", address);
    keyval_add(list, "port", colon + 1);
    return true;
}

static bool add_shorthand(MachineConfig *config, const char *text, bool is_mux, const char *id,
                          GError **error)
{
    const char *comma = strchr(text, ',');
    const char *colon = strchr(text, ':');
    if (colon && comma && comma < colon) {
        colon = NULL;
    }
    g_autofree char *head = comma && !colon ? g_strndup(text, (gsize)(comma - text)) : NULL;
    const Shorthand *s = find_shorthand(head ? head : text, colon);
    if (!s) {
        refuse_shorthand(text, error);
        return false;
    }
    const char *rest = colon ? colon + 1 : comma ? comma + 1 : NULL;
    g_autoptr(KeyvalList) list =
        rest ? keyval_parse(rest, colon ? s->key : NULL, error) : keyval_list_new();
    if (!list || !split_address(list, error)) {
        return false;
    }
    if (s->options) {
        keyval_add(list, "telnet", "on");
    }
    if (is_mux) {
        keyval_add(list, "mux", "on");
        /* Ctrl-a x ends the monitor; Ctrl-C is the guest's. */
        if (!strcmp(s->type, "stdio") && !keyval_get(list, "signal")) {
            keyval_add(list, "signal", "off");
        }
    }
    keyval_add(list, "id", id);
    return option_add_backend(config->chardevs, "chardev", g_strdup(s->type),
                              g_steal_pointer(&list), true, error);
}

/* The multiplexed chardev on standard input and output, if one was made. */
static const char *find_stdio(const MachineConfig *config)
{
    for (guint i = 0; i < config->chardevs->len; i++) {
        const BackendConfig *chardev = g_ptr_array_index(config->chardevs, i);
        if (!strcmp(chardev->type, "stdio")) {
            return chardev->id;
        }
    }
    return NULL;
}

static void add_monitor(MachineConfig *config, const char *chardev, bool is_control, bool is_pretty)
{
    MonitorConfig *monitor = g_new0(MonitorConfig, 1);
    monitor->chardev = g_strdup(chardev);
    monitor->is_control = is_control;
    monitor->is_pretty = is_pretty;
    g_ptr_array_add(config->monitors, monitor);
}

void monitor_config_free(gpointer object)
{
    MonitorConfig *monitor = object;
    g_free(monitor->chardev);
    g_free(monitor);
}

static bool has_monitor_on(const MachineConfig *config, const char *chardev)
{
    for (guint i = 0; i < config->monitors->len; i++) {
        const MonitorConfig *monitor = g_ptr_array_index(config->monitors, i);
        if (!strcmp(monitor->chardev, chardev)) {
            return true;
        }
    }
    return false;
}

char *chardev_shorthand(MachineConfig *config, const char *text, const char *id, GError **error)
{
    if (g_str_has_prefix(text, "chardev:")) {
        return g_strdup(text + strlen("chardev:"));
    }
    if (!strcmp(text, "none")) {
        return NULL;
    }
    bool is_mux = g_str_has_prefix(text, "mon:");
    const char *inner = is_mux ? text + strlen("mon:") : text;
    const char *present = is_mux && !strcmp(inner, "stdio") ? find_stdio(config) : NULL;
    if (present) {
        return g_strdup(present);
    }
    if (!add_shorthand(config, inner, is_mux, id, error)) {
        return NULL;
    }
    if (is_mux && !has_monitor_on(config, id)) {
        add_monitor(config, id, false, false);
    }
    return g_strdup(id);
}

static bool apply_chardev(MachineConfig *config, const char *argument, GError **error)
{
    g_autoptr(KeyvalList) list = keyval_parse_either(argument, "backend", error);
    if (!list) {
        return false;
    }
    g_autofree char *type = keyval_take(list, "backend");
    if (keyval_has_word(list, "help")) {
        config->help = HELP_CHARDEVS;
        config->help_name = g_steal_pointer(&type);
        return true;
    }
    if (!type) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "the type comes first; '-chardev help' lists them");
        return false;
    }
    return option_add_backend(config->chardevs, "chardev", g_steal_pointer(&type),
                              g_steal_pointer(&list), true, error);
}

static bool apply_serial(MachineConfig *config, const char *argument, GError **error)
{
    if (config->serials->len == SERIALS_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "there are at most %d serial ports",
                    SERIALS_MAX);
        return false;
    }
    g_autofree char *id = g_strdup_printf("serial%u", config->serials->len);
    char *chardev = chardev_shorthand(config, argument, id, error);
    if (!chardev && strcmp(argument, "none")) {
        return false;
    }
    g_ptr_array_add(config->serials, chardev);
    return true;
}

static bool add_monitor_on(MachineConfig *config, const char *argument, bool is_control,
                           bool is_pretty, GError **error)
{
    g_autofree char *id = g_strdup_printf("compat_monitor%u", config->monitors->len);
    g_autofree char *chardev = chardev_shorthand(config, argument, id, error);
    if (!chardev) {
        return !strcmp(argument, "none");
    }
    if (!has_monitor_on(config, chardev)) {
        add_monitor(config, chardev, is_control, is_pretty);
    }
    return true;
}

static bool apply_monitor(MachineConfig *config, const char *argument, GError **error)
{
    return add_monitor_on(config, argument, false, false, error);
}

static bool apply_qmp(MachineConfig *config, const char *argument, GError **error)
{
    return add_monitor_on(config, argument, true, false, error);
}

static bool apply_qmp_pretty(MachineConfig *config, const char *argument, GError **error)
{
    return add_monitor_on(config, argument, true, true, error);
}

static const char *const monitor_modes[] = { "readline", "control", NULL };

typedef struct MonOptions {
    char *chardev, *id;
    uint32_t mode;
    bool pretty;
} MonOptions;

static const Property mon_properties[] = {
    { .name = "chardev", .kind = PROPERTY_STRING, .offset = offsetof(MonOptions, chardev) },
    { .name = "id", .kind = PROPERTY_STRING, .offset = offsetof(MonOptions, id) },
    { .name = "mode",
      .kind = PROPERTY_ENUM,
      .offset = offsetof(MonOptions, mode),
      .choices = monitor_modes },
    { .name = "pretty", .kind = PROPERTY_BOOL, .offset = offsetof(MonOptions, pretty) },
    { .name = NULL },
};

static bool apply_mon(MachineConfig *config, const char *argument, GError **error)
{
    MonOptions mon = { 0 };
    bool ok = option_apply(argument, "chardev", mon_properties, &mon, error);
    if (ok && !mon.chardev) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "the character back end is missing: chardev=ID");
        ok = false;
    }
    if (ok) {
        add_monitor(config, mon.chardev, mon.mode == 1, mon.pretty);
    }
    g_free(mon.chardev);
    g_free(mon.id);
    return ok;
}

static bool apply_gdb(MachineConfig *config, const char *argument, GError **error)
{
    g_free(config->gdb);
    config->gdb = NULL;
    if (g_str_has_prefix(argument, "tcp:") && !strstr(argument, ",server")) {
        g_autofree char *listening = g_strdup_printf("%s,server=on,wait=off", argument);
        config->gdb = chardev_shorthand(config, listening, "gdb", error);
    } else {
        config->gdb = chardev_shorthand(config, argument, "gdb", error);
    }
    return config->gdb || !strcmp(argument, "none");
}

static bool apply_s(MachineConfig *config, const char *argument, GError **error)
{
    return apply_gdb(config, "tcp::1234", error);
}

static const OptionRow rows[] = {
    { .name = "chardev",
      .argument = "TYPE,id=NAME[,OPTION=VALUE...]",
      .apply = apply_chardev,
      .help = "character back end for other options; '-chardev help' lists types" },
    { .name = "serial",
      .argument = "BACKEND",
      .apply = apply_serial,
      .help = "serial port: stdio, mon:stdio, pty, null, none, file:PATH, unix:PATH, chardev:ID" },
    { .name = "monitor",
      .argument = "BACKEND",
      .apply = apply_monitor,
      .help = "monitor for people" },
    { .name = "qmp",
      .argument = "BACKEND",
      .apply = apply_qmp,
      .help = "monitor for programs (QMP)" },
    { .name = "qmp-pretty",
      .argument = "BACKEND",
      .apply = apply_qmp_pretty,
      .help = "the same with indented JSON" },
    { .name = "mon",
      .argument = "[chardev=]ID[,mode=readline|control][,pretty=on]",
      .apply = apply_mon,
      .help = "monitor on a -chardev" },
    { .name = "gdb",
      .argument = "BACKEND",
      .apply = apply_gdb,
      .help = "wait for a debugger, as tcp::1234" },
    { .name = "s", .apply = apply_s, .help = "as -gdb tcp::1234" },
    { .name = NULL },
};

const OptionGroup character_option_group = { "Consoles, monitors, debugger", rows };
