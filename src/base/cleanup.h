/* Scope-bound ownership for ring 0: descriptors, heap blocks and locks are released at the end of
 * their scope. SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_BASE_CLEANUP_H
#define LODGE_BASE_CLEANUP_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *slot)
{
    free(*(void **)slot);
}

static inline void cleanup_close(const int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
}

static inline void cleanup_unlock(pthread_mutex_t **mutex)
{
    if (*mutex) {
        pthread_mutex_unlock(*mutex);
    }
}

static inline pthread_mutex_t *cleanup_lock(pthread_mutex_t *mutex)
{
    if (mutex) {
        pthread_mutex_lock(mutex);
    }
    return mutex;
}

/* Heap block, freed at the end of the scope. */
#define autofree __attribute__((cleanup(cleanup_free)))
/* File descriptor or -1, closed at the end of the scope. */
#define autofd __attribute__((cleanup(cleanup_close))) int
/* Holds @mutex (may be NULL) until the end of the scope. */
#define LOCK_GUARD(mutex)                                                                          \
    __attribute__((cleanup(cleanup_unlock), unused)) pthread_mutex_t *CLEANUP_NAME(                \
        guard_, __LINE__) = cleanup_lock(mutex)
#define CLEANUP_NAME(a, b) CLEANUP_NAME2(a, b)
#define CLEANUP_NAME2(a, b) a##b

/* Takes the descriptor out of @fd, which becomes -1. */
static inline int steal_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* Takes the pointer out of @slot, which becomes NULL. */
static inline void *steal_ptr(void *slot)
{
    void *taken = *(void **)slot;
    *(void **)slot = NULL;
    return taken;
}

#endif
