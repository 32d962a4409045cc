/* Typed parameters. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/params.h"

#include "daemon/error.h"

#include <glib.h>
#include <string.h>

static TypedParam *add(ParamList *list, const char *field, TypedParamType type)
{
    if (list->count == list->size) {
        uint32_t size = list->size ? list->size * 2 : 32;
        TypedParam *items = arena_alloc_array(list->arena, size, sizeof(*items));
        if (!items) {
            return NULL;
        }
        if (list->count) {
            memcpy(items, list->items, list->count * sizeof(*items));
        }
        list->items = items;
        list->size = size;
    }
    TypedParam *param = &list->items[list->count++];
    param->field = field;
    param->type = type;
    return param;
}

#define ADDER(name, TYPE, ctype, member)                                                           \
    void params_##name(ParamList *list, const char *field, ctype value)                            \
    {                                                                                              \
        TypedParam *param = add(list, field, TYPED_PARAM_##TYPE);                                  \
        if (param) {                                                                               \
            param->value.member = value;                                                           \
        }                                                                                          \
    }

ADDER(int, INT, int32_t, i)
ADDER(uint, UINT, uint32_t, ui)
ADDER(llong, LLONG, int64_t, l)
ADDER(ullong, ULLONG, uint64_t, ul)
ADDER(bool, BOOLEAN, bool, b)

void params_string(ParamList *list, const char *field, const char *value)
{
    TypedParam *param = add(list, field, TYPED_PARAM_STRING);
    if (param) {
        param->value.s = arena_strdup(list->arena, value);
    }
}

const char *params_name(ParamList *list, const char *prefix, unsigned n, const char *name)
{
    return arena_printf(list->arena, "%s.%u.%s", prefix, n, name);
}

bool params_return(const ParamList *list, int nparams, TypedParam **out_params, uint32_t *out_n,
                   int32_t *out_nparams)
{
    *out_nparams = (int32_t)list->count;
    if (nparams > 0) {
        *out_params = list->items;
        *out_n = MIN(list->count, (uint32_t)nparams);
        *out_nparams = (int32_t)*out_n;
    }
    return true;
}

const TypedParam *params_find(const TypedParam *params, uint32_t n, const char *field)
{
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(params[i].field, field) == 0) {
            return &params[i];
        }
    }
    return NULL;
}

bool params_refuse(const TypedParam *param, bool is_known, GError **error)
{
    daemon_error_set(error, is_known ? DAEMON_ERROR_INVALID_ARG : DAEMON_ERROR_ARGUMENT_UNSUPPORTED,
                     is_known ? "invalid argument: parameter '%s' cannot have this value"
                              : "argument unsupported: there is no parameter '%s' here",
                     param->field);
    return false;
}

bool params_check_once(const TypedParam *params, uint32_t n, GError **error)
{
    for (uint32_t i = 1; i < n; i++) {
        if (params_find(params, i, params[i].field)) {
            daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                             "invalid argument: parameter '%s' comes twice", params[i].field);
            return false;
        }
    }
    return true;
}

bool params_get_number(const TypedParam *param, int64_t *out_value)
{
    switch (param->type) {
    case TYPED_PARAM_INT:
        *out_value = param->value.i;
        return true;
    case TYPED_PARAM_UINT:
        *out_value = param->value.ui;
        return true;
    case TYPED_PARAM_LLONG:
        *out_value = param->value.l;
        return true;
    case TYPED_PARAM_ULLONG:
        *out_value = param->value.ul > INT64_MAX ? INT64_MAX : (int64_t)param->value.ul;
        return true;
    default:
        return false;
    }
}
