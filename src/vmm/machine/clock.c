/* The guest's clock, which stands still while the guest is paused, and the timers set by it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/machine/internal.h"

#define CLOCK_RUNS (-1)

/* A timer that is armed by guest time. */
typedef struct MachineTimer {
    LoopTimer *timer;
    int64_t deadline_ns; /* guest time; DEVICE_TIMER_OFF: to be disarmed and forgotten */
    bool is_changed;     /* not yet passed on to the loop */
} MachineTimer;

void machine_clock_init(Machine *machine)
{
    pthread_mutex_init(&machine->timer_lock, NULL);
    machine->timers = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    machine->clock_frozen_ns = 0;
}

void machine_clock_done(Machine *machine)
{
    g_hash_table_destroy(machine->timers);
    pthread_mutex_destroy(&machine->timer_lock);
}

int64_t machine_clock_ns(void *opaque)
{
    Machine *machine = opaque;
    int64_t frozen = atomic_load(&machine->clock_frozen_ns);
    return frozen != CLOCK_RUNS ? frozen
                                : clock_monotonic_ns() - atomic_load(&machine->clock_offset_ns);
}

static bool is_frozen(const Machine *machine)
{
    return atomic_load(&machine->clock_frozen_ns) != CLOCK_RUNS;
}

/* Tells the loop of one timer. Context: the loop, timer_lock held. */
static void pass_on(Machine *machine, const MachineTimer *t)
{
    if (t->deadline_ns == DEVICE_TIMER_OFF || is_frozen(machine)) {
        loop_timer_cancel(t->timer);
    } else {
        int64_t host_ns;
        if (__builtin_add_overflow(t->deadline_ns, atomic_load(&machine->clock_offset_ns),
                                   &host_ns)) {
            host_ns = INT64_MAX;
        }
        loop_timer_set(t->timer, host_ns);
    }
}

/* Passes on changed timers, or with @all every one. Context: the loop. */
static void apply_timers(Machine *machine, bool all)
{
    LOCK_GUARD(&machine->timer_lock);
    GHashTableIter iter;
    gpointer value;
    machine->timers_posted = false;
    g_hash_table_iter_init(&iter, machine->timers);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        MachineTimer *t = value;
        if (t->is_changed || all) {
            t->is_changed = false;
            pass_on(machine, t);
        }
        if (t->deadline_ns == DEVICE_TIMER_OFF) {
            g_hash_table_iter_remove(&iter);
        }
    }
}

static void apply_changes(void *opaque)
{
    apply_timers(opaque, false);
}

void machine_timer_set(void *opaque, LoopTimer *timer, int64_t deadline_ns)
{
    Machine *machine = opaque;
    LOCK_GUARD(&machine->timer_lock);
    MachineTimer *t = g_hash_table_lookup(machine->timers, timer);
    bool is_loop = loop_is_current(machine->loop);
    if (!t) {
        if (deadline_ns == DEVICE_TIMER_OFF) {
            return;
        }
        t = g_new0(MachineTimer, 1);
        t->timer = timer;
        g_hash_table_insert(machine->timers, timer, t);
    }
    t->deadline_ns = deadline_ns;
    if (is_loop || !machine->has_run) {
        pass_on(machine, t);
        t->is_changed = false;
        if (deadline_ns == DEVICE_TIMER_OFF) {
            g_hash_table_remove(machine->timers, timer);
        }
        return;
    }
    t->is_changed = true;
    if (!machine->timers_posted) {
        machine->timers_posted = loop_call(machine->loop, apply_changes, machine) == 0;
    }
}

void machine_clock_stop(Machine *machine)
{
    if (!is_frozen(machine)) {
        atomic_store(&machine->clock_frozen_ns, machine_clock_ns(machine));
        apply_timers(machine, true);
    }
}

void machine_clock_start(Machine *machine)
{
    if (is_frozen(machine)) {
        atomic_store(&machine->clock_offset_ns,
                     clock_monotonic_ns() - atomic_load(&machine->clock_frozen_ns));
        atomic_store(&machine->clock_frozen_ns, CLOCK_RUNS);
        apply_timers(machine, true);
    }
}
