/* Files beside imported definitions.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/import-files.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "gbase/error.h"
#include "gbase/uuid.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_END "/etc/libvirt/qemu"
#define SYSTEM_STATE "/var/lib/libvirt"
#define FILE_MAX (64 << 20)

/* --- places --- */

/* The folder of the daemon's state by its socket, as src/daemon/config.c lays them out. (transfer
 * full) NULL: unknown. */
static char *find_state(const char *socket)
{
    g_autofree char *run = g_path_get_dirname(socket ? socket : "");
    g_autofree char *name = g_path_get_basename(run);
    g_autofree char *root = g_path_get_dirname(run);
    g_autofree char *own = g_build_filename(g_get_user_runtime_dir(), "lodge", NULL);
    char *state = !socket                          ? NULL
                  : strcmp(run, "/run/lodge") == 0 ? g_strdup("/var/lib/lodge")
                  : strcmp(run, own) == 0 ? g_build_filename(g_get_user_data_dir(), "lodge", NULL)
                  : strcmp(name, "run") == 0 ? g_build_filename(root, "lib", NULL)
                                             : NULL;
    if (state && !g_file_test(state, G_FILE_TEST_IS_DIR)) {
        g_clear_pointer(&state, g_free);
    }
    return state;
}

void import_places_init(ImportPlaces *places, const char *definitions, const char *socket)
{
    g_autofree char *whole = g_canonicalize_filename(definitions, NULL);
    *places = (ImportPlaces){ .state_dir = find_state(socket) };
    if (g_str_has_suffix(whole, SYSTEM_END)) {
        whole[strlen(whole) - strlen(SYSTEM_END)] = 0;
        g_autofree char *state = g_strconcat(whole, SYSTEM_STATE, NULL);
        places->nvram_dir = g_build_filename(state, "qemu/nvram", NULL);
        places->swtpm_dir = g_build_filename(state, "swtpm", NULL);
        places->save_dir = g_build_filename(state, "qemu/save", NULL);
        places->snapshot_dir = g_build_filename(state, "qemu/snapshot", NULL);
        places->named_nvram_dir = g_strdup(SYSTEM_STATE "/qemu/nvram");
        places->run_dir = *whole ? NULL : g_strdup("/run/libvirt/qemu");
    } else {
        places->nvram_dir = g_build_filename(whole, "nvram", NULL);
        places->swtpm_dir = g_build_filename(whole, "swtpm", NULL);
        places->save_dir = g_build_filename(whole, "save", NULL);
        places->snapshot_dir = g_build_filename(whole, "snapshot", NULL);
        places->named_nvram_dir = g_strdup(places->nvram_dir);
        g_autofree char *own = g_build_filename(g_get_user_config_dir(), "libvirt", "qemu", NULL);
        places->run_dir = strcmp(whole, own) == 0 ? g_build_filename(g_get_user_runtime_dir(),
                                                                     "libvirt", "qemu", "run", NULL)
                                                  : NULL;
    }
}

void import_places_done(ImportPlaces *places)
{
    g_free(places->nvram_dir);
    g_free(places->swtpm_dir);
    g_free(places->save_dir);
    g_free(places->snapshot_dir);
    g_free(places->named_nvram_dir);
    g_free(places->run_dir);
    g_free(places->state_dir);
}

/* --- the plan --- */

static void note(ImportPlan *plan, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static void note(ImportPlan *plan, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    g_ptr_array_add(plan->notes, g_strdup_vprintf(fmt, args));
    va_end(args);
}

static bool needs_state(const ImportPlaces *places, const char *from, GError **error)
{
    if (!places->state_dir) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "'%s' belongs to it and cannot be brought to the daemon, whose folder of state "
                    "is not known here; import on its host, by its own socket (lodge-sock)",
                    from);
    }
    return places->state_dir != NULL;
}

static bool is_there(const char *path, GError **error)
{
    struct stat st;
    if (lstat(path, &st) == 0) {
        return true;
    }
    if (errno != ENOENT && errno != ENOTDIR) {
        lodge_error_set_errno(error, errno, "cannot look for '%s'", path);
    }
    return false;
}

/* libvirt's engines own the folders, and may have put anything there: it is a file, or refused.
 * Returns a descriptor, or a negative errno. */
static int open_file(const char *path)
{
    struct stat st;
    autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        return -errno;
    }
    return !S_ISREG(st.st_mode) ? -EINVAL : st.st_size > FILE_MAX ? -EFBIG : steal_fd(&fd);
}

static bool has_same_text(const char *a, const char *b)
{
    autofd one = open_file(a);
    autofd two = open_file(b);
    g_autofree char *text = g_malloc(1 << 16);
    g_autofree char *other = g_malloc(1 << 16);
    ssize_t n = one < 0 || two < 0 ? -1 : 1;
    while (n > 0) {
        n = fd_read_full(one, text, 1 << 16);
        if (n < 0 || fd_read_full(two, other, 1 << 16) != n ||
            memcmp(text, other, (size_t)n) != 0) {
            return false;
        }
    }
    return n == 0;
}

