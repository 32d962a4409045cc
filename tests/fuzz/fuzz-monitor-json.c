/* What a peer may say to QMP, and a person to HMP (first byte odd).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "fuzz/fuzz-device.h"
#include "lib/fake-monitor-target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_init("fuzz", LOG_LEVEL_ERROR);
    bool is_human = size && data[0] & 1;
    FakeMonitorTarget *t = fake_monitor_target_new(is_human ? MONITOR_READLINE : MONITOR_CONTROL);
    if (!is_human) {
        fake_monitor_say(t, "{\"execute\":\"qmp_capabilities\"}");
    }
    for (size_t at = 1; at < size;) {
        size_t taken = fake_char_feed(t->chr, data + at, size - at);
        lodge_assert(taken);
        at += taken;
    }
    fake_monitor_target_free(t);
    return 0;
}
