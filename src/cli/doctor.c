/* lodge doctor: what of the host keeps guests from running, and what to do about it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOW_SPACE ((guint64)1 << 30)
#define FILES_WANTED 4096u

typedef enum Verdict { VERDICT_OK, VERDICT_NOTE, VERDICT_PROBLEM } Verdict;

typedef struct Doctor {
    CliSession *session;
    CliTable *table;
    unsigned problems;
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

/* The monitor's own verdict: a guest that it tried, and for how long it may. (transfer full) NULL:
 * KVM is usable, or there is no monitor to ask. */
static char *kvm_verdict(void)
{
    g_autofree char *monitor = find_program("lodge-vmm");
    const char *const argv[] = { monitor, "-accel", "help", NULL };
    g_autofree char *text = monitor ? output_of(argv) : g_strdup("");
    const char *verdict = strstr(text, "not usable: ");
    verdict = verdict ? verdict + strlen("not usable: ") : NULL;
    return verdict ? g_strndup(verdict, strcspn(verdict, "\n")) : NULL;
}

/* How this user comes to open /dev/kvm: by a group that may, if there is one. (transfer full) */
static char *kvm_advice(void)
{
    struct stat status;
    const mode_t group_bits = S_IRGRP | S_IWGRP;
    bool ok = stat("/dev/kvm", &status) == 0 && (status.st_mode & group_bits) == group_bits;
    const struct group *group = ok && status.st_gid != 0 ? getgrgid(status.st_gid) : NULL;
    if (group) {
        return g_strdup_printf("sudo usermod -aG %s $USER, then log in again", group->gr_name);
    }
    return g_strdup_printf("root alone may, as where udev does not run: %ssudo chgrp kvm /dev/kvm; "
                           "sudo chmod 660 /dev/kvm; sudo usermod -aG kvm $USER; log in again",
                           getgrnam("kvm") ? "" : "sudo groupadd -r kvm; ");
}

/* Whether guests really run by KVM: a device that can be opened is no proof. */
static void check_kvm(Doctor *doctor)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int saved = errno;
    if (fd < 0 && (saved == EACCES || saved == EPERM)) {
        g_autofree char *advice = kvm_advice();
        report(doctor, "kvm", VERDICT_PROBLEM,
               "/dev/kvm may not be opened by this user: guests run by Lodge's translator, which "
               "is slower",
               advice);
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
    g_autofree char *reason = kvm_verdict();
    g_autofree char *finding =
        reason ? g_strdup_printf("guests run by Lodge's translator, which is slower: %s", reason)
               : g_strdup("guests run by KVM");
    report(doctor, "kvm", reason ? VERDICT_NOTE : VERDICT_OK, finding,
           reason ? "in a cloud machine, ask for nested virtualization" : NULL);
}

/* Whether the daemon has found an engine that works. */
static void check_engines(Doctor *doctor)
{
    RemoteConnectGetCapabilitiesRet caps;
    Arena arena;
    arena_init(&arena, ANSWER_LIMIT);
    bool ok = remote_connect_get_capabilities(cli_client(doctor->session), &arena, &caps, NULL);
    bool has_engine = ok && strstr(caps.capabilities, "<emulator>");
    report(doctor, "engine", has_engine ? VERDICT_OK : VERDICT_PROBLEM,
           has_engine ? "the daemon has an engine for guests" : "the daemon can run no guests",
           has_engine ? NULL
                      : "its log says which engines it left out and why: journalctl -u lodged, or "
                        "/var/log/lodge/lodged.log");
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

/* What helps against the reason why there is no connection. (transfer full) */
static char *connection_advice(const Doctor *doctor, const char *reason)
{
    const char *uri = doctor->session->uri;
    if (strstr(reason, g_strerror(EACCES))) {
        return g_strdup("ask the administrator to put you into the group that unix_sock_group in "
                        "/etc/lodge/lodged.conf names (sudo usermod -aG GROUP $USER), or use a "
                        "daemon of your own: -c qemu:///session");
    }
    if (strstr(reason, "authfile=") || strstr(reason, "uthentication")) {
        return g_strdup("check the name and password in ~/.config/lodge/auth.conf, and with "
                        "'lodge passwd' on the daemon's host");
    }
    if (uri && strstr(uri, "://") && !strstr(uri, ":///")) {
        return g_strdup("look at the other host: does lodged run, does it listen (listen_tls, "
                        "listen_tcp), does a firewall drop it?");
    }
    if (uri && strstr(uri, "socket=")) {
        return g_strdup("start a daemon that listens there, or name another one by -c");
    }
    if (geteuid() == 0) {
        return g_strdup("start it: systemctl start lodged, or lodged -d");
    }
    return g_strdup("start it: lodged --session -d; or name another one by -c");
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
        check_engines(doctor);
        return;
    }
    g_strdelimit(error->message, "\n", ' ');
    g_autofree char *advice = connection_advice(doctor, error->message);
    report(doctor, "daemon", VERDICT_PROBLEM, error->message, advice);
    g_error_free(error);
}

