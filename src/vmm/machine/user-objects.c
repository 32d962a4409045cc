/* What -object makes: guest RAM, sources of random numbers, secrets, limits of disks.
 *
 * Leaves out: NUMA policies, polling of I/O threads.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine/user-objects.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "block/file/ring.h"
#include "block/objects.h"
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/machine/inspect.h"
#include "vmm/machine/internal.h"
#include "vmm/options/throttle.h"

#include <asm-generic/hugetlb_encode.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct ObjectClass {
    const char *name, *summary;
    const Property *properties; /* NULL: make() reads the options */
    size_t size_bytes;
    const char *kind; /* of the back end */
    /* optional; acquires what is behind the object. */
    bool (*open)(const Machine *machine, UserObject *object, GError **error);
    void (*close)(UserObject *object); /* optional; also after a failed open */
    bool (*make)(const Machine *machine, UserObject *object, const BackendConfig *config,
                 GError **error); /* without properties */
    /* optional; puts it where others look for it. */
    bool (*publish)(const Machine *machine, UserObject *object, const char *id, GError **error);
} ObjectClass;

/* Every object's struct begins with this. */
struct UserObject {
    const ObjectClass *class;
};

/* Guest RAM */

typedef struct MemoryObject {
    UserObject base;
    uint64_t size, align, prealloc_threads;
    bool share, prealloc, dump, merge, seal, hugetlb, discards, reserve;
    uint64_t huge_page_bytes;
    char *path;
} MemoryObject;

#define MEMORY_BOOL(name_, member, fallback_, help_)                                               \
    {                                                                                              \
        .name = name_, .kind = PROPERTY_BOOL, .offset = offsetof(MemoryObject, member),            \
        .fallback = fallback_, .help = help_                                                       \
    }
#define MEMORY_PROPERTIES                                                                          \
    { .name = "size",                                                                              \
      .kind = PROPERTY_SIZE,                                                                       \
      .offset = offsetof(MemoryObject, size),                                                      \
      .min = 1 << 20,                                                                              \
      .max = UINT64_MAX,                                                                           \
      .help = "bytes; as -m" },                                                                    \
        { .name = "prealloc-threads",                                                              \
          .kind = PROPERTY_UINT,                                                                   \
          .offset = offsetof(MemoryObject, prealloc_threads),                                      \
          .min = 1,                                                                                \
          .max = 4096,                                                                             \
          .fallback = "1",                                                                         \
          .help = "accepted: the kernel fills memory by itself" },                                 \
        MEMORY_BOOL("prealloc", prealloc, "off", "take all memory from the host at once"),         \
        MEMORY_BOOL("dump", dump, "on", "it is in core dumps of the process"),                     \
        MEMORY_BOOL("reserve", reserve, "on", "accepted: swap space is never reserved"),           \
        MEMORY_BOOL("merge", merge, "on", "accepted: equal pages of a shared mapping stay apart")

static const Property ram_properties[] = {
    MEMORY_PROPERTIES,
    MEMORY_BOOL("share", share, "off", "accepted: it is always a shared mapping"),
    { .name = NULL },
};

static const Property memfd_properties[] = {
    MEMORY_PROPERTIES,
    MEMORY_BOOL("share", share, "on", "accepted: it is always a shared mapping"),
    MEMORY_BOOL("seal", seal, "on", "accepted: nobody else has the descriptor"),
    MEMORY_BOOL("hugetlb", hugetlb, "off", "of large pages"),
    { .name = "hugetlbsize",
      .kind = PROPERTY_SIZE,
      .offset = offsetof(MemoryObject, huge_page_bytes),
      .max = 1 << 30,
      .fallback = "0",
      .help = "bytes of a large page; default: the host's" },
    { .name = NULL },
};

static const Property file_properties[] = {
    MEMORY_PROPERTIES,
    MEMORY_BOOL("share", share, "off",
                "a file keeps what the guest writes: must be on, but for a "
                "folder"),
    MEMORY_BOOL("discard-data", discards, "off", "drop the file's pages at the end"),
    { .name = "mem-path",
      .kind = PROPERTY_STRING,
      .offset = offsetof(MemoryObject, path),
      .help = "file, or folder for one without a name (as of large pages)" },
    { .name = "align",
      .kind = PROPERTY_SIZE,
      .offset = offsetof(MemoryObject, align),
      .max = 1 << 30,
      .fallback = "0",
      .help = "accepted: the kernel aligns as the file needs" },
    { .name = NULL },
};

/* A file of @object's folder that has no name any more. */
static int open_unnamed(const char *folder)
{
    g_autofree char *path = g_strdup_printf("%s/lodge-ram-XXXXXX", folder);
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) {
        unlink(path);
    }
    return fd < 0 ? -errno : fd;
}

