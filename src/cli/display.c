/* Commands about consoles and screens.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool must_run(const RemoteDomain *domain, GError **error)
{
    if (domain->id < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "Domain is not running");
        return false;
    }
    return true;
}

static const CliOption console_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "devname", CLI_STRING, 0, CLI_VALUE_ANY, "alias of the device" },
    { "force", CLI_FLAG, 0, CLI_VALUE_ANY, "send away who is attached" },
    { "resume", CLI_FLAG, 0, CLI_VALUE_ANY, "let it run once attached" },
    { "safe", CLI_FLAG, 0, CLI_VALUE_ANY, "only where that is done safely" },
    CLI_OPTIONS_END,
};

static bool run_console(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit bits[] = { { "force", 1 }, { "safe", 2 }, { NULL } };
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    if (domain.id < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "The domain is not running");
        return false;
    }
    return cli_run_console(session, &domain, cli_args_string(args, "devname"),
                           cli_args_bits(args, bits), cli_args_flag(args, "resume"), error);
}

static const CliOption ttyconsole_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    CLI_OPTIONS_END,
};

static bool run_ttyconsole(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    g_autoptr(XmlDoc) doc = cli_domain_xml(session, &domain, 0, error);
    xmlNode *devices = doc ? cli_devices(doc) : NULL;
    xmlNode *console = devices ? xml_child(devices, "console") : NULL;
    g_autofree char *tty = console ? xml_attr(console, "tty") : NULL;
    if (tty) {
        cli_print(session, "%s", tty);
    } else if (doc && session->is_json) {
        /* virsh is silent. */
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "domain '%s' has no terminal of a console%s", domain.name,
                    domain.id < 0 ? ": it is not running" : "");
    }
    return doc && tty;
}

/* Graphics */

/* "[::1]" for addresses with colons. (transfer full) */
static char *url_host(const char *address)
{
    return strchr(address, ':') ? g_strdup_printf("[%s]", address) : g_strdup(address);
}

/* The host to connect to: a wildcard address is this host. (transfer full) */
static char *graphics_host(const xmlNode *graphics)
{
    g_autofree char *listen = xml_attr(graphics, "listen");
    g_autofree char *inner = cli_child_attr(graphics, "listen", "address");
    const char *address = inner ? inner : listen;
    bool is_wild = !address || strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
    return is_wild ? g_strdup("localhost") : url_host(address);
}

/* vnc://:password@host:port */
static char *graphics_url(const xmlNode *graphics, const char *type, bool with_password)
{
    g_autofree char *port_text = xml_attr(graphics, "port");
    g_autofree char *tls_text = xml_attr(graphics, "tlsPort");
    g_autofree char *password = with_password ? xml_attr(graphics, "passwd") : NULL;
    g_autofree char *socket = xml_attr(graphics, "socket");
    g_autofree char *inner_socket = cli_child_attr(graphics, "listen", "socket");
    const char *path = socket ? socket : inner_socket;
    gint64 port = port_text ? g_ascii_strtoll(port_text, NULL, 10) : 0;
    gint64 tls = tls_text ? g_ascii_strtoll(tls_text, NULL, 10) : 0;
    if (path) {
        return g_strdup_printf("%s+unix://%s", type, path);
    }
    if (port <= 0 && tls <= 0) {
        return NULL;
    }
    g_autofree char *host = graphics_host(graphics);
    bool is_vnc = strcmp(type, "vnc") == 0;
    GString *url = g_string_new(NULL);
    g_string_printf(url, "%s://", type);
    if (password && is_vnc) {
        g_string_append_printf(url, ":%s@", password);
    }
    g_string_append(url, host);
    if (port > 0) {
        g_string_append_printf(url, ":%" G_GINT64_FORMAT, is_vnc ? port - 5900 : port);
    }
    bool has_query = tls > 0;
    if (tls > 0) {
        g_string_append_printf(url, "?tls-port=%" G_GINT64_FORMAT, tls);
    }
    if (password && strcmp(type, "spice") == 0) {
        g_string_append_printf(url, "%cpassword=%s", has_query ? '&' : '?', password);
    }
    return g_string_free(url, FALSE);
}

static const CliOption domdisplay_options[] = {
    CLI_DOMAIN_OPTION,
    { "include-password", CLI_FLAG, 0, CLI_VALUE_ANY, "with the password" },
    { "type", CLI_STRING, 0, CLI_VALUE_ANY, "vnc, spice, rdp" },
    { "all", CLI_FLAG, 0, CLI_VALUE_ANY, "all of them" },
    CLI_OPTIONS_END,
};

