/* SPDX-License-Identifier: MIT */
/* What every test program does after it has named its suites. */
#ifndef ASSAY_TESTS_CUNIT_MAIN_H
#define ASSAY_TESTS_CUNIT_MAIN_H

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdbool.h>
#include <stdio.h>

/* Runs the suites; 0 only if tests ran and every one of them passed. */
static inline int cunit_main(CU_SuiteInfo *suites)
{
    if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS) {
        fprintf(stderr, "CUnit: %s\n", CU_get_error_msg());
        return 2;
    }
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failure_records() + CU_get_number_of_tests_failed() +
                        CU_get_number_of_suites_failed() + CU_get_number_of_tests_inactive();
    bool ran = CU_get_number_of_tests_run() > 0 && CU_get_number_of_asserts() > 0;
    CU_cleanup_registry();
    return failures > 0 || !ran;
}

#endif
