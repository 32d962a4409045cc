/* Committing into another image, by the block jobs and by lodge-img: power cuts at any place, with
 * any part of what no flush of each file covers, and failures of each operation. The chain that the
 * images' headers name must read as before; the base alone too, once it is said to be done.
 *
 * The code under test opens real files by name; file_posix_new() is wrapped by the linker.
 *
 * Usage: test [STATES [SEED]]. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/block.h"
#include "block/graph.h"
#include "block/job/job.h"
#include "img/command.h"
#include "lib/check.h"
#include "lib/random.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DISK_BYTES (768u << 10)
#define SECTOR 512u
#define IMAGES 3u
#define LIMIT (64ull << 20)

static unsigned wanted_states = 300;
static uint64_t first_seed = 1;

/* From the base up. */
static const char *const names[IMAGES] = { "base", "mid", "top" };

/* What file_posix_new() does. */
static struct {
    WriteLog *log;   /* NULL: nothing is recorded */
    FaultPlan *plan; /* NULL: nothing fails */
} hook;

int __real_file_posix_new(int fd, const FilePosixOptions *options, File **out_file);
int __wrap_file_posix_new(int fd, const FilePosixOptions *options, File **out_file);

/* What is wrapped has no descriptor that could be opened for writing later: it is so at once. */
int __wrap_file_posix_new(int fd, const FilePosixOptions *options, File **out_file)
{
    FilePosixOptions wanted = *options;
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autofree char *path = g_file_read_link(link, NULL);
    unsigned image = 0;
    while (image < IMAGES && !(path && g_str_has_suffix(path, names[image]))) {
        image++;
    }
    if (image == IMAGES || (!hook.log && !hook.plan)) {
        return __real_file_posix_new(fd, options, out_file);
    }
    wanted.is_writable = true;
    int again = open(link, O_RDWR | O_CLOEXEC);
    assert_true(again >= 0);
    close(fd);
    int rc = __real_file_posix_new(again, &wanted, out_file);
    if (rc == 0 && hook.log) {
        *out_file = file_record_new(*out_file, hook.log, image);
    }
    if (rc == 0 && hook.plan) {
        *out_file = file_fault_new(*out_file, hook.plan);
    }
    return rc;
}

typedef struct Rig {
    char *folder, *path[IMAGES];
    uint8_t model[DISK_BYTES];
    uint64_t random;
    size_t start,
        done; /* entries of the log before the commit, and when it said that it was done */
    EventLoop *loop;
    BlockGraph *graph;
    BlockBackend *backend;
    JobSet *set;
    bool is_ready, has_completed;
} Rig;

/* Images */

static BlockNode *open_path(const char *path, unsigned flags)
{
    g_autoptr(BlockSpec) spec = block_spec_new();
    g_autoptr(GError) error = NULL;
    block_spec_set(spec, "driver", "qcow2");
    block_spec_set(spec, "file.driver", "file");
    block_spec_set(spec, "file.filename", path);
    BlockNode *node = block_open(spec, flags, &error);
    if (!node) {
        fail_msg("%s", error->message);
    }
    return node;
}

static void write_some(Rig *rig, BlockNode *node)
{
    for (unsigned i = 0; i < 12; i++) {
        uint64_t offset = random_next(&rig->random) % (DISK_BYTES / SECTOR) * SECTOR;
        uint64_t length = (1 + random_next(&rig->random) % (i & 1 ? 8 : 160)) * SECTOR;
        length = MIN(length, DISK_BYTES - offset);
        if (i % 5 == 4) {
            memset(rig->model + offset, 0, length);
            assert_int_equal(block_write_zeroes(node, offset, length, BLOCK_IO_MAY_UNMAP), 0);
            continue;
        }
        for (uint64_t at = 0; at < length; at += SECTOR) {
            memset(rig->model + offset + at, (int)(random_next(&rig->random) | 1), SECTOR);
        }
        assert_int_equal(block_pwrite(node, offset, rig->model + offset, length, 0), 0);
    }
}

static void make_images(Rig *rig)
{
    for (unsigned i = 0; i < IMAGES; i++) {
        g_autoptr(BlockSpec) options = block_spec_new();
        g_autoptr(GError) error = NULL;
        g_autofree char *size = g_strdup_printf("%u", DISK_BYTES);
        block_spec_set(options, "size", size);
        block_spec_set(options, "cluster_size", random_next(&rig->random) & 1 ? "4k" : "16k");
        if (i > 0) {
            block_spec_set(options, "backing_file", rig->path[i - 1]);
            block_spec_set(options, "backing_fmt", "qcow2");
        }
        if (!block_create("qcow2", rig->path[i], options, &error)) {
            fail_msg("%s", error->message);
        }
        BlockNode *node = open_path(rig->path[i], BLOCK_OPEN_WRITABLE);
        write_some(rig, node);
        assert_int_equal(block_flush(node), 0);
        assert_int_equal(block_node_close(node), 0);
    }
}

