/* SPDX-License-Identifier: BSD-3-Clause */
/* Without libFuzzer: run the files of the folders given, each once. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

static uint8_t input[1 << 16];

static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t size;

    if (!file) {
        perror(path);
        exit(2);
    }
    size = fread(input, 1, sizeof(input), file);
    fclose(file);
    LLVMFuzzerTestOneInput(input, size);
}

int main(int argc, char **argv)
{
    unsigned int count = 0;

    LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        struct dirent *entry;
        DIR *folder = opendir(argv[i]);
        char path[4096];

        if (!folder) {
            perror(argv[i]);
            return 2;
        }
        while ((entry = readdir(folder))) {
            if (entry->d_name[0] != '.') {
                snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
                run_file(path);
                count++;
            }
        }
        closedir(folder);
    }
    printf("%s: %u inputs\n", argv[0], count);
    return count ? 0 : 1;
}
