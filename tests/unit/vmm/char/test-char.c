/* Character back ends over real descriptors: order, back pressure, peers that leave, the
 * multiplexer's keys. SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "vmm/char/mux.h"
#include "vmm/char/simple.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct Front {
    char got[256];
    size_t length, room;
    unsigned opened, closed, focus, breaks, drained, quits;
} Front;

static size_t front_room(void *opaque)
{
    return ((Front *)opaque)->room;
}

static void front_receive(void *opaque, const uint8_t *bytes, size_t length)
{
    Front *front = opaque;
    assert_true(length <= front->room);
    memcpy(front->got + front->length, bytes, length);
    front->length += length;
    front->room -= length;
}

static void front_event(void *opaque, CharEvent event)
{
    Front *front = opaque;
    *(event == CHAR_EVENT_OPENED    ? &front->opened
      : event == CHAR_EVENT_CLOSED  ? &front->closed
      : event == CHAR_EVENT_BREAK   ? &front->breaks
      : event == CHAR_EVENT_DRAINED ? &front->drained
                                    : &front->focus) += 1;
}

static CharFrontend front_of(Front *front)
{
    return (CharFrontend){ front_room, front_receive, front_event, front };
}

/* A socket back end on one end of a pair; *out_peer is the other. */
static CharBackend *open_pair(EventLoop *loop, int *out_peer)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CharBackend *backend = char_new(char_class_find("socket", NULL), "c0");
    char number[16];
    snprintf(number, sizeof(number), "%d", pair[0]);
    assert_true(char_set_property(backend, "fd", number, NULL));
    assert_true(char_open(backend, loop, NULL));
    *out_peer = pair[1];
    return backend;
}

static void turn(EventLoop *loop)
{
    for (int i = 0; i < 4; i++) {
        loop_run_once(loop, 0);
    }
}

static void input_waits_until_the_front_end_takes_it(void **state)
{
    EventLoop *loop = loop_new();
    int peer;
    CharBackend *backend = open_pair(loop, &peer);
    Front front = { .room = 3 };
    CharFrontend table = front_of(&front);
    assert_true(char_attach(backend, &table, NULL));
    assert_false(char_attach(backend, &table, NULL));
    assert_int_equal(front.opened, 1);
    assert_int_equal(write(peer, "abcdef", 6), 6);
    turn(loop);
    assert_memory_equal(front.got, "abc", 3);
    assert_int_equal(front.length, 3);
    front.room = 10;
    char_accept_input(backend);
    turn(loop);
    assert_memory_equal(front.got, "abcdef", 6);
    close(peer);
    turn(loop);
    assert_int_equal(front.closed, 1);
    char_write(backend, "x", 1);
    turn(loop);
    char_free(backend);
    loop_free(loop);
}

static void output_that_the_peer_leaves_is_kept_in_order_and_bounded(void **state)
{
    EventLoop *loop = loop_new();
    int peer;
    CharBackend *backend = open_pair(loop, &peer);
    uint8_t block[4096];
    size_t sent = 4 << 20;
    for (size_t i = 0; i < sent; i += sizeof(block)) {
        for (size_t j = 0; j < sizeof(block); j++) {
            block[j] = (uint8_t)((i + j) % 251);
        }
        char_write(backend, block, sizeof(block));
    }
    assert_true(backend->pending->len <= CHAR_PENDING_MAX);
    assert_int_equal(fcntl(peer, F_SETFL, O_NONBLOCK), 0);
    size_t got = 0;
    for (int idle = 0; idle < 10;) {
        ssize_t n = read(peer, block, sizeof(block));
        idle = n > 0 ? 0 : idle + 1;
        for (ssize_t j = 0; j < n; j++) {
            assert_int_equal(block[j], (got + (size_t)j) % 251);
        }
        got += n > 0 ? (size_t)n : 0;
        loop_run_once(loop, 0);
    }
    assert_true(got > CHAR_PENDING_MAX);
    assert_int_equal(got + backend->dropped, sent);
    close(peer);
    char_free(backend);
    loop_free(loop);
}

