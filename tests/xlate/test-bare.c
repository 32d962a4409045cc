/* Runs the bare guest of bare/ in the interpreter and in translated code; the guest reports each of
 * its checks by name.
 *
 *   test-bare IMAGE
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/compiler.h"
#include "vmm/accel/accel.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RAM_BYTES (4u << 20)
#define IMAGE_AT 0x8000u
#define IMAGE_MAX 0x50000u
#define NAME_MAX_BYTES 128u
#define PROCESSORS 2u
#define TIMEOUT_SECONDS 240 /* of a busy host */

#define PORT_DMA 0xe4
#define PORT_DMA_LATER 0xe8
#define PORT_START 0xec
#define PORT_NAME 0xf0
#define PORT_RESULT 0xf4
#define PORT_END 0xf8
#define PORT_INTERRUPT 0xfc

/* What the guest runs: value of DI at its start. */
enum { START_TESTS = 0, START_OTHER = 1, START_TRIPLE_FAULT = 2 };

typedef struct Bare {
    AddressMap *map, *ports;
    GuestMemory memory;
    RamBlock *ram;
    Vm *vm;
    Vcpu *vcpu[PROCESSORS];
    CpuidTable cpuid;
    const char *engine; /* in names of tests */
    char name[NAME_MAX_BYTES];
    int vector; /* interrupt that waits, -1: none */
    bool shut_down;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started, ended;
    uint32_t dma_address; /* that run_device() is to write at, 0: none */
} Bare;

/* How the guest's code is executed. */
typedef struct Engine {
    const char *name;
    bool is_interpreted, is_old_host;
    uint64_t code_cache_bytes;
} Engine;

static const Engine engines[] = {
    { .name = "interp", .is_interpreted = true },
    { .name = "jit" },
    { .name = "jit_on_old_host", .is_old_host = true },
    { .name = "jit_with_small_cache", .code_cache_bytes = 1u << 20 },
};

/* Of the whole program. */
typedef struct Tally {
    unsigned number, failed;
} Tally;

static Tally tally;

static void report(const char *engine, const char *name, bool ok)
{
    printf("%s %u - %s_%s\n", ok ? "ok" : "not ok", ++tally.number, engine, name);
    tally.failed += !ok;
}

/* -- what the guest reaches -- */

static uint64_t region_read_ones(void *opaque, const AddressMap *map, GuestAddr addr, unsigned size)
{
    return UINT64_MAX;
}

static void signal_state(Bare *bare, bool started, bool ended)
{
    pthread_mutex_lock(&bare->lock);
    bare->started |= started;
    bare->ended |= ended;
    pthread_cond_broadcast(&bare->changed);
    pthread_mutex_unlock(&bare->lock);
}

/* As a device does: without the processor's knowledge. The byte counts down, as the guest's own
 * changes do. */
static void write_by_dma(Bare *bare, uint64_t address)
{
    uint8_t byte;
    if (guest_memory_read(&bare->memory, address, &byte, 1) == 0) {
        byte--;
        if (guest_memory_write(&bare->memory, address, &byte, 1) != 0) {
            report(bare->engine, "dma_reaches_memory", false);
        }
    }
}

/* The thread of a device. */
static void *run_device(void *opaque)
{
    Bare *bare = opaque;
    pthread_mutex_lock(&bare->lock);
    while (!bare->ended) {
        uint32_t address = bare->dma_address;
        if (address) {
            bare->dma_address = 0;
            pthread_mutex_unlock(&bare->lock);
            write_by_dma(bare, address);
            pthread_mutex_lock(&bare->lock);
        } else {
            pthread_cond_wait(&bare->changed, &bare->lock);
        }
    }
    pthread_mutex_unlock(&bare->lock);
    return NULL;
}

