/* Progress bars: the job's figures twice a second.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/progress.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 30
#define PERIOD_US (G_USEC_PER_SEC / 2)

struct CliProgress {
    const CliSession *session;
    RemoteDomain domain;
    const char *label;
    pthread_t thread;
    GMutex lock; /* what follows */
    GCond changed;
    bool is_over;
};

void cli_progress_draw(const CliSession *session, const char *label, guint64 part, guint64 whole)
{
    double share = whole ? CLAMP((double)part / (double)whole, 0, 1) : 0;
    char bar[BAR_WIDTH + 1];
    unsigned filled = (unsigned)(share * BAR_WIDTH);
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', filled);
    bar[BAR_WIDTH] = '\0';
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%s: [%s] [%3.0f %%]", label, bar, share * 100);
    } else {
        fprintf(stderr, "\r%s: [%3.0f %%]", label, share * 100);
    }
    fflush(stderr);
}

static void draw_job(CliProgress *progress)
{
    Arena arena;
    RemoteDomainGetJobInfoArgs call = { progress->domain };
    RemoteDomainGetJobInfoRet ret;
    arena_init(&arena, 1 << 16);
    if (remote_domain_get_job_info(cli_client(progress->session), &call, &arena, &ret, NULL) &&
        ret.data_total > 0) {
        cli_progress_draw(progress->session, progress->label, ret.data_total - ret.data_remaining,
                          ret.data_total);
    }
    arena_clear(&arena);
}

static void *watch(void *opaque)
{
    CliProgress *progress = opaque;
    g_mutex_lock(&progress->lock);
    while (!progress->is_over) {
        gint64 next = g_get_monotonic_time() + PERIOD_US;
        g_mutex_unlock(&progress->lock);
        draw_job(progress);
        g_mutex_lock(&progress->lock);
        while (!progress->is_over && g_cond_wait_until(&progress->changed, &progress->lock, next)) {
        }
    }
    g_mutex_unlock(&progress->lock);
    return NULL;
}

CliProgress *cli_progress_start(CliSession *session, const RemoteDomain *domain, const char *label,
                                const CliArgs *args)
{
    bool is_wanted = cli_args_flag(args, "verbose") ||
                     (isatty(STDERR_FILENO) && !session->is_quiet && !session->is_json);
    if (!is_wanted) {
        return NULL;
    }
    CliProgress *progress = g_new0(CliProgress, 1);
    progress->session = session;
    progress->domain = *domain;
    progress->label = label;
    g_mutex_init(&progress->lock);
    g_cond_init(&progress->changed);
    if (pthread_create(&progress->thread, NULL, watch, progress) != 0) {
        g_free(progress);
        return NULL;
    }
    return progress;
}

void cli_progress_end(CliProgress *progress, bool done)
{
    if (!progress) {
        return;
    }
    g_mutex_lock(&progress->lock);
    progress->is_over = true;
    g_cond_signal(&progress->changed);
    g_mutex_unlock(&progress->lock);
    pthread_join(progress->thread, NULL);
    if (done) {
        cli_progress_draw(progress->session, progress->label, 1, 1);
    }
    fputc('\n', stderr);
    g_mutex_clear(&progress->lock);
    g_cond_clear(&progress->changed);
    g_free(progress);
}
