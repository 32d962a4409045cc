/* Definitions from text and back; freeing and copying them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/post-parse.h"
#include "conf/domain/tables.h"

#include <string.h>

#define QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"

/* --- devices --- */

const char *domain_device_kind_name(DomainDeviceKind kind)
{
    return device_tables[kind].element;
}

void *domain_device_new(DomainDeviceKind kind)
{
    DomainDevice *device = g_malloc0(device_tables[kind].size);
    device->kind = kind;
    return device;
}

void *domain_def_add(DomainDef *def, DomainDeviceKind kind)
{
    DomainDevice *device = domain_device_new(kind);
    xml_list_append(DEVICES(def, kind), device);
    return device;
}

void domain_device_free(DomainDevice *device)
{
    if (device != NULL) {
        const DeviceTable *table = &device_tables[device->kind];
        xml_map_clear(table->fields, device, table->size);
        g_free(device);
    }
}

DomainDevice *domain_device_copy(const DomainDevice *device)
{
    const DeviceTable *table = &device_tables[device->kind];
    DomainDevice *copy = g_malloc(table->size);
    xml_map_copy(table->fields, copy, device, table->size);
    return copy;
}

static int kind_of(const xmlNode *node)
{
    for (int kind = 0; kind < DOMAIN_DEVICE_KINDS; kind++) {
        if (xml_is(node, device_tables[kind].element)) {
            return kind;
        }
    }
    return -1;
}

/* The attributes listen= and socket= of graphics stand for a <listen> child. */
static bool read_listen_attrs(DomainGraphics *graphics, xmlNode *node, GError **error)
{
    g_autofree char *address = xml_attr(node, "listen");
    g_autofree char *path = xml_attr(node, "socket");
    if (graphics->listens.count > 0) {
        const DomainGraphicsListen *first = graphics->listens.item[0];
        if (address != NULL && first->type == LISTEN_ADDRESS && first->address != NULL &&
            strcmp(address, first->address) != 0) {
            xml_error(node, CONF_ERROR_XML, error,
                      "attribute 'listen' (%s) contradicts the first <listen> (%s)", address,
                      first->address);
            return false;
        }
        return true;
    }
    if ((address == NULL || *address == '\0') && (path == NULL || *path == '\0')) {
        return true;
    }
    DomainGraphicsListen *listen = g_new0(DomainGraphicsListen, 1);
    if (path != NULL && *path != '\0') {
        listen->type = LISTEN_SOCKET;
        listen->socket = g_steal_pointer(&path);
    } else {
        listen->type = LISTEN_ADDRESS;
        listen->address = g_steal_pointer(&address);
    }
    xml_list_append(&graphics->listens, listen);
    return true;
}

static DomainDevice *parse_device(XmlParse *parse, xmlNode *node, DomainDeviceKind kind,
                                  GError **error)
{
    g_autoptr(DomainDevice) device = domain_device_new(kind);
    if (!xml_map_parse(parse, device_tables[kind].fields, node, device, error)) {
        return NULL;
    }
    if (kind == DEVICE_GRAPHICS && !read_listen_attrs((DomainGraphics *)device, node, error)) {
        return NULL;
    }
    return g_steal_pointer(&device);
}

static bool devices_parse(XmlParse *parse, xmlNode *node, void *base, GError **error)
{
    DomainDef *def = base;
    for (xmlNode *child = xml_first(node); child != NULL; child = xml_next(child)) {
        if (xml_is(child, "emulator")) {
            g_free(def->emulator);
            def->emulator = xml_text(child);
            continue;
        }
        int kind = kind_of(child);
        if (kind < 0) {
            if ((parse->flags & XML_PARSE_STRICT) != 0) {
                xml_error(child, CONF_ERROR_INVALID_SCHEMA, error, "unknown device");
                return false;
            }
            xml_parse_warn(parse, child, "unknown device '%s' is left out",
                           (const char *)child->name);
            continue;
        }
        DomainDevice *device = parse_device(parse, child, (DomainDeviceKind)kind, error);
        if (device == NULL) {
            return false;
        }
        xml_list_append(DEVICES(def, kind), device);
    }
    return true;
}

