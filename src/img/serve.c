/* lodge-img serve: offers an image to NBD clients, with qemu-nbd's options.
 *
 * Leaves out what needs the kernel's nbd device (-c, -d), and authorisation objects.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/serve.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "block/export/server.h"
#include "block/nbd/proto.h"
#include "gbase/error.h"
#include "img/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

const ImgOption img_serve_options[] = {
    IMG_OPTION_FORMAT,
    { 'k', "socket", "path", "listen at this Unix socket" },
    { 'p', "port", "port", "listen at this TCP port (10809)" },
    { 'b', "bind", "address", "listen at this address of the host (all of them)" },
    { 'x', "export-name", "name", "the export's name, which clients ask for (empty)" },
    { 'D', "description", "text", "what clients are told about the export" },
    { 'r', "read-only", NULL, "refuse writes" },
    { 'e', "shared", "number", "clients at a time (1); 0: any number" },
    { 't', "persistent", NULL, "go on when the last client has gone" },
    { 's', "snapshot", NULL, "what is written goes to a temporary layer and is lost at the end" },
    { 'o', "offset", "offset", "offer what lies from there on" },
    { 'l', "load-snapshot", "snapshot", "offer a snapshot inside the image: its id or name" },
    { 'A', "allocation-depth", NULL,
      "tell clients which layer has what (context qemu:allocation-depth)" },
    { 'B', "bitmap", "name", "tell clients what is dirty (context qemu:dirty-bitmap:NAME)" },
    { 0, "cache", "mode", "cache mode: none, writeback, writethrough, directsync, unsafe" },
    { 'n', "nocache", NULL, "as --cache=none" },
    { 0, "aio", "mode", "threads, native or io_uring; all are served by threads" },
    { 0, "discard", "mode", "ignore (default) or unmap: give discarded space back to the host" },
    { 0, "detect-zeroes", "mode", "off (default), on or unmap: of zeroes that are written" },
    { 0, "tls-creds", "id", "serve by TLS only, with these credentials (--object)" },
    { 0, "tls-dir", "path",
      "the same with ca-cert.pem, server-cert.pem and server-key.pem of a folder;\n"
      "clients need a certificate" },
    { 0, "fork", NULL, "return when the server listens; it goes on in the background" },
    { 0, "pid-file", "path", "write the server's process id there" },
    { 'v', "verbose", NULL, "say when clients leave" },
    { 'L', "list", NULL, "list the exports of the server at -k, or -b and -p, instead" },
    IMG_OPTION_SHARE,
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

typedef struct Serve {
    const ImgArgs *args;
    BlockNode *node; /* what is offered */
    uint64_t offset;
    bool is_through;
    EventLoop *loop;
    NbdServer *server;
    DirtyBitmap *bitmaps[NBD_EXPORT_BITMAPS_MAX];
    unsigned bitmap_count;
    bool is_persistent, is_verbose;
} Serve;

/* Opening */

static bool open_flags(const ImgArgs *args, unsigned *out_flags, bool *out_through, GError **error)
{
    const char *cache = img_args_value(args, "cache");
    cache = img_args_flag(args, "nocache") ? "none" : cache;
    const char *aio = img_args_value(args, "aio");
    if (aio && strcmp(aio, "threads") && strcmp(aio, "native") && strcmp(aio, "io_uring")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "invalid aio mode '%s'; supported: threads, native, io_uring", aio);
        return false;
    }
    *out_flags = 0;
    if (cache && !img_cache_flags(cache, out_flags)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "nothing is served");
        return false;
    }
    *out_through = img_cache_is_through(cache);
    bool stays = img_args_flag(args, "read-only") || img_args_flag(args, "load-snapshot") ||
                 img_args_flag(args, "snapshot");
    *out_flags |= stays ? 0 : BLOCK_OPEN_WRITABLE;
    bool is_shared = img_args_flag(args, "force-share");
    if (is_shared && !stays) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "-U (--force-share) is for reading what others write; add -r (--read-only)");
        return false;
    }
    *out_flags |= is_shared ? BLOCK_OPEN_SHARED : 0;
    return true;
}

static BlockSpec *make_spec(const ImgArgs *args, GError **error)
{
    static const char *const passed[] = { "discard", "detect-zeroes" };
    const char *name = img_args_operand(args, 0), *format = img_args_value(args, "f");
    bool has_options = img_args_flag(args, "image-opts");
    if (has_options && format) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "--image-opts and -f are mutually exclusive");
        return NULL;
    }
    g_autoptr(BlockSpec) spec =
        has_options ? block_spec_from_text(name, error) : block_spec_from_name(name, format, error);
    g_autoptr(BlockObjects) objects = spec ? img_objects(args, error) : NULL;
    if (!objects) {
        return NULL;
    }
    block_spec_set_objects(spec, objects);
    for (unsigned i = 0; i < G_N_ELEMENTS(passed); i++) {
        if (img_args_flag(args, passed[i])) {
            block_spec_set(spec, passed[i], img_args_value(args, passed[i]));
        }
    }
    return g_steal_pointer(&spec);
}

