/* Makes random cases: every user-mode instruction that guests are offered, alone and in short
 * sequences, with random state. Leaves out what cannot agree by its nature (time, randomness,
 * system calls) and what directed cases test (segment loads, XSAVE).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_XLATE_GENERATE_H
#define LODGE_TESTS_XLATE_GENERATE_H

#include "xlate/case.h"

typedef struct Generator Generator;

/* @instruction: only sequences that begin with this mnemonic, NULL: all. @has_fs: FS has its base
 * in native code. Returns NULL if no encoding has that mnemonic, or memory is short. */
Generator *generator_new(const char *instruction, bool has_fs);
void generator_free(Generator *generator);

/* The data pages' initial contents. */
void generator_fill_data(uint8_t *templates, uint8_t *constant);

/* Writes the case of a seed; the same seed and arguments of generator_new() give the same case. */
void generate_case(const Generator *generator, uint64_t seed, Case *out);

/* Only a random state, without code; and the jump that ends the code of each case. */
void generate_state(uint64_t seed, bool is_32bit, Case *out);
void case_append_exit(Case *test);

#endif
