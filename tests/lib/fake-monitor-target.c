/* A machine of fakes for monitors.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/fake-monitor-target.h"

#include "base/log.h"
#include "gbase/error.h"

#include <string.h>

static const char *target_status(void *opaque)
{
    return ((FakeMonitorTarget *)opaque)->status;
}

static void target_pause(void *opaque)
{
    FakeMonitorTarget *t = opaque;
    if (!strcmp(t->status, "running")) {
        t->status = "paused";
        monitor_set_emit(t->monitors, &(MonitorEvent){ .kind = MONITOR_EVENT_STOP });
    }
}

static bool target_resume(void *opaque, GError **error)
{
    FakeMonitorTarget *t = opaque;
    if (t->refuses_resume) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "a reset is needed");
        return false;
    }
    t->status = "running";
    monitor_set_emit(t->monitors, &(MonitorEvent){ .kind = MONITOR_EVENT_RESUME });
    return true;
}

static void target_reset(void *opaque)
{
    ((FakeMonitorTarget *)opaque)->resets++;
}

static void target_powerdown(void *opaque)
{
    ((FakeMonitorTarget *)opaque)->powerdowns++;
}

static bool target_nmi(void *opaque, GError **error)
{
    ((FakeMonitorTarget *)opaque)->nmis++;
    return true;
}

static void target_quit(void *opaque)
{
    ((FakeMonitorTarget *)opaque)->quits++;
}

static void target_get_actions(void *opaque, MonitorActions *out)
{
    *out = ((FakeMonitorTarget *)opaque)->actions;
}

static void target_set_actions(void *opaque, const MonitorActions *actions)
{
    ((FakeMonitorTarget *)opaque)->actions = *actions;
}

static bool target_vcpu(void *opaque, unsigned index, MonitorVcpu *out)
{
    *out = (MonitorVcpu){ .thread_id = 100 + index, .core = index };
    return index < FAKE_MONITOR_VCPUS;
}

static void target_vcpu_state(void *opaque, unsigned index, CpuState *out_state)
{
    lodge_assert(index < FAKE_MONITOR_VCPUS);
    *out_state = ((FakeMonitorTarget *)opaque)->state;
}

/* One page is mapped, at 0x7000 to 0x2000. */
static bool target_translate(void *opaque, unsigned index, uint64_t guest_virtual,
                             GuestAddr *out_physical)
{
    *out_physical = guest_virtual - 0x5000;
    return guest_virtual >> 12 == 7;
}

static bool target_read_physical(void *opaque, GuestAddr addr, void *buf, size_t length)
{
    FakeMonitorTarget *t = opaque;
    return guest_memory_read(&t->fake->memory, addr, buf, length) == 0;
}

static bool target_disk(void *opaque, unsigned index, MonitorDisk *out)
{
    *out = (MonitorDisk){ .device = "cd0", .is_removable = true };
    return index == 0;
}

static CharBackend *target_chardev(void *opaque, unsigned index)
{
    return index ? NULL : &((FakeMonitorTarget *)opaque)->chr->backend;
}

static NetBackend *target_netdev(void *opaque, unsigned index)
{
    return NULL;
}

static bool target_machine(void *opaque, unsigned index, MonitorMachineType *out)
{
    *out = (MonitorMachineType){ .name = "box", .vcpus_max = 4, .is_default = true };
    return index == 0;
}

static bool target_get_balloon(void *opaque, uint64_t *out_bytes, GError **error)
{
    *out_bytes = ((FakeMonitorTarget *)opaque)->balloon_bytes;
    return true;
}

static bool target_set_balloon(void *opaque, uint64_t bytes, GError **error)
{
    ((FakeMonitorTarget *)opaque)->balloon_bytes = bytes;
    return true;
}

static const Device *target_device(void *opaque, unsigned index)
{
    return index ? NULL : ((FakeMonitorTarget *)opaque)->device;
}

static bool target_device_add(void *opaque, const char *driver, const char *id,
                              const KeyvalList *properties, GError **error)
{
    FakeMonitorTarget *t = opaque;
    g_autofree char *text = keyval_format(properties);
    g_string_append_printf(t->calls, "device_add %s %s %s\n", driver, id ? id : "-", text);
    return true;
}

static bool target_device_del(void *opaque, const char *id, GError **error)
{
    g_string_append_printf(((FakeMonitorTarget *)opaque)->calls, "device_del %s\n", id);
    return true;
}

