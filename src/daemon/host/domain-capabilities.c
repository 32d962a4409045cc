/* What a guest of one engine can have, for <domainCapabilities>: what the engine has and this
 * daemon uses, by the table that the command lines are made from.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/capabilities/capabilities.h"

#include "daemon/domain/command-line.h"
#include "daemon/domain/device-table.h"
#include "daemon/domain/firmware.h"
#include "daemon/domain/tpm.h"
#include "daemon/domain/virtiofs.h"
#include "daemon/error.h"
#include "daemon/host/host.h"

#include <string.h>
#include <unistd.h>

#define DEVICES_MAX 16
#define VALUES_MAX 16
#define HYPERV_MAX 32

/* What the structs for the text point to. */
typedef struct Gather {
    const Engine *engine;
    const EngineMachine *machine;
    const EngineAccel *accel;
    CapsDevice devices[DEVICES_MAX + 1];
    const char *values[DEVICES_MAX][G_N_ELEMENTS(((CapsDevice *)NULL)->enums)][VALUES_MAX + 1];
    GArray *models;      /* of CapsCpuModel */
    GPtrArray *features; /* of const char *, with NULL at the end */
    GPtrArray *disabled;
} Gather;

static bool machine_is(const EngineMachine *machine, const char *prefix)
{
    return g_str_has_prefix(machine->name, prefix);
}

/* Back ends that are programs of their own. */
static bool has_program(const DeviceValue *row)
{
    if (row->property == PROPERTY_TPM_VERSION ||
        (row->property == PROPERTY_TPM_BACKEND && row->value == TPM_EMULATOR)) {
        return tpm_has_emulator();
    }
    if (row->property == PROPERTY_FILESYSTEM && row->value == FS_DRIVER_VIRTIOFS) {
        g_autofree char *program = virtiofs_find_program();
        return program && geteuid() == 0;
    }
    return true;
}

static bool has_value(const Gather *gather, const DeviceValue *row)
{
    const Engine *engine = gather->engine;
    const EngineMachine *machine = gather->machine;
    if (!row->device[engine->is_lodge ? ENGINE_LODGE : ENGINE_QEMU]) {
        return false;
    }
    /* Buses that are part of one chipset. */
    if (row->property == PROPERTY_DISK_BUS && row->value == DISK_BUS_IDE &&
        (machine_is(machine, "pc-q35") || machine_is(machine, "microvm"))) {
        return false;
    }
    /* A display that is not there says nothing where there is no other. */
    if (row->property == PROPERTY_VIDEO && engine->is_lodge) {
        return false;
    }
    if (!has_program(row)) {
        return false;
    }
    return !row->probe || engine_has_device(engine, row->probe);
}

/* The values of @property that a guest can have; ends with NULL. */
static bool gather_values(const Gather *gather, DeviceProperty property, const char **out)
{
    unsigned n = 0;
    for (unsigned i = 0; i < device_n_values; i++) {
        const DeviceValue *row = &device_values[i];
        if (row->property == property && n < VALUES_MAX && has_value(gather, row)) {
            out[n++] = xml_enum_name(device_properties[property].values, row->value);
        }
    }
    out[n] = NULL;
    return n > 0;
}

static void gather_devices(Gather *gather)
{
    unsigned n = 0;
    unsigned e = 0;
    for (unsigned p = 0; p < DEVICE_PROPERTIES; p++) {
        const DevicePropertyInfo *info = &device_properties[p];
        if (!info->element) {
            continue;
        }
        if (n == 0 || strcmp(gather->devices[n - 1].element, info->element)) {
            gather->devices[n++].element = info->element;
            e = 0;
        }
        CapsDevice *device = &gather->devices[n - 1];
        if (info->name && gather_values(gather, p, gather->values[n - 1][e])) {
            device->enums[e] = (CapsEnum){ info->name, gather->values[n - 1][e] };
            device->is_supported = true;
            e++;
        }
    }
}

static void gather_models(Gather *gather)
{
    const EngineAccel *accel = gather->accel;
    for (guint i = 0; i < accel->cpus->len; i++) {
        const EngineCpu *cpu = accel->cpus->pdata[i];
        const X86Model *known = x86_model_find(cpu->name);
        CapsCpuModel row = { cpu->name, known ? known->vendor : NULL, cpu->is_usable,
                             cpu->is_deprecated };
        g_array_append_val(gather->models, row);
    }
}

static bool is_offered(void *opaque, const X86Model *model)
{
    const EngineAccel *accel = opaque;
    for (guint i = 0; i < accel->cpus->len; i++) {
        if (!strcmp(((const EngineCpu *)accel->cpus->pdata[i])->name, model->name)) {
            return true;
        }
    }
    return false;
}

/* "host-model": the closest of the engine's models, and what "max" has beyond and lacks of it. */
static const X86Model *gather_host_model(Gather *gather)
{
    const EngineAccel *accel = gather->accel;
    const X86Model *model = NULL;
    if (!x86_set_is_empty(&accel->features)) {
        model = x86_decode(&accel->features, accel->vendor, true, is_offered, (void *)accel);
    }
    for (unsigned i = 0; model && i < x86_n_features; i++) {
        bool has = x86_set_has(&accel->features, i);
        if (has != x86_set_has(&model->features, i)) {
            g_ptr_array_add(has ? gather->features : gather->disabled,
                            (char *)x86_features[i].name);
        }
    }
    g_ptr_array_add(gather->features, NULL);
    g_ptr_array_add(gather->disabled, NULL);
    return model;
}

