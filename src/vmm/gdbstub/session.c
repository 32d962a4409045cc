/* The commands of GDB's remote protocol, as a table.
 *
 * The stub acts only while the target stands; while it runs, nothing but an interrupt is heard.
 * Threads are vCPUs, numbered from 1. Memory is read and written through the page tables of the
 * chosen vCPU, a page at a time, RAM only. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/gdbstub/session.h"

#include "vmm/gdbstub/packet.h"
#include "vmm/gdbstub/registers.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define PAGE_BYTES 4096
#define POINTS_MAX 64
#define TRANSFER_MAX ((GDB_PACKET_MAX - 16) / 2)
#define SIGNAL_INTERRUPT 2
#define SIGNAL_TRAP 5
#define ALL_VCPUS (-1)

/* A point as the debugger set it. */
typedef struct SessionPoint {
    char kind; /* the digit of its Z packet */
    DebugPoint point;
} SessionPoint;

struct GdbSession {
    const GdbTarget *target;
    GdbSend send;
    void *opaque;
    GdbReader reader;
    bool without_acks;
    bool tells_point_kind; /* the debugger knows swbreak and hwbreak */
    bool is_running;
    bool is_gone;    /* the guest or the debugger's interest in it ended */
    unsigned thread; /* vCPU of g, m, ... */
    int step_thread; /* vCPU of an old-style c or s, or ALL_VCPUS */
    unsigned stopped_thread;
    int signal;
    SessionPoint points[POINTS_MAX];
    unsigned point_count;
    char *last_frame; /* for a repetition; owned */
    size_t last_frame_length;
    char *xml; /* owned */
};

static void send_body(GdbSession *s, const char *body, size_t length)
{
    g_free(s->last_frame);
    s->last_frame = gdb_packet_frame(body, length, &s->last_frame_length);
    s->send(s->opaque, s->last_frame, s->last_frame_length);
}

static void reply(GdbSession *s, const char *text)
{
    send_body(s, text, strlen(text));
}

static void reply_error(GdbSession *s, int errnum)
{
    char text[8];
    g_snprintf(text, sizeof(text), "E%02x", (unsigned)(errnum < 0 ? -errnum : errnum) & 0xff);
    reply(s, text);
}

static Vcpu *vcpu_at(const GdbSession *s, unsigned index)
{
    return s->target->vcpu(s->target->opaque, index);
}

/* ---- memory ---- */

/* The guest-physical place of a guest-virtual address, and how far its page goes. */
static bool locate(const GdbSession *s, uint64_t address, GuestAddr *out_physical,
                   size_t *out_length)
{
    *out_length = PAGE_BYTES - (address & (PAGE_BYTES - 1));
    return s->target->accel->vcpu_translate(vcpu_at(s, s->thread), address, out_physical);
}

/* Returns the bytes read before the first that is no RAM. */
static size_t read_memory(const GdbSession *s, uint64_t address, uint8_t *out, size_t length)
{
    size_t done = 0;
    while (done < length) {
        GuestAddr physical;
        size_t part;
        if (!locate(s, address + done, &physical, &part)) {
            break;
        }
        part = MIN(part, length - done);
        if (guest_memory_read(s->target->memory, physical, out + done, part) < 0) {
            break;
        }
        done += part;
    }
    return done;
}

static bool write_memory(const GdbSession *s, uint64_t address, const uint8_t *bytes, size_t length)
{
    size_t done = 0;
    while (done < length) {
        GuestAddr physical;
        size_t part;
        if (!locate(s, address + done, &physical, &part)) {
            return false;
        }
        part = MIN(part, length - done);
        if (guest_memory_write(s->target->memory, physical, bytes + done, part) < 0) {
            return false;
        }
        done += part;
    }
    return true;
}

/* "ADDRESS,LENGTH" */
static bool take_range(const char **text, uint64_t *out_address, uint64_t *out_length)
{
    if (!gdb_take_number(text, out_address) || *(*text)++ != ',') {
        return false;
    }
    return gdb_take_number(text, out_length);
}

