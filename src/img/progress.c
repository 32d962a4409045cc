/* Progress bar. SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/progress.h"

#include "base/clock.h"
#include "img/text.h"

#include <glib.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_CELLS 30
#define TERMINAL_PERIOD_NS (200 * NS_PER_MS)
#define PRINT_STEP 1.0 /* per cent, where it is no terminal */

void img_progress_init(ImgProgress *progress, bool is_enabled, uint64_t total)
{
    *progress = (ImgProgress){
        .is_enabled = is_enabled,
        .is_terminal = is_enabled && isatty(STDOUT_FILENO),
        .total = total,
        .started_ns = clock_monotonic_ns(),
    };
    img_progress_set(progress, 0);
}

static void print_bar(const ImgProgress *progress, double share, int64_t now)
{
    char bar[BAR_CELLS + 1];
    unsigned filled = (unsigned)(share / 100 * BAR_CELLS);
    memset(bar, '.', BAR_CELLS);
    memset(bar, '#', filled < BAR_CELLS ? filled : BAR_CELLS);
    bar[BAR_CELLS] = 0;
    double seconds = (double)(now - progress->started_ns) / NS_PER_SEC;
    g_autofree char *rate =
        text_size(seconds > 0 ? (uint64_t)((double)progress->done / seconds) : 0);
    printf("\r[%s] %6.2f%%  %s/s", bar, share, rate);
    if (share > 0 && share < 100 && seconds > 1) {
        uint64_t left = (uint64_t)(seconds / share * (100 - share) + 0.5);
        printf("  %" PRIu64 ":%02" PRIu64 " left", left / 60, left % 60);
    }
    printf("\033[K");
}

static void print(ImgProgress *progress, double share, int64_t now)
{
    if (progress->is_terminal) {
        print_bar(progress, share, now);
    } else {
        printf("    (%3.2f/100%%)\r", share);
    }
    fflush(stdout);
    progress->printed_ns = now;
    progress->printed_share = share;
}

/* The signal is blocked and waits to be asked for. */
static bool is_asked(void)
{
    const struct timespec none = { 0 };
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    return sigtimedwait(&signals, NULL, &none) == SIGUSR1;
}

void img_progress_set(ImgProgress *progress, uint64_t done)
{
    progress->done = done;
    double share = progress->total ? (double)done * 100 / (double)progress->total : 100;
    share = fmin(share, 100);
    if (is_asked()) {
        fprintf(stderr, "    (%3.2f/100%%)\n", share);
    }
    if (!progress->is_enabled) {
        return;
    }
    int64_t now = clock_monotonic_ns();
    bool is_due = progress->is_terminal ? now - progress->printed_ns >= TERMINAL_PERIOD_NS
                                        : share - progress->printed_share >= PRINT_STEP;
    if (is_due || !progress->printed_ns) {
        print(progress, share, now);
    }
}

void img_progress_end(ImgProgress *progress, bool is_complete)
{
    if (!progress->is_enabled) {
        return;
    }
    if (is_complete) {
        progress->done = progress->total;
    }
    if (is_complete && progress->printed_share < 100) {
        print(progress, 100, clock_monotonic_ns());
    }
    putchar('\n');
    fflush(stdout);
    progress->is_enabled = false;
}
