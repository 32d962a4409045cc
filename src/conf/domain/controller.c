/* <controller>.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/tables.h"

static const XmlField driver_fields[] = {
    XML_ATTR(DomainController, queues, "queues", xml_u32),
    XML_ATTR(DomainController, cmd_per_lun, "cmd_per_lun", xml_u32),
    XML_ATTR(DomainController, max_sectors, "max_sectors", xml_u32),
    XML_ATTR_ENUM(DomainController, ioeventfd, "ioeventfd", on_off_names),
    XML_ATTR(DomainController, iothread, "iothread", xml_u32),
    XML_INLINE(DomainController, virtio, virtio_fields),
    XML_END,
};

static const XmlField pci_target_fields[] = {
    XML_ATTR(DomainController, chassis_nr, "chassisNr", xml_opt, .max = 255),
    XML_ATTR(DomainController, chassis, "chassis", xml_opt, .max = 255),
    XML_ATTR(DomainController, port, "port", xml_opt, .width = 1, .max = 255),
    XML_ATTR(DomainController, bus_nr, "busNr", xml_opt, .max = 254),
    XML_ATTR(DomainController, target_index, "index", xml_opt, .max = 30),
    XML_ATTR_ENUM(DomainController, hotplug, "hotplug", on_off_names),
    XML_LEAF(DomainController, node, "node", xml_opt),
    XML_END,
};

const XmlField controller_fields[] = {
    XML_ATTR_ENUM(DomainController, type, "type", controller_type_names, .flags = XML_REQUIRED),
    XML_ATTR(DomainController, index, "index", xml_opt, .max = INT32_MAX),
    XML_ATTR_ENUM(DomainController, model, "model", controller_model_names,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_ATTR(DomainController, ports, "ports", xml_opt, .max = INT32_MAX),
    XML_ATTR(DomainController, vectors, "vectors", xml_opt, .max = INT32_MAX),
    XML_ATTR(DomainController, max_grant_frames, "maxGrantFrames", xml_opt),
    XML_NEST("model", FIELDS(XML_ATTR_STR(DomainController, model_name, "name"))),
    XML_NEST("target", pci_target_fields),
    XML_NEST("driver", driver_fields),
    XML_LEAF(DomainController, pcihole64, "pcihole64", xml_kib),
    XML_INLINE(DomainController, device, device_fields),
    XML_END,
};
