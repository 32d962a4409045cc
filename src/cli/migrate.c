/* Commands that move guests between hosts.
 *
 * Only by way of the daemons (--p2p) and --direct: this program is no go-between of two daemons.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/progress.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <string.h>

#define PARAMS_MAX 64

static const CliOption migrate_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "desturi", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY,
      "the other daemon, as this program reaches it" },
    { "live", CLI_FLAG, 0, CLI_VALUE_ANY, "while the guest runs" },
    { "offline", CLI_FLAG, 0, CLI_VALUE_ANY, "the definition of one that does not run" },
    { "p2p", CLI_FLAG, 0, CLI_VALUE_ANY, "the daemons talk to each other" },
    { "direct", CLI_FLAG, 0, CLI_VALUE_ANY, "the hypervisors talk to each other" },
    { "tunnelled", CLI_FLAG, 0, CLI_VALUE_ANY, "through the daemons' connection" },
    { "persistent", CLI_FLAG, 0, CLI_VALUE_ANY, "define it there" },
    { "undefinesource", CLI_FLAG, 0, CLI_VALUE_ANY, "forget it here" },
    { "suspend", CLI_FLAG, 0, CLI_VALUE_ANY, "leave it paused there" },
    { "copy-storage-all", CLI_FLAG, 0, CLI_VALUE_ANY, "with its disks" },
    { "copy-storage-inc", CLI_FLAG, 0, CLI_VALUE_ANY, "with its disks' topmost images" },
    { "copy-storage-synchronous-writes", CLI_FLAG, 0, CLI_VALUE_ANY,
      "the guest's writes wait for the copy" },
    { "change-protection", CLI_FLAG, 0, CLI_VALUE_ANY, "nobody may change it meanwhile" },
    { "unsafe", CLI_FLAG, 0, CLI_VALUE_ANY, "even where data may get lost" },
    { "verbose", CLI_FLAG, 0, CLI_VALUE_ANY, "show how far it is" },
    { "compressed", CLI_FLAG, 0, CLI_VALUE_ANY, "compress repeated pages" },
    { "auto-converge", CLI_FLAG, 0, CLI_VALUE_ANY, "slow the guest down until it fits" },
    { "rdma-pin-all", CLI_FLAG, 0, CLI_VALUE_ANY, "pin all memory" },
    { "abort-on-error", CLI_FLAG, 0, CLI_VALUE_ANY, "end at an I/O error" },
    { "postcopy", CLI_FLAG, 0, CLI_VALUE_ANY, "prepare for post-copy" },
    { "postcopy-after-precopy", CLI_FLAG, 0, CLI_VALUE_ANY, "post-copy after the first round" },
    { "postcopy-resume", CLI_FLAG, 0, CLI_VALUE_ANY, "go on with a broken post-copy" },
    { "zerocopy", CLI_FLAG, 0, CLI_VALUE_ANY, "without copies in the kernel" },
    { "migrateuri", CLI_STRING, 0, CLI_VALUE_ANY, "the other hypervisor" },
    { "graphicsuri", CLI_STRING, 0, CLI_VALUE_ANY, "where the screen will be" },
    { "listen-address", CLI_STRING, 0, CLI_VALUE_ANY, "where the other side listens" },
    { "dname", CLI_STRING, 0, CLI_VALUE_ANY, "its name there" },
    { "timeout", CLI_NUMBER, 0, CLI_VALUE_ANY, "seconds until it is paused, or --timeout-..." },
    { "timeout-suspend", CLI_FLAG, 0, CLI_VALUE_ANY, "pause it at the timeout" },
    { "timeout-postcopy", CLI_FLAG, 0, CLI_VALUE_ANY, "post-copy at the timeout" },
    { "xml", CLI_STRING, 0, CLI_VALUE_FILE, "a file with its XML for there" },
    { "migrate-disks", CLI_STRING, 0, CLI_VALUE_ANY, "these disks, with commas" },
    { "disks-port", CLI_NUMBER, 0, CLI_VALUE_ANY, "port for the disks" },
    { "disks-uri", CLI_STRING, 0, CLI_VALUE_ANY, "where the disks go" },
    { "comp-methods", CLI_STRING, 0, CLI_VALUE_ANY, "xbzrle, mt, zlib, zstd with commas" },
    { "comp-mt-level", CLI_NUMBER, 0, CLI_VALUE_ANY, "level of mt" },
    { "comp-mt-threads", CLI_NUMBER, 0, CLI_VALUE_ANY, "threads that compress" },
    { "comp-mt-dthreads", CLI_NUMBER, 0, CLI_VALUE_ANY, "threads that decompress" },
    { "comp-xbzrle-cache", CLI_NUMBER, 0, CLI_VALUE_ANY, "bytes of the page cache" },
    { "auto-converge-initial", CLI_NUMBER, 0, CLI_VALUE_ANY, "first per cent" },
    { "auto-converge-increment", CLI_NUMBER, 0, CLI_VALUE_ANY, "more per cent each time" },
    { "persistent-xml", CLI_STRING, 0, CLI_VALUE_FILE, "a file with its definition for there" },
    { "tls", CLI_FLAG, 0, CLI_VALUE_ANY, "encrypted" },
    { "postcopy-bandwidth", CLI_NUMBER, 0, CLI_VALUE_ANY, "MiB a second in post-copy" },
    { "parallel", CLI_FLAG, 0, CLI_VALUE_ANY, "over several connections" },
    { "parallel-connections", CLI_NUMBER, 0, CLI_VALUE_ANY, "how many" },
    { "bandwidth", CLI_NUMBER, 0, CLI_VALUE_ANY, "the most MiB a second" },
    { "tls-destination", CLI_STRING, 0, CLI_VALUE_ANY, "the name in the other's certificate" },
    CLI_OPTIONS_END,
};

/* virDomainMigrateFlags */
static const CliBit migrate_bits[] = {
    { "live", 1 << 0 },
    { "p2p", 1 << 1 },
    { "direct", 1 << 1 },
    { "tunnelled", 1 << 2 },
    { "persistent", 1 << 3 },
    { "undefinesource", 1 << 4 },
    { "suspend", 1 << 5 },
    { "copy-storage-all", 1 << 6 },
    { "copy-storage-inc", 1 << 7 },
    { "change-protection", 1 << 8 },
    { "unsafe", 1 << 9 },
    { "offline", 1 << 10 },
    { "compressed", 1 << 11 },
    { "abort-on-error", 1 << 12 },
    { "auto-converge", 1 << 13 },
    { "rdma-pin-all", 1 << 14 },
    { "postcopy", 1 << 15 },
    { "tls", 1 << 16 },
    { "parallel", 1 << 17 },
    { "postcopy-resume", 1 << 19 },
    { "zerocopy", 1 << 20 },
    { "copy-storage-synchronous-writes", 1 << 21 },
    { NULL },
};

