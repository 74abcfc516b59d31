// weft-threads: its output is what the manual says, and its exit status too.
#include "../runner.h"

#include "said.h"

CASE(test_tickets_default)
{
    assert_int_equal(run("weft-threads"), 0);
    assert_int_equal(lines(), 101);
    assert_string_equal(last_line(), "sold 100 of 100 tickets by 10 booths, oversold 0");
    // Each ticket once, in order, with what is left.
    int number, left, booth, expected = 100;
    for (char *line = strtok(said, "\n"); expected > 0; line = strtok(NULL, "\n"), expected--) {
        assert_int_equal(sscanf(line, "booth %d sold ticket %d, %d left", &booth, &number, &left),
                         3);
        assert_int_equal(number, expected);
        assert_int_equal(left, expected - 1);
        assert_true(booth >= 1 && booth <= 10);
    }
}

CASE(test_tickets_options)
{
    assert_int_equal(run("weft-threads tickets -b 3 -t 7 -d 0"), 0);
    assert_string_equal(last_line(), "sold 7 of 7 tickets by 3 booths, oversold 0");
    assert_int_equal(run("weft-threads tickets -t 0"), 0);
    assert_string_equal(last_line(), "sold 0 of 0 tickets by 10 booths, oversold 0");
    assert_int_equal(run("weft-threads tickets -b 1 -d 0 --unsafe"), 0);
    assert_string_equal(last_line(), "sold 100 of 100 tickets by 1 booths, oversold 0");
}

CASE(test_tickets_unsafe_oversells)
{
    int sold, over;
    assert_int_equal(run("weft-threads tickets --unsafe"), 0);
    assert_int_equal(
        sscanf(last_line(), "sold %d of 100 tickets by 10 booths, oversold %d", &sold, &over), 2);
    assert_true(over > 0);
    assert_int_equal(sold, 100 + over);
}

CASE(test_race_runs_both)
{
    assert_int_equal(run("weft-threads race -d 1"), 0);
    assert_non_null(strstr(said, "without a lock:\n"));
    assert_non_null(strstr(said, "with a lock:\n"));
    assert_string_equal(last_line(), "sold 100 of 100 tickets by 10 booths, oversold 0");
}

// On a terminal: a row per booth, redrawn; script(1) makes one.
CASE(test_tickets_redraws_on_a_terminal)
{
    if (system("command -v script >/dev/null") != 0)
        return;
    assert_int_equal(run("script -qec 'weft-threads tickets -b 2 -t 20 -d 5' /dev/null"), 0);
    assert_non_null(strstr(said, "\033[2A")); // up two rows
    assert_null(strstr(said, "left"));
    assert_non_null(strstr(said, "sold 20 of 20 tickets by 2 booths, oversold 0"));
}

CASE(test_count_equals_wc)
{
    static const char *const cases[] = {
        "Makefile README.md src/thread/*.cc", "Makefile", "/dev/null", "Makefile /dev/null",
        "/usr/share/common-licenses/*",
    };
    for (const char *files : cases) {
        assert_int_equal(
            run_with("wc %s >expected; weft-threads count %s | diff expected -", files, files), 0);
    }
}

CASE(test_count_odd_text)
{
    // No newline at the end, blanks of all kinds, control characters, UTF-8 and what is not,
    // a character across the boundary of two reads.
    run("printf 'one two\\nthree' >a; printf '\\v\\f\\r\\t  \\n\\n' >b; printf '\\001 x\\002y "
        "\\003' >c;"
        "printf 'caf\\303\\251 \\302\\240 \\342\\202\\254 \\377 z\\303' >d;"
        "head -c 131071 /dev/zero | tr '\\0' x >e; printf '\\342\\202\\254 \\342\\202\\254' >>e; : "
        ">f");
    // By the rule, not beside an installed wc: GNU's changed its own.
    static const char counts[] = "     1      3     13 a\n"
                                 "     2      0      8 b\n"
                                 "     0      3      7 c\n"
                                 "     0      %d     17 d\n"
                                 "     0      2 131078 e\n"
                                 "     0      0      0 f\n"
                                 "     3     %d 131123 total\n";
    char expected[300];
    snprintf(expected, sizeof expected, counts, 5, 13);
    assert_int_equal(run("weft-threads count a b c d e f"), 0);
    assert_string_equal(said, expected);
    snprintf(expected, sizeof expected, counts, 4, 12); // the no-break space is known as one
    assert_int_equal(run("LC_ALL=C.UTF-8 weft-threads count a b c d e f"), 0);
    assert_string_equal(said, expected);
}

CASE(test_count_errors)
{
    assert_int_equal(run("echo x >there; weft-threads count there /nonexistent 2>errors"), 1);
    assert_string_equal(last_line(), "1 1 2 total");
    assert_int_equal(run("cat errors"), 0);
    assert_string_equal(said, "weft-threads: /nonexistent: No such file or directory\n");
}

CASE(test_bad_options_are_one_line_and_2)
{
    static const char *const bad[] = {
        "-x",
        "tickets -b",
        "tickets -b many",
        "tickets -b 0",
        "tickets extra",
        "nonsense",
        "count",
        "tickets -t -1",
        "tickets --what",
        "tickets -d 99999999999999999999",
    };
    assert_refuses("weft-threads", bad);
    assert_int_equal(run("weft-threads -h"), 0);
    assert_int_equal(strncmp(said, "usage: weft-threads", 19), 0);
    assert_int_equal(run("weft-threads >/dev/full 2>errors"), 1);
}

RUN_CASES(enter_scratch, leave_scratch)
