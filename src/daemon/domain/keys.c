/* Procedures on a guest's keyboard.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/handlers.h"
#include "daemon/domain/key-codes.h"

#define KEYS_MAX 16u

/* The argument of the monitor's command (transfer full), or NULL with @error. */
static JsonArray *translate(uint32_t codeset, const uint32_t *codes, uint32_t n, GError **error)
{
    if (codeset >= CODESETS || n == 0 || n > KEYS_MAX) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: %u keys of codeset %u; there are codesets 0 to %u, and "
                         "1 to %u keys at once",
                         n, codeset, CODESETS - 1, KEYS_MAX);
        return NULL;
    }
    g_autoptr(JsonArray) keys = json_array_new();
    for (uint32_t i = 0; i < n; i++) {
        uint32_t number = key_to_qnum((KeyCodeset)codeset, codes[i]);
        if (!number) {
            daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                             "internal error: cannot translate keycode %u of codeset %u: a PC has "
                             "no such key",
                             codes[i], codeset);
            return NULL;
        }
        json_array_add_object_element(
            keys, qmp_object("s:type", "number", "i:data", (gint64)number, NULL));
    }
    return g_steal_pointer(&keys);
}

bool handle_domain_send_key(DaemonCall *call, const RemoteDomainSendKeyArgs *args, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    JsonArray *keys = domain && daemon_check_flags(args->flags, 0, error)
                          ? translate(args->codeset, args->keycodes, args->n_keycodes, error)
                          : NULL;
    if (!keys) {
        return false;
    }
    JsonObject *arguments = qmp_object("a:keys", keys, NULL);
    if (args->holdtime) {
        json_object_set_int_member(arguments, "hold-time", args->holdtime);
    }
    g_autoptr(QmpClient) monitor = domain_begin_monitor_job(domain, "send-key", error);
    if (!monitor) {
        json_object_unref(arguments);
        return false;
    }
    bool ok = qmp_client_run(monitor, "send-key", arguments, error);
    domain_end_job(domain);
    return ok;
}

static const DispatchEntry entries[] = {
    HANDLER(domain_send_key),
};

const DaemonModule domain_keys_module = {
    .name = "domain-keys",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
