/* HMP: the monitor for people, with QEMU's command names.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/strutil.h"
#include "vmm/monitor/internal.h"

#include <string.h>

typedef struct HmpCommand {
    const char *name, *alias; /* alias: or NULL */
    const char *arguments;    /* for help */
    const char *help;
    void (*run)(MonitorSession *session, const char *arguments, GString *out);
} HmpCommand;

extern const HmpCommand hmp_commands[];

static void print_error(GString *out, const GError *error)
{
    g_string_append_printf(out, "Error: %s\n", error->message);
}

static void run_stop(MonitorSession *session, const char *arguments, GString *out)
{
    session->set->target.pause(session->set->target.opaque);
}

static void run_cont(MonitorSession *session, const char *arguments, GString *out)
{
    g_autoptr(GError) error = NULL;
    if (!session->set->target.resume(session->set->target.opaque, &error)) {
        print_error(out, error);
    }
}

static void run_quit(MonitorSession *session, const char *arguments, GString *out)
{
    session->set->target.quit(session->set->target.opaque);
}

static void run_reset(MonitorSession *session, const char *arguments, GString *out)
{
    session->set->target.reset(session->set->target.opaque);
}

static void run_powerdown(MonitorSession *session, const char *arguments, GString *out)
{
    session->set->target.powerdown(session->set->target.opaque);
}

static void run_wakeup(MonitorSession *session, const char *arguments, GString *out)
{
    g_autoptr(GError) error = NULL;
    if (!monitor_wakeup(&session->set->target, &error)) {
        print_error(out, error);
    }
}

static void run_nmi(MonitorSession *session, const char *arguments, GString *out)
{
    g_autoptr(GError) error = NULL;
    if (!monitor_nmi(&session->set->target, &error)) {
        print_error(out, error);
    }
}

static void run_cpu(MonitorSession *session, const char *arguments, GString *out)
{
    guint64 index;
    if (!str_parse_u64(arguments, &index) || index >= session->set->target.vcpu_count) {
        g_string_append(out, "Error: invalid CPU index\n");
        return;
    }
    session->current_vcpu = (unsigned)index;
}

static void run_balloon(MonitorSession *session, const char *arguments, GString *out)
{
    g_autoptr(GError) error = NULL;
    guint64 megabytes;
    if (!str_parse_u64(arguments, &megabytes) || megabytes > UINT64_MAX >> 20 || !megabytes) {
        g_string_append(out, "Error: a number of MiB is needed\n");
    } else if (!monitor_set_balloon(&session->set->target, megabytes << 20, &error)) {
        print_error(out, error);
    }
}

static void run_set_link(MonitorSession *session, const char *arguments, GString *out)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) words = g_strsplit(arguments, " ", 2);
    bool is_up;
    if (g_strv_length(words) != 2 || !str_parse_bool(words[1], &is_up)) {
        g_string_append(out, "Error: a netdev and on or off are needed\n");
    } else if (!monitor_set_link(&session->set->target, words[0], is_up, &error)) {
        print_error(out, error);
    }
}

/* The rest of a command as one word (transfer full): in quotes, with \\ before those in it and
 * before itself, or as it is. NULL: the quotes do not end, or something follows. */
static char *last_word(const char *text)
{
    if (*text != '"') {
        return g_strdup(text);
    }
    g_autoptr(GString) word = g_string_new("");
    for (text++; *text && *text != '"'; text++) {
        text += *text == '\\' && (text[1] == '"' || text[1] == '\\');
        g_string_append_c(word, *text);
    }
    return *text == '"' && !text[1] ? g_strdup(word->str) : NULL;
}

/* "0 OPTIONS": the first word, a PCI address, is not looked at, as QEMU does with if=none. */
static void run_drive_add(MonitorSession *session, const char *arguments, GString *out)
{
    const MonitorTarget *target = &session->set->target;
    g_autoptr(GError) error = NULL;
    const char *text = strchr(arguments, ' ');
    g_autofree char *word = text ? last_word(text + 1) : NULL;
    if (!word) {
        g_string_append(out, "Error: drive_add takes 0 and one word of options\n");
        return;
    }
    g_autoptr(KeyvalList) options = keyval_parse(word, "file", &error);
    g_autofree char *id = options ? keyval_take(options, "id") : NULL;
    g_autofree char *interface = options ? keyval_take(options, "if") : NULL;
    if (options && (!id || g_strcmp0(interface, "none") != 0)) {
        g_string_append(out, "Error: id=NAME and if=none are needed\n");
    } else if (!options ||
               !target->backend_add(target->opaque, "drive", "drive", id, options, &error)) {
        print_error(out, error);
    } else {
        g_string_append(out, "OK\n");
    }
}

static void run_drive_del(MonitorSession *session, const char *arguments, GString *out)
{
    const MonitorTarget *target = &session->set->target;
    g_autoptr(GError) error = NULL;
    if (!target->backend_del(target->opaque, "drive", arguments, &error)) {
        print_error(out, error);
    }
}

static void run_commit(MonitorSession *session, const char *arguments, GString *out)
{
    if (session->set->target.flush_disks) {
        session->set->target.flush_disks(session->set->target.opaque);
    }
}

static void run_x(MonitorSession *session, const char *arguments, GString *out)
{
    dump_memory(session, arguments, true, out);
}

