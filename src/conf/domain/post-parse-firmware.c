/* What <os> says of firmware: defaults, and rules that hold for what a person writes. A running
 * guest's definition, in which the choice has been made, need not keep to them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/post-parse.h"

#include <string.h>

/* NULL: it is not named. */
static DomainOsFeatureSetting *find_feature(const DomainOs *os, DomainOsFeature name)
{
    for (unsigned i = 0; i < os->firmware_features.count; i++) {
        DomainOsFeatureSetting *setting = os->firmware_features.item[i];
        if (setting->name == name) {
            return setting;
        }
    }
    return NULL;
}

static bool fill_features(DomainOs *os, GError **error)
{
    DomainOsFeatureSetting *keys = find_feature(os, OS_FEATURE_ENROLLED_KEYS);
    DomainOsFeatureSetting *secure = find_feature(os, OS_FEATURE_SECURE_BOOT);
    if (keys != NULL && keys->enabled == TRI_YES && secure == NULL) {
        secure = g_new0(DomainOsFeatureSetting, 1);
        secure->name = OS_FEATURE_SECURE_BOOT;
        secure->enabled = TRI_YES;
        xml_list_append(&os->firmware_features, secure);
    }
    if (keys != NULL && keys->enabled == TRI_YES && secure->enabled == TRI_NO) {
        conf_error_set(error, CONF_ERROR_XML_DETAIL,
                       "firmware feature 'enrolled-keys' cannot be enabled while 'secure-boot' is "
                       "disabled");
        return false;
    }
    if (keys != NULL && secure != NULL && os->firmware_features.count == 2) {
        os->firmware_features.item[0] = keys;
        os->firmware_features.item[1] = secure;
    }
    return true;
}

/* With a choice to make, <loader> and <nvram> may only narrow it. A whole <loader>, as later
 * versions of libvirt store it beside the choice, leaves none. */
static bool check_choice(DomainOs *os, GError **error)
{
    const struct {
        const char *what;
        bool is_given;
    } parts[] = {
        { "loader attribute 'readonly'", os->loader_readonly != TRI_ABSENT },
        { "loader attribute 'type'", os->loader_type != LOADER_TYPE_NONE },
        { "loader attribute 'secure'", os->loader_secure == TRI_NO },
        { "nvram attribute 'template'", os->nvram_template != NULL },
    };
    if (os->loader != NULL) {
        bool is_efi = os->firmware == OS_FIRMWARE_EFI;
        os->loader_type = os->loader_type ? os->loader_type : is_efi ? LOADER_PFLASH : LOADER_ROM;
        if (is_efi && os->loader_readonly == TRI_ABSENT) {
            os->loader_readonly = TRI_YES;
        }
        return true;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (parts[i].is_given) {
            conf_error_set(error, CONF_ERROR_XML_DETAIL,
                           "%s cannot be specified while <os firmware='%s'> lets the firmware be "
                           "chosen; leave out one of them",
                           parts[i].what, domain_name(os_firmware, os->firmware));
            return false;
        }
    }
    return true;
}

static bool check_named(const DomainOs *os, GError **error)
{
    bool has_parts = os->nvram != NULL || os->nvram_source != NULL || os->nvram_template != NULL ||
                     os->loader_readonly || os->loader_type || os->loader_secure ||
                     os->loader_stateless;
    if (os->firmware_features.count > 0) {
        conf_error_set(error, CONF_ERROR_XML_DETAIL,
                       "<firmware> names features, but <os> has no firmware='efi' to choose by");
        return false;
    }
    if (os->loader == NULL && has_parts) {
        conf_error_set(error, CONF_ERROR_XML_DETAIL,
                       "<loader> has no path, and <os> has no firmware='efi' to choose by");
        return false;
    }
    return true;
}

static bool check_secure(const DomainDef *def, GError **error)
{
    const DomainOs *os = &def->os;
    if (os->loader_secure != TRI_YES) {
        return true;
    }
    if (os->firmware == OS_FIRMWARE_NONE && def->features.smm != TRI_YES) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "<loader secure='yes'> needs <features><smm state='on'/></features>");
        return false;
    }
    if (os->firmware != OS_FIRMWARE_BIOS && !domain_def_is_q35(def)) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "<loader secure='yes'> is for machines of the kind q35 only, not '%s'",
                       os->machine != NULL ? os->machine : "");
        return false;
    }
    return true;
}

/* A source that no firmware can keep variables in is refused as libvirt does, and so is one that
 * names nothing. */
static bool check_nvram_source(const DomainSource *source, GError **error)
{
    if (source == NULL) {
        return true;
    }
    bool is_network = source->type == SOURCE_NETWORK;
    if (source->type != SOURCE_FILE && source->type != SOURCE_BLOCK && !is_network) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "<nvram type='%s'> is not supported; use type='file'",
                       domain_name(source_type, source->type));
        return false;
    }
    if (!is_network && source->path == NULL) {
        conf_error_set(error, CONF_ERROR_XML_DETAIL, "<nvram type='%s'> needs <source %s='PATH'/>",
                       domain_name(source_type, source->type),
                       source->type == SOURCE_FILE ? "file" : "dev");
        return false;
    }
    return true;
}

bool domain_def_fill_firmware(DomainDef *def, const DomainEnvironment *env, GError **error)
{
    DomainOs *os = &def->os;
    bool has_choice = os->firmware != OS_FIRMWARE_NONE;
    if (!check_secure(def, error) || !fill_features(os, error) ||
        !check_nvram_source(os->nvram_source, error) ||
        !(has_choice ? check_choice(os, error) : check_named(os, error))) {
        return false;
    }
    if (os->loader_stateless == TRI_YES &&
        (os->nvram != NULL || os->nvram_source != NULL || os->nvram_template != NULL)) {
        conf_error_set(error, CONF_ERROR_XML_DETAIL,
                       "<loader stateless='yes'> keeps nothing and takes no <nvram>");
        return false;
    }
    if (os->loader != NULL && os->loader_type == LOADER_TYPE_NONE) {
        os->loader_type = LOADER_ROM;
    }
    bool is_split = os->loader_type == LOADER_PFLASH && os->loader_readonly == TRI_YES &&
                    os->loader_stateless != TRI_YES;
    if (is_split && os->nvram == NULL && os->nvram_source == NULL && env != NULL &&
        env->nvram_dir != NULL) {
        os->nvram = domain_def_nvram_path(def, env->nvram_dir);
    }
    return true;
}

const char *domain_os_nvram_path(const DomainOs *os)
{
    const DomainSource *source = os->nvram_source;
    return source == NULL ? os->nvram : source->type == SOURCE_FILE ? source->path : NULL;
}

char *domain_def_nvram_path(const DomainDef *def, const char *nvram_dir)
{
    return g_strdup_printf("%s/%s_VARS.fd", nvram_dir, def->name);
}
