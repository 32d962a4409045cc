/* lodge run: a guest from a disk or a kernel, with its console, gone afterwards. lodge rm.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define QEMU "/usr/bin/qemu-system-x86_64"
/* virDomainCreateFlags */
enum { START_PAUSED = 1, START_AUTODESTROY = 2 };

static const CliOption run_options[] = {
    { "disk", CLI_STRING, 0, CLI_VALUE_FILE, "an image; changes stay in it" },
    { "kernel", CLI_STRING, CLI_NAMED, CLI_VALUE_FILE, "a Linux kernel; the host's if no disk" },
    { "initrd", CLI_STRING, CLI_NAMED, CLI_VALUE_FILE, "its initial RAM disk" },
    { "append", CLI_STRING, CLI_NAMED, CLI_VALUE_ANY, "its command line" },
    { "memory", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY, "MiB, or with a suffix (1G)" },
    { "vcpus", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY, "how many (2)" },
    { "name", CLI_STRING, CLI_NAMED, CLI_VALUE_ANY, "its name; made up if left out" },
    { "format", CLI_STRING, CLI_NAMED, CLI_VALUE_ANY, "of the image; found out if left out" },
    { "emulator", CLI_STRING, CLI_NAMED, CLI_VALUE_FILE, "the monitor to run it" },
    { "detach", CLI_FLAG, 0, CLI_VALUE_ANY, "no console; it runs on" },
    { "rm", CLI_FLAG, 0, CLI_VALUE_ANY, "end it with the console (the default)" },
    { "print-xml", CLI_FLAG, 0, CLI_VALUE_ANY, "print the XML and start nothing" },
    CLI_OPTIONS_END,
};

typedef struct Plan {
    char *name;
    char *disk, *format;
    char *kernel, *initrd, *append;
    char *emulator;
    guint64 memory_kib;
    gint64 vcpus;
    bool has_kvm;
} Plan;

static void plan_clear(Plan *plan)
{
    g_free(plan->name);
    g_free(plan->disk);
    g_free(plan->format);
    g_free(plan->kernel);
    g_free(plan->initrd);
    g_free(plan->append);
    g_free(plan->emulator);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Plan, plan_clear)

/* "qcow2" by the file's first bytes, else "raw". NULL: @error. */
static const char *guess_format(const char *path, GError **error)
{
    char magic[4] = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        lodge_error_set_errno(error, errno, "cannot open the disk '%s'", path);
        return NULL;
    }
    bool is_qcow2 = read(fd, magic, sizeof(magic)) == 4 && memcmp(magic, "QFI\xfb", 4) == 0;
    close(fd);
    return is_qcow2 ? "qcow2" : "raw";
}

/* The kernel that runs here, with its initial RAM disk, which then stops at a shell. */
static bool plan_host_kernel(Plan *plan, GError **error)
{
    struct utsname uts;
    uname(&uts);
    plan->kernel = g_strdup_printf("/boot/vmlinuz-%s", uts.release);
    plan->initrd = g_strdup_printf("/boot/initrd.img-%s", uts.release);
    if (access(plan->kernel, R_OK) != 0 || access(plan->initrd, R_OK) != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "nothing to run: name a disk ('lodge run disk.qcow2') or a kernel ('lodge run "
                    "--kernel FILE --initrd FILE'); this host's own '%s' cannot be read",
                    plan->kernel);
        return false;
    }
    plan->append = g_strdup("console=ttyS0 break=top");
    return true;
}

/* An existing file's full path. (transfer full) NULL: @error. */
static char *full_path(const char *what, const char *path, GError **error)
{
    if (access(path, R_OK) != 0) {
        lodge_error_set_errno(error, errno, "cannot read the %s '%s'", what, path);
        return NULL;
    }
    return g_canonicalize_filename(path, NULL);
}

static bool plan_boot(const CliArgs *args, Plan *plan, GError **error)
{
    const char *kernel = cli_args_string(args, "kernel");
    const char *initrd = cli_args_string(args, "initrd");
    const char *append = cli_args_string(args, "append");
    const char *emulator = cli_args_string(args, "emulator");
    if ((initrd || append) && !kernel) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "--%s needs --kernel",
                    initrd ? "initrd" : "append");
        return false;
    }
    plan->emulator = g_strdup(emulator);
    if (!kernel && !plan->disk) {
        return plan_host_kernel(plan, error);
    }
    if (!kernel && !emulator && access(QEMU, X_OK) == 0) {
        fprintf(stderr, "lodge-vmm has no firmware to boot a disk by; QEMU runs this guest\n");
        plan->emulator = g_strdup(QEMU);
    }
    if (kernel && !(plan->kernel = full_path("kernel", kernel, error))) {
        return false;
    }
    if (initrd && !(plan->initrd = full_path("initial RAM disk", initrd, error))) {
        return false;
    }
    plan->append = append       ? g_strdup(append)
                   : !kernel    ? NULL
                   : plan->disk ? g_strdup("console=ttyS0 root=/dev/vda rw")
                                : g_strdup("console=ttyS0");
    return true;
}

