/* The interrupt chips' registers as text.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "vmm/irq/i8259.h"
#include "vmm/irq/ioapic.h"
#include "vmm/irq/irqchip.h"

#include <inttypes.h>
#include <stdio.h>

/* What snprintf() wrote into @size bytes. */
static unsigned written(int length, unsigned size)
{
    return length < 0 || !size ? 0 : (unsigned)length < size ? (unsigned)length : size - 1;
}

unsigned i8259_describe(const I8259 *chip, unsigned number, char *buf, unsigned size)
{
    return written(snprintf(buf, size,
                            "pic%u: irr=%02x imr=%02x isr=%02x hprio=%u irq_base=%02x rr_sel=%d "
                            "elcr=%02x fnm=%d\n",
                            number, chip->irr, chip->imr, chip->isr, chip->first, chip->vector_base,
                            chip->reads_isr, chip->elcr, chip->fully_nested),
                   size);
}

static unsigned describe_pin(unsigned pin, uint64_t entry, bool level, char *buf, unsigned size)
{
    static const char *const deliveries[] = { "fixed", "lowest", "SMI",   "mode3",
                                              "NMI",   "INIT",   "mode6", "ExtINT" };
    return written(snprintf(buf, size,
                            "  pin %-2u 0x%016" PRIx64 " dest=%u vec=%u %s %s %s %s %s%s%s\n", pin,
                            entry, (unsigned)(entry >> 56), (unsigned)(entry & 0xff),
                            entry & 1 << 13 ? "active-lo" : "active-hi",
                            entry & 1 << 15 ? "level" : "edge", entry & 1 << 16 ? "masked" : "open",
                            deliveries[entry >> 8 & 7], entry & 1 << 11 ? "logical" : "physical",
                            entry & 1 << 14 ? " waits-for-EOI" : "", level ? " raised" : ""),
                   size);
}

unsigned ioapic_describe(const uint64_t *entry, uint32_t lines, uint8_t id, char *buf,
                         unsigned size)
{
    unsigned at = written(snprintf(buf, size, "ioapic0: id=0x%02x\n", id), size);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        at += describe_pin(pin, entry[pin], lines >> pin & 1, buf + at, size - at);
    }
    return at;
}

void irq_chip_describe_chips(I8259Pair *pair, IoApic *ioapic, char *buf, unsigned size)
{
    unsigned at = 0;
    buf[0] = 0;
    if (pair) {
        LOCK_GUARD(&pair->lock);
        for (unsigned i = 0; i < 2; i++) {
            at += i8259_describe(&pair->chip[i], i, buf + at, size - at);
        }
    }
    if (ioapic) {
        LOCK_GUARD(&ioapic->lock);
        ioapic_describe(ioapic->entry, ioapic->lines, ioapic->id, buf + at, size - at);
    }
}
