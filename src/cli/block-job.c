/* Commands for jobs: those of disks (commit, copy, pull), and the domain's own.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/progress.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define POLL_US (G_USEC_PER_SEC / 4)

/* virDomainBlockJobType */
enum { JOB_PULL = 1, JOB_COPY = 2, JOB_COMMIT = 3, JOB_ACTIVE_COMMIT = 4 };
/* virDomainBlockJobAbortFlags */
enum { ABORT_ASYNC = 1, ABORT_PIVOT = 2 };

static const char *job_title(int type)
{
    static const char *const titles[] = { "Unknown job",  "Block Pull",          "Block Copy",
                                          "Block Commit", "Active Block Commit", "Backup" };
    return type > 0 && type < (int)G_N_ELEMENTS(titles) ? titles[type] : titles[0];
}

/* --bandwidth in MiB, or in bytes with --bytes, as the wire has it. */
static bool read_bandwidth(const CliArgs *args, uint64_t *out, GError **error)
{
    guint64 value = 0;
    bool is_bytes = cli_args_flag(args, "bytes");
    if (!cli_args_size(args, "bandwidth", is_bytes ? 1 : 1 << 20, &value, error)) {
        return false;
    }
    *out = is_bytes ? value : value >> 20;
    return true;
}

static bool job_info(CliSession *session, const RemoteDomain *domain, const char *path,
                     uint32_t flags, RemoteDomainGetBlockJobInfoRet *ret, GError **error)
{
    RemoteDomainGetBlockJobInfoArgs call = { *domain, path, flags };
    return remote_domain_get_block_job_info(cli_client(session), &call, &session->arena, ret,
                                            error);
}

static bool abort_job(CliSession *session, const RemoteDomain *domain, const char *path,
                      uint32_t flags, GError **error)
{
    RemoteDomainBlockJobAbortArgs call = { *domain, path, flags };
    return remote_domain_block_job_abort(cli_client(session), &call, error);
}

typedef struct JobWait {
    const char *label;    /* "Block Pull" */
    bool ends_ready;      /* the job stays at its end until it is pivoted or left */
    uint32_t abort_flags; /* at a timeout */
} JobWait;

/* Waits for the job's end, or until it is ready. Draws a bar with --verbose. */
static bool wait_for_job(CliSession *session, const CliArgs *args, const RemoteDomain *domain,
                         const char *path, const JobWait *wait, GError **error)
{
    gint64 timeout = 0;
    bool draws = cli_args_flag(args, "verbose");
    if (!cli_args_int(args, "timeout", 1, G_MAXINT32, &timeout, error)) {
        return false;
    }
    gint64 deadline = timeout ? g_get_monotonic_time() + timeout * G_USEC_PER_SEC : G_MAXINT64;
    for (;;) {
        RemoteDomainGetBlockJobInfoRet info;
        if (!job_info(session, domain, path, 0, &info, error)) {
            return cli_fail(error, "failed to query job for disk %s", path);
        }
        bool is_over = !info.found;
        bool is_ready = !is_over && wait->ends_ready && info.end > 0 && info.cur == info.end;
        if (draws) {
            cli_progress_draw(session, wait->label, is_over ? 1 : info.cur, is_over ? 1 : info.end);
        }
        if (is_over || is_ready) {
            fputs(draws ? "\n" : "", stderr);
            return true;
        }
        if (g_get_monotonic_time() > deadline) {
            abort_job(session, domain, path, wait->abort_flags, NULL);
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_TIMEOUT, "%s aborted", wait->label);
            return false;
        }
        g_usleep(POLL_US);
    }
}

static bool waits(const CliArgs *args)
{
    return cli_args_flag(args, "wait") || cli_args_flag(args, "verbose") ||
           cli_args_string(args, "timeout");
}

/* After a job that stays ready: pivot, leave, or say that it is ready. */
static bool finish_ready(CliSession *session, const CliArgs *args, const RemoteDomain *domain,
                         const char *path, const char *leave, const char *ready, GError **error)
{
    if (cli_args_flag(args, "pivot")) {
        if (!abort_job(session, domain, path, ABORT_PIVOT, error)) {
            return cli_fail(error, "failed to pivot job for disk %s", path);
        }
        cli_note(session, "\nSuccessfully pivoted");
        return true;
    }
    if (cli_args_flag(args, leave)) {
        if (!abort_job(session, domain, path, 0, error)) {
            return cli_fail(error, "failed to finish job for disk %s", path);
        }
        cli_note(session, "\n%s",
                 strcmp(leave, "finish") == 0 ? "Successfully copied"
                                              : "Commit complete, overlay image kept");
        return true;
    }
    cli_note(session, "\n%s", ready);
    return true;
}

