/* 16550A serial port, and the one-port debug console.
 *
 * Source: National Semiconductor PC16550D data sheet. Bytes leave at once, whatever the baud rate,
 * so the transmitter is always empty; received bytes that do not reach the trigger level count as
 * timed out at once. Left out: parity, DMA signalling. The modem lines show a peer that is always
 * ready. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "gbase/error.h"
#include "vmm/char/char.h"
#include "vmm/device/guest-timer.h"
#include "vmm/devices/devices.h"

#include <string.h>

enum {
    REG_DATA = 0, /* divisor low with DLAB */
    REG_IER = 1,  /* divisor high with DLAB */
    REG_IIR = 2,  /* FCR when written */
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCR = 7,
};

#define IER_RECEIVED 0x01
#define IER_TRANSMITTER 0x02
#define IER_LINE 0x04
#define IER_MODEM 0x08

#define IIR_NONE 0x01
#define IIR_MODEM 0x00
#define IIR_TRANSMITTER 0x02
#define IIR_RECEIVED 0x04
#define IIR_LINE 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RECEIVER 0x02
#define FCR_TRIGGER_SHIFT 6

#define LCR_DLAB 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_WRITABLE 0x1f

#define LSR_READY 0x01
#define LSR_OVERRUN 0x02
#define LSR_BREAK 0x10
#define LSR_ERRORS 0x1e
#define LSR_EMPTY 0x60 /* holding and shift register */

#define MSR_DELTA_CTS 0x01
#define MSR_DELTA_DSR 0x02
#define MSR_TRAILING_RI 0x04
#define MSR_DELTA_DCD 0x08
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80
#define MSR_LINES 0xf0

#define FIFO_BYTES 16

typedef struct Serial {
    Device dev;
    uint64_t iobase, irq, index; /* properties; iobase and irq 0: by index */
    char *chardev;               /* property */
    CharBackend *backend;        /* NULL: nowhere */
    uint8_t divisor[2];
    uint8_t ier, lcr, mcr, lsr, msr, scr;
    bool has_fifo;
    uint8_t trigger; /* received bytes that interrupt, 1..14 */
    uint8_t fifo[FIFO_BYTES];
    uint8_t fifo_first, fifo_count;
    bool transmitter_pending; /* interrupt of the empty transmitter is due */
    bool has_refused;         /* the back end found no room and stopped reading */
    Region region;
} Serial;

static unsigned fifo_capacity(const Serial *serial)
{
    return serial->has_fifo ? FIFO_BYTES : 1;
}

static unsigned fifo_room(const Serial *serial)
{
    unsigned capacity = fifo_capacity(serial);
    if ((serial->mcr & MCR_LOOP) || serial->fifo_count >= capacity) {
        return 0;
    }
    return capacity - serial->fifo_count;
}

/* Once for each refusal, so that a guest cannot pile up calls on the loop. */
static void ask_for_input(Serial *serial)
{
    if (serial->has_refused && fifo_room(serial)) {
        serial->has_refused = false;
        char_accept_input(serial->backend);
    }
}

static uint8_t interrupt_cause(const Serial *serial)
{
    if ((serial->ier & IER_LINE) && (serial->lsr & LSR_ERRORS)) {
        return IIR_LINE;
    }
    if ((serial->ier & IER_RECEIVED) && serial->fifo_count) {
        bool reached = !serial->has_fifo || serial->fifo_count >= serial->trigger;
        return reached ? IIR_RECEIVED : IIR_TIMEOUT;
    }
    if ((serial->ier & IER_TRANSMITTER) && serial->transmitter_pending) {
        return IIR_TRANSMITTER;
    }
    if ((serial->ier & IER_MODEM) && (serial->msr & ~MSR_LINES)) {
        return IIR_MODEM;
    }
    return IIR_NONE;
}

/* OUT2 gates the interrupt on PC adapters; on those of today it does not. */
static void update_irq(Serial *serial)
{
    device_set_irq(&serial->dev, 0, interrupt_cause(serial) != IIR_NONE);
}

