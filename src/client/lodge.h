/* liblodge: manage virtual machines of lodged or libvirtd from C.
 *
 * A connection may be used by several threads at once; an object that it returned by one thread at
 * a time. Functions that return int give 0 or more when they worked and -1 when not, those that
 * return a pointer NULL; then *@error, where @error is not NULL, is a LodgeError to be freed by
 * lodge_error_free(). On success *@error is left alone. Strings and objects that are returned
 * belong to the caller and are freed by lodge_free() or the object's own function; arguments stay
 * the caller's.
 *
 * The interface is stable: names stay, LodgeNodeInfo keeps its size, and structs that the library
 * allocates (LodgeError, LodgeDomain, LodgeEvent) may get members at their end.
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

/** lodge_error_free - free an error. NULL is fine. */
void lodge_error_free(LodgeError *error);
/** lodge_free - free a string or buffer that the library returned. NULL is fine. */
void lodge_free(void *ptr);

/* --- connections --- */

typedef enum LodgeOpenFlags {
    LODGE_OPEN_READ_ONLY = 1, /* no change is possible */
    LODGE_OPEN_NO_START = 2,  /* do not start a session's daemon that is not there */
} LodgeOpenFlags;

/**
 * lodge_open - connect to a daemon
 * @uri: as libvirt's, below; NULL: $LODGE_URI or $LIBVIRT_DEFAULT_URI, else the system's daemon
 *       for root and the session's for others
 * @flags: LodgeOpenFlags
 *
 * qemu:///system, qemu:///session: the daemon of this host (lodged, else libvirt's)
 *
 * qemu+unix:///system?socket=PATH: the daemon that listens there
 *
 * qemu+tls://HOST/system: certificates as libvirt's, parameters pkipath, no_verify
 *
 * qemu+ssh://USER@HOST/system: parameters socket, command, keyfile
 *
 * qemu+tcp://HOST/system: neither encrypted nor protected; for networks of one's own
 *
 * A daemon that asks for a name and password gets those of a file: the parameter authfile,
 * $LIBVIRT_AUTH_FILE, auth.conf in ~/.config/lodge, ~/.config/libvirt, /etc/lodge or /etc/libvirt.
 * A section [auth-libvirt-HOST] or [auth-libvirt-default] there names another by
 * credentials=NAME, and [credentials-NAME] has authname= and password=.
 */
LodgeConnection *lodge_open(const char *uri, unsigned flags, LodgeError **error);

typedef enum LodgeQuestion {
    LODGE_ASK_USER,
    LODGE_ASK_PASSWORD, /* not to be shown while it is typed */
} LodgeQuestion;

/* Asks the user of @host's daemon, and returns a string from malloc(), which the library wipes and
 * frees, or NULL for none. */
typedef char *(*LodgeAskFunc)(LodgeQuestion question, const char *host, void *opaque);

/**
 * lodge_open_asking - connect to a daemon that may want to know who comes
 * @ask: called, within this function, for what no file of credentials says; NULL: as lodge_open()
 * @opaque: for @ask
 */
LodgeConnection *lodge_open_asking(const char *uri, unsigned flags, LodgeAskFunc ask, void *opaque,
                                   LodgeError **error);

/**
 * lodge_close - end a connection
 *
 * Streams of it are of no more use but must still be freed. NULL is fine.
 */
void lodge_close(LodgeConnection *connection);

/**
 * lodge_is_alive - whether the daemon is still there
 *
 * Returns 1 or 0.
 */
int lodge_is_alive(LodgeConnection *connection);

/** lodge_get_hostname - the name of the daemon's host */
char *lodge_get_hostname(LodgeConnection *connection, LodgeError **error);
/** lodge_get_uri - the URI that the daemon was asked to open, as "qemu:///system" */
char *lodge_get_uri(LodgeConnection *connection, LodgeError **error);
/** lodge_get_capabilities - the host and its engines as libvirt's XML */
char *lodge_get_capabilities(LodgeConnection *connection, LodgeError **error);
/**
 * lodge_get_version - the version of the daemon's engine
 * @out_version: major * 1000000 + minor * 1000 + micro
 */
int lodge_get_version(LodgeConnection *connection, uint64_t *out_version, LodgeError **error);

typedef struct LodgeNodeInfo {
    char model[32]; /* ends with a zero byte */
    uint64_t memory_kib;
    unsigned cpus, mhz, nodes, sockets, cores, threads;
} LodgeNodeInfo;

/** lodge_get_node_info - processors and memory of the daemon's host */
int lodge_get_node_info(LodgeConnection *connection, LodgeNodeInfo *out_info, LodgeError **error);

/**
 * lodge_call - call any procedure of libvirt's protocol
 * @program: 0x20008086 for the remote program
 * @procedure: its number
 * @payload: the arguments in XDR, @size bytes
 * @out_reply: the result in XDR, *@out_reply_size bytes, to be freed by lodge_free()
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

/** lodge_domain_free - free a domain's handle. NULL is fine. */
void lodge_domain_free(LodgeDomain *domain);
/** lodge_domains_free - free an array of lodge_list_domains() with its handles. NULL is fine. */
void lodge_domains_free(LodgeDomain **domains);

/**
 * lodge_list_domains - all domains, or some
 * @flags: bits of libvirt's virConnectListAllDomainsFlags; 0 for all
 * @out_count: how many; may be NULL, as the array ends with NULL
 */
LodgeDomain **lodge_list_domains(LodgeConnection *connection, unsigned flags, size_t *out_count,
                                 LodgeError **error);
/** lodge_find_domain - the domain of that name; error 42: there is none */
LodgeDomain *lodge_find_domain(LodgeConnection *connection, const char *name, LodgeError **error);
/**
 * lodge_define_domain - keep a definition, or change one
 * @xml: as libvirt's <domain>
 * @flags: bits of libvirt's virDomainDefineFlags: 1 refuses what the schema does not know
 */