static void format_device(XmlWriter *writer, const DomainDevice *device, unsigned flags)
{
    const DeviceTable *table = &device_tables[device->kind];
    xml_write_start(writer, table->element);
    xml_map_format(writer, table->fields, device, flags);
    xml_write_end(writer);
}

static void devices_format(XmlWriter *writer, const void *base, unsigned flags)
{
    const DomainDef *def = base;
    xml_write_start(writer, "devices");
    xml_write_leaf(writer, "emulator", def->emulator);
    for (int kind = 0; kind < DOMAIN_DEVICE_KINDS; kind++) {
        const XmlList *list = DEVICES(def, kind);
        for (unsigned i = 0; i < list->count; i++) {
            format_device(writer, list->item[i], flags);
        }
    }
    xml_write_end(writer);
}

const XmlHook domain_devices_hook = { devices_parse, devices_format };

DomainDevice *domain_device_parse(const char *xml, const DomainDef *def,
                                  const DomainEnvironment *env, unsigned flags, GPtrArray *warnings,
                                  GError **error)
{
    g_autoptr(XmlDoc) doc = xml_doc_parse(xml, "device", error);
    if (doc == NULL) {
        return NULL;
    }
    xmlNode *root = xml_doc_root(doc);
    int kind = kind_of(root);
    if (kind < 0) {
        xml_error(root, CONF_ERROR_UNSUPPORTED, error, "unknown device");
        return NULL;
    }
    XmlParse parse = { .flags = flags, .warnings = warnings };
    g_autoptr(DomainDevice) device = parse_device(&parse, root, (DomainDeviceKind)kind, error);
    if (device == NULL ||
        ((flags & DOMAIN_PARSE_KEEP) == 0 && !domain_device_post_parse(device, def, env, error))) {
        return NULL;
    }
    return g_steal_pointer(&device);
}

char *domain_device_format(const DomainDevice *device, unsigned flags)
{
    XmlWriter *writer = xml_writer_new();
    format_device(writer, device, flags);
    return xml_writer_finish(writer);
}

/* --- <qemu:commandline> --- */

static bool is_qemu(const xmlNode *node, const char *name)
{
    return node->ns != NULL && strcmp((const char *)node->ns->href, QEMU_NAMESPACE) == 0 &&
           strcmp((const char *)node->name, name) == 0;
}