static bool make_plan(CliSession *session, const CliArgs *args, Plan *plan, GError **error)
{
    const char *disk = cli_args_string(args, "disk");
    const char *name = cli_args_string(args, "name");
    const char *format = cli_args_string(args, "format");
    guint64 memory = (guint64)1 << 30;
    plan->vcpus = 2;
    if (!cli_args_exclusive(args, "detach", "rm", error) ||
        !cli_args_size(args, "memory", 1 << 20, &memory, error) ||
        !cli_args_int(args, "vcpus", 1, 1024, &plan->vcpus, error)) {
        return false;
    }
    plan->memory_kib = memory / 1024;
    plan->name = name ? g_strdup(name) : g_strdup_printf("run-%08x", g_random_int());
    if (disk) {
        format = format ? format : guess_format(disk, error);
        plan->disk = format ? full_path("disk", disk, error) : NULL;
        plan->format = g_strdup(format);
        if (!plan->disk) {
            return false;
        }
    }
    RemoteConnectGetCapabilitiesRet caps;
    plan->has_kvm =
        remote_connect_get_capabilities(cli_client(session), &session->arena, &caps, NULL) &&
        strstr(caps.capabilities, "<domain type='kvm'");
    return plan_boot(args, plan, error);
}

static void write_disk(XmlWriter *xml, const Plan *plan)
{
    xml_write_start(xml, "disk");
    xml_write_attr(xml, "type", "file");
    xml_write_attr(xml, "device", "disk");
    xml_write_start(xml, "driver");
    xml_write_attr(xml, "name", "qemu");
    xml_write_attr(xml, "type", plan->format);
    xml_write_end(xml);
    xml_write_start(xml, "source");
    xml_write_attr(xml, "file", plan->disk);
    xml_write_end(xml);
    xml_write_start(xml, "target");
    xml_write_attr(xml, "dev", "vda");
    xml_write_attr(xml, "bus", "virtio");
    xml_write_end(xml);
    xml_write_end(xml);
}

static void write_devices(XmlWriter *xml, const Plan *plan)
{
    xml_write_start(xml, "devices");
    xml_write_leaf(xml, "emulator", plan->emulator);
    if (plan->disk) {
        write_disk(xml, plan);
    }
    xml_write_start(xml, "interface");
    xml_write_attr(xml, "type", "user");
    xml_write_start(xml, "model");
    xml_write_attr(xml, "type", "virtio");
    xml_write_end(xml);
    xml_write_end(xml);
    xml_write_start(xml, "console");
    xml_write_attr(xml, "type", "pty");
    xml_write_end(xml);
    xml_write_start(xml, "rng");
    xml_write_attr(xml, "model", "virtio");
    xml_write_start(xml, "backend");
    xml_write_attr(xml, "model", "random");
    xml_write_text(xml, "/dev/urandom");
    xml_write_end(xml);
    xml_write_end(xml);
    xml_write_end(xml);
}

/* (transfer full) */
static char *plan_xml(const Plan *plan)
{
    XmlWriter *xml = xml_writer_new();
    xml_write_start(xml, "domain");
    xml_write_attr(xml, "type", plan->has_kvm ? "kvm" : "qemu");
    xml_write_leaf(xml, "name", plan->name);
    g_autofree char *memory = g_strdup_printf("%" G_GUINT64_FORMAT, plan->memory_kib);
    xml_write_start(xml, "memory");
    xml_write_attr(xml, "unit", "KiB");
    xml_write_text(xml, memory);
    xml_write_end(xml);
    xml_write_leaf_fmt(xml, "vcpu", "%" G_GINT64_FORMAT, plan->vcpus);
    xml_write_start(xml, "os");
    xml_write_start(xml, "type");
    xml_write_attr(xml, "arch", "x86_64");
    xml_write_attr(xml, "machine", "q35");
    xml_write_text(xml, "hvm");
    xml_write_end(xml);
    xml_write_leaf(xml, "kernel", plan->kernel);
    xml_write_leaf(xml, "initrd", plan->initrd);
    xml_write_leaf(xml, "cmdline", plan->append);
    xml_write_end(xml);
    xml_write_start(xml, "features");
    xml_write_start(xml, "acpi");
    xml_write_end(xml);
    xml_write_start(xml, "apic");
    xml_write_end(xml);
    xml_write_end(xml);
    write_devices(xml, plan);
    xml_write_end(xml);
    return xml_writer_finish(xml);
}

