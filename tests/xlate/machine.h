/* A guest that runs cases on the translator: one vCPU in user mode, with the memory of a case at
 * its addresses, and a kernel that only halts, so that what an exception pushed can be looked at.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_XLATE_MACHINE_H
#define LODGE_TESTS_XLATE_MACHINE_H

#include "xlate/case.h"

typedef struct Machine Machine;

/* As native_new(). */
Machine *machine_new(const uint8_t *templates, const uint8_t *constant);
void machine_free(Machine *machine);

typedef enum MachineEngine {
    MACHINE_INTERPRETER,
    MACHINE_TRANSLATOR,
} MachineEngine;

/* Whether the host lets translated code run. */
bool machine_can_translate(const Machine *machine);

/* Runs one case. A case that does not end within a bound of instructions is CASE_HUNG. */
void machine_run(Machine *machine, MachineEngine engine, const Case *test, CaseResult *out);

#endif