/* What <os> tells. Texts are borrowed from @list. */
typedef struct FirmwareFacts {
    GPtrArray *list;  /* of Firmware */
    GPtrArray *paths; /* of const char *, with NULL at the end */
    bool has_efi, has_bios, has_secure;
} FirmwareFacts;

static void add_path(GPtrArray *paths, const char *path)
{
    if (!g_ptr_array_find_with_equal_func(paths, path, g_str_equal, NULL) &&
        access(path, F_OK) == 0) {
        g_ptr_array_add(paths, (char *)path);
    }
}

/* As guests' firmware is chosen; where nothing describes it, what is at the usual places. */
static void gather_firmware(const Gather *gather, bool is_session, FirmwareFacts *out)
{
    const Engine *engine = gather->engine;
    out->list = engine->is_lodge ? g_ptr_array_new() : firmware_list(is_session, NULL);
    out->paths = g_ptr_array_new();
    for (guint i = 0; i < out->list->len; i++) {
        const Firmware *firmware = out->list->pdata[i];
        if (firmware_fits(firmware, engine->arch, gather->machine->name)) {
            out->has_efi |= firmware->is_uefi;
            out->has_bios |= firmware->is_bios;
            out->has_secure |= (firmware->features & FIRMWARE_REQUIRES_SMM) != 0;
            add_path(out->paths, firmware->executable);
        }
    }
    for (const FirmwarePair *pair = firmware_pairs;
         !engine->is_lodge && !out->list->len && pair->executable; pair++) {
        if (strcmp(pair->arch, engine->arch) == 0) {
            add_path(out->paths, pair->executable);
        }
    }
    g_ptr_array_add(out->paths, NULL);
}

static char *format(Gather *gather, bool is_kvm, const FirmwareFacts *firmware)
{
    const char *firmwares[] = { NULL, NULL, NULL };
    const char *memory_sources[VALUES_MAX + 1];
    const Engine *engine = gather->engine;
    unsigned n = 0;
    if (firmware->has_bios) {
        firmwares[n++] = "bios";
    }
    if (firmware->has_efi) {
        firmwares[n] = "efi";
    }
    gather_devices(gather);
    gather_values(gather, PROPERTY_MEMORY_SOURCE, memory_sources);
    gather_models(gather);
    const char *hyperv[HYPERV_MAX + 1] = { NULL };
    for (unsigned i = 0; i < HYPERV_MAX && !engine->is_lodge; i++) {
        hyperv[i] = command_line_hyperv(i, is_kvm);
    }
    const X86Model *model = gather_host_model(gather);
    DomainCapabilities caps = {
        .emulator = engine->path,
        .domain = is_kvm ? "kvm" : "qemu",
        .machine = gather->machine->name,
        .arch = engine->arch,
        .max_vcpus = gather->machine->max_cpus,
        .firmwares = firmwares,
        .loaders = engine->is_lodge ? NULL : (const char *const *)firmware->paths->pdata,
        .has_secure_loader = firmware->has_secure,
        .has_host_passthrough = is_kvm,
        .has_maximum = true,
        .host_model = model ? model->name : NULL,
        .host_vendor = model ? model->vendor : NULL,
        .host_features = (const char *const *)gather->features->pdata,
        .host_disabled = (const char *const *)gather->disabled->pdata,
        .models = (const CapsCpuModel *)(void *)gather->models->data,
        .n_models = gather->models->len,
        .memory_sources = memory_sources,
        .devices = gather->devices,
        .has_iothreads = true,
        .hyperv = hyperv[0] ? hyperv : NULL,
        .has_vmcoreinfo = !engine->is_lodge && engine_has_device(engine, "vmcoreinfo"),
        .has_genid = !engine->is_lodge && engine_has_device(engine, "vmgenid"),
    };
    return domain_capabilities_format(&caps);
}

bool handle_connect_get_domain_capabilities(DaemonCall *call,
                                            const RemoteConnectGetDomainCapabilitiesArgs *args,
                                            RemoteConnectGetDomainCapabilitiesRet *ret,
                                            GError **error)
{
    Gather gather = { 0 };
    bool is_kvm;
    if (!daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    g_autoptr(Engine) engine =
        host_choose_engine(call_daemon(call), args->emulatorbin, args->arch, args->machine,
                           args->virttype, &gather.machine, &is_kvm, error);
    if (!engine) {
        return false;
    }
    gather.engine = engine;
    gather.accel = is_kvm ? &engine->kvm : &engine->tcg;
    gather.models = g_array_new(FALSE, TRUE, sizeof(CapsCpuModel));
    gather.features = g_ptr_array_new();
    gather.disabled = g_ptr_array_new();
    FirmwareFacts firmware = { 0 };
    gather_firmware(&gather, call_daemon(call)->session, &firmware);
    ret->capabilities = arena_take(call_arena(call), format(&gather, is_kvm, &firmware), NULL);
    g_ptr_array_unref(firmware.paths);
    g_ptr_array_unref(firmware.list);
    g_array_unref(gather.models);
    g_ptr_array_unref(gather.features);
    g_ptr_array_unref(gather.disabled);
    return true;
}
