/* The options that nodes have, by their driver: whatever else a specification says is refused.
 *
 * Options of QEMU's that only tune its own caches or I/O are taken and have no effect here.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/drivers.h"

#include "gbase/error.h"
#include "gbase/strutil.h"

#include <string.h>

/* Separated by blanks; one that ends with a dot stands for all that begin so. */
typedef struct DriverKeys {
    const char *driver;
    const char *keys;
} DriverKeys;

static const char common_keys[] = "driver node-name read-only auto-read-only cache.direct "
                                  "cache.no-flush discard detect-zeroes force-share";
static const char format_keys[] = "file file. filename"; /* of what lies above another node */
static const char backing_keys[] = "backing backing.";

static const char file_keys[] =
    "filename locking aio aio-max-batch drop-cache x-check-cache-dropped";

static const DriverKeys driver_keys[] = {
    { "copy-on-read", "bottom" },
    { "fault", "ops every errno times" },
    { "file", file_keys },
    { "host_device", file_keys },
    { "luks", "key-secret" },
    { "nbd", "server.type server.path server.host server.port path host port uri export tls-creds "
             "tls-hostname x-dirty-bitmap reconnect-delay open-timeout" },
    { "null-aio", "size read-zeroes latency-ns" },
    { "null-co", "size read-zeroes latency-ns" },
    { "qcow", "encrypt.format encrypt.key-secret" },
    { "qcow2", "data-file data-file. encrypt.format encrypt.key-secret lazy-refcounts "
               "pass-discard-request pass-discard-snapshot pass-discard-other overlap-check "
               "overlap-check. cache-size l2-cache-size l2-cache-entry-size refcount-cache-size "
               "cache-clean-interval" },
    { "raw", "offset size" },
    { "throttle", "throttle-group" },
    { "vmdk", "extents-anywhere" },
};

static bool has_key(const char *keys, const char *key)
{
    for (const char *at = keys; *at;) {
        size_t length = strcspn(at, " ");
        bool is_prefix = at[length - 1] == '.';
        if (strncmp(at, key, length) == 0 && (is_prefix || key[length] == '\0')) {
            return true;
        }
        at += length + strspn(at + length, " ");
    }
    return false;
}

static const char *own_keys(const BlockDriver *driver)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(driver_keys); i++) {
        if (strcmp(driver_keys[i].driver, driver->name) == 0) {
            return driver_keys[i].keys;
        }
    }
    return "";
}

typedef struct KeyCheck {
    const char *lists[4]; /* of the driver; NULL: none */
    const char *unknown;  /* the first; borrowed from the specification */
} KeyCheck;

static void check_key(const char *key, const char *value, void *opaque)
{
    KeyCheck *check = opaque;
    for (unsigned i = 0; i < G_N_ELEMENTS(check->lists); i++) {
        if (check->lists[i] && has_key(check->lists[i], key)) {
            return;
        }
    }
    check->unknown = check->unknown ? check->unknown : key;
}

/* "; did you mean 'x'?" or nothing. (transfer full) */
static char *suggest(const KeyCheck *check)
{
    g_autoptr(GString) all = g_string_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(check->lists); i++) {
        g_string_append_printf(all, " %s", check->lists[i] ? check->lists[i] : "");
    }
    g_auto(GStrv) words = g_strsplit_set(g_strstrip(all->str), " ", -1);
    return str_suggestion(check->unknown, (const char *const *)words);
}

bool block_spec_check_keys(const BlockSpec *spec, const BlockDriver *driver, GError **error)
{
    KeyCheck check = { .lists = { common_keys, own_keys(driver),
                                  driver->is_protocol ? NULL : format_keys,
                                  driver->has_backing ? backing_keys : NULL } };
    block_spec_foreach(spec, check_key, &check);
    if (!check.unknown) {
        return true;
    }
    const char *name = block_spec_get(spec, "node-name"), *file = block_spec_get(spec, "filename");
    g_autofree char *where = name   ? g_strdup_printf(" of the node '%s'", name)
                             : file ? g_strdup_printf(" of '%s'", file)
                                    : g_strdup("");
    g_autofree char *hint = suggest(&check);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                "Parameter '%s' is unexpected: the driver '%s'%s does not have it%s", check.unknown,
                driver->name, where, hint);
    return false;
}