static void set_modem_lines(Serial *serial)
{
    uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD;
    if (serial->mcr & MCR_LOOP) {
        lines = (serial->mcr & MCR_RTS ? MSR_CTS : 0) | (serial->mcr & MCR_DTR ? MSR_DSR : 0) |
                (serial->mcr & MCR_OUT1 ? MSR_RI : 0) | (serial->mcr & MCR_OUT2 ? MSR_DCD : 0);
    }
    uint8_t changed = (serial->msr ^ lines) & MSR_LINES;
    serial->msr = (serial->msr & ~MSR_LINES) | lines;
    serial->msr |= (changed & MSR_CTS ? MSR_DELTA_CTS : 0) |
                   (changed & MSR_DSR ? MSR_DELTA_DSR : 0) |
                   (changed & MSR_DCD ? MSR_DELTA_DCD : 0) |
                   (changed & MSR_RI && !(lines & MSR_RI) ? MSR_TRAILING_RI : 0);
}

static void put_received(Serial *serial, uint8_t byte)
{
    if (serial->fifo_count >= fifo_capacity(serial)) {
        serial->lsr |= LSR_OVERRUN;
        return;
    }
    serial->fifo[(serial->fifo_first + serial->fifo_count) % FIFO_BYTES] = byte;
    serial->fifo_count++;
    serial->lsr |= LSR_READY;
}

static void clear_received(Serial *serial)
{
    serial->fifo_first = 0;
    serial->fifo_count = 0;
    serial->lsr &= (uint8_t) ~(LSR_READY | LSR_BREAK);
}

static uint8_t get_received(Serial *serial)
{
    if (!serial->fifo_count) {
        return 0;
    }
    uint8_t byte = serial->fifo[serial->fifo_first];
    serial->fifo_first = (serial->fifo_first + 1) % FIFO_BYTES;
    serial->fifo_count--;
    if (!serial->fifo_count) {
        serial->lsr &= (uint8_t)~LSR_READY;
    }
    return byte;
}

static void transmit(Serial *serial, uint8_t byte)
{
    if (serial->mcr & MCR_LOOP) {
        put_received(serial, byte);
    } else if (serial->backend) {
        char_write(serial->backend, &byte, 1);
    }
    serial->transmitter_pending = true;
}

static void write_fcr(Serial *serial, uint8_t value)
{
    static const uint8_t triggers[] = { 1, 4, 8, 14 };
    bool enable = value & FCR_ENABLE;
    if (enable != serial->has_fifo || (value & FCR_CLEAR_RECEIVER)) {
        clear_received(serial);
    }
    serial->has_fifo = enable;
    serial->trigger = enable ? triggers[value >> FCR_TRIGGER_SHIFT] : 1;
}

static void write_ier(Serial *serial, uint8_t value)
{
    uint8_t before = serial->ier;
    serial->ier = value & 0x0f;
    /* Enabling it while the transmitter is empty interrupts: drivers test for that. */
    if ((serial->ier & IER_TRANSMITTER) && !(before & IER_TRANSMITTER)) {
        serial->transmitter_pending = true;
    }
}

static void serial_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Serial *serial = opaque;
    uint8_t byte = (uint8_t)value;
    bool dlab = serial->lcr & LCR_DLAB;
    switch (offset) {
    case REG_DATA:
    case REG_IER:
        if (dlab) {
            serial->divisor[offset] = byte;
        } else if (offset == REG_DATA) {
            transmit(serial, byte);
        } else {
            write_ier(serial, byte);
        }
        break;
    case REG_IIR:
        write_fcr(serial, byte);
        break;
    case REG_LCR:
        serial->lcr = byte;
        break;
    case REG_MCR:
        serial->mcr = byte & MCR_WRITABLE;
        set_modem_lines(serial);
        break;
    case REG_SCR:
        serial->scr = byte;
        break;
    default:
        break;
    }
    update_irq(serial);
    ask_for_input(serial);
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned size)
{
    Serial *serial = opaque;
    bool dlab = serial->lcr & LCR_DLAB;
    uint8_t value = 0;
    switch (offset) {
    case REG_DATA:
        value = dlab ? serial->divisor[0] : get_received(serial);
        break;
    case REG_IER:
        value = dlab ? serial->divisor[1] : serial->ier;
        break;
    case REG_IIR:
        value = interrupt_cause(serial);
        if (value == IIR_TRANSMITTER) {
            serial->transmitter_pending = false;
        }
        value |= serial->has_fifo ? IIR_FIFO : 0;
        break;
    case REG_LCR:
        value = serial->lcr;
        break;
    case REG_MCR:
        value = serial->mcr;
        break;
    case REG_LSR:
        value = serial->lsr | LSR_EMPTY;
        serial->lsr &= (uint8_t)~LSR_ERRORS;
        break;
    case REG_MSR:
        value = serial->msr;
        serial->msr &= MSR_LINES;
        break;
    case REG_SCR:
        value = serial->scr;
        break;
    }
    update_irq(serial);
    ask_for_input(serial);
    return value;
}

