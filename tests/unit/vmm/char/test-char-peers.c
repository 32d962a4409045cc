/* Character back ends whose peers come and go: sockets of both kinds, terminals, files.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "lib/check.h"
#include "vmm/char/char.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct Rig {
    EventLoop *loop;
    char dir[32], path[64];
    char got[256];
    unsigned length, opened, closed, breaks;
} Rig;

static void on_receive(void *opaque, const uint8_t *bytes, size_t length)
{
    Rig *rig = opaque;
    assert_true(rig->length + length <= sizeof(rig->got));
    memcpy(rig->got + rig->length, bytes, length);
    rig->length += (unsigned)length;
}

static void on_event(void *opaque, CharEvent event)
{
    Rig *rig = opaque;
    rig->opened += event == CHAR_EVENT_OPENED;
    rig->closed += event == CHAR_EVENT_CLOSED;
    rig->breaks += event == CHAR_EVENT_BREAK;
}

static int set_up(void **state)
{
    Rig *rig = g_new0(Rig, 1);
    signal(SIGPIPE, SIG_IGN); /* as main.c does */
    strcpy(rig->dir, "/tmp/lodge-char-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    snprintf(rig->path, sizeof(rig->path), "%s/socket", rig->dir);
    rig->loop = loop_new();
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    Rig *rig = *state;
    loop_free(rig->loop);
    unlink(rig->path);
    rmdir(rig->dir);
    g_free(rig);
    return 0;
}

static CharBackend *open_with(Rig *rig, const char *class, const char *const *properties)
{
    CharBackend *backend = char_new(char_class_find(class, NULL), "c");
    for (; *properties; properties += 2) {
        assert_true(char_set_property(backend, properties[0], properties[1], NULL));
    }
    assert_true(char_open(backend, rig->loop, NULL));
    CharFrontend front = { .receive = on_receive, .event = on_event, .opaque = rig };
    assert_true(char_attach(backend, &front, NULL));
    return backend;
}

static CharBackend *open_server(Rig *rig)
{
    const char *const properties[] = { "path", rig->path, "server", "on", "wait", "off", NULL };
    return open_with(rig, "socket", properties);
}

