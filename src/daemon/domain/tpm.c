/* TPMs of guests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/tpm.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "daemon/domain/guest-log.h"
#include "daemon/domain/guest-user.h"
#include "daemon/domain/helper-process.h"
#include "daemon/domain/removal.h"
#include "daemon/error.h"
#include "daemon/folder.h"
#include "gbase/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SETUP_TIMEOUT_MS 120000
#define TRIAL_PREFIX ".setup-"

static const char *version_name(const DomainTpm *tpm)
{
    return tpm->version == TPM_VERSION_1_2 ? "tpm1.2" : "tpm2";
}

static char *guest_folder(const Daemon *daemon, const DomainDef *def)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(&def->uuid, uuid);
    return g_strdup_printf("%s/swtpm/%s", daemon->paths.state_dir, uuid);
}

bool tpm_has_emulator(void)
{
    g_autofree char *swtpm = helper_find_program("swtpm", NULL);
    g_autofree char *setup = helper_find_program("swtpm_setup", NULL);
    return swtpm && setup;
}

static char *find_program(const char *name, GError **error)
{
    char *path = helper_find_program(name, NULL);
    if (!path) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: a TPM with the back end 'emulator' needs the "
                         "program '%s', which is not in $PATH; install the packages swtpm and "
                         "swtpm-tools",
                         name);
    }
    return path;
}

/* --- removing --- */

static const DomainTpm *emulated(const DomainDef *def)
{
    const XmlList *list = &def->devices[DEVICE_TPM];
    for (unsigned i = 0; i < list->count; i++) {
        const DomainTpm *tpm = list->item[i];
        if (tpm->backend == TPM_EMULATOR) {
            return tpm;
        }
    }
    return NULL;
}

void tpm_forget(const Daemon *daemon, const DomainDef *def, unsigned flags)
{
    const DomainTpm *tpm = emulated(def);
    bool remove = tpm && (tpm->persistent_state == TRI_YES ? (flags & TPM_FLAG_REMOVE) != 0
                                                           : !(flags & TPM_FLAG_KEEP));
    if (remove) {
        g_autofree char *folder = guest_folder(daemon, def);
        removal_take(daemon->domains, daemon->paths.state_dir, folder);
    }
}

void tpm_forget_later(DomainDef *live, unsigned flags)
{
    const XmlList *list = &live->devices[DEVICE_TPM];
    for (unsigned i = 0; i < list->count; i++) {
        DomainTpm *tpm = list->item[i];
        if (flags & TPM_FLAG_KEEP) {
            tpm->persistent_state = TRI_YES;
        } else if (flags & TPM_FLAG_REMOVE) {
            tpm->persistent_state = TRI_NO;
        }
    }
}

/* --- setting up --- */

/* What swtpm_setup and its maker of certificates read. False with @error. */
static bool write_config(const char *folder, GError **error)
{
    g_autofree char *tool = helper_find_program("swtpm_localca", NULL);
    g_autofree char *authority = g_strdup_printf("%s/ca", folder);
    g_autofree char *setup_path = g_strdup_printf("%s/setup.conf", authority);
    g_autofree char *tool_path = g_strdup_printf("%s/localca.conf", authority);
    g_autofree char *options_path = g_strdup_printf("%s/localca.options", authority);
    g_autofree char *setup =
        g_strdup_printf("create_certs_tool = %s\n"
                        "create_certs_tool_config = %s\n"
                        "create_certs_tool_options = %s\n"
                        "active_pcr_banks = sha256\n",
                        tool ?: "/usr/bin/swtpm_localca", tool_path, options_path);
    g_autofree char *config = g_strdup_printf("statedir = %s\n"
                                              "signingkey = %s/signkey.pem\n"
                                              "issuercert = %s/issuercert.pem\n"
                                              "certserial = %s/certserial\n",
                                              authority, authority, authority, authority);
    if (g_mkdir_with_parents(authority, 0700) < 0) {
        lodge_error_set_errno(error, errno, "cannot create '%s'", authority);
        return false;
    }
    return g_file_set_contents(setup_path, setup, -1, error) &&
           g_file_set_contents(tool_path, config, -1, error) &&
           g_file_set_contents(options_path,
                               "--platform-manufacturer Lodge\n--platform-version 2.1\n"
                               "--platform-model QEMU\n",
                               -1, error);
}

