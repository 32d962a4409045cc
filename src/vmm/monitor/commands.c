/* QMP: the table of commands, and those that change something.
 *
 * Names, members and types are those of QEMU's QMP. SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/monitor/internal.h"

#include <string.h>

bool monitor_wakeup(const MonitorTarget *target, GError **error)
{
    if (!target->wakeup) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "wake-up from suspend is not supported by this guest");
        return false;
    }
    return target->wakeup(target->opaque, error);
}

bool monitor_nmi(const MonitorTarget *target, GError **error)
{
    if (!target->nmi) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "machine does not provide NMIs");
        return false;
    }
    return target->nmi(target->opaque, error);
}

static bool fail_no_balloon(GError **error)
{
    /* A code of its own (DeviceNotActive) in QMP; peers look at the text. */
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "No balloon device has been activated");
    return false;
}

bool monitor_get_balloon(const MonitorTarget *target, uint64_t *out_bytes, GError **error)
{
    return target->get_balloon ? target->get_balloon(target->opaque, out_bytes, error)
                               : fail_no_balloon(error);
}

bool monitor_set_balloon(const MonitorTarget *target, uint64_t bytes, GError **error)
{
    return target->set_balloon ? target->set_balloon(target->opaque, bytes, error)
                               : fail_no_balloon(error);
}

bool monitor_set_link(const MonitorTarget *target, const char *name, bool is_up, GError **error)
{
    NetBackend *backend;
    for (unsigned i = 0; (backend = target->netdev(target->opaque, i)); i++) {
        if (!strcmp(backend->id, name)) {
            net_set_link(backend, is_up);
            return true;
        }
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "Device '%s' not found", name);
    return false;
}

static JsonNode *run_capabilities(MonitorSession *session, JsonObject *arguments, GError **error)
{
    if (json_object_has_member(arguments, "enable") &&
        json_array_get_length(json_object_get_array_member(arguments, "enable"))) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "no capabilities can be enabled on this monitor");
        return NULL;
    }
    session->is_negotiated = true;
    return NULL;
}

static JsonNode *run_query_commands(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return schema_list_commands();
}

static JsonNode *run_query_schema(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return schema_introspect();
}

static JsonNode *run_stop(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    target->pause(target->opaque);
    return NULL;
}

static JsonNode *run_cont(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    target->resume(target->opaque, error);
    return NULL;
}

static JsonNode *run_quit(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    target->quit(target->opaque);
    return NULL;
}

static JsonNode *run_reset(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    target->reset(target->opaque);
    return NULL;
}

static JsonNode *run_powerdown(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    target->powerdown(target->opaque);
    return NULL;
}

static JsonNode *run_wakeup(MonitorSession *session, JsonObject *arguments, GError **error)
{
    monitor_wakeup(&session->set->target, error);
    return NULL;
}

static JsonNode *run_nmi(MonitorSession *session, JsonObject *arguments, GError **error)
{
    monitor_nmi(&session->set->target, error);
    return NULL;
}

static JsonNode *run_balloon(MonitorSession *session, JsonObject *arguments, GError **error)
{
    gint64 bytes = json_object_get_int_member(arguments, "value");
    if (bytes <= 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'target' expects a size");
        return NULL;
    }
    monitor_set_balloon(&session->set->target, (uint64_t)bytes, error);
    return NULL;
}

static JsonNode *run_set_link(MonitorSession *session, JsonObject *arguments, GError **error)
{
    monitor_set_link(&session->set->target, json_object_get_string_member(arguments, "name"),
                     json_object_get_boolean_member(arguments, "up"), error);
    return NULL;
}

static JsonNode *run_set_action(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    if (!target->get_actions || !target->set_actions) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "actions cannot be changed");
        return NULL;
    }
    MonitorActions actions;
    target->get_actions(target->opaque, &actions);
    if (json_object_has_member(arguments, "reboot")) {
        const char *action = json_object_get_string_member(arguments, "reboot");
        actions.reboot_is_shutdown = !strcmp(action, "shutdown");
    }
    if (json_object_has_member(arguments, "shutdown")) {
        const char *action = json_object_get_string_member(arguments, "shutdown");
        actions.shutdown_is_pause = !strcmp(action, "pause");
    }
    target->set_actions(target->opaque, &actions);
    return NULL;
}

static JsonNode *run_human(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    unsigned before = session->current_vcpu;
    if (json_object_has_member(arguments, "cpu-index")) {
        gint64 index = json_object_get_int_member(arguments, "cpu-index");
        if (index < 0 || index >= target->vcpu_count) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "Parameter 'cpu-index' expects a CPU number");
            return NULL;
        }
        session->current_vcpu = (unsigned)index;
    }
    g_autoptr(GString) out = g_string_new(NULL);
    hmp_execute(session, json_object_get_string_member(arguments, "command-line"), out);
    if (json_object_has_member(arguments, "cpu-index")) {
        session->current_vcpu = before; /* it was for this line only */
    }
    /* Bytes of the guest's memory may be in it. */
    g_autofree char *text = g_utf8_make_valid(out->str, (gssize)out->len);
    JsonNode *node = json_node_new(JSON_NODE_VALUE);
    json_node_set_string(node, text);
    return node;
}

