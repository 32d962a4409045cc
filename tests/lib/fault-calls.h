/* The n-th system call or io_uring transfer on a file fails: what file_fault_new() does to a File,
 * done to a file of the host. So what is tested is the way that a disk's requests really go.
 *
 * Programs are linked with --wrap (fault_calls_dep). A failed write is done all the same at every
 * other number, and not at all at the rest. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_LIB_FAULT_CALLS_H
#define LODGE_TESTS_LIB_FAULT_CALLS_H

#include "block/file/file.h"

/* Counts calls on the file at @path, which may be unlinked later, from here on. */
void fault_calls_watch(const char *path);
/* What @plan says happens to them; it begins to count anew. Reads and writes are never short. */
void fault_calls_arm(const FaultPlan *plan);
/* All goes well again. */
void fault_calls_mend(void);
/* Calls that the plan counts; of them those by io_uring. */
uint64_t fault_calls_seen(uint64_t *out_by_ring);
/* Those that failed; of them those by io_uring. */
uint64_t fault_calls_failed(uint64_t *out_by_ring);

#endif
