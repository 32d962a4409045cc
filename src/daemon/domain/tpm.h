/* TPMs of guests: Debian's swtpm as a helper process, and its state.
 *
 * STATE/swtpm/UUID/tpm2 or /tpm1.2 holds what the TPM keeps; swtpm_setup makes it at the first
 * start, with keys and certificates signed by an authority of this daemon's own in STATE/swtpm/ca.
 * Left out: state that is encrypted by a secret.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_TPM_H
#define LODGE_DAEMON_DOMAIN_TPM_H

#include "daemon/domain/domain.h"

/* Starts the emulator; the engine's end of its control connection (transfer full), or -1 with
 * @error. A worker thread. */
int tpm_start(Domain *domain, const DomainTpm *tpm, GError **error);

/* Whether swtpm and swtpm_setup are there. */
bool tpm_has_emulator(void);

/* The flags of undefining that are about state (libvirt's). */
enum { TPM_FLAG_REMOVE = 1 << 5, TPM_FLAG_KEEP = 1 << 6 };

/* Removes the state of a guest that is gone, unless it is to stay: by @flags, else by
 * persistent_state. Any thread. */
void tpm_forget(const Daemon *daemon, const DomainDef *def, unsigned flags);

/* The same for a running guest: its definition will say it when it ends. */
void tpm_forget_later(DomainDef *live, unsigned flags);

#endif
