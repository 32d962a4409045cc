/* ACPI machine language, as much of it as our tables need (ACPI 6.4, chapter 20).
 *
 * Blocks nest: aml_begin_*() ... aml_end(). Lengths and element counts are filled in at the end of
 * a block. Names are given as in ASL: "\\_SB.PCI0", "_HID"; segments of up to four characters.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_FIRMWARE_ACPI_AML_H
#define LODGE_VMM_FIRMWARE_ACPI_AML_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Aml Aml;

Aml *aml_new(void);
void aml_free(Aml *aml);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Aml, aml_free)

/* The code; every block was ended. Owned by @aml. */
const GByteArray *aml_bytes(const Aml *aml);

/* Blocks */
void aml_begin_scope(Aml *aml, const char *name);
void aml_begin_device(Aml *aml, const char *name);
/* @arguments: 0 to 7 */
void aml_begin_method(Aml *aml, const char *name, unsigned arguments);
void aml_begin_if(Aml *aml); /* a predicate follows, then statements */
void aml_begin_else(Aml *aml);
/* Elements follow: data objects. */
void aml_begin_package(Aml *aml);
/* Resource descriptors follow; the end tag is added. */
void aml_begin_resources(Aml *aml);
void aml_end(Aml *aml);

/* Data objects */
void aml_integer(Aml *aml, uint64_t value);
void aml_string(Aml *aml, const char *text);
void aml_buffer(Aml *aml, const void *bytes, unsigned length);
/* Compressed EISA id, "PNP0A08". */
void aml_eisa_id(Aml *aml, const char *id);
void aml_path(Aml *aml, const char *name);
/* 16 bytes in the order of ToUUID(). @text: with dashes. */
void aml_uuid(Aml *aml, const char *text);

/* Name(@name, ...): a data object or block follows. */
void aml_name(Aml *aml, const char *name);
void aml_name_integer(Aml *aml, const char *name, uint64_t value);
void aml_name_eisa_id(Aml *aml, const char *name, const char *id);
void aml_name_string(Aml *aml, const char *name, const char *text);

/* Statements and terms of methods */
void aml_return(Aml *aml); /* an object follows */
void aml_arg(Aml *aml, unsigned number);
void aml_local(Aml *aml, unsigned number);
/* LEqual: two terms follow. */
void aml_equal(Aml *aml);
/* Store: source and target follow. */
void aml_store(Aml *aml);
/* And, Or: two terms and a target (or aml_no_target) follow. */
void aml_and(Aml *aml);
void aml_or(Aml *aml);
void aml_no_target(Aml *aml);
/* Notify(@device, @value) */
void aml_notify(Aml *aml, const char *device, uint64_t value);
/* CreateDWordField(source, index, name): source and index follow, then the name by aml_path(). */
void aml_create_dword_field(Aml *aml);

typedef enum AmlSpace { AML_SPACE_MEMORY = 0, AML_SPACE_IO = 1 } AmlSpace;
/* OperationRegion */
void aml_operation_region(Aml *aml, const char *name, AmlSpace space, uint64_t base, uint64_t size);
/* Field(@region, @access_bytes wide, NoLock, Preserve) of one name over @bits from its start. */
void aml_field(Aml *aml, const char *region, unsigned access_bytes, const char *name,
               unsigned bits);

/* Resource descriptors, inside aml_begin_resources(). */
void aml_resource_io(Aml *aml, uint16_t base, uint8_t length);
void aml_resource_irq(Aml *aml, unsigned irq); /* edge, active high, exclusive */
/* Extended interrupt descriptor: a GSI. */
void aml_resource_interrupt(Aml *aml, uint32_t gsi, bool is_edge, bool is_shared);
void aml_resource_memory32(Aml *aml, uint32_t base, uint32_t length, bool is_writable);
/* Ranges that a bridge passes on, ends included. */
void aml_resource_bus_numbers(Aml *aml, uint16_t first, uint16_t last);
void aml_resource_io_window(Aml *aml, uint16_t first, uint16_t last);
void aml_resource_memory_window(Aml *aml, uint64_t first, uint64_t last, bool is_cacheable);

#endif
