/* The file system in memory. SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/fake-disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define SECTOR 512u

typedef struct Node {
    gint refs;
    bool is_dir;
    char *target; /* of a symbolic link */
    GByteArray *data;
    GByteArray *durable;
} Node;

/* A change of names in one folder that is not synced. */
typedef struct NameOp {
    char *folder;
    char *removed; /* path or NULL */
    char *added;   /* path or NULL */
    Node *node;    /* of @added */
} NameOp;

struct FakeDisk {
    FileOps ops;
    GRand *random;
    GHashTable *names;   /* path -> Node */
    GHashTable *durable; /* path -> Node */
    GPtrArray *pending;  /* of NameOp */
    GPtrArray *open;     /* fd -> Node or NULL */
    int calls;
    int fail_at; /* -1: never */
    int err;
    bool is_once;
};

static Node *node_new(void)
{
    Node *node = g_new0(Node, 1);
    node->refs = 1;
    node->data = g_byte_array_new();
    node->durable = g_byte_array_new();
    return node;
}

static Node *node_ref(Node *node)
{
    node->refs++;
    return node;
}

static void node_unref(gpointer data)
{
    Node *node = data;
    if (node && --node->refs == 0) {
        g_free(node->target);
        g_byte_array_unref(node->data);
        g_byte_array_unref(node->durable);
        g_free(node);
    }
}

static void name_op_free(gpointer data)
{
    NameOp *op = data;
    g_free(op->folder);
    g_free(op->removed);
    g_free(op->added);
    node_unref(op->node);
    g_free(op);
}

static FakeDisk *disk_of(const FileOps *ops)
{
    return ops->opaque;
}

/* Counts a changing call; its error or 0. */
static int count(FakeDisk *disk)
{
    int call = disk->calls++;
    if (disk->fail_at < 0 || call < disk->fail_at || (disk->is_once && call > disk->fail_at)) {
        return 0;
    }
    return -disk->err;
}

static void apply(GHashTable *names, const NameOp *op)
{
    if (op->removed) {
        g_hash_table_remove(names, op->removed);
    }
    if (op->added) {
        g_hash_table_replace(names, g_strdup(op->added), node_ref(op->node));
    }
}

static void change_names(FakeDisk *disk, const char *removed, const char *added, Node *node)
{
    NameOp *op = g_new0(NameOp, 1);
    op->folder = g_path_get_dirname(added ?: removed);
    op->removed = g_strdup(removed);
    op->added = g_strdup(added);
    op->node = node ? node_ref(node) : NULL;
    apply(disk->names, op);
    g_ptr_array_add(disk->pending, op);
}

static bool has_folder(FakeDisk *disk, const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    Node *node = g_hash_table_lookup(disk->names, folder);
    return strcmp(folder, "/") == 0 || (node && node->is_dir);
}

static int fake_open(const FileOps *ops, const char *path, int flags, mode_t mode)
{
    FakeDisk *disk = disk_of(ops);
    Node *node = g_hash_table_lookup(disk->names, path);
    int err = flags & (O_CREAT | O_TRUNC) ? count(disk) : 0;
    if (err < 0) {
        return err;
    }
    if (node && (node->is_dir || node->target)) {
        return node->is_dir ? -EISDIR : -ELOOP;
    }
    if (node && (flags & O_EXCL)) {
        return -EEXIST;
    }
    if (!node) {
        if (!(flags & O_CREAT) || !has_folder(disk, path)) {
            return -ENOENT;
        }
        node = node_new();
        change_names(disk, NULL, path, node);
        node_unref(node);
    } else if (flags & O_TRUNC) {
        g_byte_array_set_size(node->data, 0);
    }
    g_ptr_array_add(disk->open, node_ref(node));
    return (int)disk->open->len - 1;
}

static ssize_t fake_pread(const FileOps *ops, int fd, void *buf, size_t size, int64_t offset)
{
    Node *node = g_ptr_array_index(disk_of(ops)->open, fd);
    size_t left = offset < node->data->len ? node->data->len - (size_t)offset : 0;
    size_t n = MIN(left, size);
    memcpy(buf, node->data->data + offset, n);
    return (ssize_t)n;
}

