// weft-processes beside the tools that people know: the same scenario by both, the same result.
// A tool that is not installed is named, and its rows are left out.
#include "../runner.h"

#include "said.h"

struct row {
    const char *ours;   // weft-processes ...
    const char *theirs; // the tool ...
};

static bool installed(const char *tool)
{
    if (run_with("command -v %s", tool) == 0)
        return true;
    print_message("left out, no %s\n", tool);
    return false;
}

static const char *sort_lines(bool sorted)
{
    return sorted ? " | LC_ALL=C sort" : "";
}

enum status_is { SAME_STATUS, SAME_SUCCESS };

static char expected[sizeof said];

// What both write to standard output, and how they end.
static void compare(const char *input, const char *tool, const char *verb, const struct row *r,
                    bool sorted, enum status_is how)
{
    const char *form = "{ %s | { %s %s; echo $? >status; } 2>/dev/null; }%s; exit $(cat status)";
    int theirs = run_with(form, input, tool, r->theirs, sort_lines(sorted));
    memcpy(expected, said, sizeof said);
    int ours = run_with(form, input, verb, r->ours, sort_lines(sorted));
    if (strcmp(said, expected) != 0)
        fail_msg("%s %s: %s\n%s %s: %s", verb, r->ours, said, tool, r->theirs, expected);
    if (how == SAME_STATUS ? ours != theirs : (ours == 0) != (theirs == 0))
        fail_msg("%s %s: ends with %d\n%s %s: with %d", verb, r->ours, ours, tool, r->theirs,
                 theirs);
}

template <size_t N>
static void compare_all(const char *input, const char *tool, const char *verb,
                        const struct row (&rows)[N], bool sorted, enum status_is how)
{
    for (const row &r : rows)
        compare(input, tool, verb, &r, sorted, how);
}

// What is to be ended with a shell is there before the signal: one that comes while a shell forks
// may miss whom it starts.
CASE(test_run_beside_timeout)
{
    static const struct row rows[] = {
        {"-t 9 true", "9 true"},
        {"-t 9 sh -c 'exit 1'", "9 sh -c 'exit 1'"},
        {"-t 9 sh -c 'exit 124'", "9 sh -c 'exit 124'"},
        {"-t 9 sh -c 'exit 255'", "9 sh -c 'exit 255'"},
        {"-t 9 nowhere-weft", "9 nowhere-weft"},
        {"-t 9 ./nowhere/weft", "9 ./nowhere/weft"},
        {"-t 9 ./plain", "9 ./plain"},
        {"-t 9 /tmp", "9 /tmp"},
        {"-t 9 ''", "9 ''"},
        {"-t 9 sh -c 'kill -9 $$'", "9 sh -c 'kill -9 $$'"},
        {"-t 9 sh -c 'kill -15 $$'", "9 sh -c 'kill -15 $$'"},
        {"-t 9 sh -c 'kill -1 $$'", "9 sh -c 'kill -1 $$'"},
        {"-t 0.1 sleep 9", "0.1 sleep 9"},
        {"-t 0.1 sh -c 'sleep 9; echo never'", "0.1 sh -c 'sleep 9; echo never'"},
        // timeout(1) may send its signal twice.
        {"-t 1 sh -c 'trap \"trap : TERM; echo TERM; exit 3\" TERM; sleep 9 & wait'",
         "1 sh -c 'trap \"trap : TERM; echo TERM; exit 3\" TERM; sleep 9 & wait'"},
        {"-t 1 -k 0.1 sh -c 'trap \"\" TERM; sleep 9; echo never'",
         "-k 0.1 1 sh -c 'trap \"\" TERM; sleep 9; echo never'"},
        {"-t 0.1 -f sleep 9", "--foreground 0.1 sleep 9"},
        {"-t 9 cat", "9 cat"},
        {"-t 9 -- printf '%s.' -a '' 'b  c' '$x'", "9 printf '%s.' -a '' 'b  c' '$x'"},
        {"-t 9 sh -c 'trap \"trap : HUP; echo HUP; exit 5\" HUP; sleep 9 & sleep 0.3; "
         "kill -HUP $PPID; wait'",
         "9 sh -c 'trap \"trap : HUP; echo HUP; exit 5\" HUP; sleep 9 & sleep 0.3; "
         "kill -HUP $PPID; wait'"},
        {"-t 9 sh -c 'trap \"trap : TERM; echo TERM; exit 6\" TERM; sleep 9 & sleep 0.3; "
         "kill -TERM $PPID; wait'",
         "9 sh -c 'trap \"trap : TERM; echo TERM; exit 6\" TERM; sleep 9 & sleep 0.3; "
         "kill -TERM $PPID; wait'"},
        {"-t 9 sh -c 'sleep 9 & sleep 0.3; kill -TERM $PPID; wait'",
         "9 sh -c 'sleep 9 & sleep 0.3; kill -TERM $PPID; wait'"},
        {"-t 9 sh -c 'kill -USR1 $$'", "9 sh -c 'kill -USR1 $$'"},
    };
    if (!installed("timeout"))
        return;
    assert_int_equal(run("echo plain >plain; chmod 644 plain"), 0);
    compare_all("echo hello", "timeout", "weft-processes run", rows, false, SAME_STATUS);
}