static void run_xp(MonitorSession *session, const char *arguments, GString *out)
{
    dump_memory(session, arguments, false, out);
}

static void print_infos(GString *out)
{
    for (const HmpInfo *info = hmp_infos; info->name; info++) {
        g_string_append_printf(out, "info %-12s  -- %s\n", info->name, info->help);
    }
}

static void run_info(MonitorSession *session, const char *arguments, GString *out)
{
    g_auto(GStrv) words = g_strsplit(arguments, " ", 2);
    if (!words[0] || !*words[0]) {
        print_infos(out);
        return;
    }
    for (const HmpInfo *info = hmp_infos; info->name; info++) {
        if (!strcmp(info->name, words[0])) {
            info->run(session, out);
            return;
        }
    }
    g_string_append_printf(out, "unknown command: 'info %s'\n", words[0]);
}

static void run_help(MonitorSession *session, const char *arguments, GString *out)
{
    if (!strcmp(arguments, "info")) {
        print_infos(out);
        return;
    }
    for (const HmpCommand *command = hmp_commands; command->name; command++) {
        if (*arguments && strcmp(arguments, command->name) != 0 &&
            g_strcmp0(arguments, command->alias) != 0) {
            continue;
        }
        g_autofree char *head =
            g_strdup_printf("%s%s%s%s%s", command->name, command->alias ? "|" : "",
                            command->alias ? command->alias : "", *command->arguments ? " " : "",
                            command->arguments);
        g_string_append_printf(out, "%-28s -- %s\n", head, command->help);
    }
}

const HmpCommand hmp_commands[] = {
    { "balloon", NULL, "MIB", "let the guest keep so much memory", run_balloon },
    { "commit", NULL, "[all]", "write what disks hold back", run_commit },
    { "cont", "c", "", "let the guest go on", run_cont },
    { "cpu", NULL, "INDEX", "choose the CPU that x and info registers look at", run_cpu },
    { "drive_add", NULL, "0 OPTIONS", "open an image for a device to come, as -drive if=none does",
      run_drive_add },
    { "drive_del", NULL, "DRIVE", "close the image of a drive that no device has", run_drive_del },
    { "help", "?", "[COMMAND]", "what there is", run_help },
    { "info", NULL, "[TOPIC]", "show something of the guest", run_info },
    { "nmi", NULL, "", "interrupt the guest by an NMI", run_nmi },
    { "quit", "q", "", "end the guest and the monitor", run_quit },
    { "set_link", NULL, "NETDEV on|off", "plug a network cable in or out", run_set_link },
    { "stop", "s", "", "pause the guest", run_stop },
    { "system_powerdown", NULL, "", "press the power button", run_powerdown },
    { "system_reset", NULL, "", "press the reset button", run_reset },
    { "system_wakeup", NULL, "", "wake the guest from a sleep state", run_wakeup },
    { "x", NULL, "/FORMAT ADDRESS", "dump virtual memory: /16xw, formats xduoc, sizes bhwg",
      run_x },
    { "xp", NULL, "/FORMAT ADDRESS", "dump physical memory", run_xp },
    { .name = NULL },
};

void hmp_execute(MonitorSession *session, const char *line, GString *out)
{
    g_autofree char *text = g_strstrip(g_strdup(line));
    size_t length = strcspn(text, " /\t");
    if (!*text) {
        return;
    }
    for (const HmpCommand *command = hmp_commands; command->name; command++) {
        const char *names[] = { command->name, command->alias };
        for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
            if (names[i] && strlen(names[i]) == length && !strncmp(names[i], text, length)) {
                command->run(session, g_strchug(text + length), out);
                return;
            }
        }
    }
    g_string_append_printf(out, "unknown command: '%.*s'\n", (int)length, text);
}

void hmp_complete(const char *line, GPtrArray *words)
{
    bool is_info = g_str_has_prefix(line, "info ");
    const char *prefix = is_info ? line + strlen("info ") : line;
    if (strchr(prefix, ' ')) {
        return;
    }
    if (is_info) {
        for (const HmpInfo *info = hmp_infos; info->name; info++) {
            if (g_str_has_prefix(info->name, prefix)) {
                g_ptr_array_add(words, g_strdup(info->name));
            }
        }
        return;
    }
    for (const HmpCommand *command = hmp_commands; command->name; command++) {
        if (g_str_has_prefix(command->name, prefix)) {
            g_ptr_array_add(words, g_strdup(command->name));
        }
    }
}

/* A port of a multiplexer is not on the screen until it gets the focus. */
static bool waits_for_focus(const MonitorSession *session)
{
    return !strcmp(session->backend->class->name, "mux");
}

void hmp_show(MonitorSession *session)
{
    static const char banner[] =
        "\r\nlodge " LODGE_VERSION " monitor - type 'help' for more information\r\n";
    if (!session->is_shown) {
        session->is_shown = true;
        monitor_write(session, banner, strlen(banner));
    } else {
        monitor_write(session, "\r\n", 2);
    }
    readline_show(session->readline);
}

void hmp_open(MonitorSession *session)
{
    readline_reset(session->readline);
    session->is_shown = false;
    if (!waits_for_focus(session)) {
        hmp_show(session);
    }
}

void hmp_receive(MonitorSession *session, uint8_t byte)
{
    if (!session->is_shown) {
        hmp_show(session);
    }
    readline_push(session->readline, byte);
}
