/* Dumps of guest memory: HMP's x and xp (formats x, d, u, o, c and sizes b, h, w, g; no
 * disassembly), QMP's memsave and pmemsave. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/fd.h"
#include "base/int-math.h"
#include "gbase/error.h"
#include "gbase/fd-sets.h"
#include "gbase/strutil.h"
#include "vmm/monitor/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define ITEMS_MAX 65536
#define PAGE_BYTES 4096

typedef struct DumpFormat {
    unsigned count;
    char kind;
    unsigned size; /* bytes of an item */
} DumpFormat;

/* "/COUNT FORMAT SIZE" without blanks between; *text moves behind it. */
static bool parse_format(const char **text, DumpFormat *out)
{
    const char *at = *text;
    *out = (DumpFormat){ .count = 1, .kind = 'x', .size = 4 };
    if (*at != '/') {
        return true;
    }
    at++;
    if (g_ascii_isdigit(*at)) {
        out->count = 0;
        for (; g_ascii_isdigit(*at); at++) {
            out->count = MIN(out->count * 10 + (unsigned)(*at - '0'), ITEMS_MAX);
        }
    }
    for (; *at && *at != ' '; at++) {
        static const char sizes[] = "bhwg";
        const char *size = strchr(sizes, *at);
        if (size) {
            out->size = 1u << (size - sizes);
        } else if (strchr("xduoc", *at)) {
            out->kind = *at;
            out->size = *at == 'c' ? 1 : out->size;
        } else {
            return false;
        }
    }
    *text = at;
    return true;
}

static bool parse_address(MonitorSession *session, const char *text, uint64_t *out)
{
    const MonitorTarget *target = &session->set->target;
    g_autofree char *word = g_strstrip(g_strdup(text));
    guint64 value;
    if (*word == '$') {
        g_autofree CpuState *state = g_new0(CpuState, 1);
        target->vcpu_state(target->opaque, session->current_vcpu, state);
        return inspect_register(state, word + 1, out);
    }
    if (!str_parse_u64(word, &value)) {
        return false;
    }
    *out = value;
    return true;
}

static bool read_bytes(MonitorSession *session, uint64_t addr, bool is_virtual, uint8_t *buf,
                       size_t length)
{
    const MonitorTarget *target = &session->set->target;
    while (length) {
        size_t part = MIN(length, PAGE_BYTES - addr % PAGE_BYTES);
        GuestAddr physical = addr;
        if (is_virtual &&
            !target->translate(target->opaque, session->current_vcpu, addr, &physical)) {
            return false;
        }
        if (!target->read_physical(target->opaque, physical, buf, part)) {
            return false;
        }
        addr += part;
        buf += part;
        length -= part;
    }
    return true;
}

static uint64_t item_value(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

static void print_item(const DumpFormat *format, uint64_t value, GString *out)
{
    unsigned shift = 64 - 8 * format->size;
    switch (format->kind) {
    case 'd':
        g_string_append_printf(out, " %" PRId64, (int64_t)(value << shift) >> shift);
        break;
    case 'u':
        g_string_append_printf(out, " %" PRIu64, value);
        break;
    case 'o':
        g_string_append_printf(out, " 0%" PRIo64, value);
        break;
    case 'c':
        g_string_append_printf(out, g_ascii_isprint((char)value) ? " '%c'" : " '\\x%02x'",
                               (int)(value & 0xff));
        break;
    default:
        g_string_append_printf(out, " 0x%0*" PRIx64, (int)format->size * 2, value);
        break;
    }
}

void dump_memory(MonitorSession *session, const char *arguments, bool is_virtual, GString *out)
{
    DumpFormat format;
    uint64_t addr;
    if (!parse_format(&arguments, &format) || !parse_address(session, arguments, &addr)) {
        g_string_append(out, "Error: /FORMAT ADDRESS is needed, as in /16xw 0x1000 or /4xg $rsp\n");
        return;
    }
    unsigned per_line = 16 / format.size;
    for (unsigned i = 0; i < format.count; i++) {
        uint8_t bytes[8];
        if (i % per_line == 0) {
            g_string_append_printf(out, "%s%016" PRIx64 ":", i ? "\n" : "", addr);
        }
        if (!read_bytes(session, addr, is_virtual, bytes, format.size)) {
            g_string_append(out, "\nCannot access memory\n");
            return;
        }
        print_item(&format, item_value(bytes, format.size), out);
        addr += format.size;
    }
    g_string_append_c(out, '\n');
}

/* --- into files --- */

static bool save(MonitorSession *session, uint64_t addr, uint64_t size, bool is_virtual, int fd,
                 const char *path, GError **error)
{
    uint8_t buf[PAGE_BYTES];
    while (size) {
        size_t part = MIN(size, PAGE_BYTES - addr % PAGE_BYTES);
        if (!read_bytes(session, addr, is_virtual, buf, part)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "there is no guest memory at 0x%" PRIx64, addr);
            return false;
        }
        int rc = fd_write_full(fd, buf, part);
        if (rc < 0) {
            lodge_error_set_errno(error, rc, "cannot write to '%s'", path);
            return false;
        }
        addr += part;
        size -= part;
    }
    return true;
}

static JsonNode *save_memory(MonitorSession *session, JsonObject *arguments, bool is_virtual,
                             GError **error)
{
    const char *path = json_object_get_string_member(arguments, "filename");
    gint64 addr = json_object_get_int_member(arguments, "val");
    gint64 size = json_object_get_int_member(arguments, "size");
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    if (size < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'size' expects a non-negative value");
        return NULL;
    }
    g_autofree char *name = fd_sets_resolve(session->set->target.fds, path, flags, error);
    if (!name) {
        return NULL;
    }
    autofd fd = fd_open(name, flags, 0600);
    if (fd < 0) {
        lodge_error_set_errno(error, fd, "cannot open '%s'", path);
        return NULL;
    }
    save(session, (uint64_t)addr, (uint64_t)size, is_virtual, fd, path, error);
    return NULL;
}

JsonNode *qmp_run_memsave(MonitorSession *session, JsonObject *arguments, GError **error)
{
    gint64 vcpu = json_object_get_int_member_with_default(arguments, "cpu-index", 0);
    if (vcpu < 0 || vcpu >= session->set->target.vcpu_count) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'cpu-index' expects a CPU number");
        return NULL;
    }
    unsigned before = session->current_vcpu;
    session->current_vcpu = (unsigned)vcpu;
    save_memory(session, arguments, true, error);
    session->current_vcpu = before;
    return NULL;
}

JsonNode *qmp_run_pmemsave(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return save_memory(session, arguments, false, error);
}