static int fake_pwrite(const FileOps *ops, int fd, const void *buf, size_t size, int64_t offset)
{
    Node *node = g_ptr_array_index(disk_of(ops)->open, fd);
    int err = count(disk_of(ops));
    size_t old = node->data->len;
    if (err == 0 && old < offset + size) {
        g_byte_array_set_size(node->data, (guint)(offset + size));
        memset(node->data->data + old, 0, offset + size - old);
    }
    if (err == 0) {
        memcpy(node->data->data + offset, buf, size);
    }
    return err;
}

static void make_durable(Node *node)
{
    g_byte_array_set_size(node->durable, 0);
    g_byte_array_append(node->durable, node->data->data, node->data->len);
}

static int fake_sync(const FileOps *ops, int fd)
{
    int err = count(disk_of(ops));
    if (err == 0) {
        make_durable(g_ptr_array_index(disk_of(ops)->open, fd));
    }
    return err;
}

static int fake_close(const FileOps *ops, int fd)
{
    GPtrArray *open = disk_of(ops)->open;
    node_unref(g_ptr_array_index(open, fd));
    g_ptr_array_index(open, fd) = NULL;
    return 0;
}

static int fake_rename(const FileOps *ops, const char *from, const char *to)
{
    FakeDisk *disk = disk_of(ops);
    Node *node = g_hash_table_lookup(disk->names, from);
    int err = count(disk);
    if (err < 0 || !node || !has_folder(disk, to)) {
        return err < 0 ? err : -ENOENT;
    }
    node_ref(node);
    change_names(disk, from, to, node);
    node_unref(node);
    return 0;
}

static int fake_unlink(const FileOps *ops, const char *path)
{
    FakeDisk *disk = disk_of(ops);
    int err = count(disk);
    if (err < 0 || !g_hash_table_contains(disk->names, path)) {
        return err < 0 ? err : -ENOENT;
    }
    change_names(disk, path, NULL, NULL);
    return 0;
}

static int add_node(FakeDisk *disk, const char *path, Node *node)
{
    int err = count(disk);
    if (err == 0 && !has_folder(disk, path)) {
        err = -ENOENT;
    }
    if (err == 0 && g_hash_table_contains(disk->names, path)) {
        err = -EEXIST;
    }
    if (err == 0) {
        change_names(disk, NULL, path, node);
    }
    node_unref(node);
    return err;
}

static int fake_symlink(const FileOps *ops, const char *target, const char *path)
{
    Node *node = node_new();
    node->target = g_strdup(target);
    return add_node(disk_of(ops), path, node);
}

static int fake_mkdir(const FileOps *ops, const char *path)
{
    Node *old = g_hash_table_lookup(disk_of(ops)->names, path);
    if (old && old->is_dir) {
        return 0;
    }
    Node *node = node_new();
    node->is_dir = true;
    return add_node(disk_of(ops), path, node);
}

static void sync_names(FakeDisk *disk, const char *folder)
{
    for (guint i = 0; i < disk->pending->len;) {
        NameOp *op = g_ptr_array_index(disk->pending, i);
        if (folder && strcmp(op->folder, folder) != 0) {
            i++;
            continue;
        }
        apply(disk->durable, op);
        g_ptr_array_remove_index(disk->pending, i);
    }
}

static int fake_sync_dir(const FileOps *ops, const char *path)
{
    int err = count(disk_of(ops));
    if (err == 0) {
        sync_names(disk_of(ops), path);
    }
    return err;
}

static int fake_sync_all(const FileOps *ops, const char *path)
{
    FakeDisk *disk = disk_of(ops);
    int err = count(disk);
    if (err < 0) {
        return err;
    }
    sync_names(disk, NULL);
    GHashTableIter iter;
    gpointer node;
    g_hash_table_iter_init(&iter, disk->names);
    while (g_hash_table_iter_next(&iter, NULL, &node)) {
        make_durable(node);
    }
    return 0;
}

static int fake_list(const FileOps *ops, const char *path, GPtrArray *names)
{
    FakeDisk *disk = disk_of(ops);
    GHashTableIter iter;
    gpointer entry;
    Node *folder = g_hash_table_lookup(disk->names, path);
    if (!folder || !folder->is_dir) {
        return -ENOENT;
    }
    g_hash_table_iter_init(&iter, disk->names);
    while (g_hash_table_iter_next(&iter, &entry, NULL)) {
        g_autofree char *parent = g_path_get_dirname(entry);
        if (strcmp(parent, path) == 0) {
            g_ptr_array_add(names, g_path_get_basename(entry));
        }
    }
    return 0;
}