static int connect_to(const Rig *rig)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strcpy(address.sun_path, rig->path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void turn(Rig *rig)
{
    for (int i = 0; i < 4; i++) {
        loop_run_once(rig->loop, 0);
    }
}

/* The kernel moves a terminal's bytes when it finds the time. */
static void wait_for(Rig *rig, const unsigned *count, unsigned wanted)
{
    for (unsigned i = 0; i < 100 && *count < wanted; i++) {
        loop_run_once(rig->loop, 100);
    }
    assert_int_equal(*count, wanted);
}

static void a_server_serves_one_peer_after_the_other(void **state)
{
    Rig *rig = *state;
    char bytes[8] = { 0 };
    CharBackend *backend = open_server(rig);
    char_write(backend, "lost", 4);
    for (unsigned i = 1; i <= 3; i++) {
        int peer = connect_to(rig);
        turn(rig);
        assert_int_equal(rig->opened, i);
        char_write(backend, "hello", 5);
        assert_int_equal(read(peer, bytes, sizeof(bytes)), 5);
        assert_int_equal(write(peer, "x", 1), 1);
        turn(rig);
        assert_int_equal(rig->length, i);
        close(peer);
        turn(rig);
        assert_int_equal(rig->closed, i);
    }
    char_free(backend);
    assert_int_not_equal(access(rig->path, F_OK), 0);
}

static void a_second_peer_waits_for_the_first_to_leave(void **state)
{
    Rig *rig = *state;
    CharBackend *backend = open_server(rig);
    int first = connect_to(rig);
    int second = connect_to(rig);
    assert_int_equal(write(second, "2", 1), 1);
    turn(rig);
    assert_int_equal(rig->opened, 1);
    assert_int_equal(rig->length, 0);
    close(first);
    turn(rig);
    turn(rig);
    assert_int_equal(rig->opened, 2);
    assert_memory_equal(rig->got, "2", 1);
    close(second);
    char_free(backend);
}

static void a_peer_that_breaks_off_while_it_is_written_to_harms_nobody(void **state)
{
    Rig *rig = *state;
    char block[4096] = { 0 };
    CharBackend *backend = open_server(rig);
    int peer = connect_to(rig);
    turn(rig);
    for (unsigned i = 0; i < 200; i++) {
        char_write(backend, block, sizeof(block));
    }
    assert_int_equal(char_write_room(backend), 0);
    close(peer);
    char_write(backend, block, sizeof(block));
    turn(rig);
    assert_int_equal(rig->closed, 1);
    assert_int_equal(char_write_room(backend), CHAR_PENDING_MAX);
    char_free(backend);
}

static void a_path_that_is_served_is_refused_and_a_stale_one_taken(void **state)
{
    Rig *rig = *state;
    g_autoptr(GError) error = NULL;
    CharBackend *first = open_server(rig);
    CharBackend *second = char_new(char_class_find("socket", NULL), "d");
    assert_true(char_set_property(second, "path", rig->path, NULL));
    assert_true(char_set_property(second, "server", "on", NULL));
    assert_false(char_open(second, rig->loop, &error));
    assert_non_null(strstr(error->message, rig->path));
    char_free(second);
    char_free(first);
    /* Left over by somebody who was killed. */
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strcpy(address.sun_path, rig->path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    char_free(open_server(rig));
}

static void a_client_without_its_server_is_refused_unless_it_may_wait(void **state)
{
    Rig *rig = *state;
    g_autoptr(GError) error = NULL;
    CharBackend *backend = char_new(char_class_find("socket", NULL), "d");
    assert_true(char_set_property(backend, "path", rig->path, NULL));
    assert_false(char_open(backend, rig->loop, &error));
    assert_true(g_str_has_prefix(error->message, "chardev 'd': cannot connect to"));
    char_free(backend);
    const char *const patient[] = { "path", rig->path, "reconnect", "1", NULL };
    backend = open_with(rig, "socket", patient);
    assert_int_equal(rig->opened, 0);
    char_free(backend);
}

/* A server waits for its peer unless told otherwise; the peer came before it looked. */
static void a_server_waits_for_its_peer_before_it_is_open(void **state)
{
    Rig *rig = *state;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strcpy(address.sun_path, rig->path);
    int listening = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listening, 1), 0);
    int peer = connect_to(rig);
    char number[16];
    snprintf(number, sizeof(number), "%d", listening);
    const char *const properties[] = { "fd", number, "server", "on", NULL };
    CharBackend *backend = open_with(rig, "socket", properties);
    assert_int_equal(rig->opened, 1);
    char_free(backend);
    close(peer);
}

static void a_signal_ends_the_wait_for_a_peer(void **state)
{
    Rig *rig = *state;
    g_autoptr(GError) error = NULL;
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before);
    raise(SIGTERM);
    CharBackend *backend = char_new(char_class_find("socket", NULL), "d");
    assert_true(char_set_property(backend, "path", rig->path, NULL));
    assert_true(char_set_property(backend, "server", "on", NULL));
    assert_false(char_open(backend, rig->loop, &error));
    assert_int_equal(error->code, LODGE_ERROR_CANCELLED);
    assert_int_equal(access(rig->path, F_OK), -1);
    char_free(backend);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void telnet_commands_are_no_input(void **state)
{
    Rig *rig = *state;
    const char *const properties[] = { "path", rig->path, "server", "on", "wait",
                                       "off",  "telnet",  "on",     NULL };
    CharBackend *backend = open_with(rig, "socket", properties);
    int peer = connect_to(rig);
    turn(rig);
    uint8_t greeting[32];
    assert_int_equal(read(peer, greeting, sizeof(greeting)), 12);
    assert_int_equal(greeting[0], 255);
    assert_int_equal(write(peer, "a\377\375\001b\377", 6), 6);
    turn(rig);
    assert_int_equal(write(peer, "\377\377\363c", 4), 4);
    turn(rig);
    assert_int_equal(rig->length, 4);
    assert_memory_equal(rig->got, "ab\377c", 4);
    assert_int_equal(rig->breaks, 1);
    char_write(backend, "d", 1);
    assert_int_equal(read(peer, greeting, sizeof(greeting)), 1);
    close(peer);
    char_free(backend);
}

static void send_with_fds(int peer, const int *fds, unsigned count)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
    char byte = 0;
    struct iovec iov = { &byte, 1 };
    struct msghdr message = { .msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = control,
                              .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    assert_int_equal(sendmsg(peer, &message, 0), 1);
}

