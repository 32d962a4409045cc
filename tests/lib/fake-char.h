/* A character back end of tests: keeps what is written, hands over what the test feeds.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_LIB_FAKE_CHAR_H
#define LODGE_TESTS_LIB_FAKE_CHAR_H

#include "lib/fake-host.h"
#include "vmm/char/char.h"

typedef struct FakeChar {
    CharBackend backend;
    GString *written;
    unsigned accepts; /* calls of accept_input */
    size_t room; /* bytes that the peer takes until the test sets it anew; char_flush() goes on */
} FakeChar;

/* A connected back end, found on @fake as ("chardev", @name). Free with fake_char_free() after the
 * device. */
FakeChar *fake_char_new(FakeHost *fake, const char *name);
void fake_char_free(FakeChar *chr);

/* Hands over as much of @text as the front end takes; returns how many bytes. */
size_t fake_char_feed(FakeChar *chr, const void *bytes, size_t length);

#endif
