/* Monitors, joined to their machine.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/control.h"

#include "base/clock.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/machine/inspect.h"
#include "vmm/monitor/monitor.h"

#include <string.h>

struct Control {
    Machine *machine;
    char uuid[UUID_TEXT_SIZE];
    MonitorSet *monitors;
};

/* Monitor */

static const char *monitor_status(void *opaque)
{
    const Control *control = opaque;
    return run_state_to_string(machine_run_state(control->machine));
}

static void monitor_pause(void *opaque)
{
    const Control *control = opaque;
    if (machine_run_state(control->machine) == RUN_STATE_RUNNING) {
        machine_pause(control->machine, RUN_STATE_PAUSED);
    }
}

static bool monitor_resume(void *opaque, GError **error)
{
    const Control *control = opaque;
    return machine_resume(control->machine, error);
}

static void monitor_reset(void *opaque)
{
    const Control *control = opaque;
    machine_reset(control->machine, CAUSE_HOST_QMP_RESET);
}

static void monitor_powerdown(void *opaque)
{
    const Control *control = opaque;
    machine_power_button(control->machine);
}

static void monitor_quit(void *opaque)
{
    const Control *control = opaque;
    machine_quit(control->machine, CAUSE_HOST_QMP_QUIT, 0);
}

static void monitor_get_actions(void *opaque, MonitorActions *out)
{
    const Control *control = opaque;
    machine_get_actions(control->machine, &out->reboot_is_shutdown, &out->shutdown_is_pause);
}

static void monitor_set_actions(void *opaque, const MonitorActions *actions)
{
    const Control *control = opaque;
    machine_set_actions(control->machine, actions->reboot_is_shutdown, actions->shutdown_is_pause);
}

static void monitor_flush_disks(void *opaque)
{
    const Control *control = opaque;
    machine_flush_drives(control->machine);
}

static bool monitor_vcpu(void *opaque, unsigned index, MonitorVcpu *out)
{
    const Control *control = opaque;
    if (index >= machine_vcpu_count(control->machine)) {
        return false;
    }
    MachineVcpuInfo info;
    machine_vcpu_info(control->machine, index, &info);
    *out = (MonitorVcpu){ info.thread_id, info.socket, info.die, info.core, info.thread };
    return true;
}

static void monitor_vcpu_state(void *opaque, unsigned index, CpuState *out_state)
{
    const Control *control = opaque;
    machine_vcpu_state(control->machine, index, out_state);
}

static bool monitor_translate(void *opaque, unsigned index, uint64_t guest_virtual,
                              GuestAddr *out_physical)
{
    const Control *control = opaque;
    return machine_vcpu_translate(control->machine, index, guest_virtual, out_physical);
}

static bool monitor_read_physical(void *opaque, GuestAddr addr, void *buf, size_t length)
{
    const Control *control = opaque;
    return guest_memory_read(machine_memory(control->machine), addr, buf, length) == 0;
}

static bool monitor_disk(void *opaque, unsigned index, MonitorDisk *out)
{
    const Control *control = opaque;
    MachineBackendInfo info;
    if (!machine_backend_at(control->machine, "drive", index, &info)) {
        return false;
    }
    bool is_anonymous = block_backend_is_anonymous(info.object);
    *out = (MonitorDisk){ .device = is_anonymous ? "" : info.name,
                          .user = info.user,
                          .backend = info.object };
    return true;
}

static bool monitor_join_limits(void *opaque, const MonitorDisk *disk, const char *name,
                                GError **error)
{
    const Control *control = opaque;
    return machine_join_limits(control->machine, disk->backend, disk->user, name, error);
}

static bool monitor_object(void *opaque, unsigned index, MonitorObject *out)
{
    const Control *control = opaque;
    MachineObjectInfo info;
    bool is_there = machine_object_at(control->machine, index, &info);
    if (is_there) {
        *out = (MonitorObject){ info.id, info.type, info.limits };
    }
    return is_there;
}

static const char *monitor_object_type(void *opaque, unsigned index)
{
    return machine_object_type_at(index);
}

static BlockSpec *monitor_resolve_spec(void *opaque, const BlockSpec *spec, GError **error)
{
    const Control *control = opaque;
    return machine_resolve_spec(control->machine, spec, error);
}

