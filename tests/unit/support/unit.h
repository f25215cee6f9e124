/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The unit tests' frame, on CUnit.
 *
 * A test file ends with UNIT_SUITE(name, tests): that is all it takes to be
 * run. A test's name is the promise it checks.
 */
#ifndef RDISK_UNIT_UNIT_H
#define RDISK_UNIT_UNIT_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <CUnit/CUnit.h>

struct unit_test {
    const char *promise;
    void (*run)(void);
};

struct unit_suite {
    const char *name;
    const struct unit_test *tests;
    unsigned int count;
    struct unit_suite *next;
};

void unit_register(struct unit_suite *suite);

#define UNIT_SUITE(suite_name, suite_tests) \
    __attribute__((constructor)) static void unit_suite_register(void) \
    { \
        static struct unit_suite suite = { \
            .name = suite_name, \
            .tests = suite_tests, \
            .count = sizeof(suite_tests) / sizeof(suite_tests[0]), \
        }; \
        unit_register(&suite); \
    }

#define CHECK(condition) \
    CU_assertImplementation(!!(condition), __LINE__, #condition, __FILE__, "", \
                            CU_FALSE)
/* Ends the test when it fails. */
#define REQUIRE(condition) \
    CU_assertImplementation(!!(condition), __LINE__, #condition, __FILE__, "", \
                            CU_TRUE)

/* Integers that must be equal; both are printed if they are not. */
#define CHECK_EQUAL(actual, expected) \
    do { \
        long long unit_actual = (long long)(actual); \
        long long unit_expected = (long long)(expected); \
        char unit_text[256]; \
        snprintf(unit_text, sizeof(unit_text), "%s is %lld, not %s (%lld)", \
                 #actual, unit_actual, #expected, unit_expected); \
        CU_assertImplementation(unit_actual == unit_expected, __LINE__, \
                                unit_text, __FILE__, "", CU_FALSE); \
    } while (0)

/* A sentence that must say something. */
#define CHECK_SAYS(text, words) \
    do { \
        const char *unit_said = (text); \
        char unit_text[1024]; \
        snprintf(unit_text, sizeof(unit_text), "\"%s\" says \"%s\"", \
                 unit_said, words); \
        CU_assertImplementation(strstr(unit_said, words) != NULL, __LINE__, \
                                unit_text, __FILE__, "", CU_FALSE); \
    } while (0)

#endif