static int open_ram_file(const Machine *machine, const MemoryObject *memory, GError **error)
{
    if (!memory->path) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "'mem-path' is missing");
        return -1;
    }
    g_autofree char *path = machine_resolve_path(machine, memory->path, O_RDWR, error);
    if (!path) {
        return -1;
    }
    struct stat st;
    bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    if (!is_folder && !memory->share) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "guest RAM in the file '%s' is shared with it: give share=on, or a folder",
                    memory->path);
        return -1;
    }
    int fd = is_folder ? open_unnamed(path) : fd_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        lodge_error_set_errno(error, -fd, "cannot open '%s'", memory->path);
    }
    return fd < 0 ? -1 : fd;
}

static int open_huge_pages(const MemoryObject *memory, GError **error)
{
    unsigned log2 =
        memory->huge_page_bytes ? (unsigned)__builtin_ctzll(memory->huge_page_bytes) : 0;
    int fd =
        memfd_create("guest-ram", MFD_CLOEXEC | MFD_HUGETLB | log2 << HUGETLB_FLAG_ENCODE_SHIFT);
    if (fd < 0) {
        lodge_error_set_errno(error, errno, "the host gives no large pages");
    }
    return fd;
}

/* Takes the memory from the host. */
static bool populate(RamBlock *ram, GError **error)
{
    if (madvise(ram->host, ram->size_bytes, MADV_POPULATE_WRITE) == 0) {
        return true;
    }
    lodge_error_set_errno(error, errno, "the host does not have the memory to preallocate");
    return false;
}

RamBlock *user_object_ram(const Machine *machine, const UserObject *object, GError **error)
{
    const MemoryObject *memory = (const MemoryObject *)object;
    bool is_file = memory->base.class->properties == file_properties;
    int fd = is_file           ? open_ram_file(machine, memory, error)
             : memory->hugetlb ? open_huge_pages(memory, error)
                               : -1;
    if (fd < 0 && (is_file || memory->hugetlb)) {
        return NULL;
    }
    RamBlock *ram = fd < 0 ? ram_block_new("guest-ram", memory->size)
                           : ram_block_new_file("guest-ram", memory->size, fd);
    if (!ram) {
        lodge_error_set_errno(error, errno, "cannot map %" PRIu64 " bytes of guest RAM",
                              memory->size);
        return NULL;
    }
    if (!memory->dump && madvise(ram->host, ram->size_bytes, MADV_DONTDUMP) < 0) {
        log_warn("guest RAM cannot be kept out of core dumps: %s", g_strerror(errno));
    }
    if (memory->prealloc && !populate(ram, error)) {
        ram_block_free(ram);
        return NULL;
    }
    return ram;
}

uint64_t user_object_ram_size(const UserObject *object)
{
    return ((const MemoryObject *)object)->size;
}

/* Random numbers */

typedef struct RngObject {
    UserObject base;
    RngSource source;
    char *filename;
} RngObject;

const RngSource *user_object_rng(const UserObject *object)
{
    return &((const RngObject *)object)->source;
}

static const Property rng_builtin_properties[] = { { .name = NULL } };
static const Property rng_random_properties[] = {
    { .name = "filename",
      .kind = PROPERTY_STRING,
      .offset = offsetof(RngObject, filename),
      .help = "device to read from (default: /dev/urandom)" },
    { .name = NULL },
};

static bool rng_builtin_open(const Machine *machine, UserObject *object, GError **error)
{
    ((RngObject *)object)->source.fd = -1;
    return true;
}

static bool rng_random_open(const Machine *machine, UserObject *object, GError **error)
{
    RngObject *rng = (RngObject *)object;
    const char *name = rng->filename ? rng->filename : "/dev/urandom";
    rng->source.fd = -1;
    g_autofree char *path = machine_resolve_path(machine, name, O_RDONLY, error);
    if (!path) {
        return false;
    }
    int fd = fd_open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0);
    if (fd < 0) {
        lodge_error_set_errno(error, -fd, "cannot open '%s'", name);
        return false;
    }
    rng->source.fd = fd;
    return true;
}

static void rng_close(UserObject *object)
{
    cleanup_close(&((RngObject *)object)->source.fd);
}

/* Secrets and TLS credentials: kept where the block layer finds them */

typedef struct CredentialObject {
    UserObject base;
    BlockObjects *objects;
    char *id;
} CredentialObject;

