/* Why a procedure that has no handler is refused: by the beginning of its name.
 *
 * Each procedure of the table has a handler or a row here; tests/daemon/test_procedures.py sees to
 * it. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/unsupported.h"

#include "schema/remote.h"

#include <glib.h>
#include <string.h>

typedef struct Unsupported {
    const char *prefix;
    const char *reason;
} Unsupported;

static const char migration[] = "guests are not moved to other hosts";
static const char snapshots[] = "there are no snapshots";
static const char saving[] = "the memory of guests is not saved to files";
static const char dumping[] = "the memory of guests is not dumped to files";
static const char block_jobs[] = "there are no block jobs; their monitor commands can be sent by "
                                 "'qemu-monitor-command'";
static const char checkpoints[] = "there are no checkpoints";
static const char backups[] = "there are no backups";
static const char storage[] = "there are no storage pools; disks name files or block devices";
static const char networks[] = "there are no networks; interfaces name a bridge, a tap or 'user'";
static const char interfaces[] = "the host's interfaces are not managed";
static const char devices[] = "the host's devices are not managed";
static const char filters[] = "packets are not filtered";
static const char secrets[] = "secrets are not kept";
static const char encryption[] = "the memory of guests is not encrypted";
static const char containers[] = "only containers have processes that the host can reach";
static const char old_events[] = "events are registered as callbacks";

/* The first that fits. */
static const Unsupported remote_rows[] = {
    { "CONNECT_DOMAIN_EVENT_", old_events },
    { "CONNECT_FIND_STORAGE_", storage },
    { "CONNECT_GET_STORAGE_", storage },
    { "CONNECT_LIST_ALL_STORAGE_", storage },
    { "CONNECT_NETWORK_", networks },
    { "DOMAIN_BACKUP_", backups },
    { "DOMAIN_BLOCK_COMMIT", block_jobs },
    { "DOMAIN_BLOCK_COPY", block_jobs },
    { "DOMAIN_BLOCK_JOB_", block_jobs },
    { "DOMAIN_BLOCK_PULL", block_jobs },
    { "DOMAIN_BLOCK_REBASE", block_jobs },
    { "DOMAIN_CHECKPOINT_", checkpoints },
    { "DOMAIN_CORE_DUMP", dumping },
    { "DOMAIN_CREATE_WITH_FILES", containers },
    { "DOMAIN_CREATE_XML_WITH_FILES", containers },
    { "DOMAIN_DEL_THROTTLE_GROUP", "limits are those of single disks" },
    { "DOMAIN_GET_BLOCK_JOB_", block_jobs },
    { "DOMAIN_GET_LAUNCH_SECURITY_", encryption },
    { "DOMAIN_MANAGED_SAVE", saving },
    { "DOMAIN_MIGRATE_", migration },
    { "DOMAIN_RESTORE", saving },
    { "DOMAIN_REVERT_TO_SNAPSHOT", snapshots },
    { "DOMAIN_SAVE", saving },
    { "DOMAIN_SEND_PROCESS_SIGNAL", containers },
    { "DOMAIN_SET_AUTOSTART_ONCE", "guests are started with every start of the host, or never" },
    { "DOMAIN_SET_LAUNCH_SECURITY_", encryption },
    { "DOMAIN_SET_THROTTLE_GROUP", "limits are those of single disks" },
    { "DOMAIN_SNAPSHOT_", snapshots },
    { "INTERFACE_", interfaces },
    { "NETWORK_", networks },
    { "NODE_DEVICE_", devices },
    { "NODE_GET_SEV_INFO", encryption },
    { "NWFILTER_", filters },
    { "SECRET_", secrets },
    { "STORAGE_", storage },
    { NULL, NULL },
};

static const Unsupported qemu_rows[] = {
    { "DOMAIN_ATTACH", "guests that others started are not taken over" },
    { NULL, NULL },
};

static const Unsupported admin_rows[] = {
    { "CONNECT_GET_LOGGING_", "what is logged is set in lodged.conf" },
    { "CONNECT_SET_DAEMON_TIMEOUT", "the time is given to lodged by --timeout" },
    { "CONNECT_SET_LOGGING_", "what is logged is set in lodged.conf" },
    { "SERVER_GET_THREADPOOL_", "the number of threads is lodged's own matter" },
    { "SERVER_SET_THREADPOOL_", "the number of threads is lodged's own matter" },
    { "SERVER_UPDATE_TLS_FILES", "certificates are read when lodged starts" },
    { NULL, NULL },
};

const char *unsupported_reason(const RpcProgram *program, const RpcProcedure *procedure)
{
    const Unsupported *row = program->number == RPC_PROGRAM_REMOTE ? remote_rows
                             : program->number == RPC_PROGRAM_QEMU ? qemu_rows
                                                                   : admin_rows;
    while (row->prefix && !g_str_has_prefix(procedure->name, row->prefix)) {
        row++;
    }
    return row->reason;
}