CASE(test_each_beside_xargs)
{
    alarm(300); // thousands of processes
    static const struct row lines[] = {
        {"-q echo", "-d '\\n' -P 4 -n 1 echo"},
        {"-q -j 1 echo", "-d '\\n' -n 1 echo"},
        {"-q echo x{}y", "-d '\\n' -P 4 -I{} echo x{}y"},
        {"-q echo {}{} {}", "-d '\\n' -P 4 -I{} echo {}{} {}"},
        {"-q printf '%s,%s\\n' a", "-d '\\n' -P 4 -n 1 printf '%s,%s\\n' a"},
        {"-q sh -c 'cat'", "-d '\\n' -P 4 -n 1 sh -c 'cat'"},
        {"-q sh -c 'exit 1'", "-d '\\n' -P 4 -n 1 sh -c 'exit 1'"},
        {"-q nowhere-weft", "-d '\\n' -P 4 -n 1 nowhere-weft"},
        {"-q ./plain", "-d '\\n' -P 4 -n 1 ./plain"},
        {"-q sh -c 'kill -9 $$'", "-d '\\n' -P 4 -n 1 sh -c 'kill -9 $$'"},
        {"-q test a !=", "-d '\\n' -P 4 -n 1 test a !="},
    };
    static const struct row nuls[] = {
        {"-0 -q -k printf '<%s>\\n'", "-0 -n 1 printf '<%s>\\n'"},
        {"-0 -q -j 1 printf '<%s>\\n'", "-0 -n 1 printf '<%s>\\n'"},
    };
    static const struct row counts[] = {
        {"-q sh -c 'echo ${#0}'", "-d '\\n' -P 4 -n 1 sh -c 'echo ${#0}'"}};
    if (!installed("xargs"))
        return;
    assert_int_equal(run("echo plain >plain; chmod 644 plain"), 0);
    const char *const inputs[] = {
        "seq 40",
        "printf ''",
        "printf a",
        "printf 'a\\nb'",
        "printf 'b\\r\\n'",
        "printf '  c  \\n'",
        "printf '\\047\\n'",
        "printf 'a b\\t\"c \\\\ d\\n'",
        "printf '$x\\n`id`\\n*\\n~\\n'",
    };
    for (const char *input : inputs)
        compare_all(input, "xargs -r", "weft-processes each", lines, true, SAME_SUCCESS);
    const char *const ended[] = {"printf ''", "printf 'a\\nb\\0c d\\0'", "printf 'a\\0b'",
                                 "printf '\\0'", "printf 'a\\0\\0b\\0'"};
    for (const char *input : ended)
        compare_all(input, "xargs -r", "weft-processes each", nuls, false, SAME_SUCCESS);
    compare_all("head -c 120000 /dev/zero | tr '\\0' x", "xargs -r -s 200000",
                "weft-processes each", counts, false, SAME_SUCCESS);
}

