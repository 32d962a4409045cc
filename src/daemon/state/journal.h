/* The intent journal's bytes: a header, then records, each a list of steps on state files that
 * happen all or not at all. Redo only: a record is either whole and valid, or it never was.
 *
 * Header and records begin at multiples of 512 bytes. Numbers are little endian. A record is
 *   u32 magic, u32 payload bytes, u64 epoch, u64 sequence, u8 sha256[32] of the payload and the
 *   fields before; then the payload: steps {u8 kind, u8 0, u16 path bytes, u32 data bytes, path,
 *   data}.
 * Records count from 1 within an epoch; the first that is not valid ends the journal.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_STATE_JOURNAL_H
#define LODGE_DAEMON_STATE_JOURNAL_H

#include <glib.h>
#include <stdbool.h>

#define JOURNAL_ALIGN 512u
#define JOURNAL_RECORD_MAX (16u << 20)
#define JOURNAL_PATH_MAX 1024u

typedef enum StepKind {
    STEP_PUT = 1,    /* the file holds data */
    STEP_DELETE = 2, /* there is no such file */
    STEP_LINK = 3,   /* a symbolic link to data */
} StepKind;

typedef struct Step {
    StepKind kind;
    char *path;   /* relative, checked by journal_path_is_safe() */
    GBytes *data; /* NULL for DELETE */
} Step;

void step_free(Step *step);

/* Relative, without "." or ".." or empty parts, no bytes below 32, at most JOURNAL_PATH_MAX. */
bool journal_path_is_safe(const char *path);

/* Appends the header of @epoch to @out. */
void journal_write_header(GByteArray *out, guint64 epoch);

/* Appends a record with @steps (of Step), padded. False: it would be larger than a record may be.
 */
bool journal_write_record(GByteArray *out, guint64 epoch, guint64 sequence, const GPtrArray *steps);

/**
 * journal_read - what a journal holds
 * @out_epoch:   of the header
 * @out_records: of GPtrArray of Step (transfer full)
 *
 * Returns: false when there is no valid header (then nothing is set). A torn or missing tail is no
 * error.
 */
bool journal_read(const guint8 *data, gsize size, guint64 *out_epoch, GPtrArray **out_records);

#endif
