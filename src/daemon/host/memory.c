/* The host's memory pages, the merging of equal ones (KSM), and its sleep.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/params.h"
#include "daemon/error.h"
#include "daemon/host/host.h"
#include "daemon/host/sysfs.h"
#include "daemon/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define KSM_DIR "/sys/kernel/mm/ksm"

/* --- free pages --- */

/* Free pages of @kib each on a cell. False: there are none of that size. */
static bool free_pages(int cell, guint64 kib, guint64 *out)
{
    guint64 page_kib = (guint64)sysconf(_SC_PAGESIZE) / 1024;
    if (kib == page_kib) {
        g_autofree char *text = host_node_meminfo(cell);
        guint64 free_kib;
        if (!sysfs_find_kib(text, "MemFree:", &free_kib)) {
            return false;
        }
        *out = free_kib / page_kib;
        return true;
    }
    if (sysfs_number(out,
                     NODE_DIR "/node%d/hugepages/hugepages-%" G_GUINT64_FORMAT "kB/free_hugepages",
                     cell, kib)) {
        return true;
    }
    return cell == 0 &&
           sysfs_number(out,
                        "/sys/kernel/mm/hugepages/hugepages-%" G_GUINT64_FORMAT "kB/free_hugepages",
                        kib);
}

bool handle_node_get_free_pages(DaemonCall *call, const RemoteNodeGetFreePagesArgs *args,
                                RemoteNodeGetFreePagesRet *ret, GError **error)
{
    unsigned nodes = host_count_nodes();
    if (!daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (args->start_cell < 0 || (unsigned)args->start_cell >= nodes) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL, "start cell %d out of range (0-%u)",
                         args->start_cell, nodes - 1);
        return false;
    }
    unsigned cells = MIN(args->cell_count, nodes - (unsigned)args->start_cell);
    ret->counts =
        arena_alloc_array(call_arena(call), (size_t)cells * args->n_pages, sizeof(*ret->counts));
    for (unsigned c = 0; ret->counts && c < cells; c++) {
        for (unsigned i = 0; i < args->n_pages; i++) {
            guint64 count;
            if (!free_pages(args->start_cell + (int)c, args->pages[i], &count)) {
                daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                                 "page size %u is not available on node %d", args->pages[i],
                                 args->start_cell + (int)c);
                return false;
            }
            ret->counts[ret->n_counts++] = count;
        }
    }
    return true;
}

/* --- KSM --- */

typedef struct KsmParam {
    const char *field, *file;
    TypedParamType type;
    bool is_writable;
} KsmParam;

static const KsmParam ksm_params[] = {
    { "shm_pages_to_scan", "pages_to_scan", TYPED_PARAM_UINT, true },
    { "shm_sleep_millisecs", "sleep_millisecs", TYPED_PARAM_UINT, true },
    { "shm_pages_shared", "pages_shared", TYPED_PARAM_ULLONG, false },
    { "shm_pages_sharing", "pages_sharing", TYPED_PARAM_ULLONG, false },
    { "shm_pages_unshared", "pages_unshared", TYPED_PARAM_ULLONG, false },
    { "shm_pages_volatile", "pages_volatile", TYPED_PARAM_ULLONG, false },
    { "shm_full_scans", "full_scans", TYPED_PARAM_ULLONG, false },
    { "shm_merge_across_nodes", "merge_across_nodes", TYPED_PARAM_UINT, true },
};

bool handle_node_get_memory_parameters(DaemonCall *call,
                                       const RemoteNodeGetMemoryParametersArgs *args,
                                       RemoteNodeGetMemoryParametersRet *ret, GError **error)
{
    enum { STRINGS_OKAY = 4 };
    if (!daemon_check_flags(args->flags, STRINGS_OKAY, error)) {
        return false;
    }
    if (args->nparams == 0) {
        ret->nparams = G_N_ELEMENTS(ksm_params);
        return true;
    }
    ParamList list = { .arena = call_arena(call) };
    for (unsigned i = 0; i < G_N_ELEMENTS(ksm_params) && (int)i < args->nparams; i++) {
        guint64 value;
        if (!sysfs_number(&value, KSM_DIR "/%s", ksm_params[i].file)) {
            continue; /* this kernel does not have it */
        }
        if (ksm_params[i].type == TYPED_PARAM_UINT) {
            params_uint(&list, ksm_params[i].field, (uint32_t)value);
        } else {
            params_ullong(&list, ksm_params[i].field, value);
        }
    }
    ret->params = list.items;
    ret->n_params = list.count;
    return true;
}

static const KsmParam *find_writable(const TypedParam *param, int64_t *out_value, GError **error)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(ksm_params); i++) {
        if (ksm_params[i].is_writable && !strcmp(ksm_params[i].field, param->field)) {
            if (param->type != ksm_params[i].type || !params_get_number(param, out_value)) {
                daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                                 "parameter '%s' must be an unsigned int", param->field);
                return NULL;
            }
            return &ksm_params[i];
        }
    }
    daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "parameter '%s' not supported", param->field);
    return NULL;
}

static bool write_ksm(const KsmParam *row, int64_t value, GError **error)
{
    g_autofree char *path = g_strdup_printf(KSM_DIR "/%s", row->file);
    char text[24];
    int length = g_snprintf(text, sizeof(text), "%lld", (long long)value);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, (size_t)length) == length;
    if (!ok) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "failed to set %s: cannot write '%s' to '%s': %s", row->field, text, path,
                         g_strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

