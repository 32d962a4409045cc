/* QMP: commands that look and change nothing.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/cpu/model.h"
#include "vmm/monitor/block.h"

#include <string.h>

/* The QEMU release whose QMP this one is like: peers choose what they say by it. */
#define QMP_MAJOR 7
#define QMP_MINOR 2
#define QMP_MICRO 0

JsonNode *qmp_take_object(JsonObject *object)
{
    JsonNode *node = json_node_new(JSON_NODE_OBJECT);
    json_node_take_object(node, object);
    return node;
}

JsonNode *qmp_take_array(JsonArray *array)
{
    JsonNode *node = json_node_new(JSON_NODE_ARRAY);
    json_node_take_array(node, array);
    return node;
}

JsonNode *qmp_string(const char *text)
{
    JsonNode *node = json_node_new(JSON_NODE_VALUE);
    json_node_set_string(node, text);
    return node;
}

JsonObject *qmp_version_object(void)
{
    JsonObject *object = json_object_new();
    json_object_set_int_member(object, "major", QMP_MAJOR);
    json_object_set_int_member(object, "minor", QMP_MINOR);
    json_object_set_int_member(object, "micro", QMP_MICRO);
    return object;
}

JsonNode *qmp_query_version(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonObject *object = json_object_new();
    json_object_set_object_member(object, "qemu", qmp_version_object());
    json_object_set_string_member(object, "package", "lodge-" LODGE_VERSION);
    return qmp_take_object(object);
}

JsonNode *qmp_query_status(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    const char *status = target->status(target->opaque);
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "status", status);
    json_object_set_boolean_member(object, "singlestep", FALSE);
    json_object_set_boolean_member(object, "running", !strcmp(status, "running"));
    return qmp_take_object(object);
}

JsonNode *qmp_query_name(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonObject *object = json_object_new();
    if (session->set->target.name) {
        json_object_set_string_member(object, "name", session->set->target.name);
    }
    return qmp_take_object(object);
}

JsonNode *qmp_query_uuid(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const char *uuid = session->set->target.uuid;
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "UUID",
                                  uuid ? uuid : "00000000-0000-0000-0000-000000000000");
    return qmp_take_object(object);
}

JsonNode *qmp_query_kvm(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonObject *object = json_object_new();
    json_object_set_boolean_member(object, "enabled", session->set->target.is_kvm);
    json_object_set_boolean_member(object, "present", session->set->target.has_kvm);
    return qmp_take_object(object);
}

JsonNode *qmp_query_target(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "arch", "x86_64");
    return qmp_take_object(object);
}

static JsonObject *cpu_props(const MonitorVcpu *vcpu)
{
    JsonObject *props = json_object_new();
    json_object_set_int_member(props, "core-id", vcpu->core);
    json_object_set_int_member(props, "thread-id", vcpu->thread);
    json_object_set_int_member(props, "die-id", vcpu->die);
    json_object_set_int_member(props, "socket-id", vcpu->socket);
    return props;
}

