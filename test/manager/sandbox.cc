// Managers and clients in sandboxes that refuse system calls, one after the other.
#include "../sandbox.h"

#include <weft/manager.h>
#include <weft/remote.h>

// A server that is told to stop, and one that is let go.
static int serve(bool stop)
{
    char address[64];
    int64_t n = 0;
    snprintf(address, sizeof address, "unix:@weft-sandbox-%d", getpid());
    weft_manager *m = weft_manager_start(address, NULL);
    if (m == NULL)
        return errno;
    weft_client *c = weft_client_connect(weft_manager_address(m), NULL, late());
    int result = c != NULL ? 0 : errno;
    if (c != NULL) {
        weft_remote_value *v = weft_remote_value_open(c, "number");
        result =
            v == NULL || weft_remote_value_add(v, 7, &n, late()) != 0 ? errno : RIGHT_IF(n == 7);
        weft_remote_destroy(v);
        weft_client_destroy(c);
    }
    if (stop && weft_manager_end(m, late()) != 0)
        result = WRONG;
    weft_manager_destroy(m);
    return result;
}

#define NEEDS "eventfd2;signalfd4;pidfd_open;pidfds;pidfds, waitid"

static const struct operation OPERATIONS[] = {
    {"stop", [] { return serve(true); }, NEEDS},
    {"let go", [] { return serve(false); }, NEEDS},
};

CASE(test_sandboxes)
{
    assert_int_equal(try_matrix(OPERATIONS, 2), 0);
}

RUN_CASES()