static const RegionOps serial_ops = { serial_read, serial_write, 1, 1 };

static size_t serial_can_receive(void *opaque)
{
    Serial *serial = opaque;
    LOCK_GUARD(&serial->dev.lock);
    unsigned room = fifo_room(serial);
    serial->has_refused = room == 0;
    return room;
}

static void serial_receive(void *opaque, const uint8_t *bytes, size_t length)
{
    Serial *serial = opaque;
    LOCK_GUARD(&serial->dev.lock);
    for (size_t i = 0; i < length; i++) {
        put_received(serial, bytes[i]);
    }
    update_irq(serial);
}

static void serial_event(void *opaque, CharEvent event)
{
    Serial *serial = opaque;
    if (event != CHAR_EVENT_BREAK) {
        return;
    }
    LOCK_GUARD(&serial->dev.lock);
    put_received(serial, 0);
    serial->lsr |= LSR_BREAK;
    update_irq(serial);
}

/* The character back end of @name, attached to @front; NULL without a name. */
static bool attach_backend(Device *dev, const char *name, const CharFrontend *front,
                           CharBackend **out_backend, GError **error)
{
    *out_backend = NULL;
    if (!name) {
        return true;
    }
    CharBackend *backend = dev->host->find_backend(dev->host->opaque, "chardev", name, error);
    if (!backend || !char_attach(backend, front, error)) {
        return false;
    }
    *out_backend = backend;
    return true;
}

static bool serial_realize(Device *dev, GError **error)
{
    static const struct {
        uint16_t iobase;
        uint8_t irq;
    } defaults[] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };
    Serial *serial = (Serial *)dev;
    serial->iobase = serial->iobase ? serial->iobase : defaults[serial->index].iobase;
    serial->irq = serial->irq ? serial->irq : defaults[serial->index].irq;
    serial->region = (Region){ "serial", 8, &serial_ops, serial, &dev->lock };
    if (!device_map_ports(dev, serial->iobase, &serial->region, error)) {
        return false;
    }
    const CharFrontend front = { serial_can_receive, serial_receive, serial_event, serial };
    if (!attach_backend(dev, serial->chardev, &front, &serial->backend, error)) {
        device_unmap_ports(dev, serial->iobase);
        return false;
    }
    return true;
}

static void serial_unrealize(Device *dev)
{
    Serial *serial = (Serial *)dev;
    if (serial->backend) {
        char_detach(serial->backend);
        serial->backend = NULL;
    }
    device_unmap_ports(dev, serial->iobase);
}

static void serial_reset(Device *dev, ResetKind kind)
{
    Serial *serial = (Serial *)dev;
    serial->divisor[0] = 0x0c; /* 9600 baud */
    serial->divisor[1] = 0;
    serial->ier = 0;
    serial->lcr = 0;
    serial->mcr = MCR_OUT2;
    serial->lsr = 0;
    serial->msr = MSR_CTS | MSR_DSR | MSR_DCD;
    serial->scr = 0;
    serial->has_fifo = false;
    serial->trigger = 1;
    serial->transmitter_pending = false;
    memset(serial->fifo, 0, sizeof(serial->fifo));
    clear_received(serial);
    update_irq(serial);
    ask_for_input(serial);
}

static bool serial_post_load(Device *dev, GError **error)
{
    const Serial *serial = (const Serial *)dev;
    if (serial->fifo_first >= FIFO_BYTES || serial->fifo_count > FIFO_BYTES ||
        serial->trigger < 1 || serial->trigger > 14 || serial->mcr & ~MCR_WRITABLE) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "impossible state of the FIFO");
        return false;
    }
    return true;
}

static void serial_resume(Device *dev)
{
    Serial *serial = (Serial *)dev;
    update_irq(serial);
    ask_for_input(serial);
}

