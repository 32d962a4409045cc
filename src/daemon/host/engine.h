/* Engines: programs that run guests, and what each can do.
 *
 * An engine is asked once, in a child process with a deadline; its answers are kept in the cache
 * folder for as long as the program's file and the host's boot stay the same.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_HOST_ENGINE_H
#define LODGE_DAEMON_HOST_ENGINE_H

#include "conf/cpu/x86.h"
#include "daemon/daemon.h"

typedef struct EngineMachine {
    char *name;
    char *alias;       /* or NULL */
    char *default_cpu; /* "qemu64", or NULL */
    unsigned max_cpus;
    bool is_default, is_deprecated;
} EngineMachine;

typedef struct EngineCpu {
    char *name;
    bool is_usable, is_deprecated;
} EngineCpu;

/* What an accelerator gives: translation, or KVM. */
typedef struct EngineAccel {
    bool works;
    GPtrArray *cpus; /* of EngineCpu, by the program's order */
    X86Set features; /* of the model "max", on x86 */
    char *vendor;    /* of the same, as libvirt names it, or NULL */
} EngineAccel;

/* Does not change once it is made. */
typedef struct Engine {
    gint refs;
    char *path;
    bool is_lodge;       /* lodge-vmm, else QEMU */
    char *arch;          /* libvirt's name: "x86_64", "i686", "aarch64" */
    guint version;       /* major * 1,000,000 + minor * 1000 + micro */
    GPtrArray *machines; /* of EngineMachine */
    GHashTable *devices; /* names of device types */
    EngineAccel tcg, kvm;
} Engine;

typedef struct EngineSet EngineSet;

Engine *engine_ref(Engine *engine);
void engine_unref(Engine *engine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Engine, engine_unref)

/* NULL: there is no such machine; for NULL the default one. By name or alias. */
const EngineMachine *engine_machine(const Engine *engine, const char *name);
bool engine_has_device(const Engine *engine, const char *name);

/* Whether the first of the words is a program of ours. */
bool engine_is_lodge_path(const char *path);

EngineSet *engine_set_new(const DaemonPaths *paths);
void engine_set_free(EngineSet *set);

/* The engine that runs domains without <emulator>: lodge-vmm beside this program, or in the PATH.
 * Borrowed. Any thread. */
const char *engine_set_default(const EngineSet *set);

/* Programs of that kind on this host: lodge-vmm, qemu-system-* (paths; a reference). */
GPtrArray *engine_set_list(EngineSet *set);

/**
 * engine_set_get - what the program at @path can do
 *
 * May take up to ENGINE_TIMEOUT_MS for each accelerator the first time. Context: not the loop's
 * thread. Returns: (transfer full), or NULL with @error: libvirt's codes.
 */
Engine *engine_set_get(EngineSet *set, const char *path, GError **error);

/* As engine_set_get(), if it is known already; NULL else. Any thread. */
Engine *engine_set_peek(EngineSet *set, const char *path);

/* An engine of @arch (NULL: the host's) that can boot from disks, else any; NULL: there is none. */
Engine *engine_set_for_arch(EngineSet *set, const char *arch);

/* Whether guests run on /dev/kvm here. Not on the loop. */
bool engine_set_has_kvm(EngineSet *set);

/* libvirt's name of the host's architecture. */
const char *engine_host_arch(void);

/* --- asking: engine-probe.c --- */

#define ENGINE_TIMEOUT_MS 15000
#define ENGINE_ANSWER_MAX (4u << 20)

/* Runs the program until it has answered or the time is over (transfer full: its lines), or NULL
 * with @error. @kvm: by KVM, else by translation. */
char *engine_ask(const char *path, bool kvm, GError **error);

/* Fills in what lines of the program say. False with @error: they are not answers. */
bool engine_read_answers(Engine *engine, EngineAccel *accel, const char *lines, GError **error);

/* An engine that nothing is known of. */
Engine *engine_new(const char *path);

#endif
