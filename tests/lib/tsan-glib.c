/* Tells ThreadSanitizer of GLib's locks, conditions and thread pools, which it does not see: GLib
 * makes them of futexes and is not instrumented; and of its counts of references. Linked into
 * lodged and the unit tests where b_sanitize has "thread".
 * The executable's functions come before GLib's; each calls GLib's.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include <dlfcn.h>
#include <glib.h>
#include <sanitizer/tsan_interface.h>

/* The function that this one hides; looked up each time: there is nothing to be fast for. */
#define HIDDEN(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

void(g_mutex_lock)(GMutex *mutex)
{
    __tsan_mutex_pre_lock(mutex, 0);
    HIDDEN(g_mutex_lock)(mutex);
    __tsan_mutex_post_lock(mutex, 0, 0);
}

gboolean(g_mutex_trylock)(GMutex *mutex)
{
    __tsan_mutex_pre_lock(mutex, __tsan_mutex_try_lock);
    gboolean locked = HIDDEN(g_mutex_trylock)(mutex);
    __tsan_mutex_post_lock(mutex,
                           __tsan_mutex_try_lock | (locked ? 0 : __tsan_mutex_try_lock_failed), 0);
    return locked;
}

void(g_mutex_unlock)(GMutex *mutex)
{
    __tsan_mutex_pre_unlock(mutex, 0);
    HIDDEN(g_mutex_unlock)(mutex);
    __tsan_mutex_post_unlock(mutex, 0);
}

void g_mutex_clear(GMutex *mutex)
{
    __tsan_mutex_destroy(mutex, 0);
    HIDDEN(g_mutex_clear)(mutex);
}

static void pause_lock(GMutex *mutex)
{
    __tsan_mutex_pre_unlock(mutex, 0);
    __tsan_mutex_post_unlock(mutex, 0);
}

static void resume_lock(GMutex *mutex)
{
    __tsan_mutex_pre_lock(mutex, 0);
    __tsan_mutex_post_lock(mutex, 0, 0);
}

/* What a condition's waiter and signaller share they share under the lock. */
void g_cond_wait(GCond *cond, GMutex *mutex)
{
    pause_lock(mutex);
    HIDDEN(g_cond_wait)(cond, mutex);
    resume_lock(mutex);
}

gboolean g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 end_time)
{
    pause_lock(mutex);
    gboolean signalled = HIDDEN(g_cond_wait_until)(cond, mutex, end_time);
    resume_lock(mutex);
    return signalled;
}

void g_rw_lock_writer_lock(GRWLock *lock)
{
    __tsan_mutex_pre_lock(lock, 0);
    HIDDEN(g_rw_lock_writer_lock)(lock);
    __tsan_mutex_post_lock(lock, 0, 0);
}

void g_rw_lock_writer_unlock(GRWLock *lock)
{
    __tsan_mutex_pre_unlock(lock, 0);
    HIDDEN(g_rw_lock_writer_unlock)(lock);
    __tsan_mutex_post_unlock(lock, 0);
}

void g_rw_lock_reader_lock(GRWLock *lock)
{
    __tsan_mutex_pre_lock(lock, __tsan_mutex_read_lock);
    HIDDEN(g_rw_lock_reader_lock)(lock);
    __tsan_mutex_post_lock(lock, __tsan_mutex_read_lock, 0);
}

void g_rw_lock_reader_unlock(GRWLock *lock)
{
    __tsan_mutex_pre_unlock(lock, __tsan_mutex_read_lock);
    HIDDEN(g_rw_lock_reader_unlock)(lock);
    __tsan_mutex_post_unlock(lock, __tsan_mutex_read_lock);
}

/* What is pushed comes before what the worker does with it. */
typedef struct Work {
    GFunc func;
    gpointer user_data;
} Work;

static void run_work(gpointer data, gpointer work)
{
    __tsan_acquire(data);
    ((Work *)work)->func(data, ((Work *)work)->user_data);
}

/* A pool's Work stays until the program ends. */
GThreadPool *g_thread_pool_new(GFunc func, gpointer user_data, gint max_threads, gboolean exclusive,
                               GError **error)
{
    Work *work = g_new0(Work, 1);
    *work = (Work){ func, user_data };
    return HIDDEN(g_thread_pool_new)(run_work, work, max_threads, exclusive, error);
}

gboolean g_thread_pool_push(GThreadPool *pool, gpointer data, GError **error)
{
    __tsan_release(data);
    return HIDDEN(g_thread_pool_push)(pool, data, error);
}

void(g_once_init_leave)(volatile void *location, gsize result)
{
    __tsan_release((void *)location);
    HIDDEN(g_once_init_leave)(location, result);
}

gboolean(g_once_init_enter)(volatile void *location)
{
    gboolean is_first = HIDDEN(g_once_init_enter)(location);
    if (!is_first) {
        __tsan_acquire((void *)location);
    }
    return is_first;
}

/* What the others did with it comes before the last one frees it. */
#define GIVES_UP(function, type)                                                                   \
    void function(type *object)                                                                    \
    {                                                                                              \
        __tsan_release(object);                                                                    \
        __tsan_acquire(object);                                                                    \
        HIDDEN(function)(object);                                                                  \
    }

GIVES_UP(g_ptr_array_unref, GPtrArray)
GIVES_UP(g_bytes_unref, GBytes)
GIVES_UP(g_hash_table_unref, GHashTable)

/* The same of JSON, whose objects hold each other: all of it counts as one object. Without its
 * header: not every program here has it. */
static char all_json;

#define JSON_GIVES_UP(function)                                                                    \
    void function(void *object);                                                                   \
    void function(void *object)                                                                    \
    {                                                                                              \
        __tsan_release(&all_json);                                                                 \
        __tsan_acquire(&all_json);                                                                 \
        HIDDEN(function)(object);                                                                  \
    }

JSON_GIVES_UP(json_object_unref)
JSON_GIVES_UP(json_array_unref)
JSON_GIVES_UP(json_node_unref)
