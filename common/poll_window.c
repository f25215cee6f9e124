/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/poll_window.h"

#define FIRST  4000ull /* nanoseconds; as in QEMU */
#define SAMPLE 16u     /* of so many waits with a closed window one */

bool poll_window_measures(struct poll_window *window)
{
    if (window->max == 0) {
        return false;
    }
    if (window->length == 0 && ++window->skipped < SAMPLE) {
        return false;
    }
    window->skipped = 0;
    return true;
}

void poll_window_adapt(struct poll_window *window, uint64_t waited)
{
    if (waited > window->max) {
        window->length = 0;
    } else if (waited > window->length) {
        window->length = window->length ? 2 * window->length : FIRST;
        if (window->length > window->max) {
            window->length = window->max;
        }
    }
}