/* Options that become parameters. */
static const struct {
    const char *option, *field;
    TypedParamType type;
} migrate_params[] = {
    { "migrateuri", "migrate_uri", TYPED_PARAM_STRING },
    { "graphicsuri", "graphics_uri", TYPED_PARAM_STRING },
    { "listen-address", "listen_address", TYPED_PARAM_STRING },
    { "dname", "destination_name", TYPED_PARAM_STRING },
    { "disks-uri", "disks_uri", TYPED_PARAM_STRING },
    { "tls-destination", "tls.destination", TYPED_PARAM_STRING },
    { "disks-port", "disks_port", TYPED_PARAM_INT },
    { "comp-mt-level", "compression.mt.level", TYPED_PARAM_INT },
    { "comp-mt-threads", "compression.mt.threads", TYPED_PARAM_INT },
    { "comp-mt-dthreads", "compression.mt.dthreads", TYPED_PARAM_INT },
    { "comp-xbzrle-cache", "compression.xbzrle.cache", TYPED_PARAM_ULLONG },
    { "auto-converge-initial", "auto_converge.initial", TYPED_PARAM_INT },
    { "auto-converge-increment", "auto_converge.increment", TYPED_PARAM_INT },
    { "bandwidth", "bandwidth", TYPED_PARAM_ULLONG },
    { "postcopy-bandwidth", "bandwidth.postcopy", TYPED_PARAM_ULLONG },
    { "parallel-connections", "parallel.connections", TYPED_PARAM_INT },
};

typedef struct ParamList {
    TypedParam item[PARAMS_MAX];
    uint32_t count;
} ParamList;

