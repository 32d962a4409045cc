/* Descriptors that others passed to this process.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gbase/fd-sets.h"

#include "gbase/error.h"
#include "gbase/strutil.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* A client cannot make the process run out of descriptors for its own files. */
#define FDS_MAX 512

struct FdSets {
    GPtrArray *sets;   /* of PassedFdSet, by id */
    GHashTable *names; /* char * -> fd */
    unsigned count;    /* of descriptors in sets */
};

static void passed_fd_free(gpointer object)
{
    PassedFd *passed = object;
    close(passed->fd);
    g_free(passed->note);
    g_free(passed);
}

static void set_free(gpointer object)
{
    PassedFdSet *set = object;
    g_ptr_array_unref(set->fds);
    g_free(set);
}

static void close_named(gpointer fd)
{
    close(GPOINTER_TO_INT(fd));
}

FdSets *fd_sets_new(void)
{
    FdSets *sets = g_new0(FdSets, 1);
    sets->sets = g_ptr_array_new_with_free_func(set_free);
    sets->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_named);
    return sets;
}

void fd_sets_free(FdSets *sets)
{
    if (sets) {
        g_ptr_array_unref(sets->sets);
        g_hash_table_unref(sets->names);
        g_free(sets);
    }
}

static PassedFdSet *find_set(const FdSets *sets, int64_t id)
{
    for (guint i = 0; i < sets->sets->len; i++) {
        PassedFdSet *set = g_ptr_array_index(sets->sets, i);
        if (set->id == id) {
            return set;
        }
    }
    return NULL;
}

/* Keeps the order by id, so that the lowest free number is found in one pass. */
static PassedFdSet *add_set(FdSets *sets, int64_t id)
{
    PassedFdSet *set = g_new0(PassedFdSet, 1);
    guint place = 0;
    for (; place < sets->sets->len; place++) {
        const PassedFdSet *other = g_ptr_array_index(sets->sets, place);
        if (other->id > id) {
            break;
        }
    }
    set->id = id;
    set->fds = g_ptr_array_new_with_free_func(passed_fd_free);
    g_ptr_array_insert(sets->sets, (gint)place, set);
    return set;
}

static int64_t lowest_free_id(const FdSets *sets)
{
    int64_t id = 0;
    for (guint i = 0; i < sets->sets->len; i++) {
        const PassedFdSet *set = g_ptr_array_index(sets->sets, i);
        if (set->id > id) {
            break;
        }
        id = set->id + 1;
    }
    return id;
}

int64_t fd_sets_add(FdSets *sets, int64_t id, int fd, const char *note, GError **error)
{
    if (id < 0 && id != FD_SET_NEXT) {
        close(fd);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'fdset-id' expects a non-negative value");
        return -1;
    }
    if (sets->count == FDS_MAX) {
        close(fd);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "there are %d passed descriptors already; remove-fd drops some", FDS_MAX);
        return -1;
    }
    int64_t wanted = id == FD_SET_NEXT ? lowest_free_id(sets) : id;
    PassedFdSet *set = find_set(sets, wanted);
    if (!set) {
        set = add_set(sets, wanted);
    }
    PassedFd *passed = g_new0(PassedFd, 1);
    passed->fd = fd;
    passed->note = g_strdup(note);
    g_ptr_array_add(set->fds, passed);
    sets->count++;
    return wanted;
}

static bool fail_not_found(int64_t id, int fd, GError **error)
{
    g_autofree char *which = fd < 0 ? g_strdup_printf("fdset-id:%" PRId64, id)
                                    : g_strdup_printf("fdset-id:%" PRId64 ", fd:%d", id, fd);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                "File descriptor named '%s' not found", which);
    return false;
}

bool fd_sets_remove(FdSets *sets, int64_t id, int fd, GError **error)
{
    PassedFdSet *set = find_set(sets, id);
    guint before = set ? set->fds->len : 0;
    for (guint i = before; i; i--) {
        const PassedFd *passed = g_ptr_array_index(set->fds, i - 1);
        if (fd < 0 || passed->fd == fd) {
            g_ptr_array_remove_index(set->fds, i - 1);
            sets->count--;
        }
    }
    if (!set || set->fds->len == before) {
        return fail_not_found(id, fd, error);
    }
    if (!set->fds->len) {
        g_ptr_array_remove(sets->sets, set);
    }
    return true;
}

const PassedFdSet *fd_sets_at(const FdSets *sets, unsigned index)
{
    return index < sets->sets->len ? g_ptr_array_index(sets->sets, index) : NULL;
}

static const PassedFd *find_mode(const PassedFdSet *set, int mode)
{
    for (guint i = 0; i < set->fds->len; i++) {
        const PassedFd *passed = g_ptr_array_index(set->fds, i);
        int flags = fcntl(passed->fd, F_GETFL);
        if (flags >= 0 && (flags & O_ACCMODE) == mode) {
            return passed;
        }
    }
    return NULL;
}

char *fd_sets_resolve(const FdSets *sets, const char *path, int flags, GError **error)
{
    static const char prefix[] = "/dev/fdset/";
    guint64 id;
    if (!path || !g_str_has_prefix(path, prefix)) {
        return g_strdup(path);
    }
    const PassedFdSet *set = str_parse_u64(path + strlen(prefix), &id) && id <= INT64_MAX
                                 ? find_set(sets, (int64_t)id)
                                 : NULL;
    if (!set) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "'%s': there is no such set of descriptors; -add-fd or add-fd makes one", path);
        return NULL;
    }
    int mode = flags & O_ACCMODE;
    const PassedFd *passed = find_mode(set, mode);
    if (!passed) {
        passed = find_mode(set, O_RDWR);
    }
    if (!passed) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PERMISSION,
                    "'%s': no descriptor of the set is open for %s", path,
                    mode == O_RDONLY   ? "reading"
                    : mode == O_WRONLY ? "writing"
                                       : "reading and writing");
        return NULL;
    }
    return g_strdup_printf("/proc/self/fd/%d", passed->fd);
}

bool fd_sets_set_name(FdSets *sets, const char *name, int fd, GError **error)
{
    if (g_ascii_isdigit(*name)) {
        close(fd);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'fdname' expects a name not starting with a digit");
        return false;
    }
    if (g_hash_table_size(sets->names) >= FDS_MAX && !g_hash_table_contains(sets->names, name)) {
        close(fd);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "there are %d named descriptors already; closefd drops some", FDS_MAX);
        return false;
    }
    g_hash_table_replace(sets->names, g_strdup(name), GINT_TO_POINTER(fd));
    return true;
}

int fd_sets_take_name(FdSets *sets, const char *name, GError **error)
{
    gpointer key, fd;
    if (!g_hash_table_steal_extended(sets->names, name, &key, &fd)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "File descriptor named '%s' not found", name);
        return -1;
    }
    g_free(key);
    return GPOINTER_TO_INT(fd);
}
