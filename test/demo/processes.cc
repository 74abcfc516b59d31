// weft-processes: each verb's output and exit status.
#include "../sandbox.h"

#include <errno.h>
#include <initializer_list>
#include <stdio.h>

static const char *demo(void)
{
    static char path[4096];
    const char *bin = getenv("WEFT_BIN");
    snprintf(path, sizeof path, "%s/weft-processes", bin != NULL ? bin : "build/bin");
    return path;
}

struct outcome {
    int status;
    char output[16384];
};

// Runs `weft-processes ARGUMENTS` in a shell, standard error along with the output.
static struct outcome run(const char *before, const char *arguments)
{
    struct outcome o;
    char line[8192];
    snprintf(line, sizeof line, "%s'%s' %s 2>&1", before, demo(), arguments);
    FILE *p = popen(line, "r");
    assert_non_null(p);
    size_t n = fread(o.output, 1, sizeof o.output - 1, p);
    o.output[n] = 0;
    int status = pclose(p);
    assert_true(WIFEXITED(status));
    o.status = WEXITSTATUS(status);
    return o;
}

static void expect(const char *before, const char *arguments, int status, const char *output)
{
    struct outcome o = run(before, arguments);
    assert_string_equal(o.output, output);
    assert_int_equal(o.status, status);
}

static void expect_in(const char *before, const char *arguments, int status, const char *part)
{
    struct outcome o = run(before, arguments);
    assert_non_null(strstr(o.output, part));
    assert_int_equal(o.status, status);
}

CASE(test_no_verb)
{
    char *wc;
    struct outcome o = run("cd / && ", "");
    assert_int_equal(o.status, 0);
    assert_memory_equal(o.output, "out = ", 6);
    long lines = strtol(o.output + 6, &wc, 10);
    assert_true(lines > 1 && *wc == ' ');
    assert_non_null(strstr(o.output, "\nThese are the lines, words and bytes"));
}

CASE(test_run)
{
    expect_in("", "run true", 0, "true: exited with 0 after ");
    expect_in("", "run -- sh -c 'cat; exit 7' </dev/null", 7, "sh: exited with 7");
    expect_in("echo fed | ", "run cat", 0, "fed\n");
    expect_in("", "run sh -c 'kill -9 $$'", 137, "killed by SIGKILL");
    expect_in("", "run -t 0.05 sleep 1000", 124, "out of time");
    expect_in("env --ignore-signal=CHLD ", "run false", 1, "exited with 1");
    for (const char *in_time : {"run -t 60 true", "run -t 1m true"})
        expect_in("", in_time, 0, "exited with 0");
    // What it started ends too: it holds our pipe.  Who ignores SIGTERM gets SIGKILL.
    expect_in("", "run -t 0.05 sh -c 'sleep 1000; true'", 124, "out of time, killed by SIGTERM");
    expect_in("trap '' TERM; ", "run -t 0.1 -k 0.1 sh -c 'sleep 1000; true'", 137,
              "out of time, killed by SIGKILL");
    expect_in("", "run -f --kill-after 9 -t 0.05 sleep 1000", 124, "out of time");
    // A signal to it is one to the command.
    for (const char *told : {"run sh -c 'kill -TERM $PPID; exec sleep 1000'",
                             "run -t 99 sh -c 'kill -TERM $PPID; sleep 1000; true'"})
        expect_in("", told, 143, "SIGTERM");
    expect_in("", "run -T sh -c 'setsid sleep 1000 & exit 3'", 3, "exited with 3");
    expect_in("", "run -t 0.05 -T sh -c 'setsid sh -c \"sleep 1000; true\" & wait'", 124,
              "out of time, killed by SIGTERM");
    expect_in("", "run weft-no-such-program", 127, "No such file");
    expect_in("", "run /", 126, "Permission denied");
}

// The shell's child is born while SIGTERM is blocked in the shell and pending, so it has not got
// it.  A busy machine may need more time for that than it has until SIGKILL.
static int outlive_term(void *old_kernel)
{
    static const struct sandbox no_groups = {"", {{SYS_pidfd_send_signal, 3, ~0U, 4}}};
    if (old_kernel != nullptr && !enter_sandbox(&no_groups, EINVAL))
        return 2;
    static const char *const times[] = {"0.2", "1", "5", "25"};
    for (const char *time : times) {
        char command[400];
        snprintf(command, sizeof command,
                 "run -t 99 -k %s env --block-signal=TERM sh -c 'kill -TERM $PPID; "
                 "until [ \"$p\" != \"${p#*4000}\" ]; do while read k v; do "
                 "[ \"$k\" = ShdPnd: ] && p=$v; done </proc/$$/status; done; sleep 1000; true'",
                 time);
        struct outcome o = run("", command);
        if (o.status != 137)
            return o.status != 143 || strstr(o.output, "SIGTERM") == NULL;
    }
    return 3;
}

