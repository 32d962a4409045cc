/* Lists of typed parameters for replies.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_PARAMS_H
#define LODGE_DAEMON_DOMAIN_PARAMS_H

#include "rpc/wire/arena.h"
#include "rpc/wire/xdr.h"

#include <glib.h>
#include <stdbool.h>

typedef struct ParamList {
    Arena *arena;
    TypedParam *items;
    uint32_t count;
    uint32_t size;
} ParamList;

/* Each adds one; @field is borrowed. When the arena is full it is left out. */
void params_int(ParamList *list, const char *field, int32_t value);
void params_uint(ParamList *list, const char *field, uint32_t value);
void params_llong(ParamList *list, const char *field, int64_t value);
void params_ullong(ParamList *list, const char *field, uint64_t value);
void params_bool(ParamList *list, const char *field, bool value);
/* A copy of @value is kept. */
void params_string(ParamList *list, const char *field, const char *value);

/* "PREFIX.N.NAME" in the arena. */
const char *params_name(ParamList *list, const char *prefix, unsigned n, const char *name);

/* VIR_TYPED_PARAM_STRING_OKAY: the client takes strings; every one does. */
#define PARAMS_STRING_OKAY 4u

/* The reply of procedures that are asked twice: with @nparams 0 for the number alone, then for the
 * list. Returns: true. */
bool params_return(const ParamList *list, int nparams, TypedParam **out_params, uint32_t *out_n,
                   int32_t *out_nparams);

/* The client's parameter of that name, or NULL. */
const TypedParam *params_find(const TypedParam *params, uint32_t n, const char *field);
/* Why a parameter is not taken. Argument unsupported: none of that name (@is_known false), invalid
 * argument: a value that cannot be, or the second of its name. Returns: false. */
bool params_refuse(const TypedParam *param, bool is_known, GError **error);
/* No name comes twice. */
bool params_check_once(const TypedParam *params, uint32_t n, GError **error);
/* Its value as a number: any of the integer types. False: of another type. */
bool params_get_number(const TypedParam *param, int64_t *out_value);

#endif
