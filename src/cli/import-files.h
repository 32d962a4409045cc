/* What lies beside the definitions that are imported: variables of UEFI, states of TPMs.
 *
 * libvirt's files stay as they are. A file that the daemon has already is never written over.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_IMPORT_FILES_H
#define LODGE_CLI_IMPORT_FILES_H

#include "conf/domain/domain.h"

/* Where the two daemons keep such files. */
typedef struct ImportPlaces {
    char *nvram_dir, *swtpm_dir, *save_dir, *snapshot_dir; /* libvirt's */
    char *named_nvram_dir; /* how definitions name nvram_dir: differs for those of another root */
    char *run_dir;         /* libvirt's, of guests that run; NULL: not of this host */
    char *state_dir;       /* of the daemon; NULL: it cannot be reached as a folder of this host */
} ImportPlaces;

/* What is to be done for one guest. */
typedef struct ImportPlan {
    char *nvram_from, *nvram_to; /* NULL: none to copy */
    char *nvram_named;           /* what <nvram> is to name instead; NULL: it stays */
    char *tpm_from, *tpm_to;     /* folders; NULL: none to copy */
    bool made_nvram, made_tpm;
    char *failed;     /* what of a folder could not be copied */
    GPtrArray *notes; /* of char *, for the user */
} ImportPlan;

/* @definitions: libvirt's folder; ".../etc/libvirt/qemu" has its state in ".../var/lib/libvirt",
 * all others, as those of sessions, have it within. @socket: the daemon's that takes over,
 * or NULL: unknown. */
void import_places_init(ImportPlaces *places, const char *definitions, const char *socket);
void import_places_done(ImportPlaces *places);

/* False with @error: another file is in the way, the files cannot be brought to the daemon, or the
 * guest runs and writes them. */
bool import_plan(const ImportPlaces *places, const DomainDef *def, ImportPlan *out_plan,
                 GError **error);
void import_plan_done(ImportPlan *plan);

/* Copies, durably; false with @error: nothing is left behind. */
bool import_copy(ImportPlan *plan, GError **error);
/* Takes back what import_copy() made. */
void import_undo(ImportPlan *plan);

#endif
