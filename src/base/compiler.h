/* Compiler attributes and small macros used everywhere.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_BASE_COMPILER_H
#define LODGE_BASE_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#define LODGE_MUST_CHECK __attribute__((warn_unused_result))
#define LODGE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define LODGE_NORETURN __attribute__((noreturn))
#define LODGE_UNUSED __attribute__((unused))
#define LODGE_ALIGNED(n) __attribute__((aligned(n)))
#define LODGE_COLD __attribute__((cold))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* The object of @type whose member @member is at @ptr. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