CASE(test_each_beside_parallel)
{
    alarm(300); // thousands of processes
    static const struct row rows[] = {
        {"-q -k echo", "-k echo"},
        {"-q -k echo x{}y {}", "-k echo x{}y {}"},
        {"-q -k -j 200% echo", "-k -j 200% echo"},
        {"-q -k -j +1 echo", "-k -j +1 echo"},
        {"-q -k --tag echo", "-k --tag echo"},
        {"-q -k --tag printf 'a\\nb\\n%s\\n'", "-q -k --tag printf 'a\\nb\\n%s\\n'"},
        {"-q -k -j 3 sh -c 'sleep 0.0$((9-$0)); echo $0'",
         "-q -k -j 3 sh -c 'sleep 0.0$((9-$0)); echo $0'"},
        {"-q -j 1 --halt now,fail=1 sh -c 'echo $0; [ $0 != 3 ]'",
         "-q -j 1 --halt now,fail=1 sh -c 'echo $0; [ $0 != 3 ]'"},
        {"-q -j 1 --halt soon,fail=2 sh -c 'echo $0; [ $(($0 % 3)) != 0 ]'",
         "-q -j 1 --halt soon,fail=2 sh -c 'echo $0; [ $(($0 % 3)) != 0 ]'"},
        {"-q -j 1 --halt now,success=1 sh -c 'echo $0; [ $0 = 4 ]'",
         "-q -j 1 --halt now,success=1 sh -c 'echo $0; [ $0 = 4 ]'"},
        {"-q -j 1 --halt soon,done=3 echo; true", "-q -j 1 --halt soon,done=3 echo; true"},
        {"-q -k -t 4 sh -c 'echo $0; [ $0 != 2 ] || exec sleep 99'",
         "-q -k --timeout 4 sh -c 'echo $0; [ $0 != 2 ] || exec sleep 99'"},
        {"-q -k sh -c 'exit $0'", "-q -k sh -c 'exit $0'"},
        {"-q -k nowhere-weft", "-k nowhere-weft"},
        {"-q -k --retries 3 sh -c 'echo x >>tries.$0; echo $(wc -l <tries.$0); "
         "[ $(wc -l <tries.$0) = 3 ]'; rm tries.*; true",
         "-q -k --retries 3 sh -c 'echo x >>tries.$0; echo $(wc -l <tries.$0); "
         "[ $(wc -l <tries.$0) = 3 ]'; rm tries.*; true"},
        {"-q --joblog log -j 1 sh -c 'exit $(($0 % 2))'; cut -f 1,7,8 log | sed 1d; rm log",
         "--joblog log -q -j 1 sh -c 'exit $(($0 % 2))'; cut -f 1,7,8 log | sed 1d; rm log"},
        {"-q -k --joblog log echo >/dev/null; seq 9 | weft-processes each -q -k --joblog log "
         "--resume echo; rm log",
         "-k --joblog log echo >/dev/null; seq 9 | parallel -k --joblog log --resume echo; rm "
         "log"},
    };
    static const struct row commands[] = {{"-q -k", "-k"}, {"-q -j 1", "-j 1"}};
    static const struct row words[] = {
        {"-q -k printf '<%s>\\n'", "-q -k printf '<%s>\\n'"},
        {"-q -k printf '<%s>\\n' {} -{}-", "-q -k printf '<%s>\\n' {} -{}-"}};
    setenv("PARALLEL_HOME", scratch, 1); // what it keeps
    if (!installed("parallel"))
        return;
    compare_all("seq 7", "parallel", "weft-processes each", rows, false, SAME_SUCCESS);
    compare_all("printf 'echo \"a  b\" c\\nseq 3\\nfalse\\nprintf x\\necho \\047$x\\047\\n'",
                "parallel", "weft-processes each", commands, false, SAME_SUCCESS);
    compare_all("printf 'a  b\\n\\047\\n\"\\n\\\\\\n$x\\n*\\n;id\\n#\\n'", "parallel",
                "weft-processes each", words, false, SAME_SUCCESS);
    static const struct row nuls[] = {{"-0 -q -k printf '<%s>\\n'", "-0 -q -k printf '<%s>\\n'"}};
    compare_all("printf 'a\\nb\\0c d\\0'", "parallel", "weft-processes each", nuls, false,
                SAME_SUCCESS);
}

RUN_CASES(enter_scratch, leave_scratch)
