// weft-processes pool and sum: their output is what the manual says, and their exit status too.
#include "../runner.h"

#include "said.h"

// How many lines begin with `begin` and hold `middle`.
static int lines_with(const char *begin, const char *middle)
{
    int n = 0;
    for (const char *line = said; *line != 0; line = strchr(line, '\n') + 1) {
        const char *found = strstr(line, middle);
        n += strncmp(line, begin, strlen(begin)) == 0 && found != nullptr &&
             found < strchr(line, '\n');
    }
    return n;
}

CASE(test_pool_default)
{
    assert_int_equal(run("weft-processes pool"), 0);
    assert_int_equal(lines(), 12);
    assert_int_equal(lines_with("Parent process ", "."), 1);
    for (int i = 0; i < 4; i++) {
        char begin[32];
        snprintf(begin, sizeof begin, "Run task %d (", i);
        assert_int_equal(lines_with(begin, ")..."), 1);
        snprintf(begin, sizeof begin, "Task %d runs ", i);
        assert_int_equal(lines_with(begin, " seconds."), 1);
    }
    assert_int_equal(lines_with("Waiting for all subprocesses done...", ""), 1);
    assert_int_equal(lines_with("All subprocesses done.", ""), 1);
    assert_string_equal(last_line(), "4 tasks done, 0 lost, 0 retried");
}

CASE(test_pool_options)
{
    assert_int_equal(run("weft-processes pool -w 1 -n 3 -s 0.02"), 0);
    assert_string_equal(last_line(), "3 tasks done, 0 lost, 0 retried");
    // One worker: one task after the other.
    const char *first_end = strstr(said, "Task 0 runs"), *second = strstr(said, "Run task 1");
    assert_true(first_end != nullptr && second != nullptr && first_end < second);
    assert_int_equal(run("weft-processes pool -n 0"), 0);
    assert_string_equal(last_line(), "0 tasks done, 0 lost, 0 retried");
    assert_int_equal(run("weft-processes pool -w 3 -n 200 -s 0"), 0);
    assert_string_equal(last_line(), "200 tasks done, 0 lost, 0 retried");
}

CASE(test_pool_kill)
{
    assert_int_equal(run("weft-processes pool --kill"), 0);
    assert_int_equal(lines_with("Killed a worker (", ")."), 1);
    assert_int_equal(lines_with("Task ", " runs "), 4);
    assert_string_equal(last_line(), "4 tasks done, 0 lost, 1 retried");
    assert_int_equal(run("weft-processes pool -w 1 -n 2 --kill -s 0.2"), 0);
    assert_string_equal(last_line(), "2 tasks done, 0 lost, 1 retried");
}

CASE(test_sum_equals_cksum)
{
    // Empty, one byte, every length about the steps of eight, more than one read; the tree's own.
    assert_int_equal(
        run(": >empty; printf x >one; head -c 300000 /dev/zero >zeros;"
            "i=0; while [ $i -lt 40 ]; do head -c $i Makefile >len$i; i=$((i+1)); done;"
            "cksum empty one zeros len* Makefile src/*/*.cc >expected;"
            "weft-processes sum empty one zeros len* Makefile src/*/*.cc |"
            " diff expected -"),
        0);
    assert_int_equal(run("weft-processes sum -w 1 empty one zeros len* Makefile src/*/*.cc |"
                         " diff expected -"),
                     0);
}

CASE(test_sum_errors)
{
    assert_int_equal(run("echo x >there; weft-processes sum /nonexistent there 2>errors"), 1);
    assert_int_equal(lines(), 1);
    assert_non_null(strstr(said, " 2 there\n"));
    assert_int_equal(run("cat errors"), 0);
    assert_string_equal(said, "weft-processes: /nonexistent: No such file or directory\n");
}

CASE(test_bad_options_are_one_line_and_2)
{
    static const char *const bad[] = {
        "pool -x",    "pool -w",        "pool -w 0",  "pool -w many", "pool -n -1",
        "pool -s x",  "pool -s -1",     "pool extra", "pool --what",  "sum",
        "sum -w 0 /", "sum -w 99999 /", "sum -x /",   "pool -s nan",  "pool -s 1e9",
    };
    assert_refuses("weft-processes", bad);
    assert_int_equal(run("weft-processes pool -h"), 0);
    assert_int_equal(strncmp(said, "usage: weft-processes pool", 26), 0);
    assert_int_equal(run("weft-processes sum -h"), 0);
    assert_int_equal(strncmp(said, "usage: weft-processes sum", 25), 0);
    assert_int_equal(run("weft-processes sum Makefile >/dev/full 2>errors"), 1);
    assert_int_equal(run("weft-processes pool -n 1 -s 0 >/dev/full 2>errors"), 1);
}

RUN_CASES(enter_scratch, leave_scratch)