LodgeDomain *lodge_define_domain(LodgeConnection *connection, const char *xml, unsigned flags,
                                 LodgeError **error);
/**
 * lodge_create_domain - start a domain that is forgotten when it ends
 * @xml: as libvirt's <domain>
 * @flags: bits of libvirt's virDomainCreateFlags: 1 paused, 2 ended with the connection
 */
LodgeDomain *lodge_create_domain(LodgeConnection *connection, const char *xml, unsigned flags,
                                 LodgeError **error);

/**
 * lodge_domain_start - start a domain that is defined
 * @domain: gets the id it has while it runs
 * @flags: bits of libvirt's virDomainCreateFlags: 1 paused, 2 ended with the connection
 */
int lodge_domain_start(LodgeConnection *connection, LodgeDomain *domain, unsigned flags,
                       LodgeError **error);
/**
 * lodge_domain_shutdown - ask the guest's system to end
 * @flags: bits of libvirt's virDomainShutdownFlagValues: 1 by ACPI, 2 by the agent; 0: either
 *
 * Returns when the guest was asked; watch for the event, or ask for the state, to see it end.
 */
int lodge_domain_shutdown(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                          LodgeError **error);
/**
 * lodge_domain_reboot - ask the guest's system to begin anew
 * @flags: as of lodge_domain_shutdown()
 */
int lodge_domain_reboot(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                        LodgeError **error);
/** lodge_domain_reset - press the machine's reset button: the guest is not asked */
int lodge_domain_reset(LodgeConnection *connection, const LodgeDomain *domain, LodgeError **error);
/**
 * lodge_domain_destroy - end a domain at once, as by pulling the plug
 * @flags: bits of libvirt's virDomainDestroyFlagsValues: 1 asks the engine to end, never kills it
 */
int lodge_domain_destroy(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                         LodgeError **error);
/** lodge_domain_suspend - stop a domain's processors; its memory stays */
int lodge_domain_suspend(LodgeConnection *connection, const LodgeDomain *domain,
                         LodgeError **error);
/** lodge_domain_resume - let a suspended domain go on */
int lodge_domain_resume(LodgeConnection *connection, const LodgeDomain *domain, LodgeError **error);
/**
 * lodge_domain_undefine - forget a definition; a domain that runs goes on until it ends
 * @flags: bits of libvirt's virDomainUndefineFlagsValues, for what else is to go
 */
int lodge_domain_undefine(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                          LodgeError **error);
/**
 * lodge_domain_get_xml - a domain's definition
 * @flags: bits of libvirt's virDomainXMLFlags: 2 for that of the next start
 */
char *lodge_domain_get_xml(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                           LodgeError **error);
/**
 * lodge_domain_get_state - whether a domain runs, and why or why not
 * @out_state: libvirt's virDomainState: 1 running, 3 paused, 4 being shut down, 5 shut off, 6
 *             crashed
 * @out_reason: libvirt's number, which depends on the state; may be NULL
 */
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

/* Called on a thread of the connection's own; it may not call functions of the connection. The
 * event is valid until it returns. */
typedef void (*LodgeEventFunc)(LodgeConnection *connection, const LodgeEvent *event, void *opaque);

/**
 * lodge_watch_domains - be told of events
 * @domain: NULL for all domains
 * @event_id: libvirt's virDomainEventID: 0 lifecycle, 1 reboot, ...
 * @func: called for each, perhaps before this function returns
 * @opaque: for @func
 *
 * Returns a number for lodge_unwatch_domains(), or -1.
 */
int lodge_watch_domains(LodgeConnection *connection, const LodgeDomain *domain, int event_id,
                        LodgeEventFunc func, void *opaque, LodgeError **error);
/**
 * lodge_unwatch_domains - be told no more
 * @watch: what lodge_watch_domains() returned
 *
 * A call of the function that has begun on the connection's thread may still be under way.
 */
int lodge_unwatch_domains(LodgeConnection *connection, int watch, LodgeError **error);

/* --- streams --- */

/**
 * lodge_domain_open_console - a stream to a guest's console
 * @device: alias of a console or serial port; NULL for the first
 * @flags: bits of libvirt's virDomainConsoleFlags: 1 takes it from another client
 */
LodgeStream *lodge_domain_open_console(LodgeConnection *connection, const LodgeDomain *domain,
                                       const char *device, unsigned flags, LodgeError **error);
/**
 * lodge_domain_take_screenshot - a stream with a picture of a guest's screen
 * @screen: its number, from 0 on
 * @out_mime: "image/png" and the like, to be freed by lodge_free(); may be NULL
 */
LodgeStream *lodge_domain_take_screenshot(LodgeConnection *connection, const LodgeDomain *domain,
                                          unsigned screen, char **out_mime, LodgeError **error);

/**
 * lodge_stream_read - wait for bytes
 *
 * Returns 1 to @size, 0 at the end, or -1.
 */
ptrdiff_t lodge_stream_read(LodgeStream *stream, void *buffer, size_t size, LodgeError **error);
/** lodge_stream_write - send @size bytes, all or none */
int lodge_stream_write(LodgeStream *stream, const void *data, size_t size, LodgeError **error);
/** lodge_stream_finish - say that all was moved, and wait until the daemon confirms it */
int lodge_stream_finish(LodgeStream *stream, LodgeError **error);
/**
 * lodge_stream_free - free a stream
 *
 * Without lodge_stream_finish() before, the daemon learns that it was given up. NULL is fine.
 */
void lodge_stream_free(LodgeStream *stream);

#ifdef __cplusplus
}
#endif

#endif
