/* Network back ends: options of the user network, its DHCP and ARP answers, links and refusals.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "base/endian.h"
#include "lib/check.h"
#include "vmm/net/user-config.h"
#include "vmm/net/user.h"

#include <arpa/inet.h>
#include <string.h>

typedef struct Card {
    uint8_t frame[2048];
    size_t length;
    unsigned frames, links;
    bool is_full;
} Card;

static ssize_t card_receive(void *opaque, const struct iovec *iov, unsigned count)
{
    Card *card = opaque;
    assert_int_equal(count, 1);
    if (card->is_full) {
        return 0;
    }
    assert_true(iov->iov_len <= sizeof(card->frame));
    memcpy(card->frame, iov->iov_base, iov->iov_len);
    card->length = iov->iov_len;
    card->frames++;
    return (ssize_t)iov->iov_len;
}

static void card_link(void *opaque, bool is_up)
{
    ((Card *)opaque)->links++;
}

static void card_can_send(void *opaque)
{
}

static NetBackend *open_user(EventLoop *loop, Card *card)
{
    NetBackend *net = net_new(net_class_find("user", NULL), "n0");
    assert_true(net_set_property(net, "ipv6", "off", NULL));
    assert_true(net_open(net, loop, NULL));
    NetFrontend front = { card_receive, card_link, card_can_send, card };
    assert_true(net_attach(net, &front, NULL));
    assert_false(net_attach(net, &front, NULL));
    return net;
}

/* Who has 10.0.2.2? Tell 10.0.2.15. */
static const uint8_t arp_request[60] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6, 0, 1, 8, 0,  6, 4, 0,
    1,    0x52, 0x54, 0,    0x12, 0x34, 0x56, 10,   0, 2,    15,   0,    0, 0, 0, 0, 0, 10, 0, 2, 2,
};

static void turn_until_frames(EventLoop *loop, const Card *card, unsigned frames)
{
    for (int i = 0; i < 1000 && card->frames < frames; i++) {
        loop_run_once(loop, 10);
    }
    assert_int_equal(card->frames, frames);
}

static void the_user_network_answers_arp_for_its_host(void **state)
{
    EventLoop *loop = loop_new();
    Card card = { 0 };
    NetBackend *net = open_user(loop, &card);
    struct iovec iov = { (void *)arp_request, sizeof(arp_request) };
    assert_int_equal(net_send(net, &iov, 1), sizeof(arp_request));
    turn_until_frames(loop, &card, 1);
    assert_int_equal(be16_get(card.frame + 12), 0x806);
    assert_int_equal(be16_get(card.frame + 20), 2);
    static const uint8_t host[4] = { 10, 0, 2, 2 };
    assert_memory_equal(card.frame + 28, host, 4);
    net_free(net);
    loop_free(loop);
}

/* Sum of 16-bit words, as in IP headers. */
static uint16_t ip_checksum(const uint8_t *bytes, size_t length)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < length; i += 2) {
        sum += be16_get(bytes + i);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t) ~(sum + (sum >> 16));
}

/* DHCPDISCOVER of 52:54:00:12:34:56 in @frame; returns its length. */
static size_t make_discover(uint8_t *frame)
{
    enum { IP = 14, UDP = IP + 20, BOOTP = UDP + 8, OPTIONS = BOOTP + 236, END = OPTIONS + 8 };
    static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
    static const uint8_t options[8] = { 0x63, 0x82, 0x53, 0x63, 53, 1, 1, 0xff };
    memset(frame, 0, END);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, mac, sizeof(mac));
    be16_put(frame + 12, 0x800);
    frame[IP] = 0x45;
    be16_put(frame + IP + 2, END - IP);
    frame[IP + 8] = 64;
    frame[IP + 9] = IPPROTO_UDP;
    memset(frame + IP + 16, 0xff, 4);
    be16_put(frame + IP + 10, ip_checksum(frame + IP, 20));
    be16_put(frame + UDP, 68);
    be16_put(frame + UDP + 2, 67);
    be16_put(frame + UDP + 4, END - UDP);
    frame[BOOTP] = 1;
    frame[BOOTP + 1] = 1;
    frame[BOOTP + 2] = 6;
    memcpy(frame + BOOTP + 28, mac, sizeof(mac));
    memcpy(frame + OPTIONS, options, sizeof(options));
    return END;
}

static void the_user_network_offers_the_guest_its_usual_address(void **state)
{
    EventLoop *loop = loop_new();
    Card card = { 0 };
    uint8_t frame[512];
    NetBackend *net = open_user(loop, &card);
    struct iovec iov = { frame, make_discover(frame) };
    assert_int_equal(net_send(net, &iov, 1), iov.iov_len);
    turn_until_frames(loop, &card, 1);
    static const uint8_t address[4] = { 10, 0, 2, 15 };
    assert_true(card.length > 42 + 240);
    assert_int_equal(be16_get(card.frame + 36), 68);
    assert_int_equal(card.frame[42], 2);
    assert_memory_equal(card.frame + 42 + 16, address, 4);
    net_free(net);
    loop_free(loop);
}