static void set_up(Rig *rig, uint64_t seed)
{
    *rig = (Rig){ .random = seed * 0x9e3779b97f4a7c15ull | 1 };
    bool has_memory_files = g_access("/dev/shm", W_OK) == 0;
    g_autofree char *template = g_build_filename(has_memory_files ? "/dev/shm" : g_get_tmp_dir(),
                                                 "lodge-commit-XXXXXX", NULL);
    rig->folder = g_strdup(g_mkdtemp(template));
    assert_non_null(rig->folder);
    for (unsigned i = 0; i < IMAGES; i++) {
        rig->path[i] = g_build_filename(rig->folder, names[i], NULL);
    }
    make_images(rig);
}

static void tear_down(Rig *rig)
{
    for (unsigned i = 0; i < IMAGES; i++) {
        g_unlink(rig->path[i]);
        g_free(rig->path[i]);
    }
    g_rmdir(rig->folder);
    g_free(rig->folder);
}

/* Ways to commit. Each returns whether it worked. */

static void on_event(void *opaque, const JobEvent *event)
{
    Rig *rig = opaque;
    rig->is_ready |= event->kind == JOB_EVENT_READY;
    JobInfo info;
    job_get_info(event->job, &info);
    if (event->kind == JOB_EVENT_COMPLETED && info.error && !hook.plan) {
        print_message("# %s\n", info.error);
    }
    if (event->kind == JOB_EVENT_COMPLETED && !info.error) {
        rig->has_completed = true;
        rig->done = hook.log ? write_log_length(hook.log) : 0;
    }
}

static bool open_graph(Rig *rig, GError **error)
{
    g_autofree char *text = g_strdup_printf(
        "json:{\"driver\":\"qcow2\",\"node-name\":\"t\",\"discard\":\"unmap\","
        "\"file\":{\"driver\":\"file\",\"filename\":\"%s\"},"
        "\"backing\":{\"driver\":\"qcow2\",\"node-name\":\"m\",\"file\":{\"driver\":\"file\","
        "\"filename\":\"%s\"},\"backing\":{\"driver\":\"qcow2\",\"node-name\":\"b\","
        "\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}}}}",
        rig->path[2], rig->path[1], rig->path[0]);
    g_autoptr(BlockSpec) spec = block_spec_from_name(text, NULL, NULL);
    rig->loop = loop_new();
    rig->graph = block_graph_new();
    rig->backend = NULL;
    BlockNode *node = block_graph_add(rig->graph, spec, error);
    const BlockOptions options = { .id = "disk", .node = node, .can_discard = true };
    rig->backend = node ? block_backend_open(&options, rig->loop, error) : NULL;
    if (rig->backend) {
        block_graph_add_backend(rig->graph, rig->backend);
        rig->set = job_set_new(rig->loop, rig->graph, on_event, rig);
    }
    return rig->backend != NULL;
}

static void close_graph(Rig *rig)
{
    if (rig->backend) {
        job_set_free(rig->set);
        block_graph_remove_backend(rig->graph, rig->backend);
        block_backend_close(rig->backend);
    }
    block_graph_free(rig->graph);
    loop_free(rig->loop);
}

static bool run_job(Rig *rig, const char *top)
{
    static const JobOptions options = { .id = "j" };
    rig->is_ready = rig->has_completed = false;
    g_autoptr(GError) error = NULL;
    bool ok = open_graph(rig, &error);
    Job *job = ok ? job_commit_new(rig->set, &options, block_graph_find(rig->graph, top, NULL),
                                   block_graph_find(rig->graph, "b", NULL), NULL, NULL, &error)
                  : NULL;
    if (job) {
        bool is_told = false;
        job_start(job);
        while (job_set_get(rig->set, 0)) {
            assert_int_equal(loop_run_once(rig->loop, 50), 0);
            if (rig->is_ready && !is_told && job_set_get(rig->set, 0)) {
                is_told = true;
                (void)!job_complete(job, NULL);
            }
        }
    }
    close_graph(rig);
    if (error && !hook.plan) {
        fail_msg("%s", error->message);
    }
    return rig->has_completed;
}

static bool commit_inner(Rig *rig)
{
    return run_job(rig, "m");
}

static bool commit_active(Rig *rig)
{
    return run_job(rig, "t");
}

/* What it says of failures is expected. */
static int run_quietly(const ImgCommand *command, const ImgArgs *args)
{
    int said = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_true(said >= 0 && nowhere >= 0);
    if (hook.plan) {
        dup2(nowhere, STDERR_FILENO);
    }
    int status = command->run(args);
    dup2(said, STDERR_FILENO);
    close(said);
    close(nowhere);
    return status;
}

