/* Raw calls to daemons that speak libvirt's protocol, timed without any client library.
 *
 * Usage: rpc-client SOCKET URI COMMAND [ARGUMENT]...   (see commands[]); prints lines
 * "NAME p50_us p90_us", or "throughput-CONNECTIONS calls_per_s 0" with five calls in flight on each
 * connection. Replies are received whole, not decoded.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "base/endian.h"

#include <arpa/inet.h>
#include <stdbool.h>
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

#define REPLY_MAX (34u << 20)
#define CALL_MAX (128u << 10)
#define HANDLE_MAX 512

enum {
    CONNECT_OPEN = 1,
    CONNECT_CLOSE = 2,
    DOMAIN_CREATE = 9,
    DEFINE_XML = 11,
    DOMAIN_DESTROY = 12,
    GET_XML_DESC = 14,
    GET_INFO = 16,
    LOOKUP_BY_NAME = 23,
    AUTH_LIST = 66,
    GET_LIB_VERSION = 157,
    GET_STATE = 212,
    LIST_ALL_DOMAINS = 273,
    GET_ALL_DOMAIN_STATS = 344,
};

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

static uint8_t reply[REPLY_MAX];

/* Sends a call and receives its reply into reply[]; returns the payload's size. */
static size_t call(int fd, uint32_t procedure, const void *payload, size_t size)
{
    static uint8_t out[CALL_MAX];
    size_t length = put_call(out, procedure, 1, payload, size);
    uint32_t be;
    if (write(fd, out, length) != (ssize_t)length) {
        fail("write");
    }
    read_full(fd, reply, HEADER_BYTES);
    memcpy(&be, reply, 4);
    length = ntohl(be);
    memcpy(&be, reply + 24, 4);
    bool failed = ntohl(be) != 0;
    if (length < HEADER_BYTES || length > sizeof(reply)) {
        fail("a reply of this length");
    }
    read_full(fd, reply, length - HEADER_BYTES);
    if (failed) {
        fprintf(stderr, "procedure %u failed: %.*s\n", procedure, 200, (char *)reply + 16);
        exit(EXIT_FAILURE);
    }
    return length - HEADER_BYTES;
}

static size_t put_u32(uint8_t *out, uint32_t value)
{
    uint32_t be = htonl(value);
    memcpy(out, &be, 4);
    return 4;
}

