/* Log lines on standard error.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define GUEST_ERRORS_PER_SECOND 10

static struct {
    const char *program;
    LogLevel level;
    bool has_timestamps;
    pthread_mutex_t lock;
    int64_t window_start_ns;  /* under lock */
    unsigned window_lines;    /* under lock */
    unsigned long suppressed; /* under lock */
} log_state = { .program = "lodge", .level = LOG_LEVEL_INFO, .lock = PTHREAD_MUTEX_INITIALIZER };

void log_init(const char *program, LogLevel level)
{
    log_state.program = program;
    log_state.level = level;
}

void log_set_timestamps(bool on)
{
    log_state.has_timestamps = on;
}

/* UTC with microseconds, and a blank; nothing unless asked for. Returns the length. */
static int format_timestamp(char *out, size_t size)
{
    *out = 0;
    if (!log_state.has_timestamps) {
        return 0;
    }
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t length = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &utc);
    return (int)length + snprintf(out + length, size - length, ".%06ldZ ", now.tv_nsec / 1000);
}

static void LODGE_PRINTF(2, 0) write_line(LogLevel level, const char *fmt, va_list args)
{
    static const char *const prefix[] = { "", "warning: ", "", "debug: " };
    char line[1024];
    int used = format_timestamp(line, sizeof(line));
    used += snprintf(line + used, sizeof(line) - (size_t)used, "%s: %s", log_state.program,
                     prefix[level]);
    int more = vsnprintf(line + used, sizeof(line) - used - 1, fmt, args);
    size_t length = used + (more > 0 ? (size_t)more : 0);
    if (length > sizeof(line) - 2) {
        length = sizeof(line) - 2;
    }
    line[length++] = '\n';
    while (write(STDERR_FILENO, line, length) < 0 && errno == EINTR) {
    }
}

void log_write(LogLevel level, const char *fmt, ...)
{
    if (level > log_state.level) {
        return;
    }
    int saved = errno;
    va_list args;
    va_start(args, fmt);
    write_line(level, fmt, args);
    va_end(args);
    errno = saved;
}

/* Whether one more line fits this second; *out_missed is what was left out before. */
static bool guest_error_allowed(unsigned long *out_missed)
{
    LOCK_GUARD(&log_state.lock);
    int64_t now = clock_monotonic_ns();
    if (now - log_state.window_start_ns >= NS_PER_SEC) {
        log_state.window_start_ns = now;
        log_state.window_lines = 0;
    }
    if (log_state.window_lines >= GUEST_ERRORS_PER_SECOND) {
        log_state.suppressed++;
        return false;
    }
    log_state.window_lines++;
    *out_missed = log_state.suppressed;
    log_state.suppressed = 0;
    return true;
}

void log_guest_error(const char *fmt, ...)
{
    unsigned long missed;
    if (log_state.level < LOG_LEVEL_WARN || !guest_error_allowed(&missed)) {
        return;
    }
    if (missed) {
        log_warn("%lu guest errors not shown", missed);
    }
    va_list args;
    va_start(args, fmt);
    write_line(LOG_LEVEL_WARN, fmt, args);
    va_end(args);
}

void log_assert_failed(const char *expr, const char *file, int line)
{
    log_error("%s:%d: assertion '%s' failed; this is a bug", file, line, expr);
    abort();
}