/* libvirt's own daemon may run beside lodged; clients without a URI then reach it. */
static void check_libvirt(Doctor *doctor)
{
    static const char *const paths[] = { "/run/libvirt/libvirt-sock",
                                         "/run/libvirt/virtqemud-sock" };
    bool is_held = false;
    for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
        is_held |= g_file_test(paths[i], G_FILE_TEST_EXISTS);
    }
    bool is_ours = is_held && g_file_test("/run/lodge/lodge-sock", G_FILE_TEST_EXISTS);
    if (is_held) {
        report(doctor, "libvirt", VERDICT_NOTE,
               is_ours ? "something listens on libvirt's own sockets: lodged or a libvirtd"
                       : "a libvirtd's sockets are here: virsh without -c speaks to it",
               "export LIBVIRT_DEFAULT_URI='qemu+unix:///system?socket=/run/lodge/lodge-sock', or "
               "let lodged take its place: libvirt_sockets = yes");
    } else {
        report(doctor, "libvirt", VERDICT_OK, "no other daemon has libvirt's sockets", NULL);
    }
}

/* Definitions must be kept somewhere. */
static void check_folder(Doctor *doctor, const char *path)
{
    g_autofree char *folder = g_strdup(path);
    while (access(folder, F_OK) != 0 && errno == ENOENT && strlen(folder) > 1) {
        char *parent = g_path_get_dirname(folder);
        g_free(folder);
        folder = parent;
    }
    bool ok = access(folder, R_OK | W_OK | X_OK) == 0;
    g_autofree char *finding =
        ok ? g_strdup_printf("%s can be written to", path)
           : g_strdup_printf("%s cannot be written to: %s", folder, g_strerror(errno));
    g_autofree char *advice = g_strdup_printf(
        "sudo chown %u:%u '%s', or choose another place: XDG_DATA_HOME, XDG_CONFIG_HOME",
        (unsigned)geteuid(), (unsigned)getegid(), folder);
    report(doctor, "permissions", ok ? VERDICT_OK : VERDICT_PROBLEM, finding, ok ? NULL : advice);
}

/* Limits on guests (memtune, schedinfo, blkiotune) are control groups'. */
static void check_cgroups(Doctor *doctor)
{
    bool is_v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
    const char *path = is_v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    bool ok = access(path, W_OK) == 0;
    bool wants = geteuid() == 0;
    report(doctor, "cgroups", ok || !wants ? VERDICT_OK : VERDICT_NOTE,
           ok      ? "guests' memory, CPU and disk traffic can be limited"
           : wants ? "no control groups: memtune, schedinfo and blkiotune are refused"
                   : "limits on guests (memtune, schedinfo) are the system's daemon's",
           ok || !wants ? NULL
                        : "mount them (mount -t cgroup2 none /sys/fs/cgroup); in a container, "
                          "give it control groups of its own");
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
    bool is_root = geteuid() == 0; /* others may not even have it in their PATH */
    if (!iptables || !is_root) {
        report(doctor, "firewall", VERDICT_NOTE,
               is_root ? "no iptables here: its rules are not looked at"
                       : "only root may read the firewall's rules",
               is_root ? "look at them by hand: nft list ruleset" : "sudo lodge doctor");
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
    check_libvirt(&doctor);
    check_folder(&doctor, data);
    check_cgroups(&doctor);
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
