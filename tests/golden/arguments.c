/* Reads domains' XML as the daemon would start it, and writes the engines' arguments, one option a
 * line: for QEMU, then for lodge-vmm (with a kernel, where there is none: it boots nothing else).
 * Usage: conf-arguments FILE...      errors as "error CODE: TEXT"; guests are divided by form feeds
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/command-line.h"
#include "daemon/domain/guest-firmware.h"
#include "environment.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* The numbers of descriptors tell nothing: all are of /dev/null, and written as N. */
static int open_nothing(void)
{
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int no_disk(void *opaque, const DomainDisk *disk, GError **error)
{
    return open_nothing();
}

static int no_file(void *opaque, const char *path, bool for_writing, GError **error)
{
    return open_nothing();
}

static int no_socket(void *opaque, const char *path, GError **error)
{
    return open_nothing();
}

static int no_tap(void *opaque, DomainInterface *interface, GError **error)
{
    return open_nothing();
}

static int no_vsock(void *opaque, DomainVsock *vsock, GError **error)
{
    return open_nothing();
}

static int no_device(void *opaque, const char *path, int flags, GError **error)
{
    return open_nothing();
}

static bool no_hostdev(void *opaque, DomainHostdev *hostdev, int *out_fd, GError **error)
{
    bool has_fd = hostdev->type == HOSTDEV_USB || hostdev->type == HOSTDEV_SCSI;
    *out_fd = has_fd ? open_nothing() : -1;
    return !has_fd || *out_fd >= 0;
}

static int no_helper(void *opaque, DomainDevice *device, GError **error)
{
    return open_nothing();
}

static const CommandLineOps nothing = {
    .open_disk = no_disk,
    .open_file = no_file,
    .listen_unix = no_socket,
    .open_tap = no_tap,
    .open_vsock = no_vsock,
    .take_hostdev = no_hostdev,
    .open_device = no_device,
    .connect_unix = no_socket,
    .start_helper = no_helper,
};

static void write_argument(const char *text)
{
    static const char *const numbered[] = { "fd=", "vhostfd=" };
    const char *at = text;
    while (*at) {
        bool is_start = at == text || at[-1] == ',';
        const char *found = NULL;
        for (unsigned i = 0; is_start && i < G_N_ELEMENTS(numbered); i++) {
            found = g_str_has_prefix(at, numbered[i]) ? numbered[i] : found;
        }
        if (found) {
            printf("%sN", found);
            at += strlen(found) + strspn(at + strlen(found), "0123456789");
        } else {
            putchar(*at++);
        }
    }
}

static void write_line(const CommandLine *line)
{
    for (unsigned i = 1; i < line->args->len && line->args->pdata[i]; i++) {
        const char *word = line->args->pdata[i];
        printf("%s", word[0] == '-' && i > 1 ? "\n" : i > 1 ? " " : "");
        write_argument(word);
    }
    putchar('\n');
}

/* As the start does. */
static bool choose_firmware(DomainDef *def, GError **error)
{
    static const char *const folders[] = { TEST_FIRMWARE, NULL };
    const FirmwareHost host = { false, test_environment.nvram_dir, folders };
    return guest_firmware_choose(def, &host, false, error);
}

static void choose_ports(DomainDef *def)
{
    for (unsigned i = 0; i < def->devices[DEVICE_GRAPHICS].count; i++) {
        DomainGraphics *graphics = def->devices[DEVICE_GRAPHICS].item[i];
        graphics->port = graphics->port > 0 ? graphics->port : 5900;
    }
}

/* As a daemon has it that started after the guest was defined: read from the text that was kept. */
static DomainDef *definition(const char *text, GError **error)
{
    const DomainEnvironment env = test_environment;
    g_autoptr(DomainDef) def = domain_def_parse(text, DOMAIN_PARSE_INACTIVE, &env, NULL, error);
    if (!def) {
        return NULL;
    }
    g_autofree char *kept = domain_def_format(def, DOMAIN_FORMAT_INACTIVE | DOMAIN_FORMAT_SECURE);
    return domain_def_parse(kept, DOMAIN_PARSE_INACTIVE | DOMAIN_PARSE_KEEP, NULL, NULL, error);
}

static void arguments(const char *text, const char *emulator)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(DomainDef) def = definition(text, &error);
    g_autoptr(CommandLine) line = NULL;
    if (def) {
        g_free(def->emulator);
        def->emulator = g_strdup(emulator);
        if (strstr(emulator, "lodge") && !def->os.kernel) {
            def->os.kernel = g_strdup("/boot/kernel");
        }
        domain_def_assign_aliases(def);
        choose_ports(def);
    }
    if (def && choose_firmware(def, &error)) {
        line = command_line_build(def, &nothing, NULL, "/run/guest", open_nothing(), &error);
    }
    if (line) {
        write_line(line);
    } else {
        printf("error %d: %s\n", error->code, error->message);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        g_autofree char *text = NULL;
        g_autoptr(GError) error = NULL;
        if (!g_file_get_contents(argv[i], &text, NULL, &error)) {
            fprintf(stderr, "%s\n", error->message);
            return 1;
        }
        printf("--- qemu\n");
        arguments(text, "/usr/bin/qemu-system-x86_64");
        printf("--- lodge-vmm\n");
        arguments(text, "/usr/bin/lodge-vmm");
        if (argc > 2) {
            putchar('\f');
        }
    }
    return 0;
}
