/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdisk-unit [SUITE [PROMISE]]: run all tests, those of one suite, or those
 * of a suite whose promise contains PROMISE. Ends with a line
 * "N passed, N failed"; exits with 1 if any failed.
 * rdisk-unit --list [SUITE [PROMISE]]: print "SUITE: PROMISE" for each instead.
 */
#include <stdlib.h>

#include "tests/unit/support/unit.h"

static struct unit_suite *suites;

void unit_register(struct unit_suite *suite)
{
    struct unit_suite **place = &suites;

    /* By name, since the order of constructors is not defined. */
    while (*place && strcmp((*place)->name, suite->name) < 0) {
        place = &(*place)->next;
    }
    suite->next = *place;
    *place = suite;
}

static void out_of_memory(void)
{
    fprintf(stderr, "rdisk-unit: %s\n", CU_get_error_msg());
    exit(2);
}

static unsigned int add(const struct unit_suite *suite, const char *promise)
{
    CU_pSuite cu = CU_add_suite(suite->name, NULL, NULL);

    if (!cu) {
        out_of_memory();
    }
    for (unsigned int i = 0; i < suite->count; i++) {
        const struct unit_test *test = &suite->tests[i];

        if (promise && !strstr(test->promise, promise)) {
            continue;
        }
        if (!CU_add_test(cu, test->promise, test->run)) {
            out_of_memory();
        }
    }
    return cu->uiNumberOfTests;
}

static void started(const CU_pTest test, const CU_pSuite suite)
{
    if (getenv("UNIT_VERBOSE")) {
        fprintf(stderr, "%s: %s\n", suite->pName, test->pName);
    }
}

static void finished(const CU_pTest test, const CU_pSuite suite,
                     const CU_pFailureRecord failure)
{
    unsigned int told = 0;

    if (failure) {
        printf("FAILED %s: %s\n", suite->pName, test->pName);
    }
    for (const CU_FailureRecord *f = failure; f && told++ < 10; f = f->pNext) {
        printf("    %s:%u: %s\n", f->strFileName, f->uiLineNumber,
               f->strCondition);
    }
    fflush(stdout);
}

static void list(void)
{
    const struct CU_TestRegistry *registry = CU_get_registry();

    for (CU_pSuite suite = registry->pSuite; suite; suite = suite->pNext) {
        for (CU_pTest test = suite->pTest; test; test = test->pNext) {
            printf("%s: %s\n", suite->pName, test->pName);
        }
    }
}

int main(int argc, char **argv)
{
    bool only_list = argc > 1 && !strcmp(argv[1], "--list");
    const char *name = argv[1 + only_list];
    const CU_RunSummary *summary;
    unsigned int tests = 0;
    unsigned int failed;

    if (CU_initialize_registry() != CUE_SUCCESS) {
        out_of_memory();
    }
    for (struct unit_suite *suite = suites; suite; suite = suite->next) {
        if (!name || !strcmp(name, suite->name)) {
            tests += add(suite, name ? argv[2 + only_list] : NULL);
        }
    }
    if (!tests) {
        fprintf(stderr, "rdisk-unit: no such test; suites are:");
        for (struct unit_suite *suite = suites; suite; suite = suite->next) {
            fprintf(stderr, " %s", suite->name);
        }
        fprintf(stderr, "\n");
        return 2;
    }
    if (only_list) {
        list();
        CU_cleanup_registry();
        return 0;
    }
    CU_set_test_start_handler(started);
    CU_set_test_complete_handler(finished);
    CU_run_all_tests();
    summary = CU_get_run_summary();
    failed = summary->nTestsFailed;
    printf("%u passed, %u failed\n", summary->nTestsRun - failed, failed);
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