const QmpCommand qmp_commands[] = {
    { "balloon", "value:int", "", run_balloon },
    { "cont", "", "", run_cont },
    { "device-list-properties", "typename:str", "[ObjectPropertyInfo]",
      qmp_device_list_properties },
    { "human-monitor-command", "command-line:str,?cpu-index:int", "str", run_human },
    { "inject-nmi", "", "", run_nmi },
    { "qmp_capabilities", "?enable:[QMPCapability]", "", run_capabilities },
    { "qom-list-types", "?implements:str,?abstract:bool", "[ObjectTypeInfo]", qmp_qom_list_types },
    { "query-balloon", "", "BalloonInfo", qmp_query_balloon },
    { "query-block", "", "[BlockInfo]", qmp_query_block },
    { "query-blockstats", "", "[BlockStats]", qmp_query_blockstats },
    { "query-chardev", "", "[ChardevInfo]", qmp_query_chardev },
    { "query-commands", "", "[CommandInfo]", run_query_commands },
    { "query-cpu-definitions", "", "[CpuDefinitionInfo]", qmp_query_cpu_definitions },
    { "query-cpus-fast", "", "[CpuInfoFast]", qmp_query_cpus_fast },
    { "query-kvm", "", "KvmInfo", qmp_query_kvm },
    { "query-machines", "", "[MachineInfo]", qmp_query_machines },
    { "query-name", "", "NameInfo", qmp_query_name },
    { "query-qmp-schema", "", "[SchemaInfo]", run_query_schema },
    { "query-status", "", "StatusInfo", qmp_query_status },
    { "query-target", "", "TargetInfo", qmp_query_target },
    { "query-uuid", "", "UuidInfo", qmp_query_uuid },
    { "query-version", "", "VersionInfo", qmp_query_version },
    { "quit", "", "", run_quit },
    { "set-action", "?reboot:RebootAction,?shutdown:ShutdownAction", "", run_set_action },
    { "set_link", "name:str,up:bool", "", run_set_link },
    { "stop", "", "", run_stop },
    { "system_powerdown", "", "", run_powerdown },
    { "system_reset", "", "", run_reset },
    { "system_wakeup", "", "", run_wakeup },
    { .name = NULL },
};

const SchemaStruct schema_structs[] = {
    { "BalloonInfo", "actual:int" },
    { "BlockDeviceInfo",
      "file:str,ro:bool,drv:str,backing_file_depth:int,encrypted:bool,"
      "detect_zeroes:str,bps:int,bps_rd:int,bps_wr:int,iops:int,iops_rd:int,"
      "iops_wr:int,image:ImageInfo,cache:BlockdevCacheInfo,write_threshold:int" },
    { "BlockDeviceStats",
      "rd_bytes:int,wr_bytes:int,unmap_bytes:int,rd_operations:int,wr_operations:int,"
      "flush_operations:int,unmap_operations:int,failed_rd_operations:int,"
      "failed_wr_operations:int,failed_flush_operations:int,failed_unmap_operations:int" },
    { "BlockInfo", "device:str,?qdev:str,type:str,removable:bool,locked:bool,"
                   "?inserted:BlockDeviceInfo,?io-status:BlockDeviceIoStatus" },
    { "BlockStats", "?device:str,?qdev:str,stats:BlockDeviceStats" },
    { "BlockdevCacheInfo", "writeback:bool,direct:bool,no-flush:bool" },
    { "ChardevInfo", "label:str,filename:str,frontend-open:bool" },
    { "CommandInfo", "name:str" },
    { "CpuDefinitionInfo", "name:str,typename:str,static:bool,deprecated:bool" },
    { "CpuInfoFast",
      "cpu-index:int,qom-path:str,thread-id:int,?props:CpuInstanceProperties,target:SysEmuTarget" },
    { "CpuInstanceProperties", "?socket-id:int,?die-id:int,?core-id:int,?thread-id:int" },
    { "ImageInfo", "filename:str,format:str,virtual-size:int" },
    { "KvmInfo", "enabled:bool,present:bool" },
    { "MachineInfo", "name:str,?alias:str,?is-default:bool,cpu-max:int,hotpluggable-cpus:bool,"
                     "numa-mem-supported:bool,deprecated:bool,acpi:bool" },
    { "NameInfo", "?name:str" },
    { "ObjectPropertyInfo", "name:str,type:str,?description:str,?default-value:any" },
    { "ObjectTypeInfo", "name:str,?abstract:bool,?parent:str" },
    { "SchemaInfo", "name:str,meta-type:str" },
    { "StatusInfo", "running:bool,singlestep:bool,status:RunState" },
    { "TargetInfo", "arch:SysEmuTarget" },
    { "UuidInfo", "UUID:str" },
    { "VersionInfo", "qemu:VersionTriple,package:str" },
    { "VersionTriple", "major:int,minor:int,micro:int" },
    { .name = NULL },
};

const SchemaEnum schema_enums[] = {
    { "BlockDeviceIoStatus", "ok,failed,nospace" },
    { "BlockErrorAction", "ignore,report,stop" },
    { "GuestPanicAction", "pause,poweroff,run" },
    { "IoOperationType", "read,write" },
    { "QMPCapability", "oob" },
    { "RebootAction", "reset,shutdown" },
    { "RunState", "debug,internal-error,io-error,paused,prelaunch,running,shutdown,suspended,"
                  "guest-panicked" },
    { "ShutdownAction", "poweroff,pause" },
    { "ShutdownCause", "none,host-error,host-qmp-quit,host-qmp-system-reset,host-signal,host-ui,"
                       "guest-shutdown,guest-reset,guest-panic,subsystem-reset" },
    { "SysEmuTarget", "x86_64" },
    { .name = NULL },
};

const SchemaEvent schema_events[] = {
    { "BLOCK_IO_ERROR", "device:str,operation:IoOperationType,action:BlockErrorAction,"
                        "nospace:bool,reason:str" },
    { "GUEST_PANICKED", "action:GuestPanicAction" },
    { "POWERDOWN", "" },
    { "RESET", "guest:bool,reason:ShutdownCause" },
    { "RESUME", "" },
    { "RTC_CHANGE", "offset:int" },
    { "SHUTDOWN", "guest:bool,reason:ShutdownCause" },
    { "STOP", "" },
    { .name = NULL },
};