static CharBackend *monitor_chardev(void *opaque, unsigned index)
{
    const Control *control = opaque;
    MachineBackendInfo info;
    return machine_backend_at(control->machine, "chardev", index, &info) ? info.object : NULL;
}

static NetBackend *monitor_netdev(void *opaque, unsigned index)
{
    const Control *control = opaque;
    MachineBackendInfo info;
    return machine_backend_at(control->machine, "netdev", index, &info) ? info.object : NULL;
}

static bool monitor_iothread(void *opaque, unsigned index, MonitorIothread *out)
{
    const Control *control = opaque;
    MachineBackendInfo backend;
    MachineIothreadInfo info;
    if (!machine_backend_at(control->machine, "iothread", index, &backend)) {
        return false;
    }
    machine_iothread_info(backend.object, &info);
    *out = (MonitorIothread){ .id = backend.name,
                              .thread_id = info.thread_id,
                              .poll_max_ns = info.poll_max_ns,
                              .poll_grow = info.poll_grow,
                              .poll_shrink = info.poll_shrink,
                              .batch = info.batch };
    return true;
}

static bool monitor_set_iothread(void *opaque, unsigned index, const char *property,
                                 const char *value, GError **error)
{
    const Control *control = opaque;
    MachineBackendInfo backend;
    bool is_there = machine_backend_at(control->machine, "iothread", index, &backend);
    return is_there && machine_iothread_set(backend.object, property, value, error);
}

static bool monitor_machine(void *opaque, unsigned index, MonitorMachineType *out)
{
    MachineTypeInfo info;
    if (!machine_type_at(index, &info)) {
        return false;
    }
    *out = (MonitorMachineType){ info.name, info.alias, info.vcpus_max, index == 0 };
    return true;
}

static char *monitor_format_accel(void *opaque)
{
    const Control *control = opaque;
    return machine_accel_statistics(control->machine);
}

static const Device *monitor_device(void *opaque, unsigned index)
{
    const Control *control = opaque;
    return machine_device_at(control->machine, index);
}

static bool monitor_device_add(void *opaque, const char *driver, const char *id,
                               const KeyvalList *properties, GError **error)
{
    const Control *control = opaque;
    const DeviceConfig config = { .driver = (char *)driver,
                                  .id = (char *)id,
                                  .properties = (KeyvalList *)properties };
    return machine_add_device(control->machine, &config, error);
}

static bool monitor_device_del(void *opaque, const char *id, GError **error)
{
    const Control *control = opaque;
    return machine_remove_device(control->machine, id, error);
}

static bool monitor_backend_add(void *opaque, const char *kind, const char *type, const char *id,
                                const KeyvalList *options, GError **error)
{
    const Control *control = opaque;
    const BackendConfig config = { .type = (char *)type,
                                   .id = (char *)id,
                                   .options = (KeyvalList *)options };
    return machine_create_backend(control->machine, kind, &config, error);
}

static bool monitor_backend_del(void *opaque, const char *kind, const char *id, GError **error)
{
    const Control *control = opaque;
    return machine_remove_backend(control->machine, kind, id, error);
}

static bool monitor_cpu_features(void *opaque, const char *name, CpuFeatureSet *out,
                                 CpuFeatureSet *out_missing, GError **error)
{
    const Control *control = opaque;
    return machine_cpu_features(control->machine, name, out, out_missing, error);
}

static bool fail_no_balloon(GError **error)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INACTIVE, "No balloon device has been activated");
    return false;
}

static bool monitor_balloon_size(void *opaque, uint64_t *out_bytes, GError **error)
{
    const Control *control = opaque;
    return machine_get_balloon(control->machine, out_bytes) || fail_no_balloon(error);
}

static bool monitor_balloon_resize(void *opaque, uint64_t bytes, GError **error)
{
    const Control *control = opaque;
    return machine_set_balloon(control->machine, bytes) || fail_no_balloon(error);
}

static bool monitor_balloon_stats(void *opaque, MonitorBalloon *out)
{
    const Control *control = opaque;
    Device *balloon = machine_balloon(control->machine);
    if (balloon) {
        virtio_balloon_get_stats(balloon, &out->stats);
        int64_t age_ns = machine_guest_ns(control->machine) - out->stats.updated_ns;
        bool is_known = out->stats.updated_ns != 0;
        out->updated_s = is_known ? (clock_realtime_ns() - age_ns) / NS_PER_SEC : 0;
        out->polling_s = virtio_balloon_polling(balloon);
    }
    return balloon != NULL;
}

