/* The host CPU as oracle: runs cases in a child process.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_XLATE_NATIVE_H
#define LODGE_TESTS_XLATE_NATIVE_H

#include "xlate/case.h"

#define NATIVE_BATCH 256u

typedef struct Native Native;

/* @templates: CASE_TEMPLATES times CASE_DATA_BYTES, copied; @constant: CASE_CONSTANT_BYTES. NULL:
 * the host refuses the mappings or the child. */
Native *native_new(const uint8_t *templates, const uint8_t *constant);
void native_free(Native *native);

/* Whether FS is CASE_FS_BASE in 64-bit cases (the host has FSGSBASE). */
bool native_has_fs(const Native *native);

/* Fills the page at CASE_EXIT with the two ways out of a case, which both jump to
 * native_exit_address(), and CASE_FILLER. */
void native_write_exits(uint8_t *page);
uint64_t native_exit_address(void);

/* Cases of the next batch, NATIVE_BATCH of them, to be filled in. */
Case *native_cases(Native *native);

/**
 * native_run - run the first @count cases
 *
 * A case that kills the child or does not end within two seconds costs a new child, not the batch.
 * Returns the results, valid until the next call; NULL when no child can be made.
 */
const CaseResult *native_run(Native *native, unsigned count);

#endif
