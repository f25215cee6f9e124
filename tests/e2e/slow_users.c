/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into a program: its look-up of a user takes three seconds, as with
 * a directory service that does not answer, and finds none.
 */
#include <pwd.h>
#include <time.h>

int getpwnam_r(const char *name, struct passwd *entry, char *text, size_t size,
               struct passwd **result)
{
    const struct timespec slow = { .tv_sec = 3 };

    nanosleep(&slow, NULL);
    *result = NULL;
    return 0;
}