static const CliOption blockcommit_options[] = {
    CLI_DOMAIN_OPTION,
    { "path", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DISK, "the disk: target or path" },
    { "bandwidth", CLI_NUMBER, 0, CLI_VALUE_ANY, "the most MiB a second" },
    { "base", CLI_STRING, 0, CLI_VALUE_ANY, "the image that stays below" },
    { "shallow", CLI_FLAG, 0, CLI_VALUE_ANY, "only the topmost image" },
    { "top", CLI_STRING, 0, CLI_VALUE_ANY, "the image to merge down" },
    { "active", CLI_FLAG, 0, CLI_VALUE_ANY, "also the topmost image" },
    { "delete", CLI_FLAG, 0, CLI_VALUE_ANY, "delete the files that are merged" },
    { "wait", CLI_FLAG, 0, CLI_VALUE_ANY, "wait until it has ended" },
    { "verbose", CLI_FLAG, 0, CLI_VALUE_ANY, "show how far it is" },
    { "timeout", CLI_NUMBER, 0, CLI_VALUE_ANY, "seconds to wait at most" },
    { "pivot", CLI_FLAG, 0, CLI_VALUE_ANY, "go on with the new image once it is complete" },
    { "keep-overlay", CLI_FLAG, 0, CLI_VALUE_ANY, "stay on the topmost image at the end" },
    { "async", CLI_FLAG, 0, CLI_VALUE_ANY, "do not wait until a cancelled job has ended" },
    { "keep-relative", CLI_FLAG, 0, CLI_VALUE_ANY, "keep names of backing files relative" },
    { "bytes", CLI_FLAG, 0, CLI_VALUE_ANY, "--bandwidth counts bytes" },
    CLI_OPTIONS_END,
};

static bool run_commit(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit bits[] = { { "shallow", 1 },       { "delete", 2 }, { "active", 4 },
                                   { "keep-relative", 8 }, { "bytes", 16 }, { NULL } };
    bool is_active = cli_args_flag(args, "active") || cli_args_flag(args, "pivot") ||
                     cli_args_flag(args, "keep-overlay");
    RemoteDomainBlockCommitArgs call = { .disk = cli_args_string(args, "path"),
                                         .base = cli_args_string(args, "base"),
                                         .top = cli_args_string(args, "top"),
                                         .flags = cli_args_bits(args, bits) };
    call.flags |= is_active ? 4 : 0;
    if (!cli_args_exclusive(args, "pivot", "keep-overlay", error) ||
        !read_bandwidth(args, &call.bandwidth, error) ||
        !cli_domain(session, args, &call.dom, error) ||
        !remote_domain_block_commit(cli_client(session), &call, error)) {
        return false;
    }
    bool must_wait =
        waits(args) || cli_args_flag(args, "pivot") || cli_args_flag(args, "keep-overlay");
    if (!must_wait) {
        cli_note_open(session, is_active ? "Active Block Commit started" : "Block Commit started");
        return true;
    }
    JobWait wait = { is_active ? "Active Block Commit" : "Block Commit", is_active,
                     cli_args_flag(args, "async") ? ABORT_ASYNC : 0 };
    if (!wait_for_job(session, args, &call.dom, call.disk, &wait, error)) {
        return false;
    }
    if (!is_active) {
        cli_note(session, "\nCommit complete");
        return true;
    }
    return finish_ready(session, args, &call.dom, call.disk, "keep-overlay",
                        "Now in synchronized phase", error);
}

static const CliOption blockpull_options[] = {
    CLI_DOMAIN_OPTION,
    { "path", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DISK, "the disk: target or path" },
    { "bandwidth", CLI_NUMBER, 0, CLI_VALUE_ANY, "the most MiB a second" },
    { "base", CLI_STRING, 0, CLI_VALUE_ANY, "the image that stays below" },
    { "wait", CLI_FLAG, 0, CLI_VALUE_ANY, "wait until it has ended" },
    { "verbose", CLI_FLAG, 0, CLI_VALUE_ANY, "show how far it is" },
    { "timeout", CLI_NUMBER, 0, CLI_VALUE_ANY, "seconds to wait at most" },
    { "async", CLI_FLAG, 0, CLI_VALUE_ANY, "do not wait until a cancelled job has ended" },
    { "keep-relative", CLI_FLAG, 0, CLI_VALUE_ANY, "keep names of backing files relative" },
    { "bytes", CLI_FLAG, 0, CLI_VALUE_ANY, "--bandwidth counts bytes" },
    CLI_OPTIONS_END,
};