static BlockSpec *credential_spec(const Machine *machine, const KeyvalList *options, GError **error)
{
    g_autoptr(BlockSpec) spec = block_spec_new();
    for (guint i = 0; i < options->pairs->len; i++) {
        const Keyval *pair = g_ptr_array_index(options->pairs, i);
        bool is_path = strcmp(pair->key, "file") == 0;
        g_autofree char *value = is_path
                                     ? machine_resolve_path(machine, pair->value, O_RDONLY, error)
                                     : g_strdup(pair->value);
        if (!value) {
            return NULL;
        }
        block_spec_set(spec, pair->key, value);
    }
    return g_steal_pointer(&spec);
}

static bool credential_make(const Machine *machine, UserObject *object, const BackendConfig *config,
                            GError **error)
{
    CredentialObject *credential = (CredentialObject *)object;
    g_autoptr(BlockSpec) spec = credential_spec(machine, config->options, error);
    if (!spec ||
        !block_objects_add_spec(machine->block_objects, config->type, config->id, spec, error)) {
        return false;
    }
    credential->objects = block_objects_ref(machine->block_objects);
    credential->id = g_strdup(config->id);
    return true;
}

static void credential_close(UserObject *object)
{
    CredentialObject *credential = (CredentialObject *)object;
    if (credential->id) {
        block_objects_remove(credential->objects, credential->id);
    }
    block_objects_unref(credential->objects);
    g_free(credential->id);
}

/* Limits that disks share */

typedef struct ThrottleObject {
    UserObject base;
    ThrottleConfig limits;
    ThrottleGroup *group;
    BlockObjects *objects; /* where nodes find it; NULL: not there */
    char *id;
} ThrottleObject;

static const Property throttle_properties[] = {
    THROTTLE_OPTIONS(ThrottleObject, limits, "limits."),
    THROTTLE_OPTIONS(ThrottleObject, limits, "x-"),
    { .name = NULL },
};

static bool throttle_open(const Machine *machine, UserObject *object, GError **error)
{
    ThrottleObject *throttle = (ThrottleObject *)object;
    const char *problem = throttle_config_problem(&throttle->limits);
    if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s", problem);
        return false;
    }
    throttle->group = throttle_group_new(machine->loop, &throttle->limits, clock_monotonic_ns);
    if (!throttle->group) {
        lodge_error_set_errno(error, ENOMEM, "cannot make a throttle group");
    }
    return throttle->group != NULL;
}

static void throttle_close(UserObject *object)
{
    ThrottleObject *throttle = (ThrottleObject *)object;
    if (throttle->objects) {
        block_objects_remove(throttle->objects, throttle->id);
        block_objects_unref(throttle->objects);
    }
    throttle_group_unref(throttle->group);
    g_free(throttle->id);
}

/* Nodes find it by its id from here on. */
static bool throttle_publish(const Machine *machine, UserObject *object, const char *id,
                             GError **error)
{
    ThrottleObject *throttle = (ThrottleObject *)object;
    if (!block_objects_add_limits(machine->block_objects, id, throttle->group, error)) {
        return false;
    }
    throttle->objects = block_objects_ref(machine->block_objects);
    throttle->id = g_strdup(id);
    return true;
}

ThrottleGroup *user_object_throttle_group(const UserObject *object)
{
    return ((const ThrottleObject *)object)->group;
}

/* I/O threads */

typedef struct IothreadObject {
    UserObject base;
    LoopThread *thread;
    uint64_t poll_max_ns, poll_grow, poll_shrink, batch;
} IothreadObject;

#define IOTHREAD_NUMBER(name_, member)                                                             \
    {                                                                                              \
        .name = name_, .kind = PROPERTY_UINT, .offset = offsetof(IothreadObject, member),          \
        .max = INT64_MAX, .fallback = "0", .help = "accepted: the thread waits, it does not poll"  \
    }

static const Property iothread_properties[] = {
    IOTHREAD_NUMBER("poll-max-ns", poll_max_ns),
    IOTHREAD_NUMBER("poll-grow", poll_grow),
    IOTHREAD_NUMBER("poll-shrink", poll_shrink),
    IOTHREAD_NUMBER("aio-max-batch", batch),
    { .name = NULL },
};

static bool iothread_open(const Machine *machine, UserObject *object, GError **error)
{
    IothreadObject *iothread = (IothreadObject *)object;
    iothread->thread = loop_thread_new("iothread", file_rings_settle);
    if (!iothread->thread) {
        lodge_error_set_errno(error, errno, "cannot start a thread");
    }
    return iothread->thread != NULL;
}

static void iothread_close(UserObject *object)
{
    loop_thread_free(((IothreadObject *)object)->thread);
}

LoopThread *user_object_iothread(const UserObject *object)
{
    return ((const IothreadObject *)object)->thread;
}