static void region_write_port(void *opaque, const AddressMap *map, GuestAddr addr, uint64_t value,
                              unsigned size)
{
    Bare *bare = opaque;
    if (map != bare->ports) {
        return;
    }
    switch (addr) {
    case PORT_NAME:
        snprintf(bare->name, sizeof(bare->name), "%s",
                 value < RAM_BYTES - NAME_MAX_BYTES ? (const char *)bare->ram->host + value : "?");
        break;
    case PORT_RESULT:
        report(bare->engine, bare->name, value == 1);
        break;
    case PORT_DMA:
        write_by_dma(bare, value);
        break;
    case PORT_DMA_LATER:
        pthread_mutex_lock(&bare->lock);
        bare->dma_address = (uint32_t)value;
        pthread_cond_broadcast(&bare->changed);
        pthread_mutex_unlock(&bare->lock);
        break;
    case PORT_START:
        signal_state(bare, true, false);
        break;
    case PORT_INTERRUPT:
        bare->vector = (int)(value & 0xff);
        accel_xlate.vcpu_request(bare->vcpu[0], VCPU_REQUEST_INTERRUPT, 0);
        break;
    case PORT_END:
        signal_state(bare, true, true);
        for (unsigned i = 0; i < PROCESSORS; i++) {
            accel_xlate.vcpu_kick(bare->vcpu[i]);
        }
        break;
    }
}

static int lapic_pending(void *opaque)
{
    Bare *bare = opaque;
    return bare->vector;
}

static int lapic_acknowledge(void *opaque)
{
    Bare *bare = opaque;
    int vector = bare->vector;
    bare->vector = -1;
    return vector;
}

static uint8_t lapic_get_cr8(void *opaque)
{
    return 0;
}

static void lapic_set_cr8(void *opaque, uint8_t value)
{
}

static bool lapic_read_msr(void *opaque, uint32_t msr, uint64_t *out)
{
    return false;
}

static bool lapic_write_msr(void *opaque, uint32_t msr, uint64_t value)
{
    return false;
}

static bool lapic_read_mmio(void *opaque, GuestAddr addr, unsigned size, uint64_t *out)
{
    return false;
}

static bool lapic_write_mmio(void *opaque, GuestAddr addr, unsigned size, uint64_t value)
{
    return false;
}

static void lapic_reset(void *opaque)
{
}

static int lapic_pending_never(void *opaque)
{
    return -1;
}

/* -- the machine -- */

static bool load_image(Bare *bare, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        return false;
    }
    size_t size = fread(bare->ram->host + IMAGE_AT, 1, IMAGE_MAX, file);
    fclose(file);
    return size > 0 && size < IMAGE_MAX;
}

static bool create_vcpu(Bare *bare, unsigned index, unsigned start)
{
    char message[160];
    const LapicPort lapic = {
        .lapic = bare,
        .pending = index == 0 ? lapic_pending : lapic_pending_never,
        .acknowledge = index == 0 ? lapic_acknowledge : lapic_pending_never,
        .get_cr8 = lapic_get_cr8,
        .set_cr8 = lapic_set_cr8,
        .read_msr = lapic_read_msr,
        .write_msr = lapic_write_msr,
        .read_mmio = lapic_read_mmio,
        .write_mmio = lapic_write_mmio,
        .reset = lapic_reset,
    };
    bare->vcpu[index] = accel_xlate.vcpu_create(bare->vm, index, &bare->cpuid, &lapic, message);
    CpuState *state = malloc(sizeof(*state));
    if (!bare->vcpu[index] || !state) {
        free(state);
        return false;
    }
    cpu_state_reset(state, true);
    state->segment[CPU_CS].selector = 0;
    state->segment[CPU_CS].base = 0;
    state->rip = IMAGE_AT;
    state->gpr[CPU_RDI] = start;
    bool ok = accel_xlate.vcpu_set_state(bare->vcpu[index], state) == 0;
    free(state);
    return ok;
}