static bool run_pull(CliSession *session, const CliArgs *args, GError **error)
{
    const char *path = cli_args_string(args, "path");
    const char *base = cli_args_string(args, "base");
    RemoteDomain domain;
    uint64_t bandwidth;
    bool is_bytes = cli_args_flag(args, "bytes");
    if (!read_bandwidth(args, &bandwidth, error) || !cli_domain(session, args, &domain, error)) {
        return false;
    }
    /* Bits of virDomainBlockPullFlags and of virDomainBlockRebaseFlags. */
    RemoteDomainBlockPullArgs pull = { domain, path, bandwidth, is_bytes ? 64 : 0 };
    RemoteDomainBlockRebaseArgs rebase = { domain, path, base, bandwidth, is_bytes ? 64 : 0 };
    rebase.flags |= cli_args_flag(args, "keep-relative") ? 16 : 0;
    bool ok = base || rebase.flags & 16
                  ? remote_domain_block_rebase(cli_client(session), &rebase, error)
                  : remote_domain_block_pull(cli_client(session), &pull, error);
    if (!ok) {
        return false;
    }
    if (!waits(args)) {
        cli_note_open(session, "Block Pull started");
        return true;
    }
    JobWait wait = { "Block Pull", false, cli_args_flag(args, "async") ? ABORT_ASYNC : 0 };
    if (!wait_for_job(session, args, &domain, path, &wait, error)) {
        return false;
    }
    cli_note(session, "\nPull complete");
    return true;
}

static const CliOption blockcopy_options[] = {
    CLI_DOMAIN_OPTION,
    { "path", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DISK, "the disk: target or path" },
    { "dest", CLI_STRING, 0, CLI_VALUE_FILE, "the copy's path" },
    { "bandwidth", CLI_NUMBER, 0, CLI_VALUE_ANY, "the most MiB a second" },
    { "shallow", CLI_FLAG, 0, CLI_VALUE_ANY, "only the topmost image" },
    { "reuse-external", CLI_FLAG, 0, CLI_VALUE_ANY, "the copy's file is there already" },
    { "blockdev", CLI_FLAG, 0, CLI_VALUE_ANY, "the copy is a block device" },
    { "wait", CLI_FLAG, 0, CLI_VALUE_ANY, "wait until it has ended" },
    { "verbose", CLI_FLAG, 0, CLI_VALUE_ANY, "show how far it is" },
    { "timeout", CLI_NUMBER, 0, CLI_VALUE_ANY, "seconds to wait at most" },
    { "pivot", CLI_FLAG, 0, CLI_VALUE_ANY, "go on with the new image once it is complete" },
    { "finish", CLI_FLAG, 0, CLI_VALUE_ANY, "leave the copy once it is complete" },
    { "async", CLI_FLAG, 0, CLI_VALUE_ANY, "do not wait until a cancelled job has ended" },
    { "xml", CLI_STRING, 0, CLI_VALUE_FILE, "the copy as a <disk> in a file" },
    { "format", CLI_STRING, 0, CLI_VALUE_ANY, "the copy's format" },
    { "granularity", CLI_NUMBER, 0, CLI_VALUE_ANY, "bytes that are copied as one" },
    { "buf-size", CLI_NUMBER, 0, CLI_VALUE_ANY, "bytes on their way at most" },
    { "bytes", CLI_FLAG, 0, CLI_VALUE_ANY, "--bandwidth counts bytes" },
    { "transient-job", CLI_FLAG, 0, CLI_VALUE_ANY, "the job ends with the guest" },
    { "synchronous-writes", CLI_FLAG, 0, CLI_VALUE_ANY, "the guest's writes wait for the copy" },
    { "print-xml", CLI_FLAG, 0, CLI_VALUE_ANY, "print the XML and change nothing" },
    CLI_OPTIONS_END,
};

