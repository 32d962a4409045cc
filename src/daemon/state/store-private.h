/* What the files of the state store share.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_STATE_STORE_PRIVATE_H
#define LODGE_DAEMON_STATE_STORE_PRIVATE_H

#include "daemon/state/journal.h"
#include "daemon/state/store.h"

#define JOURNAL_NAME "journal.wal"
#define JOURNAL_SIZE (4u << 20)

struct StateTxn {
    GPtrArray *steps; /* of Step */
};

/* A record that waits for the disk; on its committer's stack. */
typedef struct Commit {
    const GPtrArray *steps;
    bool is_done;
    int err;
} Commit;

struct StateStore {
    FileOps ops;
    char *files_dir;
    char *journal_dir;
    char *journal_path;
    bool is_read_only;
    unsigned journal_size; /* preallocated; a checkpoint follows */
    unsigned replayed;
    bool begins_without; /* a journal that may be used on */
    int lock_fd;

    GMutex lock;
    GCond changed;       /* a batch or a checkpoint ended, files wait, or closing */
    GPtrArray *queue;    /* of Commit *: not yet in the journal; under lock */
    bool is_leading;     /* a thread works on the journal; under lock */
    GHashTable *latest;  /* path -> Step: committed, file not yet written; under lock */
    GHashTable *writing; /* the same, in the hands of the one that writes; under lock */
    int failures;        /* journals lost to errors; under lock */

    /* By the leader alone. */
    int journal_fd;
    guint64 epoch;
    guint64 sequence;
    int64_t offset;

    GMutex files_lock; /* one writer of files at a time; taken before lock */
    GThread *thread;   /* writes files; NULL when synchronous */
    bool is_closing;   /* under lock */
};

/* An absolute path (transfer full). */
char *state_store_path(const StateStore *store, const char *path);

/* Puts one step into effect. Returns: 0 or -errno. */
int state_store_apply(const StateStore *store, const Step *step);

/* Notes @steps (of Step) as committed but not yet in files. Under lock. */
void state_store_remember(StateStore *store, const GPtrArray *steps);

/* Replaces the journal by an empty one of the next epoch. Returns: 0 or -errno. */
int state_store_renew_journal(StateStore *store);

/* Remembers what the journal holds, if there is one. False with @error. Afterwards @journal_fd is
 * open when that journal is empty and may be used on; else the next commit makes one. */
bool state_store_recover(StateStore *store, GError **error);

#endif
