/* macvtap by rtnetlink (RTM_NEWLINK, kind "macvtap") and /dev/tapN.
 *
 * Left out: 802.1Qbg and 802.1Qbh, several queues.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/macvtap.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "daemon/error.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOTE "macvtap-"
#define NAMES_MAX 8192u

/* --- messages --- */

typedef struct LinkMessage {
    struct nlmsghdr header;
    struct ifinfomsg link;
    uint8_t attributes[256];
} LinkMessage;

static void message_init(LinkMessage *message, int type, unsigned flags)
{
    *message = (LinkMessage){
        .header = { .nlmsg_len = NLMSG_LENGTH(sizeof(message->link)),
                    .nlmsg_type = (uint16_t)type,
                    .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags) },
    };
}

static size_t add_attribute(LinkMessage *message, int type, const void *data, size_t size)
{
    size_t at = message->header.nlmsg_len;
    struct rtattr attribute = { .rta_type = (uint16_t)type, .rta_len = (uint16_t)RTA_LENGTH(size) };
    lodge_assert(at + RTA_SPACE(size) <= sizeof(*message));
    memcpy((uint8_t *)message + at, &attribute, sizeof(attribute));
    if (size) {
        memcpy((uint8_t *)message + at + RTA_LENGTH(0), data, size);
    }
    message->header.nlmsg_len = (uint32_t)(at + RTA_SPACE(size));
    return at;
}

/* The attribute that begins at @start holds all since. */
static void end_nest(LinkMessage *message, size_t start)
{
    uint16_t length = (uint16_t)(message->header.nlmsg_len - start);
    memcpy((uint8_t *)message + start + offsetof(struct rtattr, rta_len), &length, sizeof(length));
}

static uint32_t mode_of(const DomainInterface *interface)
{
    static const uint32_t modes[] = {
        [MACVTAP_VEPA] = MACVLAN_MODE_VEPA,
        [MACVTAP_PRIVATE] = MACVLAN_MODE_PRIVATE,
        [MACVTAP_BRIDGE] = MACVLAN_MODE_BRIDGE,
        [MACVTAP_PASSTHROUGH] = MACVLAN_MODE_PASSTHRU,
    };
    return modes[interface->source_mode ? interface->source_mode : MACVTAP_VEPA];
}

static int make_link(const MacvtapHost *host, const DomainInterface *interface, const char *name,
                     uint32_t lower)
{
    LinkMessage message;
    uint32_t mode = mode_of(interface);
    message_init(&message, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    add_attribute(&message, IFLA_IFNAME, name, strlen(name) + 1);
    add_attribute(&message, IFLA_LINK, &lower, sizeof(lower));
    add_attribute(&message, IFLA_ADDRESS, interface->mac.byte, sizeof(interface->mac.byte));
    if (interface->mtu) {
        add_attribute(&message, IFLA_MTU, &interface->mtu, sizeof(interface->mtu));
    }
    size_t info = add_attribute(&message, IFLA_LINKINFO, NULL, 0);
    add_attribute(&message, IFLA_INFO_KIND, "macvtap", strlen("macvtap"));
    size_t data = add_attribute(&message, IFLA_INFO_DATA, NULL, 0);
    add_attribute(&message, IFLA_MACVLAN_MODE, &mode, sizeof(mode));
    end_nest(&message, data);
    end_nest(&message, info);
    return host->request(host->opaque, &message, message.header.nlmsg_len);
}

/* A passthrough link has its lower link's MAC until it is set; then the lower one has the guest's.
 * The kernel puts it back when the link goes. */
static int set_up(const MacvtapHost *host, const DomainInterface *interface, unsigned index)
{
    LinkMessage message;
    message_init(&message, RTM_NEWLINK, 0);
    message.link.ifi_index = (int)index;
    message.link.ifi_flags = IFF_UP;
    message.link.ifi_change = IFF_UP;
    if (interface->source_mode == MACVTAP_PASSTHROUGH) {
        add_attribute(&message, IFLA_ADDRESS, interface->mac.byte, sizeof(interface->mac.byte));
    }
    return host->request(host->opaque, &message, message.header.nlmsg_len);
}

static int delete_link(const MacvtapHost *host, unsigned index)
{
    LinkMessage message;
    message_init(&message, RTM_DELLINK, 0);
    message.link.ifi_index = (int)index;
    return host->request(host->opaque, &message, message.header.nlmsg_len);
}

/* --- notes --- */

static char *note_path(const char *folder, const char *name)
{
    return g_strdup_printf("%s/" NOTE "%s", folder, name);
}

static char *mac_text(const MacAddress *mac)
{
    return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac->byte[0], mac->byte[1],
                           mac->byte[2], mac->byte[3], mac->byte[4], mac->byte[5]);
}

static int write_note(const char *folder, const char *name, const MacAddress *mac)
{
    g_autofree char *path = note_path(folder, name);
    g_autofree char *text = mac_text(mac);
    autofd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n = write(fd, text, strlen(text));
    return n == (ssize_t)strlen(text) ? 0 : n < 0 ? -errno : -ENOSPC;
}

void macvtap_remove(const MacvtapHost *host, const char *folder, const char *name)
{
    g_autofree char *path = note_path(folder, name);
    g_autofree char *noted = NULL;
    MacAddress mac;
    unsigned index = host->index_of(host->opaque, name);
    if (!g_file_get_contents(path, &noted, NULL, NULL)) {
        return;
    }
    if (index && host->mac_of(host->opaque, name, &mac)) {
        g_autofree char *text = mac_text(&mac);
        int err = strcmp(text, noted) == 0 ? delete_link(host, index) : 0;
        if (err < 0 && err != -ENODEV) {
            log_write(LOG_LEVEL_WARN, "the link '%s' of a guest that ended stays: %s", name,
                      g_strerror(-err));
        }
    }
    g_unlink(path);
}

