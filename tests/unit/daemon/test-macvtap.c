/* macvtap links with a kernel that is only played: its answers, and what is asked of it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/macvtap.h"
#include "lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#define LINKS 4

/* A host with one interface, "eth0" (index 1), and what is made on it. */
typedef struct Kernel {
    struct {
        char name[IFNAMSIZ];
        MacAddress mac;
        uint32_t mode, lower, mtu;
        bool is_up;
    } links[LINKS]; /* index 10, 11, ... */
    int refuse_new, refuse_open;
    char folder[64];
} Kernel;

typedef struct Attributes {
    const uint8_t *at[64];
    size_t size[64];
} Attributes;

static void take(const uint8_t *bytes, size_t size, Attributes *out)
{
    memset(out, 0, sizeof(*out));
    while (size >= sizeof(struct rtattr)) {
        struct rtattr head;
        memcpy(&head, bytes, sizeof(head));
        assert_in_range(head.rta_len, sizeof(head), size);
        assert_in_range(head.rta_type, 0, 63);
        out->at[head.rta_type] = bytes + sizeof(head);
        out->size[head.rta_type] = head.rta_len - sizeof(head);
        size -= MIN(RTA_ALIGN(head.rta_len), size);
        bytes += RTA_ALIGN(head.rta_len);
    }
}

static uint32_t word(const Attributes *attributes, int type)
{
    uint32_t value = 0;
    assert_int_equal(attributes->size[type], sizeof(value));
    memcpy(&value, attributes->at[type], sizeof(value));
    return value;
}

static unsigned index_of(void *opaque, const char *name)
{
    Kernel *kernel = opaque;
    for (unsigned i = 0; i < LINKS; i++) {
        if (*name && strcmp(kernel->links[i].name, name) == 0) {
            return 10 + i;
        }
    }
    return strcmp(name, "eth0") == 0;
}

static int new_link(Kernel *kernel, const Attributes *all)
{
    Attributes info, data;
    take(all->at[IFLA_LINKINFO], all->size[IFLA_LINKINFO], &info);
    assert_memory_equal(info.at[IFLA_INFO_KIND], "macvtap", 7);
    take(info.at[IFLA_INFO_DATA], info.size[IFLA_INFO_DATA], &data);
    for (unsigned i = 0; i < LINKS && !kernel->refuse_new; i++) {
        if (!kernel->links[i].name[0]) {
            g_strlcpy(kernel->links[i].name, (const char *)all->at[IFLA_IFNAME], IFNAMSIZ);
            memcpy(kernel->links[i].mac.byte, all->at[IFLA_ADDRESS], 6);
            kernel->links[i].lower = word(all, IFLA_LINK);
            kernel->links[i].mode = word(&data, IFLA_MACVLAN_MODE);
            kernel->links[i].mtu = all->at[IFLA_MTU] ? word(all, IFLA_MTU) : 0;
            return 0;
        }
    }
    return kernel->refuse_new;
}

static int request(void *opaque, const void *message, size_t size)
{
    Kernel *kernel = opaque;
    struct nlmsghdr header;
    struct ifinfomsg link;
    Attributes all;
    memcpy(&header, message, sizeof(header));
    memcpy(&link, (const uint8_t *)message + sizeof(header), sizeof(link));
    assert_int_equal(header.nlmsg_len, size);
    size_t skip = NLMSG_LENGTH(sizeof(link));
    take((const uint8_t *)message + skip, size - skip, &all);
    if (header.nlmsg_flags & NLM_F_CREATE) {
        return new_link(kernel, &all);
    }
    unsigned i = (unsigned)link.ifi_index - 10;
    assert_in_range(i, 0, LINKS - 1);
    if (header.nlmsg_type == RTM_DELLINK) {
        memset(&kernel->links[i], 0, sizeof(kernel->links[i]));
    } else {
        kernel->links[i].is_up = link.ifi_flags & IFF_UP;
    }
    return 0;
}

static bool mac_of(void *opaque, const char *name, MacAddress *out)
{
    Kernel *kernel = opaque;
    *out = kernel->links[index_of(opaque, name) - 10].mac;
    return true;
}

static int open_device(void *opaque, const char *name, unsigned index)
{
    Kernel *kernel = opaque;
    return kernel->refuse_open ? kernel->refuse_open : open("/dev/null", O_RDWR | O_CLOEXEC);
}

static MacvtapHost host_of(Kernel *kernel)
{
    return (MacvtapHost){ request, index_of, mac_of, open_device, kernel };
}

static int set_up(void **state)
{
    Kernel *kernel = g_new0(Kernel, 1);
    g_strlcpy(kernel->folder, "/tmp/test-macvtap-XXXXXX", sizeof(kernel->folder));
    assert_non_null(g_mkdtemp(kernel->folder));
    *state = kernel;
    return 0;
}

/* No note may be left. */
static int tear_down(void **state)
{
    Kernel *kernel = *state;
    assert_int_equal(g_rmdir(kernel->folder), 0);
    g_free(kernel);
    return 0;
}

