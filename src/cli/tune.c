/* Commands that show and change a domain's shares and limits, as lists of typed parameters.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "base/log.h"
#include "gbase/error.h"

#include <stdlib.h>
#include <string.h>

/* What libvirt takes for "no limit", in KiB. */
#define MEMORY_UNLIMITED ((guint64)(G_MAXINT64 >> 10))
#define PARAMS_MAX 64
/* Beside the impact: parameters that are strings may come too. */
#define STRINGS_WANTED 4u

typedef struct ParamList {
    TypedParam item[PARAMS_MAX];
    uint32_t count;
} ParamList;

static TypedParam *add_param(ParamList *list, const char *field, TypedParamType type)
{
    TypedParam *param = &list->item[list->count++];
    lodge_assert(list->count <= PARAMS_MAX);
    *param = (TypedParam){ .field = field, .type = type };
    return param;
}

static void add_uint(ParamList *list, const char *field, guint64 value)
{
    add_param(list, field, TYPED_PARAM_UINT)->value.ui = (uint32_t)value;
}

static void add_string(ParamList *list, const char *field, const char *value)
{
    if (value) {
        add_param(list, field, TYPED_PARAM_STRING)->value.s = value;
    }
}

/* A pair of procedures that read and write parameters. Those with a device have the layouts of the
 * interface's messages, the others those of memory's. */
typedef struct ParamKind {
    uint32_t get, set;
    const char *device; /* the option that names it, or NULL */
    const char *cannot_count, *cannot_get, *cannot_set;
} ParamKind;

typedef struct ParamTarget {
    RemoteDomain domain;
    const char *device;
    uint32_t flags;
} ParamTarget;

static bool find_target(CliSession *session, const CliArgs *args, const ParamKind *kind,
                        ParamTarget *out, GError **error)
{
    out->device = kind->device ? cli_args_string(args, kind->device) : NULL;
    return cli_args_impact(args, &out->flags, error) &&
           cli_domain(session, args, &out->domain, error);
}

static bool get_params(CliSession *session, const ParamKind *kind, const ParamTarget *target,
                       int32_t limit, RemoteDomainGetMemoryParametersRet *ret, GError **error)
{
    uint32_t flags = target->flags | STRINGS_WANTED;
    RemoteDomainGetMemoryParametersArgs plain = { target->domain, limit, flags };
    RemoteDomainGetInterfaceParametersArgs device = { target->domain, target->device, limit,
                                                      flags };
    return rpc_client_call(cli_client(session), &remote_program, kind->get,
                           kind->device ? (const void *)&device : &plain, &session->arena, ret,
                           error);
}

/* All parameters: asked for their number first, as servers want it. */
static bool read_params(CliSession *session, const ParamKind *kind, const ParamTarget *target,
                        RemoteDomainGetMemoryParametersRet *ret, GError **error)
{
    if (!get_params(session, kind, target, 0, ret, error)) {
        return cli_fail(error, "%s", kind->cannot_count);
    }
    if (ret->nparams == 0) {
        ret->n_params = 0;
        return true;
    }
    return get_params(session, kind, target, ret->nparams, ret, error) ||
           cli_fail(error, "%s", kind->cannot_get);
}

static bool write_params(CliSession *session, const ParamKind *kind, const ParamTarget *target,
                         ParamList *list, GError **error)
{
    RemoteDomainSetMemoryParametersArgs plain = { target->domain, list->item, list->count,
                                                  target->flags };
    RemoteDomainSetInterfaceParametersArgs device = { target->domain, target->device, list->item,
                                                      list->count, target->flags };
    return rpc_client_call(cli_client(session), &remote_program, kind->set,
                           kind->device ? (const void *)&device : &plain, NULL, NULL, error) ||
           cli_fail(error, "%s", kind->cannot_set);
}

static char *plain_text(const TypedParam *param)
{
    return cli_param_text(param);
}