static bool run_run(CliSession *session, const CliArgs *args, GError **error)
{
    g_auto(Plan) plan = { 0 };
    if (!make_plan(session, args, &plan, error)) {
        return false;
    }
    g_autofree char *xml = plan_xml(&plan);
    if (cli_args_flag(args, "print-xml")) {
        cli_print_xml(session, xml);
        return true;
    }
    bool stays = cli_args_flag(args, "detach");
    RemoteDomainCreateXmlArgs call = { xml, stays ? 0 : START_PAUSED | START_AUTODESTROY };
    RemoteDomainCreateXmlRet ret;
    if (!remote_domain_create_xml(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Failed to run '%s'", plan.disk ? plan.disk : plan.kernel);
    }
    if (stays) {
        cli_note(session,
                 "Guest '%s' runs; 'lodge console %s' shows it, 'lodge rm --force %s' ends it",
                 ret.dom.name, ret.dom.name, ret.dom.name);
        return true;
    }
    bool ok = cli_run_console(session, &ret.dom, NULL, 0, true, error);
    RemoteDomainDestroyFlagsArgs destroy = { ret.dom, 0 };
    /* It may have ended by itself. */
    remote_domain_destroy_flags(cli_client(session), &destroy, NULL);
    return ok;
}

/* Removing */

static const CliOption rm_options[] = {
    { "all", CLI_FLAG, 0, CLI_VALUE_ANY, "every domain" },
    { "force", CLI_FLAG, 0, CLI_VALUE_ANY, "running ones too; ask nothing" },
    { "domain", CLI_REST, 0, CLI_VALUE_DOMAIN, "names, ids or UUIDs" },
    CLI_OPTIONS_END,
};

/* All that belongs to a definition: saved state, metadata of snapshots and checkpoints, NVRAM,
 * TPM. */
#define UNDEFINE_EVERYTHING (1u | 2u | 4u | 16u | 32u)

static bool remove_domain(CliSession *session, const RemoteDomain *domain, bool force,
                          GError **error)
{
    RpcClient *client = cli_client(session);
    RemoteDomainIsPersistentArgs ask = { *domain };
    RemoteDomainIsPersistentRet persistent = { 1 };
    if (domain->id >= 0 && !force) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                    "'%s' is running; shut it down ('lodge shutdown %s'), or give --force to stop "
                    "it at once",
                    domain->name, domain->name);
        return false;
    }
    remote_domain_is_persistent(client, &ask, &session->arena, &persistent, NULL);
    RemoteDomainDestroyFlagsArgs destroy = { *domain, 0 };
    RemoteDomainUndefineFlagsArgs undefine = { *domain, UNDEFINE_EVERYTHING };
    if (domain->id >= 0 && !remote_domain_destroy_flags(client, &destroy, error)) {
        return cli_fail(error, "Failed to stop '%s'", domain->name);
    }
    if (persistent.persistent && !remote_domain_undefine_flags(client, &undefine, error)) {
        return cli_fail(error, "Failed to remove '%s'", domain->name);
    }
    cli_note(session, "Domain '%s' removed", domain->name);
    return true;
}

/* Whether the person at the terminal agrees. */
static bool confirm(const RemoteDomain *domains, uint32_t count, GError **error)
{
    char answer[8] = "";
    if (!isatty(STDIN_FILENO)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "not asked to remove %u domains on a terminal: give --force to do it", count);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        printf("  %s%s\n", domains[i].name, domains[i].id >= 0 ? " (running)" : "");
    }
    printf("Remove these %u domains? Their disks stay. [y/N] ", count);
    fflush(stdout);
    if (!fgets(answer, sizeof(answer), stdin) || g_ascii_tolower(answer[0]) != 'y') {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CANCELLED, "nothing was removed");
        return false;
    }
    return true;
}

static bool remove_all(CliSession *session, bool force, GError **error)
{
    RemoteConnectListAllDomainsArgs call = { .need_results = 1 };
    RemoteConnectListAllDomainsRet ret;
    if (!remote_connect_list_all_domains(cli_client(session), &call, &session->arena, &ret,
                                         error)) {
        return cli_fail(error, "Failed to list domains");
    }
    if (ret.n_domains > 0 && !force && !confirm(ret.domains, ret.n_domains, error)) {
        return false;
    }
    for (uint32_t i = 0; i < ret.n_domains; i++) {
        if (!remove_domain(session, &ret.domains[i], true, error)) {
            return false;
        }
    }
    return true;
}

static bool run_rm(CliSession *session, const CliArgs *args, GError **error)
{
    const char *const *names = cli_args_rest(args);
    bool force = cli_args_flag(args, "force");
    if (cli_args_flag(args, "all")) {
        if (*names) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "--all is every domain: name none beside it");
            return false;
        }
        return remove_all(session, force, error);
    }
    if (!*names) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "name the domains to remove, or give --all");
        return false;
    }
    for (; *names; names++) {
        RemoteDomain domain;
        if (!cli_domain_by_word(session, *names, &domain, error) ||
            !remove_domain(session, &domain, force, error)) {
            return false;
        }
    }
    return true;
}

const CliCommand cli_run_commands[] = {
    { "rm", "remove domains with all that belongs to them but their disks", NULL, rm_options, 0,
      run_rm },
    { "run", "run a guest from a disk or a kernel, with its console",
      "Leaving the console (^]) ends the guest; nothing of it stays but its disk.\n"
      "Without a disk and a kernel the host's own kernel runs, to a shell.",
      run_options, CLI_BARE, run_run },
    { NULL },
};
