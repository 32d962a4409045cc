/* Raw calls to daemons that speak libvirt's protocol, timed without any client library.
 *
 * Usage: rpc-client SOCKET URI...   prints "NAME p50_us p90_us" lines for simple calls, connecting,
 * and "throughput CONNECTIONS calls_per_s" with five calls in flight on each connection.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "base/endian.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REMOTE_PROGRAM 0x20008086u
#define HEADER_BYTES 28
#define SAMPLES 5000
#define CONNECT_SAMPLES 200
#define IN_FLIGHT 5
#define CONNECTIONS_MAX 16
#define RUN_NS (NS_PER_SEC)

enum { CONNECT_OPEN = 1, CONNECT_CLOSE = 2, AUTH_LIST = 66, GET_LIB_VERSION = 157 };

static void fail(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static int dial(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        fail(path);
    }
    return fd;
}

static size_t put_call(uint8_t *out, uint32_t procedure, uint32_t serial, const void *payload,
                       size_t size)
{
    const uint32_t words[7] = {
        (uint32_t)(HEADER_BYTES + size), REMOTE_PROGRAM, 1, procedure, 0, serial, 0
    };
    for (int i = 0; i < 7; i++) {
        uint32_t be = htonl(words[i]);
        memcpy(out + 4 * i, &be, 4);
    }
    memcpy(out + HEADER_BYTES, payload, size);
    return HEADER_BYTES + size;
}

static void read_full(int fd, uint8_t *out, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = read(fd, out + got, size - got);
        if (n <= 0) {
            fail("read");
        }
        got += (size_t)n;
    }
}

static void call(int fd, uint32_t procedure, const void *payload, size_t size)
{
    uint8_t buffer[65536];
    size_t length = put_call(buffer, procedure, 1, payload, size);
    uint32_t be;
    if (write(fd, buffer, length) != (ssize_t)length) {
        fail("write");
    }
    read_full(fd, buffer, HEADER_BYTES);
    memcpy(&be, buffer, 4);
    length = ntohl(be);
    memcpy(&be, buffer + 24, 4);
    if (ntohl(be) != 0 || length > sizeof(buffer)) {
        fprintf(stderr, "procedure %u failed\n", procedure);
        exit(EXIT_FAILURE);
    }
    read_full(fd, buffer + HEADER_BYTES, length - HEADER_BYTES);
}

static int dial_and_open(const char *path, const char *uri)
{
    uint8_t payload[256] = { 0, 0, 0, 1 };
    uint32_t length = (uint32_t)strlen(uri);
    uint32_t be = htonl(length);
    memcpy(payload + 4, &be, 4);
    memcpy(payload + 8, uri, length);
    int fd = dial(path);
    call(fd, AUTH_LIST, NULL, 0);
    call(fd, CONNECT_OPEN, payload, 8 + ((length + 3) & ~3u) + 4);
    return fd;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void report(const char *name, double *us, size_t n)
{
    qsort(us, n, sizeof(*us), compare);
    printf("%s %.1f %.1f\n", name, us[n / 2], us[n * 9 / 10]);
}

static void time_simple_calls(const char *path, const char *uri)
{
    static double us[SAMPLES];
    int fd = dial_and_open(path, uri);
    for (int i = 0; i < SAMPLES; i++) {
        int64_t start = clock_monotonic_ns();
        call(fd, GET_LIB_VERSION, NULL, 0);
        us[i] = (double)(clock_monotonic_ns() - start) / 1000.0;
    }
    report("GET_LIB_VERSION", us, SAMPLES);
    close(fd);
}

static void time_connects(const char *path, const char *uri)
{
    static double us[CONNECT_SAMPLES];
    for (int i = 0; i < CONNECT_SAMPLES; i++) {
        int64_t start = clock_monotonic_ns();
        int fd = dial_and_open(path, uri);
        call(fd, CONNECT_CLOSE, NULL, 0);
        close(fd);
        us[i] = (double)(clock_monotonic_ns() - start) / 1000.0;
    }
    report("connect", us, CONNECT_SAMPLES);
}

/* One thread drives all connections: it must not be what is measured. */
static void throughput(const char *path, const char *uri, int n)
{
    enum { REPLY_BYTES = HEADER_BYTES + 8 };
    int fds[CONNECTIONS_MAX];
    size_t partial[CONNECTIONS_MAX] = { 0 };
    uint8_t calls[IN_FLIGHT * HEADER_BYTES], replies[65536];
    int epoll = epoll_create1(0);
    for (int k = 0; k < IN_FLIGHT; k++) {
        put_call(calls + k * HEADER_BYTES, GET_LIB_VERSION, (uint32_t)k, NULL, 0);
    }
    for (int i = 0; i < n; i++) {
        fds[i] = dial_and_open(path, uri);
        struct epoll_event event = { .events = EPOLLIN, .data.u32 = (uint32_t)i };
        epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event);
        if (write(fds[i], calls, sizeof(calls)) != sizeof(calls)) {
            fail("write");
        }
    }
    long done = 0;
    int64_t start = clock_monotonic_ns();
    while (clock_monotonic_ns() - start < RUN_NS) {
        struct epoll_event events[CONNECTIONS_MAX];
        int ready = epoll_wait(epoll, events, CONNECTIONS_MAX, 1000);
        for (int e = 0; e < ready; e++) {
            uint32_t i = events[e].data.u32;
            ssize_t got = read(fds[i], replies, sizeof(replies));
            if (got <= 0) {
                fail("read");
            }
            partial[i] += (size_t)got;
            size_t answered = partial[i] / REPLY_BYTES;
            partial[i] %= REPLY_BYTES;
            done += (long)answered;
            if (write(fds[i], calls, answered * HEADER_BYTES) !=
                (ssize_t)(answered * HEADER_BYTES)) {
                fail("write");
            }
        }
    }
    double seconds = (double)(clock_monotonic_ns() - start) / 1e9;
    printf("throughput-%d %.0f 0\n", n, (double)done / seconds);
    for (int i = 0; i < n; i++) {
        close(fds[i]);
    }
    close(epoll);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s SOCKET URI\n", argv[0]);
        return EXIT_FAILURE;
    }
    time_simple_calls(argv[1], argv[2]);
    time_connects(argv[1], argv[2]);
    throughput(argv[1], argv[2], 1);
    throughput(argv[1], argv[2], 4);
    throughput(argv[1], argv[2], 16);
    return EXIT_SUCCESS;
}