static bool fail_in_the_way(const char *path, const char *from, GError **error)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_FAILED,
                "'%s' is there already and is not overwritten with '%s'; move it away if no guest "
                "needs it",
                path, from);
    return false;
}

static bool plan_nvram(const ImportPlaces *places, const DomainDef *def, ImportPlan *plan,
                       GError **error)
{
    const DomainOs *os = &def->os;
    const char *named = domain_os_nvram_path(os);
    bool is_split = os->firmware == OS_FIRMWARE_EFI ||
                    (os->loader_type == LOADER_PFLASH && os->loader_readonly == TRI_YES);
    g_autofree char *folder = named ? g_path_get_dirname(named) : NULL;
    g_autofree char *name = named ? g_path_get_basename(named) : NULL;
    g_autoptr(GError) reason = NULL;
    if (named && strcmp(folder, places->named_nvram_dir) != 0) {
        note(plan, "variables stay in '%s'", named);
        return true;
    }
    if (!named && (!is_split || os->nvram_source || os->loader_stateless == TRI_YES)) {
        return true;
    }
    g_autofree char *from = named ? g_build_filename(places->nvram_dir, name, NULL)
                                  : domain_def_nvram_path(def, places->nvram_dir);
    bool is_from = is_there(from, &reason);
    if (reason) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return false;
    }
    if (!is_from && !named) {
        return true; /* never started: the daemon makes them */
    }
    if (!needs_state(places, from, error)) {
        return false;
    }
    g_autofree char *own = g_build_filename(places->state_dir, "nvram", NULL);
    g_autofree char *to = domain_def_nvram_path(def, own);
    bool is_to = is_there(to, NULL);
    if (is_from && is_to && !has_same_text(from, to)) {
        return fail_in_the_way(to, from, error);
    }
    plan->nvram_named = named ? g_strdup(to) : NULL;
    if (is_from && !is_to) {
        note(plan, "variables copied from '%s'", from);
        plan->nvram_from = g_steal_pointer(&from);
        plan->nvram_to = g_steal_pointer(&to);
    }
    return true;
}

static bool plan_tpm(const ImportPlaces *places, const DomainDef *def, ImportPlan *plan,
                     GError **error)
{
    const XmlList *list = &def->devices[DEVICE_TPM];
    g_autoptr(GError) reason = NULL;
    const DomainTpm *tpm = NULL;
    char uuid[UUID_TEXT_SIZE];
    for (unsigned i = 0; i < list->count; i++) {
        const DomainTpm *one = list->item[i];
        tpm = one->backend == TPM_EMULATOR ? one : tpm;
    }
    if (!tpm) {
        return true;
    }
    uuid_format(&def->uuid, uuid);
    const char *version = tpm->version == TPM_VERSION_1_2 ? "tpm1.2" : "tpm2";
    g_autofree char *from = g_build_filename(places->swtpm_dir, uuid, version, NULL);
    if (!is_there(from, &reason)) {
        if (reason) {
            g_propagate_error(error, g_steal_pointer(&reason));
            return false;
        }
        return true;
    }
    if (!needs_state(places, from, error)) {
        return false;
    }
    g_autofree char *to = g_build_filename(places->state_dir, "swtpm", uuid, version, NULL);
    if (is_there(to, NULL)) {
        return fail_in_the_way(to, from, error);
    }
    note(plan, "TPM's state copied from '%s'", from);
    plan->tpm_from = g_steal_pointer(&from);
    plan->tpm_to = g_steal_pointer(&to);
    return true;
}

/* A copy of what is being written would be of no moment. */
static bool check_stopped(const ImportPlaces *places, const DomainDef *def, const ImportPlan *plan,
                          GError **error)
{
    const char *from = plan->nvram_from ?: plan->tpm_from;
    g_autofree char *status =
        from && places->run_dir ? g_strdup_printf("%s/%s.xml", places->run_dir, def->name) : NULL;
    if (!status || !is_there(status, NULL)) {
        return true;
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                "it runs under libvirt, which writes '%s'; shut it down and import it then", from);
    return false;
}

bool import_plan(const ImportPlaces *places, const DomainDef *def, ImportPlan *out_plan,
                 GError **error)
{
    *out_plan = (ImportPlan){ .notes = g_ptr_array_new_with_free_func(g_free) };
    g_autofree char *image = g_strdup_printf("%s/%s.save", places->save_dir, def->name);
    g_autofree char *snapshots = g_build_filename(places->snapshot_dir, def->name, NULL);
    if (!plan_nvram(places, def, out_plan, error) || !plan_tpm(places, def, out_plan, error) ||
        !check_stopped(places, def, out_plan, error)) {
        return false;
    }
    if (is_there(image, NULL)) {
        note(out_plan, "its saved memory '%s' is not taken over: it will boot anew", image);
    }
    if (is_there(snapshots, NULL)) {
        note(out_plan, "its snapshots in '%s' are not taken over", snapshots);
    }
    return true;
}

