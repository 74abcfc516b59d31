// Processes, pools and shared memory in sandboxes that refuse system calls, one after the other.
#include "../sandbox.h"

#include "operations.h"

CASE(test_sandboxes)
{
    assert_int_equal(unit_of_another(), 0); // makes what is kept
    assert_int_equal(try_matrix(SHM_OPERATIONS, sizeof SHM_OPERATIONS / sizeof SHM_OPERATIONS[0]),
                     0);
}

RUN_CASES()
