/* Choice and set-up of the accelerator, the vCPUs and the way of interrupts.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/accel.h"

#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "gbase/size.h"
#include "vmm/bus/region.h"
#include "vmm/machine/internal.h"

#include <errno.h>
#include <string.h>

#define MESSAGE_BYTES 160
#define PHYS_BITS_DEFAULT 36

static const AccelOps *const accels[] = { &accel_kvm, &accel_xlate };

static const AccelOps *find_accel(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(accels); i++) {
        if (!strcmp(accels[i]->name, name)) {
            return accels[i];
        }
    }
    return NULL;
}

/* "usable", or why not: what -accel help says of this host. */
static void append_verdict(GString *out, const AccelOps *accel)
{
    char message[MESSAGE_BYTES] = "";
    bool ok = !accel->probe || accel->probe(message);
    g_string_append_printf(out, "  %-20s %s%s\n", accel->name,
                           ok ? "usable" : "not usable: ", ok ? "" : message);
}

char *machine_accel_help(void)
{
    GString *out = g_string_new("Accelerators (default: kvm:xlate, the first that works):\n");
    for (unsigned i = 0; i < G_N_ELEMENTS(accels); i++) {
        g_string_append_printf(out, "  %-20s %s\n", accels[i]->name, accels[i]->summary);
    }
    g_string_append(out, "  tcg                  the same as xlate\nOn this host:\n");
    for (unsigned i = 0; i < G_N_ELEMENTS(accels); i++) {
        append_verdict(out, accels[i]);
    }
    g_string_append(out, "Properties:\n");
    accel_options_format_help(out);
    return g_string_free(out, FALSE);
}

static uint64_t host_region_read(void *opaque, const AddressMap *map, GuestAddr addr, unsigned size)
{
    return bus_read(map, addr, size);
}

static void host_region_write(void *opaque, const AddressMap *map, GuestAddr addr, uint64_t value,
                              unsigned size)
{
    bus_write(map, addr, value, size);
}

/* Whether @accel works here; @has_other: a choice remains, so that it must also be fast. */
static bool try_accel(Machine *machine, const AccelOps *accel, bool has_other, char *message)
{
    if (has_other && accel->probe && !accel->probe(message)) {
        return false;
    }
    machine->cpuid_limits.count = 0;
    int r = accel->cpuid_limits(&machine->cpuid_limits, message);
    if (r < 0) {
        return false;
    }
    AccelHost host = {
        .memory = &machine->memory,
        .ports = machine->port_map,
        .region_read = host_region_read,
        .region_write = host_region_write,
        .opaque = machine,
        .vcpu_count = machine->vcpu_count,
        .is_interpreted = !machine->config->accel.uses_jit,
        .code_cache_bytes = machine->config->accel.code_cache_mib << 20,
        .without_bmi2 = !machine->config->accel.host_bmi2,
        .without_fsgsbase = !machine->config->accel.host_fsgsbase,
    };
    machine->vm = accel->vm_create(&host, message);
    if (machine->vm) {
        machine->accel = accel;
    }
    return machine->vm != NULL;
}

static bool choose_accel(Machine *machine, GError **error)
{
    const AccelConfig *config = &machine->config->accel;
    char message[MESSAGE_BYTES] = "";
    for (unsigned i = 0; i < config->count; i++) {
        const AccelOps *accel = find_accel(config->name[i]);
        bool has_other = i + 1 < config->count;
        if (try_accel(machine, accel, has_other, message)) {
            return true;
        }
        if (has_other) {
            log_info("%s cannot be used (%s); going on with %s", config->name[i], message,
                     config->name[i + 1]);
        } else {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "-accel %s: %s",
                        config->name[i], message);
        }
    }
    return false;
}

static bool resolve_cpu(Machine *machine, GError **error)
{
    const SmpConfig *smp = &machine->config->smp;
    machine->topology = (CpuTopology){ (unsigned)smp->sockets, (unsigned)smp->dies,
                                       (unsigned)smp->cores, (unsigned)smp->threads };
    CpuFeatureSet missing = { 0 };
    if (!cpu_config_parse(machine->config->cpu, &machine->cpu_config, error) ||
        !cpu_config_resolve(&machine->cpu_config, &machine->cpuid_limits, &machine->cpu_features,
                            &missing, error)) {
        g_prefix_error(error, "-cpu: ");
        return false;
    }
    g_autofree char *absent = cpu_config_format_absent(&machine->cpu_config);
    if (machine->cpu_config.check && absent) {
        log_warn("-cpu: no guest can have: %s", absent);
    }
    if (machine->cpu_config.check && machine->config->cpu && !cpu_feature_set_is_empty(&missing)) {
        g_autofree char *names = cpu_feature_set_format(&missing);
        log_warn("-cpu: %s does not have: %s", machine->accel->name, names);
    }
    return true;
}

/* Bits of guest-physical addresses that CPUID shows. */
static unsigned phys_bits(const Machine *machine)
{
    const CpuidLeaf *leaf = cpuid_table_find(&machine->cpuid_limits, 0x80000008u, 0);
    unsigned most = leaf && leaf->eax & 0xff ? leaf->eax & 0xff : PHYS_BITS_DEFAULT;
    return machine->cpu_config.phys_bits ? machine->cpu_config.phys_bits : most;
}