static void command_read_memory(GdbSession *s, const char *args, const char *end)
{
    uint64_t address, length;
    if (!take_range(&args, &address, &length) || *args) {
        reply_error(s, EINVAL);
        return;
    }
    uint8_t bytes[TRANSFER_MAX];
    size_t got = read_memory(s, address, bytes, MIN(length, sizeof(bytes)));
    if (!got && length) {
        reply_error(s, EFAULT);
        return;
    }
    g_autoptr(GString) body = g_string_new(NULL);
    gdb_append_hex(body, bytes, got);
    send_body(s, body->str, body->len);
}

static void write_and_reply(GdbSession *s, uint64_t address, const uint8_t *bytes, size_t length)
{
    if (write_memory(s, address, bytes, length)) {
        reply(s, "OK");
    } else {
        reply_error(s, EFAULT);
    }
}

static void command_write_memory(GdbSession *s, const char *args, const char *end)
{
    uint64_t address, length;
    uint8_t bytes[TRANSFER_MAX];
    if (!take_range(&args, &address, &length) || *args++ != ':' || length > sizeof(bytes) ||
        !gdb_take_hex(&args, bytes, length) || *args) {
        reply_error(s, EINVAL);
        return;
    }
    write_and_reply(s, address, bytes, length);
}

static void command_write_binary(GdbSession *s, const char *args, const char *end)
{
    uint64_t address, length;
    uint8_t bytes[GDB_PACKET_MAX];
    if (!take_range(&args, &address, &length) || *args++ != ':' || length > sizeof(bytes) ||
        gdb_unescape(args, end, bytes, sizeof(bytes)) != (ssize_t)length) {
        reply_error(s, EINVAL);
        return;
    }
    write_and_reply(s, address, bytes, length);
}

/* ---- registers ---- */

static void command_read_registers(GdbSession *s, const char *args, const char *end)
{
    CpuState state;
    g_autoptr(GString) body = g_string_new(NULL);
    s->target->accel->vcpu_get_state(vcpu_at(s, s->thread), &state);
    for (unsigned i = 0; i < gdb_register_count(); i++) {
        uint8_t value[GDB_REGISTER_BYTES_MAX];
        unsigned size = gdb_register_read(&state, i, value);
        gdb_append_hex(body, value, size);
    }
    send_body(s, body->str, body->len);
}

static void store_state(GdbSession *s, const CpuState *state)
{
    int rc = s->target->accel->vcpu_set_state(vcpu_at(s, s->thread), state);
    if (rc < 0) {
        reply_error(s, rc);
    } else {
        reply(s, "OK");
    }
}

static void command_write_registers(GdbSession *s, const char *args, const char *end)
{
    CpuState state;
    s->target->accel->vcpu_get_state(vcpu_at(s, s->thread), &state);
    for (unsigned i = 0; i < gdb_register_count() && *args; i++) {
        uint8_t value[GDB_REGISTER_BYTES_MAX];
        if (!gdb_take_hex(&args, value, gdb_register_size(i))) {
            reply_error(s, EINVAL);
            return;
        }
        gdb_register_write(&state, i, value);
    }
    store_state(s, &state);
}

static void command_read_register(GdbSession *s, const char *args, const char *end)
{
    CpuState state;
    uint64_t number;
    uint8_t value[GDB_REGISTER_BYTES_MAX];
    if (!gdb_take_number(&args, &number) || *args || number >= gdb_register_count()) {
        reply_error(s, EINVAL);
        return;
    }
    g_autoptr(GString) body = g_string_new(NULL);
    s->target->accel->vcpu_get_state(vcpu_at(s, s->thread), &state);
    unsigned size = gdb_register_read(&state, (unsigned)number, value);
    gdb_append_hex(body, value, size);
    send_body(s, body->str, body->len);
}

static void command_write_register(GdbSession *s, const char *args, const char *end)
{
    CpuState state;
    uint64_t number;
    uint8_t value[GDB_REGISTER_BYTES_MAX];
    if (!gdb_take_number(&args, &number) || *args++ != '=' || number >= gdb_register_count() ||
        !gdb_take_hex(&args, value, gdb_register_size((unsigned)number)) || *args) {
        reply_error(s, EINVAL);
        return;
    }
    s->target->accel->vcpu_get_state(vcpu_at(s, s->thread), &state);
    gdb_register_write(&state, (unsigned)number, value);
    store_state(s, &state);
}

/* ---- points ---- */

