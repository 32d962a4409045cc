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

/* The same into a set that there is. */
void line_add_fd_to(CommandLine *line, unsigned set, int fd);

/* Adds a descriptor for reading the file of @fd to its set: QEMU opens each image for reading
 * first, and takes only a descriptor of just that mode. */
bool line_add_reader(CommandLine *line, unsigned set, int fd, GError **error);

/* Commas doubled (transfer full). */
char *line_escape(const char *text);

/* -device and what is behind it, for all devices of the definition, or for one. */
bool line_add_devices(CommandLine *line, GError **error);
bool line_add_device(CommandLine *line, DomainDevice *device, GError **error);

/* ",bus=pci.1,addr=0x0" for a PCI address, or "". (transfer full) */
char *line_address(const CommandLine *line, const DomainDevice *device);

#endif