static size_t put_string(uint8_t *out, const char *text)
{
    size_t length = strlen(text);
    put_u32(out, (uint32_t)length);
    memset(out + 4, 0, (length + 3) & ~(size_t)3);
    memcpy(out + 4, text, length);
    return 4 + ((length + 3) & ~(size_t)3);
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

/* Calls @n times and reports. */
static void time_calls(int fd, const char *name, unsigned n, uint32_t procedure,
                       const void *payload, size_t size)
{
    double *us = calloc(n, sizeof(*us));
    if (!us) {
        fail("calloc");
    }
    for (unsigned i = 0; i < n; i++) {
        int64_t start = clock_monotonic_ns();
        call(fd, procedure, payload, size);
        us[i] = (double)(clock_monotonic_ns() - start) / 1000.0;
    }
    report(name, us, n);
    free(us);
}

/* The domain @name as arguments name it; its size. */
static size_t look_up(int fd, const char *name, uint8_t out[HANDLE_MAX])
{
    uint8_t payload[HANDLE_MAX];
    size_t size = call(fd, LOOKUP_BY_NAME, payload, put_string(payload, name));
    memcpy(out, reply, size < HANDLE_MAX ? size : HANDLE_MAX);
    return size;
}

static void run_simple(const char *path, const char *uri, char **words)
{
    uint8_t payload[HANDLE_MAX], handle[HANDLE_MAX + 4];
    int fd = dial_and_open(path, uri);
    time_calls(fd, "GET_LIB_VERSION", SAMPLES, GET_LIB_VERSION, NULL, 0);
    if (words[0]) {
        size_t size = put_string(payload, words[0]);
        time_calls(fd, "LOOKUP_BY_NAME", SAMPLES, LOOKUP_BY_NAME, payload, size);
        size = look_up(fd, words[0], handle);
        time_calls(fd, "GET_INFO", SAMPLES, GET_INFO, handle, size);
        size += put_u32(handle + size, 0);
        time_calls(fd, "GET_STATE", SAMPLES, GET_STATE, handle, size);
        time_calls(fd, "GET_XML_DESC", SAMPLES, GET_XML_DESC, handle, size);
    }
    close(fd);
}

static void run_lists(const char *path, const char *uri, char **words)
{
    uint8_t payload[16];
    unsigned rounds = words[0] ? (unsigned)atoi(words[0]) : 10;
    int fd = dial_and_open(path, uri);
    size_t size = put_u32(payload, 1);
    size += put_u32(payload + size, 0);
    time_calls(fd, "LIST_ALL_DOMAINS", rounds, LIST_ALL_DOMAINS, payload, size);
    size = put_u32(payload, 0);
    size += put_u32(payload + size, 0);
    size += put_u32(payload + size, 0);
    time_calls(fd, "GET_ALL_DOMAIN_STATS", rounds, GET_ALL_DOMAIN_STATS, payload, size);
    close(fd);
}

/* Defines domains FIRST to FIRST + COUNT - 1: each @NUMB@ in TEMPLATE becomes the number. */
static void run_define(const char *path, const char *uri, char **words)
{
    static char template[CALL_MAX / 2], xml[CALL_MAX / 2];
    static uint8_t payload[CALL_MAX - HEADER_BYTES];
    unsigned first = (unsigned)atoi(words[1] ?: "0"),
             count = words[1] && words[2] ? (unsigned)atoi(words[2]) : 1;
    double *us = calloc(count, sizeof(*us));
    FILE *file = fopen(words[0], "re");
    if (!us || !file || fread(template, 1, sizeof(template) - 1, file) == 0) {
        fail(words[0]);
    }
    fclose(file);
    int fd = dial_and_open(path, uri);
    for (unsigned i = 0; i < count; i++) {
        char number[16];
        snprintf(number, sizeof(number), "%06u", first + i);
        snprintf(xml, sizeof(xml), "%s", template);
        for (char *at = strstr(xml, "@NUMB@"); at; at = strstr(at, "@NUMB@")) {
            memcpy(at, number, 6);
        }
        size_t size = put_string(payload, xml);
        int64_t start = clock_monotonic_ns();
        call(fd, DEFINE_XML, payload, size);
        us[i] = (double)(clock_monotonic_ns() - start) / 1000.0;
    }
    report("DEFINE_XML", us, count);
    free(us);
    close(fd);
}

/* Starts and destroys the domain NAME, ROUNDS times. */
static void run_cycle(const char *path, const char *uri, char **words)
{
    uint8_t handle[HANDLE_MAX + 4];
    unsigned rounds = words[1] ? (unsigned)atoi(words[1]) : 5;
    double *started = calloc(rounds, sizeof(double)), *ended = calloc(rounds, sizeof(double));
    if (!started || !ended) {
        fail("calloc");
    }
    int fd = dial_and_open(path, uri);
    for (unsigned i = 0; i < rounds; i++) {
        size_t size = look_up(fd, words[0], handle);
        int64_t start = clock_monotonic_ns();
        call(fd, DOMAIN_CREATE, handle, size);
        int64_t running = clock_monotonic_ns();
        size = look_up(fd, words[0], handle);
        int64_t end = clock_monotonic_ns();
        call(fd, DOMAIN_DESTROY, handle, size);
        started[i] = (double)(running - start) / 1000.0;
        ended[i] = (double)(clock_monotonic_ns() - end) / 1000.0;
    }
    report("DOMAIN_CREATE", started, rounds);
    report("DOMAIN_DESTROY", ended, rounds);
    free(started);
    free(ended);
    close(fd);
}

/* Waits for the daemon, looks the domain NAME up and prints the monotonic time in us. */
static void run_first(const char *path, const char *uri, char **words)
{
    uint8_t handle[HANDLE_MAX];
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    int probe = -1;
    for (;;) {
        probe = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(probe, (const struct sockaddr *)&address, sizeof(address)) == 0) {
            break;
        }
        close(probe);
        usleep(500);
    }
    close(probe);
    int fd = dial_and_open(path, uri);
    look_up(fd, words[0], handle);
    printf("first %lld 0\n", (long long)(clock_monotonic_ns() / 1000));
    close(fd);
}

static void run_connect(const char *path, const char *uri, char **words)
{
    double us[CONNECT_SAMPLES];
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

static void run_throughput(const char *path, const char *uri, char **words)
{
    throughput(path, uri, 1);
    throughput(path, uri, 4);
    throughput(path, uri, CONNECTIONS_MAX);
}

static const struct {
    const char *name, *usage;
    unsigned n_min;
    void (*run)(const char *path, const char *uri, char **words);
} commands[] = {
    { "simple", "[NAME]", 0, run_simple },
    { "connect", "", 0, run_connect },
    { "throughput", "", 0, run_throughput },
    { "lists", "[ROUNDS]", 0, run_lists },
    { "define", "TEMPLATE [FIRST [COUNT]]", 1, run_define },
    { "cycle", "NAME [ROUNDS]", 1, run_cycle },
    { "first", "NAME", 1, run_first },
};

int main(int argc, char **argv)
{
    for (unsigned i = 0; argc >= 4 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[3], commands[i].name) == 0 && (unsigned)argc - 4 >= commands[i].n_min) {
            commands[i].run(argv[1], argv[2], argv + 4);
            return EXIT_SUCCESS;
        }
    }
    for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        fprintf(stderr, "usage: %s SOCKET URI %s %s\n", argv[0], commands[i].name,
                commands[i].usage);
    }
    return EXIT_FAILURE;
}
