/* cmocka with what it needs, in the order it needs it. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_LIB_CHECK_H
#define LODGE_TESTS_LIB_CHECK_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#endif
