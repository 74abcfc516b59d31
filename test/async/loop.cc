// loop.cc: the loop: descriptors, functions, running and stopping.
#include "../runner.h"

#include <weft/loop.h>

#include <errno.h>
#include <sys/socket.h>

static void read_all(weft_watch *w, int events)
{
    char c[64];
    assert_true(events & WEFT_READ);
    ssize_t n = read(w->fd, c, sizeof c);
    *(ssize_t *)w->arg += n;
    if (n == 0)
        weft_watch_stop(w);
}

static void test_run_reads_to_the_end(void **)
{
    weft_loop *l = weft_loop_create(nullptr);
    int p[2];
    ssize_t got = 0;
    weft_watch w = {};
    assert_int_equal(pipe(p), 0);
    assert_int_equal(weft_loop_watch(l, &w, p[0], WEFT_READ, read_all, &got), 0);
    assert_int_equal(write(p[1], "hello", 5), 5);
    close(p[1]);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(got, 5);
    close(p[0]);
    assert_int_equal(weft_loop_destroy(l), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_run_reads_to_the_end)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