static void descriptors_of_a_peer_are_taken_once_and_in_order(void **state)
{
    Rig *rig = *state;
    CharBackend *backend = open_server(rig);
    int peer = connect_to(rig), pipes[2];
    assert_int_equal(pipe(pipes), 0);
    turn(rig);
    send_with_fds(peer, pipes, 2);
    turn(rig);
    int reader = char_take_fd(backend), writer = char_take_fd(backend);
    assert_true(reader >= 0 && writer >= 0);
    assert_int_equal(char_take_fd(backend), -1);
    assert_int_equal(fcntl(reader, F_GETFD), FD_CLOEXEC);
    char byte = 0;
    assert_int_equal(write(writer, "y", 1), 1);
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    /* What nobody took goes with the next ones, and with the peer. */
    send_with_fds(peer, pipes, 1);
    send_with_fds(peer, pipes, 2);
    turn(rig);
    close(peer);
    turn(rig);
    assert_int_equal(char_take_fd(backend), -1);
    int all[] = { reader, writer, pipes[0], pipes[1] };
    for (unsigned i = 0; i < 4; i++) {
        close(all[i]);
    }
    char_free(backend);
}

static void a_log_gets_output_also_without_a_peer(void **state)
{
    Rig *rig = *state;
    g_autofree char *log = g_strdup_printf("%s/log", rig->dir);
    assert_true(g_file_set_contents(log, "old ", -1, NULL));
    for (unsigned i = 0; i < 2; i++) {
        const char *const properties[] = {
            "path", rig->path,   "server",         "on", "wait", "off", "logfile",
            log,    "logappend", i ? "on" : "off", NULL
        };
        CharBackend *backend = open_with(rig, "socket", properties);
        char_write(backend, "new", 3);
        char_free(backend);
    }
    g_autofree char *text = NULL;
    assert_true(g_file_get_contents(log, &text, NULL, NULL));
    assert_string_equal(text, "newnew");
    unlink(log);
}

static void tcp_is_served_at_a_port(void **state)
{
    Rig *rig = *state;
    static const char *const properties[] = { "host", "127.0.0.1", "port", "0", "server",
                                              "on",   "wait",      "off",  NULL };
    CharBackend *backend = open_with(rig, "socket", properties);
    g_autofree char *where = char_describe(backend);
    assert_string_equal(where, "disconnected:tcp:127.0.0.1:0");
    char_free(backend);
}

static void a_terminal_shows_its_name_and_outlives_its_reader(void **state)
{
    Rig *rig = *state;
    static const char *const none[] = { NULL };
    CharBackend *backend = open_with(rig, "pty", none);
    g_autofree char *where = char_describe(backend);
    assert_true(g_str_has_prefix(where, "pty:/dev/pts/"));
    int slave = open(where + strlen("pty:"), O_RDWR | O_NOCTTY);
    assert_true(slave >= 0);
    wait_for(rig, &rig->opened, 1);
    assert_int_equal(write(slave, "a\n", 2), 2);
    wait_for(rig, &rig->length, 2);
    assert_memory_equal(rig->got, "a\n", 2);
    close(slave);
    wait_for(rig, &rig->closed, 1);
    char_write(backend, "nobody reads this", 17);
    turn(rig);
    char_free(backend);
}

static void a_file_gets_all_that_is_written(void **state)
{
    Rig *rig = *state;
    const char *const properties[] = { "path", rig->path, NULL };
    CharBackend *backend = open_with(rig, "file", properties);
    char_write(backend, "one", 3);
    char_write(backend, "two", 3);
    char_free(backend);
    g_autofree char *text = NULL;
    assert_true(g_file_get_contents(rig->path, &text, NULL, NULL));
    assert_string_equal(text, "onetwo");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_server_serves_one_peer_after_the_other, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_second_peer_waits_for_the_first_to_leave, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_peer_that_breaks_off_while_it_is_written_to_harms_nobody,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_path_that_is_served_is_refused_and_a_stale_one_taken,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_without_its_server_is_refused_unless_it_may_wait,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_waits_for_its_peer_before_it_is_open, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_signal_ends_the_wait_for_a_peer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(telnet_commands_are_no_input, set_up, tear_down),
        cmocka_unit_test_setup_teardown(descriptors_of_a_peer_are_taken_once_and_in_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_log_gets_output_also_without_a_peer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tcp_is_served_at_a_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_terminal_shows_its_name_and_outlives_its_reader, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_gets_all_that_is_written, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
