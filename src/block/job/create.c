/* The job of blockdev-create: makes a file, or formats a node.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/job/job-private.h"
#include "gbase/error.h"
#include "gbase/size.h"

#include <errno.h>
#include <string.h>

typedef struct Create {
    Job job;
    BlockSpec *spec;
    BlockNode *file; /* that is formatted; NULL: a file is made */
    bool was_readonly;
} Create;

/* QAPI's names are those of qemu-img with other dashes, but for the version. */
static void add_option(const char *key, const char *value, void *opaque)
{
    if (strcmp(key, "driver") == 0 || strcmp(key, "file") == 0 || strcmp(key, "filename") == 0) {
        return;
    }
    g_autofree char *name = g_strdup(key);
    g_strdelimit(name, "-", '_');
    if (strcmp(key, "version") == 0) {
        block_spec_set(opaque, "compat", strcmp(value, "v2") == 0 ? "0.10" : "1.1");
    } else {
        block_spec_set(opaque, name, value);
    }
}

static bool create_file(const BlockSpec *options, const char *filename, GError **error)
{
    return block_create("raw", filename, options, error);
}

static bool format_node(Create *c, const BlockSpec *options, GError **error)
{
    File *file = c->file->state;
    const char *format = block_spec_get(c->spec, "driver");
    int rc = file->is_block_device ? 0 : file_truncate(file, 0);
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "cannot empty '%s'", c->file->filename);
        return false;
    }
    bool ok = block_create_on_file(format, file, c->file->filename, options, error);
    uint64_t size;
    if (file_size(file, &size) == 0) {
        block_node_lock_alone(c->file);
        __atomic_store_n(&c->file->size, size, __ATOMIC_RELAXED);
        pthread_rwlock_unlock(&c->file->lock);
    }
    return ok;
}

static int run_create(Job *job)
{
    Create *c = (Create *)job;
    g_autoptr(GError) error = NULL;
    g_autoptr(BlockSpec) options = block_spec_new();
    block_spec_foreach(c->spec, add_option, options);
    job_set_total(job, 1);
    bool ok = c->file ? format_node(c, options, &error)
                      : create_file(options, block_spec_get(c->spec, "filename"), &error);
    if (!ok) {
        job_fail(job, "%s", error->message);
        return -EIO;
    }
    job_add_progress(job, 1);
    return 0;
}

static void clean_create(Job *job)
{
    Create *c = (Create *)job;
    if (c->was_readonly) {
        (void)block_reopen(c->file, block_node_flags(c->file) & ~(unsigned)BLOCK_OPEN_WRITABLE,
                           NULL);
    }
    block_node_unref(c->file);
    block_spec_free(c->spec);
}

static const JobDriver create_driver = { .type = "create",
                                         .run = run_create,
                                         .clean = clean_create };

/* The node that "file" names, open for writing. */
static bool take_file(Create *c, GError **error)
{
    const char *name = block_spec_get(c->spec, "file");
    BlockNode *file = name ? block_graph_find(job_set_graph(c->job.set), name, error) : NULL;
    if (!file) {
        if (!name) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "Parameter 'file' is missing");
        }
        return false;
    }
    if (!block_driver_is_file(file->driver)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "node '%s' is no file: only files can be formatted", name);
        return false;
    }
    bool is_readonly = !block_node_is_writable(file);
    if (!job_claim_target(&c->job, file, error) ||
        !block_reopen(file, block_node_flags(file) | BLOCK_OPEN_WRITABLE, error)) {
        return false;
    }
    c->was_readonly = is_readonly;
    c->file = block_node_ref(file);
    return true;
}

Job *job_create_new(JobSet *set, const JobOptions *options, const BlockSpec *spec, GError **error)
{
    const char *driver = block_spec_get(spec, "driver");
    bool makes_file = driver && strcmp(driver, "file") == 0;
    if (!driver || (!makes_file && !block_create_options(driver))) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Driver '%s' does not support blockdev-create", driver ? driver : "");
        return NULL;
    }
    if (makes_file && !block_spec_get(spec, "filename")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'filename' is missing");
        return NULL;
    }
    Create *c = (Create *)job_new(set, &create_driver, sizeof(*c), options, error);
    if (!c) {
        return NULL;
    }
    c->spec = block_spec_copy(spec);
    if (!makes_file && !take_file(c, error)) {
        job_abandon(&c->job);
        return NULL;
    }
    return &c->job;
}
