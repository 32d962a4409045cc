/* -sandbox where the program was built without libseccomp.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/sandbox.h"

bool sandbox_enter(const SandboxConfig *config, GError **error)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                "-sandbox: this program was built without libseccomp");
    return false;
}