static bool monitor_set_balloon_polling(void *opaque, uint32_t seconds)
{
    const Control *control = opaque;
    Device *balloon = machine_balloon(control->machine);
    if (balloon) {
        virtio_balloon_set_polling(balloon, seconds);
    }
    return balloon != NULL;
}

static bool monitor_nmi(void *opaque, GError **error)
{
    const Control *control = opaque;
    machine_nmi(control->machine);
    return true;
}

static char *monitor_format_irq(void *opaque)
{
    const Control *control = opaque;
    return machine_format_irq(control->machine);
}

static MonitorTarget monitor_target(Control *control)
{
    Machine *machine = control->machine;
    const MachineConfig *config = machine_config(machine);
    return (MonitorTarget){
        .name = config->name,
        .uuid = config->has_uuid ? control->uuid : NULL,
        .accel = machine_accel_name(machine),
        .machine_type = machine_type_name(machine),
        .vcpu_count = machine_vcpu_count(machine),
        .is_kvm = !strcmp(machine_accel_name(machine), "kvm"),
        .has_kvm = machine_host_has_kvm(machine),
        .device_families = machine_families(),
        .cpu_model = machine_cpu_model(machine),
        .ram_bytes = config->ram_bytes,
        .fds = machine_fds(machine),
        .graph = machine_graph(machine),
        .block_objects = machine_block_objects(machine),
        .iothread = monitor_iothread,
        .set_iothread = monitor_set_iothread,
        .device = monitor_device,
        .device_add = monitor_device_add,
        .device_del = monitor_device_del,
        .backend_add = monitor_backend_add,
        .backend_del = monitor_backend_del,
        .cpu_features = monitor_cpu_features,
        .get_balloon = monitor_balloon_size,
        .set_balloon = monitor_balloon_resize,
        .get_balloon_stats = monitor_balloon_stats,
        .set_balloon_polling = monitor_set_balloon_polling,
        .nmi = monitor_nmi,
        .format_irq = monitor_format_irq,
        .status = monitor_status,
        .pause = monitor_pause,
        .resume = monitor_resume,
        .reset = monitor_reset,
        .powerdown = monitor_powerdown,
        .quit = monitor_quit,
        .get_actions = monitor_get_actions,
        .set_actions = monitor_set_actions,
        .flush_disks = monitor_flush_disks,
        .vcpu = monitor_vcpu,
        .vcpu_state = monitor_vcpu_state,
        .translate = monitor_translate,
        .read_physical = monitor_read_physical,
        .disk = monitor_disk,
        .join_limits = monitor_join_limits,
        .object = monitor_object,
        .object_type = monitor_object_type,
        .resolve_spec = monitor_resolve_spec,
        .chardev = monitor_chardev,
        .netdev = monitor_netdev,
        .machine = monitor_machine,
        .format_accel = monitor_format_accel,
        .opaque = control,
    };
}

/* Events */

static const char *cause_reason(MachineCause cause)
{
    switch (cause) {
    case CAUSE_GUEST_RESET:
        return "guest-reset";
    case CAUSE_GUEST_PANIC:
        return "guest-panic";
    case CAUSE_HOST_SIGNAL:
        return "host-signal";
    case CAUSE_HOST_QMP_QUIT:
        return "host-qmp-quit";
    case CAUSE_HOST_QMP_RESET:
        return "host-qmp-system-reset";
    case CAUSE_GUEST_SHUTDOWN:
    case CAUSE_DEBUG_EXIT:
        break;
    }
    return "guest-shutdown";
}

static bool is_by_guest(MachineCause cause)
{
    return cause == CAUSE_GUEST_RESET || cause == CAUSE_GUEST_PANIC ||
           cause == CAUSE_GUEST_SHUTDOWN || cause == CAUSE_DEBUG_EXIT;
}