/* Gives every vCPU the present points, and @stepping (or ALL_VCPUS: none) the wish to step. */
static int apply_points(const GdbSession *s, int stepping)
{
    DebugPoint points[POINTS_MAX];
    int rc = 0;
    for (unsigned i = 0; i < s->point_count; i++) {
        points[i] = s->points[i].point;
    }
    for (unsigned i = 0; i < s->target->vcpu_count; i++) {
        int one = s->target->accel->vcpu_set_debug(vcpu_at(s, i), points, s->point_count,
                                                   (int)i == stepping);
        rc = rc < 0 ? rc : one;
    }
    return rc;
}

/* "KIND,ADDRESS,LENGTH", for 0 and 1 LENGTH means nothing on x86. */
static bool take_point(const char *args, SessionPoint *out)
{
    uint64_t address, length;
    char kind = *args;
    if (kind < '0' || kind > '4' || args[1] != ',') {
        return false;
    }
    args += 2;
    if (!take_range(&args, &address, &length) || (*args && *args != ';')) {
        return false;
    }
    bool is_breakpoint = kind <= '1';
    if (!is_breakpoint && (length == 0 || length > PAGE_BYTES)) {
        return false;
    }
    *out = (SessionPoint){ .kind = kind };
    out->point.address = address;
    out->point.length = is_breakpoint ? 1 : (uint32_t)length;
    out->point.kind = is_breakpoint ? DEBUG_BREAKPOINT
                      : kind == '2' ? DEBUG_WATCH_WRITE
                                    : DEBUG_WATCH_ACCESS; /* x86 has no read-only watch */
    return true;
}

static int find_point(const GdbSession *s, const SessionPoint *wanted)
{
    for (unsigned i = 0; i < s->point_count; i++) {
        if (s->points[i].kind == wanted->kind &&
            s->points[i].point.address == wanted->point.address &&
            s->points[i].point.length == wanted->point.length) {
            return (int)i;
        }
    }
    return -1;
}

static void command_insert_point(GdbSession *s, const char *args, const char *end)
{
    SessionPoint point;
    if (!take_point(args, &point)) {
        reply_error(s, EINVAL);
        return;
    }
    if (find_point(s, &point) >= 0) {
        reply(s, "OK"); /* the protocol wants it to be repeatable */
        return;
    }
    if (s->point_count == POINTS_MAX) {
        reply_error(s, ENOSPC);
        return;
    }
    s->points[s->point_count++] = point;
    int rc = apply_points(s, ALL_VCPUS);
    if (rc < 0) {
        s->point_count--;
        (void)apply_points(s, ALL_VCPUS);
        reply_error(s, rc);
        return;
    }
    reply(s, "OK");
}

static void command_remove_point(GdbSession *s, const char *args, const char *end)
{
    SessionPoint point;
    if (!take_point(args, &point)) {
        reply_error(s, EINVAL);
        return;
    }
    int i = find_point(s, &point);
    if (i >= 0) {
        s->points[i] = s->points[--s->point_count];
        (void)apply_points(s, ALL_VCPUS);
    }
    reply(s, "OK");
}

/* ---- threads ---- */

/* A thread id of the protocol: -1 all, 0 any, else a number from 1. False: no such thread. */
static bool take_thread(const GdbSession *s, const char **text, int *out_index)
{
    uint64_t number;
    if (g_str_has_prefix(*text, "-1")) {
        *text += 2;
        *out_index = ALL_VCPUS;
        return true;
    }
    if (!gdb_take_number(text, &number) || number > s->target->vcpu_count) {
        return false;
    }
    *out_index = number ? (int)number - 1 : (int)s->stopped_thread;
    return true;
}

static void command_choose_thread(GdbSession *s, const char *args, const char *end)
{
    int index;
    char use = *args;
    if (!use) {
        reply_error(s, EINVAL);
        return;
    }
    args++;
    if (!take_thread(s, &args, &index) || *args) {
        reply_error(s, EINVAL);
        return;
    }
    if (use == 'g') {
        s->thread = index < 0 ? s->stopped_thread : (unsigned)index;
    } else if (use == 'c') {
        s->step_thread = index;
    } else {
        reply_error(s, EINVAL);
        return;
    }
    reply(s, "OK");
}

static void command_thread_alive(GdbSession *s, const char *args, const char *end)
{
    int index;
    if (take_thread(s, &args, &index) && !*args) {
        reply(s, "OK");
    } else {
        reply_error(s, EINVAL);
    }
}