static bool target_backend_add(void *opaque, const char *kind, const char *type, const char *id,
                               const KeyvalList *options, GError **error)
{
    FakeMonitorTarget *t = opaque;
    g_autofree char *text = keyval_format(options);
    g_string_append_printf(t->calls, "%s-add %s %s %s\n", kind, type, id, text);
    return true;
}

static bool target_backend_del(void *opaque, const char *kind, const char *id, GError **error)
{
    g_string_append_printf(((FakeMonitorTarget *)opaque)->calls, "%s-del %s\n", kind, id);
    return true;
}

static bool target_cpu_features(void *opaque, const char *name, CpuFeatureSet *out,
                                CpuFeatureSet *out_missing, GError **error)
{
    *out = *out_missing = (CpuFeatureSet){ 0 };
    cpu_feature_add(out, CPU_FEATURE_SVM);
    cpu_feature_add(out_missing, CPU_FEATURE_XSAVE);
    return true;
}

typedef struct FakeDevice {
    Device device;
    uint64_t level;
} FakeDevice;

static const Property device_properties[] = {
    { .name = "level",
      .kind = PROPERTY_UINT,
      .offset = offsetof(FakeDevice, level),
      .max = 9,
      .fallback = "3",
      .help = "how much" },
    { .name = NULL },
};
static bool device_realize_nothing(Device *dev, GError **error)
{
    return true;
}

static const StateField device_fields[] = { STATE_END };
static const StateTable device_state = { .name = "fake-device",
                                         .version = 1,
                                         .fields = device_fields };
static const DeviceClass device_class = { .name = "fake-device",
                                          .instance_size = sizeof(FakeDevice),
                                          .properties = device_properties,
                                          .state = &device_state,
                                          .realize = device_realize_nothing };
static const DeviceClass *const family[] = { &device_class, NULL };
static const DeviceClass *const *const families[] = { family, NULL };

FakeMonitorTarget *fake_monitor_target_new(MonitorMode mode)
{
    FakeMonitorTarget *t = g_new0(FakeMonitorTarget, 1);
    t->table = (MonitorTarget){
        .name = "guest",
        .accel = "xlate",
        .machine_type = "box",
        .vcpu_count = FAKE_MONITOR_VCPUS,
        .device_families = families,
        .status = target_status,
        .pause = target_pause,
        .resume = target_resume,
        .reset = target_reset,
        .powerdown = target_powerdown,
        .nmi = target_nmi,
        .quit = target_quit,
        .get_actions = target_get_actions,
        .set_actions = target_set_actions,
        .vcpu = target_vcpu,
        .vcpu_state = target_vcpu_state,
        .translate = target_translate,
        .read_physical = target_read_physical,
        .disk = target_disk,
        .chardev = target_chardev,
        .netdev = target_netdev,
        .machine = target_machine,
        .cpu_model = "fake",
        .ram_bytes = 64 << 20,
        .device = target_device,
        .device_add = target_device_add,
        .device_del = target_device_del,
        .backend_add = target_backend_add,
        .backend_del = target_backend_del,
        .cpu_features = target_cpu_features,
        .get_balloon = target_get_balloon,
        .set_balloon = target_set_balloon,
        .opaque = t,
    };
    t->calls = g_string_new(NULL);
    t->device = device_new(&device_class, "dev0");
    t->table.fds = t->fds = fd_sets_new();
    t->status = "running";
    t->fake = fake_host_new();
    t->chr = fake_char_new(t->fake, "mon0");
    t->monitors = monitor_set_new(&t->table, t->fake->loop);
    cpu_state_reset(&t->state, true);
    bool ok = monitor_set_add(t->monitors, &t->chr->backend, mode, NULL);
    lodge_assert(ok);
    return t;
}

void fake_monitor_target_free(FakeMonitorTarget *t)
{
    monitor_set_free(t->monitors);
    fd_sets_free(t->fds);
    device_free(t->device);
    g_string_free(t->calls, TRUE);
    fake_char_free(t->chr);
    fake_host_free(t->fake);
    g_free(t);
}

const char *fake_monitor_say(FakeMonitorTarget *t, const char *text)
{
    g_string_truncate(t->chr->written, 0);
    size_t length = strlen(text);
    while (length) {
        size_t taken = fake_char_feed(t->chr, text, length);
        lodge_assert(taken);
        text += taken;
        length -= taken;
    }
    return t->chr->written->str;
}