void import_plan_done(ImportPlan *plan)
{
    g_free(plan->nvram_from);
    g_free(plan->nvram_to);
    g_free(plan->nvram_named);
    g_free(plan->tpm_from);
    g_free(plan->tpm_to);
    g_free(plan->failed);
    g_clear_pointer(&plan->notes, g_ptr_array_unref);
}

/* --- copying --- */

/* Gives what was made in @folder to whom that belongs: the daemon's user. */
static int give(int fd, const char *folder)
{
    struct stat st;
    return stat(folder, &st) < 0 || (st.st_uid != geteuid() && fchown(fd, st.st_uid, st.st_gid) < 0)
               ? -errno
               : 0;
}

/* @owner: a folder of the daemon's user. Never over a file that is there. */
static int copy_file(const char *from, const char *to, const char *owner)
{
    autofd source = open_file(from);
    if (source < 0) {
        return source;
    }
    g_autofree char *draft = g_strdup_printf("%s.XXXXXX", to);
    autofd file = g_mkstemp_full(draft, O_WRONLY | O_CLOEXEC, 0600);
    int rc = file < 0 ? -errno : fd_copy(source, file, FILE_MAX);
    rc = rc == 0 ? give(file, owner) : rc;
    if (rc == 0 && (fsync(file) < 0 || link(draft, to) < 0)) {
        rc = -errno;
    }
    if (file >= 0) {
        g_unlink(draft);
    }
    return rc;
}

/* As deep as needed, each the daemon's user's. */
static int make_folders(const char *path, const char *owner)
{
    if (g_mkdir(path, 0700) < 0 && errno == ENOENT) {
        g_autofree char *above = g_path_get_dirname(path);
        int rc = make_folders(above, owner);
        if (rc < 0 || g_mkdir(path, 0700) < 0) {
            return rc < 0 ? rc : -errno;
        }
    } else if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
        return -ENOTDIR;
    }
    autofd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        return -errno;
    }
    return st.st_uid == geteuid() ? give(fd, owner) : 0;
}

static int copy_nvram(ImportPlan *plan)
{
    g_autofree char *folder = g_path_get_dirname(plan->nvram_to);
    g_autofree char *state = g_path_get_dirname(folder);
    int rc = make_folders(folder, state);
    rc = rc == 0 ? copy_file(plan->nvram_from, plan->nvram_to, state) : rc;
    plan->made_nvram = rc == 0;
    return rc == 0 ? fd_sync_folder(folder) : rc;
}

static void remove_folder(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_unlink(file);
    }
    g_clear_pointer(&dir, g_dir_close);
    g_rmdir(path);
}

/* A TPM's state: as many files as swtpm has, no more. */
#define FILES_MAX 16u

static int copy_files(ImportPlan *plan, DIR *dir, const char *owner)
{
    unsigned n = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            return -errno;
        }
        if (entry->d_name[0] == '.') { /* ".lock" is swtpm's while it runs */
            continue;
        }
        g_autofree char *from = g_build_filename(plan->tpm_from, entry->d_name, NULL);
        g_autofree char *to = g_build_filename(plan->tpm_to, entry->d_name, NULL);
        int rc = ++n > FILES_MAX ? -E2BIG : copy_file(from, to, owner);
        if (rc < 0) {
            plan->failed = g_steal_pointer(&from);
            return rc;
        }
    }
}

static int copy_tpm(ImportPlan *plan)
{
    g_autofree char *guest = g_path_get_dirname(plan->tpm_to);
    g_autofree char *swtpm = g_path_get_dirname(guest);
    g_autofree char *state = g_path_get_dirname(swtpm);
    DIR *dir = opendir(plan->tpm_from);
    int rc = dir ? make_folders(guest, state) : -errno;
    if (rc == 0 && g_mkdir(plan->tpm_to, 0700) < 0) {
        rc = -errno;
        g_rmdir(guest); /* stays where it has more */
    }
    plan->made_tpm = rc == 0;
    rc = rc == 0 ? make_folders(plan->tpm_to, state) : rc;
    rc = rc == 0 ? copy_files(plan, dir, state) : rc;
    if (dir) {
        closedir(dir);
    }
    rc = rc == 0 ? fd_sync_folder(plan->tpm_to) : rc;
    return rc == 0 ? fd_sync_folder(guest) : rc;
}

bool import_copy(ImportPlan *plan, GError **error)
{
    const char *from = plan->nvram_from, *to = plan->nvram_to;
    int rc = from ? copy_nvram(plan) : 0;
    if (rc == 0 && plan->tpm_from) {
        from = plan->tpm_from;
        to = plan->tpm_to;
        rc = copy_tpm(plan);
    }
    if (rc < 0) {
        import_undo(plan);
        lodge_error_set_errno(error, -rc, "cannot copy '%s' to '%s'", plan->failed ?: from, to);
    }
    return rc == 0;
}

void import_undo(ImportPlan *plan)
{
    if (plan->made_nvram) {
        g_unlink(plan->nvram_to);
        plan->made_nvram = false;
    }
    if (plan->made_tpm) {
        g_autofree char *guest = g_path_get_dirname(plan->tpm_to);
        remove_folder(plan->tpm_to);
        g_rmdir(guest);
        plan->made_tpm = false;
    }
}
