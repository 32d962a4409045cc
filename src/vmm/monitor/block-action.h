/* Actions of QMP's transaction: what an action remembers, and those that are not in its file.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MONITOR_BLOCK_ACTION_H
#define LODGE_VMM_MONITOR_BLOCK_ACTION_H

#include "block/named-bitmap.h"
#include "vmm/monitor/block.h"

typedef struct ActionClass ActionClass;

typedef struct Action {
    const ActionClass *class;
    Job *job;
    BlockNode *node, *overlay; /* referenced */
    DirtyBitmap *bitmap, *content;
    bool was_recording;
} Action;

/* block-bitmaps.c: prepare, undo and commit as the class has them */
bool bitmap_action_add(MonitorSession *session, Action *action, JsonObject *data, GError **error);
void bitmap_action_undo_add(MonitorSession *session, Action *action);
bool bitmap_action_remove(MonitorSession *session, Action *action, JsonObject *data,
                          GError **error);
void bitmap_action_undo_remove(MonitorSession *session, Action *action);
void bitmap_action_commit_remove(MonitorSession *session, Action *action);
bool bitmap_action_clear(MonitorSession *session, Action *action, JsonObject *data, GError **error);
bool bitmap_action_merge(MonitorSession *session, Action *action, JsonObject *data, GError **error);
void bitmap_action_undo_content(MonitorSession *session, Action *action);
bool bitmap_action_enable(MonitorSession *session, Action *action, JsonObject *data,
                          GError **error);
bool bitmap_action_disable(MonitorSession *session, Action *action, JsonObject *data,
                           GError **error);
void bitmap_action_undo_recording(MonitorSession *session, Action *action);

#endif