FakeDisk *fake_disk_new(guint32 seed)
{
    FakeDisk *disk = g_new0(FakeDisk, 1);
    disk->ops = (FileOps){ fake_open,     fake_pread,  fake_pwrite,  fake_sync,  fake_close,
                           fake_rename,   fake_unlink, fake_symlink, fake_mkdir, fake_sync_dir,
                           fake_sync_all, fake_list,   disk };
    disk->random = g_rand_new_with_seed(seed);
    disk->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, node_unref);
    disk->durable = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, node_unref);
    disk->pending = g_ptr_array_new_with_free_func(name_op_free);
    disk->open = g_ptr_array_new_with_free_func(node_unref);
    disk->fail_at = -1;
    return disk;
}

void fake_disk_free(FakeDisk *disk)
{
    g_rand_free(disk->random);
    g_ptr_array_unref(disk->pending);
    g_ptr_array_unref(disk->open);
    g_hash_table_unref(disk->names);
    g_hash_table_unref(disk->durable);
    g_free(disk);
}

const FileOps *fake_disk_ops(FakeDisk *disk)
{
    return &disk->ops;
}

void fake_disk_fail_after(FakeDisk *disk, int calls, int err)
{
    disk->fail_at = calls < 0 ? -1 : disk->calls + calls;
    disk->err = err;
    disk->is_once = false;
}

void fake_disk_fail_once(FakeDisk *disk, int calls, int err)
{
    fake_disk_fail_after(disk, calls, err);
    disk->is_once = true;
}

int fake_disk_calls(const FakeDisk *disk)
{
    return disk->calls;
}

/* The bytes of a file after a cut: each sector old or new, and the old or the new length. */
static void cut_data(FakeDisk *disk, const Node *node, GByteArray *out)
{
    guint size = g_rand_boolean(disk->random) ? node->data->len : node->durable->len;
    g_byte_array_set_size(out, size);
    memset(out->data, 0, size);
    for (guint at = 0; at < size; at += SECTOR) {
        const GByteArray *from = g_rand_boolean(disk->random) ? node->data : node->durable;
        if (at < from->len) {
            memcpy(out->data + at, from->data + at, MIN(SECTOR, MIN(from->len, size) - at));
        }
    }
}

static bool is_same(const Node *node)
{
    return node->data->len == node->durable->len &&
           memcmp(node->data->data, node->durable->data, node->data->len) == 0;
}

FakeDisk *fake_disk_cut(FakeDisk *disk)
{
    FakeDisk *after = fake_disk_new(g_rand_int(disk->random));
    bool in_order = g_rand_boolean(disk->random);
    guint kept = disk->pending->len
                     ? (guint)g_rand_int_range(disk->random, 0, (gint32)disk->pending->len + 1)
                     : 0;
    for (guint i = 0; i < disk->pending->len; i++) {
        if (in_order ? i < kept : g_rand_boolean(disk->random)) {
            apply(disk->durable, g_ptr_array_index(disk->pending, i));
        }
    }
    GHashTableIter iter;
    gpointer path, data;
    g_hash_table_iter_init(&iter, disk->durable);
    while (g_hash_table_iter_next(&iter, &path, &data)) {
        const Node *node = data;
        Node *copy = node_new();
        copy->is_dir = node->is_dir;
        copy->target = g_strdup(node->target);
        if (is_same(node)) {
            g_byte_array_append(copy->data, node->data->data, node->data->len);
        } else {
            cut_data(disk, node, copy->data);
        }
        make_durable(copy);
        g_hash_table_replace(after->names, g_strdup(path), node_ref(copy));
        g_hash_table_replace(after->durable, g_strdup(path), copy);
    }
    return after;
}

void fake_disk_put(FakeDisk *disk, const char *path, const void *data, gsize size)
{
    Node *node = node_new();
    g_byte_array_append(node->data, data, (guint)size);
    make_durable(node);
    g_hash_table_replace(disk->names, g_strdup(path), node_ref(node));
    g_hash_table_replace(disk->durable, g_strdup(path), node);
}
