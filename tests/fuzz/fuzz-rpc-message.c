/* Messages of any program and procedure, as calls, replies or events: decoded, and what could be
 * read is encoded and read again. The first six bytes choose.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "schema/remote.h"

#include <string.h>

#define MEMORY_LIMIT (64u << 20)

static const RpcProgram *const programs[] = { &remote_program, &qemu_program, &admin_program,
                                              &keepalive_program };

static void round_trip(const XdrStruct *type, const uint8_t *data, size_t size)
{
    Arena arena, again;
    XdrWriter first, second;
    arena_init(&arena, MEMORY_LIMIT);
    arena_init(&again, MEMORY_LIMIT);
    xdr_writer_init(&first, MEMORY_LIMIT);
    xdr_writer_init(&second, MEMORY_LIMIT);
    XdrReader reader = { data, data + size };
    void *value = arena_alloc(&arena, type->size);
    if (value && xdr_decode(&reader, &arena, type, value, NULL)) {
        lodge_assert(reader.at <= reader.end);
        lodge_assert(xdr_encode(&first, type, value, NULL));
        reader = (XdrReader){ first.data, first.data + first.size };
        void *copy = arena_alloc(&again, type->size);
        lodge_assert(copy && xdr_decode(&reader, &again, type, copy, NULL));
        lodge_assert(reader.at == reader.end);
        lodge_assert(xdr_encode(&second, type, copy, NULL));
        lodge_assert(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    }
    xdr_writer_clear(&first);
    xdr_writer_clear(&second);
    arena_clear(&arena);
    arena_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4) {
        return 0;
    }
    const RpcProgram *program = programs[data[0] % 4];
    uint32_t number = (uint32_t)data[1] << 8 | data[2];
    const RpcProcedure *procedure = rpc_program_find(program, number % (program->n_procedures + 1));
    if (!procedure) {
        return 0;
    }
    const XdrStruct *type = data[3] & 1 ? procedure->ret : procedure->args;
    if (data[3] & 2) {
        type = &type_remote_error;
    }
    if (type) {
        round_trip(type, data + 4, size - 4);
    }
    return 0;
}
