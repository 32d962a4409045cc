/* Elements of applications inside a definition's <metadata>.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_DOMAIN_METADATA_H
#define LODGE_CONF_DOMAIN_METADATA_H

#include "conf/domain/domain.h"

/* The element of the namespace @uri, as text (transfer full); NULL: there is none. */
char *domain_def_get_metadata(const DomainDef *def, const char *uri);

/**
 * domain_def_set_metadata - put an application's element into the place of its former one
 * @xml:    the element; NULL: takes it out
 * @prefix: of the namespace, with @xml
 *
 * False with @error (CONF_ERROR): @xml is not well-formed, or @prefix is none for @uri; @def is
 * unchanged.
 */
bool domain_def_set_metadata(DomainDef *def, const char *uri, const char *prefix, const char *xml,
                             GError **error);

#endif