static bool run_tool(Rig *rig, const char *base)
{
    const char *words[] = { "-q", "-f", "qcow2", rig->path[2], base ? "-b" : NULL, base, NULL };
    const ImgCommand *command = img_command_find("commit");
    g_autoptr(ImgArgs) args = img_args_parse(command, (char *const *)words, NULL);
    assert_non_null(args);
    bool ok = run_quietly(command, args) == 0;
    rig->done = hook.log ? write_log_length(hook.log) : 0;
    return ok;
}

static bool commit_by_tool(Rig *rig)
{
    return run_tool(rig, NULL);
}

static bool commit_by_tool_into_base(Rig *rig)
{
    return run_tool(rig, rig->path[0]);
}

static const struct {
    const char *name;
    bool (*run)(Rig *rig);
    int complete; /* the image that has it all once it is done; -1: none but the top */
} ways[] = {
    { "an inner commit", commit_inner, -1 },
    { "an active commit", commit_active, 0 },
    { "lodge-img commit", commit_by_tool, 1 },
    { "lodge-img commit -b", commit_by_tool_into_base, 0 },
};

/* Power cuts */

static BlockNode *open_state(const Rig *rig, unsigned image, size_t cut, uint64_t seed,
                             GError **error)
{
    File *file = write_log_replay(hook.log, image, NULL, 0, cut, seed);
    assert_non_null(file);
    return block_open_file(file, names[image], "qcow2", BLOCK_OPEN_NO_BACKING, error);
}

/* The number of the image that @node says is its backing file; -1: none, -2: another. */
static int backing_of(BlockNode *node)
{
    BlockInfo info;
    assert_true(block_get_info(node, &info, NULL));
    int found = info.backing_filename ? -2 : -1;
    for (int i = 0; info.backing_filename && i < (int)IMAGES; i++) {
        found = g_str_has_suffix(info.backing_filename, names[i]) ? i : found;
    }
    block_info_clear(&info);
    return found;
}

/* The chain from @image down as the headers have it. NULL with *@out_problem. */
static BlockNode *open_chain(const Rig *rig, unsigned image, size_t cut, uint64_t seed,
                             char **out_problem)
{
    g_autoptr(GError) error = NULL;
    BlockCheck check = { 0 };
    BlockNode *node = open_state(rig, image, cut, seed, &error);
    if (!node) {
        *out_problem = g_strdup(error->message);
        return NULL;
    }
    int rc = block_check(node, &check, 0), backing = backing_of(node);
    if (rc < 0 || check.corruptions || backing >= (int)image || backing == -2 ||
        (image > 0 && backing == -1)) {
        *out_problem = g_strdup_printf("%s: check gives %d, %lu corruptions, backing file %d",
                                       names[image], rc, (unsigned long)check.corruptions, backing);
        block_node_unref(node);
        return NULL;
    }
    if (backing >= 0) {
        BlockNode *below = open_chain(rig, (unsigned)backing, cut, seed, out_problem);
        if (!below) {
            block_node_unref(node);
            return NULL;
        }
        block_node_set_backing(node, below);
    }
    return node;
}

static char *content_problem(const Rig *rig, BlockNode *node, const char *name)
{
    g_autofree uint8_t *data = g_malloc(DISK_BYTES);
    if (block_node_size(node) != DISK_BYTES || block_pread(node, 0, data, DISK_BYTES) < 0) {
        return g_strdup_printf("%s cannot be read", name);
    }
    for (uint64_t at = 0; at < DISK_BYTES; at += SECTOR) {
        if (memcmp(data + at, rig->model + at, SECTOR) != 0) {
            return g_strdup_printf("%s: at %#lx is %02x, not %02x", name, (unsigned long)at,
                                   data[at], rig->model[at]);
        }
    }
    return NULL;
}

static char *state_problem(const Rig *rig, int complete, size_t cut, uint64_t seed)
{
    char *problem = NULL;
    for (int image = (int)IMAGES - 1; image >= 0 && !problem; image--) {
        bool is_whole = image == (int)IMAGES - 1 || (cut >= rig->done && image == complete);
        g_autoptr(BlockNode) node =
            is_whole ? open_chain(rig, (unsigned)image, cut, seed, &problem) : NULL;
        problem = node ? content_problem(rig, node, names[image]) : problem;
    }
    return problem;
}

static void begin_recording(Rig *rig, uint64_t seed)
{
    hook.log = write_log_new();
    set_up(rig, seed);
    rig->start = write_log_length(hook.log);
}

static void end_recording(Rig *rig)
{
    write_log_free(hook.log);
    hook.log = NULL;
    tear_down(rig);
}

