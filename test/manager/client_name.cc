// Deadlines hold for names, too: of a server of names that does not answer, outside weft_io_run and
// in it.
#include "../async/inside.h"
#include "../async/libc_names.h"
#include "../shm/processes.h"
#include "fake.h"

static int hangs, hanging; // atomic: whether names do; how many are

// In the place of libc's: every name is this machine's.
extern "C" int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                           struct addrinfo **list)
{
    if (!is_name(name, hints))
        return libc_getaddrinfo(name, service, hints, list);
    __atomic_add_fetch(&hanging, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&hangs, __ATOMIC_ACQUIRE))
        usleep(1000);
    __atomic_sub_fetch(&hanging, 1, __ATOMIC_ACQ_REL);
    return libc_getaddrinfo("127.0.0.1", service, hints, list);
}

static char by_name[64];

static void begin_fake(void)
{
    f = {};
    f.serve = answer_pings;
    fake_start(&f, true);
    snprintf(by_name, sizeof by_name, "tcp:server.test%s", strrchr(f.address, ':'));
}

static void call_in_time(void)
{
    int64_t begun = weft_now();
    c = weft_client_connect(by_name, nullptr, weft_in_s(20));
    assert_non_null(c);
    is_pong(ping());
    shutdown(weft_client_fd(c), SHUT_RDWR);
    __atomic_store_n(&hangs, 1, __ATOMIC_RELEASE);
    begun = weft_now();
    assert_errno(ping(weft_in_ms(30)), ENOTCONN);
    assert_string_equal(weft_client_error(c), "connect: Connection timed out");
    assert_errno(ping(WEFT_NOW), ENOTCONN);
    assert_errno(weft_client_connect(by_name, nullptr, weft_in_ms(30)), ETIMEDOUT);
    assert_true(weft_now() - begun < 5000000000);
    __atomic_store_n(&hangs, 0, __ATOMIC_RELEASE);
    is_pong(ping());
    weft_client_destroy(c);
    while (__atomic_load_n(&hanging, __ATOMIC_ACQUIRE) > 0)
        usleep(1000);
}

CASE(test_name_in_time)
{
    begin_fake();
    call_in_time();
    fake_end(&f);
}

CASE(test_name_in_time_inside)
{
    begin_fake();
    inside(call_in_time);
    fake_end(&f);
}

RUN_CASES(census_begin, census_end)
