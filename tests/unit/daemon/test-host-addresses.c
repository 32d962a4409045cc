/* Addresses of guests by lease files and the kernel's neighbours.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/host-addresses.h"
#include "lib/check.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

static GArray *leases(const char *text)
{
    GArray *out = g_array_new(FALSE, TRUE, sizeof(HostAddress));
    leases_read(text, 1000, out);
    return out;
}

static const HostAddress *at(const GArray *list, guint i)
{
    return &g_array_index(list, HostAddress, i);
}

static void a_lease_has_mac_and_address(void **state)
{
    static const uint8_t mac[] = { 0x52, 0x54, 0, 0x11, 0x22, 0x33 };
    g_autoptr(GArray) list = leases("2000 52:54:00:11:22:33 192.168.1.5 host 01:02\n"
                                    "0 52:54:00:11:22:34 10.0.0.7 * *\n");
    assert_int_equal(list->len, 2);
    assert_memory_equal(at(list, 0)->mac, mac, 6);
    assert_string_equal(at(list, 0)->text, "192.168.1.5");
    assert_string_equal(at(list, 1)->text, "10.0.0.7"); /* 0: for ever */
}

static void an_ipv6_lease_has_its_mac_in_the_duid(void **state)
{
    static const uint8_t mac[] = { 0x52, 0x54, 0, 0x11, 0x22, 0x35 };
    g_autoptr(GArray) list =
        leases("duid 00:01:00:01:2a:2b:2c:2d:52:54:00:00:00:01\n"
               "2000 1122867 fd00:0::5 host 00:01:00:01:2a:2b:2c:2d:52:54:00:11:22:35\n"
               "2000 1122868 fd00::6 host 00:03:00:01:52:54:00:11:22:35\n"
               "2000 1122869 fd00::7 host 00:02:00:00:ab:11:52:54:00:11:22:35\n");
    assert_int_equal(list->len, 2);
    assert_true(at(list, 0)->is_v6);
    assert_string_equal(at(list, 0)->text, "fd00::5");
    assert_memory_equal(at(list, 0)->mac, mac, 6);
    assert_memory_equal(at(list, 1)->mac, mac, 6);
}

static void what_has_ended_or_is_no_lease_is_skipped(void **state)
{
    char long_line[2000];
    memset(long_line, 'a', sizeof(long_line) - 1);
    long_line[sizeof(long_line) - 1] = 0;
    static const char *const bad[] = { "999 52:54:00:11:22:33 10.0.0.1 a b",
                                       "x 52:54:00:11:22:33 10.0.0.1 a b",
                                       "2000 52:54:00:11:22 10.0.0.1 a b",
                                       "2000 52:54:00:11:22:33:44 10.0.0.1 a b",
                                       "2000 52:54:00:11:22:33 10.0.0.256 a b",
                                       "2000 52:54:00:11:22:33 10.0.0.1",
                                       "2000",
                                       "",
                                       "\n\n \t" };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GArray) list = leases(bad[i]);
        assert_int_equal(list->len, 0);
    }
    g_autoptr(GArray) list = leases(long_line);
    assert_int_equal(list->len, 0);
}

/* An entry as the kernel sends it; returns its size. */
static size_t put_neighbour(uint8_t *out, unsigned family, uint16_t state, const void *address,
                            unsigned address_size)
{
    static const uint8_t mac[] = { 0x52, 0x54, 0, 0x11, 0x22, 0x33 };
    struct ndmsg body = { .ndm_family = (uint8_t)family, .ndm_state = state };
    struct rtattr dst = { (unsigned short)RTA_LENGTH(address_size), NDA_DST };
    struct rtattr link = { RTA_LENGTH(6), NDA_LLADDR };
    size_t size = NLMSG_LENGTH(sizeof(body)) + RTA_SPACE(address_size) + RTA_SPACE(6);
    struct nlmsghdr header = { .nlmsg_len = (uint32_t)size, .nlmsg_type = RTM_NEWNEIGH };
    memset(out, 0, size);
    memcpy(out, &header, sizeof(header));
    out += sizeof(header);
    memcpy(out, &body, sizeof(body));
    out += NLMSG_ALIGN(sizeof(body));
    memcpy(out, &dst, sizeof(dst));
    memcpy(out + sizeof(dst), address, address_size);
    out += RTA_SPACE(address_size);
    memcpy(out, &link, sizeof(link));
    memcpy(out + sizeof(link), mac, 6);
    return size;
}

static void neighbours_that_answer_are_read(void **state)
{
    static const uint8_t v4[] = { 10, 1, 2, 3 };
    static const uint8_t v6[16] = { 0xfe, 0x80, [15] = 1 };
    uint8_t bytes[512];
    size_t size = put_neighbour(bytes, AF_INET, NUD_STALE, v4, 4);
    size += put_neighbour(bytes + size, AF_INET6, NUD_REACHABLE, v6, 16);
    size += put_neighbour(bytes + size, AF_INET, NUD_FAILED, v4, 4);
    size += put_neighbour(bytes + size, AF_INET, NUD_INCOMPLETE, v4, 4);
    g_autoptr(GArray) list = g_array_new(FALSE, TRUE, sizeof(HostAddress));
    assert_true(neighbours_read(bytes, size, list));
    assert_int_equal(list->len, 2);
    assert_string_equal(at(list, 0)->text, "10.1.2.3");
    assert_string_equal(at(list, 1)->text, "fe80::1");
    assert_true(at(list, 1)->is_v6);
}

static void a_cut_answer_is_not_read_past_its_end(void **state)
{
    static const uint8_t v4[] = { 10, 1, 2, 3 };
    uint8_t bytes[128];
    size_t whole = put_neighbour(bytes, AF_INET, NUD_STALE, v4, 4);
    for (size_t size = 0; size < whole; size++) {
        g_autoptr(GArray) list = g_array_new(FALSE, TRUE, sizeof(HostAddress));
        g_autofree uint8_t *copy = g_memdup2(bytes, size);
        neighbours_read(copy, size, list);
        assert_int_equal(list->len, 0);
    }
}

static void the_loopback_network_has_8_bits(void **state)
{
    HostAddress address = { .text = "127.1.2.3" };
    HostAddress other = { .text = "203.0.113.77" };
    unsigned bits = host_prefix_of(&address);
    assert_true(bits == 8 || bits == 0); /* 0: loopback is down */
    assert_int_equal(host_prefix_of(&other), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_has_mac_and_address),
        cmocka_unit_test(an_ipv6_lease_has_its_mac_in_the_duid),
        cmocka_unit_test(what_has_ended_or_is_no_lease_is_skipped),
        cmocka_unit_test(neighbours_that_answer_are_read),
        cmocka_unit_test(a_cut_answer_is_not_read_past_its_end),
        cmocka_unit_test(the_loopback_network_has_8_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
