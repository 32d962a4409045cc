/* Descriptors that a client hands over for a guest's disks. They are kept while the client is
 * connected; a guest that was started keeps its own.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/fd-groups.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/client.h"
#include "daemon/domain/handlers.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_MAX 64u

enum { FD_SECLABEL_RESTORE = 1, FD_WRITABLE = 2 };

typedef struct FdGroup {
    uint64_t client;
    unsigned count;
    int fds[2]; /* one for both, or one for each: reading, writing */
} FdGroup;

static void group_free(void *opaque)
{
    FdGroup *group = opaque;
    for (unsigned i = 0; i < group->count; i++) {
        close(group->fds[i]);
    }
    g_free(group);
}

typedef struct Owner {
    Domain *domain;
    uint64_t client;
} Owner;

static gboolean is_owned(gpointer name, gpointer group, gpointer owner)
{
    (void)name;
    return ((FdGroup *)group)->client == ((Owner *)owner)->client;
}

/* The loop's thread. */
static void client_left(void *opaque)
{
    Owner *owner = opaque;
    g_mutex_lock(&owner->domain->lock);
    g_hash_table_foreach_remove(owner->domain->fd_groups, is_owned, owner);
    g_mutex_unlock(&owner->domain->lock);
    domain_unref(owner->domain);
    g_free(owner);
}

int fd_groups_open(Domain *domain, const char *name, bool for_writing, GError **error)
{
    g_mutex_lock(&domain->lock);
    const FdGroup *group = domain->fd_groups ? g_hash_table_lookup(domain->fd_groups, name) : NULL;
    int fd = group ? fcntl(group->fds[for_writing ? group->count - 1 : 0], F_DUPFD_CLOEXEC, 3) : -1;
    int reason = errno;
    g_mutex_unlock(&domain->lock);
    if (!group) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: file descriptor group '%s' was not associated with the "
                         "domain; use 'dom-fd-associate' on the connection that starts it",
                         name);
    } else if (fd < 0) {
        lodge_error_set_errno(error, reason, "cannot use the file descriptor group '%s'", name);
    } else if (for_writing && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
        close(fd);
        fd = -1;
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: the file descriptor group '%s' is not open for writing",
                         name);
    }
    return fd;
}

/* @group: (transfer full). @out_is_first: of this client. False with @error. */
static bool add_group_locked(Domain *domain, const char *name, FdGroup *group, bool *out_is_first,
                             GError **error)
{
    Owner owner = { domain, group->client };
    if (!domain->fd_groups) {
        domain->fd_groups = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, group_free);
    }
    const FdGroup *before = g_hash_table_lookup(domain->fd_groups, name);
    bool is_full = !before && g_hash_table_size(domain->fd_groups) >= GROUPS_MAX;
    if (is_full || (before && before->client != group->client)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         is_full ? "operation failed: the domain has no room for the file "
                                   "descriptor group '%s' beside so many others"
                                 : "operation failed: another client has associated the file "
                                   "descriptor group '%s'",
                         name);
        group_free(group);
        return false;
    }
    *out_is_first = !g_hash_table_find(domain->fd_groups, is_owned, &owner);
    g_hash_table_replace(domain->fd_groups, g_strdup(name), group);
    return true;
}

bool handle_domain_fd_associate(DaemonCall *call, const RemoteDomainFdAssociateArgs *args,
                                GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    unsigned count = call_n_fds(call);
    if (!domain || !daemon_check_flags(args->flags, FD_SECLABEL_RESTORE | FD_WRITABLE, error)) {
        return false;
    }
    if (count < 1 || count > G_N_ELEMENTS(((FdGroup *)NULL)->fds) || !*args->name) {
        daemon_error_set(
            error, DAEMON_ERROR_INVALID_ARG,
            "invalid argument: a group has a name, and one file descriptor or two (for "
            "reading, for both); not %u",
            count);
        return false;
    }
    FdGroup *group = g_new0(FdGroup, 1);
    group->client = client_id(call_client(call));
    for (; group->count < count; group->count++) {
        group->fds[group->count] = call_take_fd(call, group->count);
    }
    Owner *owner = g_new0(Owner, 1);
    *owner = (Owner){ domain_ref(domain), group->client };
    g_mutex_lock(&domain->lock);
    bool is_first = false;
    bool ok = add_group_locked(domain, args->name, group, &is_first, error);
    g_mutex_unlock(&domain->lock);
    if (!ok || !is_first) {
        domain_unref(owner->domain);
        g_free(owner);
    } else if (!client_on_close(call_client(call), client_left, owner)) {
        client_left(owner);
    }
    return ok;
}

static const DispatchEntry entries[] = {
    HANDLER(domain_fd_associate),
};

const DaemonModule domain_fd_groups_module = {
    .name = "domain-fd-groups",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
