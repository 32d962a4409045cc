/* Sub-commands of lodge-img: what a command is, its arguments, and the table of all of them.
 *
 * Names, options, output and exit codes are those of qemu-img (7.2 to 9), so that scripts need no
 * change; `serve` is our own.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_IMG_COMMAND_H
#define LODGE_IMG_COMMAND_H

#include <glib.h>
#include <stdbool.h>

typedef struct ImgArgs ImgArgs;

typedef struct ImgOption {
    char letter;       /* of "-x"; 0: long name only */
    const char *name;  /* of "--name"; NULL: letter only */
    const char *value; /* what the value is, for help; NULL: a flag */
    const char *help;  /* a line, or several separated by '\n' */
} ImgOption;

typedef struct ImgCommand {
    const char *name;
    const char *summary;      /* a line without full stop */
    const char *operands;     /* as help shows them: "filename [size]" */
    const ImgOption *options; /* ends with IMG_OPTIONS_END */
    /* Returns: the exit code; errors were reported by img_error(). */
    int (*run)(const ImgArgs *args);
} ImgCommand;

#define IMG_OPTIONS_END                                                                            \
    {                                                                                              \
    }

/* Rows that many commands share. */
#define IMG_OPTION_FORMAT                                                                          \
    {                                                                                              \
        'f', NULL, "fmt", "format of the image; looked up in its content if not given"             \
    }
#define IMG_OPTION_OBJECT                                                                          \
    {                                                                                              \
        0, "object", "objectdef", "secret,id=ID,(data=TEXT|file=PATH)[,format=raw|base64]"         \
    }
#define IMG_OPTION_IMAGE_OPTS                                                                      \
    {                                                                                              \
        0, "image-opts", NULL,                                                                     \
            "file names are lists of block options: driver=qcow2,file.filename=x"                  \
    }
#define IMG_OPTION_SHARE                                                                           \
    {                                                                                              \
        'U', "force-share", NULL, "open the image although a program has it in use"                \
    }
#define IMG_OPTION_QUIET                                                                           \
    {                                                                                              \
        'q', NULL, NULL, "print nothing but errors"                                                \
    }
#define IMG_OPTION_PROGRESS                                                                        \
    {                                                                                              \
        'p', NULL, NULL, "show progress"                                                           \
    }
#define IMG_OPTION_CACHE                                                                           \
    {                                                                                              \
        't', NULL, "cache",                                                                        \
            "cache mode of the output: none, writeback, writethrough, directsync, unsafe"          \
    }
#define IMG_OPTION_SOURCE_CACHE                                                                    \
    {                                                                                              \
        'T', NULL, "src_cache", "cache mode of the input, as -t"                                   \
    }
#define IMG_OPTION_OUTPUT                                                                          \
    {                                                                                              \
        0, "output", "ofmt", "human (default) or json"                                             \
    }

/* All commands by name; ends with a row without name. */
extern const ImgCommand img_commands[];

/* Returns: the command of that name, or NULL. */
const ImgCommand *img_command_find(const char *name);
/* "Command not found: nam; did you mean 'name'?" (transfer full) */
char *img_command_unknown(const char *name);

/* What --help prints for the program and for one command. */
void img_print_help(void);
void img_print_command_help(const ImgCommand *command);

/**
 * img_args_parse - bind words to a command's options
 * @words: behind the command's name; ends with NULL; borrowed as long as the result lives
 *
 * Options and operands mix, as getopt_long() has it: "-pq", "-fraw", "-f raw", "--output=json",
 * "--output json", an unambiguous start of a long name; all after "--" are operands. Returns: the
 * arguments, or NULL with @error.
 */
ImgArgs *img_args_parse(const ImgCommand *command, char *const *words, GError **error);
void img_args_free(ImgArgs *args);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImgArgs, img_args_free)

const ImgCommand *img_args_command(const ImgArgs *args);

/* @option: the long name, or the letter where there is none. All returned texts are borrowed. */
bool img_args_flag(const ImgArgs *args, const char *option);
/* The value given last, or NULL. */
const char *img_args_value(const ImgArgs *args, const char *option);
/* All values in order, joined by commas (as several -o are), or NULL. (transfer full) */
char *img_args_joined(const ImgArgs *args, const char *option);

unsigned img_args_operands(const ImgArgs *args);
const char *img_args_operand(const ImgArgs *args, unsigned index);

/* Options as they came, for commands where the order counts. False: past the last. */
bool img_args_given(const ImgArgs *args, unsigned index, const char **out_option,
                    const char **out_value);

/* A size of @option (suffixes as size_parse()); @out_bytes is left alone if it was not given.
 * False: reported. */
bool img_args_size(const ImgArgs *args, const char *option, guint64 max, guint64 *out_bytes);
/* The same with a plain number of the range. */
bool img_args_number(const ImgArgs *args, const char *option, guint64 min, guint64 max,
                     guint64 *out_value);
/* --output; false: reported. */
bool img_args_output(const ImgArgs *args, bool *out_json);
/* Reports a wrong number of operands with @what is expected. */
bool img_args_count(const ImgArgs *args, unsigned min, unsigned max, const char *what);

/* Error messages of commands: one line "lodge-img: ..." on standard error. */
void img_error(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
/* "...: MESSAGE" of @error, which is freed. Returns: 1, the exit code of most failures. */
int img_fail(GError *error);

#endif