static void reply_thread_list(GdbSession *s)
{
    g_autoptr(GString) body = g_string_new("m");
    for (unsigned i = 0; i < s->target->vcpu_count; i++) {
        g_string_append_printf(body, "%s%x", i ? "," : "", i + 1);
    }
    send_body(s, body->str, body->len);
}

static void reply_thread_info(GdbSession *s, const char *args)
{
    static const char *const run_states[] = { "runnable", "halted", "waiting for SIPI" };
    CpuState state;
    int index;
    if (!take_thread(s, &args, &index) || index < 0) {
        reply_error(s, EINVAL);
        return;
    }
    s->target->accel->vcpu_get_state(vcpu_at(s, (unsigned)index), &state);
    g_autofree char *text = g_strdup_printf("CPU %d [%s]", index, run_states[state.run_state]);
    g_autoptr(GString) body = g_string_new(NULL);
    gdb_append_hex(body, text, strlen(text));
    send_body(s, body->str, body->len);
}

/* ---- running ---- */

static void report_stop(GdbSession *s, const char *reason)
{
    g_autofree char *text =
        g_strdup_printf("T%02xthread:%x;%s", (unsigned)s->signal, s->stopped_thread + 1, reason);
    reply(s, text);
}

static void command_why_stopped(GdbSession *s, const char *args, const char *end)
{
    report_stop(s, "");
}

/* @stepping: the vCPU that makes one step, or ALL_VCPUS; @others_run: while it does. */
static void run(GdbSession *s, int stepping, bool others_run)
{
    int rc = apply_points(s, stepping);
    if (rc < 0) {
        reply_error(s, rc);
        return;
    }
    s->is_running = true;
    s->target->resume(s->target->opaque, others_run ? ALL_VCPUS : stepping);
}

/* c and s, with or without an address to go on at; C and S with a signal that nobody gets. */
static void old_style_run(GdbSession *s, const char *args, bool is_step, bool has_signal)
{
    uint64_t number;
    if (has_signal) {
        if (!gdb_take_number(&args, &number)) {
            reply_error(s, EINVAL);
            return;
        }
        args += *args == ';';
    }
    unsigned index = s->step_thread < 0 ? s->stopped_thread : (unsigned)s->step_thread;
    if (*args) {
        CpuState state;
        if (!gdb_take_number(&args, &number) || *args) {
            reply_error(s, EINVAL);
            return;
        }
        s->target->accel->vcpu_get_state(vcpu_at(s, index), &state);
        state.rip = number;
        if (s->target->accel->vcpu_set_state(vcpu_at(s, index), &state) < 0) {
            reply_error(s, EINVAL);
            return;
        }
    }
    run(s, is_step ? (int)index : ALL_VCPUS, !is_step);
}

static void command_continue(GdbSession *s, const char *args, const char *end)
{
    old_style_run(s, args, false, false);
}

static void command_continue_signal(GdbSession *s, const char *args, const char *end)
{
    old_style_run(s, args, false, true);
}

static void command_step(GdbSession *s, const char *args, const char *end)
{
    old_style_run(s, args, true, false);
}

static void command_step_signal(GdbSession *s, const char *args, const char *end)
{
    old_style_run(s, args, true, true);
}

/* "vCont[;ACTION[:THREAD]]...": the first action that fits a thread is its own. One thread steps at
 * most; the others run if any action lets them. */
static void continue_threads(GdbSession *s, const char *args)
{
    int stepping = ALL_VCPUS;
    bool others_run = false;
    while (*args == ';') {
        char action = *++args;
        int index = ALL_VCPUS;
        uint64_t ignored;
        if (!action) {
            break;
        }
        args++;
        if ((action == 'C' || action == 'S') && !gdb_take_number(&args, &ignored)) {
            reply_error(s, EINVAL);
            return;
        }
        if (*args == ':') {
            args++;
            if (!take_thread(s, &args, &index)) {
                reply_error(s, EINVAL);
                return;
            }
        }
        if (action == 's' || action == 'S') {
            if (stepping == ALL_VCPUS && !others_run) {
                stepping = index < 0 ? (int)s->stopped_thread : index;
            }
        } else if (action == 'c' || action == 'C') {
            others_run = true;
        } else {
            reply_error(s, EINVAL);
            return;
        }
    }
    if (*args || (stepping == ALL_VCPUS && !others_run)) {
        reply_error(s, EINVAL);
        return;
    }
    run(s, stepping, others_run);
}

