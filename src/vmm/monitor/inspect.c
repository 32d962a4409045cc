/* What `info registers` and `info mem` show.
 *
 * Page tables after "Paging" in volume 3 of the Intel manual (December 2022): 32-bit, PAE, 4 and 5
 * levels. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "vmm/monitor/internal.h"

#include <inttypes.h>
#include <string.h>

/* A guest's tables may lead in circles: the walk is bounded in work and in output. */
#define TABLES_MAX 65536
#define RANGES_MAX 4096

#define CR0_PG (1u << 31)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_LA57 (1u << 12)
#define EFER_LMA (1u << 10)
#define PTE_PRESENT 0x1u
#define PTE_WRITE 0x2u
#define PTE_USER 0x4u
#define PTE_LARGE 0x80u
#define PTE_ADDRESS UINT64_C(0x000ffffffffff000)
#define RIGHTS (PTE_PRESENT | PTE_WRITE | PTE_USER)

static const char *const names64[16] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                         "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15" };
static const char *const names32[8] = { "EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI" };
static const uint8_t order[16] = { CPU_RAX, CPU_RBX, CPU_RCX, CPU_RDX, CPU_RSI, CPU_RDI,
                                   CPU_RBP, CPU_RSP, 8,       9,       10,      11,
                                   12,      13,      14,      15 };
static const char *const segment_names[CPU_SEGMENTS] = { "ES", "CS", "SS", "DS", "FS", "GS" };

static void print_flags(uint64_t rflags, GString *out)
{
    static const struct {
        unsigned bit;
        char letter;
    } flags[] = { { 10, 'D' }, { 11, 'O' }, { 7, 'S' }, { 6, 'Z' },
                  { 4, 'A' },  { 2, 'P' },  { 0, 'C' } };
    g_string_append_printf(out, "RFL=%08" PRIx64 " [", rflags);
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++) {
        g_string_append_c(out, rflags >> flags[i].bit & 1 ? flags[i].letter : '-');
    }
    g_string_append_c(out, ']');
}

static void print_segment(const char *name, const CpuSegment *s, GString *out)
{
    g_string_append_printf(out, "%-3s=%04x %016" PRIx64 " %08x %08x\n", name, s->selector, s->base,
                           s->limit, (unsigned)s->attributes << 8);
}

void inspect_registers(const CpuState *state, GString *out)
{
    bool is_long = state->efer & EFER_LMA && state->segment[CPU_CS].attributes & SEGMENT_L;
    unsigned count = is_long ? 16 : 8;
    for (unsigned i = 0; i < count; i++) {
        uint8_t n = order[i];
        if (is_long) {
            g_string_append_printf(out, "%-3s=%016" PRIx64, names64[n], state->gpr[n]);
        } else {
            g_string_append_printf(out, "%s=%08x", names32[n], (unsigned)state->gpr[n]);
        }
        g_string_append_c(out, i % 4 == 3 ? '\n' : ' ');
    }
    g_string_append_printf(out, is_long ? "RIP=%016" PRIx64 " " : "EIP=%08" PRIx64 " ", state->rip);
    print_flags(state->rflags, out);
    g_string_append_printf(out, " CPL=%u HLT=%d\n",
                           (state->segment[CPU_SS].attributes & SEGMENT_DPL) >> SEGMENT_DPL_SHIFT,
                           state->run_state == CPU_RUN_HALTED);
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        print_segment(segment_names[i], &state->segment[i], out);
    }
    print_segment("LDT", &state->ldt, out);
    print_segment("TR", &state->tr, out);
    g_string_append_printf(out, "GDT=     %016" PRIx64 " %08x\nIDT=     %016" PRIx64 " %08x\n",
                           state->gdt.base, state->gdt.limit, state->idt.base, state->idt.limit);
    g_string_append_printf(
        out, "CR0=%08" PRIx64 " CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08" PRIx64 "\n",
        state->cr0, state->cr2, state->cr3, state->cr4);
    g_string_append_printf(out,
                           "DR0=%016" PRIx64 " DR1=%016" PRIx64 " DR2=%016" PRIx64
                           " DR3=%016" PRIx64 "\nDR6=%016" PRIx64 " DR7=%016" PRIx64
                           "\nEFER=%016" PRIx64 "\n",
                           state->dr[0], state->dr[1], state->dr[2], state->dr[3], state->dr[6],
                           state->dr[7], state->efer);
}

