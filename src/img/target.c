/* Half images. SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/target.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Waits for a signal; then the process ends by it, as it would have without this thread. */
static void *watch(void *opaque)
{
    const ImgTarget *target = opaque;
    int number;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    if (sigwait(&target->signals, &number) != 0) {
        return NULL;
    }
    (void)!unlink(target->path);
    signal(number, SIG_DFL);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    raise(number);
    return NULL;
}

/* Blocked signals wait even if they are ignored: those of nohup and of shells are left alone. */
static void choose_signals(sigset_t *signals)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    sigemptyset(signals);
    for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++) {
        struct sigaction action;
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
            sigaddset(signals, numbers[i]);
        }
    }
}

void img_target_begin(ImgTarget *target, const char *name)
{
    const char *path = g_str_has_prefix(name, "file:") ? name + strlen("file:") : name;
    struct stat st;
    if (lstat(path, &st) == 0 || errno != ENOENT) {
        return;
    }
    target->path = g_strdup(path);
    choose_signals(&target->signals);
    pthread_sigmask(SIG_BLOCK, &target->signals, NULL);
    target->is_watching = pthread_create(&target->watcher, NULL, watch, target) == 0;
    if (!target->is_watching) {
        pthread_sigmask(SIG_UNBLOCK, &target->signals, NULL);
    }
}

void img_target_end(ImgTarget *target, bool is_whole, GError **error)
{
    if (target->is_watching) {
        pthread_cancel(target->watcher);
        pthread_join(target->watcher, NULL);
        pthread_sigmask(SIG_UNBLOCK, &target->signals, NULL);
    }
    if (target->path && !is_whole && unlink(target->path) == 0) {
        char *reason = (*error)->message;
        (*error)->message =
            g_strdup_printf("%s; the incomplete '%s' was removed", reason, target->path);
        g_free(reason);
    }
    g_free(target->path);
    *target = (ImgTarget){ 0 };
}
