/* liblodge: manage virtual machines of lodged or libvirtd from C.
 *
 * A connection may be used by several threads at once. Functions that return int give 0 or more
 * when they worked and -1 when not, those that return a pointer NULL; then *@error, where @error
 * is not NULL, is a LodgeError to be freed by lodge_error_free(). Strings and objects that are
 * returned belong to the caller and are freed by lodge_free() or the object's own function.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_H
#define LODGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LODGE_UUID_BYTES 16

typedef struct LodgeConnection LodgeConnection;
typedef struct LodgeStream LodgeStream;

/* @code: libvirt's number (virErrorNumber), as 42 for "no such domain". */
typedef struct LodgeError {
    int code;
    char *message;
} LodgeError;

void lodge_error_free(LodgeError *error);
void lodge_free(void *ptr);

/* --- connections --- */

typedef enum LodgeOpenFlags {
    LODGE_OPEN_READ_ONLY = 1, /* no change is possible */
    LODGE_OPEN_NO_START = 2,  /* do not start a session's daemon that is not there */
} LodgeOpenFlags;

/**
 * lodge_open - connect to a daemon
 * @uri: as libvirt's: qemu:///system, qemu:///session, qemu+unix:///system?socket=PATH,
 *       qemu+tls://HOST/system (parameters pkipath, no_verify), qemu+ssh://USER@HOST/system
 *       (parameters socket, command, keyfile); NULL: $LODGE_DEFAULT_URI, else the system's
 *       daemon for root and the session's for others
 * @flags: LodgeOpenFlags
 */
LodgeConnection *lodge_open(const char *uri, unsigned flags, LodgeError **error);

/* As lodge_open(), where the daemon asks for a name and password (SCRAM-SHA-256). */
LodgeConnection *lodge_open_as(const char *uri, unsigned flags, const char *user,
                               const char *password, LodgeError **error);

/* Ends it; streams and domains of it are of no more use but must still be freed. NULL is fine. */
void lodge_close(LodgeConnection *connection);

/* 1 while the daemon is there. */
int lodge_is_alive(LodgeConnection *connection);

char *lodge_get_hostname(LodgeConnection *connection, LodgeError **error);
char *lodge_get_uri(LodgeConnection *connection, LodgeError **error);
char *lodge_get_capabilities(LodgeConnection *connection, LodgeError **error);
/* major * 1000000 + minor * 1000 + micro */
int lodge_get_version(LodgeConnection *connection, uint64_t *out_version, LodgeError **error);

typedef struct LodgeNodeInfo {
    char model[32];
    uint64_t memory_kib;
    unsigned cpus, mhz, nodes, sockets, cores, threads;
} LodgeNodeInfo;

int lodge_get_node_info(LodgeConnection *connection, LodgeNodeInfo *out_info, LodgeError **error);

/**
 * lodge_call - call any procedure of the protocol with an encoded payload
 * @program:   0x20008086 for the remote program
 * @payload:   XDR, @size bytes
 * @out_reply: XDR (to be freed by lodge_free())
 */
int lodge_call(LodgeConnection *connection, uint32_t program, uint32_t procedure,
               const void *payload, size_t size, void **out_reply, size_t *out_reply_size,
               LodgeError **error);

/* --- domains --- */

typedef struct LodgeDomain {
    char *name;
    unsigned char uuid[LODGE_UUID_BYTES];
    int id; /* -1: does not run */
} LodgeDomain;

void lodge_domain_free(LodgeDomain *domain);
/* An array as of lodge_list_domains(). */
void lodge_domains_free(LodgeDomain **domains);

/* @flags: bits of libvirt's virConnectListAllDomains(), 0 for all. Ends with NULL. */
LodgeDomain **lodge_list_domains(LodgeConnection *connection, unsigned flags, size_t *out_count,
                                 LodgeError **error);
LodgeDomain *lodge_find_domain(LodgeConnection *connection, const char *name, LodgeError **error);
LodgeDomain *lodge_define_domain(LodgeConnection *connection, const char *xml, unsigned flags,
                                 LodgeError **error);
/* Starts a domain that is forgotten when it ends. */
LodgeDomain *lodge_create_domain(LodgeConnection *connection, const char *xml, unsigned flags,
                                 LodgeError **error);

int lodge_domain_start(LodgeConnection *connection, LodgeDomain *domain, unsigned flags,
                       LodgeError **error);
int lodge_domain_shutdown(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                          LodgeError **error);
int lodge_domain_reboot(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                        LodgeError **error);
int lodge_domain_reset(LodgeConnection *connection, const LodgeDomain *domain, LodgeError **error);
int lodge_domain_destroy(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                         LodgeError **error);
int lodge_domain_suspend(LodgeConnection *connection, const LodgeDomain *domain,
                         LodgeError **error);
int lodge_domain_resume(LodgeConnection *connection, const LodgeDomain *domain, LodgeError **error);
int lodge_domain_undefine(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                          LodgeError **error);
char *lodge_domain_get_xml(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                           LodgeError **error);
/* libvirt's numbers: 1 running, 3 paused, 5 shut off, ... */
int lodge_domain_get_state(LodgeConnection *connection, const LodgeDomain *domain, int *out_state,
                           int *out_reason, LodgeError **error);

/* --- events --- */

typedef struct LodgeEvent {
    int id; /* number of the event: 0 lifecycle, 1 reboot, ... as libvirt's */
    const char *name;
    const unsigned char *uuid;
    int event;  /* lifecycle: 0 defined 1 undefined 2 started 3 suspended 4 resumed 5 stopped ... */
    int detail; /* lifecycle: why */
} LodgeEvent;

/* Called on a thread of the connection's own; it may not call functions of the connection. */
typedef void (*LodgeEventFunc)(LodgeConnection *connection, const LodgeEvent *event, void *opaque);

/* @domain: NULL for all. Returns: a number for lodge_unwatch_domains(), or -1. */
int lodge_watch_domains(LodgeConnection *connection, const LodgeDomain *domain, int event_id,
                        LodgeEventFunc func, void *opaque, LodgeError **error);
int lodge_unwatch_domains(LodgeConnection *connection, int watch, LodgeError **error);

/* --- streams --- */

/* @device: alias of a console or serial port, NULL for the first. */
LodgeStream *lodge_domain_open_console(LodgeConnection *connection, const LodgeDomain *domain,
                                       const char *device, unsigned flags, LodgeError **error);
/* @out_mime: "image/png" and the like. */
LodgeStream *lodge_domain_take_screenshot(LodgeConnection *connection, const LodgeDomain *domain,
                                          unsigned screen, char **out_mime, LodgeError **error);

/* Waits for bytes. Returns: 1..@size, 0 at the end, -1. */
ptrdiff_t lodge_stream_read(LodgeStream *stream, void *buffer, size_t size, LodgeError **error);
int lodge_stream_write(LodgeStream *stream, const void *data, size_t size, LodgeError **error);
/* All was moved; the daemon confirms. */
int lodge_stream_finish(LodgeStream *stream, LodgeError **error);
/* Ends it where lodge_stream_finish() did not, and frees it. NULL is fine. */
void lodge_stream_free(LodgeStream *stream);

#ifdef __cplusplus
}
#endif

#endif
