/* The legacy devices of a PC, and what the machine may ask of each beyond its class.
 *
 * Interrupt outputs are host->irq[n] as said beside each class. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#ifndef LODGE_VMM_DEVICES_DEVICES_H
#define LODGE_VMM_DEVICES_DEVICES_H

#include "vmm/device/device.h"

/* Every class of this folder, by name; ends with NULL. */
extern const DeviceClass *const legacy_classes[];

/* The chips of vmm/irq as devices, so that they migrate. Each finds its IrqChip as the back end
 * ("irqchip", "irqchip") and attaches to it. "apic" has the property vcpu. Made by the machine. */
extern const DeviceClass i8259_class;  /* ports 0x20, 0xa0, 0x4d0 */
extern const DeviceClass ioapic_class; /* memory 0xfec00000 */
extern const DeviceClass apic_class;

/* 8254 timer and port 0x61. irq[0]: output of channel 0. */
extern const DeviceClass pit_class;

/* 0xfed00000. irq[0]: GSI 0 (pin 2), irq[1]: GSI 8, irq[2..5]: GSI 20..23. */
extern const DeviceClass hpet_class;
/* Where the PIT's (@number 0) and the RTC's (1) outputs lead, so that legacy replacement can cut
 * them off: they pass to the HPET's irq[number] otherwise. */
IrqLine hpet_legacy_input(Device *hpet, unsigned number);
/* The HPET's irq[HPET_LEGACY_LINE] is high while it replaces them: for a PIT that is elsewhere. */
#define HPET_LEGACY_LINE 6

/* MC146818 clock and CMOS. irq[0]. */
extern const DeviceClass rtc_class;
/* Sets CMOS byte @index (0x0e..0x7f). Context: main thread, before the guest runs. */
void rtc_set_cmos(Device *rtc, uint8_t index, uint8_t value);
uint8_t rtc_get_cmos(Device *rtc, uint8_t index);
/* Writes the CMOS bytes that tell firmware how much RAM there is. @low_bytes: below 4 GiB,
 * @high_bytes: above. */
void rtc_set_memory_size(Device *rtc, uint64_t low_bytes, uint64_t high_bytes);

/* Keyboard controller with keyboard and mouse, ports 0x60 and 0x64. irq[0]: keyboard (ISA 1),
 * irq[1]: mouse (ISA 12). */
extern const DeviceClass i8042_class;
/* @code: scan code of set 1, 0xe000 added for extended keys. Context: any thread. */
void i8042_key_event(Device *dev, uint16_t code, bool is_down);
/* Relative movement, y down, wheel steps; @buttons: 1 left, 2 right, 4 middle. Context: any thread.
 */
void i8042_mouse_event(Device *dev, int dx, int dy, int wheel, unsigned buttons);

/* Port 0x92: fast reset and A20. */
extern const DeviceClass port92_class;

/* Reset control register, port 0xcf9, for machines whose host bridge has none. */
extern const DeviceClass reset_port_class;

/* -device isa-debug-exit: a write ends the monitor with status (value << 1) | 1. */
extern const DeviceClass isa_debug_exit_class;

/* -device pvpanic: the guest tells that it crashed. */
extern const DeviceClass pvpanic_class;

/* -device isa-debugcon: bytes to a character back end, port 0xe9 or 0x402. */
extern const DeviceClass isa_debugcon_class;

/* -device edu: the annotated lesson, a PCI device. */
extern const DeviceClass edu_class;

/* 16550A. irq[0]; the properties index, iobase and irq tell the machine and the guest's tables
 * where it is (after realize they hold the numbers in use). */
extern const DeviceClass isa_serial_class;

#endif
