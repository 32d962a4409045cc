/* lodge import-libvirt: takes over the guests that libvirt's own daemon has defined.
 *
 * Reads what libvirtd keeps (DIR/NAME.xml, DIR/autostart/NAME.xml) and defines each guest by the
 * daemon, with copies of its UEFI variables and its TPM's state. libvirt's files stay as they are.
 * Networks, pools, snapshots and saved states are left out. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/import-files.h"
#include "cli/tools.h"

#include "conf/domain/domain.h"
#include "gbase/error.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (8u << 20)
#define SYSTEM_DIR "/etc/libvirt/qemu"
/* VIR_DOMAIN_UNDEFINE_... */
#define UNDEFINE_KEEP_NVRAM (1u << 3)
#define UNDEFINE_KEEP_TPM (1u << 6)

static const CliOption import_options[] = {
    { "directory", CLI_STRING, 0, CLI_VALUE_FILE,
      "libvirt's folder of definitions; " SYSTEM_DIR ", for sessions ~/.config/libvirt/qemu" },
    { "dry-run", CLI_FLAG, 0, CLI_VALUE_ANY, "say what would be done, and do nothing" },
    { "no-autostart", CLI_FLAG, 0, CLI_VALUE_ANY, "leave out the marks for starting by itself" },
    CLI_OPTIONS_END,
};

typedef enum Outcome {
    IMPORTED,
    THERE_ALREADY,
    NAME_TAKEN,
    UUID_TAKEN,
    REFUSED,
} Outcome;

typedef struct Import {
    CliSession *session;
    CliTable *table;
    char *folder;
    ImportPlaces places;
    bool is_dry, no_autostart;
    bool is_lost; /* the connection ended, and there is no other */
    unsigned count[REFUSED + 1];
} Import;

/* What a file defines is looked at without engines; the daemon says whether it has them. */
static const char *any_emulator(void *opaque, DomainVirtType virt, const char *arch)
{
    (void)opaque;
    (void)virt;
    (void)arch;
    return "/usr/bin/qemu-system-x86_64";
}

static const char *same_machine(void *opaque, const char *emulator, const char *arch,
                                const char *machine)
{
    (void)opaque;
    (void)emulator;
    (void)arch;
    return machine ? machine : "pc";
}

static const DomainEnvironment environment = { .default_emulator = any_emulator,
                                               .canonical_machine = same_machine };

/* (transfer full) NULL: @error. */
static char *read_definition(const char *path, GError **error)
{
    struct stat st;
    char *text = NULL;
    if (stat(path, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "it is no file of a definition");
        return NULL;
    }
    g_file_get_contents(path, &text, NULL, error);
    return text;
}

static DomainDef *parse_definition(const char *text, const char *name, GError **error)
{
    DomainDef *def = domain_def_parse(text, DOMAIN_PARSE_INACTIVE, &environment, NULL, error);
    if (def && strcmp(def->name, name) != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "it defines '%s', which is not the file's name", def->name);
        g_clear_pointer(&def, domain_def_free);
    }
    return def;
}

/* Whom the daemon has by this name or UUID. IMPORTED: nobody. @out_other: (transfer full). */
static Outcome find_clash(Import *import, const DomainDef *def, char **out_other)
{
    CliSession *session = import->session;
    RemoteDomainLookupByNameArgs by_name = { def->name };
    RemoteDomainLookupByUuidArgs by_uuid = { def->uuid };
    RemoteDomainLookupByNameRet named;
    RemoteDomainLookupByUuidRet known;
    if (remote_domain_lookup_by_name(cli_client(session), &by_name, &session->arena, &named,
                                     NULL)) {
        char text[UUID_TEXT_SIZE];
        uuid_format(&named.dom.uuid, text);
        *out_other = g_strdup(text);
        return memcmp(&named.dom.uuid, &def->uuid, sizeof(Uuid)) == 0 ? THERE_ALREADY : NAME_TAKEN;
    }
    if (remote_domain_lookup_by_uuid(cli_client(session), &by_uuid, &session->arena, &known,
                                     NULL)) {
        *out_other = g_strdup(known.dom.name);
        return UUID_TAKEN;
    }
    return IMPORTED;
}

static bool is_alive(const Import *import)
{
    return import->session->connection && lodge_is_alive(import->session->connection);
}

