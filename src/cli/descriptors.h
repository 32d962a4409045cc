/* Descriptors that go with a command.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_DESCRIPTORS_H
#define LODGE_CLI_DESCRIPTORS_H

#include "cli/tools.h"

#define CLI_DESCRIPTORS_MAX 32u

#define CLI_PASS_FDS_OPTION                                                                        \
    {                                                                                              \
        "pass-fds", CLI_STRING, CLI_NAMED, CLI_VALUE_ANY,                                          \
            "descriptors of this process for the guest: their numbers, with commas"                \
    }

typedef struct CliDescriptors {
    int fds[CLI_DESCRIPTORS_MAX];
    unsigned count; /* 0: the option was not given */
} CliDescriptors;

/* Reads the option "pass-fds". False: @error names what is no open descriptor. */
bool cli_descriptors_parse(const CliArgs *args, CliDescriptors *out, GError **error);
/* A call with them. */
bool cli_call_with_fds(CliSession *session, const RpcProgram *program, uint32_t procedure,
                       const void *args, const CliDescriptors *fds, void *ret, GError **error);

#endif
