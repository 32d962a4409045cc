/* What monitors and debuggers may see of a machine.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine/inspect.h"

#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/char/mux.h"
#include "vmm/machine/internal.h"
#include "vmm/machine/user-objects.h"
#include "vmm/virtio/balloon/balloon.h"

#include <string.h>
#include <unistd.h>

#define BALLOON_PAGE_BYTES 4096
#define IRQ_TEXT_BYTES 4096

const char *machine_type_name(const Machine *machine)
{
    return machine->type->name;
}

bool machine_type_at(unsigned index, MachineTypeInfo *out)
{
    for (unsigned i = 0; machine_types[i].name; i++) {
        if (i == index) {
            const MachineType *type = &machine_types[i];
            *out = (MachineTypeInfo){ type->name, type->alias, type->vcpus_max };
            return true;
        }
    }
    return false;
}

DeviceFamily *const *machine_families(void)
{
    return machine_device_families;
}

const AccelOps *machine_accel(const Machine *machine)
{
    return machine->accel;
}

bool machine_host_has_kvm(const Machine *machine)
{
    return machine->accel == &accel_kvm || access("/dev/kvm", R_OK | W_OK) == 0;
}

GuestMemory *machine_memory(Machine *machine)
{
    return &machine->memory;
}

unsigned machine_vcpu_count(const Machine *machine)
{
    return machine->vcpu_count;
}

Vcpu *machine_vcpu(const Machine *machine, unsigned index)
{
    lodge_assert(index < machine->vcpu_count);
    return machine->vcpu[index].vcpu;
}

void machine_vcpu_info(const Machine *machine, unsigned index, MachineVcpuInfo *out)
{
    const CpuTopology *t = &machine->topology;
    *out = (MachineVcpuInfo){
        .thread_id = machine->vcpu[index].tid,
        .thread = index % t->threads,
        .core = index / t->threads % t->cores,
        .die = index / t->threads / t->cores % t->dies,
        .socket = index / t->threads / t->cores / t->dies,
    };
}

void machine_vcpu_state(Machine *machine, unsigned index, CpuState *out)
{
    machine_park_vcpus(machine);
    machine->accel->vcpu_get_state(machine_vcpu(machine, index), out);
    if (machine->state == RUN_STATE_RUNNING) {
        machine_release_vcpus(machine);
    }
}

bool machine_vcpu_translate(Machine *machine, unsigned index, uint64_t guest_virtual,
                            GuestAddr *out_physical)
{
    machine_park_vcpus(machine);
    bool is_mapped =
        machine->accel->vcpu_translate(machine_vcpu(machine, index), guest_virtual, out_physical);
    if (machine->state == RUN_STATE_RUNNING) {
        machine_release_vcpus(machine);
    }
    return is_mapped;
}

bool machine_backend_at(const Machine *machine, const char *kind, unsigned index,
                        MachineBackendInfo *out)
{
    for (guint i = 0; i < machine->backends->len; i++) {
        const MachineBackend *backend = g_ptr_array_index(machine->backends, i);
        bool is_mux = !strcmp(kind, "chardev") && !strcmp(backend->kind, "mux");
        if ((is_mux || !strcmp(backend->kind, kind)) && index-- == 0) {
            *out = (MachineBackendInfo){
                .object = is_mux ? (void *)char_mux_backend(backend->object) : backend->object,
                .name = backend->name,
                .user = backend->user ? backend->user->device : NULL,
            };
            return true;
        }
    }
    return false;
}

bool machine_object_at(const Machine *machine, unsigned index, MachineObjectInfo *out)
{
    for (guint i = 0; i < machine->backends->len; i++) {
        const MachineBackend *backend = g_ptr_array_index(machine->backends, i);
        if (!machine_backend_is_object(backend) || index-- > 0) {
            continue;
        }
        bool has_limits = !strcmp(backend->kind, "throttle-group");
        *out = (MachineObjectInfo){
            .id = backend->name,
            .type = user_object_type(backend->object),
            .limits = has_limits ? user_object_throttle_group(backend->object) : NULL,
        };
        return true;
    }
    return false;
}

BlockObjects *machine_block_objects(const Machine *machine)
{
    return machine->block_objects;
}

BlockGraph *machine_graph(const Machine *machine)
{
    return machine->graph;
}

CharBackend *machine_chardev(Machine *machine, const char *id, GError **error)
{
    return machine_use_backend(machine, NULL, "chardev", id, error);
}

void machine_get_actions(const Machine *machine, bool *out_reset_ends, bool *out_shutdown_pauses)
{
    *out_reset_ends = machine->reset_ends;
    *out_shutdown_pauses = machine->shutdown_pauses;
}

void machine_set_actions(Machine *machine, bool reset_ends, bool shutdown_pauses)
{
    machine->reset_ends = reset_ends;
    machine->shutdown_pauses = shutdown_pauses;
}

FdSets *machine_fds(const Machine *machine)
{
    return machine->fds;
}

Device *machine_balloon(const Machine *machine)
{
    for (guint i = 0; i < machine->devices->len; i++) {
        const MachineDevice *md = g_ptr_array_index(machine->devices, i);
        const DeviceClass *class = md->device->class;
        if (class == &virtio_balloon_pci_class || class == &virtio_balloon_device_class) {
            return md->device;
        }
    }
    return NULL;
}

bool machine_get_balloon(Machine *machine, uint64_t *out_bytes)
{
    Device *balloon = machine_balloon(machine);
    if (balloon) {
        uint64_t given = (uint64_t)virtio_balloon_actual(balloon) * BALLOON_PAGE_BYTES;
        *out_bytes = machine->config->ram_bytes - min_u64(given, machine->config->ram_bytes);
    }
    return balloon != NULL;
}

bool machine_set_balloon(Machine *machine, uint64_t bytes)
{
    Device *balloon = machine_balloon(machine);
    if (balloon) {
        uint64_t kept = min_u64(bytes, machine->config->ram_bytes);
        virtio_balloon_set_target(
            balloon, (uint32_t)((machine->config->ram_bytes - kept) / BALLOON_PAGE_BYTES));
    }
    return balloon != NULL;
}

void machine_nmi(Machine *machine)
{
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        machine->accel->vcpu_request(machine->vcpu[i].vcpu, VCPU_REQUEST_NMI, 0);
    }
}

char *machine_format_irq(Machine *machine)
{
    char *text = g_malloc(IRQ_TEXT_BYTES);
    text[0] = 0;
    if (machine->irq_chip) {
        irq_chip_describe(machine->irq_chip, text, IRQ_TEXT_BYTES);
    } else if (machine->accel->irqchip_describe) {
        machine->accel->irqchip_describe(machine->vm, text, IRQ_TEXT_BYTES);
    }
    return text;
}

bool machine_cpu_features(const Machine *machine, const char *name, CpuFeatureSet *out,
                          CpuFeatureSet *out_missing, GError **error)
{
    CpuConfig config;
    return cpu_config_parse(name, &config, error) &&
           cpu_config_resolve(&config, &machine->cpuid_limits, out, out_missing, error);
}

const char *machine_cpu_model(const Machine *machine)
{
    return cpu_model_name(machine->cpu_config.model);
}

int64_t machine_guest_ns(Machine *machine)
{
    return machine_clock_ns(machine);
}