/* Both or neither: a definition whose mark cannot be set is taken back. */
static bool define_marked(Import *import, const char *text, bool autostart, GError **error)
{
    CliSession *session = import->session;
    RemoteDomainDefineXmlArgs args = { text };
    RemoteDomainDefineXmlRet ret;
    if (!remote_domain_define_xml(cli_client(session), &args, &session->arena, &ret, error)) {
        return false;
    }
    RemoteDomainSetAutostartArgs mark = { ret.dom, 1 };
    if (autostart && !remote_domain_set_autostart(cli_client(session), &mark, error)) {
        RemoteDomainUndefineFlagsArgs undo = { ret.dom, UNDEFINE_KEEP_NVRAM | UNDEFINE_KEEP_TPM };
        remote_domain_undefine_flags(cli_client(session), &undo, NULL);
        return false;
    }
    return true;
}

/* Whether the daemon has the guest, asked by another connection. False: there is none. */
static bool ask_again(Import *import, const DomainDef *def, bool *out_has)
{
    CliSession *session = import->session;
    RemoteDomainLookupByUuidArgs args = { def->uuid };
    RemoteDomainLookupByUuidRet ret;
    import->is_lost = import->is_lost || !cli_session_connection(session, NULL);
    if (!import->is_lost) {
        *out_has =
            remote_domain_lookup_by_uuid(cli_client(session), &args, &session->arena, &ret, NULL);
        import->is_lost = !*out_has && !is_alive(import);
    }
    return !import->is_lost;
}

/* The connection ended while the guest was being defined or marked: what came of it decides about
 * its files. Returns: whether it is taken over; else @error is extended. */
static bool settle(Import *import, ImportPlan *plan, const DomainDef *def, bool autostart,
                   GError **error)
{
    bool has = false;
    if (!ask_again(import, def, &has)) {
        g_prefix_error(error,
                       "whether the daemon has the guest is not known, so that files that were "
                       "copied stay; import again when it can be asked: ");
        return false;
    }
    if (!has) {
        import_undo(plan);
        return false;
    }
    CliSession *session = import->session;
    RemoteDomainSetAutostartArgs mark = { { .name = def->name, .uuid = def->uuid, .id = -1 }, 1 };
    g_autoptr(GError) reason = NULL;
    if (autostart && !remote_domain_set_autostart(cli_client(session), &mark, &reason)) {
        g_prefix_error(error,
                       "it is defined, but does not start by itself (%s): ", reason->message);
        return false;
    }
    g_clear_error(error);
    return true;
}

static bool is_marked(const Import *import, const char *name)
{
    g_autofree char *file = g_strdup_printf("%s.xml", name);
    g_autofree char *path = g_build_filename(import->folder, "autostart", file, NULL);
    return !import->no_autostart && g_file_test(path, G_FILE_TEST_EXISTS);
}

/* The guest with its files, or nothing. */
static bool define(Import *import, ImportPlan *plan, const DomainDef *def, const char *text,
                   bool autostart, GError **error)
{
    g_autofree char *changed =
        plan->nvram_named ? domain_text_set_nvram(text, plan->nvram_named, error) : g_strdup(text);
    if (!changed || !import_copy(plan, error)) {
        return false;
    }
    if (define_marked(import, changed, autostart, error)) {
        return true;
    }
    if (!is_alive(import)) {
        return settle(import, plan, def, autostart, error);
    }
    import_undo(plan);
    return false;
}

/* What becomes of a guest that nothing is in the way of. */
static Outcome take_over(Import *import, const DomainDef *def, const char *text, char **out_note)
{
    g_autoptr(GError) reason = NULL;
    ImportPlan plan;
    bool autostart = is_marked(import, def->name);
    bool ok = import_plan(&import->places, def, &plan, &reason) &&
              (import->is_dry || define(import, &plan, def, text, autostart, &reason));
    if (ok && autostart) {
        g_ptr_array_insert(plan.notes, 0, g_strdup("starts by itself"));
    }
    g_ptr_array_add(plan.notes, NULL);
    *out_note = !ok                   ? g_strdup(reason->message)
                : plan.notes->len > 1 ? g_strjoinv("; ", (char **)plan.notes->pdata)
                                      : NULL;
    import_plan_done(&plan);
    return ok ? IMPORTED : REFUSED;
}

