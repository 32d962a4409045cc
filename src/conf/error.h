/* Errors of configuration texts: the codes that libvirt's clients know.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_ERROR_H
#define LODGE_CONF_ERROR_H

#include <glib.h>

/* libvirt's numbers (virErrorNumber), so that the daemon sends them as they are. */
typedef enum ConfErrorCode {
    CONF_ERROR_INTERNAL = 1,           /* a value that libvirt too refuses without a better code */
    CONF_ERROR_INVALID_ARG = 8,        /* not a configuration of the kind asked for */
    CONF_ERROR_OPERATION_FAILED = 9,   /* would collide with something that is there */
    CONF_ERROR_NO_SOURCE = 19,         /* a disk or file system without source */
    CONF_ERROR_NO_TARGET = 20,         /* a disk without target */
    CONF_ERROR_NO_NAME = 21,           /* an object without name */
    CONF_ERROR_XML = 27,               /* malformed, or a value that is never right */
    CONF_ERROR_XML_DETAIL = 35,        /* not well-formed */
    CONF_ERROR_OPERATION_INVALID = 55, /* not for an object in this state */
    CONF_ERROR_UNSUPPORTED = 67,       /* well-formed, but not to be had */
    CONF_ERROR_CPU_INCOMPATIBLE = 91,  /* the host's CPU cannot be that */
    CONF_ERROR_INVALID_SCHEMA = 92,    /* unknown element or attribute, with validation asked for */
    CONF_ERROR_DEVICE_MISSING = 99,    /* no such device in the definition */
} ConfErrorCode;

#define CONF_ERROR (conf_error_quark())
GQuark conf_error_quark(void);

#define conf_error_set(error, code, ...) g_set_error((error), CONF_ERROR, (code), __VA_ARGS__)

#endif