/* <active_pcr_banks> is kept as text: "sha1,sha256". (transfer full) */
static char *pcr_banks(const DomainTpm *tpm)
{
    static const char *const known[] = { "sha1", "sha256", "sha384", "sha512", NULL };
    GString *text = g_string_new(NULL);
    for (unsigned i = 0; tpm->active_pcr_banks && known[i]; i++) {
        g_autofree char *element = g_strdup_printf("<%s/>", known[i]);
        if (strstr(tpm->active_pcr_banks, element)) {
            g_string_append_printf(text, "%s%s", text->len ? "," : "", known[i]);
        }
    }
    return g_string_free(text, FALSE);
}

static char **setup_arguments(const Domain *domain, const DomainTpm *tpm, const char *program,
                              const char *folder, const char *trial)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(&domain->uuid, uuid);
    g_autofree char *banks = pcr_banks(tpm);
    GPtrArray *args = g_ptr_array_new();
    g_ptr_array_add(args, g_strdup(program));
    if (tpm->version != TPM_VERSION_1_2) {
        g_ptr_array_add(args, g_strdup("--tpm2"));
    }
    g_ptr_array_add(args, g_strdup("--tpmstate"));
    g_ptr_array_add(args, g_strdup(trial));
    g_ptr_array_add(args, g_strdup("--config"));
    g_ptr_array_add(args, g_strdup_printf("%s/ca/setup.conf", folder));
    g_ptr_array_add(args, g_strdup("--vmid"));
    g_ptr_array_add(args, g_strdup_printf("%s:%s", domain->live->name, uuid));
    static const char *const always[] = { "--createek", "--create-ek-cert", "--lock-nvram",
                                          "--create-platform-cert", "--not-overwrite" };
    for (unsigned i = 0; i < G_N_ELEMENTS(always); i++) {
        g_ptr_array_add(args, g_strdup(always[i]));
    }
    if (*banks) {
        g_ptr_array_add(args, g_strdup("--pcr-banks"));
        g_ptr_array_add(args, g_strdup(banks));
    }
    g_ptr_array_add(args, NULL);
    return (char **)g_ptr_array_free(args, FALSE);
}

/* Runs swtpm_setup to its end, as the daemon's own user: nothing of a guest is in what it reads,
 * and the authority's key is not for guests. */
static bool run_setup(Domain *domain, const DomainTpm *tpm, const char *folder, const char *trial,
                      GError **error)
{
    g_autofree char *program = find_program("swtpm_setup", error);
    autofd log_fd = program ? guest_log_open(domain, "swtpm", error) : -1;
    if (log_fd < 0) {
        return false;
    }
    g_auto(GStrv) argv = setup_arguments(domain, tpm, program, folder, trial);
    ProcessSpec spec = { .argv = argv, .log_fd = log_fd, .uid = (uid_t)-1 };
    GuestProcess process;
    if (!process_spawn(&spec, &process, error)) {
        return false;
    }
    bool ok = process_release(&process, program, error);
    bool ended = process_wait(&process, SETUP_TIMEOUT_MS);
    if (!ended) {
        kill(-process.pid, SIGKILL);
        process_wait(&process, 5000);
    }
    int status = process_reap(&process);
    process_clear(&process);
    if (ok && (!ended || status != 0)) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: '%s' could not set up the TPM of domain '%s' (%s); see "
                         "%s/qemu/%s-swtpm.log",
                         program, domain->live->name,
                         ended ? "it failed" : "it did not end within 120 seconds",
                         domain->service->daemon->paths.log_dir, domain->live->name);
        return false;
    }
    return ok;
}

/* What a daemon left that ended meanwhile. */
static void remove_trials(const char *guest)
{
    GDir *dir = g_dir_open(guest, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        if (g_str_has_prefix(name, TRIAL_PREFIX)) {
            g_autofree char *path = g_build_filename(guest, name, NULL);
            folder_remove(path, NULL);
        }
    }
    g_clear_pointer(&dir, g_dir_close);
}