/* <disk> of the copy, from options. (transfer full) */
static char *copy_xml(const CliArgs *args)
{
    bool is_block = cli_args_flag(args, "blockdev");
    XmlWriter *xml = xml_writer_new();
    xml_write_start(xml, "disk");
    xml_write_attr(xml, "type", is_block ? "block" : "file");
    xml_write_start(xml, "source");
    xml_write_attr(xml, is_block ? "dev" : "file", cli_args_string(args, "dest"));
    xml_write_end(xml);
    xml_write_start(xml, "driver");
    if (cli_args_string(args, "format")) {
        xml_write_attr(xml, "type", cli_args_string(args, "format"));
    }
    xml_write_end_if_any(xml);
    xml_write_end(xml);
    return xml_writer_finish(xml);
}

static bool copy_params(const CliArgs *args, TypedParam *params, uint32_t *count, GError **error)
{
    guint64 bandwidth = 0, buffer = 0;
    gint64 granularity = 0;
    bool is_bytes = cli_args_flag(args, "bytes");
    if (!cli_args_size(args, "bandwidth", is_bytes ? 1 : 1 << 20, &bandwidth, error) ||
        !cli_args_int(args, "granularity", 0, G_MAXUINT32, &granularity, error) ||
        !cli_args_size(args, "buf-size", 1, &buffer, error)) {
        return false;
    }
    if (bandwidth) {
        params[(*count)++] =
            (TypedParam){ .field = "bandwidth", .type = TYPED_PARAM_ULLONG, .value.ul = bandwidth };
    }
    if (granularity) {
        params[(*count)++] = (TypedParam){ .field = "granularity",
                                           .type = TYPED_PARAM_UINT,
                                           .value.ui = (uint32_t)granularity };
    }
    if (buffer) {
        params[(*count)++] =
            (TypedParam){ .field = "buf_size", .type = TYPED_PARAM_ULLONG, .value.ul = buffer };
    }
    return true;
}

static bool run_copy(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit bits[] = { { "shallow", 1 },
                                   { "reuse-external", 2 },
                                   { "transient-job", 4 },
                                   { "synchronous-writes", 8 },
                                   { NULL } };
    TypedParam params[3];
    RemoteDomainBlockCopyArgs call = { .path = cli_args_string(args, "path"),
                                       .params = params,
                                       .flags = cli_args_bits(args, bits) };
    g_autofree char *xml = NULL;
    if (!cli_args_exclusive(args, "dest", "xml", error) ||
        !cli_args_exclusive(args, "format", "xml", error) ||
        !cli_args_exclusive(args, "blockdev", "xml", error) ||
        !cli_args_exclusive(args, "pivot", "finish", error) ||
        !copy_params(args, params, &call.n_params, error)) {
        return false;
    }
    if (!cli_args_string(args, "dest") && !cli_args_string(args, "xml")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "need either --dest or --xml");
        return false;
    }
    xml = cli_args_string(args, "xml") ? cli_read_file(args, "xml", error) : copy_xml(args);
    if (!xml || !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    call.destxml = xml;
    if (cli_args_flag(args, "print-xml")) {
        cli_print_xml(session, xml);
        return true;
    }
    if (!remote_domain_block_copy(cli_client(session), &call, error)) {
        return false;
    }
    if (!waits(args) && !cli_args_flag(args, "pivot") && !cli_args_flag(args, "finish")) {
        cli_note_open(session, "Block Copy started");
        return true;
    }
    JobWait wait = { "Block Copy", true, cli_args_flag(args, "async") ? ABORT_ASYNC : 0 };
    return wait_for_job(session, args, &call.dom, call.path, &wait, error) &&
           finish_ready(session, args, &call.dom, call.path, "finish", "Now in mirroring phase",
                        error);
}

static const CliOption blockjob_options[] = {
    CLI_DOMAIN_OPTION,
    { "path", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DISK, "the disk: target or path" },
    { "abort", CLI_FLAG, 0, CLI_VALUE_ANY, "cancel it" },
    { "async", CLI_FLAG, 0, CLI_VALUE_ANY, "do not wait until a cancelled job has ended" },
    { "pivot", CLI_FLAG, 0, CLI_VALUE_ANY, "end a copy on the new image" },
    { "info", CLI_FLAG, 0, CLI_VALUE_ANY, "how far it is" },
    { "bytes", CLI_FLAG, 0, CLI_VALUE_ANY, "bandwidth in bytes" },
    { "raw", CLI_FLAG, 0, CLI_VALUE_ANY, "the numbers only" },
    { "bandwidth", CLI_NUMBER, 0, CLI_VALUE_ANY, "change its speed: MiB a second" },
    CLI_OPTIONS_END,
};

