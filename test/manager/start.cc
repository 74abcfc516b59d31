// A manager started by a process that has closed some of its first three descriptors.
#include "../runner.h"

#include <weft/client.h>
#include <weft/manager.h>

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

// Whether a manager can be started and talked to, and ends when it is told to.
static int start_and_ask(void *address)
{
    weft_manager *m = weft_manager_start((const char *)address, nullptr);
    if (m == nullptr)
        return 1;
    weft_client *c = weft_client_connect(weft_manager_address(m), nullptr, weft_in_s(10));
    const char *const ping[] = {"PING"};
    weft_reply *r =
        c != nullptr ? weft_client_command(c, 1, ping, nullptr, weft_in_s(10)) : nullptr;
    int result = r != nullptr && strcmp(r->text, "PONG") == 0 ? 0 : 2;
    weft_reply_free(r);
    weft_client_destroy(c);
    if (weft_manager_end(m, weft_in_s(10)) != 0)
        result = 3;
    weft_manager_destroy(m);
    return result;
}

static int without(void *which)
{
    static char address[] = "unix:@weft-test-start";
    char own[64];
    snprintf(own, sizeof own, "%s-%d", address, (int)getpid());
    for (int fd = 0; fd <= 2; fd++)
        if ((intptr_t)which & 1 << fd)
            close(fd);
    return start_and_ask(own);
}

CASE(test_start_without_the_first_descriptors)
{
    for (intptr_t closed = 0; closed < 8; closed++) {
        int status;
        pid_t child = child_of(without, (void *)closed);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

RUN_CASES()
