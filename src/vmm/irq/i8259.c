/* Pair of Intel 8259A interrupt controllers.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/irq/i8259.h"

#include "base/cleanup.h"

#include <stdatomic.h>
#include <string.h>

#define MASTER 0
#define SLAVE 1
#define CASCADE_INPUT 2
#define NO_PRIORITY 8

/* Inputs 0, 1, 2, 8 and 13 are always edge-triggered. */
static const uint8_t elcr_writable[2] = { 0xf8, 0xde };

#define ICW1 0x10
#define ICW1_IC4 0x01
#define ICW1_SNGL 0x02
#define ICW4_AEOI 0x02
#define ICW4_SFNM 0x10
#define OCW3 0x08
#define OCW3_READ 0x02
#define OCW3_READ_ISR 0x01
#define OCW3_POLL 0x04
#define OCW3_SET_MASK_MODE 0x40
#define OCW3_MASK_MODE 0x20

/* OCW2 commands, bits 5-7. */
enum {
    OCW2_ROTATE_AUTO_OFF = 0,
    OCW2_EOI = 1,
    OCW2_NOTHING = 2,
    OCW2_EOI_SPECIFIC = 3,
    OCW2_ROTATE_AUTO_ON = 4,
    OCW2_ROTATE_EOI = 5,
    OCW2_SET_PRIORITY = 6,
    OCW2_ROTATE_EOI_SPECIFIC = 7,
};

/* Rank of the most urgent input in @inputs: 0 is the highest, NO_PRIORITY means none. */
static unsigned best_rank(const I8259 *chip, uint8_t inputs)
{
    unsigned rank = 0;
    while (rank < NO_PRIORITY && !(inputs & (1u << ((rank + chip->first) & 7)))) {
        rank++;
    }
    return rank;
}

static int requested_input(const I8259Pair *pair, unsigned index)
{
    const I8259 *chip = &pair->chip[index];
    unsigned rank = best_rank(chip, chip->irr & ~chip->imr);
    uint8_t in_service = chip->isr;
    if (chip->special_mask) {
        in_service &= ~chip->imr;
    }
    if (chip->fully_nested && index == MASTER) {
        in_service &= ~(1u << CASCADE_INPUT);
    }
    if (rank == NO_PRIORITY || rank >= best_rank(chip, in_service)) {
        return -1;
    }
    return (int)((rank + chip->first) & 7);
}

/* The slave's request reaches the master as a level, whatever its edge bits say. */
static void update(I8259Pair *pair)
{
    I8259 *master = &pair->chip[MASTER];
    if (requested_input(pair, SLAVE) >= 0) {
        master->irr |= 1u << CASCADE_INPUT;
    } else {
        master->irr &= ~(1u << CASCADE_INPUT);
    }
    bool level = requested_input(pair, MASTER) >= 0;
    if (level != atomic_load(&pair->output)) {
        atomic_store(&pair->output, level);
        if (pair->set_output) {
            pair->set_output(pair->opaque, level);
        }
    }
}

void i8259_init(I8259Pair *pair)
{
    memset(pair, 0, sizeof(*pair));
    pthread_mutex_init(&pair->lock, NULL);
}

void i8259_done(I8259Pair *pair)
{
    pthread_mutex_destroy(&pair->lock);
}

/* What ICW1 does too: input levels and ELCR stay. */
static void chip_restart(I8259 *chip)
{
    uint8_t lines = chip->lines, elcr = chip->elcr, base = chip->vector_base;
    *chip = (I8259){ .lines = lines, .elcr = elcr, .vector_base = base };
    chip->irr = lines & elcr;
}

void i8259_reset(I8259Pair *pair)
{
    LOCK_GUARD(&pair->lock);
    for (unsigned i = 0; i < 2; i++) {
        pair->chip[i].elcr = 0;
        pair->chip[i].vector_base = 0;
        chip_restart(&pair->chip[i]);
    }
    update(pair);
}

void i8259_set_input(I8259Pair *pair, unsigned input, bool level)
{
    LOCK_GUARD(&pair->lock);
    I8259 *chip = &pair->chip[input >> 3];
    uint8_t bit = (uint8_t)(1u << (input & 7));
    if (chip->elcr & bit) {
        chip->irr = level ? chip->irr | bit : chip->irr & ~bit;
    } else if (level && !(chip->lines & bit)) {
        chip->irr |= bit;
    }
    chip->lines = level ? chip->lines | bit : chip->lines & ~bit;
    update(pair);
}

static void take_into_service(I8259 *chip, unsigned input)
{
    uint8_t bit = (uint8_t)(1u << input);
    if (!chip->auto_eoi) {
        chip->isr |= bit;
    } else if (chip->rotates_auto_eoi) {
        chip->first = (input + 1) & 7;
    }
    if (!(chip->elcr & bit)) {
        chip->irr &= ~bit;
    }
}

int i8259_peek(I8259Pair *pair)
{
    LOCK_GUARD(&pair->lock);
    int input = requested_input(pair, MASTER);
    if (input == CASCADE_INPUT) {
        input = requested_input(pair, SLAVE);
        return pair->chip[SLAVE].vector_base + (input < 0 ? 7 : input);
    }
    return input < 0 ? -1 : pair->chip[MASTER].vector_base + input;
}