CASE(test_run_ends_whom_the_signal_missed)
{
    int yes;
    assert_int_equal(end_of(child_of(outlive_term, nullptr)), 0);
    assert_int_equal(end_of(child_of(outlive_term, &yes)), 0);
}

CASE(test_pipe)
{
    expect("printf 'b\\na\\n' | ", "pipe sort 'tr a-z A-Z'", 0, "A\nB\n");
    expect("", "pipe \"printf '%s\\n' 'x  y'\"", 0, "x  y\n");
    expect("", "pipe 'sh -c \"exit 3\"' 'sh -c \"exit 4\"' true", 4, "");
    expect_in("", "pipe 'cat \"x'", 126, "No closing quotation at byte 4");
    expect_in("", "pipe true 'weft-no-such-program x'", 127,
              "weft-no-such-program x: No such file");
    expect("", "pipe yes 'head -n 1'", 141, "y\n");
}

CASE(test_each)
{
    // The first is the last to end: the order is the input's all the same.
    struct outcome o = run("printf 'sh -c \"sleep 0.2; echo 1\"\\n# no\\n\\necho 2\\nfalse\\n' | ",
                           "each -k -j 3");
    const char *one = strstr(o.output, "1\n"), *two = strstr(o.output, "2\necho 2: exited with 0");
    assert_non_null(one);
    assert_non_null(two);
    assert_true(one < two);
    assert_non_null(strstr(o.output, "false: exited with 1"));
    assert_non_null(strstr(o.output, "\nran 3, failed 1\n"));
    assert_int_equal(o.status, 1);
    expect_in("printf 'true\\ntrue\\n' | ", "each -j 1", 0, "ran 2, failed 0\n");
    expect("", "each </dev/null", 0, "ran 0, failed 0\n");
    expect_in("printf 'echo a\\000echo \"b\\nc\"\\000' | ", "each -0k", 0,
              "\nb\nc\necho \"b\nc\": exited");
    static const struct {
        const char *before, *arguments, *part;
    } failures[] = {{"printf 'echo a\\000echo b\\n' | ", "each", "line 1: has a NUL"},
                    {"echo sleep 1000 | ", "each -t 0.05", "sleep 1000: out of time"},
                    {"", "each </", "standard input: Is a directory"}};
    for (const auto &each : failures)
        expect_in(each.before, each.arguments, 1, each.part);
    expect("echo echo | ", "each >/dev/full", 1, "");
    // A signal to it ends the commands and what they started, which hold our pipe.
    expect("printf '%s\\n' 'sh -c \"kill -TERM $PPID; sleep 1000 & wait\"' 'sleep 1000' 2>&1 | ",
           "each -j 2", 143, "");
}

CASE(test_split)
{
    static const struct {
        const char *line, *words;
    } right[] = {{"split \"a 'b  c' d#e\"", "a\nb  c\nd#e\n"},
                 {"split -0 'a b' | tr '\\0' ,", "a,b,"},
                 {"split --comments 'a #b'", "a\n"},
                 {"split '\"\\$x\"'", "\\$x\n"},
                 {"split --posix '\"\\$x\"'", "$x\n"}};
    for (const auto &each : right)
        expect("", each.line, 0, each.words);
    expect_in("", "split \"a 'b\"", 1, "No closing quotation at byte 2");
    expect_in("", "split 'a\\'", 1, "No escaped character at byte 1");
}

CASE(test_quote)
{
    expect("", "quote a 'b c' ''", 0, "a\n'b c'\n''\n");
    expect("", "quote -0 a b | tr '\\0' ,", 0, "a,b,");
}

CASE(test_usage)
{
    for (const char *asks : {"-h", "run -h"})
        expect_in("", asks, 0, "usage: weft-processes");
    static const char *const bad_lines[] = {"nonsense",      "-x",        "run",
                                            "run -t x true", "each -j 0", "split a b"};
    for (const char *bad : bad_lines)
        expect_in("", bad, 2, "-h shows the usage)\n");
    static const char *const verbs[] = {"",    "run",   "pipe",    "each", "split", "quote", "pool",
                                        "sum", "share", "manager", "put",  "get",   "lock"};
    for (const char *verb : verbs) {
        char arguments[64];
        snprintf(arguments, sizeof arguments, "%s -Z", verb);
        expect_in("", arguments, 2, "unknown option: -Z (-h shows the usage)\n");
    }
}

RUN_CASES()
