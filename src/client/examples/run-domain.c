/* Runs a domain that is forgotten when it ends, and copies its console to standard output until
 * then. Usage: run-domain URI XML-FILE
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include <lodge.h>

#include <stdio.h>
#include <stdlib.h>

/* As libvirt's VIR_DOMAIN_START_AUTODESTROY: it ends with this program. */
#define AUTODESTROY 2

static int report(LodgeError *error)
{
    fprintf(stderr, "run-domain: %s (%d)\n", error->message, error->code);
    lodge_error_free(error);
    return EXIT_FAILURE;
}

/* All of a file, to be freed by free(). */
static char *read_text(const char *path)
{
    size_t size = 0, limit = 1 << 20;
    FILE *file = fopen(path, "r");
    char *text = malloc(limit + 1);
    if (file && text) {
        size = fread(text, 1, limit, file);
    }
    if (!file || !text) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    text[size] = '\0';
    fclose(file);
    return text;
}

static int copy_console(LodgeStream *console)
{
    char buffer[4096];
    ptrdiff_t got;
    LodgeError *error = NULL;
    while ((got = lodge_stream_read(console, buffer, sizeof(buffer), &error)) > 0) {
        fwrite(buffer, 1, (size_t)got, stdout);
        fflush(stdout);
    }
    return got < 0 ? report(error) : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "Usage: run-domain URI XML-FILE\n");
        return EXIT_FAILURE;
    }
    LodgeError *error = NULL;
    char *xml = read_text(argv[2]);
    LodgeConnection *connection = lodge_open(argv[1], 0, &error);
    LodgeDomain *domain =
        connection ? lodge_create_domain(connection, xml, AUTODESTROY, &error) : NULL;
    LodgeStream *console =
        domain ? lodge_domain_open_console(connection, domain, NULL, 0, &error) : NULL;
    int status = console ? copy_console(console) : report(error);
    lodge_stream_free(console);
    lodge_domain_free(domain);
    lodge_close(connection);
    free(xml);
    return status;
}
