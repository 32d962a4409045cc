/* Engines and capabilities: which engine a client means, and the module.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/error.h"
#include "daemon/host/host.h"
#include "daemon/modules.h"

#include <string.h>

/* What clients take to know what they may ask for, where there is no QEMU. */
#define HYPERVISOR_VERSION 9002000u

const char *host_security_model(Daemon *daemon)
{
    return daemon->guest_uid_count ? "dac" : "none";
}

bool host_knows_arch(const char *arch)
{
    static const char *const known[] = { "x86_64",  "i686",    "aarch64", "armv7l",  "ppc64",
                                         "ppc64le", "s390x",   "riscv64", "riscv32", "mips",
                                         "mips64",  "sparc64", "alpha",   "hppa",    "m68k",
                                         "sh4",     "xtensa",  "ppc",     "sparc",   NULL };
    return g_strv_contains(known, arch);
}

static Engine *find_engine(EngineSet *set, const char *emulator, const char *arch, GError **error)
{
    if (emulator) {
        g_autoptr(Engine) engine = engine_set_get(set, emulator, error);
        if (engine && arch && strcmp(engine->arch, arch) != 0) {
            daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                             "architecture from emulator '%s' doesn't match given architecture "
                             "'%s'",
                             engine->arch, arch);
            return NULL;
        }
        return g_steal_pointer(&engine);
    }
    Engine *engine = engine_set_for_arch(set, arch);
    if (!engine) {
        daemon_error_set(
            error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
            "unsupported configuration: unable to find any emulator to serve '%s' architecture",
            arch ?: engine_host_arch());
    }
    return engine;
}

static bool choose_accel(const Engine *engine, const char *virt, bool *out_is_kvm, GError **error)
{
    if (virt && strcmp(virt, "qemu") != 0 && strcmp(virt, "kvm") != 0) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "unknown virttype: %s", virt);
        return false;
    }
    *out_is_kvm = virt ? !strcmp(virt, "kvm") : engine->kvm.works;
    if (*out_is_kvm && !engine->kvm.works) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "the accel 'kvm' is not supported by '%s' on this host", engine->path);
        return false;
    }
    return true;
}

Engine *host_choose_engine(Daemon *daemon, const char *emulator, const char *arch,
                           const char *machine, const char *virt, const EngineMachine **out_machine,
                           bool *out_is_kvm, GError **error)
{
    if (arch && !host_knows_arch(arch)) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "unknown architecture: %s", arch);
        return NULL;
    }
    g_autoptr(Engine) engine = find_engine(daemon->engines, emulator, arch, error);
    if (!engine || !choose_accel(engine, virt, out_is_kvm, error)) {
        return NULL;
    }
    *out_machine = engine_machine(engine, machine);
    if (!*out_machine) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "the machine '%s' is not supported by emulator '%s'", machine,
                         engine->path);
        return NULL;
    }
    return g_steal_pointer(&engine);
}

bool handle_connect_get_capabilities(DaemonCall *call, RemoteConnectGetCapabilitiesRet *ret,
                                     GError **error)
{
    (void)error;
    ret->capabilities =
        arena_take(call_arena(call), host_capabilities_xml(call_daemon(call)), NULL);
    return true;
}

/* The version of the QEMU that guests of the host's architecture have. */
bool handle_connect_get_version(DaemonCall *call, RemoteConnectGetVersionRet *ret, GError **error)
{
    (void)error;
    EngineSet *set = call_daemon(call)->engines;
    g_autoptr(GPtrArray) paths = engine_set_list(set);
    for (guint i = 0; i < paths->len; i++) {
        const char *path = paths->pdata[i];
        g_autoptr(Engine) engine = engine_set_peek(set, path);
        if (!engine && !call_may_block(call)) {
            return call_requeue(call);
        }
        if (!engine) {
            engine = engine_set_get(set, path, NULL);
        }
        if (engine && !engine->is_lodge && !strcmp(engine->arch, engine_host_arch())) {
            ret->hv_ver = engine->version;
            return true;
        }
    }
    ret->hv_ver = HYPERVISOR_VERSION;
    return true;
}

bool handle_node_get_security_model(DaemonCall *call, RemoteNodeGetSecurityModelRet *ret,
                                    GError **error)
{
    (void)error;
    const char *model = host_security_model(call_daemon(call));
    ret->model = arena_strdup(call_arena(call), model);
    ret->n_model = (uint32_t)strlen(model) + 1;
    ret->doi = arena_strdup(call_arena(call), "0");
    ret->n_doi = sizeof("0");
    return true;
}

static bool start(Daemon *daemon, GError **error)
{
    daemon->engines = engine_set_new(&daemon->paths);
    (void)error;
    return true;
}

static const DispatchEntry handlers[] = {
    HANDLER(connect_domain_xml_to_native), HANDLER_INLINE(connect_domain_xml_from_native),
    HANDLER(connect_get_capabilities),     HANDLER(connect_get_domain_capabilities),
    HANDLER_INLINE(connect_get_version),   HANDLER_INLINE(node_get_security_model),
};

const DaemonModule host_module = {
    .name = "host",
    .handlers = handlers,
    .n_handlers = G_N_ELEMENTS(handlers),
    .start = start,
};
