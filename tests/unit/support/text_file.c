/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/text_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/support/unit.h"

static void fill(int fd, const char *text)
{
    REQUIRE(fd >= 0);
    REQUIRE(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

void text_file_create(char path[sizeof(TEXT_FILE)], const char *text)
{
    strcpy(path, TEXT_FILE);
    fill(mkstemps(path, sizeof(".conf") - 1), text);
}

void text_file_write(const char *path, const char *text)
{
    fill(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), text);
}
