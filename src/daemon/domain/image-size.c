/* Sizes of images. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/image-size.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "block/block.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAT_BLOCK 512u
/* A file system's clock may stand still so long: what was written to within it need not differ. */
#define SETTLED_SECONDS 2

uint64_t image_size(const char *path, const char *format, uint64_t otherwise)
{
    g_autoptr(BlockSpec) spec = block_spec_new();
    block_spec_set(spec, "driver", format ? format : "raw");
    block_spec_set(spec, "file.driver", "file");
    block_spec_set(spec, "file.filename", path);
    g_autoptr(BlockNode) node = block_open(
        spec, BLOCK_OPEN_NO_BACKING | BLOCK_OPEN_SHARED | BLOCK_OPEN_UNLOCKED | BLOCK_OPEN_NO_DATA,
        NULL);
    return node ? block_node_size(node) : otherwise;
}

static void fill(const struct stat *st, ImageSizes *out)
{
    *out = (ImageSizes){ .allocation = (uint64_t)st->st_blocks * STAT_BLOCK,
                         .capacity = (uint64_t)st->st_size,
                         .physical = (uint64_t)st->st_size };
}

static bool look(const char *path, struct stat *st, ImageSizes *out)
{
    failpoint("image-look");
    if (stat(path, st) < 0) {
        return false;
    }
    fill(st, out);
    return true;
}

static bool has_header(const struct stat *st)
{
    return S_ISREG(st->st_mode) || S_ISBLK(st->st_mode);
}

bool image_size_physical(const char *path, ImageSizes *out)
{
    struct stat st;
    return look(path, &st, out);
}

bool image_size_look(const char *path, const char *format, ImageSizes *out)
{
    struct stat st;
    bool ok = look(path, &st, out);
    if (ok && has_header(&st)) {
        out->capacity = image_size(path, format, out->physical);
    }
    return ok;
}

/* --- many of them --- */

void image_folder_clear(ImageFolder *folder)
{
    free(folder->path);
    cleanup_close(&folder->fd);
    *folder = (ImageFolder)IMAGE_FOLDER_INIT;
}

/* Makes @folder that of the first @length bytes of @path. */
static void enter(ImageFolder *folder, const char *path, size_t length)
{
    image_folder_clear(folder);
    folder->path = strndup(path, length);
    folder->fd = folder->path ? open(folder->path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    folder->error = folder->path ? errno : ENOMEM;
}

static bool look_in(ImageFolder *folder, const char *path, struct stat *st)
{
    const char *slash = strrchr(path, '/');
    if (!slash) {
        return stat(path, st) == 0;
    }
    size_t length = (size_t)(slash + 1 - path);
    failpoint("image-look");
    if (!folder->path || strncmp(folder->path, path, length) != 0 || folder->path[length]) {
        enter(folder, path, length);
    }
    if (folder->fd < 0) {
        errno = folder->error;
        return false;
    }
    return fstatat(folder->fd, slash + 1, st, 0) == 0;
}

static bool is_as_noted(const ImageMemo *memo, const struct stat *st)
{
    return memo->dev == st->st_dev && memo->ino == st->st_ino && memo->size == st->st_size &&
           memo->changed.tv_sec == st->st_ctim.tv_sec &&
           memo->changed.tv_nsec == st->st_ctim.tv_nsec;
}

bool image_size_look_again(ImageFolder *folder, const char *path, const char *format,
                           ImageMemo *memo, ImageSizes *out)
{
    struct stat st;
    if (!look_in(folder, path, &st)) {
        return false;
    }
    fill(&st, out);
    if (!has_header(&st)) {
        return true;
    }
    if (is_as_noted(memo, &st)) {
        out->capacity = memo->capacity;
        return true;
    }
    out->capacity = image_size(path, format, out->physical);
    /* The device of a block device tells nothing of what is written to it. */
    bool is_settled = S_ISREG(st.st_mode) && time(NULL) - st.st_ctim.tv_sec > SETTLED_SECONDS;
    *memo = is_settled ? (ImageMemo){ .dev = st.st_dev,
                                      .ino = st.st_ino,
                                      .size = st.st_size,
                                      .changed = st.st_ctim,
                                      .capacity = out->capacity }
                       : (ImageMemo){ 0 };
    return true;
}
