/* What files of commands share: rows of options, bits of flags, typed parameters, CPU maps, XML.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_TOOLS_H
#define LODGE_CLI_TOOLS_H

#include "cli/args.h"
#include "cli/session.h"
#include "conf/xml.h"

#define CLI_DOMAIN_OPTION                                                                          \
    {                                                                                              \
        "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DOMAIN, "its name, id or UUID"               \
    }
/* For commands that call cli_args_impact(). */
#define CLI_IMPACT_OPTIONS                                                                         \
    { "config", CLI_FLAG, 0, CLI_VALUE_ANY, "from its next start on" },                            \
        { "live", CLI_FLAG, 0, CLI_VALUE_ANY, "the running guest" },                               \
    {                                                                                              \
        "current", CLI_FLAG, 0, CLI_VALUE_ANY, "whichever it is in now (the default)"              \
    }

extern const CliOption cli_domain_only[];

/* The bits of flags whose options were given; @bits ends with a row without option. */
typedef struct CliBit {
    const char *option;
    uint32_t bit;
} CliBit;
uint32_t cli_args_bits(const CliArgs *args, const CliBit *bits);

/* A value as virsh prints it. (transfer full) */
char *cli_param_text(const TypedParam *param);
/* Returns: the parameter of that name, or NULL. */
const TypedParam *cli_param_find(const TypedParam *params, uint32_t count, const char *name);
/* A number of any type; @fallback for other types and NULL. */
guint64 cli_param_number(const TypedParam *param, guint64 fallback);

/* A row of names with numbers, for JSON objects and lines. */
typedef struct CliNumber {
    const char *name;
    gint64 value;
} CliNumber;

/* The host's number of CPUs. 0: @error. */
unsigned cli_host_cpus(CliSession *session, GError **error);
/* "0-3,8" of a map with a bit for each CPU. (transfer full) */
char *cli_cpumap_text(const uint8_t *map, size_t size, unsigned cpus);
/* The reverse; "r" is all CPUs. @out_map is of the session's arena. */
bool cli_cpumap_parse(CliSession *session, const char *text, uint8_t **out_map, uint32_t *out_size,
                      GError **error);

/* The domain's XML (flags as of virDomainGetXMLDesc()), parsed. NULL: @error. */
XmlDoc *cli_domain_xml(CliSession *session, const RemoteDomain *domain, uint32_t flags,
                       GError **error);
/* The <devices> of a parsed domain, or NULL. */
xmlNode *cli_devices(const XmlDoc *doc);
/* An attribute of a child element; NULL when either is absent. (transfer full) */
char *cli_child_attr(const xmlNode *node, const char *child, const char *attr);

/* @text in the user's editor. (transfer full) NULL: @error, or NULL without one: unchanged. */
char *cli_edit_text(const char *text, const char *suffix, GError **error);

/* A line of standard input, asked for on a terminal; @is_secret: not shown. (transfer full) NULL:
 * @error. */
char *cli_ask_line(const char *prompt, bool is_secret, GError **error);
/* Wipes and frees what must not stay in memory. NULL is fine. */
void cli_forget(char *secret);

/* Prints XML, or only what the option "xpath" finds in it. */
bool cli_show_xml(CliSession *session, const CliArgs *args, const char *xml, GError **error);

/* The word of a table ending with NULL: its index, or -1. */
int cli_word_index(const char *word, const char *const *words);

#endif
