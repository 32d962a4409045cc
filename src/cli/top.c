/* lodge top: what guests use, refreshed on a terminal or printed line by line.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

/* virDomainStatsTypes: state, cpu, balloon, vcpu, interface, block. */
#define STATS_WANTED 0x3fu

typedef enum TopKey { KEY_CPU, KEY_MEMORY, KEY_NETWORK, KEY_DISK, KEY_NAME } TopKey;

typedef struct TopRow {
    char *name;
    int state;
    guint64 vcpus, memory_kib;
    guint64 cpu_ns, network, disk; /* totals so far */
    double cpu_percent, network_rate, disk_rate;
} TopRow;

typedef struct Top {
    CliSession *session;
    GPtrArray *rows; /* of TopRow */
    gint64 time_us;  /* of @rows */
    TopKey key;
} Top;

static void row_free(void *opaque)
{
    TopRow *row = opaque;
    g_free(row->name);
    g_free(row);
}

/* The sum of "PREFIX.N.SUFFIX" over all N. */
static guint64 sum_of(const RemoteDomainStatsRecord *record, const char *prefix, const char *suffix)
{
    guint64 sum = 0;
    for (uint32_t i = 0; i < record->n_params; i++) {
        const char *field = record->params[i].field;
        if (g_str_has_prefix(field, prefix) && g_str_has_suffix(field, suffix)) {
            sum += cli_param_number(&record->params[i], 0);
        }
    }
    return sum;
}

static guint64 number_of(const RemoteDomainStatsRecord *record, const char *field)
{
    return cli_param_number(cli_param_find(record->params, record->n_params, field), 0);
}

static TopRow *row_new(const RemoteDomainStatsRecord *record)
{
    TopRow *row = g_new0(TopRow, 1);
    row->name = g_strdup(record->dom.name);
    row->state = (int)number_of(record, "state.state");
    row->vcpus = number_of(record, "vcpu.current");
    row->memory_kib = number_of(record, "balloon.current");
    row->cpu_ns = number_of(record, "cpu.time");
    row->network = sum_of(record, "net.", ".rx.bytes") + sum_of(record, "net.", ".tx.bytes");
    row->disk = sum_of(record, "block.", ".rd.bytes") + sum_of(record, "block.", ".wr.bytes");
    return row;
}

static double rate(guint64 before, guint64 after, double seconds)
{
    return after > before && seconds > 0 ? (double)(after - before) / seconds : 0;
}

static void compare_with(TopRow *row, const GPtrArray *before, double seconds)
{
    for (unsigned i = 0; before && i < before->len; i++) {
        const TopRow *old = before->pdata[i];
        if (strcmp(old->name, row->name) == 0) {
            row->cpu_percent = rate(old->cpu_ns, row->cpu_ns, seconds) / 1e7;
            row->network_rate = rate(old->network, row->network, seconds);
            row->disk_rate = rate(old->disk, row->disk, seconds);
        }
    }
}

static bool refresh(Top *top, GError **error)
{
    RemoteConnectGetAllDomainStatsArgs call = { .stats = STATS_WANTED, .flags = 1 /* active */ };
    RemoteConnectGetAllDomainStatsRet ret;
    Arena arena;
    arena_init(&arena, ANSWER_LIMIT);
    bool ok =
        remote_connect_get_all_domain_stats(cli_client(top->session), &call, &arena, &ret, error);
    if (ok) {
        gint64 now = g_get_monotonic_time();
        GPtrArray *rows = g_ptr_array_new_with_free_func(row_free);
        for (uint32_t i = 0; i < ret.n_ret_stats; i++) {
            TopRow *row = row_new(&ret.ret_stats[i]);
            compare_with(row, top->rows, (double)(now - top->time_us) / G_USEC_PER_SEC);
            g_ptr_array_add(rows, row);
        }
        g_clear_pointer(&top->rows, g_ptr_array_unref);
        top->rows = rows;
        top->time_us = now;
    }
    arena_clear(&arena);
    return ok;
}

static double key_of(const TopRow *row, TopKey key)
{
    switch (key) {
    case KEY_CPU:
        return row->cpu_percent;
    case KEY_MEMORY:
        return (double)row->memory_kib;
    case KEY_NETWORK:
        return row->network_rate;
    case KEY_DISK:
        return row->disk_rate;
    case KEY_NAME:
        break;
    }
    return 0;
}

static int compare_rows(gconstpointer a, gconstpointer b, gpointer opaque)
{
    const TopRow *x = *(TopRow *const *)a, *y = *(TopRow *const *)b;
    TopKey key = *(const TopKey *)opaque;
    double p = key_of(x, key), q = key_of(y, key);
    return p > q ? -1 : p < q ? 1 : strcmp(x->name, y->name);
}

