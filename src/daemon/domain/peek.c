/* Procedures that look into a guest: contents of its disks and of its memory.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "daemon/domain/blocks.h"
#include "daemon/domain/handlers.h"
#include "daemon/domain/runtime.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define PEEK_MAX (4u << 20)

/* @size bytes of @fd (@path for messages) at @offset into the reply; false with @error when there
 * are less. */
static bool read_part(DaemonCall *call, int fd, const char *path, uint64_t offset, uint32_t size,
                      uint8_t **out, GError **error)
{
    *out = arena_alloc(call_arena(call), size + 1);
    if (!*out) {
        daemon_error_set(error, DAEMON_ERROR_NO_MEMORY, "out of memory");
        return false;
    }
    for (uint32_t done = 0; done < size;) {
        ssize_t n = pread(fd, *out + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            lodge_error_set_errno(error, n ? errno : ENODATA,
                                  "cannot read %u bytes of '%s' at %llu", size, path,
                                  (unsigned long long)offset);
            return false;
        }
        done += (uint32_t)n;
    }
    return true;
}

static bool check_peek(uint32_t size, uint64_t offset, GError **error)
{
    if (size > PEEK_MAX || offset > G_MAXINT64 - PEEK_MAX) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: a peek is at most %u bytes, within 8 EiB", PEEK_MAX);
        return false;
    }
    return true;
}

bool handle_domain_block_peek(DaemonCall *call, const RemoteDomainBlockPeekArgs *args,
                              RemoteDomainBlockPeekRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autofree char *alias = NULL;
    g_autofree char *path = NULL;
    if (!domain || !daemon_check_flags(args->flags, 0, error) ||
        !check_peek(args->size, args->offset, error) ||
        !block_find_disk(domain, args->path, &alias, &path, error)) {
        return false;
    }
    if (!path) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: disk '%s' has no image on this host", args->path);
        return false;
    }
    autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        lodge_error_set_errno(error, errno, "cannot open '%s'", path);
        return false;
    }
    ret->n_buffer = args->size;
    return read_part(call, fd, path, args->offset, args->size, &ret->buffer, error);
}

enum { PEEK_VIRTUAL = 1, PEEK_PHYSICAL = 2 };

/* A descriptor to read it from, or -1 with @error. QEMU opens the file by its path alone. @range:
 * (transfer full). */
static int save_memory(Domain *domain, QmpClient *monitor, const char *command, JsonObject *range,
                       GError **error)
{
    g_mutex_lock(&domain->lock);
    bool by_path = domain->runtime && domain->engine == ENGINE_QEMU;
    g_autofree char *path =
        by_path ? g_build_filename(domain->dir, ENGINE_FOLDER, "memory.peek", NULL) : NULL;
    g_mutex_unlock(&domain->lock);
    if (!path) {
        return qmp_client_capture(monitor, command, range, error);
    }
    json_object_set_string_member(range, "filename", path);
    int fd = -1;
    if (qmp_client_run(monitor, command, range, error)) {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0) {
            lodge_error_set_errno(error, errno, "cannot open '%s'", path);
        }
    }
    unlink(path);
    return fd;
}

bool handle_domain_memory_peek(DaemonCall *call, const RemoteDomainMemoryPeekArgs *args,
                               RemoteDomainMemoryPeekRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !check_peek(args->size, args->offset, error)) {
        return false;
    }
    if (args->flags != PEEK_VIRTUAL && args->flags != PEEK_PHYSICAL) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: flags parameter must be VIR_MEMORY_VIRTUAL or "
                         "VIR_MEMORY_PHYSICAL");
        return false;
    }
    g_autoptr(QmpClient) monitor = domain_begin_monitor_job(domain, "peek", error);
    if (!monitor) {
        return false;
    }
    const char *command = args->flags == PEEK_PHYSICAL ? "pmemsave" : "memsave";
    JsonObject *range =
        qmp_object("i:val", (gint64)args->offset, "i:size", (gint64)args->size, NULL);
    autofd fd = save_memory(domain, monitor, command, range, error);
    bool ok =
        fd >= 0 && read_part(call, fd, "the guest's memory", 0, args->size, &ret->buffer, error);
    domain_end_job(domain);
    ret->n_buffer = args->size;
    return ok;
}

static const DispatchEntry entries[] = {
    HANDLER(domain_block_peek),
    HANDLER(domain_memory_peek),
};

const DaemonModule domain_peek_module = {
    .name = "domain-peek",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
