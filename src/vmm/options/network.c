/* Options of networks.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/options/json.h"
#include "vmm/options/table.h"

#include <string.h>

/* Splits "TYPE,key=value" of @argument; @out_type is NULL when help was asked for. */
static bool parse_backend(MachineConfig *config, const char *argument, HelpTopic topic,
                          char **out_type, KeyvalList **out_options, GError **error)
{
    g_autoptr(KeyvalList) list = keyval_parse_either(argument, "type", error);
    if (!list) {
        return false;
    }
    *out_type = NULL;
    if (keyval_has_word(list, "help")) {
        config->help = topic;
        config->help_name = keyval_take(list, "type");
        return true;
    }
    char *type = keyval_take(list, "type");
    if (!type) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "the type comes first, as in 'user,...'");
        return false;
    }
    *out_type = type;
    *out_options = g_steal_pointer(&list);
    return true;
}

static bool apply_netdev(MachineConfig *config, const char *argument, GError **error)
{
    char *type;
    KeyvalList *options;
    config->has_net_option = true;
    if (!parse_backend(config, argument, HELP_NETDEVS, &type, &options, error)) {
        return false;
    }
    return !type || option_add_backend(config->netdevs, "netdev", type, options, true, error);
}

/* Moves @key from one list to another under another name. */
static void move_option(KeyvalList *from, const char *key, KeyvalList *to, const char *new_key)
{
    g_autofree char *value = keyval_take(from, key);
    if (value) {
        keyval_add(to, new_key, value);
    }
}

/* -nic TYPE,...: the back end, and the card in front of it. */
static bool apply_nic(MachineConfig *config, const char *argument, GError **error)
{
    char *type;
    KeyvalList *options;
    config->has_net_option = true;
    if (!parse_backend(config, argument, HELP_NETDEVS, &type, &options, error)) {
        return false;
    }
    if (!type) {
        return true;
    }
    if (!strcmp(type, "none")) {
        g_free(type);
        keyval_list_free(options);
        return true;
    }
    g_autofree char *model = keyval_take(options, "model");
    DeviceConfig *nic = device_config_new(model ? model : "default-nic", NULL);
    g_ptr_array_add(config->devices, nic);
    move_option(options, "mac", nic->properties, "mac");
    if (!keyval_get(options, "id")) {
        g_autofree char *id = g_strdup_printf("net%u", config->netdevs->len);
        keyval_add(options, "id", id);
    }
    if (!option_add_backend(config->netdevs, "netdev", type, options, true, error)) {
        return false;
    }
    const BackendConfig *netdev = g_ptr_array_index(config->netdevs, config->netdevs->len - 1);
    keyval_add(nic->properties, "netdev", netdev->id);
    return true;
}

static bool apply_net(MachineConfig *config, const char *argument, GError **error)
{
    config->has_net_option = true;
    if (!strcmp(argument, "none")) {
        return true;
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                "only 'none' is supported; use -nic, or -netdev with -device");
    return false;
}

static const OptionRow rows[] = {
    { .name = "netdev",
      .argument = "TYPE,id=NAME[,OPTION=VALUE...]",
      .apply = apply_netdev,
      .help = "network for a -device ...,netdev=NAME; '-netdev help' lists types" },
    { .name = "nic",
      .argument = "TYPE|none[,model=DEVICE][,mac=ADDRESS][,OPTION=VALUE...]",
      .apply = apply_nic,
      .help = "network and card in one; none: no card by default" },
    { .name = "net", .argument = "none", .apply = apply_net, .help = "no card by default" },
    { .name = NULL },
};

const OptionGroup network_option_group = { "Network", rows };