static void command_v(GdbSession *s, const char *args, const char *end)
{
    if (!strcmp(args, "Cont?")) {
        reply(s, "vCont;c;C;s;S");
    } else if (g_str_has_prefix(args, "Cont;")) {
        continue_threads(s, args + strlen("Cont"));
    } else if (g_str_has_prefix(args, "Kill")) {
        reply(s, "OK");
        s->is_gone = true;
        s->target->kill(s->target->opaque);
    } else {
        reply(s, "");
    }
}

static void remove_all_points(GdbSession *s)
{
    s->point_count = 0;
    (void)apply_points(s, ALL_VCPUS);
}

static void command_detach(GdbSession *s, const char *args, const char *end)
{
    reply(s, "OK");
    remove_all_points(s);
    s->is_running = true;
    s->target->resume(s->target->opaque, ALL_VCPUS);
}

static void command_kill(GdbSession *s, const char *args, const char *end)
{
    s->is_gone = true;
    s->target->kill(s->target->opaque);
}

/* ---- queries ---- */

/* "features:read:target.xml:OFFSET,LENGTH" */
static void transfer(GdbSession *s, const char *args)
{
    static const char wanted[] = "features:read:target.xml:";
    uint64_t offset, length;
    if (!g_str_has_prefix(args, wanted)) {
        reply(s, g_str_has_prefix(args, "features:read:") ? "E00" : "");
        return;
    }
    args += strlen(wanted);
    if (!take_range(&args, &offset, &length) || *args) {
        reply_error(s, EINVAL);
        return;
    }
    if (!s->xml) {
        s->xml = gdb_target_xml();
    }
    size_t total = strlen(s->xml);
    offset = MIN(offset, total);
    length = MIN(length, MIN(total - offset, TRANSFER_MAX));
    g_autoptr(GString) body = g_string_new(offset + length < total ? "m" : "l");
    gdb_append_binary(body, s->xml + offset, length);
    send_body(s, body->str, body->len);
}

static void reply_supported(GdbSession *s, const char *args)
{
    g_autofree char *text = g_strdup_printf(
        "PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak+",
        GDB_PACKET_MAX);
    s->tells_point_kind = strstr(args, "swbreak+") && strstr(args, "hwbreak+");
    reply(s, text);
}

static void command_query(GdbSession *s, const char *args, const char *end)
{
    static const char info[] = "ThreadExtraInfo,";
    static const char xfer[] = "Xfer:";
    if (g_str_has_prefix(args, "Supported")) {
        reply_supported(s, args);
    } else if (g_str_has_prefix(args, xfer)) {
        transfer(s, args + strlen(xfer));
    } else if (!strcmp(args, "fThreadInfo")) {
        reply_thread_list(s);
    } else if (!strcmp(args, "sThreadInfo")) {
        reply(s, "l");
    } else if (g_str_has_prefix(args, info)) {
        reply_thread_info(s, args + strlen(info));
    } else if (!strcmp(args, "C")) {
        g_autofree char *text = g_strdup_printf("QC%x", s->thread + 1);
        reply(s, text);
    } else if (g_str_has_prefix(args, "Attached")) {
        reply(s, "1");
    } else {
        reply(s, "");
    }
}

static void command_set(GdbSession *s, const char *args, const char *end)
{
    if (!strcmp(args, "StartNoAckMode")) {
        reply(s, "OK");
        s->without_acks = true;
    } else {
        reply(s, "");
    }
}

/* ---- dispatch ---- */

typedef struct Command {
    char letter;
    /* @args: behind the letter, NUL-terminated; @end: that NUL (binary arguments hold others). */
    void (*run)(GdbSession *s, const char *args, const char *end);
} Command;

static const Command commands[] = {
    { '?', command_why_stopped },    { 'C', command_continue_signal },
    { 'D', command_detach },         { 'G', command_write_registers },
    { 'H', command_choose_thread },  { 'M', command_write_memory },
    { 'P', command_write_register }, { 'Q', command_set },
    { 'S', command_step_signal },    { 'T', command_thread_alive },
    { 'X', command_write_binary },   { 'Z', command_insert_point },
    { 'c', command_continue },       { 'g', command_read_registers },
    { 'k', command_kill },           { 'm', command_read_memory },
    { 'p', command_read_register },  { 'q', command_query },
    { 's', command_step },           { 'v', command_v },
    { 'z', command_remove_point },
};

