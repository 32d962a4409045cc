/* Local APICs on threads: no interrupt and no wake-up is lost between sender and receiver.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "vmm/irq/irqchip.h"
#include "vmm/irq/lapic.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define VCPUS 2
#define ROUNDS 20000
#define VECTOR 0x51

typedef struct Wake {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool requested; /* under lock */
} Wake;

static Wake wakes[VCPUS];
static IrqChip *chip;
static Lapic lapic[VCPUS];
static LapicPort port[VCPUS];
static bool sends_logical;

static void request(void *opaque, unsigned vcpu, VcpuRequest what, uint8_t vector)
{
    Wake *wake = &wakes[vcpu];
    pthread_mutex_lock(&wake->lock);
    wake->requested = true;
    pthread_cond_signal(&wake->cond);
    pthread_mutex_unlock(&wake->lock);
}

static int64_t clock_ns(void *opaque)
{
    return 0;
}

static void timer_set(void *opaque, unsigned vcpu, int64_t deadline)
{
}

/* As HLT does: sleeps until a request, then looks. */
static void wait_for_interrupt(unsigned vcpu)
{
    Wake *wake = &wakes[vcpu];
    while (port[vcpu].pending(&lapic[vcpu]) < 0) {
        pthread_mutex_lock(&wake->lock);
        while (!wake->requested) {
            pthread_cond_wait(&wake->cond, &wake->lock);
        }
        wake->requested = false;
        pthread_mutex_unlock(&wake->lock);
    }
}

static void put(unsigned vcpu, unsigned offset, uint32_t value)
{
    port[vcpu].write_mmio(&lapic[vcpu], LAPIC_BASE_DEFAULT + offset, 4, value);
}

static void send_to(unsigned from, unsigned to)
{
    if (sends_logical) {
        put(from, 0x310, 1u << (24 + to));
        put(from, 0x300, 0x4800 | VECTOR);
    } else {
        put(from, 0x310, to << 24);
        put(from, 0x300, 0x4000 | VECTOR);
    }
}

static unsigned wrong_vectors;

static void *play(void *opaque)
{
    unsigned self = (unsigned)(uintptr_t)opaque;
    for (unsigned i = 0; i < ROUNDS; i++) {
        wait_for_interrupt(self); /* hangs when one is lost */
        if (port[self].acknowledge(&lapic[self]) != VECTOR) {
            __atomic_fetch_add(&wrong_vectors, 1, __ATOMIC_RELAXED);
        }
        put(self, 0xb0, 0);
        send_to(self, 1 - self);
    }
    return NULL;
}

static void ping_pong(void)
{
    const IrqChipHost host = {
        .vcpu_count = VCPUS, .vcpu_request = request, .clock_ns = clock_ns, .timer_set = timer_set
    };
    wrong_vectors = 0;
    chip = irq_chip_new(&host);
    for (unsigned i = 0; i < VCPUS; i++) {
        pthread_mutex_init(&wakes[i].lock, NULL);
        pthread_cond_init(&wakes[i].cond, NULL);
        lapic_init(&lapic[i], i);
        irq_chip_attach_lapic(chip, i, &lapic[i]);
        port[i] = irq_chip_lapic_port(chip, i);
        put(i, 0xf0, 0x1ff);
        put(i, 0xd0, 1u << (24 + i));
    }
    pthread_t threads[VCPUS];
    for (uintptr_t i = 0; i < VCPUS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, play, (void *)i), 0);
    }
    /* A message from outside serves the first ball. */
    MsiSink sink = irq_chip_msi_sink(chip);
    msi_send(&sink, 0xfee00000, VECTOR);
    for (unsigned i = 0; i < VCPUS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(wrong_vectors, 0);
    assert_int_equal(port[0].pending(&lapic[0]), VECTOR); /* the last ball */
    for (unsigned i = 0; i < VCPUS; i++) {
        irq_chip_attach_lapic(chip, i, NULL);
        lapic_done(&lapic[i]);
        pthread_cond_destroy(&wakes[i].cond);
        pthread_mutex_destroy(&wakes[i].lock);
    }
    irq_chip_free(chip);
}

static void physical_ipis_are_never_lost(void **state)
{
    sends_logical = false;
    ping_pong();
}

static void logical_ipis_are_never_lost(void **state)
{
    sends_logical = true;
    ping_pong();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(physical_ipis_are_never_lost),
        cmocka_unit_test(logical_ipis_are_never_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