static bool parse_commandline(xmlNode *node, DomainQemuCommandline *qemu, GError **error)
{
    for (xmlNode *child = xml_first(node); child != NULL; child = xml_next(child)) {
        if (is_qemu(child, "arg")) {
            DomainText *arg = g_new0(DomainText, 1);
            xml_list_append(&qemu->args, arg);
            arg->text = xml_attr(child, "value");
            if (arg->text == NULL) {
                xml_error(child, CONF_ERROR_INTERNAL, error, "attribute 'value' is missing");
                return false;
            }
        } else if (is_qemu(child, "env")) {
            DomainEnv *env = g_new0(DomainEnv, 1);
            xml_list_append(&qemu->envs, env);
            env->name = xml_attr(child, "name");
            env->value = xml_attr(child, "value");
            bool is_name = env->name != NULL && *env->name != '\0' &&
                           strspn(env->name, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_") ==
                               strlen(env->name) &&
                           !g_ascii_isdigit(env->name[0]);
            if (!is_name) {
                xml_error(child, CONF_ERROR_INTERNAL, error, "no valid name of a variable");
                return false;
            }
        }
    }
    return true;
}

static bool parse_qemu_namespace(xmlNode *root, DomainDef *def, GError **error)
{
    for (xmlNode *child = xml_first(root); child != NULL; child = xml_next(child)) {
        if (child->ns == NULL || strcmp((const char *)child->ns->href, QEMU_NAMESPACE) != 0) {
            continue;
        }
        if (def->qemu == NULL) {
            def->qemu = g_new0(DomainQemuCommandline, 1);
        }
        if (is_qemu(child, "commandline")) {
            if (!parse_commandline(child, def->qemu, error)) {
                return false;
            }
            continue;
        }
        char **slot = is_qemu(child, "capabilities")  ? &def->qemu->capabilities
                      : is_qemu(child, "override")    ? &def->qemu->override
                      : is_qemu(child, "deprecation") ? &def->qemu->deprecation
                                                      : NULL;
        if (slot != NULL) {
            g_free(*slot);
            *slot = xml_node_to_text(child, 1);
        }
    }
    return true;
}

static void format_qemu_namespace(XmlWriter *writer, const DomainQemuCommandline *qemu)
{
    if (qemu->args.count > 0 || qemu->envs.count > 0) {
        xml_write_start(writer, "qemu:commandline");
        for (unsigned i = 0; i < qemu->args.count; i++) {
            const DomainText *arg = qemu->args.item[i];
            xml_write_start(writer, "qemu:arg");
            xml_write_attr(writer, "value", arg->text);
            xml_write_end(writer);
        }
        for (unsigned i = 0; i < qemu->envs.count; i++) {
            const DomainEnv *env = qemu->envs.item[i];
            xml_write_start(writer, "qemu:env");
            xml_write_attr(writer, "name", env->name);
            if (env->value != NULL) {
                xml_write_attr(writer, "value", env->value);
            }
            xml_write_end(writer);
        }
        xml_write_end(writer);
    }
    const char *const raw[] = { qemu->capabilities, qemu->override, qemu->deprecation };
    for (unsigned i = 0; i < G_N_ELEMENTS(raw); i++) {
        if (raw[i] != NULL) {
            xml_write_raw(writer, raw[i]);
        }
    }
}

static const XmlField qemu_fields[] = {
    XML_LIST(DomainQemuCommandline, args, "", DomainText, FIELDS(XML_OWNED(DomainText, text)),
             .flags = XML_READ),
    XML_LIST(DomainQemuCommandline, envs, "", DomainEnv,
             FIELDS(XML_OWNED(DomainEnv, name), XML_OWNED(DomainEnv, value)), .flags = XML_READ),
    XML_OWNED(DomainQemuCommandline, capabilities),
    XML_OWNED(DomainQemuCommandline, override),
    XML_OWNED(DomainQemuCommandline, deprecation),
    XML_END,
};

/* --- whole definitions --- */

void domain_def_free(DomainDef *def)
{
    if (def == NULL) {
        return;
    }
    for (int kind = 0; kind < DOMAIN_DEVICE_KINDS; kind++) {
        XmlList *list = DEVICES(def, kind);
        for (unsigned i = 0; i < list->count; i++) {
            domain_device_free(list->item[i]);
        }
        g_free(list->item);
    }
    if (def->qemu != NULL) {
        xml_map_clear(qemu_fields, def->qemu, sizeof(*def->qemu));
        g_free(def->qemu);
    }
    xml_map_clear(domain_fields, def, sizeof(*def));
    g_free(def);
}

DomainDef *domain_def_copy(const DomainDef *def)
{
    DomainDef *copy = g_new(DomainDef, 1);
    xml_map_copy(domain_fields, copy, def, sizeof(*def));
    memset(copy->devices, 0, sizeof(copy->devices));
    for (int kind = 0; kind < DOMAIN_DEVICE_KINDS; kind++) {
        const XmlList *list = DEVICES(def, kind);
        for (unsigned i = 0; i < list->count; i++) {
            xml_list_append(DEVICES(copy, kind), domain_device_copy(list->item[i]));
        }
    }
    if (def->qemu != NULL) {
        copy->qemu = g_new(DomainQemuCommandline, 1);
        xml_map_copy(qemu_fields, copy->qemu, def->qemu, sizeof(*def->qemu));
    }
    return copy;
}

DomainDef *domain_def_parse(const char *xml, unsigned flags, const DomainEnvironment *env,
                            GPtrArray *warnings, GError **error)
{
    g_autoptr(XmlDoc) doc = xml_doc_parse(xml, "domain", error);
    if (doc == NULL) {
        return NULL;
    }
    xmlNode *root = xml_doc_root(doc);
    if (!xml_is(root, "domain")) {
        xml_error(root, CONF_ERROR_XML, error, "expected <domain>");
        return NULL;
    }
    XmlParse parse = { .flags = flags, .warnings = warnings, .known_namespace = QEMU_NAMESPACE };
    g_autoptr(DomainDef) def = g_new0(DomainDef, 1);
    if (!xml_map_parse(&parse, domain_fields, root, def, error) ||
        !parse_qemu_namespace(root, def, error)) {
        return NULL;
    }
    if ((flags & DOMAIN_PARSE_INACTIVE) != 0) {
        domain_def_strip_live(def);
    }
    if (def->current_vcpus == 0) {
        def->current_vcpus = def->vcpus; /* written only where it is less */
    }
    if ((flags & DOMAIN_PARSE_KEEP) == 0 &&
        (!domain_def_post_parse(def, env, error) || !domain_def_validate(def, error))) {
        return NULL;
    }
    return g_steal_pointer(&def);
}

char *domain_def_format(const DomainDef *def, unsigned flags)
{
    g_autoptr(DomainDef) stripped = NULL;
    if ((flags & DOMAIN_FORMAT_INACTIVE) != 0 && def->id != 0) {
        stripped = domain_def_copy(def);
        domain_def_strip_live(stripped);
        def = stripped;
    }
    XmlWriter *writer = xml_writer_new();
    xml_write_start(writer, "domain");
    if (def->qemu != NULL) {
        xml_write_attr(writer, "xmlns:qemu", QEMU_NAMESPACE);
    }
    xml_map_format(writer, domain_fields, def, flags);
    if (def->qemu != NULL) {
        format_qemu_namespace(writer, def->qemu);
    }
    xml_write_end(writer);
    return xml_writer_finish(writer);
}

/* --- summaries --- */

static const XmlField summary_fields[] = {
    XML_ATTR_ENUM(DomainDef, virt, "type", virt_type_names),
    XML_LEAF(DomainDef, name, "name", xml_nonempty, .flags = XML_REQUIRED),
    XML_LEAF(DomainDef, uuid, "uuid", xml_uuid),
    XML_LEAF(DomainDef, title, "title", xml_lenient),
    XML_LEAF(DomainDef, memory, "memory", xml_kib),
    XML_LEAF(DomainDef, current_memory, "currentMemory", xml_kib),
    XML_NEST("vcpu", FIELDS(XML_ATTR(DomainDef, current_vcpus, "current", xml_u32),
                            XML_TEXT(DomainDef, vcpus, xml_u32))),
    XML_END,
};

bool domain_summary_parse(const char *xml, DomainSummary *out, GError **error)
{
    g_autoptr(XmlDoc) doc = xml_doc_parse(xml, "domain", error);
    if (doc == NULL) {
        return false;
    }
    DomainDef def = { 0 };
    XmlParse parse = { 0 };
    if (!xml_map_parse(&parse, summary_fields, xml_doc_root(doc), &def, error)) {
        xml_map_clear(summary_fields, &def, sizeof(def));
        return false;
    }
    *out = (DomainSummary){
        .name = def.name,
        .title = def.title,
        .uuid = def.uuid,
        .virt = def.virt,
        .memory = def.memory,
        .current_memory = def.current_memory != 0 ? def.current_memory : def.memory,
        .vcpus = def.vcpus,
        .current_vcpus = def.current_vcpus != 0 ? def.current_vcpus : def.vcpus,
    };
    return true;
}

void domain_summary_clear(DomainSummary *summary)
{
    g_free(summary->name);
    g_free(summary->title);
    *summary = (DomainSummary){ 0 };
}