static void handle_packet(GdbSession *s, const char *packet, size_t length)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(commands); i++) {
        if (length && commands[i].letter == packet[0]) {
            commands[i].run(s, packet + 1, packet + length);
            return;
        }
    }
    reply(s, "");
}

static void interrupt(GdbSession *s)
{
    if (s->is_running) {
        s->is_running = false; /* first: the pause itself is no news */
        s->target->pause(s->target->opaque);
        s->signal = SIGNAL_INTERRUPT;
        (void)apply_points(s, ALL_VCPUS);
        report_stop(s, "");
    }
}

static void receive_byte(GdbSession *s, uint8_t byte)
{
    switch (gdb_reader_take(&s->reader, byte)) {
    case GDB_INPUT_NOTHING:
        break;
    case GDB_INPUT_INTERRUPT:
        interrupt(s);
        break;
    case GDB_INPUT_BAD:
        if (!s->without_acks) {
            s->send(s->opaque, "-", 1);
        }
        break;
    case GDB_INPUT_RESEND:
        if (!s->without_acks && s->last_frame) {
            s->send(s->opaque, s->last_frame, s->last_frame_length);
        }
        break;
    case GDB_INPUT_PACKET:
        if (!s->without_acks) {
            s->send(s->opaque, "+", 1);
        }
        if (!s->is_running) {
            handle_packet(s, s->reader.packet, s->reader.length);
        }
        break;
    }
}

void gdb_session_receive(GdbSession *session, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length && !session->is_gone; i++) {
        receive_byte(session, bytes[i]);
    }
}

/* What a T packet says of a stop at a point. (transfer full) */
static char *stop_reason(const GdbSession *s, const VcpuExit *exit)
{
    static const char *const watches[] = { "watch", "rwatch", "awatch" };
    for (unsigned i = 0; i < s->point_count; i++) {
        const SessionPoint *p = &s->points[i];
        bool is_watch = p->point.kind != DEBUG_BREAKPOINT;
        if (is_watch != exit->debug_is_watchpoint ||
            exit->debug_address - p->point.address >= p->point.length) {
            continue;
        }
        if (is_watch) {
            return g_strdup_printf("%s:%" PRIx64 ";", watches[p->kind - '2'], exit->debug_address);
        }
        return g_strdup(!s->tells_point_kind ? "" : p->kind == '0' ? "swbreak:;" : "hwbreak:;");
    }
    return g_strdup("");
}

void gdb_session_stopped(GdbSession *session, unsigned vcpu, const VcpuExit *exit)
{
    if (!session->is_running || session->is_gone) {
        return;
    }
    session->is_running = false;
    session->stopped_thread = session->thread = vcpu;
    session->signal = exit ? SIGNAL_TRAP : SIGNAL_INTERRUPT;
    (void)apply_points(session, ALL_VCPUS); /* no more stepping */
    g_autofree char *reason = exit ? stop_reason(session, exit) : g_strdup("");
    report_stop(session, reason);
}

void gdb_session_exited(GdbSession *session, int status)
{
    if (!session->is_gone) {
        char text[8];
        g_snprintf(text, sizeof(text), "W%02x", (unsigned)status & 0xff);
        reply(session, text);
        session->is_gone = true;
    }
}

GdbSession *gdb_session_new(const GdbTarget *target, GdbSend send, void *opaque)
{
    GdbSession *s = g_new0(GdbSession, 1);
    s->target = target;
    s->send = send;
    s->opaque = opaque;
    s->step_thread = ALL_VCPUS;
    s->signal = SIGNAL_TRAP;
    target->pause(target->opaque);
    return s;
}

void gdb_session_free(GdbSession *session)
{
    if (!session) {
        return;
    }
    if (!session->is_gone) {
        session->is_running = false;
        session->target->pause(session->target->opaque);
        remove_all_points(session);
        session->target->resume(session->target->opaque, ALL_VCPUS);
    }
    g_free(session->last_frame);
    g_free(session->xml);
    g_free(session);
}