static bool check_topology(Machine *machine, GError **error)
{
    machine->phys_bits = phys_bits(machine);
    if (!machine->accel->has_irqchip) {
        for (unsigned i = 0; i < machine->vcpu_count; i++) {
            if (cpu_topology_apic_id(&machine->topology, i) != i) {
                g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                            "-smp: with accelerator '%s' all counts but the sockets must be powers "
                            "of two",
                            machine->accel->name);
                return false;
            }
        }
    }
    GuestAddr end = machine->high_ram_bytes ? 4 * GIB + machine->high_ram_bytes : 0;
    if (end > UINT64_C(1) << machine->phys_bits) {
        g_autofree char *text = size_format(machine->config->ram_bytes);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "-m: %s is more than the processor's %u address bits reach", text,
                    machine->phys_bits);
        return false;
    }
    return true;
}

bool machine_build_accel(Machine *machine, GError **error)
{
    machine->vcpu_count = (unsigned)machine->config->smp.cpus;
    if (machine->vcpu_count > machine->type->vcpus_max) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "-smp: machine '%s' has at most %u vCPUs", machine->type->name,
                    machine->type->vcpus_max);
        return false;
    }
    return choose_accel(machine, error) && resolve_cpu(machine, error) &&
           check_topology(machine, error);
}

static bool create_vcpu(Machine *machine, unsigned index, GError **error)
{
    MachineVcpu *v = &machine->vcpu[index];
    CpuidTable cpuid = { .count = 0 };
    char message[MESSAGE_BYTES] = "";
    v->machine = machine;
    v->index = index;
    v->apic_id = cpu_topology_apic_id(&machine->topology, index);
    cpu_config_build(&machine->cpu_config, &machine->cpu_features, &machine->cpuid_limits,
                     &machine->topology, index, &cpuid);
    LapicPort port = { 0 };
    if (machine->irq_chip) {
        port = irq_chip_lapic_port(machine->irq_chip, index);
    }
    v->vcpu = machine->accel->vcpu_create(machine->vm, index, &cpuid,
                                          machine->irq_chip ? &port : NULL, message);
    if (!v->vcpu) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_FAILED, "cannot create vCPU %u: %s", index,
                    message);
        return false;
    }
    return true;
}

bool machine_build_vcpus(Machine *machine, GError **error)
{
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        if (!create_vcpu(machine, i, error)) {
            return false;
        }
    }
    return true;
}

/* Interrupts */

static void chip_vcpu_request(void *opaque, unsigned vcpu, VcpuRequest request, uint8_t vector)
{
    Machine *machine = opaque;
    machine->accel->vcpu_request(machine->vcpu[vcpu].vcpu, request, vector);
}

bool machine_build_irq_chip(Machine *machine, GError **error)
{
    machine->vcpu = g_new0(MachineVcpu, machine->vcpu_count);
    if (machine->accel->has_irqchip) {
        return true;
    }
    IrqChipHost host = {
        .vcpu_count = machine->vcpu_count,
        .vcpu_request = chip_vcpu_request,
        .clock_ns = machine_clock_ns,
        .opaque = machine,
    };
    machine->irq_chip = irq_chip_new(&host);
    if (!machine->irq_chip) {
        lodge_error_set_errno(error, errno, "cannot make the interrupt chips");
        return false;
    }
    machine_add_backend(machine, "irqchip", "irqchip", machine->irq_chip, NULL);
    machine_find_backend(machine, "irqchip", "irqchip")->is_shareable = true;
    return true;
}

static void accel_line_set(void *opaque, unsigned gsi, bool level)
{
    Machine *machine = opaque;
    machine->accel->irq_line(machine->vm, gsi, level);
}

IrqLine machine_raw_gsi_line(Machine *machine, unsigned gsi)
{
    return machine->irq_chip ? irq_chip_line(machine->irq_chip, gsi)
                             : (IrqLine){ accel_line_set, machine, gsi };
}

static void accel_msi_send(void *opaque, uint64_t address, uint32_t data)
{
    Machine *machine = opaque;
    machine->accel->msi_send(machine->vm, address, data);
}

MsiSink machine_msi_sink(Machine *machine)
{
    return machine->irq_chip ? irq_chip_msi_sink(machine->irq_chip)
                             : (MsiSink){ accel_msi_send, machine };
}

void machine_done_vcpus(Machine *machine)
{
    for (unsigned i = 0; machine->vcpu && i < machine->vcpu_count; i++) {
        if (machine->vcpu[i].vcpu) {
            machine->accel->vcpu_destroy(machine->vcpu[i].vcpu);
        }
    }
    g_clear_pointer(&machine->vcpu, g_free);
}

void machine_done_accel(Machine *machine)
{
    if (machine->accel) {
        machine->accel->vm_destroy(machine->vm);
    }
    irq_chip_free(machine->irq_chip);
}
