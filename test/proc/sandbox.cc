// The process library in sandboxes that refuse system calls, one after the other.
#include "../sandbox.h"

#include "operations.h"

CASE(test_sandboxes)
{
    assert_int_equal(start_and_wait(), 0); // looks once what the kernel has
    assert_int_equal(
        try_matrix(PROC_OPERATIONS, sizeof PROC_OPERATIONS / sizeof PROC_OPERATIONS[0]), 0);
}

RUN_CASES()