static bool find_bitmaps(Serve *serve, GError **error)
{
    const char *option, *name;
    for (unsigned i = 0; img_args_given(serve->args, i, &option, &name); i++) {
        if (g_strcmp0(option, "bitmap") != 0) {
            continue;
        }
        DirtyBitmap *found = NULL;
        for (BlockNode *at = serve->node; at && !found; at = block_node_backing(at)) {
            found = block_node_find_bitmap(at, name);
        }
        if (!found || dirty_bitmap_flags(found) & DIRTY_BITMAP_INCONSISTENT ||
            serve->bitmap_count == NBD_EXPORT_BITMAPS_MAX) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                        found ? "Bitmap '%s' cannot be offered: it is broken, or there are too "
                                "many"
                              : "Bitmap '%s' is not found",
                        name);
            return false;
        }
        serve->bitmaps[serve->bitmap_count++] = found;
    }
    return true;
}

/* What is in @*node from here on is @layer (taken) over it; false: there is none. */
static bool put_layer(BlockNode **node, BlockNode *layer)
{
    if (layer) {
        block_node_unref(*node);
        *node = layer;
    }
    return layer != NULL;
}

static bool put_layers(Serve *serve, GError **error)
{
    bool is_temporary = img_args_flag(serve->args, "snapshot");
    if (serve->bitmap_count && (is_temporary || serve->offset)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "-B describes the whole image as it is: it excludes -s and -o");
        return false;
    }
    return (!serve->offset ||
            put_layer(&serve->node, img_serve_part(serve->node, serve->offset, error))) &&
           (!is_temporary || put_layer(&serve->node, img_serve_temporary(serve->node, error)));
}

static bool open_image(Serve *serve, GError **error)
{
    unsigned flags;
    const char *snapshot = img_args_value(serve->args, "load-snapshot");
    g_autoptr(BlockSpec) spec = make_spec(serve->args, error);
    if (!spec || !open_flags(serve->args, &flags, &serve->is_through, error)) {
        return false;
    }
    serve->node = block_open(spec, flags, error);
    if (!serve->node) {
        g_prefix_error(error, "Failed to open '%s': ", img_args_operand(serve->args, 0));
        return false;
    }
    return block_keep_size(serve->node, error) &&
           (!snapshot || img_load_snapshot(serve->node, snapshot, error)) &&
           find_bitmaps(serve, error) && put_layers(serve, error);
}

static BlockNode *enter(void *opaque)
{
    return ((Serve *)opaque)->node;
}

static void leave(void *opaque)
{
}

static bool add_export(Serve *serve, GError **error)
{
    const char *name = img_args_value(serve->args, "export-name");
    NbdExportOptions options = {
        .name = name ? name : "",
        .description = img_args_value(serve->args, "description"),
        .is_writable =
            block_node_is_writable(serve->node) && !img_args_flag(serve->args, "read-only"),
        .is_through = serve->is_through,
        .has_depth = img_args_flag(serve->args, "allocation-depth"),
        .bitmaps = serve->bitmaps,
        .bitmap_count = serve->bitmap_count,
    };
    NbdDiskSource source = { enter, leave, NULL, serve };
    NbdExport *export = nbd_export_new(&options, &source, error);
    bool ok = export && nbd_server_add(serve->server, export, error);
    nbd_export_unref(export);
    return ok;
}

/* Listening */

static NbdTls *load_tls(const ImgArgs *args, BlockObjects *objects, bool is_server, GError **error)
{
    const char *id = img_args_value(args, "tls-creds"), *folder = img_args_value(args, "tls-dir");
    if (id && folder) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "--tls-creds and --tls-dir exclude each other");
        return NULL;
    }
    if (folder) {
        NbdTlsOptions options = { .folder = folder, .is_server = is_server };
        return nbd_tls_new(&options, error);
    }
    return block_objects_tls(objects, id, is_server, error);
}

static int open_listener(const ImgArgs *args, GError **error)
{
    const char *path = img_args_value(args, "socket"), *port = img_args_value(args, "port");
    const char *address = img_args_value(args, "bind");
    if (path && (port || address)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "-k excludes -p and -b: the server listens at one place");
        return -1;
    }
    return path ? nbd_listen_unix(path, error)
                : nbd_listen_tcp(address, port ? port : NBD_DEFAULT_PORT, error);
}

static void client_left(void *opaque, unsigned remaining)
{
    Serve *serve = opaque;
    if (serve->is_verbose) {
        fprintf(stderr, "lodge-img: a client left; %u connected\n", remaining);
    }
    if (!remaining && !serve->is_persistent) {
        loop_quit(serve->loop);
    }
}