static void count_quit(void *opaque)
{
    ((Front *)opaque)->quits++;
}

static void keys_of_the_multiplexer_choose_and_act(void **state)
{
    EventLoop *loop = loop_new();
    int peer;
    Front a = { .room = 100 }, b = { .room = 100 };
    CharMuxTarget target = { .quit = count_quit, .opaque = &a };
    CharMux *mux = char_mux_new(open_pair(loop, &peer), &target);
    CharFrontend fronts[] = { front_of(&a), front_of(&b) };
    for (unsigned i = 0; i < 2; i++) {
        assert_true(char_attach(char_mux_port(mux, NULL), &fronts[i], NULL));
    }
    assert_int_equal(write(peer, "1\001c2\001\001\001b3\001x", 11), 11);
    turn(loop);
    assert_memory_equal(a.got, "1", 1);
    assert_int_equal(a.length, 1);
    assert_memory_equal(b.got, "2\0013", 3);
    assert_int_equal(b.length, 3);
    assert_int_equal(b.breaks, 1);
    assert_int_equal(b.focus, 1);
    assert_int_equal(a.quits, 1);
    close(peer);
    char_mux_free(mux);
    loop_free(loop);
}

static void keys_get_through_while_the_guest_takes_no_input(void **state)
{
    EventLoop *loop = loop_new();
    int peer;
    Front a = { .room = 0 };
    CharMuxTarget target = { .quit = count_quit, .opaque = &a };
    CharMux *mux = char_mux_new(open_pair(loop, &peer), &target);
    CharFrontend front = front_of(&a);
    CharBackend *port = char_mux_port(mux, NULL);
    assert_true(char_attach(port, &front, NULL));
    assert_int_equal(write(peer, "abc\001x", 5), 5);
    turn(loop);
    assert_int_equal(a.quits, 1);
    a.room = 10;
    char_accept_input(port);
    turn(loop);
    assert_memory_equal(a.got, "abc", 3);
    close(peer);
    char_mux_free(mux);
    loop_free(loop);
}

static void a_ring_keeps_the_last_bytes(void **state)
{
    EventLoop *loop = loop_new();
    CharBackend *ring = char_new(&char_ringbuf_class, "r");
    assert_true(char_set_property(ring, "size", "4", NULL));
    assert_true(char_open(ring, loop, NULL));
    char_write(ring, "abcdef", 6);
    g_autoptr(GByteArray) bytes = char_ringbuf_read(ring, 100);
    assert_int_equal(bytes->len, 4);
    assert_memory_equal(bytes->data, "cdef", 4);
    char_free(ring);
    loop_free(loop);
}

static void a_bad_type_or_property_is_named(void **state)
{
    g_autoptr(GError) error = NULL, second = NULL, third = NULL;
    EventLoop *loop = loop_new();
    assert_null(char_class_find("tape", &error));
    assert_non_null(strstr(error->message, "'tape'"));
    assert_non_null(strstr(error->message, "socket"));
    CharBackend *backend = char_new(char_class_find("file", NULL), "f");
    assert_false(char_set_property(backend, "pth", "x", &second));
    assert_non_null(strstr(second->message, "'pth'"));
    assert_true(char_set_property(backend, "path", "/nonexistent/x", NULL));
    assert_false(char_open(backend, loop, &third));
    assert_non_null(strstr(third->message, "/nonexistent/x"));
    char_free(backend);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_waits_until_the_front_end_takes_it),
        cmocka_unit_test(output_that_the_peer_leaves_is_kept_in_order_and_bounded),
        cmocka_unit_test(keys_of_the_multiplexer_choose_and_act),
        cmocka_unit_test(keys_get_through_while_the_guest_takes_no_input),
        cmocka_unit_test(a_ring_keeps_the_last_bytes),
        cmocka_unit_test(a_bad_type_or_property_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
