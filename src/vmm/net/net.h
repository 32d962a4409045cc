/* Network back ends: where a guest's network card sends its frames.
 *
 * A back end serves one card. All functions run on the thread of the back end's loop unless they
 * say otherwise. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_NET_NET_H
#define LODGE_VMM_NET_NET_H

#include "event/loop.h"
#include "vmm/device/property.h"

#include <glib.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Largest frame either way: 64 KiB of payload by segmentation offload, headers and a
 * virtio_net_hdr. */
#define NET_FRAME_MAX (65536 + 256)

/* Offloads, as bits of net_offloads() and net_set_offloads(). */
#define NET_OFFLOAD_CSUM 0x01u /* partial checksums */
#define NET_OFFLOAD_TSO4 0x02u
#define NET_OFFLOAD_TSO6 0x04u
#define NET_OFFLOAD_ECN 0x08u
#define NET_OFFLOAD_UFO 0x10u

typedef struct NetBackend NetBackend;

/* The card's side. Each function is required. */
typedef struct NetFrontend {
    /* One frame for the guest. Returns: bytes taken (all), or 0: no room; the frame is then offered
     * again after net_accept_frames(). */
    ssize_t (*receive)(void *opaque, const struct iovec *iov, unsigned count);
    void (*link_changed)(void *opaque, bool is_up);
    /* net_send() found no room before and may be called again. */
    void (*can_send)(void *opaque);
    void *opaque;
} NetFrontend;

typedef struct NetClass {
    const char *name;    /* as in -netdev: "user" */
    const char *summary; /* one line for -netdev help */
    size_t instance_size;
    const Property *properties; /* ends with a NULL name */
    /* optional: a property that may come several times. Returns false with @error for a bad value;
     * *out_known tells whether the name is one. */
    bool (*add_property)(NetBackend *backend, const char *name, const char *value, bool *out_known,
                         GError **error);
    /* required; @backend->loop is set. On failure nothing is left behind. */
    bool (*open)(NetBackend *backend, GError **error);
    void (*close)(NetBackend *backend); /* required; undoes open */
    void (*clear)(NetBackend *backend); /* optional: frees what add_property() kept */
    /* required. One frame, behind a virtio_net_hdr of header_bytes if that was set. Returns: its
     * length, or 0: no room (can_send() follows). Frames that cannot be delivered are dropped and
     * count as sent. */
    ssize_t (*send)(NetBackend *backend, const struct iovec *iov, unsigned count);
    void (*accept_frames)(NetBackend *backend); /* required: offer waiting frames again */
    unsigned offloads;                          /* NET_OFFLOAD_* it can do; 0: none, no headers */
    /* with offloads: what the guest accepts of frames to it. */
    void (*set_offloads)(NetBackend *backend, unsigned offloads);
    /* with offloads: size of the virtio_net_hdr before each frame in both directions, 10 or 12; 0:
     * none. False: not possible. */
    bool (*set_header_bytes)(NetBackend *backend, unsigned bytes);
    char *(*describe)(NetBackend *backend); /* optional, for `info network` (transfer full) */
} NetClass;

struct NetBackend {
    const NetClass *class;
    char *id; /* owned */
    EventLoop *loop;
    NetFrontend front;
    bool has_frontend, is_open, link_is_up;
};

/* All classes, sorted by name; ends with NULL. */
extern const NetClass *const net_classes[];

/* The class, or NULL with an error that lists those there are. */
const NetClass *net_class_find(const char *name, GError **error);

/* A back end with default properties, its link up. */
NetBackend *net_new(const NetClass *class, const char *id);
/* False: unknown property or bad value. Before net_open(). */
bool net_set_property(NetBackend *backend, const char *name, const char *value, GError **error);
/* Errors begin with "netdev 'ID': ". */
bool net_open(NetBackend *backend, EventLoop *loop, GError **error);
/* Closes and frees; NULL is accepted. */
void net_free(NetBackend *backend);

/* False: it serves another card already. @front is copied. */
bool net_attach(NetBackend *backend, const NetFrontend *front, GError **error);
void net_detach(NetBackend *backend);

/**
 * net_send - one Ethernet frame from the guest
 * @iov: @count buffers, at most NET_FRAME_MAX bytes in all
 *
 * Frames shorter than an Ethernet header, and those of a link that is down, are dropped. Returns:
 * the length, or 0: no room; the frame is to be sent again when can_send() was called.
 */
ssize_t net_send(NetBackend *backend, const struct iovec *iov, unsigned count);

/* receive() refused a frame before and has room again. */
void net_accept_frames(NetBackend *backend);

/* Plugs the cable in or out. */
void net_set_link(NetBackend *backend, bool is_up);

unsigned net_offloads(const NetBackend *backend);
void net_set_offloads(NetBackend *backend, unsigned offloads);
bool net_set_header_bytes(NetBackend *backend, unsigned bytes);

/* (transfer full) "user,net=10.0.2.0/24": type and what identifies it. */
char *net_describe(NetBackend *backend);

/* -- for classes -- */

/* Offers a frame to the card; as NetFrontend.receive. Without a card, or with the link down, it is
 * dropped. */
ssize_t net_receive(NetBackend *backend, const struct iovec *iov, unsigned count);
void net_can_send(NetBackend *backend);

#endif
