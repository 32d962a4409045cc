/* The table of modules.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/modules.h"

const DaemonModule *const daemon_modules[] = {
    &connect_module, &sasl_module, &admin_module, &host_module, &absent_module, NULL,
};
