/* Interrupt outputs as devices see them: lines and messages.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_IRQ_LINE_H
#define LODGE_VMM_IRQ_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One interrupt line of a device. A zeroed line leads nowhere. Copied by value. */
typedef struct IrqLine {
    /* Context: any thread, with device locks held; takes only the interrupt chips' leaf locks. */
    void (*set)(void *opaque, unsigned number, bool level);
    void *opaque;
    unsigned number;
} IrqLine;

static inline void irq_line_set(const IrqLine *line, bool level)
{
    if (line->set) {
        line->set(line->opaque, line->number, level);
    }
}

/* An edge: up and down again. */
static inline void irq_line_pulse(const IrqLine *line)
{
    irq_line_set(line, true);
    irq_line_set(line, false);
}

/* Where message-signalled interrupts go. A zeroed sink drops them. */
typedef struct MsiSink {
    /* One MSI write: @address and @data as the guest programmed them. Context: any thread. */
    void (*send)(void *opaque, uint64_t address, uint32_t data);
    void *opaque;
} MsiSink;

static inline void msi_send(const MsiSink *sink, uint64_t address, uint32_t data)
{
    if (sink->send) {
        sink->send(sink->opaque, address, data);
    }
}

#endif
