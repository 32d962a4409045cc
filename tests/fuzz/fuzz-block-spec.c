/* Names and options of images as users and headers of images give them.
 *
 * The first byte chooses: 0: a name ("json:...", "nbd://...", a path), 1: "key=value,..." of -drive
 * and -o. Nothing is opened: keys that would open files or sockets are only looked at.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/block.h"
#include "block/nbd/address.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const char *key, const char *value, void *opaque)
{
    BlockSpec *copy = opaque;
    bool flag;
    uint64_t bytes;
    (void)!block_spec_get_bool(copy, key, &flag, NULL);
    (void)!block_spec_get_size(copy, key, &bytes, NULL);
    lodge_assert(strcmp(block_spec_get(copy, key), value) == 0);
}

/* Addresses of NBD servers: what was understood can be said again. */
static void look_at_address(const BlockSpec *spec)
{
    NbdAddress address = { 0 }, again = { 0 };
    if (!nbd_address_from_spec(spec, &address, NULL)) {
        return;
    }
    g_autofree char *name = nbd_address_name(&address);
    if (nbd_address_parse(name, &again, NULL)) {
        nbd_address_clear(&again);
    }
    nbd_address_clear(&address);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
    g_autoptr(GError) error = NULL;
    g_autoptr(BlockSpec) spec =
        data[0] & 1 ? block_spec_from_text(text, &error) : block_spec_from_name(text, NULL, &error);
    lodge_assert(!spec == !!error);
    if (!spec) {
        return 0;
    }
    g_autoptr(BlockSpec) copy = block_spec_copy(spec), file = block_spec_sub(spec, "file");
    block_spec_foreach(spec, look, copy);
    lodge_assert(block_spec_has_sub(spec, "file") || !block_spec_get(file, "driver"));
    look_at_address(file);
    look_at_address(spec);
    const char *path = block_spec_get(file, "filename");
    if (path) {
        g_free(block_backing_path(path, text));
        g_free(block_backing_path(text, path));
    }
    return 0;
}
