/* Lists the domains of a host. Usage: list-domains [URI]
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include <lodge.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    LodgeError *error = NULL;
    LodgeConnection *connection =
        lodge_open(argc > 1 ? argv[1] : NULL, LODGE_OPEN_READ_ONLY, &error);
    LodgeNodeInfo node;
    if (!connection || lodge_get_node_info(connection, &node, &error) < 0) {
        fprintf(stderr, "list-domains: %s (%d)\n", error->message, error->code);
        lodge_error_free(error);
        lodge_close(connection);
        return EXIT_FAILURE;
    }
    printf("host: %s, %u CPUs, %llu KiB\n", node.model, node.cpus,
           (unsigned long long)node.memory_kib);
    LodgeDomain **domains = lodge_list_domains(connection, 0, NULL, &error);
    for (LodgeDomain **at = domains; at && *at; at++) {
        printf("%4d %s\n", (*at)->id, (*at)->name);
    }
    int status = EXIT_SUCCESS;
    if (!domains) {
        fprintf(stderr, "list-domains: %s (%d)\n", error->message, error->code);
        lodge_error_free(error);
        status = EXIT_FAILURE;
    }
    lodge_domains_free(domains);
    lodge_close(connection);
    return status;
}
