/* lodge doctor: what of the host keeps guests from running, and what to do about it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOW_SPACE ((guint64)1 << 30)
#define FILES_WANTED 4096u

typedef enum Verdict { VERDICT_OK, VERDICT_NOTE, VERDICT_PROBLEM } Verdict;

typedef struct Doctor {
    CliSession *session;
    CliTable *table;
    unsigned problems;
    bool has_kvm; /* /dev/kvm can be opened */
} Doctor;

static const char *const headings[] = { "Check", "Result", "Finding", "What to do", NULL };

static void report(Doctor *doctor, const char *check, Verdict verdict, const char *finding,
                   const char *advice)
{
    static const char *const words[] = { "ok", "note", "problem" };
    static const char *const colors[] = { "32", "33", "31" };
    doctor->problems += verdict == VERDICT_PROBLEM;
    cli_table_add(doctor->table, check, words[verdict], finding, advice);
    if (doctor->session->is_json) {
        return;
    }
    if (doctor->session->use_color) {
        printf("\033[%sm%-8s\033[0m", colors[verdict], words[verdict]);
    } else {
        printf("%-8s", words[verdict]);
    }
    printf("%-12s %s\n", check, finding);
    if (advice) {
        printf("%-21s-> %s\n", "", advice);
    }
}

/* A program beside this one, else in PATH. (transfer full) NULL: nowhere. */
static char *find_program(const char *name)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = self ? g_path_get_dirname(self) : g_strdup(".");
    char *beside = g_build_filename(folder, name, NULL);
    if (access(beside, X_OK) == 0) {
        return beside;
    }
    g_free(beside);
    return g_find_program_in_path(name);
}

static void check_programs(Doctor *doctor)
{
    static const char *const names[] = { "lodged", "lodge-vmm", "lodge-img" };
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = find_program(names[i]);
        g_autofree char *missing = g_strdup_printf("%s is nowhere in PATH", names[i]);
        report(doctor, "programs", path ? VERDICT_OK : VERDICT_PROBLEM, path ? path : missing,
               path ? NULL : "install Lodge completely, or add its folder to PATH");
    }
}

/* All that a program prints. (transfer full) */
static char *output_of(const char *const *argv)
{
    char *out = NULL, *err = NULL;
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, NULL,
                 NULL);
    char *text = g_strconcat(out ? out : "", err ? err : "", NULL);
    g_free(out);
    g_free(err);
    return text;
}

/* Whether guests really run by KVM: the monitor tries it. */
static void check_kvm(Doctor *doctor)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int saved = errno;
    if (fd < 0 && saved == EACCES) {
        report(doctor, "kvm", VERDICT_PROBLEM, "/dev/kvm may not be opened by this user",
               "sudo usermod -aG kvm $USER, then log in again");
        return;
    }
    if (fd < 0) {
        report(doctor, "kvm", VERDICT_NOTE,
               "no /dev/kvm: guests run by Lodge's translator, which is slower",
               "enable virtualization in the firmware and load kvm_intel or kvm_amd; in a cloud "
               "machine, ask for nested virtualization");
        return;
    }
    close(fd);
    report(doctor, "kvm", VERDICT_OK, "/dev/kvm can be opened", NULL);
    doctor->has_kvm = true;
}

/* Whether guests really run by KVM: the daemon has tried it. */
static void check_probe(Doctor *doctor)
{
    RemoteConnectGetCapabilitiesRet caps;
    Arena arena;
    arena_init(&arena, ANSWER_LIMIT);
    bool ok = remote_connect_get_capabilities(cli_client(doctor->session), &arena, &caps, NULL);
    bool runs = ok && strstr(caps.capabilities, "<domain type='kvm'");
    if (ok && runs) {
        report(doctor, "kvm", VERDICT_OK, "a probe ran a guest by KVM", NULL);
    } else if (ok && doctor->has_kvm) {
        report(doctor, "kvm", VERDICT_NOTE,
               "guests do not really run by this host's KVM: Lodge's translator runs them, slower",
               "in a cloud machine, ask for nested virtualization");
    }
    arena_clear(&arena);
}

static void check_device(Doctor *doctor, const char *check, const char *path, const char *use,
                         const char *advice)
{
    bool ok = access(path, R_OK | W_OK) == 0;
    g_autofree char *finding =
        ok ? g_strdup_printf("%s can be opened", path)
           : g_strdup_printf("%s cannot be opened (%s): no %s", path, g_strerror(errno), use);
    report(doctor, check, ok ? VERDICT_OK : VERDICT_NOTE, finding, ok ? NULL : advice);
}

/* The daemon: does it answer where this program would look? */
static void check_daemon(Doctor *doctor)
{
    GError *error = NULL;
    if (cli_session_connection(doctor->session, &error)) {
        LodgeError *reason = NULL;
        char *uri = lodge_get_uri(doctor->session->connection, &reason);
        g_autofree char *finding = g_strdup_printf("lodged answers at %s", uri ? uri : "?");
        report(doctor, "daemon", VERDICT_OK, finding, NULL);
        lodge_free(uri);
        lodge_error_free(reason);
        check_probe(doctor);
        return;
    }
    g_strdelimit(error->message, "\n", ' ');
    report(doctor, "daemon", VERDICT_PROBLEM, error->message,
           geteuid() == 0 ? "start it: systemctl start lodged, or lodged -d"
                          : "start it: lodged --session -d; or name another one by -c");
    g_error_free(error);
}