static bool add_string(ParamList *list, const char *field, const char *value)
{
    if (value && list->count < PARAMS_MAX) {
        list->item[list->count++] =
            (TypedParam){ .field = field, .type = TYPED_PARAM_STRING, .value.s = value };
    }
    return list->count < PARAMS_MAX;
}

static bool add_file(CliSession *session, const CliArgs *args, const char *option,
                     const char *field, ParamList *list, GError **error)
{
    if (!cli_args_string(args, option)) {
        return true;
    }
    g_autofree char *text = cli_read_file(args, option, error);
    return text && add_string(list, field, arena_strdup(&session->arena, text));
}

static bool add_list(CliSession *session, const CliArgs *args, const char *option,
                     const char *field, ParamList *list, GError **error)
{
    const char *text = cli_args_string(args, option);
    g_auto(GStrv) words = g_strsplit(text ? text : "", ",", -1);
    for (char **word = words; *word; word++) {
        if (!add_string(list, field, arena_strdup(&session->arena, *word))) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "--%s lists too much", option);
            return false;
        }
    }
    return true;
}

static bool add_params(CliSession *session, const CliArgs *args, ParamList *list, GError **error)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(migrate_params); i++) {
        const char *text = cli_args_string(args, migrate_params[i].option);
        gint64 number = 0;
        TypedParam param = { .field = migrate_params[i].field, .type = migrate_params[i].type };
        if (!text) {
            continue;
        }
        if (param.type == TYPED_PARAM_STRING) {
            param.value.s = text;
        } else if (!cli_args_int(args, migrate_params[i].option, 0,
                                 param.type == TYPED_PARAM_INT ? G_MAXINT32 : G_MAXINT64, &number,
                                 error)) {
            return false;
        } else if (param.type == TYPED_PARAM_INT) {
            param.value.i = (int32_t)number;
        } else {
            param.value.ul = (uint64_t)number;
        }
        list->item[list->count++] = param;
    }
    return add_file(session, args, "xml", "destination_xml", list, error) &&
           add_file(session, args, "persistent-xml", "persistent_xml", list, error) &&
           add_list(session, args, "migrate-disks", "migrate_disks", list, error) &&
           add_list(session, args, "comp-methods", "compression", list, error);
}

static bool run_migrate(CliSession *session, const CliArgs *args, GError **error)
{
    ParamList list = { .count = 0 };
    RemoteDomainMigratePerform3ParamsArgs call = { .flags = cli_args_bits(args, migrate_bits) };
    RemoteDomainMigratePerform3ParamsRet ret;
    if (!cli_args_exclusive(args, "live", "offline", error) ||
        !cli_args_exclusive(args, "timeout-suspend", "timeout-postcopy", error) ||
        !add_params(session, args, &list, error) || !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!cli_args_flag(args, "p2p") && !cli_args_flag(args, "direct")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "migration of '%s' by way of this program is not supported; add --p2p, so that "
                    "the daemon here talks to the one at %s",
                    call.dom.name, cli_args_string(args, "desturi"));
        return false;
    }
    call.params = list.item;
    call.n_params = list.count;
    call.dconnuri = cli_args_string(args, "desturi");
    CliProgress *progress = cli_progress_start(session, &call.dom, "Migration", args);
    bool ok = remote_domain_migrate_perform3_params(cli_client(session), &call, &session->arena,
                                                    &ret, error);
    cli_progress_end(progress, ok);
    return ok;
}

static const CliOption migrate_setmaxdowntime_options[] = {
    CLI_DOMAIN_OPTION,
    { "downtime", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "milliseconds" },
    CLI_OPTIONS_END,
};

static bool run_setmaxdowntime(CliSession *session, const CliArgs *args, GError **error)
{
    gint64 downtime = 0;
    RemoteDomainMigrateSetMaxDowntimeArgs call = { .flags = 0 };
    if (!cli_domain(session, args, &call.dom, error) ||
        !cli_args_int(args, "downtime", 1, G_MAXINT64, &downtime, error)) {
        return false;
    }
    call.downtime = (uint64_t)downtime;
    return remote_domain_migrate_set_max_downtime(cli_client(session), &call, error);
}