static bool show_params(CliSession *session, const ParamKind *kind, const ParamTarget *target,
                        char *(*text_of)(const TypedParam *param), GError **error)
{
    RemoteDomainGetMemoryParametersRet ret;
    if (!read_params(session, kind, target, &ret, error)) {
        return false;
    }
    g_autoptr(CliRecord) record = cli_record_new_aligned(15);
    for (uint32_t i = 0; i < ret.n_params; i++) {
        g_autofree char *text = text_of(&ret.params[i]);
        cli_record_add(record, ret.params[i].field, "%s", text);
    }
    cli_show_record(session, record);
    return true;
}

/* Memory */

static const ParamKind memory_kind = {
    .get = REMOTE_PROC_DOMAIN_GET_MEMORY_PARAMETERS,
    .set = REMOTE_PROC_DOMAIN_SET_MEMORY_PARAMETERS,
    .cannot_count = "Unable to get number of memory parameters",
    .cannot_get = "Unable to get memory parameters",
    .cannot_set = "Unable to change memory parameters",
};

static const CliOption memtune_options[] = {
    CLI_DOMAIN_OPTION,
    { "hard-limit", CLI_NUMBER, 0, CLI_VALUE_ANY, "the most memory of the host" },
    { "soft-limit", CLI_NUMBER, 0, CLI_VALUE_ANY, "what is left when memory is short" },
    { "swap-hard-limit", CLI_NUMBER, 0, CLI_VALUE_ANY, "the most memory and swap" },
    { "min-guarantee", CLI_NUMBER, 0, CLI_VALUE_ANY, "what it always has" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static char *memory_text(const TypedParam *param)
{
    if (param->type == TYPED_PARAM_ULLONG && param->value.ul == MEMORY_UNLIMITED) {
        return g_strdup("unlimited");
    }
    return cli_param_text(param);
}

/* A limit in KiB; -1 is none. */
static bool add_limit(const CliArgs *args, const char *option, const char *field, ParamList *list,
                      GError **error)
{
    const char *text = cli_args_string(args, option);
    guint64 bytes = 0;
    bool is_unlimited = g_strcmp0(text, "-1") == 0;
    if (text && !is_unlimited && !cli_args_size(args, option, 1024, &bytes, error)) {
        return cli_fail(error, "Unable to parse integer parameter '%s'", option);
    }
    if (text) {
        add_param(list, field, TYPED_PARAM_ULLONG)->value.ul =
            is_unlimited ? MEMORY_UNLIMITED : bytes / 1024;
    }
    return true;
}

static bool run_memtune(CliSession *session, const CliArgs *args, GError **error)
{
    ParamTarget target;
    ParamList list = { .count = 0 };
    if (!find_target(session, args, &memory_kind, &target, error) ||
        !add_limit(args, "hard-limit", "hard_limit", &list, error) ||
        !add_limit(args, "soft-limit", "soft_limit", &list, error) ||
        !add_limit(args, "swap-hard-limit", "swap_hard_limit", &list, error) ||
        !add_limit(args, "min-guarantee", "min_guarantee", &list, error)) {
        return false;
    }
    return list.count > 0 ? write_params(session, &memory_kind, &target, &list, error)
                          : show_params(session, &memory_kind, &target, memory_text, error);
}

/* Disks by the host's cgroups */

static const ParamKind blkio_kind = {
    .get = REMOTE_PROC_DOMAIN_GET_BLKIO_PARAMETERS,
    .set = REMOTE_PROC_DOMAIN_SET_BLKIO_PARAMETERS,
    .cannot_count = "Unable to get number of blkio parameters",
    .cannot_get = "Unable to get blkio parameters",
    .cannot_set = "Unable to change blkio parameters",
};

static const CliOption blkiotune_options[] = {
    CLI_DOMAIN_OPTION,
    { "weight", CLI_NUMBER, 0, CLI_VALUE_ANY, "share of the host's disk time" },
    { "device-weights", CLI_STRING, 0, CLI_VALUE_ANY, "shares by device: PATH,WEIGHT,..." },
    { "device-read-iops-sec", CLI_STRING, 0, CLI_VALUE_ANY,
      "read operations a second: PATH,NUMBER,..." },
    { "device-write-iops-sec", CLI_STRING, 0, CLI_VALUE_ANY,
      "write operations a second: PATH,NUMBER,..." },
    { "device-read-bytes-sec", CLI_STRING, 0, CLI_VALUE_ANY,
      "bytes read a second: PATH,NUMBER,..." },
    { "device-write-bytes-sec", CLI_STRING, 0, CLI_VALUE_ANY,
      "bytes written a second: PATH,NUMBER,..." },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_blkiotune(CliSession *session, const CliArgs *args, GError **error)
{
    ParamTarget target;
    ParamList list = { .count = 0 };
    gint64 weight = -1;
    if (!find_target(session, args, &blkio_kind, &target, error) ||
        !cli_args_int(args, "weight", 0, G_MAXINT32, &weight, error)) {
        return false;
    }
    if (weight > 0) {
        add_uint(&list, "weight", (guint64)weight);
    }
    add_string(&list, "device_weight", cli_args_string(args, "device-weights"));
    add_string(&list, "device_read_iops_sec", cli_args_string(args, "device-read-iops-sec"));
    add_string(&list, "device_write_iops_sec", cli_args_string(args, "device-write-iops-sec"));
    add_string(&list, "device_read_bytes_sec", cli_args_string(args, "device-read-bytes-sec"));
    add_string(&list, "device_write_bytes_sec", cli_args_string(args, "device-write-bytes-sec"));
    return list.count > 0 ? write_params(session, &blkio_kind, &target, &list, error)
                          : show_params(session, &blkio_kind, &target, plain_text, error);
}

/* Disks by the monitor */

static const ParamKind throttle_kind = {
    .get = REMOTE_PROC_DOMAIN_GET_BLOCK_IO_TUNE,
    .set = REMOTE_PROC_DOMAIN_SET_BLOCK_IO_TUNE,
    .device = "device",
    .cannot_count = "Unable to get block I/O throttle parameters",
    .cannot_get = "Unable to get block I/O throttle parameters",
    .cannot_set = "Unable to change block I/O throttle",
};

static const CliOption blkdeviotune_options[] = {
    CLI_DOMAIN_OPTION,
    { "device", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DISK, "the disk: target or path" },
    { "total-bytes-sec", CLI_NUMBER, 0, CLI_VALUE_ANY, "all: bytes a second" },
    { "read-bytes-sec", CLI_NUMBER, 0, CLI_VALUE_ANY, "reads: bytes a second" },
    { "write-bytes-sec", CLI_NUMBER, 0, CLI_VALUE_ANY, "writes: bytes a second" },
    { "total-iops-sec", CLI_NUMBER, 0, CLI_VALUE_ANY, "all: operations a second" },
    { "read-iops-sec", CLI_NUMBER, 0, CLI_VALUE_ANY, "reads: operations a second" },
    { "write-iops-sec", CLI_NUMBER, 0, CLI_VALUE_ANY, "writes: operations a second" },
    { "total-bytes-sec-max", CLI_NUMBER, 0, CLI_VALUE_ANY, "all: bytes a second in a burst" },
    { "read-bytes-sec-max", CLI_NUMBER, 0, CLI_VALUE_ANY, "reads: bytes a second in a burst" },
    { "write-bytes-sec-max", CLI_NUMBER, 0, CLI_VALUE_ANY, "writes: bytes a second in a burst" },
    { "total-iops-sec-max", CLI_NUMBER, 0, CLI_VALUE_ANY, "all: operations a second in a burst" },
    { "read-iops-sec-max", CLI_NUMBER, 0, CLI_VALUE_ANY, "reads: operations a second in a burst" },
    { "write-iops-sec-max", CLI_NUMBER, 0, CLI_VALUE_ANY,
      "writes: operations a second in a burst" },
    { "size-iops-sec", CLI_NUMBER, 0, CLI_VALUE_ANY, "bytes that count as one operation" },
    { "group-name", CLI_STRING, 0, CLI_VALUE_ANY, "a group of disks that share the limits" },
    { "total-bytes-sec-max-length", CLI_NUMBER, 0, CLI_VALUE_ANY,
      "all: seconds that a burst may last" },
    { "read-bytes-sec-max-length", CLI_NUMBER, 0, CLI_VALUE_ANY,
      "reads: seconds that a burst may last" },
    { "write-bytes-sec-max-length", CLI_NUMBER, 0, CLI_VALUE_ANY,
      "writes: seconds that a burst may last" },
    { "total-iops-sec-max-length", CLI_NUMBER, 0, CLI_VALUE_ANY,
      "all: seconds that a burst may last" },
    { "read-iops-sec-max-length", CLI_NUMBER, 0, CLI_VALUE_ANY,
      "reads: seconds that a burst may last" },
    { "write-iops-sec-max-length", CLI_NUMBER, 0, CLI_VALUE_ANY,
      "writes: seconds that a burst may last" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

/* Options whose field has the same name with underscores. */
static const char *const throttle_numbers[] = {
    "total-bytes-sec",
    "read-bytes-sec",
    "write-bytes-sec",
    "total-bytes-sec-max",
    "read-bytes-sec-max",
    "write-bytes-sec-max",
    "total-iops-sec",
    "read-iops-sec",
    "write-iops-sec",
    "total-iops-sec-max",
    "read-iops-sec-max",
    "write-iops-sec-max",
    "size-iops-sec",
    "total-bytes-sec-max-length",
    "read-bytes-sec-max-length",
    "write-bytes-sec-max-length",
    "total-iops-sec-max-length",
    "read-iops-sec-max-length",
    "write-iops-sec-max-length",
};

static bool run_blkdeviotune(CliSession *session, const CliArgs *args, GError **error)
{
    ParamTarget target;
    ParamList list = { .count = 0 };
    if (!find_target(session, args, &throttle_kind, &target, error)) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(throttle_numbers); i++) {
        guint64 value;
        if (!cli_args_string(args, throttle_numbers[i])) {
            continue;
        }
        if (!cli_args_size(args, throttle_numbers[i], 1, &value, error)) {
            return cli_fail(error, "Unable to parse integer parameter");
        }
        char *field = arena_strdup(&session->arena, throttle_numbers[i]);
        add_param(&list, g_strdelimit(field, "-", '_'), TYPED_PARAM_ULLONG)->value.ul = value;
    }
    add_string(&list, "group_name", cli_args_string(args, "group-name"));
    return list.count > 0 ? write_params(session, &throttle_kind, &target, &list, error)
                          : show_params(session, &throttle_kind, &target, plain_text, error);
}

/* Interfaces */

static const ParamKind interface_kind = {
    .get = REMOTE_PROC_DOMAIN_GET_INTERFACE_PARAMETERS,
    .set = REMOTE_PROC_DOMAIN_SET_INTERFACE_PARAMETERS,
    .device = "interface",
    .cannot_count = "Unable to get number of interface parameters",
    .cannot_get = "Unable to get interface parameters",
    .cannot_set = "Unable to set interface parameters",
};

static const CliOption domiftune_options[] = {
    CLI_DOMAIN_OPTION,
    { "interface", CLI_STRING, CLI_REQUIRED, CLI_VALUE_INTERFACE, "the interface: target or MAC" },
    { "inbound", CLI_STRING, 0, CLI_VALUE_ANY, "limits to the guest: average,peak,burst,floor" },
    { "outbound", CLI_STRING, 0, CLI_VALUE_ANY, "limits from the guest: average,peak,burst" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

/* "average,peak,burst,floor" into fields "inbound.average" and so on. */
static bool add_rates(const CliArgs *args, const char *option, const char *const fields[4],
                      ParamList *list, GError **error)
{
    const char *text = cli_args_string(args, option);
    g_auto(GStrv) words = g_strsplit(text ? text : "", ",", -1);
    guint64 rate[4] = { 0 };
    unsigned count = g_strv_length(words);
    bool is_inbound = fields[3] != NULL;
    if (!text) {
        return true;
    }
    bool ok = count > 0 && count <= (is_inbound ? 4 : 3);
    for (unsigned i = 0; i < count && ok; i++) {
        bool is_empty = *words[i] == '\0';
        ok = is_empty || g_ascii_string_to_unsigned(words[i], 10, 0, G_MAXUINT32, &rate[i], NULL);
    }
    if (!ok) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "%s format is incorrect: '%s'; write it as average,peak,burst%s", option, text,
                    is_inbound ? ",floor" : "");
        return false;
    }
    if (rate[0] == 0 && (rate[1] || rate[2]) && rate[3] == 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    is_inbound ? "either inbound average or floor is mandatory"
                               : "outbound average is mandatory");
        return false;
    }
    for (unsigned i = 0; i < 4; i++) {
        bool is_wanted = i == 0 ? (rate[0] == 0 || rate[3] == 0) : rate[i] != 0;
        if (is_wanted && fields[i]) {
            add_uint(list, fields[i], rate[i]);
        }
    }
    return true;
}

static bool run_domiftune(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const in[4] = { "inbound.average", "inbound.peak", "inbound.burst",
                                       "inbound.floor" };
    static const char *const out[4] = { "outbound.average", "outbound.peak", "outbound.burst",
                                        NULL };
    ParamTarget target;
    ParamList list = { .count = 0 };
    if (!find_target(session, args, &interface_kind, &target, error) ||
        !add_rates(args, "inbound", in, &list, error) ||
        !add_rates(args, "outbound", out, &list, error)) {
        return false;
    }
    return list.count > 0 ? write_params(session, &interface_kind, &target, &list, error)
                          : show_params(session, &interface_kind, &target, plain_text, error);
}

/* NUMA */

static const ParamKind numa_kind = {
    .get = REMOTE_PROC_DOMAIN_GET_NUMA_PARAMETERS,
    .set = REMOTE_PROC_DOMAIN_SET_NUMA_PARAMETERS,
    .cannot_count = "Unable to get number of memory parameters",
    .cannot_get = "Unable to get numa parameters",
    .cannot_set = "Unable to change numa parameters",
};
static const char *const numa_modes[] = { "strict", "preferred", "interleave", "restrictive",
                                          NULL };

static const CliOption numatune_options[] = {
    CLI_DOMAIN_OPTION,
    { "mode", CLI_STRING, 0, CLI_VALUE_ANY, "strict, preferred, interleave or restrictive" },
    { "nodeset", CLI_STRING, 0, CLI_VALUE_ANY, "NUMA cells, as 0-1" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static char *numa_text(const TypedParam *param)
{
    bool is_mode = param->type == TYPED_PARAM_INT && strcmp(param->field, "numa_mode") == 0;
    if (is_mode && param->value.i >= 0 && param->value.i < 4) {
        return g_strdup(numa_modes[param->value.i]);
    }
    return cli_param_text(param);
}

static bool run_numatune(CliSession *session, const CliArgs *args, GError **error)
{
    ParamTarget target;
    ParamList list = { .count = 0 };
    const char *mode = cli_args_string(args, "mode");
    const char *nodes = cli_args_string(args, "nodeset");
    if (!find_target(session, args, &numa_kind, &target, error)) {
        return false;
    }
    add_string(&list, "numa_nodeset", nodes);
    if (mode) {
        guint64 number = 0;
        int index = cli_word_index(mode, numa_modes);
        if (index < 0 && !g_ascii_string_to_unsigned(mode, 10, 0, 3, &number, NULL)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Invalid mode: %s", mode);
            return false;
        }
        add_param(&list, "numa_mode", TYPED_PARAM_INT)->value.i = index < 0 ? (int)number : index;
    }
    return list.count > 0 ? write_params(session, &numa_kind, &target, &list, error)
                          : show_params(session, &numa_kind, &target, numa_text, error);
}

/* CPU time */

static const CliOption schedinfo_options[] = {
    CLI_DOMAIN_OPTION,
    { "weight", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY, "of xen" },
    { "cap", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY, "of xen" },
    { "set", CLI_REST, 0, CLI_VALUE_ANY, "NAME=VALUE ..." },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

/* Sets @param from @text; false for a text that is none of its type. */
static bool parse_param(TypedParam *param, const char *text)
{
    char *end;
    guint64 number = g_ascii_strtoull(text, &end, 0);
    gint64 sign = g_ascii_strtoll(text, NULL, 0);
    bool ok = *text && !*end;
    switch (param->type) {
    case TYPED_PARAM_INT:
        param->value.i = (int32_t)sign;
        break;
    case TYPED_PARAM_UINT:
        param->value.ui = (uint32_t)number;
        break;
    case TYPED_PARAM_LLONG:
        param->value.l = sign;
        break;
    case TYPED_PARAM_ULLONG:
        param->value.ul = number;
        break;
    case TYPED_PARAM_DOUBLE:
        param->value.d = g_ascii_strtod(text, &end);
        ok = *text && !*end;
        break;
    case TYPED_PARAM_BOOLEAN:
        param->value.b = number != 0;
        break;
    default:
        param->value.s = text;
        ok = true;
    }
    return ok;
}

/* Adds what "NAME=VALUE" changes of the parameters that the scheduler has. */
static bool add_change(CliSession *session, const TypedParam *params, uint32_t count,
                       const char *name, const char *value, ParamList *list, GError **error)
{
    const TypedParam *known = cli_param_find(params, count, name);
    if (!known || list->count == PARAMS_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "invalid scheduler option: %s", name);
        return false;
    }
    TypedParam *param = add_param(list, known->field, known->type);
    if (!parse_param(param, arena_strdup(&session->arena, value))) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "invalid value '%s' for parameter '%s'", value, name);
        return false;
    }
    return true;
}

static bool add_changes(CliSession *session, const CliArgs *args, const TypedParam *params,
                        uint32_t count, ParamList *list, GError **error)
{
    static const char *const named[] = { "weight", "cap", NULL };
    for (unsigned i = 0; named[i]; i++) {
        const char *value = cli_args_string(args, named[i]);
        if (value && !add_change(session, params, count, named[i], value, list, error)) {
            return false;
        }
    }
    for (const char *const *word = cli_args_rest(args); *word; word++) {
        const char *equals = strchr(*word, '=');
        g_autofree char *name =
            equals ? g_strndup(*word, (gsize)(equals - *word)) : g_strdup(*word);
        if (!equals) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "invalid scheduler option: %s", *word);
            return false;
        }
        if (!add_change(session, params, count, name, equals + 1, list, error)) {
            return false;
        }
    }
    return true;
}

/* Without an option for the impact the older procedures do, which every driver has. */
static bool read_scheduler(CliSession *session, const RemoteDomain *domain, int32_t count,
                           uint32_t flags, RemoteDomainGetSchedulerParametersFlagsRet *ret,
                           GError **error)
{
    RemoteDomainGetSchedulerParametersFlagsArgs call = { *domain, count, flags };
    RemoteDomainGetSchedulerParametersArgs old_call = { *domain, count };
    RemoteDomainGetSchedulerParametersRet old_ret;
    *ret = (RemoteDomainGetSchedulerParametersFlagsRet){ 0 };
    if (count == 0) {
        return true;
    }
    if (flags) {
        return remote_domain_get_scheduler_parameters_flags(cli_client(session), &call,
                                                            &session->arena, ret, error);
    }
    bool ok = remote_domain_get_scheduler_parameters(cli_client(session), &old_call,
                                                     &session->arena, &old_ret, error);
    if (ok) {
        ret->params = old_ret.params;
        ret->n_params = old_ret.n_params;
    }
    return ok;
}

static bool write_scheduler(CliSession *session, const RemoteDomain *domain, ParamList *list,
                            uint32_t flags, GError **error)
{
    RemoteDomainSetSchedulerParametersFlagsArgs call = { *domain, list->item, list->count, flags };
    RemoteDomainSetSchedulerParametersArgs old_call = { *domain, list->item, list->count };
    return flags ? remote_domain_set_scheduler_parameters_flags(cli_client(session), &call, error)
                 : remote_domain_set_scheduler_parameters(cli_client(session), &old_call, error);
}

static bool run_schedinfo(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainGetSchedulerTypeArgs type_call;
    RemoteDomainGetSchedulerTypeRet type;
    RemoteDomainGetSchedulerParametersFlagsRet ret = { 0 };
    ParamList list = { .count = 0 };
    RemoteDomain domain;
    uint32_t flags;
    if (!cli_args_impact(args, &flags, error) || !cli_domain(session, args, &domain, error)) {
        return false;
    }
    type_call.dom = domain;
    if (!remote_domain_get_scheduler_type(cli_client(session), &type_call, &session->arena, &type,
                                          error)) {
        return false;
    }
    g_autoptr(CliRecord) record = cli_record_new_aligned(15);
    cli_record_add(record, "Scheduler", "%s", type.type);
    bool ok = read_scheduler(session, &domain, type.nparams, flags, &ret, error) &&
              add_changes(session, args, ret.params, ret.n_params, &list, error);
    if (ok && list.count > 0) {
        ok = write_scheduler(session, &domain, &list, flags, error) &&
             read_scheduler(session, &domain, type.nparams, flags, &ret, error);
    }
    for (uint32_t i = 0; ok && i < ret.n_params; i++) {
        g_autofree char *text = cli_param_text(&ret.params[i]);
        cli_record_add(record, ret.params[i].field, "%s", text);
    }
    cli_show_record(session, record);
    return ok;
}

/* Performance counters */

static const CliOption perf_options[] = {
    CLI_DOMAIN_OPTION,
    { "enable", CLI_STRING, 0, CLI_VALUE_ANY, "events to count, with commas" },
    { "disable", CLI_STRING, 0, CLI_VALUE_ANY, "events not to count, with commas" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static void add_events(CliSession *session, const CliArgs *args, const char *option, bool enable,
                       ParamList *list)
{
    const char *text = cli_args_string(args, option);
    g_auto(GStrv) words = g_strsplit(text ? text : "", ",", PARAMS_MAX / 2);
    for (char **word = words; *word; word++) {
        char *name = arena_strdup(&session->arena, *word);
        add_param(list, name, TYPED_PARAM_BOOLEAN)->value.b = enable;
    }
}

static bool run_perf(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainGetPerfEventsArgs call;
    RemoteDomainGetPerfEventsRet ret;
    ParamList list = { .count = 0 };
    if (!cli_args_impact(args, &call.flags, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    add_events(session, args, "enable", true, &list);
    add_events(session, args, "disable", false, &list);
    if (list.count > 0) {
        RemoteDomainSetPerfEventsArgs set = { call.dom, list.item, list.count, call.flags };
        if (!remote_domain_set_perf_events(cli_client(session), &set, error)) {
            return cli_fail(error, "Unable to enable/disable perf events");
        }
        for (uint32_t i = 0; i < list.count; i++) {
            cli_note(session, "%-15s: %s", list.item[i].field,
                     list.item[i].value.b ? "enabled" : "disabled");
        }
        return true;
    }
    if (!remote_domain_get_perf_events(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Unable to get perf events");
    }
    g_autoptr(CliRecord) record = cli_record_new_aligned(15);
    for (uint32_t i = 0; i < ret.n_params; i++) {
        bool is_on = ret.params[i].type == TYPED_PARAM_BOOLEAN && ret.params[i].value.b;
        cli_record_add(record, ret.params[i].field, "%s", is_on ? "enabled" : "disabled");
    }
    cli_show_record(session, record);
    return true;
}

const CliCommand cli_tune_commands[] = {
    { "blkdeviotune", "show or limit the rates of a disk", NULL, blkdeviotune_options, 0,
      run_blkdeviotune },
    { "blkiotune", "show or change a domain's share of the host's disks", NULL, blkiotune_options,
      0, run_blkiotune },
    { "domiftune", "show or limit the rates of an interface", NULL, domiftune_options, 0,
      run_domiftune },
    { "memtune", "show or limit a domain's use of the host's memory", NULL, memtune_options, 0,
      run_memtune },
    { "numatune", "show or change where a domain's memory is", NULL, numatune_options, 0,
      run_numatune },
    { "perf", "show or choose the performance counters of a domain", NULL, perf_options, 0,
      run_perf },
    { "schedinfo", "show or change a domain's share of the host's CPUs", NULL, schedinfo_options, 0,
      run_schedinfo },
    { NULL },
};
