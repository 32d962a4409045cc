/* Bytes of a hostile debugger. A byte 0xff makes a vCPU stop at a point; input without frames is
 * put into one packet, so that commands are reached without checksums.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/fake-gdb-target.h"
#include "vmm/gdbstub/packet.h"
#include "vmm/gdbstub/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drop(void *opaque, const void *bytes, size_t length)
{
}

static void feed_framed(GdbSession *session, const uint8_t *data, size_t size)
{
    size_t length;
    g_autofree char *frame = gdb_packet_frame((const char *)data, size, &length);
    gdb_session_receive(session, (const uint8_t *)frame, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FakeGdbTarget fake;
    fake_gdb_target_init(&fake);
    GdbSession *session = gdb_session_new(&fake.target, drop, NULL);
    size_t start = 0;
    /* Lines are packets; what holds a '$' is raw. */
    for (size_t i = 0; i <= size; i++) {
        if (i < size && data[i] != '\n') {
            continue;
        }
        const uint8_t *line = data + start;
        size_t length = i - start;
        start = i + 1;
        if (length && line[0] == 0xff) {
            VcpuExit exit = { .reason = VCPU_EXIT_DEBUG,
                              .debug_address = length > 1 ? line[1] : 0,
                              .debug_is_watchpoint = length > 2 };
            gdb_session_stopped(session, line[0] & 1, length > 3 ? NULL : &exit);
        } else if (length && (line[0] == '$' || line[0] < ' ')) {
            gdb_session_receive(session, line, length);
        } else {
            feed_framed(session, line, length);
        }
    }
    gdb_session_free(session);
    fake_gdb_target_done(&fake);
    return 0;
}