static Outcome import_one(Import *import, const char *name, char **out_note)
{
    g_autoptr(GError) reason = NULL;
    g_autofree char *file = g_strdup_printf("%s.xml", name);
    g_autofree char *path = g_build_filename(import->folder, file, NULL);
    g_autofree char *text = read_definition(path, &reason);
    g_autoptr(DomainDef) def = text ? parse_definition(text, name, &reason) : NULL;
    g_autofree char *other = NULL;
    if (!def) {
        *out_note = g_strdup(reason->message);
        return REFUSED;
    }
    import->is_lost = import->is_lost || !cli_session_connection(import->session, NULL);
    Outcome outcome = import->is_lost ? REFUSED : find_clash(import, def, &other);
    if (outcome == REFUSED || (outcome == IMPORTED && !is_alive(import))) {
        *out_note = g_strdup("not tried: the connection to the daemon has ended");
        return REFUSED;
    }
    switch (outcome) {
    case NAME_TAKEN:
        *out_note =
            g_strdup_printf("another guest of this name has UUID %s; rename one of the two", other);
        break;
    case UUID_TAKEN:
        *out_note = g_strdup_printf("guest '%s' has its UUID", other);
        break;
    case IMPORTED:
        return take_over(import, def, text, out_note);
    default:
        break;
    }
    return outcome;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of the definitions, sorted. (transfer full) NULL: @error. */
static GPtrArray *list_names(const char *folder, GError **error)
{
    GDir *dir = g_dir_open(folder, 0, error);
    if (!dir) {
        return NULL;
    }
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    const char *name;
    while ((name = g_dir_read_name(dir))) {
        if (name[0] != '.' && g_str_has_suffix(name, ".xml")) {
            g_ptr_array_add(names, g_strndup(name, strlen(name) - strlen(".xml")));
        }
    }
    g_dir_close(dir);
    g_ptr_array_sort(names, compare_names);
    return names;
}

/* Where libvirt keeps the guests of the kind that the daemon has. (transfer full) */
static char *default_folder(CliSession *session)
{
    char *uri = lodge_get_uri(session->connection, NULL);
    bool is_session = uri && strstr(uri, "/session");
    lodge_free(uri);
    return is_session ? g_build_filename(g_get_user_config_dir(), "libvirt", "qemu", NULL)
                      : g_strdup(SYSTEM_DIR);
}

/* "/etc/libvirt" is taken for the folder of definitions in it. (transfer full) */
static char *choose_folder(CliSession *session, const CliArgs *args)
{
    const char *word = cli_args_string(args, "directory");
    if (!word) {
        return default_folder(session);
    }
    char *inner = g_build_filename(word, "qemu", NULL);
    if (g_file_test(inner, G_FILE_TEST_IS_DIR)) {
        return inner;
    }
    g_free(inner);
    return g_strdup(word);
}

static bool summarize(const Import *import, GError **error)
{
    const unsigned *n = import->count;
    unsigned failed = n[NAME_TAKEN] + n[UUID_TAKEN] + n[REFUSED];
    cli_note(import->session, "%u %s, %u there already, %u not imported", n[IMPORTED],
             import->is_dry ? "would be imported" : "imported", n[THERE_ALREADY], failed);
    if (failed) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_FAILED,
                    "%u of the guests in '%s' %s not imported", failed, import->folder,
                    import->is_dry ? "would be" : "are");
    }
    return failed == 0;
}

static bool run_import(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const headings[] = { "Name", "Outcome", "Note", NULL };
    static const char *const done[] = { "imported", "there already", "name taken", "UUID taken",
                                        "refused" };
    g_autoptr(CliTable) table = cli_table_new(headings);
    g_autofree char *folder = choose_folder(session, args);
    g_autoptr(GPtrArray) names = list_names(folder, error);
    Import import = { .session = session,
                      .table = table,
                      .folder = folder,
                      .is_dry = cli_args_flag(args, "dry-run"),
                      .no_autostart = cli_args_flag(args, "no-autostart") };
    if (!names) {
        return cli_fail(error, "Failed to read libvirt's definitions");
    }
    g_autofree char *socket = rpc_client_socket_path(cli_client(session));
    import_places_init(&import.places, folder, socket);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *note = NULL;
        Outcome outcome = import_one(&import, name, &note);
        import.count[outcome]++;
        cli_table_add(table, name,
                      outcome == IMPORTED && import.is_dry ? "would import" : done[outcome], note);
    }
    import_places_done(&import.places);
    cli_show_table(session, table);
    return summarize(&import, error);
}

const CliCommand cli_import_commands[] = {
    { "import-libvirt", "take over the guests that libvirt's own daemon has defined",
      "Each guest is defined with its mark for starting by itself, its UEFI variables and its "
      "TPM's\n"
      "state, or not at all. Variables in libvirt's own folder and states of TPMs are copied, "
      "never\n"
      "over files that are there; variables elsewhere stay where <nvram> says. Saved memory and\n"
      "snapshots are not taken over, which is noted. A guest that is there already is left as it\n"
      "is, so the command can be repeated. libvirt's files stay: end its guests before this, and\n"
      "let its daemon go before guests are started here. The exit status is 1 if one is not "
      "imported.",
      import_options, 0, run_import },
    { NULL },
};
