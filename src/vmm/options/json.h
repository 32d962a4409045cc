/* JSON objects as the lists of pairs that all options are: -device '{"driver":"e1000",...}', and
 * what programs send by QMP. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_OPTIONS_JSON_H
#define LODGE_VMM_OPTIONS_JSON_H

#include "vmm/options/keyval.h"

#include <json-glib/json-glib.h>

/**
 * keyval_from_json - one pair for each member
 *
 * true and false become "on" and "off", numbers decimal text. Members of an object in the object
 * are named "outer.inner"; a list gives one pair of its name for each element, which is a plain
 * value or an object of QAPI's type String ({"str": TEXT}). null is left out.
 *
 * Returns: the list (transfer full), or NULL with @error: nested too deeply, or in a way that no
 * option is.
 */
KeyvalList *keyval_from_json(JsonObject *object, GError **error);

/* The same from text; for options, whose argument begins with '{'. */
KeyvalList *keyval_parse_json(const char *text, GError **error);

/* keyval_parse_json() for text that begins with '{', else keyval_parse(). */
KeyvalList *keyval_parse_either(const char *text, const char *implied, GError **error);

#endif