static const Property serial_properties[] = {
    { "chardev", PROPERTY_LINK, offsetof(Serial, chardev), NULL,
      .help = "character back end; none: output is dropped" },
    { "index", PROPERTY_UINT, offsetof(Serial, index), "0", .max = 3,
      .help = "0-3: default ports and lines of COM1-COM4" },
    { "iobase", PROPERTY_UINT, offsetof(Serial, iobase), NULL, .max = 0xfff8,
      .help = "first I/O port; 0: by index" },
    { "irq", PROPERTY_UINT, offsetof(Serial, irq), NULL, .max = 15,
      .help = "ISA interrupt line; 0: by index" },
    { NULL },
};

static const StateField serial_fields[] = {
    STATE_BYTES_FIELD(Serial, divisor),
    STATE_FIELD(Serial, STATE_U8, ier),
    STATE_FIELD(Serial, STATE_U8, lcr),
    STATE_FIELD(Serial, STATE_U8, mcr),
    STATE_FIELD(Serial, STATE_U8, lsr),
    STATE_FIELD(Serial, STATE_U8, msr),
    STATE_FIELD(Serial, STATE_U8, scr),
    STATE_FIELD(Serial, STATE_BOOL, has_fifo),
    STATE_FIELD(Serial, STATE_U8, trigger),
    STATE_BYTES_FIELD(Serial, fifo),
    STATE_FIELD(Serial, STATE_U8, fifo_first),
    STATE_FIELD(Serial, STATE_U8, fifo_count),
    STATE_FIELD(Serial, STATE_BOOL, transmitter_pending),
    STATE_END,
};
static const StateTable serial_state = { .name = "serial", .fields = serial_fields };

const DeviceClass isa_serial_class = {
    .name = "isa-serial",
    .summary = "16550A serial port",
    .bus = DEVICE_BUS_ISA,
    .instance_size = sizeof(Serial),
    .properties = serial_properties,
    .state = &serial_state,
    .realize = serial_realize,
    .unrealize = serial_unrealize,
    .reset = serial_reset,
    .resume = serial_resume,
    .post_load = serial_post_load,
};

/* Debug console ---------------------------------------------------------------------------------
 */

typedef struct DebugCon {
    Device dev;
    uint64_t iobase, readback; /* properties */
    char *chardev;             /* property */
    CharBackend *backend;
    uint8_t written; /* last byte */
    Region region;
} DebugCon;

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((const DebugCon *)opaque)->readback;
}

static void debugcon_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    DebugCon *con = opaque;
    con->written = (uint8_t)value;
    if (con->backend) {
        char_write(con->backend, &con->written, 1);
    }
}

static const RegionOps debugcon_ops = { debugcon_read, debugcon_write, 1, 1 };

static bool debugcon_realize(Device *dev, GError **error)
{
    DebugCon *con = (DebugCon *)dev;
    con->region = (Region){ "debugcon", 1, &debugcon_ops, con, &dev->lock };
    if (!device_map_ports(dev, con->iobase, &con->region, error)) {
        return false;
    }
    const CharFrontend front = { .opaque = con };
    if (!attach_backend(dev, con->chardev, &front, &con->backend, error)) {
        device_unmap_ports(dev, con->iobase);
        return false;
    }
    return true;
}

static void debugcon_unrealize(Device *dev)
{
    DebugCon *con = (DebugCon *)dev;
    if (con->backend) {
        char_detach(con->backend);
        con->backend = NULL;
    }
    device_unmap_ports(dev, con->iobase);
}

static const Property debugcon_properties[] = {
    { "chardev", PROPERTY_LINK, offsetof(DebugCon, chardev), NULL, .help = "character back end" },
    { "iobase", PROPERTY_UINT, offsetof(DebugCon, iobase), "0xe9", .max = 0xffff,
      .help = "I/O port; SeaBIOS and OVMF write to 0x402" },
    { "readback", PROPERTY_UINT, offsetof(DebugCon, readback), "0xe9", .max = 0xff,
      .help = "value that reads give: guests look for it" },
    { NULL },
};
static const StateField debugcon_fields[] = { STATE_FIELD(DebugCon, STATE_U8, written), STATE_END };
static const StateTable debugcon_state = { .name = "debugcon", .fields = debugcon_fields };

const DeviceClass isa_debugcon_class = {
    .name = "isa-debugcon",
    .summary = "debug console of firmware: one port, bytes out",
    .bus = DEVICE_BUS_ISA,
    .instance_size = sizeof(DebugCon),
    .properties = debugcon_properties,
    .state = &debugcon_state,
    .realize = debugcon_realize,
    .unrealize = debugcon_unrealize,
};