static bool start_server(Serve *serve, uint64_t clients, GError **error)
{
    const ImgArgs *args = serve->args;
    bool wants_tls = img_args_flag(args, "tls-creds") || img_args_flag(args, "tls-dir");
    g_autoptr(BlockObjects) objects = img_objects(args, error);
    g_autoptr(NbdTls) tls = objects && wants_tls ? load_tls(args, objects, true, error) : NULL;
    if (!objects || (wants_tls && !tls)) {
        return false;
    }
    NbdServerOptions options = { serve->loop, tls, (unsigned)clients, client_left, serve };
    serve->server = nbd_server_new(&options);
    if (!add_export(serve, error)) {
        return false;
    }
    int fd = open_listener(args, error);
    return fd >= 0 && nbd_server_listen(serve->server, fd, error);
}

/* The process */

static bool write_pid_file(const char *path, GError **error)
{
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
    autofd fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644) : -1;
    int rc = !path ? 0 : fd < 0 ? -errno : fd_write_full(fd, text, strlen(text));
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Cannot write the pid file '%s'", path);
    }
    return rc == 0;
}

static void on_signal(void *opaque, uint32_t events)
{
    loop_quit(((Serve *)opaque)->loop);
}

/* Before any thread is started: the signals that end the server, as a descriptor. */
static int catch_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Tells who waits for the background process, and lets go of the terminal. */
static void detach(int ready)
{
    autofd null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (ready < 0) {
        return;
    }
    for (int fd = 0; null >= 0 && fd < 3; fd++) {
        dup2(null, fd);
    }
    (void)!fd_write_full(ready, "", 1);
}

static int serve_image(Serve *serve, uint64_t clients, int ready)
{
    GError *error = NULL;
    const char *path = img_args_value(serve->args, "socket");
    const char *pid_file = img_args_value(serve->args, "pid-file");
    autofd signals = catch_signals();
    serve->loop = loop_new();
    LoopWatch *watch =
        serve->loop ? loop_watch(serve->loop, signals, EPOLLIN, on_signal, serve) : NULL;
    if (!watch) {
        img_error("cannot make an event loop: %s", g_strerror(errno));
        return 1;
    }
    int status = 0;
    bool ok = open_image(serve, &error) && start_server(serve, clients, &error);
    if (ok && write_pid_file(pid_file, &error)) {
        detach(ready);
        loop_run(serve->loop);
    } else {
        status = img_fail(error);
    }
    nbd_server_free(serve->server);
    if (ok && path) {
        unlink(path);
    }
    int rc = serve->node && block_node_is_writable(serve->node) ? block_flush(serve->node) : 0;
    if (rc < 0) {
        img_error("cannot flush '%s': %s", block_node_filename(serve->node), g_strerror(-rc));
        status = 1;
    }
    block_node_unref(serve->node);
    loop_unwatch(watch);
    loop_free(serve->loop);
    return status;
}

/* The child serves; the parent waits until it listens. */
static int serve_in_background(Serve *serve, uint64_t clients)
{
    int ends[2];
    char byte;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        img_error("cannot make a pipe: %s", g_strerror(errno));
        return 1;
    }
    pid_t child = fork();
    if (child < 0) {
        img_error("cannot fork: %s", g_strerror(errno));
        close(ends[0]);
        close(ends[1]);
        return 1;
    }
    if (child == 0) {
        close(ends[0]);
        setsid();
        int status = serve_image(serve, clients, ends[1]);
        close(ends[1]);
        return status;
    }
    close(ends[1]);
    bool is_ready = fd_read_full(ends[0], &byte, 1) == 1;
    close(ends[0]);
    return is_ready ? 0 : 1;
}

static int list_others(const ImgArgs *args)
{
    GError *error = NULL;
    bool wants_tls = img_args_flag(args, "tls-creds") || img_args_flag(args, "tls-dir");
    g_autoptr(BlockObjects) objects = img_objects(args, &error);
    g_autoptr(NbdTls) tls = objects && wants_tls ? load_tls(args, objects, false, &error) : NULL;
    if (!objects || (wants_tls && !tls)) {
        return img_fail(error);
    }
    return img_args_count(args, 0, 0, "no file name with --list") ? img_serve_list(args, tls) : 1;
}

int img_serve(const ImgArgs *args)
{
    uint64_t clients = 1;
    Serve serve = {
        .args = args,
        .is_persistent = img_args_flag(args, "persistent"),
        .is_verbose = img_args_flag(args, "verbose"),
    };
    if (img_args_flag(args, "list")) {
        return list_others(args);
    }
    if (!img_common_options(args) || !img_args_size(args, "offset", INT64_MAX, &serve.offset) ||
        !img_args_number(args, "shared", 0, 65535, &clients) ||
        !img_args_count(args, 1, 1, "one image file name")) {
        return 1;
    }
    return img_args_flag(args, "fork") ? serve_in_background(&serve, clients)
                                       : serve_image(&serve, clients, -1);
}
