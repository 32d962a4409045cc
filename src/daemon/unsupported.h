/* Why a procedure that has no handler is refused.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_UNSUPPORTED_H
#define LODGE_DAEMON_UNSUPPORTED_H

#include "rpc/wire/procedure.h"

/* The sentence for people, or NULL: there ought to be a handler. */
const char *unsupported_reason(const RpcProgram *program, const RpcProcedure *procedure);

#endif
