/* macvtap links of guests: <interface type='direct'>.
 *
 * Unlike a tap such a link stays when its descriptor is closed. So the folder of a guest that runs
 * has a note of each ("macvtap-NAME", with the guest's MAC), written before the link is made; what
 * removes the folder, also after the daemon was killed, removes the links.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_MACVTAP_H
#define LODGE_DAEMON_DOMAIN_MACVTAP_H

#include "conf/domain/domain.h"

#include <glib.h>

/* What is asked of the kernel; a test has another. */
typedef struct MacvtapHost {
    /* One request of rtnetlink. Returns 0 or the kernel's negative errno. */
    int (*request)(void *opaque, const void *message, size_t size);
    /* The index of a link, 0: there is none. */
    unsigned (*index_of)(void *opaque, const char *name);
    /* The MAC of a link. */
    bool (*mac_of)(void *opaque, const char *name, MacAddress *out);
    /* The character device of a link, ready for frames: a descriptor or negative errno. */
    int (*open_device)(void *opaque, const char *name, unsigned index);
    void *opaque;
} MacvtapHost;

extern const MacvtapHost macvtap_host;

/**
 * macvtap_open - make a link on interface->source_dev and open it
 * @folder: of the guest that runs
 *
 * Its name is filled in, if it had none but "macvtapN". Returns: a descriptor (transfer full), or
 * -1 with @error: there is no such interface, no right, or no driver.
 */
int macvtap_open(const MacvtapHost *host, const char *folder, DomainInterface *interface,
                 GError **error);

/* Removes the link @name with its note in @folder; nothing happens without a note, or where another
 * has a link of that name. */
void macvtap_remove(const MacvtapHost *host, const char *folder, const char *name);

/* All links of which @folder has notes. */
void macvtap_remove_all(const MacvtapHost *host, const char *folder);

#endif