static void check_runtime_folder(Doctor *doctor)
{
    const char *path = g_getenv("XDG_RUNTIME_DIR");
    if (geteuid() == 0) {
        return;
    }
    if (!path || access(path, W_OK) != 0) {
        g_autofree char *finding = g_strdup_printf(
            "XDG_RUNTIME_DIR is %s", path ? "no folder that can be written to" : "not set");
        report(doctor, "session", VERDICT_NOTE, finding,
               "log in by a session of systemd (loginctl), or export "
               "XDG_RUNTIME_DIR=/run/user/$(id -u)");
        return;
    }
    report(doctor, "session", VERDICT_OK, path, NULL);
}

static void check_space(Doctor *doctor, const char *what, const char *path)
{
    g_autofree char *folder = g_strdup(path);
    struct statvfs fs;
    while (statvfs(folder, &fs) != 0 && strlen(folder) > 1) {
        char *parent = g_path_get_dirname(folder);
        g_free(folder);
        folder = parent;
    }
    guint64 free_bytes = (guint64)fs.f_bavail * fs.f_frsize;
    g_autofree char *size = cli_size_text(free_bytes);
    g_autofree char *finding = g_strdup_printf("%s free for %s (%s)", size, what, path);
    bool is_low = free_bytes < LOW_SPACE;
    report(doctor, "space", is_low ? VERDICT_PROBLEM : VERDICT_OK, finding,
           is_low ? "make room: full disks pause guests and keep definitions from being saved"
                  : NULL);
}

static void check_limits(Doctor *doctor)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    g_autofree char *finding =
        g_strdup_printf("%lu open files are allowed", (unsigned long)limit.rlim_max);
    bool is_low = limit.rlim_max < FILES_WANTED;
    report(doctor, "limits", is_low ? VERDICT_NOTE : VERDICT_OK, finding,
           is_low ? "raise it in /etc/security/limits.conf (nofile) for many guests" : NULL);
}

/* Docker and others drop what is forwarded between guests and the world. */
static void check_firewall(Doctor *doctor)
{
    static const char *const argv[] = { "iptables", "-S", "FORWARD", NULL };
    g_autofree char *iptables = g_find_program_in_path("iptables");
    g_autofree char *forward = NULL;
    g_file_get_contents("/proc/sys/net/ipv4/ip_forward", &forward, NULL, NULL);
    bool forwards = forward && forward[0] == '1';
    report(doctor, "forwarding", forwards ? VERDICT_OK : VERDICT_NOTE,
           forwards ? "the host forwards IPv4" : "the host does not forward IPv4",
           forwards ? NULL
                    : "only user networks reach the world; else: sysctl net.ipv4.ip_forward=1");
    if (!iptables || geteuid() != 0) {
        report(doctor, "firewall", VERDICT_NOTE,
               iptables ? "only root may read the firewall's rules"
                        : "no iptables here: its rules are not looked at",
               iptables ? "sudo lodge doctor" : NULL);
        return;
    }
    g_autofree char *rules = output_of(argv);
    bool drops = strstr(rules, "-P FORWARD DROP") != NULL;
    bool is_docker = strstr(rules, "DOCKER") != NULL;
    report(doctor, "firewall", drops ? VERDICT_PROBLEM : VERDICT_OK,
           drops ? is_docker ? "Docker drops what guests on bridges send to the world"
                             : "the firewall drops what guests on bridges send to the world"
                 : "forwarded packets are not dropped as a rule",
           !drops      ? NULL
           : is_docker ? "iptables -I DOCKER-USER -i virbr0 -j ACCEPT; iptables -I DOCKER-USER -o "
                         "virbr0 -j ACCEPT (for each bridge)"
                       : "iptables -I FORWARD -i virbr0 -j ACCEPT; iptables -I FORWARD -o virbr0 "
                         "-j ACCEPT (for each bridge)");
}

static bool run_doctor(CliSession *session, const CliArgs *args, GError **error)
{
    g_autoptr(CliTable) table = cli_table_new(headings);
    Doctor doctor = { .session = session, .table = table };
    g_autofree char *data = geteuid() == 0 ? g_strdup("/var/lib/lodge")
                                           : g_build_filename(g_get_user_data_dir(), "lodge", NULL);
    check_programs(&doctor);
    check_kvm(&doctor);
    check_device(&doctor, "network", "/dev/net/tun", "bridged networks",
                 "user networks need nothing; for bridges: modprobe tun, run as root");
    check_device(&doctor, "vhost", "/dev/vhost-net", "networking by the kernel",
                 "modprobe vhost_net, or leave it: guests work without");
    check_runtime_folder(&doctor);
    check_daemon(&doctor);
    check_firewall(&doctor);
    check_limits(&doctor);
    check_space(&doctor, "definitions", data);
    check_space(&doctor, "temporary files", g_get_tmp_dir());
    if (session->is_json) {
        cli_show_table(session, table);
    }
    if (doctor.problems > 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_FAILED, "%u problem%s found", doctor.problems,
                    doctor.problems > 1 ? "s" : "");
    }
    return doctor.problems == 0;
}

const CliCommand cli_doctor_commands[] = {
    { "doctor", "look for what keeps guests from running, and say what to do",
      "The exit status is 1 if there is a problem; notes are none.", NULL, CLI_NO_CONNECTION,
      run_doctor },
    { NULL },
};
