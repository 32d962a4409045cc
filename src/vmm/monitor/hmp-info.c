/* HMP: topics of `info`. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/monitor/block.h"

#include <string.h>

static void get_state(MonitorSession *session, CpuState *out_state)
{
    const MonitorTarget *target = &session->set->target;
    target->vcpu_state(target->opaque, session->current_vcpu, out_state);
}

static void show_registers(MonitorSession *session, GString *out)
{
    g_autofree CpuState *state = g_new0(CpuState, 1);
    get_state(session, state);
    g_string_append_printf(out, "\nCPU#%u\n", session->current_vcpu);
    inspect_registers(state, out);
}

static void show_mem(MonitorSession *session, GString *out)
{
    g_autofree CpuState *state = g_new0(CpuState, 1);
    get_state(session, state);
    inspect_mappings(&session->set->target, state, out);
}

static void show_status(MonitorSession *session, GString *out)
{
    const char *status = session->set->target.status(session->set->target.opaque);
    g_string_append_printf(out, "VM status: %s%s%s%s\n",
                           strcmp(status, "running") != 0 ? "paused" : "running",
                           !strcmp(status, "running") || !strcmp(status, "paused") ? "" : " (",
                           !strcmp(status, "running") || !strcmp(status, "paused") ? "" : status,
                           !strcmp(status, "running") || !strcmp(status, "paused") ? "" : ")");
}

static void show_version(MonitorSession *session, GString *out)
{
    g_string_append(out, "lodge " LODGE_VERSION "\n");
}

static void show_name(MonitorSession *session, GString *out)
{
    if (session->set->target.name) {
        g_string_append_printf(out, "%s\n", session->set->target.name);
    }
}

static void show_uuid(MonitorSession *session, GString *out)
{
    const char *uuid = session->set->target.uuid;
    g_string_append_printf(out, "%s\n", uuid ? uuid : "00000000-0000-0000-0000-000000000000");
}

static void show_kvm(MonitorSession *session, GString *out)
{
    g_string_append_printf(out, "kvm support: %s\n",
                           session->set->target.is_kvm ? "enabled" : "disabled");
}

static void show_cpus(MonitorSession *session, GString *out)
{
    const MonitorTarget *target = &session->set->target;
    MonitorVcpu vcpu;
    for (unsigned i = 0; target->vcpu(target->opaque, i, &vcpu); i++) {
        g_string_append_printf(out, "%c CPU #%u: thread_id=%lld\n",
                               i == session->current_vcpu ? '*' : ' ', i,
                               (long long)vcpu.thread_id);
    }
}

static void show_block(MonitorSession *session, GString *out)
{
    const MonitorTarget *target = &session->set->target;
    MonitorDisk disk;
    for (unsigned i = 0; target->disk(target->opaque, i, &disk); i++) {
        if (!disk.backend) {
            g_string_append_printf(out, "%s: [not inserted]\n", disk.device);
            continue;
        }
        g_string_append_printf(out, "%s: %s (raw%s)\n", disk.device,
                               block_backend_path(disk.backend),
                               block_backend_is_readonly(disk.backend) ? ", read-only" : "");
        if (disk.user) {
            g_autofree char *path = qmp_disk_path(target, disk.user);
            g_string_append_printf(out, "    Attached to:      %s\n", path);
        }
        g_string_append_printf(out, "    Size:             %llu bytes\n",
                               (unsigned long long)block_backend_size(disk.backend));
    }
}

static void show_chardev(MonitorSession *session, GString *out)
{
    const MonitorTarget *target = &session->set->target;
    CharBackend *backend;
    for (unsigned i = 0; (backend = target->chardev(target->opaque, i)); i++) {
        g_autofree char *where = char_describe(backend);
        g_string_append_printf(out, "%s: filename=%s\n", backend->id, where);
    }
}

static void show_network(MonitorSession *session, GString *out)
{
    const MonitorTarget *target = &session->set->target;
    NetBackend *backend;
    for (unsigned i = 0; (backend = target->netdev(target->opaque, i)); i++) {
        g_autofree char *what = net_describe(backend);
        g_string_append_printf(out, "%s: %s, link %s%s\n", backend->id, what,
                               backend->link_is_up ? "up" : "down",
                               backend->has_frontend ? "" : ", no card");
    }
}

static void show_irq(MonitorSession *session, GString *out)
{
    const MonitorTarget *target = &session->set->target;
    g_autofree char *text = target->format_irq ? target->format_irq(target->opaque) : NULL;
    g_string_append(out, text ? text : "not available for this machine\n");
}

static void show_jit(MonitorSession *session, GString *out)
{
    const MonitorTarget *target = &session->set->target;
    g_autofree char *text = target->format_accel ? target->format_accel(target->opaque) : NULL;
    g_string_append(out, text ? text : "the accelerator has no statistics\n");
}

static void show_balloon(MonitorSession *session, GString *out)
{
    g_autoptr(GError) error = NULL;
    uint64_t bytes;
    if (monitor_get_balloon(&session->set->target, &bytes, &error)) {
        g_string_append_printf(out, "balloon: actual=%llu\n", (unsigned long long)(bytes >> 20));
    } else {
        g_string_append_printf(out, "Error: %s\n", error->message);
    }
}

const HmpInfo hmp_infos[] = {
    { "balloon", "memory that the guest keeps", show_balloon },
    { "block", "disks", show_block },
    { "chardev", "character back ends", show_chardev },
    { "cpus", "virtual processors", show_cpus },
    { "irq", "interrupt controllers", show_irq },
    { "jit", "statistics of the accelerator", show_jit },
    { "kvm", "whether KVM runs the guest", show_kvm },
    { "mem", "mapped virtual memory", show_mem },
    { "name", "name of the guest", show_name },
    { "network", "network back ends", show_network },
    { "pic", "interrupt controllers", show_irq },
    { "registers", "registers of a CPU", show_registers },
    { "status", "whether the guest runs", show_status },
    { "uuid", "UUID of the guest", show_uuid },
    { "version", "version of this program", show_version },
    { .name = NULL },
};
