/* QMP of nodes and jobs: what its files share. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MONITOR_BLOCK_H
#define LODGE_VMM_MONITOR_BLOCK_H

#include "block/job/job.h"
#include "vmm/monitor/internal.h"

/* Members of @arguments; not there: NULL or @fallback. Borrowed. */
const char *qmp_text(JsonObject *arguments, const char *name);
bool qmp_flag(JsonObject *arguments, const char *name, bool fallback);
/* A number that is not negative. *@out_value stays if it is not there. */
bool qmp_size(JsonObject *arguments, const char *name, uint64_t *out_value, GError **error);
/* The index of a member among @names (ends with NULL); @fallback: not there. */
unsigned qmp_choice(JsonObject *arguments, const char *name, const char *const *names,
                    unsigned fallback);

/* Options of a node, with file names as this process opens them. (transfer full) */
BlockSpec *qmp_block_spec(const MonitorSession *session, JsonObject *object, GError **error);
/* The graph; NULL with @error: this machine has none. */
BlockGraph *qmp_graph(const MonitorSession *session, GError **error);

/* Jobs made and not started yet; the transaction's actions start or abandon them. */
Job *qmp_new_backup(MonitorSession *session, JsonObject *arguments, GError **error);
Job *qmp_new_drive_backup(MonitorSession *session, JsonObject *arguments, GError **error);
/* The overlay that "blockdev-snapshot-sync" makes; *@out_node: what it is to be above. (transfer
 * full) */
BlockNode *qmp_make_overlay(MonitorSession *session, JsonObject *arguments, BlockNode **out_node,
                            GError **error);
/* Whether nobody above writes to @node, so that it may become read-only. */
bool qmp_check_no_writers(BlockGraph *graph, const BlockNode *node, GError **error);
/* Runs one action as a transaction. */
bool qmp_run_action(MonitorSession *session, const char *type, JsonObject *data, GError **error);

/* A node as query-block's "inserted" and query-named-block-nodes show it. @backend: that it is
 * shown for; NULL: none. (transfer full) */
JsonObject *qmp_block_device_object(BlockNode *node, BlockBackend *backend);

/* Where the tree of objects (QMP's "qom") has the disk of @user. (transfer full) */
char *qmp_disk_path(const MonitorTarget *target, const Device *user);
/* QMP's names of limits; with "_max" and "_max_length" behind for bursts. */
extern const char *const qmp_limit_names[THROTTLE_BUCKETS];

/* Adds "dirty-bitmaps", if the node has any. */
void qmp_put_bitmaps(JsonObject *object, const BlockNode *node);

/* Tells QMP peers that an export is gone. @opaque: the MonitorSet. */
void qmp_on_export_deleted(void *opaque, const char *id);
/* Tells QMP peers of a job. @opaque: the MonitorSet. */
void qmp_on_job_event(void *opaque, const JobEvent *event);

#endif
