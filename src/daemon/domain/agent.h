/* Calls to the agent inside a guest (QEMU Guest Agent), through its virtio-serial channel
 * "org.qemu.guest_agent.0".
 *
 * Each call connects, synchronises, asks once and leaves, so that nothing is kept of a guest that
 * hangs, and other programs may use the channel in between. One call at a time for each guest; no
 * job is taken: a silent agent is in nobody's way.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_AGENT_H
#define LODGE_DAEMON_DOMAIN_AGENT_H

#include "daemon/domain/domain.h"

#define AGENT_CHANNEL "org.qemu.guest_agent.0"

/* Time limits: seconds, or one of these (virDomainQemuAgentCommandTimeoutValues). */
enum {
    AGENT_TIMEOUT_BLOCK = -2,   /* as long as it takes; ten minutes */
    AGENT_TIMEOUT_DEFAULT = -1, /* what was set for the domain, else as above */
    AGENT_TIMEOUT_NOWAIT = 0,   /* no answer is wanted */
};

/* Whether there is an agent's channel to a running guest; the errors are agent_exchange()'s. */
bool agent_check(Domain *domain, GError **error);

/**
 * agent_exchange - send a message and wait for the answer
 *
 * Returns: the whole answer (transfer full). NULL with @error: no channel (ARGUMENT_UNSUPPORTED),
 * nobody answers (AGENT_UNRESPONSIVE), too late (AGENT_COMMAND_TIMEOUT); NULL without: not waited
 * for. Context: a worker thread, without the domain's lock.
 */
JsonObject *agent_exchange(Domain *domain, JsonObject *message, int timeout_s, GError **error);

/* Runs a command (@arguments: transfer full, nullable); its "return" (transfer full), or NULL with
 * @error as above, AGENT_COMMAND_FAILED with the agent's words. */
JsonNode *agent_ask(Domain *domain, const char *command, JsonObject *arguments, int timeout_s,
                    GError **error);

/* As agent_ask(), when only success counts. */
bool agent_run(Domain *domain, const char *command, JsonObject *arguments, GError **error);

/* For commands that answer only when they fail, as guest-shutdown. */
bool agent_send(Domain *domain, const char *command, JsonObject *arguments, GError **error);

/* Whether a program in the guest has the channel open; with lock. */
bool agent_is_connected_locked(const Domain *domain);

#endif