void machine_iothread_info(const void *object, MachineIothreadInfo *out)
{
    const IothreadObject *iothread = object;
    *out = (MachineIothreadInfo){ .thread_id = loop_thread_id(iothread->thread),
                                  .poll_max_ns = iothread->poll_max_ns,
                                  .poll_grow = iothread->poll_grow,
                                  .poll_shrink = iothread->poll_shrink,
                                  .batch = iothread->batch };
}

bool machine_iothread_set(void *object, const char *property, const char *value, GError **error)
{
    const Property *found = property_find(iothread_properties, property);
    if (!found) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "an iothread has no property '%s'", property);
    }
    return found && property_set(found, object, value, error);
}

const char *user_object_type(const UserObject *object)
{
    return object->class->name;
}

/* Classes */

static const ObjectClass object_classes[] = {
    { "iothread", "a thread that serves disks, for -device virtio-blk-pci,iothread=",
      iothread_properties, sizeof(IothreadObject), "iothread", iothread_open, iothread_close },
    { "memory-backend-file", "guest RAM in a file or of large pages", file_properties,
      sizeof(MemoryObject), "memory", NULL, NULL },
    { "memory-backend-memfd", "anonymous guest RAM, for -machine memory-backend=", memfd_properties,
      sizeof(MemoryObject), "memory", NULL, NULL },
    { "memory-backend-ram", "anonymous guest RAM, for -machine memory-backend=", ram_properties,
      sizeof(MemoryObject), "memory", NULL, NULL },
    { "rng-builtin", "the host kernel's random numbers", rng_builtin_properties, sizeof(RngObject),
      "rng", rng_builtin_open, rng_close },
    { "rng-random", "random numbers from a device of the host", rng_random_properties,
      sizeof(RngObject), "rng", rng_random_open, rng_close },
    { "secret", "a password or key for other options", NULL, sizeof(CredentialObject),
      "credentials", NULL, credential_close, credential_make },
    { "throttle-group", "limits that disks share, for -drive throttling.group=",
      throttle_properties, sizeof(ThrottleObject), "throttle-group", throttle_open, throttle_close,
      NULL, throttle_publish },
    { "tls-creds-psk", "shared keys for TLS: of NBD", NULL, sizeof(CredentialObject), "credentials",
      NULL, credential_close, credential_make },
    { "tls-creds-x509", "certificates for TLS: of NBD", NULL, sizeof(CredentialObject),
      "credentials", NULL, credential_close, credential_make },
};

const char *machine_object_type_at(unsigned index)
{
    return index < G_N_ELEMENTS(object_classes) ? object_classes[index].name : NULL;
}

char *machine_object_help(void)
{
    GString *out = g_string_new("Objects:\n");
    for (unsigned i = 0; i < G_N_ELEMENTS(object_classes); i++) {
        const ObjectClass *class = &object_classes[i];
        g_string_append_printf(out, "  %-20s %s\n", class->name, class->summary);
    }
    return g_string_free(out, FALSE);
}

static const ObjectClass *find_class(const char *name, GError **error)
{
    const char *names[G_N_ELEMENTS(object_classes) + 1] = { NULL };
    for (unsigned i = 0; i < G_N_ELEMENTS(object_classes); i++) {
        names[i] = object_classes[i].name;
        if (!strcmp(names[i], name)) {
            return &object_classes[i];
        }
    }
    g_autofree char *hint = str_suggestion(name, names);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "object type '%s' is not supported%s",
                name, hint);
    return NULL;
}

static void object_free(void *opaque)
{
    UserObject *object = opaque;
    if (object->class->close) {
        object->class->close(object);
    }
    if (object->class->properties) {
        properties_clear(object->class->properties, object);
    }
    g_free(object);
}

static bool object_init(const Machine *machine, UserObject *object, const BackendConfig *config,
                        GError **error)
{
    const ObjectClass *class = object->class;
    if (class->make) {
        return class->make(machine, object, config, error);
    }
    properties_set_defaults(class->properties, object);
    return keyval_apply(config->options, class->properties, object, error) &&
           (!class->open || class->open(machine, object, error));
}

bool machine_add_object(Machine *machine, const BackendConfig *config, GError **error)
{
    const ObjectClass *class = find_class(config->type, error);
    if (!class) {
        g_prefix_error(error, "-object: ");
        return false;
    }
    UserObject *object = g_malloc0(class->size_bytes);
    object->class = class;
    if (!object_init(machine, object, config, error) ||
        (class->publish && !class->publish(machine, object, config->id, error))) {
        g_prefix_error(error, "-object %s: ", config->type);
        object_free(object);
        return false;
    }
    machine_add_backend(machine, class->kind, config->id, object, object_free);
    if (class->open == iothread_open) {
        machine_find_backend(machine, class->kind, config->id)->is_shareable = true;
    }
    return true;
}
