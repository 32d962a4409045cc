/* Half images. SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/target.h"

#include <unistd.h>

/* Returns: how many of them were there. */
static unsigned take_away(const ImgTarget *target)
{
    unsigned count = 0;
    for (guint i = 0; i < target->paths->len; i++) {
        count += unlink(g_ptr_array_index(target->paths, i)) == 0;
    }
    return count;
}

/* Waits for a signal; then the process ends by it, as it would have without this thread. */
static void *watch(void *opaque)
{
    const ImgTarget *target = opaque;
    int number;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    if (sigwait(&target->signals, &number) != 0) {
        return NULL;
    }
    (void)take_away(target);
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

void img_target_begin(ImgTarget *target, const char *format, const char *name,
                      const BlockSpec *options)
{
    target->paths = block_create_new_files(format, name, options);
    if (target->paths->len == 0) {
        return;
    }
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
    unsigned count = target->paths && !is_whole ? take_away(target) : 0;
    if (count > 0) {
        char *reason = (*error)->message;
        g_autofree char *others = count > 1 ? g_strdup_printf(", and %u further file%s of it",
                                                              count - 1, count > 2 ? "s" : "")
                                            : g_strdup("");
        (*error)->message =
            g_strdup_printf("%s; the incomplete '%s' was removed%s", reason,
                            (const char *)g_ptr_array_index(target->paths, 0), others);
        g_free(reason);
    }
    g_clear_pointer(&target->paths, g_ptr_array_unref);
    *target = (ImgTarget){ 0 };
}
