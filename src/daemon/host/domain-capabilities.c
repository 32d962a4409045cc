/* What a guest of one engine can have, for <domainCapabilities>: what the engine has and this
 * daemon uses.
 *
 * Kept in step with daemon/domain/command-line*.c, which refuses the rest.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/capabilities/capabilities.h"

#include "daemon/error.h"
#include "daemon/host/host.h"

#include <string.h>
#include <unistd.h>

/* A value of an enum, and the engine's device that it takes (NULL: none). */
typedef struct ValueRow {
    const char *element, *name, *value;
    const char *device;
    enum { ANY_ENGINE, ONLY_QEMU } engines;
} ValueRow;

static const ValueRow value_rows[] = {
    { "disk", "diskDevice", "disk", "virtio-blk-device", ANY_ENGINE },
    { "disk", "diskDevice", "cdrom", "ide-cd", ONLY_QEMU },
    { "disk", "diskDevice", "floppy", "floppy", ONLY_QEMU },
    { "disk", "bus", "ide", "piix3-ide", ONLY_QEMU },
    { "disk", "bus", "fdc", "floppy", ONLY_QEMU },
    { "disk", "bus", "scsi", "virtio-scsi-device", ONLY_QEMU },
    { "disk", "bus", "virtio", "virtio-blk-device", ANY_ENGINE },
    { "disk", "bus", "usb", "usb-storage", ONLY_QEMU },
    { "disk", "bus", "sata", "ich9-ahci", ONLY_QEMU },
    { "disk", "model", "virtio", "virtio-blk-device", ANY_ENGINE },
    { "graphics", "type", "vnc", "VGA", ONLY_QEMU },
    { "video", "modelType", "vga", "VGA", ONLY_QEMU },
    { "video", "modelType", "cirrus", "cirrus-vga", ONLY_QEMU },
    { "video", "modelType", "vmvga", "vmware-svga", ONLY_QEMU },
    { "video", "modelType", "qxl", "qxl-vga", ONLY_QEMU },
    { "video", "modelType", "virtio", "virtio-vga", ONLY_QEMU },
    { "video", "modelType", "none", "VGA", ONLY_QEMU },
    { "video", "modelType", "bochs", "bochs-display", ONLY_QEMU },
    { "hostdev", NULL, NULL, NULL, ANY_ENGINE },
    { "rng", "model", "virtio", "virtio-rng-device", ANY_ENGINE },
    { "rng", "backendModel", "random", "virtio-rng-device", ANY_ENGINE },
    { "rng", "backendModel", "builtin", "virtio-rng-device", ANY_ENGINE },
    { "filesystem", NULL, NULL, NULL, ANY_ENGINE },
    { "tpm", NULL, NULL, NULL, ANY_ENGINE },
    { "redirdev", NULL, NULL, NULL, ANY_ENGINE },
    { "channel", "type", "pty", "virtserialport", ANY_ENGINE },
    { "channel", "type", "unix", "virtserialport", ANY_ENGINE },
};

#define DEVICES_MAX 16
#define VALUES_MAX 16

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

static bool has_value(const Gather *gather, const ValueRow *row)
{
    const Engine *engine = gather->engine;
    const EngineMachine *machine = gather->machine;
    if (!row->value || (row->engines == ONLY_QEMU && engine->is_lodge)) {
        return false;
    }
    /* Buses that are part of one chipset. */
    if (!strcmp(row->value, "ide") &&
        (machine_is(machine, "pc-q35") || machine_is(machine, "microvm"))) {
        return false;
    }
    return !row->device || engine_has_device(engine, row->device);
}

static void add_value(Gather *gather, unsigned d, const ValueRow *row)
{
    CapsDevice *device = &gather->devices[d];
    unsigned e = 0;
    while (device->enums[e].name && strcmp(device->enums[e].name, row->name)) {
        e++;
    }
    const char **values = gather->values[d][e];
    device->enums[e] = (CapsEnum){ row->name, values };
    device->is_supported = true;
    unsigned v = 0;
    while (values[v]) {
        v++;
    }
    values[v] = row->value;
}

static void gather_devices(Gather *gather)
{
    unsigned n = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(value_rows); i++) {
        const ValueRow *row = &value_rows[i];
        if (i == 0 || strcmp(row->element, value_rows[i - 1].element)) {
            gather->devices[n++].element = row->element;
        }
        if (has_value(gather, row)) {
            add_value(gather, n - 1, row);
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

/* Firmware for pflash where distributions put it. */
static unsigned find_loaders(const Engine *engine, const char **out, unsigned max)
{
    static const struct {
        const char *arch, *path;
    } known[] = {
        { "x86_64", "/usr/share/OVMF/OVMF_CODE_4M.fd" },
        { "x86_64", "/usr/share/OVMF/OVMF_CODE.fd" },
        { "x86_64", "/usr/share/edk2/ovmf/OVMF_CODE.fd" },
        { "aarch64", "/usr/share/AAVMF/AAVMF_CODE.fd" },
        { "aarch64", "/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw" },
    };
    unsigned n = 0;
    for (unsigned i = 0; !engine->is_lodge && i < G_N_ELEMENTS(known) && n + 1 < max; i++) {
        if (!strcmp(known[i].arch, engine->arch) && access(known[i].path, R_OK) == 0) {
            out[n++] = known[i].path;
        }
    }
    out[n] = NULL;
    return n;
}

static char *format(Gather *gather, bool is_kvm)
{
    static const char *const none[] = { NULL };
    static const char *const anonymous[] = { "anonymous", NULL };
    const Engine *engine = gather->engine;
    const char *loaders[8];
    find_loaders(engine, loaders, G_N_ELEMENTS(loaders));
    gather_devices(gather);
    gather_models(gather);
    const X86Model *model = gather_host_model(gather);
    DomainCapabilities caps = {
        .emulator = engine->path,
        .domain = is_kvm ? "kvm" : "qemu",
        .machine = gather->machine->name,
        .arch = engine->arch,
        .max_vcpus = gather->machine->max_cpus,
        .firmwares = none,
        .loaders = engine->is_lodge ? NULL : loaders,
        .has_host_passthrough = is_kvm,
        .has_maximum = true,
        .host_model = model ? model->name : NULL,
        .host_vendor = model ? model->vendor : NULL,
        .host_features = (const char *const *)gather->features->pdata,
        .host_disabled = (const char *const *)gather->disabled->pdata,
        .models = (const CapsCpuModel *)(void *)gather->models->data,
        .n_models = gather->models->len,
        .memory_sources = anonymous,
        .devices = gather->devices,
        .has_iothreads = true,
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
    ret->capabilities = arena_take(call_arena(call), format(&gather, is_kvm), NULL);
    g_array_unref(gather.models);
    g_ptr_array_unref(gather.features);
    g_ptr_array_unref(gather.disabled);
    return true;
}