bool handle_node_set_memory_parameters(DaemonCall *call,
                                       const RemoteNodeSetMemoryParametersArgs *args,
                                       GError **error)
{
    (void)call;
    int64_t value;
    if (!daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    /* All are looked at before any is written. */
    for (unsigned i = 0; i < args->n_params; i++) {
        if (!find_writable(&args->params[i], &value, error)) {
            return false;
        }
    }
    for (unsigned i = 0; i < args->n_params; i++) {
        const KsmParam *row = find_writable(&args->params[i], &value, error);
        if (!row || !write_ksm(row, value, error)) {
            return false;
        }
    }
    return true;
}

/* --- huge pages --- */

enum { ALLOC_ADD = 0, ALLOC_SET = 1 };

#define WHOLE_HOST (-1) /* instead of a cell: the kernel chooses the nodes */

/* Where the kernel has the pool: of all nodes together (WHOLE_HOST), or of one. (transfer full) */
static char *pool_folder(int cell, guint64 kib)
{
    g_autofree char *node =
        cell == WHOLE_HOST ? g_strdup("/sys/kernel/mm") : g_strdup_printf(NODE_DIR "/node%d", cell);
    return g_strdup_printf("%s/hugepages/hugepages-%" G_GUINT64_FORMAT "kB", node, kib);
}

/* The kernel gives as many as it finds. False with @error: it gave less. */
static bool alloc_pages(int cell, guint64 kib, guint64 count, bool is_set, GError **error)
{
    g_autofree char *folder = pool_folder(cell, kib);
    guint64 before, after;
    if (kib == (guint64)sysconf(_SC_PAGESIZE) / 1024) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: the kernel alone decides on pages of its own "
                         "size, %" G_GUINT64_FORMAT " KiB",
                         kib);
        return false;
    }
    if (!sysfs_number(&before, "%s/nr_hugepages", folder)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: page size %" G_GUINT64_FORMAT
                         " KiB is not available on node %d",
                         kib, cell);
        return false;
    }
    if (!is_set && count > G_MAXUINT64 - before) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: %" G_GUINT64_FORMAT " pages more are no number", count);
        return false;
    }
    guint64 wanted = is_set ? count : before + count;
    g_autofree char *path = g_strconcat(folder, "/nr_hugepages", NULL);
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, wanted);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int reason = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (!is_written) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "cannot write '%s' to '%s': %s", text, path,
                         g_strerror(reason));
        return false;
    }
    if (!sysfs_number(&after, "%s", path) || after != wanted) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: node %d has no room for %s pages of %" G_GUINT64_FORMAT
                         " KiB: there are %" G_GUINT64_FORMAT,
                         cell, text, kib, after);
        return false;
    }
    return true;
}

bool handle_node_alloc_pages(DaemonCall *call, const RemoteNodeAllocPagesArgs *args,
                             RemoteNodeAllocPagesRet *ret, GError **error)
{
    (void)call;
    int nodes = (int)host_count_nodes();
    if (!daemon_check_flags(args->flags, ALLOC_SET, error)) {
        return false;
    }
    if (args->n_page_sizes != args->n_page_counts || !args->cell_count) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: start cell %d with %u cells; there are cells 0 to %d, "
                         "and each page size has a count",
                         args->start_cell, args->cell_count, nodes - 1);
        return false;
    }
    int first = args->start_cell;
    if (first >= nodes) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: start cell %d out of range (0-%d)", first, nodes - 1);
        return false;
    }
    if (first < WHOLE_HOST) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: NUMA node %d is not available; there are 0 to %d, and "
                         "-1 for all together",
                         first, nodes - 1);
        return false;
    }
    int end = (int)MIN((int64_t)first + args->cell_count, nodes);
    for (int cell = first; cell < end; cell++) {
        for (uint32_t i = 0; i < args->n_page_sizes; i++) {
            if (!alloc_pages(cell, args->page_sizes[i], args->page_counts[i],
                             args->flags & ALLOC_SET, error)) {
                return false;
            }
            ret->ret++;
        }
    }
    return true;
}

/* --- power --- */

bool handle_node_suspend_for_duration(DaemonCall *call,
                                      const RemoteNodeSuspendForDurationArgs *args, GError **error)
{
    static const char *const targets[] = { "Suspend-to-RAM", "Suspend-to-Disk", "Hybrid-Suspend" };
    (void)call;
    daemon_error_set(error, DAEMON_ERROR_ARGUMENT_UNSUPPORTED,
                     "%s: the host is not put to sleep while it serves guests; use systemctl",
                     args->target < G_N_ELEMENTS(targets) ? targets[args->target]
                                                          : "unknown target");
    return false;
}

static const DispatchEntry handlers[] = {
    HANDLER(node_alloc_pages),
    HANDLER_INLINE(node_get_free_pages),
    HANDLER_INLINE(node_get_memory_parameters),
    HANDLER_INLINE(node_set_memory_parameters),
    HANDLER_INLINE(node_suspend_for_duration),
};

const DaemonModule host_memory_module = {
    .name = "host-memory",
    .handlers = handlers,
    .n_handlers = G_N_ELEMENTS(handlers),
};