static bool show_job(CliSession *session, const CliArgs *args, const RemoteDomain *domain,
                     const char *path, GError **error)
{
    RemoteDomainGetBlockJobInfoRet info;
    bool is_bytes = cli_args_flag(args, "bytes") || cli_args_flag(args, "raw");
    if (!job_info(session, domain, path, is_bytes ? 1 : 0, &info, error)) {
        return false;
    }
    if (!info.found && !session->is_json) {
        cli_note(session, "No current block job for %s", path);
        return true;
    }
    if (cli_args_flag(args, "raw") || session->is_json) {
        g_autoptr(CliRecord) record = cli_record_new_plain(" ");
        cli_record_add(record, "type=", "%s", job_title(info.type));
        cli_record_add(record, "bandwidth=", "%" PRIu64, info.bandwidth);
        cli_record_add(record, "cur=", "%" PRIu64, info.cur);
        cli_record_add(record, "end=", "%" PRIu64, info.end);
        if (session->is_json) {
            cli_show_record(session, record);
        } else {
            printf(" type=%s\n bandwidth=%" PRIu64 "\n cur=%" PRIu64 "\n end=%" PRIu64 "\n",
                   job_title(info.type), info.bandwidth, info.cur, info.end);
        }
        return true;
    }
    double share = info.end ? (double)info.cur / (double)info.end * 100 : 0;
    printf("%s: [%3.0f %%]", job_title(info.type), info.cur == info.end ? 100 : share);
    if (info.bandwidth) {
        printf("    Bandwidth limit: %" PRIu64 " %s", info.bandwidth,
               is_bytes ? "bytes/s" : "MiB/s");
    }
    putchar('\n');
    return true;
}

static bool run_blockjob(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const modes[] = { "abort", "info", "bandwidth", "pivot", "async", NULL };
    const char *path = cli_args_string(args, "path");
    RemoteDomain domain;
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned j = i + 1; modes[j]; j++) {
            bool goes_along = i == 0 && j >= 3;
            if (!goes_along && !cli_args_exclusive(args, modes[j], modes[i], error)) {
                return false;
            }
        }
    }
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    if (cli_args_flag(args, "abort") || cli_args_flag(args, "pivot") ||
        cli_args_flag(args, "async")) {
        static const CliBit bits[] = { { "async", ABORT_ASYNC },
                                       { "pivot", ABORT_PIVOT },
                                       { NULL } };
        return abort_job(session, &domain, path, cli_args_bits(args, bits), error);
    }
    if (cli_args_string(args, "bandwidth")) {
        RemoteDomainBlockJobSetSpeedArgs call = { domain, path, 0, cli_args_flag(args, "bytes") };
        return read_bandwidth(args, &call.bandwidth, error) &&
               remote_domain_block_job_set_speed(cli_client(session), &call, error);
    }
    return show_job(session, args, &domain, path, error);
}

static const CliOption blockresize_options[] = {
    CLI_DOMAIN_OPTION,
    { "path", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DISK, "the disk: target or path" },
    { "size", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "KiB, or with a suffix (10G)" },
    CLI_OPTIONS_END,
};