int i8259_acknowledge(I8259Pair *pair)
{
    LOCK_GUARD(&pair->lock);
    int input = requested_input(pair, MASTER);
    if (input < 0) {
        return -1;
    }
    int vector = pair->chip[MASTER].vector_base + input;
    if (input == CASCADE_INPUT) {
        int slave_input = requested_input(pair, SLAVE);
        if (slave_input >= 0) {
            take_into_service(&pair->chip[SLAVE], (unsigned)slave_input);
        }
        vector = pair->chip[SLAVE].vector_base + (slave_input < 0 ? 7 : slave_input);
    }
    take_into_service(&pair->chip[MASTER], (unsigned)input);
    update(pair);
    return vector;
}

static void write_ocw2(I8259 *chip, uint8_t value)
{
    unsigned command = value >> 5;
    unsigned input = value & 7;
    if (command == OCW2_EOI || command == OCW2_ROTATE_EOI) {
        uint8_t candidates = chip->special_mask ? chip->isr & ~chip->imr : chip->isr;
        unsigned rank = best_rank(chip, candidates);
        if (rank == NO_PRIORITY) {
            return;
        }
        input = (rank + chip->first) & 7;
    }
    switch (command) {
    case OCW2_ROTATE_AUTO_OFF:
    case OCW2_ROTATE_AUTO_ON:
        chip->rotates_auto_eoi = command == OCW2_ROTATE_AUTO_ON;
        break;
    case OCW2_EOI:
    case OCW2_EOI_SPECIFIC:
        chip->isr &= ~(1u << input);
        break;
    case OCW2_ROTATE_EOI:
    case OCW2_ROTATE_EOI_SPECIFIC:
        chip->isr &= ~(1u << input);
        chip->first = (input + 1) & 7;
        break;
    case OCW2_SET_PRIORITY:
        chip->first = (input + 1) & 7;
        break;
    case OCW2_NOTHING:
        break;
    }
}

static void write_command(I8259 *chip, uint8_t value)
{
    if (value & ICW1) {
        chip_restart(chip);
        chip->wants_icw4 = value & ICW1_IC4;
        chip->is_single = value & ICW1_SNGL;
        chip->init_step = 2;
    } else if (value & OCW3) {
        if (value & OCW3_READ) {
            chip->reads_isr = value & OCW3_READ_ISR;
        }
        if (value & OCW3_SET_MASK_MODE) {
            chip->special_mask = value & OCW3_MASK_MODE;
        }
        chip->is_polled = value & OCW3_POLL;
    } else {
        write_ocw2(chip, value);
    }
}

static void write_data(I8259 *chip, uint8_t value)
{
    uint8_t icw4 = chip->wants_icw4 ? 4 : 0;
    switch (chip->init_step) {
    case 2:
        chip->vector_base = value & 0xf8;
        chip->init_step = chip->is_single ? icw4 : 3;
        break;
    case 3: /* the cascade is wired as in every PC */
        chip->init_step = icw4;
        break;
    case 4:
        chip->auto_eoi = value & ICW4_AEOI;
        chip->fully_nested = value & ICW4_SFNM;
        chip->init_step = 0;
        break;
    default:
        chip->imr = value;
        break;
    }
}

void i8259_write(I8259Pair *pair, unsigned chip, unsigned offset, uint8_t value)
{
    LOCK_GUARD(&pair->lock);
    if (offset) {
        write_data(&pair->chip[chip], value);
    } else {
        write_command(&pair->chip[chip], value);
    }
    update(pair);
}

uint8_t i8259_read(I8259Pair *pair, unsigned index, unsigned offset)
{
    LOCK_GUARD(&pair->lock);
    I8259 *chip = &pair->chip[index];
    if (chip->is_polled) {
        chip->is_polled = false;
        int input = requested_input(pair, index);
        if (input < 0) {
            return 0;
        }
        take_into_service(chip, (unsigned)input);
        update(pair);
        return (uint8_t)(0x80 | input);
    }
    if (offset) {
        return chip->imr;
    }
    return chip->reads_isr ? chip->isr : chip->irr;
}

uint8_t i8259_read_elcr(I8259Pair *pair, unsigned chip)
{
    LOCK_GUARD(&pair->lock);
    return pair->chip[chip].elcr;
}

void i8259_write_elcr(I8259Pair *pair, unsigned index, uint8_t value)
{
    LOCK_GUARD(&pair->lock);
    I8259 *chip = &pair->chip[index];
    chip->elcr = value & elcr_writable[index];
    /* A level-triggered input asks as long as its line is up. */
    chip->irr = (chip->irr & ~chip->elcr) | (chip->lines & chip->elcr);
    update(pair);
}

bool i8259_check_loaded(I8259Pair *pair)
{
    LOCK_GUARD(&pair->lock);
    for (unsigned i = 0; i < 2; i++) {
        const I8259 *chip = &pair->chip[i];
        if (chip->first > 7 || chip->vector_base & 7 || chip->init_step == 1 ||
            chip->init_step > 4 || chip->elcr & ~elcr_writable[i]) {
            return false;
        }
    }
    update(pair);
    return true;
}
