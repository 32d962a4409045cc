/* Completion: what could follow the words typed so far. The completion scripts of the shells ask
 * `lodge --complete WORDS...`, whose last word may be begun or empty.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/event-text.h"
#include "cli/session.h"
#include "cli/tools.h"

#include <string.h>

typedef struct Offers {
    CliSession *session;
    const char *begun;
    CliOffer take;
    void *opaque;
} Offers;

static void offer(const Offers *offers, const char *word)
{
    if (word && g_str_has_prefix(word, offers->begun)) {
        offers->take(word, offers->opaque);
    }
}

static void offer_command(const CliCommand *command, void *opaque)
{
    offer(opaque, command->name);
}

static void offer_domains(const Offers *offers, CliValue value)
{
    unsigned flags = value == CLI_VALUE_ACTIVE_DOMAIN     ? 1
                     : value == CLI_VALUE_INACTIVE_DOMAIN ? 2
                                                          : 0;
    LodgeConnection *connection = cli_session_connection(offers->session, NULL);
    LodgeDomain **domains = connection ? lodge_list_domains(connection, flags, NULL, NULL) : NULL;
    for (LodgeDomain **domain = domains; domain && *domain; domain++) {
        offer(offers, (*domain)->name);
    }
    lodge_domains_free(domains);
}

/* Targets of a domain's disks, or MAC addresses of its interfaces. */
static void offer_devices(const Offers *offers, const char *domain_word, CliValue value)
{
    RemoteDomain domain;
    CliSession *session = offers->session;
    if (!domain_word || !cli_session_connection(session, NULL)) {
        return;
    }
    arena_init(&session->arena, ANSWER_LIMIT);
    g_autoptr(XmlDoc) doc = cli_domain_by_word(session, domain_word, &domain, NULL)
                                ? cli_domain_xml(session, &domain, 0, NULL)
                                : NULL;
    xmlNode *devices = doc ? cli_devices(doc) : NULL;
    for (xmlNode *at = devices ? xml_first(devices) : NULL; at; at = xml_next(at)) {
        bool is_disk = value == CLI_VALUE_DISK;
        if (xml_is(at, is_disk ? "disk" : "interface")) {
            g_autofree char *word = is_disk ? cli_child_attr(at, "target", "dev")
                                            : cli_child_attr(at, "mac", "address");
            offer(offers, word);
        }
    }
    arena_clear(&session->arena);
}

static void offer_options(const Offers *offers, const CliCommand *command, char *const *words)
{
    for (const CliOption *option = command->options; option && option->name; option++) {
        g_autofree char *word = g_strconcat("--", option->name, NULL);
        if (!g_strv_contains((const char *const *)words, word)) {
            offer(offers, word);
        }
    }
}

/* @before: the words between the command and the begun one. */
static void offer_value(const Offers *offers, const CliOption *option, char *const *before)
{
    const char *first = *before && **before != '-' ? *before : NULL;
    switch (option->value) {
    case CLI_VALUE_DOMAIN:
    case CLI_VALUE_ACTIVE_DOMAIN:
    case CLI_VALUE_INACTIVE_DOMAIN:
        offer_domains(offers, option->value);
        break;
    case CLI_VALUE_DISK:
    case CLI_VALUE_INTERFACE:
        offer_devices(offers, first, option->value);
        break;
    case CLI_VALUE_EVENT:
        for (unsigned i = 0; i < event_kind_count; i++) {
            offer(offers, event_kinds[i].name);
        }
        break;
    case CLI_VALUE_COMMAND:
        cli_command_foreach(offer_command, (void *)offers);
        break;
    default:
        break; /* the shell offers files */
    }
}

/* The option whose value comes next, or NULL. @words: those before the begun one. */
static const CliOption *awaited(const CliCommand *command, char *const *words)
{
    unsigned taken = 0;
    const CliOption *named = NULL;
    for (; *words; words++) {
        if (named) {
            named = NULL;
        } else if (g_str_has_prefix(*words, "--")) {
            const CliOption *option = cli_command_option(command, *words + 2);
            named = option && option->kind != CLI_FLAG ? option : NULL;
        } else {
            taken++;
        }
    }
    if (named) {
        return named;
    }
    for (const CliOption *option = command->options; option && option->name; option++) {
        bool is_positional = option->kind != CLI_FLAG && !(option->flags & CLI_NAMED);
        if (is_positional && (option->kind == CLI_REST || taken-- == 0)) {
            return option;
        }
    }
    return NULL;
}

void cli_complete(CliSession *session, char *const *words, CliOffer take, void *opaque)
{
    unsigned count = g_strv_length((char **)words);
    Offers offers = { session, count ? words[count - 1] : "", take, opaque };
    if (count <= 1) {
        cli_command_foreach(offer_command, &offers);
        return;
    }
    const CliCommand *command = cli_command_find(words[0]);
    if (!command) {
        return;
    }
    if (g_str_has_prefix(offers.begun, "-")) {
        offer_options(&offers, command, words);
        return;
    }
    g_auto(GStrv) before = g_new0(char *, count);
    for (unsigned i = 1; i + 1 < count; i++) {
        before[i - 1] = g_strdup(words[i]);
    }
    const CliOption *option = awaited(command, before);
    if (option) {
        offer_value(&offers, option, before);
    }
}