static bool set_up(Bare *bare, const char *path, const Engine *engine, unsigned start)
{
    char message[160];
    bare->vector = -1;
    bare->engine = engine->name;
    pthread_mutex_init(&bare->lock, NULL);
    pthread_cond_init(&bare->changed, NULL);
    bare->map = address_map_new(0);
    bare->ports = address_map_new(0x10000);
    bare->ram = ram_block_new("bare", RAM_BYTES);
    if (!bare->map || !bare->ports || !bare->ram || !load_image(bare, path)) {
        return false;
    }
    bare->memory.map = bare->map;
    AddressEntry entry = { .size_bytes = RAM_BYTES, .ram = bare->ram };
    AccelHost host = { .memory = &bare->memory,
                       .ports = bare->ports,
                       .region_read = region_read_ones,
                       .region_write = region_write_port,
                       .opaque = bare,
                       .vcpu_count = PROCESSORS,
                       .is_interpreted = engine->is_interpreted,
                       .code_cache_bytes = engine->code_cache_bytes,
                       .without_bmi2 = engine->is_old_host,
                       .without_fsgsbase = engine->is_old_host };
    if (address_map_add(bare->map, &entry, 0) < 0 ||
        accel_xlate.cpuid_limits(&bare->cpuid, message) < 0) {
        return false;
    }
    bare->vm = accel_xlate.vm_create(&host, message);
    return bare->vm && create_vcpu(bare, 0, start) && create_vcpu(bare, 1, START_OTHER);
}

static void tear_down(Bare *bare)
{
    for (unsigned i = 0; i < PROCESSORS; i++) {
        if (bare->vcpu[i]) {
            accel_xlate.vcpu_destroy(bare->vcpu[i]);
        }
    }
    if (bare->vm) {
        accel_xlate.vm_destroy(bare->vm);
    }
    address_map_free(bare->map);
    address_map_free(bare->ports);
    ram_block_free(bare->ram);
    pthread_mutex_destroy(&bare->lock);
    pthread_cond_destroy(&bare->changed);
}

static void *run_first(void *opaque)
{
    Bare *bare = opaque;
    VcpuExit out;
    accel_xlate.vcpu_run(bare->vcpu[0], &out);
    bare->shut_down = out.reason == VCPU_EXIT_SHUTDOWN;
    signal_state(bare, true, true);
    return NULL;
}

static void *run_second(void *opaque)
{
    Bare *bare = opaque;
    VcpuExit out;
    pthread_mutex_lock(&bare->lock);
    while (!bare->started) {
        pthread_cond_wait(&bare->changed, &bare->lock);
    }
    bool is_late = bare->ended;
    pthread_mutex_unlock(&bare->lock);
    if (!is_late) {
        accel_xlate.vcpu_run(bare->vcpu[1], &out);
    }
    return NULL;
}

/* False: the guest did not come to its end in time. */
static bool wait_for_end(Bare *bare)
{
    struct timespec until;
    int error = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TIMEOUT_SECONDS;
    pthread_mutex_lock(&bare->lock);
    while (!bare->ended && error == 0) {
        error = pthread_cond_timedwait(&bare->changed, &bare->lock, &until);
    }
    bool ended = bare->ended;
    bare->started = bare->ended = true;
    pthread_cond_broadcast(&bare->changed);
    pthread_mutex_unlock(&bare->lock);
    return ended;
}

static void run(const char *path, const Engine *engine, unsigned start)
{
    static Bare bare;
    pthread_t thread[PROCESSORS], device;
    memset(&bare, 0, sizeof(bare));
    if (!set_up(&bare, path, engine, start)) {
        report(engine->name, "machine_can_be_made", false);
        tear_down(&bare);
        return;
    }
    pthread_create(&thread[0], NULL, run_first, &bare);
    pthread_create(&thread[1], NULL, run_second, &bare);
    pthread_create(&device, NULL, run_device, &bare);
    bool ended = wait_for_end(&bare);
    for (unsigned i = 0; i < PROCESSORS; i++) {
        accel_xlate.vcpu_kick(bare.vcpu[i]);
    }
    pthread_join(thread[0], NULL);
    pthread_join(thread[1], NULL);
    pthread_join(device, NULL);
    ended = ended && (bare.shut_down == (start == START_TRIPLE_FAULT));
    report(bare.engine, start == START_TRIPLE_FAULT ? "triple_fault_run_ends" : "all_tests_run",
           ended);
    if (start == START_TRIPLE_FAULT) {
        report(bare.engine, "triple_fault_is_a_shutdown", bare.shut_down);
    }
    tear_down(&bare);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (unsigned i = 0; i < ARRAY_LENGTH(engines); i++) {
        run(argv[1], &engines[i], START_TESTS);
        run(argv[1], &engines[i], START_TRIPLE_FAULT);
    }
    printf("1..%u\n", tally.number);
    return tally.failed ? 1 : 0;
}
