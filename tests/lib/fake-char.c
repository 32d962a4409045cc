/* A character back end of tests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/fake-char.h"

#include "base/log.h"

#define WRITTEN_MAX 65536

static bool fake_open(CharBackend *backend, GError **error)
{
    ((FakeChar *)backend)->written = g_string_new(NULL);
    return true;
}

static void fake_close(CharBackend *backend)
{
    g_string_free(((FakeChar *)backend)->written, TRUE);
}

static ssize_t fake_write(CharBackend *backend, const uint8_t *bytes, size_t length)
{
    FakeChar *chr = (FakeChar *)backend;
    length = MIN(length, chr->room);
    chr->room -= length;
    if (chr->written->len > WRITTEN_MAX) {
        g_string_truncate(chr->written, 0);
    }
    g_string_append_len(chr->written, (const char *)bytes, (gssize)length);
    return (ssize_t)length;
}

static void fake_want_write(CharBackend *backend)
{
}

static void fake_accept_input(CharBackend *backend)
{
    ((FakeChar *)backend)->accepts++;
    /* As a real one: asks, and stops reading on 0. */
    char_can_receive(backend);
}

static const CharClass fake_char_class = {
    .name = "fake",
    .summary = "for tests",
    .instance_size = sizeof(FakeChar),
    .open = fake_open,
    .close = fake_close,
    .write = fake_write,
    .want_write = fake_want_write,
    .accept_input = fake_accept_input,
};

FakeChar *fake_char_new(FakeHost *fake, const char *name)
{
    CharBackend *backend = char_new(&fake_char_class, name);
    ((FakeChar *)backend)->room = SIZE_MAX;
    bool ok = char_open(backend, fake->loop, NULL);
    lodge_assert(ok);
    char_event(backend, CHAR_EVENT_OPENED);
    fake_host_add_backend(fake, "chardev", name, backend);
    return (FakeChar *)backend;
}

void fake_char_free(FakeChar *chr)
{
    char_free(&chr->backend);
}

size_t fake_char_feed(FakeChar *chr, const void *bytes, size_t length)
{
    size_t room = char_can_receive(&chr->backend);
    size_t part = MIN(room, length);
    if (part) {
        char_receive(&chr->backend, bytes, part);
    }
    return part;
}
