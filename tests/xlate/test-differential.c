/* Random cases on the host CPU, in the interpreter and in translated code; the results must agree.
 *
 *   test-differential [--seed N] [--cases N] [--minutes N] [--instruction NAME] [--one SEED]
 *                     [--engine interp|jit] [--without-host] [--any-host]
 *
 * The engines do as Intel's processors where the manuals leave something open. Others differ there
 * (AMD's: MXCSR has a bit MM, 0F 0D with a register is no NOP, REX.B turns PAUSE into XCHG, the
 * order of faults), so on them the engines are compared with each other, unless --any-host is
 * given. A difference is printed with the case's own seed; --one runs just that case (with the same
 * --instruction).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "xlate/compare.h"
#include "xlate/generate.h"
#include "xlate/machine.h"
#include "xlate/native.h"
#include "xlate/random.h"

#include <cpuid.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SEED_DEFAULT 1
#define CASES_DEFAULT 1000000
#define REPORTS_MAX 25u
#define CASES_PER_REPORT 1000000u
#define MNEMONICS 2048u

typedef struct Options {
    uint64_t seed, cases, one;
    unsigned minutes;
    bool has_one, no_interpreter, no_translator;
    bool no_host; /* the interpreter is the oracle: a sanitizer's memory is in the child's way */
    bool any_host;
    const char *instruction;
} Options;

typedef struct Session {
    Options options;
    Native *native;
    Machine *machine;
    Generator *generator;
    uint64_t done, faulted, lost, differences;
    unsigned reports;
    CaseResult result, reference;
} Session;

static uint8_t templates[CASE_TEMPLATES * CASE_DATA_BYTES];
static uint8_t constant[CASE_CONSTANT_BYTES];

static bool parse_options(int argc, char **argv, Options *options)
{
    static const struct option longs[] = {
        { "seed", required_argument, NULL, 's' },
        { "cases", required_argument, NULL, 'c' },
        { "minutes", required_argument, NULL, 'm' },
        { "instruction", required_argument, NULL, 'i' },
        { "engine", required_argument, NULL, 'e' },
        { "one", required_argument, NULL, 'o' },
        { "without-host", no_argument, NULL, 'w' },
        { "any-host", no_argument, NULL, 'a' },
        { 0 },
    };
    *options = (Options){ .seed = SEED_DEFAULT, .cases = CASES_DEFAULT };
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (option) {
        case 's':
            options->seed = strtoull(optarg, NULL, 0);
            break;
        case 'c':
            options->cases = strtoull(optarg, NULL, 0);
            break;
        case 'm':
            options->minutes = (unsigned)strtoul(optarg, NULL, 0);
            options->cases = UINT64_MAX;
            break;
        case 'i':
            options->instruction = optarg;
            break;
        case 'e':
            options->no_interpreter = strcmp(optarg, "interp") != 0;
            options->no_translator = strcmp(optarg, "jit") != 0;
            break;
        case 'w':
            options->no_host = options->no_interpreter = true;
            break;
        case 'a':
            options->any_host = true;
            break;
        case 'o':
            options->one = strtoull(optarg, NULL, 0);
            options->has_one = true;
            options->cases = 1;
            break;
        default:
            return false;
        }
    }
    return true;
}

static bool is_host_intel(void)
{
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ebx == signature_INTEL_ebx &&
           edx == signature_INTEL_edx && ecx == signature_INTEL_ecx;
}

static void check_engine(Session *session, MachineEngine engine, const char *name, const Case *test,
                         const CaseResult *native)
{
    if (session->options.has_one) {
        print_case(test, stdout);
    }
    machine_run(session->machine, engine, test, &session->result);
    bool same =
        compare_results(test, native, &session->result, engine == MACHINE_TRANSLATOR, name, NULL);
    if (same && !session->options.has_one) {
        return;
    }
    session->differences += !same;
    if (session->reports++ < REPORTS_MAX) {
        if (!session->options.has_one) {
            print_case(test, stdout);
        }
        compare_results(test, native, &session->result, engine == MACHINE_TRANSLATOR, name, stdout);
        printf("\n");
    }
}

