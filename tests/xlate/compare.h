/* Whether two results of one case agree, and saying where they do not.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_XLATE_COMPARE_H
#define LODGE_TESTS_XLATE_COMPARE_H

#include "xlate/case.h"

#include <stdio.h>

/* @is_translated: arithmetic flags in the frame of an exception may be wrong, where the code behind
 * would have overwritten them. @name: of what @other is the result of. @file: where the differences
 * go, NULL: nowhere. */
bool compare_results(const Case *test, const CaseResult *native, const CaseResult *other,
                     bool is_translated, const char *name, FILE *file);

/* Code, disassembly and state of a case. */
void print_case(const Case *test, FILE *file);

#endif
