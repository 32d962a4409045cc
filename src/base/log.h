/* Log lines on standard error, and assertions that stay on in release builds.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_BASE_LOG_H
#define LODGE_BASE_LOG_H

#include "base/compiler.h"

#include <stdbool.h>

typedef enum LogLevel { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG } LogLevel;

/**
 * log_init - name the program and choose what is written
 * @program: static string, put before every line
 * @level:   least important level that is still written
 *
 * Context: once, before the second thread starts.
 */
void log_init(const char *program, LogLevel level);

/* Whether each line begins with the time (UTC). Context: as log_init(). */
void log_set_timestamps(bool on);

/* Writes one line, atomically; no newline in @fmt. Context: any thread, not a signal handler. */
void log_write(LogLevel level, const char *fmt, ...) LODGE_PRINTF(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/**
 * log_guest_error - the guest did something a correct driver does not
 *
 * Written as a warning, at most 10 lines a second for the whole process; what was left out is
 * counted and said with the next line. Context: any thread.
 */
void log_guest_error(const char *fmt, ...) LODGE_PRINTF(1, 2);

LODGE_NORETURN LODGE_COLD void log_assert_failed(const char *expr, const char *file, int line);

/* For bugs of ours only: nothing that a guest, image or peer sends may reach a false one. */
#define lodge_assert(expr)                                                                         \
    do {                                                                                           \
        if (unlikely(!(expr))) {                                                                   \
            log_assert_failed(#expr, __FILE__, __LINE__);                                          \
        }                                                                                          \
    } while (0)

#endif
