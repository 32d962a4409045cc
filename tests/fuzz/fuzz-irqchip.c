/* Local APICs, IO-APIC and 8259s together: registers, MSRs, lines, messages, time, hostile state.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"

#include "base/log.h"
#include "vmm/devices/devices.h"
#include "vmm/irq/irqchip.h"

#define VCPUS 3
#define DEVICES (VCPUS + 2)

typedef struct Machine {
    FakeHost *fake;
    IrqChip *chip;
    Device *device[DEVICES];
    LapicPort port[VCPUS];
    int64_t deadline_ns[VCPUS];
    unsigned fired;
} Machine;

static void vcpu_request(void *opaque, unsigned vcpu, VcpuRequest request, uint8_t vector)
{
    Machine *m = opaque;
    lodge_assert(vcpu < VCPUS);
    if (request == VCPU_REQUEST_INIT) {
        m->port[vcpu].reset(m->port[vcpu].lapic);
    }
}

static int64_t clock_ns(void *opaque)
{
    return ((Machine *)opaque)->fake->now_ns;
}

static void timer_set(void *opaque, unsigned vcpu, int64_t deadline_ns)
{
    ((Machine *)opaque)->deadline_ns[vcpu] = deadline_ns;
}

static uint64_t read_tsc(void *opaque)
{
    return (uint64_t)((Machine *)opaque)->fake->now_ns * 2;
}

static void machine_init(Machine *m)
{
    static const char *const numbers[] = { "0", "1", "2" };
    *m = (Machine){ .fake = fake_host_new() };
    for (unsigned i = 0; i < VCPUS; i++) {
        m->deadline_ns[i] = IRQ_TIMER_OFF;
    }
    const IrqChipHost host = { VCPUS, vcpu_request, clock_ns, timer_set, m };
    m->chip = irq_chip_new(&host);
    fake_host_add_backend(m->fake, "irqchip", "irqchip", m->chip);
    for (unsigned i = 0; i < VCPUS; i++) {
        const char *const properties[] = { "vcpu", numbers[i], NULL };
        m->device[i] = fake_host_add(m->fake, &apic_class, properties);
        m->port[i] = irq_chip_lapic_port(m->chip, i);
        m->port[i].bind_tsc(m->port[i].lapic, read_tsc, m, UINT64_C(2000000000));
    }
    m->device[VCPUS] = fake_host_add(m->fake, &i8259_class, NULL);
    m->device[VCPUS + 1] = fake_host_add(m->fake, &ioapic_class, NULL);
}

static void machine_done(Machine *m)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        device_free(m->device[i]);
    }
    irq_chip_free(m->chip);
    fake_host_free(m->fake);
}

typedef struct Script {
    const uint8_t *at, *end;
} Script;

static uint64_t take(Script *script, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes && script->at < script->end; i++) {
        value |= (uint64_t)*script->at++ << (8 * i);
    }
    return value;
}

static void advance(Machine *m, int64_t ns)
{
    int64_t target = m->fake->now_ns + ns;
    for (unsigned fires = 0; fires < 100; fires++) {
        unsigned first = 0;
        for (unsigned i = 1; i < VCPUS; i++) {
            first = m->deadline_ns[i] < m->deadline_ns[first] ? i : first;
        }
        if (m->deadline_ns[first] > target) {
            break;
        }
        lodge_assert(fires <= VCPUS * (2 + ns / 10000));
        m->fake->now_ns = MAX(m->fake->now_ns, m->deadline_ns[first]);
        m->deadline_ns[first] = IRQ_TIMER_OFF;
        irq_chip_timer_due(m->chip, first);
    }
    m->fake->now_ns = target;
}

static void hostile_load(Device *dev, Script *script)
{
    g_autoptr(GByteArray) good = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    device_save(dev, good);
    g_autofree uint8_t *bad = g_memdup2(good->data, good->len);
    bad[take(script, 2) % good->len] = (uint8_t)take(script, 1);
    if (!device_load(dev, bad, good->len, &error)) {
        bool restored = device_load(dev, good->data, good->len, NULL);
        lodge_assert(restored);
    }
    device_resume(dev);
}

static void step_lapic(Machine *m, unsigned what, Script *script)
{
    unsigned vcpu = (unsigned)take(script, 1) % VCPUS;
    const LapicPort *port = &m->port[vcpu];
    uint64_t value;
    if (what == 0) {
        GuestAddr addr = 0xfee00000 + take(script, 2) % 0x1000;
        port->write_mmio(port->lapic, addr & ~(GuestAddr)3, 4, take(script, 4));
    } else if (what == 1) {
        port->read_mmio(port->lapic, 0xfee00000 + take(script, 2) % 0x1000, 4, &value);
    } else if (what == 2) {
        port->write_msr(port->lapic, 0x800 + (uint32_t)take(script, 1), take(script, 8));
    } else if (what == 3) {
        port->read_msr(port->lapic, 0x800 + (uint32_t)take(script, 1), &value);
    } else if (what == 4) {
        port->write_msr(port->lapic, take(script, 1) & 1 ? 0x1b : 0x6e0, take(script, 8));
    } else if (what == 5) {
        int pending = port->pending(port->lapic);
        int taken = port->acknowledge(port->lapic);
        lodge_assert(pending == taken && taken < 256);
    } else {
        port->set_cr8(port->lapic, take(script, 1) & 15);
        port->get_cr8(port->lapic);
    }
}

static void step(Machine *m, Script *script)
{
    unsigned op = (unsigned)take(script, 1) & 15;
    if (op < 7) {
        step_lapic(m, op, script);
    } else if (op == 7 || op == 8) {
        static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 };
        uint16_t port = ports[take(script, 1) % G_N_ELEMENTS(ports)];
        if (op == 7) {
            fake_out8(m->fake, port, (uint8_t)take(script, 1));
        } else {
            fake_in8(m->fake, port);
        }
    } else if (op == 9) {
        fake_mmio_write(m->fake, 0xfec00000 + take(script, 1), take(script, 4), 4);
    } else if (op == 10) {
        fake_mmio_read(m->fake, 0xfec00000 + take(script, 1), 4);
    } else if (op == 11) {
        unsigned how = (unsigned)take(script, 1);
        IrqLine line = irq_chip_line(m->chip, (how & 0x7f) % IRQCHIP_GSIS);
        irq_line_set(&line, how & 0x80);
    } else if (op == 12) {
        MsiSink sink = irq_chip_msi_sink(m->chip);
        uint64_t address = 0xfee00000 | (take(script, 3) & 0xfffff);
        msi_send(&sink, address, (uint32_t)take(script, 3));
    } else if (op == 13) {
        unsigned how = (unsigned)take(script, 1);
        advance(m, (int64_t)((how & 7) + 1) << (how >> 3));
    } else if (op == 14) {
        hostile_load(m->device[take(script, 1) % DEVICES], script);
    } else {
        Device *dev = m->device[take(script, 1) % DEVICES];
        fake_host_check_round_trip(dev);
        if (take(script, 1) & 1) {
            device_reset(dev, RESET_COLD);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_init("fuzz", LOG_LEVEL_ERROR);
    Machine machine;
    machine_init(&machine);
    Script script = { data, data + size };
    for (unsigned i = 0; i < 2000 && script.at < script.end; i++) {
        step(&machine, &script);
    }
    machine_done(&machine);
    return 0;
}
