/* SPDX-License-Identifier: BSD-3-Clause */
/* For how long a reactor polls before it sleeps. */
#include "common/poll_window.h"
#include "tests/unit/support/unit.h"

static void test_grows(void)
{
    struct poll_window window = { .max = 32000 };

    poll_window_adapt(&window, 20000);
    CHECK_EQUAL(window.length, 4000);
    poll_window_adapt(&window, 20000);
    poll_window_adapt(&window, 20000);
    CHECK_EQUAL(window.length, 16000);
    poll_window_adapt(&window, 20000);
    poll_window_adapt(&window, 31000);
    CHECK_EQUAL(window.length, 32000);
    poll_window_adapt(&window, 32000);
    CHECK_EQUAL(window.length, 32000);
}

static void test_enough(void)
{
    struct poll_window window = { .max = 32000, .length = 8000 };

    poll_window_adapt(&window, 7000);
    CHECK_EQUAL(window.length, 8000);
}

static void test_closes(void)
{
    struct poll_window window = { .max = 32000, .length = 32000 };

    poll_window_adapt(&window, 32001);
    CHECK_EQUAL(window.length, 0);
}

static void test_counter_goes_back(void)
{
    const uint64_t began = 1000000000;
    struct poll_window window = { .max = 32000, .length = 8000 };

    CHECK(poll_window_is_open(&window, began, began));
    CHECK(poll_window_is_open(&window, began, began + 7999));
    CHECK(!poll_window_is_open(&window, began, began + 8000));
    CHECK(!poll_window_is_open(&window, began, began - 1));
    CHECK(!poll_window_is_open(&window, began, 0));
}

static void test_samples(void)
{
    struct poll_window never = { .max = 0 };
    struct poll_window window = { .max = 32000 };
    unsigned int measured = 0;

    for (unsigned int i = 0; i < 1600; i++) {
        CHECK(!poll_window_measures(&never));
        measured += poll_window_measures(&window);
    }
    CHECK_EQUAL(measured, 100);
    window.length = 4000;
    CHECK(poll_window_measures(&window) && poll_window_measures(&window));
}

static const struct unit_test tests[] = {
    { "the window doubles up to the configured time", test_grows },
    { "a window that is long enough stays", test_enough },
    { "the window closes after a longer wait", test_closes },
    { "a counter that goes back closes the window", test_counter_goes_back },
    { "a closed window seldom needs the clock", test_samples },
};

UNIT_SUITE("poll-window", tests)
