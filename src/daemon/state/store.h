/* The durable store of definitions: plain files in libvirt's layout, changed through an intent
 * journal.
 *
 * A commit is answered once its record is in the journal and synced; commits of several threads
 * share one sync. The files follow within a tenth of a second, and until they are known to be on
 * the disk the journal is the truth: opening the store reads it. One process at a time.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_STATE_STORE_H
#define LODGE_DAEMON_STATE_STORE_H

#include "daemon/state/file-ops.h"

#include <stdbool.h>

#define STATE_FILE_MAX (8u << 20)

typedef struct StateStore StateStore;
typedef struct StateTxn StateTxn;

typedef struct StateStoreConfig {
    const char *files_dir;   /* what paths are relative to: /etc/lodge */
    const char *journal_dir; /* of journal.wal and lodged.lock: /var/lib/lodge */
    const FileOps *ops;      /* NULL: file_ops_posix */
    unsigned journal_size;   /* bytes, a multiple of 4096; 0: 4 MiB. A full one is begun anew */
    bool is_read_only;       /* look, change nothing, take no lock */
    bool is_synchronous;     /* no thread: files are written by state_store_flush() alone */
} StateStoreConfig;

/**
 * state_store_open - take the directory; files that a crash kept from being written follow
 *
 * Returns: NULL with @error (BUSY: another process has it, and its pid is named).
 */
StateStore *state_store_open(const StateStoreConfig *config, GError **error);

/* Writes all files and gives the directory back. NULL is accepted. */
void state_store_close(StateStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StateStore, state_store_close)

/* What a journal would have replayed, for those who only look. */
typedef struct StateJournalReport {
    bool is_there;
    bool is_valid;    /* its header is; else it is no journal */
    unsigned records; /* changes that the files may lack */
} StateJournalReport;
bool state_journal_examine(const char *journal_dir, StateJournalReport *out, GError **error);

/* Keeps a daemon from opening the state until *@out_fd is closed (-1: nothing to lock yet). False
 * with @error (BUSY: one has it). For those who only look; they write nothing. */
bool state_store_lock_shared(const char *journal_dir, int *out_fd, GError **error);

/* How many records the journal held. */
unsigned state_store_replayed(const StateStore *store);

/* A list of changes that happen all or not at all. Paths are relative: "qemu/NAME.xml". */
StateTxn *state_txn_new(void);
void state_txn_free(StateTxn *txn);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StateTxn, state_txn_free)
/* XML text; the envelope is added. */
void state_txn_put(StateTxn *txn, const char *path, const char *xml);
void state_txn_delete(StateTxn *txn, const char *path);
void state_txn_link(StateTxn *txn, const char *path, const char *target);

/**
 * state_store_commit - make the changes of @txn durable
 *
 * Context: any thread; waits for the disk. Returns: false with @error (NO_SPACE, IO, LIMIT): then
 * nothing of it happened.
 */
bool state_store_commit(StateStore *store, const StateTxn *txn, GError **error);

/* Writes the files of all commits so far and begins a fresh journal. Context: any thread. */
bool state_store_flush(StateStore *store, GError **error);

/* The text of a file without its envelope (transfer full); NULL with @error (NOT_FOUND, CORRUPT).
 * @out_edited: (nullable) somebody else wrote the file, or changed it since it was written. */
char *state_store_read(StateStore *store, const char *path, bool *out_edited, GError **error);

/* Names in the folder that end with @suffix, without it, sorted (char *, transfer full). A folder
 * that is not there is empty. */
GPtrArray *state_store_list(StateStore *store, const char *folder, const char *suffix,
                            GError **error);

/* Moves a file that cannot be understood to corrupt/ and writes @reason beside it. Returns: where
 * it is (transfer full), or NULL with @error. */
char *state_store_quarantine(StateStore *store, const char *path, const char *reason,
                             GError **error);

#endif
