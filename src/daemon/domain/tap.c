/* TAP interfaces by /dev/net/tun and the bridge ioctls.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/tap.h"

#include "base/cleanup.h"
#include "daemon/domain/macvtap.h"
#include "daemon/domain/runtime.h"
#include "daemon/error.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static bool join_bridge(int control, const char *name, const char *bridge, GError **error)
{
    struct ifreq request = { 0 };
    g_strlcpy(request.ifr_name, bridge, IFNAMSIZ);
    request.ifr_ifindex = (int)if_nametoindex(name);
    if (if_nametoindex(bridge) == 0) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "Cannot get interface MTU on '%s': there is no such bridge", bridge);
        return false;
    }
    if (ioctl(control, SIOCBRADDIF, &request) < 0) {
        lodge_error_set_errno(error, errno, "cannot add '%s' to the bridge '%s'", name, bridge);
        return false;
    }
    return true;
}

bool tap_move(const char *name, const char *from, const char *to, GError **error)
{
    struct ifreq request = { .ifr_ifindex = (int)if_nametoindex(name) };
    autofd control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0 || !request.ifr_ifindex || !if_nametoindex(to)) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "cannot move '%s' to the bridge '%s': there is no such bridge", name, to);
        return false;
    }
    g_strlcpy(request.ifr_name, from, IFNAMSIZ);
    if (ioctl(control, SIOCBRDELIF, &request) < 0) {
        lodge_error_set_errno(error, errno, "cannot take '%s' from the bridge '%s'", name, from);
        return false;
    }
    if (!join_bridge(control, name, to, error)) {
        join_bridge(control, name, from, NULL);
        return false;
    }
    return true;
}

static bool bring_up(int control, const char *name, unsigned mtu, GError **error)
{
    struct ifreq request = { 0 };
    g_strlcpy(request.ifr_name, name, IFNAMSIZ);
    if (mtu) {
        request.ifr_mtu = (int)mtu;
        if (ioctl(control, SIOCSIFMTU, &request) < 0) {
            lodge_error_set_errno(error, errno, "cannot set the MTU of '%s' to %u", name, mtu);
            return false;
        }
    }
    if (ioctl(control, SIOCGIFFLAGS, &request) < 0) {
        lodge_error_set_errno(error, errno, "cannot look at '%s'", name);
        return false;
    }
    request.ifr_flags |= IFF_UP;
    if (ioctl(control, SIOCSIFFLAGS, &request) < 0) {
        lodge_error_set_errno(error, errno, "cannot bring '%s' up", name);
        return false;
    }
    return true;
}

/* No frames between ports of a bridge that are so marked. */
static bool isolate(const char *name, GError **error)
{
    const struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
        struct rtattr port;
        struct rtattr isolated;
        uint8_t on;
        uint8_t padding[3];
    } message = {
        .header = { .nlmsg_len = sizeof(message),
                    .nlmsg_type = RTM_SETLINK,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
        .link = { .ifi_family = AF_BRIDGE, .ifi_index = (int)if_nametoindex(name) },
        .port = { .rta_len = RTA_LENGTH(RTA_SPACE(1)), .rta_type = IFLA_PROTINFO | NLA_F_NESTED },
        .isolated = { .rta_len = RTA_LENGTH(1), .rta_type = IFLA_BRPORT_ISOLATED },
        .on = 1,
    };
    int err = macvtap_host.request(macvtap_host.opaque, &message, sizeof(message));
    if (err < 0) {
        lodge_error_set_errno(error, err, "cannot isolate '%s' on its bridge", name);
    }
    return err == 0;
}

int tap_open(void *opaque, DomainInterface *interface, GError **error)
{
    if (interface->type == INTERFACE_DIRECT) {
        Domain *domain = opaque;
        return macvtap_open(&macvtap_host, domain->dir, interface, error);
    }
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    bool is_own = interface->target_dev && !g_str_has_prefix(interface->target_dev, "vnet");
    autofd fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    autofd control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || control < 0) {
        lodge_error_set_errno(error, errno, "cannot open '/dev/net/tun'");
        return -1;
    }
    g_strlcpy(request.ifr_name, is_own ? interface->target_dev : "vnet%d", IFNAMSIZ);
    if (ioctl(fd, TUNSETIFF, &request) < 0) {
        lodge_error_set_errno(error, errno, "cannot create the tap interface '%s'",
                              request.ifr_name);
        return -1;
    }
    if (interface->type == INTERFACE_BRIDGE &&
        !join_bridge(control, request.ifr_name, interface->source_bridge ?: "", error)) {
        return -1;
    }
    if (!bring_up(control, request.ifr_name, interface->mtu, error) ||
        (interface->isolated == TRI_YES && !isolate(request.ifr_name, error))) {
        return -1;
    }
    g_free(interface->target_dev);
    interface->target_dev = g_strdup(request.ifr_name);
    return steal_fd(&fd);
}