static bool run_domdisplay(CliSession *session, const CliArgs *args, GError **error)
{
    const char *wanted = cli_args_string(args, "type");
    bool all = cli_args_flag(args, "all");
    bool with_password = cli_args_flag(args, "include-password");
    RemoteDomain domain;
    unsigned found = 0;
    if (!cli_domain(session, args, &domain, error) || !must_run(&domain, error)) {
        return false;
    }
    g_autoptr(XmlDoc) doc = cli_domain_xml(session, &domain, with_password ? 1 : 0, error);
    xmlNode *devices = doc ? cli_devices(doc) : NULL;
    for (xmlNode *at = devices ? xml_first(devices) : NULL; at; at = xml_next(at)) {
        g_autofree char *type = xml_attr(at, "type");
        if (!xml_is(at, "graphics") || !type || (wanted && strcmp(wanted, type) != 0)) {
            continue;
        }
        g_autofree char *url = graphics_url(at, type, with_password);
        if (url && (all || found == 0)) {
            cli_print(session, "%s", url);
            found++;
        }
    }
    if (doc && found == 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    wanted ? "No graphical display with type '%s' found"
                           : "No graphical display found",
                    wanted);
    }
    return found > 0;
}

static const CliOption vncdisplay_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    CLI_OPTIONS_END,
};

static bool run_vncdisplay(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error) || !must_run(&domain, error)) {
        return false;
    }
    g_autoptr(XmlDoc) doc = cli_domain_xml(session, &domain, 0, error);
    xmlNode *devices = doc ? cli_devices(doc) : NULL;
    for (xmlNode *at = devices ? xml_first(devices) : NULL; at; at = xml_next(at)) {
        g_autofree char *type = xml_attr(at, "type");
        g_autofree char *port_text = xml_attr(at, "port");
        gint64 port = port_text ? g_ascii_strtoll(port_text, NULL, 10) : -1;
        if (xml_is(at, "graphics") && g_strcmp0(type, "vnc") == 0 && port > 0) {
            g_autofree char *listen = xml_attr(at, "listen");
            bool is_any = !listen || strcmp(listen, "0.0.0.0") == 0 || strcmp(listen, "::") == 0;
            g_autofree char *host = is_any ? g_strdup("") : url_host(listen);
            cli_print(session, "%s:%" G_GINT64_FORMAT, host, port - 5900);
            return true;
        }
    }
    if (doc) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "Failed to get VNC port. Is this domain using VNC?");
    }
    return false;
}

static const CliOption screenshot_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "file", CLI_STRING, 0, CLI_VALUE_FILE, "where to; made up if left out" },
    { "screen", CLI_NUMBER, 0, CLI_VALUE_ANY, "the screen's number" },
    CLI_OPTIONS_END,
};

static const char *extension_of(const char *mime)
{
    return strcmp(mime, "image/png") == 0                 ? ".png"
           : strcmp(mime, "image/x-portable-pixmap") == 0 ? ".ppm"
                                                          : "";
}

static bool copy_stream(RpcClientStream *stream, int fd, const char *path, GError **error)
{
    char data[65536];
    gssize length;
    while ((length = rpc_client_stream_read(stream, data, sizeof(data), error)) > 0) {
        for (gssize done = 0; done < length;) {
            ssize_t part = write(fd, data + done, (size_t)(length - done));
            if (part < 0 && errno != EINTR) {
                lodge_error_set_errno(error, errno, "cannot write to '%s'", path);
                return false;
            }
            done += MAX(part, 0);
        }
    }
    return length == 0 && rpc_client_stream_finish(stream, error);
}

static bool run_screenshot(CliSession *session, const CliArgs *args, GError **error)
{
    gint64 screen = 0;
    RemoteDomainScreenshotArgs call = { .flags = 0 };
    RemoteDomainScreenshotRet ret;
    if (!cli_args_int(args, "screen", 0, G_MAXUINT32, &screen, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    call.screen = (uint32_t)screen;
    RpcClientStream *stream =
        rpc_client_open_stream(cli_client(session), &remote_program, REMOTE_PROC_DOMAIN_SCREENSHOT,
                               &call, &session->arena, &ret, error);
    if (!stream) {
        return cli_fail(error, "could not take a screenshot of %s", call.dom.name);
    }
    const char *mime = ret.mime ? ret.mime : "";
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *time = g_date_time_format(now, "%Y-%m-%d-%H:%M:%S");
    g_autofree char *path = cli_args_string(args, "file")
                                ? g_strdup(cli_args_string(args, "file"))
                                : g_strconcat(call.dom.name, "-", time, extension_of(mime), NULL);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool ok = fd >= 0 && copy_stream(stream, fd, path, error);
    if (fd < 0) {
        lodge_error_set_errno(error, errno, "cannot create file %s", path);
    } else {
        close(fd);
    }
    rpc_client_stream_free(stream);
    if (ok) {
        cli_note_open(session, "Screenshot saved to %s, with type of %s", path, mime);
    }
    return ok;
}

const CliCommand cli_display_commands[] = {
    { "console", "attach the terminal to a guest's console",
      "The escape character (^], or that of -e) leaves it.", console_options, CLI_BARE,
      run_console },
    { "domdisplay", "print the address of a guest's screen", NULL, domdisplay_options, 0,
      run_domdisplay },
    { "screenshot", "save a picture of a guest's screen", NULL, screenshot_options, 0,
      run_screenshot },
    { "ttyconsole", "print the terminal of a guest's console", NULL, ttyconsole_options, 0,
      run_ttyconsole },
    { "vncdisplay", "print the number of a guest's VNC display", NULL, vncdisplay_options, 0,
      run_vncdisplay },
    { NULL },
};
