/* <hostdev> and <redirfilter>.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/tables.h"

static const XmlField usb_source[] = {
    XML_ATTR_ENUM(DomainHostdev, startup_policy, "startupPolicy", startup_policy_names),
    XML_ATTR_STR(DomainHostdev, guest_reset, "guestReset"),
    XML_ATTR_ENUM(DomainHostdev, missing, "missing", yes_no_names, .flags = XML_LIVE),
    XML_NEST("vendor", FIELDS(XML_ATTR(DomainHostdev, usb_vendor, "id", xml_u32, .width = 4,
                                       .max = 0xffff, .flags = XML_REQUIRED))),
    XML_NEST("product", FIELDS(XML_ATTR(DomainHostdev, usb_product, "id", xml_u32, .width = 4,
                                        .max = 0xffff, .flags = XML_REQUIRED))),
    XML_NEST("address", FIELDS(XML_ATTR(DomainHostdev, usb_bus, "bus", xml_u32),
                               XML_ATTR(DomainHostdev, usb_device, "device", xml_u32))),
    XML_END,
};

static const XmlField pci_source[] = {
    XML_ATTR_ENUM(DomainHostdev, write_filtering, "writeFiltering", yes_no_names),
    XML_NEST_AT(DomainHostdev, pci, "address", pci_address_fields, .flags = XML_REQUIRED),
    XML_END,
};

static const XmlField mdev_source[] = {
    XML_NEST("address",
             FIELDS(XML_ATTR(DomainHostdev, mdev, "uuid", xml_uuid, .flags = XML_REQUIRED)),
             .flags = XML_REQUIRED),
    XML_END,
};

static const XmlField scsi_source[] = {
    XML_ATTR_STR(DomainHostdev, scsi_protocol, "protocol"),
    XML_ATTR_STR(DomainHostdev, iscsi_name, "name"),
    XML_LIST(DomainHostdev, iscsi_hosts, "host", DomainSourceHost, source_host_fields),
    XML_NEST("auth", FIELDS(XML_ATTR_STR(DomainHostdev, auth_username, "username"),
                            XML_NEST_AT(DomainHostdev, auth_secret, "secret", secret_ref_fields))),
    XML_NEST("initiator",
             FIELDS(XML_NEST("iqn", FIELDS(XML_ATTR_STR(DomainHostdev, initiator_iqn, "name"))))),
    XML_NEST("adapter", FIELDS(XML_ATTR_STR(DomainHostdev, scsi_adapter, "name"))),
    XML_NEST("address", FIELDS(XML_ATTR(DomainHostdev, scsi_bus, "bus", xml_opt),
                               XML_ATTR(DomainHostdev, scsi_target, "target", xml_opt),
                               XML_ATTR(DomainHostdev, scsi_unit, "unit", xml_opt))),
    XML_END,
};

static const XmlField scsi_host_source[] = {
    XML_ATTR_STR(DomainHostdev, scsi_protocol, "protocol"),
    XML_ATTR_STR(DomainHostdev, scsi_wwpn, "wwpn"),
    XML_END,
};

static const XmlField *const source_variants[] = {
    [HOSTDEV_USB] = FIELDS(XML_NEST("source", usb_source)),
    [HOSTDEV_PCI] = FIELDS(XML_NEST("source", pci_source)),
    [HOSTDEV_MDEV] = FIELDS(XML_NEST("source", mdev_source)),
    [HOSTDEV_SCSI] = FIELDS(XML_NEST("source", scsi_source)),
    [HOSTDEV_SCSI_HOST] = FIELDS(XML_NEST("source", scsi_host_source)),
    [HOSTDEV_STORAGE] =
        FIELDS(XML_NEST("source", FIELDS(XML_LEAF(DomainHostdev, caps_block, "block", xml_path)))),
    [HOSTDEV_MISC] =
        FIELDS(XML_NEST("source", FIELDS(XML_LEAF(DomainHostdev, caps_char, "char", xml_path)))),
    [HOSTDEV_NET] = FIELDS(
        XML_NEST("source", FIELDS(XML_LEAF(DomainHostdev, caps_net, "interface", xml_nonempty)))),
};

const XmlField hostdev_fields[] = {
    XML_ATTR_ENUM(DomainHostdev, mode, "mode", hostdev_mode_names,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_ATTR_ENUM(DomainHostdev, type, "type", hostdev_type_names, .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainHostdev, managed, "managed", yes_no_names),
    XML_ATTR_STR(DomainHostdev, sgio, "sgio"),
    XML_ATTR_ENUM(DomainHostdev, rawio, "rawio", yes_no_names),
    XML_ATTR_ENUM(DomainHostdev, mdev_model, "model", mdev_model_names),
    XML_ATTR_ENUM(DomainHostdev, display, "display", on_off_names),
    XML_ATTR_ENUM(DomainHostdev, ramfb, "ramfb", on_off_names),
    XML_NEST("driver", FIELDS(XML_ATTR_ENUM(DomainHostdev, driver, "name", pci_driver_names))),
    XML_VARIANT(DomainHostdev, type, source_variants),
    XML_NEST("teaming", FIELDS(XML_ATTR_ENUM(DomainHostdev, teaming, "type", teaming_names),
                               XML_ATTR_STR(DomainHostdev, teaming_persistent, "persistent"))),
    XML_FLAG(DomainHostdev, is_readonly, "readonly"),
    XML_FLAG(DomainHostdev, is_shareable, "shareable"),
    XML_INLINE(DomainHostdev, device, device_fields),
    XML_END,
};

const XmlField redirfilter_fields[] = {
    XML_LIST(DomainRedirfilter, rules, "usbdev", DomainRedirfilterRule,
             FIELDS(XML_ATTR_STR(DomainRedirfilterRule, usb_class, "class"),
                    XML_ATTR_STR(DomainRedirfilterRule, vendor, "vendor"),
                    XML_ATTR_STR(DomainRedirfilterRule, product, "product"),
                    XML_ATTR_STR(DomainRedirfilterRule, version, "version"),
                    XML_ATTR_ENUM(DomainRedirfilterRule, allow, "allow", yes_no_names,
                                  .flags = XML_REQUIRED))),
    XML_INLINE(DomainRedirfilter, device, device_fields),
    XML_END,
};