static bool run_getmaxdowntime(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainMigrateGetMaxDowntimeArgs call = { .flags = 0 };
    RemoteDomainMigrateGetMaxDowntimeRet ret;
    if (!cli_domain(session, args, &call.dom, error) ||
        !remote_domain_migrate_get_max_downtime(cli_client(session), &call, &session->arena, &ret,
                                                error)) {
        return false;
    }
    cli_print(session, "%" G_GUINT64_FORMAT, ret.downtime);
    return true;
}

static const CliOption migrate_compcache_options[] = {
    CLI_DOMAIN_OPTION,
    { "size", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY, "bytes" },
    CLI_OPTIONS_END,
};

static bool run_compcache(CliSession *session, const CliArgs *args, GError **error)
{
    guint64 size = 0;
    RemoteDomainMigrateSetCompressionCacheArgs set = { .flags = 0 };
    if (!cli_domain(session, args, &set.dom, error) ||
        !cli_args_size(args, "size", 1, &size, error)) {
        return false;
    }
    set.cache_size = size;
    if (cli_args_string(args, "size") &&
        !remote_domain_migrate_set_compression_cache(cli_client(session), &set, error)) {
        return false;
    }
    RemoteDomainMigrateGetCompressionCacheArgs call = { set.dom, 0 };
    RemoteDomainMigrateGetCompressionCacheRet ret;
    if (!remote_domain_migrate_get_compression_cache(cli_client(session), &call, &session->arena,
                                                     &ret, error)) {
        return false;
    }
    g_autofree char *text = cli_size_text(ret.cache_size);
    cli_print_open(session, "Compression cache: %s", text);
    return true;
}

static const CliOption migrate_setspeed_options[] = {
    CLI_DOMAIN_OPTION,
    { "bandwidth", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "MiB a second" },
    { "postcopy", CLI_FLAG, 0, CLI_VALUE_ANY, "in the post-copy phase" },
    CLI_OPTIONS_END,
};

static bool run_setspeed(CliSession *session, const CliArgs *args, GError **error)
{
    gint64 bandwidth = 0;
    RemoteDomainMigrateSetMaxSpeedArgs call = { .flags = cli_args_flag(args, "postcopy") };
    if (!cli_domain(session, args, &call.dom, error) ||
        !cli_args_int(args, "bandwidth", 0, G_MAXINT64, &bandwidth, error)) {
        return false;
    }
    call.bandwidth = (uint64_t)bandwidth;
    return remote_domain_migrate_set_max_speed(cli_client(session), &call, error);
}

static const CliOption migrate_getspeed_options[] = {
    CLI_DOMAIN_OPTION,
    { "postcopy", CLI_FLAG, 0, CLI_VALUE_ANY, "in the post-copy phase" },
    CLI_OPTIONS_END,
};

static bool run_getspeed(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainMigrateGetMaxSpeedArgs call = { .flags = cli_args_flag(args, "postcopy") };
    RemoteDomainMigrateGetMaxSpeedRet ret;
    if (!cli_domain(session, args, &call.dom, error) ||
        !remote_domain_migrate_get_max_speed(cli_client(session), &call, &session->arena, &ret,
                                             error)) {
        return false;
    }
    cli_print(session, "%" G_GUINT64_FORMAT, ret.bandwidth);
    return true;
}

static bool run_postcopy(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainMigrateStartPostCopyArgs call = { .flags = 0 };
    return cli_domain(session, args, &call.dom, error) &&
           remote_domain_migrate_start_post_copy(cli_client(session), &call, error);
}

const CliCommand cli_migrate_commands[] = {
    { "migrate", "move a guest to another host", NULL, migrate_options, 0, run_migrate },
    { "migrate-compcache", "show or change the cache for compressed migration", NULL,
      migrate_compcache_options, 0, run_compcache },
    { "migrate-getmaxdowntime", "print how long a migration may stop a guest", NULL,
      cli_domain_only, 0, run_getmaxdowntime },
    { "migrate-getspeed", "print how fast a migration may be", NULL, migrate_getspeed_options, 0,
      run_getspeed },
    { "migrate-postcopy", "end a migration's first phase: let the guest run there", NULL,
      cli_domain_only, 0, run_postcopy },
    { "migrate-setmaxdowntime", "choose how long a migration may stop a guest", NULL,
      migrate_setmaxdowntime_options, 0, run_setmaxdowntime },
    { "migrate-setspeed", "choose how fast a migration may be", NULL, migrate_setspeed_options, 0,
      run_setspeed },
    { NULL },
};
