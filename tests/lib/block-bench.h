/* A disk on qcow2 images in a folder of its own, and a guest that writes random blocks to it and
 * checks what it reads, while tests change the graph or run jobs.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_LIB_BLOCK_BENCH_H
#define LODGE_TESTS_LIB_BLOCK_BENCH_H

#include "block/graph.h"

#define BENCH_BYTES (4u << 20)
#define BENCH_BLOCK 4096
#define BENCH_WRITERS 4

typedef struct BenchWriter BenchWriter;

typedef struct BlockBench {
    EventLoop *loop;
    BlockGraph *graph;
    char *folder;
    BlockBackend *backend; /* "disk", on the node "top" */
    uint8_t *model;        /* what the guest wrote; right while it is stopped */
    BenchWriter *writers;
    unsigned running;
    bool is_stopping;
    unsigned requests; /* done so far */
} BlockBench;

/* cmocka's; *state is the bench. */
int block_bench_set_up(void **state);
int block_bench_tear_down(void **state);

/* Of JSON with ' for ". */
BlockSpec *block_bench_spec(const char *text);
char *block_bench_path(const BlockBench *b, const char *name);
void block_bench_make_image(const BlockBench *b, const char *name, const char *size);
/* A node of the image NAME called NAME over NAME-file; @more: further JSON members. */
BlockNode *block_bench_add(const BlockBench *b, const char *name, const char *more, GError **error);

/* The guest begins, and stops after what it has begun. */
void block_bench_start(BlockBench *b);
void block_bench_stop(BlockBench *b);
/* One round of the loop. */
void block_bench_turn(const BlockBench *b);
/* Fails unless @node reads as @expected. */
void block_bench_compare(BlockNode *node, const uint8_t *expected);

#endif
