/* Prints what happens to domains until the daemon goes or a line is read. Usage: watch-events [URI]
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include <lodge.h>

#include <stdio.h>
#include <stdlib.h>

static void on_event(LodgeConnection *connection, const LodgeEvent *event, void *opaque)
{
    (void)connection;
    (void)opaque;
    printf("%s: event %d, detail %d\n", event->name, event->event, event->detail);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    LodgeError *error = NULL;
    LodgeConnection *connection =
        lodge_open(argc > 1 ? argv[1] : NULL, LODGE_OPEN_READ_ONLY, &error);
    if (!connection || lodge_watch_domains(connection, NULL, 0, on_event, NULL, &error) < 0) {
        fprintf(stderr, "watch-events: %s (%d)\n", error->message, error->code);
        lodge_error_free(error);
        lodge_close(connection);
        return EXIT_FAILURE;
    }
    puts("watching");
    fflush(stdout);
    getchar();
    lodge_close(connection);
    return EXIT_SUCCESS;
}
