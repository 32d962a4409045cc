/* Runs a fuzz target over the files of the folders named on the command line, one TAP line each.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path, unsigned number)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        printf("not ok %u - %s\n", number, path);
        return 1;
    }
    uint8_t *buffer = malloc(INPUT_MAX);
    size_t size = buffer ? fread(buffer, 1, INPUT_MAX, file) : 0;
    fclose(file);
    /* An exact copy, so that sanitizers see reads past its end. */
    uint8_t *data = malloc(size ? size : 1);
    if (data) {
        memcpy(data, buffer, size);
        LLVMFuzzerTestOneInput(data, size);
    }
    free(data);
    free(buffer);
    printf("ok %u - %s\n", number, strrchr(path, '/') + 1);
    return 0;
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    unsigned number = 0;
    int failed = 0;
    static const uint8_t nothing[1];
    LLVMFuzzerTestOneInput(nothing, 0);
    printf("ok %u - empty input\n", ++number);
    for (int i = 1; i < argc; i++) {
        struct dirent **entries;
        int count = scandir(argv[i], &entries, not_hidden, alphasort);
        for (int k = 0; k < count; k++) {
            char path[4096];
            snprintf(path, sizeof(path), "%s/%s", argv[i], entries[k]->d_name);
            failed |= replay_file(path, ++number);
            fflush(stdout);
            free(entries[k]);
        }
        if (count >= 0) {
            free(entries);
        }
    }
    printf("1..%u\n", number);
    return failed;
}