JsonNode *qmp_query_cpus_fast(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonArray *array = json_array_new();
    MonitorVcpu vcpu;
    for (unsigned i = 0; target->vcpu(target->opaque, i, &vcpu); i++) {
        g_autofree char *path = g_strdup_printf("/machine/unattached/device[%u]", i);
        JsonObject *object = json_object_new();
        json_object_set_int_member(object, "thread-id", vcpu.thread_id);
        json_object_set_object_member(object, "props", cpu_props(&vcpu));
        json_object_set_string_member(object, "qom-path", path);
        json_object_set_int_member(object, "cpu-index", i);
        json_object_set_string_member(object, "target", "x86_64");
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

JsonNode *qmp_query_chardev(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonArray *array = json_array_new();
    CharBackend *backend;
    for (unsigned i = 0; (backend = target->chardev(target->opaque, i)); i++) {
        g_autofree char *where = char_describe(backend);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "label", backend->id);
        json_object_set_string_member(object, "filename", where);
        json_object_set_boolean_member(object, "frontend-open", backend->has_frontend);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

JsonNode *qmp_query_machines(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonArray *array = json_array_new();
    MonitorMachineType type;
    for (unsigned i = 0; target->machine(target->opaque, i, &type); i++) {
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "name", type.name);
        if (type.alias) {
            json_object_set_string_member(object, "alias", type.alias);
        }
        if (type.is_default) {
            json_object_set_boolean_member(object, "is-default", TRUE);
        }
        json_object_set_int_member(object, "cpu-max", type.vcpus_max);
        json_object_set_boolean_member(object, "hotpluggable-cpus", FALSE);
        json_object_set_boolean_member(object, "numa-mem-supported", FALSE);
        json_object_set_boolean_member(object, "deprecated", FALSE);
        json_object_set_boolean_member(object, "acpi", TRUE);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

/* Names of what the model asks for and cannot have here. */
static JsonArray *unavailable_features(const MonitorTarget *target, const char *name)
{
    CpuFeatureSet features, missing;
    JsonArray *array = json_array_new();
    if (target->cpu_features(target->opaque, name, &features, &missing, NULL)) {
        for (unsigned i = 0; i < CPU_WORDS * 32; i++) {
            if (cpu_feature_has(&missing, i) && cpu_feature_name(i)) {
                json_array_add_string_element(array, cpu_feature_name(i));
            }
        }
    }
    return array;
}

JsonNode *qmp_query_cpu_definitions(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonArray *array = json_array_new();
    const CpuModel *model;
    for (unsigned i = 0; (model = cpu_model_at(i)); i++) {
        const char *name = cpu_model_name(model);
        g_autofree char *type = g_strdup_printf("%s-x86_64-cpu", name);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "name", name);
        json_object_set_string_member(object, "typename", type);
        json_object_set_array_member(object, "unavailable-features",
                                     unavailable_features(&session->set->target, name));
        json_object_set_boolean_member(object, "static", FALSE);
        json_object_set_boolean_member(object, "deprecated", FALSE);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

JsonNode *qmp_query_balloon(MonitorSession *session, JsonObject *arguments, GError **error)
{
    uint64_t bytes;
    if (!monitor_get_balloon(&session->set->target, &bytes, error)) {
        return NULL;
    }
    JsonObject *object = json_object_new();
    json_object_set_int_member(object, "actual", (gint64)bytes);
    return qmp_take_object(object);
}

/* All vCPUs are there from the start. */
JsonNode *qmp_query_hotpluggable_cpus(MonitorSession *session, JsonObject *arguments,
                                      GError **error)
{
    const MonitorTarget *target = &session->set->target;
    g_autofree char *type = g_strdup_printf("%s-x86_64-cpu", target->cpu_model);
    JsonArray *array = json_array_new();
    MonitorVcpu vcpu;
    for (unsigned i = target->vcpu_count; i; i--) {
        target->vcpu(target->opaque, i - 1, &vcpu);
        g_autofree char *path = g_strdup_printf("/machine/unattached/device[%u]", i - 1);
        JsonObject *object = json_object_new();
        json_object_set_object_member(object, "props", cpu_props(&vcpu));
        json_object_set_int_member(object, "vcpus-count", 1);
        json_object_set_string_member(object, "qom-path", path);
        json_object_set_string_member(object, "type", type);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

JsonNode *qmp_query_iothreads(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonArray *array = json_array_new();
    MonitorIothread thread;
    for (unsigned i = 0; target->iothread && target->iothread(target->opaque, i, &thread); i++) {
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "id", thread.id);
        json_object_set_int_member(object, "thread-id", thread.thread_id);
        json_object_set_int_member(object, "poll-max-ns", (gint64)thread.poll_max_ns);
        json_object_set_int_member(object, "poll-grow", (gint64)thread.poll_grow);
        json_object_set_int_member(object, "poll-shrink", (gint64)thread.poll_shrink);
        json_object_set_int_member(object, "aio-max-batch", (gint64)thread.batch);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

JsonNode *qmp_query_memory_size(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonObject *object = json_object_new();
    json_object_set_int_member(object, "base-memory", (gint64)session->set->target.ram_bytes);
    json_object_set_int_member(object, "plugged-memory", 0);
    return qmp_take_object(object);
}

/* The properties of a model are the features that it gets here; "static" has no other answer. */
JsonNode *qmp_query_cpu_model_expansion(MonitorSession *session, JsonObject *arguments,
                                        GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonObject *wanted = json_object_get_object_member(arguments, "model");
    const char *name = json_object_get_string_member(wanted, "name");
    CpuFeatureSet features, missing;
    if (!target->cpu_features(target->opaque, name, &features, &missing, error)) {
        return NULL;
    }
    JsonObject *props = json_object_new();
    const char *feature;
    for (unsigned i = 0; i < CPU_WORDS * 32; i++) {
        feature = cpu_feature_name(i);
        if (feature) {
            json_object_set_boolean_member(props, feature, cpu_feature_has(&features, i));
        }
    }
    JsonObject *model = json_object_new();
    json_object_set_string_member(model, "name", name);
    json_object_set_object_member(model, "props", props);
    JsonObject *object = json_object_new();
    json_object_set_object_member(object, "model", model);
    return qmp_take_object(object);
}