/* @limit: rows that fit; 0: all. */
static void show(Top *top, unsigned limit)
{
    static const char *const headings[] = { "Name",       "State",   "vCPUs",    "CPU %",
                                            "Memory MiB", "Net B/s", "Disk B/s", NULL };
    g_autoptr(CliTable) table = cli_table_new(headings);
    g_ptr_array_sort_with_data(top->rows, compare_rows, &top->key);
    for (unsigned i = 0; i < top->rows->len && (limit == 0 || i < limit); i++) {
        const TopRow *row = top->rows->pdata[i];
        g_autofree char *vcpus = g_strdup_printf("%" G_GUINT64_FORMAT, row->vcpus);
        g_autofree char *cpu = g_strdup_printf("%.1f", row->cpu_percent);
        g_autofree char *memory = g_strdup_printf("%" G_GUINT64_FORMAT, row->memory_kib / 1024);
        g_autofree char *network = g_strdup_printf("%.0f", row->network_rate);
        g_autofree char *disk = g_strdup_printf("%.0f", row->disk_rate);
        cli_table_add(table, row->name, cli_state_name(row->state), vcpus, cpu, memory, network,
                      disk);
    }
    cli_show_table(top->session, table);
    fflush(stdout);
}

static unsigned terminal_rows(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 6 ? size.ws_row - 5u : 20;
}

/* A key's effect. Returns: false to end. */
static bool take_key(Top *top, char key)
{
    static const char letters[] = "cmnda";
    const char *found = key ? strchr(letters, key) : NULL;
    if (found) {
        top->key = (TopKey)(found - letters);
    }
    return key != 'q' && key != 3 && key != 4; /* Ctrl-C, Ctrl-D */
}

static void draw(Top *top)
{
    printf("\033[H\033[2J%u guests running   sort: c CPU, m memory, n network, d disk, a name"
           "   q quit\n\n",
           top->rows->len);
    show(top, terminal_rows());
}

/* Redraws for keys, a new size and new figures, until q or a signal. */
static bool watch_terminal(Top *top, int signals, gint64 interval_ms, GError **error)
{
    gint64 next = g_get_monotonic_time() / 1000 + interval_ms;
    while (true) {
        struct pollfd inputs[] = { { STDIN_FILENO, POLLIN, 0 }, { signals, POLLIN, 0 } };
        gint64 left = next - g_get_monotonic_time() / 1000;
        draw(top);
        int ready = left > 0 ? poll(inputs, G_N_ELEMENTS(inputs), (int)left) : 0;
        if (ready > 0 && inputs[1].revents) {
            struct signalfd_siginfo taken;
            if (read(signals, &taken, sizeof(taken)) != sizeof(taken) ||
                taken.ssi_signo != SIGWINCH) {
                return true;
            }
        } else if (ready > 0) {
            char key = 0;
            if (read(STDIN_FILENO, &key, 1) != 1 || !take_key(top, key)) {
                return true;
            }
        } else {
            next = g_get_monotonic_time() / 1000 + interval_ms;
            if (!refresh(top, error)) {
                return false;
            }
        }
    }
}

/* On the terminal's other screen, in raw mode; the terminal is put back whatever ends it. */
static bool run_on_terminal(Top *top, gint64 interval_ms, GError **error)
{
    static const int ends[] = { SIGWINCH, SIGTERM, SIGINT, SIGHUP };
    struct termios before, raw;
    sigset_t wanted, old;
    sigemptyset(&wanted);
    for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++) {
        sigaddset(&wanted, ends[i]);
    }
    pthread_sigmask(SIG_BLOCK, &wanted, &old);
    autofd signals = signalfd(-1, &wanted, SFD_CLOEXEC);
    tcgetattr(STDIN_FILENO, &before);
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    printf("\033[?1049h");
    bool ok = watch_terminal(top, signals, interval_ms, error);
    printf("\033[?1049l");
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ok;
}

static const CliOption top_options[] = {
    { "batch", CLI_FLAG, 0, CLI_VALUE_ANY, "print tables one after the other" },
    { "count", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY, "so many tables (1 with --batch)" },
    { "interval", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY, "seconds between them (2)" },
    { "sort", CLI_STRING, CLI_NAMED, CLI_VALUE_ANY, "cpu, memory, network, disk or name" },
    CLI_OPTIONS_END,
};

static bool run_top(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const keys[] = { "cpu", "memory", "network", "disk", "name", NULL };
    const char *sort = cli_args_string(args, "sort");
    gint64 interval = 2, count = 1;
    if (!cli_args_int(args, "interval", 1, 3600, &interval, error) ||
        !cli_args_int(args, "count", 1, G_MAXINT32, &count, error)) {
        return false;
    }
    if (sort && cli_word_index(sort, keys) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "--sort takes cpu, memory, network, disk or name, not '%s'", sort);
        return false;
    }
    Top top = { .session = session, .key = sort ? (TopKey)cli_word_index(sort, keys) : KEY_CPU };
    bool is_batch = cli_args_flag(args, "batch") || session->is_json || !isatty(STDOUT_FILENO) ||
                    !isatty(STDIN_FILENO);
    bool ok = refresh(&top, error);
    if (ok && !is_batch) {
        ok = run_on_terminal(&top, interval * 1000, error);
    }
    /* Rates need two looks. */
    for (gint64 i = 0; ok && is_batch && i < count; i++) {
        g_usleep((gulong)(interval * G_USEC_PER_SEC));
        ok = refresh(&top, error);
        if (ok) {
            show(&top, 0);
        }
    }
    g_clear_pointer(&top.rows, g_ptr_array_unref);
    return ok;
}

const CliCommand cli_top_commands[] = {
    { "top", "show what running guests use, again and again",
      "Keys: c, m, n, d, a choose the order, q ends.", top_options, CLI_BARE, run_top },
    { NULL },
};