static void emit(const Control *control, const MachineEvent *event)
{
    static const MonitorEventKind kinds[] = {
        [MACHINE_EVENT_STOP] = MONITOR_EVENT_STOP,
        [MACHINE_EVENT_RESUME] = MONITOR_EVENT_RESUME,
        [MACHINE_EVENT_RESET] = MONITOR_EVENT_RESET,
        [MACHINE_EVENT_SHUTDOWN] = MONITOR_EVENT_SHUTDOWN,
        [MACHINE_EVENT_POWERDOWN] = MONITOR_EVENT_POWERDOWN,
        [MACHINE_EVENT_GUEST_PANICKED] = MONITOR_EVENT_GUEST_PANICKED,
        [MACHINE_EVENT_BLOCK_IO_ERROR] = MONITOR_EVENT_BLOCK_IO_ERROR,
        [MACHINE_EVENT_DEVICE_DELETED] = MONITOR_EVENT_DEVICE_DELETED,
    };
    MonitorEvent out = {
        .kind = kinds[event->kind],
        .by_guest = is_by_guest(event->cause),
        .reason = cause_reason(event->cause),
        .device = event->kind == MACHINE_EVENT_DEVICE_DELETED ? event->device : event->drive,
        .is_write = event->is_write,
        .no_space = event->no_space,
    };
    if (event->kind == MACHINE_EVENT_BLOCK_IO_ERROR) {
        out.reason = g_strerror(event->error);
        out.node = event->node;
        out.action = event->is_stop ? "stop" : event->is_ignored ? "ignore" : "report";
    } else if (event->kind == MACHINE_EVENT_GUEST_PANICKED) {
        bool reset_ends, shutdown_pauses;
        machine_get_actions(control->machine, &reset_ends, &shutdown_pauses);
        out.action = shutdown_pauses ? "pause" : "poweroff";
    }
    monitor_set_emit(control->monitors, &out);
}

/* What a guest did with a device. */
static void emit_notice(const Control *control, const MachineEvent *event)
{
    MonitorEvent out = { .device = event->device };
    switch (event->notice) {
    case DEVICE_NOTICE_PORT:
        out.kind = MONITOR_EVENT_VSERPORT_CHANGE;
        out.is_open = event->value != 0;
        break;
    case DEVICE_NOTICE_BALLOON:
        out.kind = MONITOR_EVENT_BALLOON_CHANGE;
        out.bytes = machine_config(control->machine)->ram_bytes - (uint64_t)event->value;
        break;
    case DEVICE_NOTICE_CLOCK:
        out.kind = MONITOR_EVENT_RTC_CHANGE;
        out.offset_s = event->value;
        break;
    }
    if (out.kind != MONITOR_EVENT_VSERPORT_CHANGE || out.device) {
        monitor_set_emit(control->monitors, &out);
    }
}

static void on_machine_event(void *opaque, const MachineEvent *event)
{
    const Control *control = opaque;
    if (event->kind == MACHINE_EVENT_NOTICE) {
        emit_notice(control, event);
    } else if (event->kind != MACHINE_EVENT_DEBUG_STOP) {
        emit(control, event);
    }
}

static bool add_monitors(Control *control, GError **error)
{
    const GPtrArray *monitors = machine_config(control->machine)->monitors;
    for (guint i = 0; i < monitors->len; i++) {
        const MonitorConfig *config = g_ptr_array_index(monitors, i);
        MonitorMode mode = !config->is_control ? MONITOR_READLINE
                           : config->is_pretty ? MONITOR_CONTROL_PRETTY
                                               : MONITOR_CONTROL;
        CharBackend *backend = machine_chardev(control->machine, config->chardev, error);
        if (!backend || !monitor_set_add(control->monitors, backend, mode, error)) {
            g_prefix_error(error, "monitor: ");
            return false;
        }
    }
    return true;
}

Control *control_new(Machine *machine, GError **error)
{
    g_autoptr(Control) control = g_new0(Control, 1);
    const MachineConfig *config = machine_config(machine);
    control->machine = machine;
    uuid_format(&config->uuid, control->uuid);
    const MonitorTarget target = monitor_target(control);
    control->monitors = monitor_set_new(&target, machine_loop(machine));
    if (!add_monitors(control, error)) {
        return NULL;
    }
    machine_add_observer(machine, on_machine_event, control);
    return g_steal_pointer(&control);
}

void control_free(Control *control)
{
    if (control) {
        monitor_set_free(control->monitors);
        g_free(control);
    }
}