static void no_cut_loses_content(void **state)
{
    unsigned done = 0;
    Rig *rig = g_new(Rig, 1);
    for (uint64_t seed = first_seed; done < wanted_states; seed++) {
        unsigned way = (unsigned)(seed % G_N_ELEMENTS(ways));
        begin_recording(rig, seed);
        assert_true(ways[way].run(rig));
        size_t length = write_log_length(hook.log);
        for (unsigned i = 0; i < 25 && done < wanted_states; i++, done++) {
            size_t cut = rig->start + random_next(&rig->random) % (length - rig->start + 1);
            uint64_t tear = random_next(&rig->random);
            g_autofree char *problem = state_problem(rig, ways[way].complete, cut, tear);
            if (problem) {
                fail_msg("seed %lu, %s, cut after %zu of %zu to %zu: %s", (unsigned long)seed,
                         ways[way].name, cut, rig->start, length, problem);
            }
        }
        end_recording(rig);
    }
    g_free(rig);
    print_message("# %u states\n", done);
}

/* The harness itself: for each way, without the barriers of the commit something is lost. */
static void missing_barriers_are_caught(void **state)
{
    Rig *rig = g_new(Rig, 1);
    for (unsigned way = 0; way < G_N_ELEMENTS(ways); way++) {
        unsigned caught = 0;
        for (uint64_t seed = 1; seed <= 3; seed++) {
            begin_recording(rig, seed);
            assert_true(ways[way].run(rig));
            for (size_t at = rig->start; at < write_log_length(hook.log); at++) {
                if (write_log_is_flush(hook.log, at)) {
                    write_log_drop(hook.log, at);
                }
            }
            for (unsigned i = 0; i < 10; i++) {
                size_t length = write_log_length(hook.log) - i;
                g_autofree char *problem =
                    state_problem(rig, ways[way].complete, length, random_next(&rig->random));
                caught += problem != NULL;
            }
            end_recording(rig);
        }
        assert_true(caught > 0);
    }
    g_free(rig);
}

/* Failures */

static char *path_problem(const Rig *rig, unsigned image)
{
    g_autoptr(BlockNode) node = open_path(rig->path[image], BLOCK_OPEN_REPAIR);
    BlockCheck check = { 0 };
    int rc = block_check(node, &check, 0);
    return rc < 0 || check.corruptions
               ? g_strdup_printf("%s: check gives %d, %lu corruptions", names[image], rc,
                                 (unsigned long)check.corruptions)
               : content_problem(rig, node, names[image]);
}

static void must(char *problem, unsigned way, const FaultPlan *plan, const char *when)
{
    g_autofree char *text = problem;
    if (text) {
        fail_msg("%s, %s, operation %lu fails by %s: %s", ways[way].name, when,
                 (unsigned long)plan->at, g_strerror(plan->error), text);
    }
}

/* Returns: whether there is an operation of that number. */
static bool fail_one(Rig *rig, unsigned way, const FaultPlan *kind, uint64_t at)
{
    FaultPlan plan = *kind;
    plan.at = at;
    set_up(rig, at * 8 + way);
    hook.plan = &plan;
    bool ok = ways[way].run(rig);
    hook.plan = NULL;
    bool was_hit = plan.seen >= at;
    must(path_problem(rig, IMAGES - 1), way, &plan, "then");
    if (!ok) {
        assert_true(was_hit);
        ok = ways[way].run(rig);
        must(ok ? path_problem(rig, IMAGES - 1) : g_strdup("fails again"), way, &plan, "once more");
    }
    if (ways[way].complete >= 0) {
        must(path_problem(rig, (unsigned)ways[way].complete), way, &plan, "at the end");
    }
    tear_down(rig);
    return was_hit;
}

static void a_failure_loses_nothing_and_it_can_be_done_again(void **state)
{
    static const FaultPlan kinds[] = {
        { .ops = FAULT_WRITE | FAULT_RESIZE, .error = ENOSPC, .is_sticky = true },
        { .ops = FAULT_READ | FAULT_WRITE | FAULT_FLUSH | FAULT_RESIZE, .error = EIO },
        { .ops = FAULT_WRITE | FAULT_RESIZE, .error = EIO, .is_torn = true, .is_sticky = true },
    };
    Rig *rig = g_new(Rig, 1);
    unsigned cases = 0;
    for (unsigned way = 0; way < G_N_ELEMENTS(ways); way++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
            uint64_t at = 1;
            while (fail_one(rig, way, &kinds[i], at)) {
                at += wanted_states > 1000 ? 1 : 5;
                cases++;
            }
        }
    }
    g_free(rig);
    print_message("# %u cases\n", cases);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_cut_loses_content),
        cmocka_unit_test(missing_barriers_are_caught),
        cmocka_unit_test(a_failure_loses_nothing_and_it_can_be_done_again),
    };
    log_init("test-commit-power", LOG_LEVEL_ERROR);
    wanted_states = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : wanted_states;
    first_seed = argc > 2 ? strtoull(argv[2], NULL, 0) : first_seed;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