static bool run_resize(CliSession *session, const CliArgs *args, GError **error)
{
    guint64 bytes = 0;
    const char *path = cli_args_string(args, "path");
    RemoteDomainBlockResizeArgs call = { .disk = path, .flags = 1 /* bytes */ };
    if (!cli_args_size(args, "size", 1024, &bytes, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    bool is_kib = bytes % 1024 == 0;
    call.size = is_kib ? bytes / 1024 : bytes;
    call.flags = is_kib ? 0 : 1;
    if (!remote_domain_block_resize(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to resize block device '%s'", path);
    }
    cli_note_open(session, "Block device '%s' is resized", path);
    return true;
}

/* The domain's own job */

static const CliOption domjobinfo_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "completed", CLI_FLAG, 0, CLI_VALUE_ANY, "of the last one" },
    { "keep-completed", CLI_FLAG, 0, CLI_VALUE_ANY, "and keep it for the next question" },
    { "anystats", CLI_FLAG, 0, CLI_VALUE_ANY, "of whatever kind" },
    { "rawstats", CLI_FLAG, 0, CLI_VALUE_ANY, "all numbers as they come" },
    CLI_OPTIONS_END,
};

static const char *job_type_name(int type)
{
    static const char *const names[] = { "None",      "Bounded", "Unbounded",
                                         "Completed", "Failed",  "Cancelled" };
    return type >= 0 && type < (int)G_N_ELEMENTS(names) ? names[type] : "unknown";
}

static const char *operation_name(guint64 operation)
{
    static const char *const names[] = { "Unknown",
                                         "Start",
                                         "Save",
                                         "Restore",
                                         "Incoming migration",
                                         "Outgoing migration",
                                         "Snapshot",
                                         "Snapshot revert",
                                         "Dump",
                                         "Backup",
                                         "Snapshot delete" };
    return names[operation < G_N_ELEMENTS(names) ? operation : 0];
}

/* The figures that virsh shows: as milliseconds, sizes or plain numbers. */
static const struct JobFigure {
    const char *label, *field;
    enum { FIGURE_MS, FIGURE_SIZE, FIGURE_SPEED, FIGURE_PLAIN } kind;
} job_figures[] = {
    { "Time elapsed", "time_elapsed", FIGURE_MS },
    { "Time remaining", "time_remaining", FIGURE_MS },
    { "Data processed", "data_processed", FIGURE_SIZE },
    { "Data remaining", "data_remaining", FIGURE_SIZE },
    { "Data total", "data_total", FIGURE_SIZE },
    { "Memory processed", "memory_processed", FIGURE_SIZE },
    { "Memory remaining", "memory_remaining", FIGURE_SIZE },
    { "Memory total", "memory_total", FIGURE_SIZE },
    { "Memory bandwidth", "memory_bps", FIGURE_SPEED },
    { "Dirty rate", "memory_dirty_rate", FIGURE_PLAIN },
    { "Iteration", "memory_iteration", FIGURE_PLAIN },
    { "File processed", "disk_processed", FIGURE_SIZE },
    { "File remaining", "disk_remaining", FIGURE_SIZE },
    { "File total", "disk_total", FIGURE_SIZE },
    { "Constant pages", "memory_constant", FIGURE_PLAIN },
    { "Normal pages", "memory_normal", FIGURE_PLAIN },
    { "Normal data", "memory_normal_bytes", FIGURE_SIZE },
    { "Total downtime", "downtime", FIGURE_MS },
    { "Expected downtime", "downtime", FIGURE_MS },
    { "Setup time", "setup_time", FIGURE_MS },
};

static void add_figure(CliRecord *record, const struct JobFigure *figure, guint64 value)
{
    g_autofree char *size = cli_size_text(value);
    switch (figure->kind) {
    case FIGURE_MS:
        cli_record_add(record, figure->label, "%-12" PRIu64 " ms", value);
        break;
    case FIGURE_SIZE:
        cli_record_add(record, figure->label, "%s", size);
        break;
    case FIGURE_SPEED:
        cli_record_add(record, figure->label, "%s/s", size);
        break;
    case FIGURE_PLAIN:
        cli_record_add(record, figure->label, "%-12" PRIu64, value);
        break;
    }
}

static void show_job_stats(CliSession *session, const CliArgs *args, int type,
                           const TypedParam *params, uint32_t count)
{
    g_autoptr(CliRecord) record = cli_record_new(18);
    cli_record_add(record, "Job type", "%-12s", job_type_name(type));
    if (cli_args_flag(args, "rawstats")) {
        for (uint32_t i = 0; i < count; i++) {
            g_autofree char *text = cli_param_text(&params[i]);
            cli_record_add(record, params[i].field, "%s", text);
        }
    } else if (type != 0 || cli_args_flag(args, "anystats")) {
        cli_record_add(
            record, "Operation", "%-12s",
            operation_name(cli_param_number(cli_param_find(params, count, "operation"), 0)));
        for (unsigned i = 0; i < G_N_ELEMENTS(job_figures); i++) {
            const TypedParam *param = cli_param_find(params, count, job_figures[i].field);
            bool is_over = type >= 3;
            bool is_other = strcmp(job_figures[i].field, "downtime") == 0 &&
                            is_over != (job_figures[i].label[0] == 'T');
            if (param && !is_other && cli_param_number(param, 0)) {
                add_figure(record, &job_figures[i], cli_param_number(param, 0));
            }
        }
    }
    cli_show_record(session, record);
}

static bool run_jobinfo(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit bits[] = { { "completed", 1 }, { "keep-completed", 2 }, { NULL } };
    RemoteDomainGetJobStatsArgs call = { .flags = cli_args_bits(args, bits) };
    RemoteDomainGetJobStatsRet ret;
    call.flags |= call.flags & 2 ? 1 : 0;
    if (!cli_domain(session, args, &call.dom, error) ||
        !remote_domain_get_job_stats(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    show_job_stats(session, args, ret.type, ret.params, ret.n_params);
    return true;
}

static const CliOption domjobabort_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "postcopy", CLI_FLAG, 0, CLI_VALUE_ANY, "a migration in its post-copy phase too" },
    CLI_OPTIONS_END,
};

static bool run_jobabort(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    if (cli_args_flag(args, "postcopy")) {
        RemoteDomainAbortJobFlagsArgs call = { domain, 1 };
        return remote_domain_abort_job_flags(cli_client(session), &call, error);
    }
    RemoteDomainAbortJobArgs call = { domain };
    return remote_domain_abort_job(cli_client(session), &call, error);
}

/* Watching memory and disks */

static const CliOption domblkthreshold_options[] = {
    CLI_DOMAIN_OPTION,
    { "dev", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DISK, "the disk: vda or vda[1]" },
    { "threshold", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "bytes, or with a suffix" },
    CLI_OPTIONS_END,
};

static bool run_threshold(CliSession *session, const CliArgs *args, GError **error)
{
    guint64 threshold = 0;
    RemoteDomainSetBlockThresholdArgs call = { .dev = cli_args_string(args, "dev") };
    if (!cli_args_size(args, "threshold", 1, &threshold, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    call.threshold = threshold;
    return remote_domain_set_block_threshold(cli_client(session), &call, error);
}

static const CliOption domdirtyrate_calc_options[] = {
    CLI_DOMAIN_OPTION,
    { "seconds", CLI_NUMBER, 0, CLI_VALUE_ANY, "how long to measure" },
    { "mode", CLI_STRING, 0, CLI_VALUE_ANY, "page-sampling, dirty-bitmap or dirty-ring" },
    CLI_OPTIONS_END,
};

static bool run_dirtyrate(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const modes[] = { "page-sampling", "dirty-bitmap", "dirty-ring", NULL };
    const char *mode = cli_args_string(args, "mode");
    int index = mode ? cli_word_index(mode, modes) : 0;
    gint64 seconds = 1;
    RemoteDomainStartDirtyRateCalcArgs call;
    if (!cli_domain(session, args, &call.dom, error) ||
        !cli_args_int(args, "seconds", 1, G_MAXINT32, &seconds, error)) {
        return false;
    }
    if (index < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Unknown calculation mode '%s'", mode);
        return false;
    }
    call.seconds = (int32_t)seconds;
    call.flags = mode ? 1u << index : 0;
    if (!remote_domain_start_dirty_rate_calc(cli_client(session), &call, error)) {
        return false;
    }
    cli_note(session, "Start to calculate domain's memory dirty rate successfully.");
    return true;
}

const CliCommand cli_block_job_commands[] = {
    { "blockcommit", "merge images of a disk down into one below", NULL, blockcommit_options, 0,
      run_commit },
    { "blockcopy", "copy a disk while the guest runs", NULL, blockcopy_options, 0, run_copy },
    { "blockjob", "show or change what runs on a disk", NULL, blockjob_options, 0, run_blockjob },
    { "blockpull", "fetch what a disk's image lacks from those below", NULL, blockpull_options, 0,
      run_pull },
    { "blockresize", "change the size of a disk", NULL, blockresize_options, 0, run_resize },
    { "domblkthreshold", "ask for an event when a disk has been written so far", NULL,
      domblkthreshold_options, 0, run_threshold },
    { "domdirtyrate-calc", "measure how fast a guest changes its memory",
      "domstats --dirtyrate shows the result.", domdirtyrate_calc_options, 0, run_dirtyrate },
    { "domjobabort", "cancel what runs on a domain: a save, a dump, a migration", NULL,
      domjobabort_options, 0, run_jobabort },
    { "domjobinfo", "how far what runs on a domain is", NULL, domjobinfo_options, 0, run_jobinfo },
    { NULL },
};