void macvtap_remove_all(const MacvtapHost *host, const char *folder)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        if (g_str_has_prefix(name, NOTE)) {
            macvtap_remove(host, folder, name + strlen(NOTE));
        }
    }
    g_clear_pointer(&dir, g_dir_close);
}

/* --- opening --- */

static int explain(const DomainInterface *interface, const char *name, int err, GError **error)
{
    if (err == -EOPNOTSUPP) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: the host's kernel has no macvtap (module "
                         "'macvtap') for <interface type='direct'>; type 'bridge' needs none");
    } else if (err == -EBUSY || err == -EINVAL) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "cannot make the macvtap interface '%s' on '%s': %s; 'passthrough' has "
                         "the interface for itself, and one in a bridge has none",
                         name, interface->source_dev, g_strerror(-err));
    } else {
        lodge_error_set_errno(error, err, "cannot make the macvtap interface '%s' on '%s'", name,
                              interface->source_dev);
    }
    return -1;
}

/* Makes a link of a free name, or of the one that is asked for. Returns 0 or negative errno. */
static int make_named(const MacvtapHost *host, const char *folder, const DomainInterface *interface,
                      uint32_t lower, char name[IFNAMSIZ])
{
    bool is_own = interface->target_dev && !g_str_has_prefix(interface->target_dev, "macvtap") &&
                  !g_str_has_prefix(interface->target_dev, "vnet");
    int err = -EEXIST;
    for (unsigned n = 0; err == -EEXIST && n < (is_own ? 1 : NAMES_MAX); n++) {
        if (is_own) {
            g_strlcpy(name, interface->target_dev, IFNAMSIZ);
        } else {
            g_snprintf(name, IFNAMSIZ, "macvtap%u", n);
        }
        if (host->index_of(host->opaque, name)) {
            continue;
        }
        err = write_note(folder, name, &interface->mac);
        failpoint("macvtap-noted");
        err = err < 0 ? err : make_link(host, interface, name, lower);
        if (err < 0) {
            g_autofree char *path = note_path(folder, name);
            g_unlink(path);
        }
    }
    failpoint("macvtap-made");
    return err;
}

int macvtap_open(const MacvtapHost *host, const char *folder, DomainInterface *interface,
                 GError **error)
{
    char name[IFNAMSIZ] = "";
    unsigned lower = host->index_of(host->opaque, interface->source_dev ?: "");
    if (!lower) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "Unable to get index for interface %s: the host has no such interface",
                         interface->source_dev ?: "");
        return -1;
    }
    int err = make_named(host, folder, interface, lower, name);
    if (err < 0) {
        return explain(interface, name, err, error);
    }
    unsigned index = host->index_of(host->opaque, name);
    err = set_up(host, interface, index);
    int fd = err < 0 ? err : host->open_device(host->opaque, name, index);
    if (fd < 0) {
        macvtap_remove(host, folder, name);
        lodge_error_set_errno(error, fd, "cannot open the macvtap interface '%s' on '%s'", name,
                              interface->source_dev);
        return -1;
    }
    g_free(interface->target_dev);
    interface->target_dev = g_strdup(name);
    return fd;
}

/* --- the kernel --- */

static int host_request(void *opaque, const void *message, size_t size)
{
    struct timeval patience = { .tv_sec = 5 };
    autofd fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        send(fd, message, size, 0) < 0) {
        return -errno;
    }
    union {
        struct nlmsghdr header;
        uint8_t bytes[4096];
    } answer;
    ssize_t got = recv(fd, &answer, sizeof(answer), 0);
    struct nlmsgerr verdict;
    if (got < (ssize_t)(sizeof(answer.header) + sizeof(verdict)) ||
        answer.header.nlmsg_type != NLMSG_ERROR) {
        return got < 0 ? -errno : -EPROTO;
    }
    memcpy(&verdict, answer.bytes + sizeof(answer.header), sizeof(verdict));
    return verdict.error;
}

static unsigned host_index_of(void *opaque, const char *name)
{
    return if_nametoindex(name);
}

static bool host_mac_of(void *opaque, const char *name, MacAddress *out)
{
    struct ifreq request = { 0 };
    autofd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    g_strlcpy(request.ifr_name, name, IFNAMSIZ);
    if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0) {
        return false;
    }
    memcpy(out->byte, request.ifr_hwaddr.sa_data, sizeof(out->byte));
    return true;
}

/* udev may need a moment for the device's file. */
static int host_open_device(void *opaque, const char *name, unsigned index)
{
    char path[64];
    g_snprintf(path, sizeof(path), "/dev/tap%u", index);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    for (unsigned i = 0; i < 100 && fd < 0 && errno == ENOENT; i++) {
        g_usleep(20000);
        fd = open(path, O_RDWR | O_CLOEXEC);
    }
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    g_strlcpy(request.ifr_name, name, IFNAMSIZ);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
        int err = -errno;
        cleanup_close(&fd);
        return err;
    }
    return fd;
}

const MacvtapHost macvtap_host = {
    .request = host_request,
    .index_of = host_index_of,
    .mac_of = host_mac_of,
    .open_device = host_open_device,
};
