/* Pair of Intel 8259A interrupt controllers as in a PC, with the edge/level registers of the PIIX.
 *
 * Source: Intel 8259A data sheet; Intel 82371 (ELCR). Left out: MCS-80 mode, buffered mode.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_IRQ_I8259_H
#define LODGE_VMM_IRQ_I8259_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct I8259 {
    uint8_t irr;           /* requests latched */
    uint8_t imr;           /* masked */
    uint8_t isr;           /* in service */
    uint8_t lines;         /* input levels */
    uint8_t elcr;          /* level-triggered inputs */
    uint8_t first;         /* input of highest priority, 0..7 */
    uint8_t vector_base;   /* multiple of 8 */
    uint8_t init_step;     /* ICW expected next, 2..4; 0: none */
    bool wants_icw4;       /* IC4 of ICW1 */
    bool is_single;        /* SNGL of ICW1 */
    bool reads_isr;        /* RIS of OCW3 */
    bool is_polled;        /* next read is a poll */
    bool special_mask;     /* SMM */
    bool auto_eoi;         /* AEOI */
    bool rotates_auto_eoi; /* rotation in automatic EOI mode */
    bool fully_nested;     /* SFNM */
} I8259;

typedef struct I8259Pair {
    pthread_mutex_t lock;                         /* leaf; over all below */
    I8259 chip[2];                                /* master, slave on the master's input 2 */
    _Atomic(bool) output;                         /* INTR; read without the lock */
    void (*set_output)(void *opaque, bool level); /* lock held */
    void *opaque;
} I8259Pair;

void i8259_init(I8259Pair *pair);
void i8259_done(I8259Pair *pair);
/* As after power on; input levels stay. */
void i8259_reset(I8259Pair *pair);

/* @input: 0..15, without 2. Context: any thread. */
void i8259_set_input(I8259Pair *pair, unsigned input, bool level);

/* Ports 0x20/0x21 (@chip 0) and 0xa0/0xa1 (@chip 1), @offset 0 or 1. Context: any thread. */
uint8_t i8259_read(I8259Pair *pair, unsigned chip, unsigned offset);
void i8259_write(I8259Pair *pair, unsigned chip, unsigned offset, uint8_t value);

/* Ports 0x4d0 (@chip 0) and 0x4d1. */
uint8_t i8259_read_elcr(I8259Pair *pair, unsigned chip);
void i8259_write_elcr(I8259Pair *pair, unsigned chip, uint8_t value);

/* The vector an INTA cycle would give, or -1. */
int i8259_peek(I8259Pair *pair);
/* An INTA cycle: the vector, or -1 when the request is gone. */
int i8259_acknowledge(I8259Pair *pair);

/* After a load: false when no chip can have that state; else the output follows it. */
bool i8259_check_loaded(I8259Pair *pair);

#endif
