/* <vcpus>: which vCPUs there are from the start, which are plugged, and in which order.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/vcpus.h"

#include "conf/error.h"

static DomainVcpu *append_vcpu(DomainDef *def, bool is_on)
{
    DomainVcpu *vcpu = g_new0(DomainVcpu, 1);
    vcpu->id = def->vcpu_list.count;
    vcpu->enabled = is_on ? TRI_YES : TRI_NO;
    vcpu->hotpluggable = is_on ? TRI_NO : TRI_YES;
    xml_list_append(&def->vcpu_list, vcpu);
    return vcpu;
}

void domain_def_spread_vcpus(DomainDef *def)
{
    bool is_counted = def->vcpu_list.count == 0;
    while (def->vcpu_list.count < def->vcpus) {
        append_vcpu(def, is_counted && def->vcpu_list.count < def->current_vcpus);
    }
}

unsigned domain_def_boot_vcpus(const DomainDef *def)
{
    unsigned count = 0;
    while (count < def->vcpu_list.count) {
        const DomainVcpu *vcpu = def->vcpu_list.item[count];
        if (vcpu->enabled != TRI_YES || vcpu->hotpluggable == TRI_YES) {
            break;
        }
        count++;
    }
    return def->vcpu_list.count ? count : def->current_vcpus;
}

/* Puts them into the order of their numbers. */
static bool sort_vcpus(DomainDef *def, GError **error)
{
    g_autofree DomainVcpu **by_id = g_new0(DomainVcpu *, def->vcpus);
    bool ok = true;
    for (unsigned i = 0; ok && i < def->vcpu_list.count; i++) {
        DomainVcpu *vcpu = def->vcpu_list.item[i];
        if (vcpu->id >= def->vcpus) {
            conf_error_set(error, CONF_ERROR_XML,
                           "<vcpus>: id %u is out of range: <vcpu> says %u at most", vcpu->id,
                           def->vcpus);
            ok = false;
        } else if (by_id[vcpu->id]) {
            conf_error_set(error, CONF_ERROR_XML, "<vcpus>: id %u is there twice", vcpu->id);
            ok = false;
        } else {
            by_id[vcpu->id] = vcpu;
        }
    }
    if (!ok) {
        return false;
    }
    for (unsigned i = 0; i < def->vcpus; i++) {
        DomainVcpu *vcpu = by_id[i];
        if (vcpu && vcpu->hotpluggable == TRI_ABSENT) {
            vcpu->hotpluggable = vcpu->enabled == TRI_YES ? TRI_NO : TRI_YES;
        }
    }
    while (def->vcpu_list.count) {
        xml_list_steal(&def->vcpu_list, def->vcpu_list.count - 1);
    }
    for (unsigned i = 0; i < def->vcpus; i++) {
        if (by_id[i]) {
            xml_list_append(&def->vcpu_list, by_id[i]);
        } else {
            append_vcpu(def, false);
        }
    }
    return true;
}

bool domain_def_fill_vcpus(DomainDef *def, GError **error)
{
    if (def->vcpu_list.count == 0) {
        return true;
    }
    if (!sort_vcpus(def, error)) {
        return false;
    }
    unsigned on = 0;
    for (unsigned i = 0; i < def->vcpu_list.count; i++) {
        on += ((const DomainVcpu *)def->vcpu_list.item[i])->enabled == TRI_YES;
    }
    def->current_vcpus = on;
    return true;
}

bool domain_def_check_vcpus(const DomainDef *def, GError **error)
{
    if (def->vcpu_list.count == 0) {
        return true;
    }
    const DomainVcpu *first = def->vcpu_list.item[0];
    const char *wrong = NULL;
    unsigned ordered = 0, on = 0;
    for (unsigned i = 0; i < def->vcpu_list.count; i++) {
        const DomainVcpu *vcpu = def->vcpu_list.item[i];
        on += vcpu->enabled == TRI_YES;
        ordered += vcpu->enabled == TRI_YES && vcpu->order;
        if (vcpu->enabled != TRI_YES && vcpu->hotpluggable == TRI_NO) {
            wrong = "a vCPU that is not there from the start must be hotpluggable";
        }
    }
    if (first->enabled != TRI_YES) {
        wrong = "vCPU 0 must be enabled";
    } else if (first->hotpluggable == TRI_YES) {
        wrong = "vCPU 0 cannot be hotpluggable";
    } else if (first->order > 1) {
        wrong = "vCPU 0 must be the first by its order";
    } else if (ordered && ordered != on) {
        wrong = "each vCPU that is enabled must have an order, or none";
    }
    if (wrong) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "<vcpus>: %s", wrong);
    }
    return wrong == NULL;
}
