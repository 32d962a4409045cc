/* A machine of fakes for monitors: one that counts what is asked of it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_LIB_FAKE_MONITOR_TARGET_H
#define LODGE_TESTS_LIB_FAKE_MONITOR_TARGET_H

#include "lib/fake-char.h"
#include "vmm/monitor/monitor.h"

#define FAKE_MONITOR_VCPUS 2

typedef struct FakeMonitorTarget {
    MonitorTarget table;
    FakeHost *fake; /* its RAM is the guest's, its loop the machine's */
    FakeChar *chr;  /* under the monitor */
    MonitorSet *monitors;
    const char *status;
    bool refuses_resume;
    unsigned resets, powerdowns, quits, nmis;
    uint64_t balloon_bytes;
    GString *calls; /* a line for each device or back end that was to come or go */
    Device *device; /* "dev0" */
    FdSets *fds;
    MonitorActions actions;
    CpuState state; /* of each vCPU */
} FakeMonitorTarget;

/* One monitor of @mode; its peer is connected. */
FakeMonitorTarget *fake_monitor_target_new(MonitorMode mode);
void fake_monitor_target_free(FakeMonitorTarget *t);
/* Feeds @text to the monitor and returns what it writes, until the next call. */
const char *fake_monitor_say(FakeMonitorTarget *t, const char *text);

#endif