/* Makes the state beside its place, so that it is there whole or not at all. */
static bool set_up(Domain *domain, const DomainTpm *tpm, const char *guest, const char *state,
                   GError **error)
{
    g_autofree char *folder = g_path_get_dirname(guest);
    g_autofree char *trial = g_strdup_printf("%s/" TRIAL_PREFIX "XXXXXX", guest);
    if (g_mkdir_with_parents(guest, 0700) < 0) {
        lodge_error_set_errno(error, errno, "cannot create '%s'", guest);
        return false;
    }
    remove_trials(guest);
    if (!write_config(folder, error)) {
        return false;
    }
    if (!g_mkdtemp_full(trial, 0700)) {
        lodge_error_set_errno(error, errno, "cannot create '%s'", trial);
        return false;
    }
    bool ok = run_setup(domain, tpm, folder, trial, error);
    failpoint("tpm-set-up");
    if (ok && g_rename(trial, state) < 0) {
        lodge_error_set_errno(error, errno, "cannot rename '%s' to '%s'", trial, state);
        ok = false;
    }
    autofd parent = open(guest, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ok && (parent < 0 || fsync(parent) < 0)) {
        lodge_error_set_errno(error, errno, "cannot write '%s'", guest);
        ok = false;
    }
    if (!ok) {
        remove_trials(guest);
        g_rmdir(guest);
    }
    return ok;
}

/* Gives the state to the user that the guest has this time. */
static bool give(int dir_fd, const ProcessSpec *spec, GError **error)
{
    int copy = spec->uid == (uid_t)-1 ? -1 : fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    const struct dirent *entry;
    bool ok = spec->uid == (uid_t)-1 || (dir && fchown(dir_fd, spec->uid, spec->gid) == 0);
    struct stat st;
    while (ok && dir && (entry = readdir(dir))) {
        /* The last user may have put other things there: links are none of the TPM's. */
        if (fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            st.st_nlink == 1) {
            ok = fchownat(dir_fd, entry->d_name, spec->uid, spec->gid, AT_SYMLINK_NOFOLLOW) == 0;
        }
    }
    if (!ok) {
        lodge_error_set_errno(error, errno, "cannot give the state of the TPM to the guest's user");
    }
    if (dir) {
        closedir(dir);
    } else {
        cleanup_close(&copy);
    }
    return ok;
}

/* The folder of the state, made at first use; -1 with @error. */
static int open_state(Domain *domain, const DomainTpm *tpm, GError **error)
{
    g_autofree char *guest = guest_folder(domain->service->daemon, domain->live);
    g_autofree char *state = g_strdup_printf("%s/%s", guest, version_name(tpm));
    int fd = open(state, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && set_up(domain, tpm, guest, state, error)) {
        fd = open(state, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0 && (!error || !*error)) {
        lodge_error_set_errno(error, errno, "cannot open the state of the TPM, '%s'", state);
    }
    return fd;
}

/* --- starting --- */

/* The emulator sees its state as a descriptor alone: its user needs no way to the folder. */
static bool run_emulator(Domain *domain, const DomainTpm *tpm, const char *program, int state_fd,
                         int control_fd, GError **error)
{
    const int fds[] = { state_fd, control_fd };
    autofd log_fd = guest_log_open(domain, "swtpm", error);
    ProcessSpec spec = { .fds = fds, .n_fds = G_N_ELEMENTS(fds), .log_fd = log_fd };
    if (log_fd < 0 || !guest_user_prepare(domain, &spec, error) || !give(state_fd, &spec, error)) {
        return false;
    }
    spec.kvm_gid = (gid_t)-1;
    g_autofree char *control = g_strdup_printf("type=unixio,clientfd=%d", control_fd);
    g_autofree char *state = g_strdup_printf("dir=/proc/self/fd/%d,mode=0600", state_fd);
    const char *argv[] = { program,       "socket",
                           "--ctrl",      control,
                           "--tpmstate",  state,
                           "--terminate", tpm->version == TPM_VERSION_1_2 ? NULL : "--tpm2",
                           NULL };
    spec.argv = (char *const *)argv;
    return helper_start(domain, tpm->device.alias, &spec, error);
}

int tpm_start(Domain *domain, const DomainTpm *tpm, GError **error)
{
    g_autofree char *program = find_program("swtpm", error);
    autofd state_fd = program ? open_state(domain, tpm, error) : -1;
    int ends[2];
    if (state_fd < 0) {
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        lodge_error_set_errno(error, errno, "cannot create a socket");
        return -1;
    }
    autofd own = ends[0];
    autofd theirs = ends[1];
    bool ok = run_emulator(domain, tpm, program, state_fd, theirs, error);
    return ok ? steal_fd(&own) : -1;
}
