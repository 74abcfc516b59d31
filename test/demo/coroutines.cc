// weft-coroutines: its output is what the manual says, and its exit status too.
#include "../runner.h"

#include "said.h"

CASE(test_produce_default)
{
    assert_int_equal(run("weft-coroutines"), 0);
    assert_int_equal(lines(), 21);
    assert_string_equal(last_line(), "popped 10 of 10 items, the producer is exhausted");
    // Each item is popped before the next is produced.
    char *line = strtok(said, "\n");
    for (int i = 1, item; i <= 10; i++) {
        assert_int_equal(sscanf(line, "producer yields %d", &item), 1);
        assert_int_equal(item, i);
        line = strtok(NULL, "\n");
        assert_int_equal(sscanf(line, "consumer pops %d", &item), 1);
        assert_int_equal(item, i);
        line = strtok(NULL, "\n");
    }
}

CASE(test_produce_count)
{
    assert_int_equal(run("weft-coroutines produce -n 0"), 0);
    assert_string_equal(said, "popped 0 of 0 items, the producer is exhausted\n");
    assert_int_equal(run("weft-coroutines -n 3"), 0);
    assert_string_equal(last_line(), "popped 3 of 3 items, the producer is exhausted");
}

CASE(test_greenlets_alternate)
{
    assert_int_equal(run("weft-coroutines greenlets"), 0);
    assert_string_equal(said, "stroke 1: ping switches to pong\n"
                              "stroke 2: pong switches to ping\n"
                              "stroke 3: ping switches to pong\n"
                              "stroke 4: pong switches to ping\n"
                              "stroke 5: ping switches to pong\n"
                              "stroke 6: pong switches to ping\n"
                              "ping ends, and its parent goes on\n");
}

CASE(test_sieve_prints_primes)
{
    assert_int_equal(run("weft-coroutines sieve 10"), 0);
    assert_string_equal(said, "2\n3\n5\n7\n11\n13\n17\n19\n23\n29\n");
    assert_int_equal(run("weft-coroutines sieve 1"), 0);
    assert_string_equal(said, "2\n");
    assert_int_equal(run("weft-coroutines sieve 200"), 0);
    assert_int_equal(lines(), 200);
    assert_string_equal(last_line(), "1223");
}

CASE(test_hackysack_counts_passes)
{
    long players, passes;
    double ns;
    assert_int_equal(run("weft-coroutines hackysack -p 20 -r 5000"), 0);
    assert_int_equal(
        sscanf(last_line(), "%ld players, %ld passes, %lf ns per pass", &players, &passes, &ns), 3);
    assert_int_equal(players, 20);
    assert_int_equal(passes, 5000);
    assert_true(ns > 0);
    assert_int_equal(run("weft-coroutines hackysack -p 2 -r 1"), 0);
    assert_int_equal(lines(), 1);
}

CASE(test_million_by_another_number)
{
    long maps = 0;
    assert_int_equal(run("weft-coroutines million -n 2000"), 0);
    assert_string_equal(last_line(), "2000 coroutines alive at once, all guarded");
    assert_int_equal(lines(), 5);
    const char *at = strstr(said, "memory mappings");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "memory mappings %ld in all", &maps), 1);
    assert_true(maps > 0);
    assert_int_equal(run("weft-coroutines million -n 0"), 0);
}

CASE(test_overflow_is_reported)
{
    if (RUNNER_SANITIZED) { // a sanitizer has a handler and a report of its own
        assert_int_not_equal(run("weft-coroutines overflow 2>&1"), 2);
        return;
    }
    assert_int_equal(run("weft-coroutines overflow 2>&1"), 0);
    assert_string_equal(said, "weft: stack overflow in coroutine \"deep\" (64 KiB stack)\n"
                              "the guard stopped it: ended by SIGSEGV\n");
}

CASE(test_bad_options)
{
    static const char *const bad[] = {
        "-x",      "-n",        "-n ten",         "-n -1",         "nonsense",
        "sieve 0", "sieve 3 4", "hackysack -p 1", "hackysack -r 0"};
    assert_refuses("weft-coroutines", bad);
}

CASE(test_help)
{
    assert_int_equal(run("weft-coroutines -h"), 0);
    assert_non_null(strstr(said, "usage: weft-coroutines"));
    assert_int_equal(run("weft-coroutines sieve -h"), 0);
}

CASE(test_full_output_is_a_failure)
{
    assert_int_equal(run("weft-coroutines >/dev/full 2>/dev/null"), 1);
}

RUN_CASES(enter_scratch, leave_scratch)
