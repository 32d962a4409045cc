/* What the files of command lines share.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_COMMAND_LINE_PRIVATE_H
#define LODGE_DAEMON_DOMAIN_COMMAND_LINE_PRIVATE_H

#include "daemon/domain/command-line.h"

/* @value: (transfer full, nullable) */
void line_add(CommandLine *line, const char *option, char *value);

/* "lodge-vmm has no WHAT; <emulator>... has". Returns: false. */
bool line_refuse(const CommandLine *line, GError **error, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

/* Passes @fd (transfer full); returns its set, for /dev/fdset/SET. */
unsigned line_add_fd(CommandLine *line, int fd);

/* Commas doubled (transfer full). */
char *line_escape(const char *text);

/* -device and what is behind it, for all devices of the definition. */
bool line_add_devices(CommandLine *line, GError **error);

/* ",bus=pci.1,addr=0x0" for a PCI address, or "". (transfer full) */
char *line_address(const CommandLine *line, const DomainDevice *device);

#endif
