/* The GError domain of configuration texts.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/error.h"

G_DEFINE_QUARK(lodge - conf - error - quark, conf_error)