bool inspect_register(const CpuState *state, const char *name, uint64_t *out_value)
{
    for (unsigned i = 0; i < 16; i++) {
        if (!g_ascii_strcasecmp(name, names64[i])) {
            *out_value = state->gpr[i];
            return true;
        }
        if (i < 8 && !g_ascii_strcasecmp(name, names32[i])) {
            *out_value = (uint32_t)state->gpr[i];
            return true;
        }
    }
    const struct {
        const char *name;
        uint64_t value;
    } others[] = { { "rip", state->rip },
                   { "pc", state->segment[CPU_CS].base + state->rip },
                   { "eip", (uint32_t)state->rip },
                   { "rflags", state->rflags },
                   { "eflags", state->rflags },
                   { "cr0", state->cr0 },
                   { "cr2", state->cr2 },
                   { "cr3", state->cr3 },
                   { "cr4", state->cr4 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) {
        if (!g_ascii_strcasecmp(name, others[i].name)) {
            *out_value = others[i].value;
            return true;
        }
    }
    return false;
}

/* -- info mem -- */

/* A way of paging: tables of 1 << index_bits entries of entry_bytes each. */
typedef struct Paging {
    unsigned levels, index_bits, entry_bytes;
    unsigned large_levels; /* bit n: an entry of level n (1: page tables) may be a page */
    unsigned root_entries;
    uint64_t root;
    bool root_has_rights; /* PAE's root entries have none */
} Paging;

typedef struct Walk {
    const MonitorTarget *target;
    const Paging *paging;
    GString *out;
    uint64_t start, end; /* of the range that grows */
    unsigned rights;     /* of it; 0: there is none */
    unsigned ranges, tables;
} Walk;

static Paging paging_of(const CpuState *state)
{
    if (!(state->cr4 & CR4_PAE)) {
        return (Paging){ .levels = 2,
                         .index_bits = 10,
                         .entry_bytes = 4,
                         .large_levels = state->cr4 & CR4_PSE ? 1u << 2 : 0,
                         .root_entries = 1024,
                         .root = state->cr3 & 0xfffff000,
                         .root_has_rights = true };
    }
    if (!(state->efer & EFER_LMA)) {
        return (Paging){ .levels = 3,
                         .index_bits = 9,
                         .entry_bytes = 8,
                         .large_levels = 1u << 2,
                         .root_entries = 4,
                         .root = state->cr3 & 0xffffffe0 };
    }
    return (Paging){ .levels = state->cr4 & CR4_LA57 ? 5 : 4,
                     .index_bits = 9,
                     .entry_bytes = 8,
                     .large_levels = 1u << 2 | 1u << 3,
                     .root_entries = 512,
                     .root = state->cr3 & PTE_ADDRESS,
                     .root_has_rights = true };
}

/* Upper half of the address space where addresses are sign-extended. */
static uint64_t canonical(const Walk *walk, uint64_t address)
{
    unsigned bits = 12 + walk->paging->levels * walk->paging->index_bits;
    bool is_upper = walk->paging->levels > 3 && address >> (bits - 1) & 1;
    return is_upper ? address | UINT64_MAX << bits : address;
}

static void end_range(Walk *walk)
{
    if (walk->rights) {
        uint64_t start = canonical(walk, walk->start);
        g_string_append_printf(walk->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n",
                               start, start + (walk->end - walk->start), walk->end - walk->start,
                               walk->rights & PTE_USER ? 'u' : '-',
                               walk->rights & PTE_WRITE ? 'w' : '-');
        walk->ranges++;
    }
    walk->rights = 0;
}

static void add_page(Walk *walk, uint64_t start, uint64_t size, unsigned rights)
{
    bool is_upper = canonical(walk, start) != start;
    bool was_upper = canonical(walk, walk->start) != walk->start;
    if (walk->rights != rights || walk->end != start || is_upper != was_upper) {
        end_range(walk);
        walk->start = start;
        walk->rights = rights;
    }
    walk->end = start + size;
}

static bool is_over(const Walk *walk)
{
    return walk->tables >= TABLES_MAX || walk->ranges >= RANGES_MAX;
}

static void walk_table(Walk *walk, unsigned level, uint64_t table, uint64_t base, unsigned rights)
{
    const Paging *paging = walk->paging;
    bool is_root = level == paging->levels;
    unsigned count = is_root ? paging->root_entries : 1u << paging->index_bits;
    uint64_t span = UINT64_C(1) << (12 + (level - 1) * paging->index_bits);
    uint8_t bytes[4096];
    walk->tables++;
    if (!walk->target->read_physical(walk->target->opaque, table, bytes,
                                     (size_t)count * paging->entry_bytes)) {
        return;
    }
    for (unsigned i = 0; i < count && !is_over(walk); i++) {
        uint64_t entry = paging->entry_bytes == 4 ? le32_get(bytes + 4 * (size_t)i)
                                                  : le64_get(bytes + 8 * (size_t)i);
        uint64_t start = base + i * span;
        if (!(entry & PTE_PRESENT)) {
            continue;
        }
        unsigned both = is_root && !paging->root_has_rights ? rights : rights & (unsigned)entry;
        if (level == 1 || (paging->large_levels & 1u << level && entry & PTE_LARGE)) {
            add_page(walk, start, span, both);
        } else {
            walk_table(walk, level - 1, entry & PTE_ADDRESS, start, both);
        }
    }
}

void inspect_mappings(const MonitorTarget *target, const CpuState *state, GString *out)
{
    if (!(state->cr0 & CR0_PG)) {
        g_string_append(out, "PG disabled\n");
        return;
    }
    Paging paging = paging_of(state);
    Walk walk = { .target = target, .paging = &paging, .out = out };
    walk_table(&walk, paging.levels, paging.root, 0, RIGHTS);
    end_range(&walk);
    if (is_over(&walk)) {
        g_string_append(out, "(there is more)\n");
    }
}
