/* An application's element for a definition's <metadata>: put in, written, read again and taken
 * out. SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/metadata.h"

#include "base/log.h"

#include <stdint.h>
#include <string.h>

#define DOMAIN                                                                                     \
    "<domain type='qemu'><name>a</name><memory>1024</memory><os><type>hvm</type></os>"             \
    "<metadata><x:old xmlns:x='urn:old'>1</x:old></metadata></domain>"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_again(const DomainDef *def, const char *uri)
{
    g_autofree char *text = domain_def_get_metadata(def, uri);
    g_autofree char *xml = domain_def_format(def, DOMAIN_FORMAT_SECURE);
    g_autoptr(DomainDef) again = domain_def_parse(xml, DOMAIN_PARSE_KEEP, NULL, NULL, NULL);
    lodge_assert(again);
    g_autofree char *same = domain_def_get_metadata(again, uri);
    lodge_assert((text == NULL) == (same == NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* The first byte chooses whether the element takes the place of one that is there. */
    static const char *const uris[] = { "urn:old", "urn:new", "", "a&b<'\"" };
    const char *uri = uris[size ? data[0] % G_N_ELEMENTS(uris) : 0];
    g_autofree char *xml = g_strndup(size ? (const char *)data + 1 : "", size ? size - 1 : 0);
    g_autoptr(DomainDef) def = domain_def_parse(DOMAIN, DOMAIN_PARSE_KEEP, NULL, NULL, NULL);
    lodge_assert(def);
    if (domain_def_set_metadata(def, uri, "p", xml, NULL)) {
        read_again(def, uri);
    }
    if (domain_def_set_metadata(def, uri, xml, "<a/>", NULL)) {
        read_again(def, uri);
    }
    domain_def_set_metadata(def, uri, NULL, NULL, NULL);
    return 0;
}