static DomainInterface interface_of(DomainMacvtapMode mode)
{
    return (DomainInterface){ .type = INTERFACE_DIRECT,
                              .source_dev = (char *)"eth0",
                              .source_mode = mode,
                              .mac = { { 0x52, 0x54, 0, 1, 2, 3 } } };
}

static void each_mode_makes_its_link_and_its_end_removes_it(void **state)
{
    static const struct {
        DomainMacvtapMode mode;
        uint32_t kernel;
    } modes[] = { { MACVTAP_NONE, MACVLAN_MODE_VEPA },
                  { MACVTAP_VEPA, MACVLAN_MODE_VEPA },
                  { MACVTAP_PRIVATE, MACVLAN_MODE_PRIVATE },
                  { MACVTAP_BRIDGE, MACVLAN_MODE_BRIDGE },
                  { MACVTAP_PASSTHROUGH, MACVLAN_MODE_PASSTHRU } };
    Kernel *kernel = *state;
    const MacvtapHost host = host_of(kernel);
    for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
        DomainInterface interface = interface_of(modes[i].mode);
        int fd = macvtap_open(&host, kernel->folder, &interface, NULL);
        assert_true(fd >= 0);
        close(fd);
        assert_string_equal(interface.target_dev, "macvtap0");
        assert_string_equal(kernel->links[0].name, "macvtap0");
        assert_int_equal(kernel->links[0].mode, modes[i].kernel);
        assert_int_equal(kernel->links[0].lower, 1);
        assert_memory_equal(&kernel->links[0].mac, &interface.mac, sizeof(interface.mac));
        assert_true(kernel->links[0].is_up);
        macvtap_remove(&host, kernel->folder, interface.target_dev);
        assert_int_equal(kernel->links[0].name[0], 0);
        g_free(interface.target_dev);
    }
}

static void names_that_are_taken_are_passed_over(void **state)
{
    Kernel *kernel = *state;
    const MacvtapHost host = host_of(kernel);
    DomainInterface a = interface_of(MACVTAP_BRIDGE), b = interface_of(MACVTAP_BRIDGE);
    close(macvtap_open(&host, kernel->folder, &a, NULL));
    close(macvtap_open(&host, kernel->folder, &b, NULL));
    assert_string_equal(b.target_dev, "macvtap1");
    macvtap_remove_all(&host, kernel->folder);
    assert_int_equal(kernel->links[0].name[0] + kernel->links[1].name[0], 0);
    g_free(a.target_dev);
    g_free(b.target_dev);
}

static void a_link_of_another_with_a_noted_name_stays(void **state)
{
    Kernel *kernel = *state;
    const MacvtapHost host = host_of(kernel);
    DomainInterface interface = interface_of(MACVTAP_BRIDGE);
    close(macvtap_open(&host, kernel->folder, &interface, NULL));
    kernel->links[0].mac.byte[5]++; /* gone, and made anew by somebody else */
    macvtap_remove_all(&host, kernel->folder);
    assert_string_equal(kernel->links[0].name, "macvtap0");
    g_free(interface.target_dev);
}

static void a_host_without_the_driver_is_named(void **state)
{
    Kernel *kernel = *state;
    const MacvtapHost host = host_of(kernel);
    DomainInterface interface = interface_of(MACVTAP_BRIDGE);
    g_autoptr(GError) error = NULL;
    kernel->refuse_new = -EOPNOTSUPP;
    assert_int_equal(macvtap_open(&host, kernel->folder, &interface, &error), -1);
    assert_non_null(strstr(error->message, "no macvtap"));
    assert_null(interface.target_dev);
}

static void an_interface_that_is_not_there_is_named(void **state)
{
    Kernel *kernel = *state;
    const MacvtapHost host = host_of(kernel);
    DomainInterface interface = interface_of(MACVTAP_BRIDGE);
    g_autoptr(GError) error = NULL;
    interface.source_dev = (char *)"eth9";
    assert_int_equal(macvtap_open(&host, kernel->folder, &interface, &error), -1);
    assert_non_null(strstr(error->message, "eth9"));
}

static void a_link_whose_device_does_not_open_is_removed(void **state)
{
    Kernel *kernel = *state;
    const MacvtapHost host = host_of(kernel);
    DomainInterface interface = interface_of(MACVTAP_BRIDGE);
    g_autoptr(GError) error = NULL;
    kernel->refuse_open = -EACCES;
    assert_int_equal(macvtap_open(&host, kernel->folder, &interface, &error), -1);
    assert_int_equal(kernel->links[0].name[0], 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_mode_makes_its_link_and_its_end_removes_it),
        TEST(names_that_are_taken_are_passed_over),
        TEST(a_link_of_another_with_a_noted_name_stays),
        TEST(a_host_without_the_driver_is_named),
        TEST(an_interface_that_is_not_there_is_named),
        TEST(a_link_whose_device_does_not_open_is_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