/* What the host's CPU does, or the interpreter in its place. */
static const CaseResult *reference_of(Session *session, const Case *test, const CaseResult *native)
{
    if (session->options.no_host) {
        machine_run(session->machine, MACHINE_INTERPRETER, test, &session->reference);
    }
    return session->options.no_host ? &session->reference : native;
}

static bool run_batch(Session *session, unsigned count)
{
    Case *cases = native_cases(session->native);
    for (unsigned i = 0; i < count; i++) {
        Random random = { session->options.seed + session->done + i };
        uint64_t seed = session->options.has_one ? session->options.one : random_next(&random);
        generate_case(session->generator, seed, &cases[i]);
    }
    const CaseResult *results =
        session->options.no_host ? NULL : native_run(session->native, count);
    if (!results && !session->options.no_host) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        const CaseResult *wanted = reference_of(session, &cases[i], results ? &results[i] : NULL);
        if (wanted->end == CASE_DIED || wanted->end == CASE_HUNG) {
            /* It ran into the child itself; a difference if it does not fault in the guest is
             * not to be told from one. */
            session->lost++;
            continue;
        }
        session->faulted += wanted->end == CASE_FAULTED;
        if (!session->options.no_interpreter) {
            check_engine(session, MACHINE_INTERPRETER, "interp", &cases[i], wanted);
        }
        if (!session->options.no_translator && machine_can_translate(session->machine)) {
            check_engine(session, MACHINE_TRANSLATOR, "jit", &cases[i], wanted);
        }
    }
    uint64_t reported = session->done / CASES_PER_REPORT;
    session->done += count;
    if (session->done / CASES_PER_REPORT != reported) {
        printf("# %" PRIu64 " cases, %" PRIu64 " differ\n", session->done, session->differences);
    }
    return true;
}

static bool run_all(Session *session)
{
    time_t end = time(NULL) + session->options.minutes * 60;
    while (session->done < session->options.cases && session->reports < REPORTS_MAX &&
           (!session->options.minutes || time(NULL) < end)) {
        uint64_t left = session->options.cases - session->done;
        if (!run_batch(session, left < NATIVE_BATCH ? (unsigned)left : NATIVE_BATCH)) {
            printf("# the native child cannot be started\n");
            return false;
        }
    }
    printf("# seed %" PRIu64 ": %" PRIu64 " cases, %" PRIu64 " with a fault, %" PRIu64
           " lost, %" PRIu64 " differ\n",
           session->options.seed, session->done, session->faulted, session->lost,
           session->differences);
    /* Jumps into the child's own code must stay rare. */
    return session->differences == 0 && session->lost <= session->done / 1000;
}

static void print_plan(bool ok, bool is_other_host)
{
    if (is_other_host) {
        printf("1..2\n%s 1 - interpreter_and_translator_agree\n", ok ? "ok" : "not ok");
        printf("ok 2 - host_cpu_agrees # SKIP the host's processor is not Intel's\n");
    } else {
        printf("1..1\n%s 1 - host_cpu_interpreter_and_translator_agree\n", ok ? "ok" : "not ok");
    }
}

int main(int argc, char **argv)
{
    static Session session;
    if (!parse_options(argc, argv, &session.options)) {
        return 2;
    }
    bool is_other_host = !session.options.no_host && !session.options.any_host && !is_host_intel();
    if (is_other_host) {
        session.options.no_host = session.options.no_interpreter = true;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    generator_fill_data(templates, constant);
    session.native = native_new(templates, constant);
    session.machine = machine_new(templates, constant);
    session.generator =
        session.native ? generator_new(session.options.instruction, native_has_fs(session.native))
                       : NULL;
    bool ok = session.native && session.machine && session.generator;
    if (!ok) {
        printf("# cannot set up %s\n", !session.native    ? "the native child"
                                       : !session.machine ? "the guest"
                                                          : "the generator: no such instruction?");
    }
    ok = ok && run_all(&session);
    print_plan(ok, is_other_host);
    generator_free(session.generator);
    machine_free(session.machine);
    native_free(session.native);
    return ok ? 0 : 1;
}