static void a_frame_without_room_is_offered_again(void **state)
{
    EventLoop *loop = loop_new();
    Card card = { .is_full = true };
    NetBackend *net = open_user(loop, &card);
    struct iovec iov = { (void *)arp_request, sizeof(arp_request) };
    net_send(net, &iov, 1);
    for (int i = 0; i < 5; i++) {
        loop_run_once(loop, 1);
    }
    assert_int_equal(card.frames, 0);
    card.is_full = false;
    net_accept_frames(net);
    turn_until_frames(loop, &card, 1);
    net_free(net);
    loop_free(loop);
}

static void frames_of_a_link_that_is_down_are_dropped(void **state)
{
    EventLoop *loop = loop_new();
    Card card = { 0 };
    NetBackend *net = open_user(loop, &card);
    struct iovec iov = { (void *)arp_request, sizeof(arp_request) };
    net_set_link(net, false);
    net_set_link(net, false);
    assert_int_equal(card.links, 1);
    assert_int_equal(net_send(net, &iov, 1), sizeof(arp_request));
    loop_run_once(loop, 5);
    assert_int_equal(card.frames, 0);
    struct iovec runt = { (void *)arp_request, 3 };
    net_set_link(net, true);
    assert_int_equal(net_send(net, &runt, 1), 3);
    net_free(net);
    loop_free(loop);
}

static void addresses_follow_the_network_and_its_options(void **state)
{
    static const struct {
        const char *net, *host, *start, *dns, *wrong;
    } rows[] = {
        { NULL, NULL, NULL, NULL, NULL },
        { "192.168.7.9/16", "192.168.1.1", NULL, NULL, NULL },
        { "10.1.0.0/29", NULL, NULL, NULL, NULL },
        { "10.1.0.0/30", NULL, NULL, NULL, "30" },
        { "10.0.2.0/255.255.255.0", NULL, NULL, "10.0.2.99", NULL },
        { "10.0.2.0/33", NULL, NULL, NULL, "33" },
        { "10.0.2.0/255.0.255.0", NULL, NULL, NULL, "255.0.255.0" },
        { "ten", NULL, NULL, NULL, "ten" },
        { NULL, "10.0.3.2", NULL, NULL, "outside" },
        { NULL, "10.0.2.3", NULL, NULL, "'dns'" },
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        g_autoptr(GError) error = NULL;
        UserAddresses out;
        bool good = user_addresses_resolve(rows[i].net, rows[i].host, rows[i].start, rows[i].dns,
                                           &out, &error);
        assert_int_equal(good, !rows[i].wrong);
        if (rows[i].wrong) {
            assert_non_null(strstr(error->message, rows[i].wrong));
        } else {
            assert_int_not_equal(out.host.s_addr, out.dns.s_addr);
            assert_int_equal(out.dns.s_addr & out.mask.s_addr, out.network.s_addr);
        }
    }
}

static void forwards_parse_or_are_named(void **state)
{
    static const struct {
        const char *text;
        bool good;
        uint16_t host_port, guest_port;
    } rows[] = {
        { "tcp::2222-:22", true, 2222, 22 },
        { "udp:127.0.0.1:53-10.0.2.15:5353", true, 53, 5353 },
        { "::80-:8080", true, 80, 8080 },
        { "tcp::0-:22", false, 0, 0 },
        { "tcp::70000-:22", false, 0, 0 },
        { "tcp::22", false, 0, 0 },
        { "sctp::22-:22", false, 0, 0 },
        { "tcp:host:1-:2", false, 0, 0 },
        { "", false, 0, 0 },
        { "tcp:", false, 0, 0 },
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        g_autoptr(GError) error = NULL;
        HostForward out;
        assert_int_equal(host_forward_parse(rows[i].text, &out, &error), rows[i].good);
        if (rows[i].good) {
            assert_int_equal(out.host_port, rows[i].host_port);
            assert_int_equal(out.guest_port, rows[i].guest_port);
        } else {
            assert_non_null(strstr(error->message, rows[i].text));
        }
    }
}

static void what_is_not_supported_is_refused_by_name(void **state)
{
    static const struct {
        const char *name, *value, *wrong;
    } rows[] = { { "script", "/etc/up", "script" }, { "vhost", "on", "vhost" } };
    EventLoop *loop = loop_new();
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;
        NetBackend *net = net_new(net_class_find("tap", NULL), "t0");
        assert_true(net_set_property(net, rows[i].name, rows[i].value, NULL));
        assert_false(net_open(net, loop, &error));
        assert_non_null(strstr(error->message, rows[i].wrong));
        assert_non_null(strstr(error->message, "'t0'"));
        net_free(net);
    }
    g_autoptr(GError) error = NULL;
    assert_null(net_class_find("l2tpv3", &error));
    assert_non_null(strstr(error->message, "tap, user"));
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_user_network_answers_arp_for_its_host),
        cmocka_unit_test(the_user_network_offers_the_guest_its_usual_address),
        cmocka_unit_test(a_frame_without_room_is_offered_again),
        cmocka_unit_test(frames_of_a_link_that_is_down_are_dropped),
        cmocka_unit_test(addresses_follow_the_network_and_its_options),
        cmocka_unit_test(forwards_parse_or_are_named),
        cmocka_unit_test(what_is_not_supported_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
