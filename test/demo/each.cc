// weft-processes each: what it starts, prints, logs and leaves.
#include "../runner.h"

#include "said.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include <weft/subprocess.h>

// Leaves out how long each one took.
static void forget_times(void)
{
    for (char *end = said; (end = strstr(end, " s\n")) != nullptr;) {
        char *begin = end;
        while (begin > said && *begin != ',')
            begin--;
        memmove(begin, end + 2, strlen(end + 2) + 1);
        end = begin;
    }
}

// Runs it behind `input` with standard error along with the output; its status and all it said.
static void expect(const char *input, const char *options, int status, const char *all)
{
    assert_int_equal(run_with("{ %s | weft-processes each %s; } 2>&1", input, options), status);
    forget_times();
    assert_string_equal(said, all);
}

CASE(test_each_argument)
{
    const char *three = "printf '%s\\n' a 'b  c' '$d'";
    expect(three, "-qk printf '%s,%s\\n' x", 0, "x,a\nx,b  c\nx,$d\nran 3, failed 0\n");
    expect(three, "-qk echo -{}-{} {}", 0, "-a-a a\n-b  c-b  c b  c\n-$d-$d $d\nran 3, failed 0\n");
    expect("printf 'a\\000b\\nc\\000'", "-0qk echo", 0, "a\nb\nc\nran 2, failed 0\n");
    expect("printf 'x y\\n'", "sh -c 'exit 3'", 1,
           "sh -c 'exit 3' 'x y': exited with 3\nran 1, failed 1\n");
    expect("printf '\\n#\\n'", "-qk echo", 0, "\n#\nran 2, failed 0\n");
    expect("printf 'echo\\n'", "-q {} x", 0, "x\nran 1, failed 0\n");
    expect("printf a", "-q -- echo -j", 0, "-j a\nran 1, failed 0\n");
}

CASE(test_each_order)
{
    // The first one ends only when the second has been told of, or was started at least.
    const char *first = "printf '%s\\n' 'until test -e second; do sleep 0.01; done; echo 1' "
                        "'echo 2; : >second'";
    expect(first, "-qk -j 2 sh -c {}; rm second", 0, "1\n2\nran 2, failed 0\n");
    assert_int_equal(
        run("printf '%s\\n' 'until grep -q 2 out; do sleep 0.01; done; echo 1' 'echo 2'"
            " | weft-processes each -q -j 2 sh -c {} >out && cat out"),
        0);
    assert_string_equal(said, "2\n1\n");
}

CASE(test_each_tag)
{
    expect("printf 'a\\nb\\n'", "-qk --tag sh -c 'printf \"1\\n2\"'", 0,
           "a\t1\na\t2\nb\t1\nb\t2\nran 2, failed 0\n");
    expect("echo true", "-q --tag", 0, "ran 1, failed 0\n");
}

// The command ends when its line has been seen.
CASE(test_each_line_buffer)
{
    assert_int_equal(run("echo x | weft-processes each -q --tag --line-buffer sh -c "
                         "'echo 1; until test -e seen; do sleep 0.01; done; printf 2' 2>&1 |"
                         "while read -r line; do : >seen; echo \"$line\"; done"),
                     0);
    assert_string_equal(said, "x\t1\nx\t2\nran 1, failed 0\n");
    expect("seq 50", "-qk --line-buffer seq | sort -n | uniq -c | tail -n 1", 0,
           "ran 50, failed 0\n      1 50\n");
}

CASE(test_each_jobs)
{
    // As many as are wanted run at the same time: each waits for all.
    const char *all = "sh -c ': >at-{}; until test -e at-3; do sleep 0.01; done'";
    char options[256];
    static const char *const ways[] = {"-j 3", "-j +2", "-j 300%"};
    for (const char *jobs : ways) {
        snprintf(options, sizeof options, "-q %s %s; rm at-*", jobs, all);
        expect("seq 3", options, 0, "ran 3, failed 0\n");
    }
    assert_int_equal(run("seq 3 | taskset -c 0 weft-processes each -q -j 100% sh -c "
                         "'ls at-* 2>&-; : >at-{}; sleep 0.02; rm at-{}' 2>&1"),
                     0);
    assert_string_equal(said, "ran 3, failed 0\n");
    static const char *const bad_all[] = {"0", "3x", "%", "-1", "0%", "+x", "99999999999%"};
    for (const char *bad : bad_all) {
        snprintf(options, sizeof options, "true | weft-processes each -j %s 2>&-", bad);
        assert_int_equal(run(options), 2);
    }
}

// Also while a command writes without end.
CASE(test_each_ends_by_a_signal)
{
    assert_int_equal(run("echo yes | timeout -s TERM 0.3 weft-processes each"), 124);
    assert_int_equal(run("weft-processes each <>/dev/zero -0 sh -c 'kill -TERM $PPID; yes'"), 143);
}

CASE(test_each_starts_while_input_comes)
{
    // The input ends when the first command has run.
    assert_int_equal(run("rm -f ran; (echo ': >ran'; until test -e ran; do sleep 0.01; done) |"
                         " weft-processes each -q sh -c {} 2>&1"),
                     0);
    assert_string_equal(said, "ran 1, failed 0\n");
}

CASE(test_each_halts)
{
    expect("seq 5", "-q -j 1 --halt soon,fail=2 sh -c 'exit $((1 - {} % 2))'; true", 0,
           "sh -c 'exit $((1 - 2 % 2))': exited with 1\n"
           "sh -c 'exit $((1 - 4 % 2))': exited with 1\nran 4, failed 2, halted\n");
    expect("seq 5", "-q -j 1 --halt soon,done=2 true", 0, "ran 2, failed 0, halted\n");
    expect("seq 5", "-q -j 1 --halt never true", 0, "ran 5, failed 0\n");
    expect("seq 10", "-q -j 1 --halt soon,done=45% true", 0, "ran 5, failed 0, halted\n");
    expect("seq 10", "-q -j 1 --halt now,success=100% true", 0, "ran 10, failed 0, halted\n");
    // With success as the aim the killed ones are no failure.
    assert_int_equal(run("printf '%s\\n' 'sleep 1000 & wait' true | weft-processes each -j 2 "
                         "--halt now,success=1 sh -c {} 2>&1"),
                     0);
    assert_non_null(strstr(said, "sh -c 'sleep 1000 & wait': killed"));
    static const char *const bad_all[] = {"now",          "now,fail",      "now,fail=0",
                                          "later,fail=1", "now,x=1",       "",
                                          "now,fail=0%",  "now,fail=101%", "now,fail=%"};
    for (const char *bad : bad_all) {
        assert_int_equal(run_with("weft-processes each --halt '%s' </dev/null 2>&-", bad), 2);
    }
}

CASE(test_each_retries)
{
    const char *third = "-q --retries %d sh -c 'echo x >>tries; test $(wc -l <tries) = 3'";
    char options[128];
    for (int tries = 1; tries <= 4; tries++) {
        snprintf(options, sizeof options, third, tries);
        run("rm -f tries");
        snprintf(said, sizeof said, "echo a | weft-processes each %s 2>&-", options);
        assert_int_equal(run(strdupa(said)), tries < 3);
    }
}

// What an earlier log has is among all and is done; it is no failure, and a success when one of
// ours is.
CASE(test_each_halts_when_resumed)
{
    static const char *const rules[] = {"fail=40%",  "fail=2",      "done=50%", "done=6",
                                        "success=4", "success=50%", "success=6"};
    static const char *const ends[] = {"ran 5, failed 4", "ran 3, failed 2", "ran 1, failed 1",
                                       "ran 2, failed 1", "ran 2, failed 1", "ran 2, failed 1",
                                       "ran 6, failed 5"};
    for (int i = 0; i < 7; i++) {
        char command[160];
        run("rm -f log; seq 4 | weft-processes each -q --joblog log -- test 6 -eq 2>&-");
        snprintf(command, sizeof command,
                 "seq 10 >all; weft-processes each -q -j 1 --joblog log --resume --halt soon,%s -- "
                 "test 6 -eq <all 2>&1 | tail -n 1",
                 rules[i]);
        run(command);
        assert_memory_equal(said, ends[i], strlen(ends[i]));
    }
}

// One that fails once the rule has said enough is not tried again, but told of and logged.
CASE(test_each_retries_until_it_halts)
{
    assert_int_equal(run("printf 'until grep -q enough log; do :; done; false\\n: enough\\n' | "
                         "weft-processes each -j 2 --retries 3 --halt soon,success=1 --joblog log "
                         "sh -c {} 2>&1"),
                     0);
    assert_non_null(strstr(said, "ran 2, failed 1, halted"));
    assert_int_equal(run("grep -c false log"), 0);
}

// ^Z stops each and its commands; the time that passes until it goes on is not theirs.  In a
// session of their own: where somebody is stopped, the kernel may send SIGHUP to the whole group.
CASE(test_each_stops_with_its_commands)
{
    // The command is one process: a shell that starts another sleeps on, uninterruptibly, while
    // that one is stopped before its exec.  It ends when it is told to, after it went on.
    assert_int_equal(run("mkfifo end; echo x | setsid weft-processes each -t 4 sh -c 'echo done; "
                         "echo $$ >pid; read word <end' 2>&1 & until [ -s pid ]; do :; done; "
                         "kill -TSTP $!; for p in $! $(cat pid); do "
                         "until grep -q 'State:.T' /proc/$p/status; do :; done; done; "
                         "sleep 4.5; kill -CONT $!; echo go >end; wait $!"),
                     0);
    assert_non_null(strstr(said, "done\n"));
}

CASE(test_each_log)
{
    assert_int_equal(run("printf 'true\\nsh -c \"exit 3\"\\nsleep 1000\\nfalse\\nno-such-program\\n"
                         "\"\\n' | weft-processes each -t 2 -j 1 --joblog log 2>&-"),
                     1);
    assert_int_equal(run("awk -F'\\t' 'NR == 1 || ($2 > 1e9 && $3 + $4 >= 0) "
                         "{ print $1, $6, $7, $8, $9 }' log"),
                     0);
    assert_string_equal(said,
                        "Seq Tries Exit Signal Command\n1 1 0 0 true\n2 1 3 0 sh -c \"exit 3\"\n"
                        "3 1 124 15 sleep 1000\n4 1 1 0 false\n5 1 127 0 no-such-program\n"
                        "6 1 126 0 \"\n");
    // Resumed, what has a line is not run again, but what was torn is; other input is run.
    assert_int_equal(run("head -n 3 log >l && printf '3\\t1' >>l && mv l log; printf 'true\\n"
                         "sh -c \"exit 4\"\\necho\\n' |"
                         "weft-processes each -j 1 --joblog log --resume 2>&1; cut -f 1,7,9 log"),
                     0);
    forget_times();
    assert_string_equal(said, "sh -c \"exit 4\": exited with 4\n\necho: exited with 0\nran 2, "
                              "failed 1, skipped 1\nSeq\tExit\tCommand\n1\t0\ttrue\n"
                              "2\t3\tsh -c \"exit 3\"\n2\t4\tsh -c \"exit 4\"\n3\t0\techo\n");
    // Without --resume it begins anew; two can't write one.
    assert_int_equal(run("echo true | weft-processes each --joblog log 2>&- && wc -l <log"), 0);
    assert_string_equal(said, "2\n");
    assert_int_equal(run("echo 'weft-processes each --joblog log </dev/null 2>&1' |"
                         "weft-processes each -q --joblog log sh -c {} 2>&-"),
                     1);
    assert_non_null(strstr(said, "log: in use"));
    assert_int_equal(run("echo 'sh -c true' | weft-processes each --joblog /dev/full 2>&-"), 1);
    assert_int_equal(run("weft-processes each --resume </dev/null 2>&-"), 2);
    // One that can't grow has whole lines, and is gone on from.
    assert_int_equal(run("(ulimit -f 1; seq 50 | weft-processes each -q --joblog log true) 2>&1"),
                     1);
    assert_non_null(strstr(said, "joblog: File too large\n"));
    assert_int_equal(run("seq 50 | weft-processes each -q --joblog log --resume true 2>&1 &&"
                         "cut -f 1 log | sort -n | uniq | wc -l"),
                     0);
    assert_non_null(strstr(said, ", failed 0, skipped "));
    assert_non_null(strstr(said, "\n51\n"));
    // What there was no room to start is left to be run.
    assert_int_equal(run("(ulimit -n 8; echo true | weft-processes each -q --joblog log) 2>&1;"
                         "echo true | weft-processes each -q --joblog log --resume 2>&1"),
                     0);
    assert_string_equal(said, "true: Too many open files, 0.00 s\nran 1, failed 1\n"
                              "ran 1, failed 0\n");
}

// Where GNU parallel is installed: the same options print the same, and log the same ends.
CASE(test_each_as_parallel)
{
    static const char *const all[] = {
        "seq 9 | %s -k -j 3 echo x{}y {}",
        "seq 9 | %s -k -j 3 echo",
        "seq 3 | %s -k --tag seq",
        "printf 'a b\\n\\nc' | %s -k echo",
        "printf 'a\\nb\\000c' | %s -k -0 echo",
        "printf 'echo 1\\necho 2\\n' | %s -k",
        "seq 9 | %s -j 1 --halt soon,fail=1 test 4 -ne",
        "seq 9 | %s -j 1 --halt now,success=2 test 4 -lt",
        "seq 9 | %s -j 1 --halt soon,done=4 echo",
        "seq 10 | %s -j 1 --halt soon,fail=30%% test 4 -gt",
        "seq 10 | %s -j 1 --halt now,success=25%% test 4 -lt",
        "seq 10 | %s -j 1 --halt soon,done=45%% echo",
        "seq 2 | %s -k -j 1 --retries 3 test x =",
    };
    char expected[4096], log[1024], command[512];
    if (run("command -v parallel") != 0)
        skip();
    for (const char *form : all) {
        runner_alarm(); // each has a case's time, for a busy machine is slow to start a perl
        for (int ours = 0; ours < 2; ours++) {
            snprintf(command, sizeof command, form,
                     ours ? "weft-processes each --joblog log" : "parallel --joblog log");
            strcat(command, " 2>&-");
            run(command);
            assert_true(strlen(said) < sizeof expected);
            if (!ours)
                strcpy(expected, said);
            assert_string_equal(said, expected);
            run("awk -F'\t' 'NR > 1 { print $1, $7, $8 }' log | sort");
            if (!ours)
                strcpy(log, said);
            assert_string_equal(said, log);
        }
    }
}

// ---- On a terminal ----

// A terminal's rows, as far as each uses one: \r, \n, and the erasing of the row's rest.
struct screen {
    char rows[4096]; // all but the last are ended by \n
    char row[256];
    size_t size, at, widest, draws, escape;
};

enum { ENOUGH = 5 }; // draws, which are told of by a file

static int show(const char *bytes, size_t n, void *arg)
{
    struct screen *s = (struct screen *)arg;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\r') {
            s->at = 0;
        } else if (bytes[i] == '\n') {
            assert_null(strstr(s->row, "running")); // the bar gives way to what stays
            s->size +=
                (size_t)snprintf(s->rows + s->size, sizeof s->rows - s->size, "%s\n", s->row);
            memset(s->row, 0, sizeof s->row);
        } else if (bytes[i] == '\033' || s->escape > 0) { // three, and they may come apart
            s->escape = (s->escape + 1) % 3;
            if (s->escape > 0)
                continue;
            s->draws += strstr(s->row, "running") != nullptr && s->at > 0;
            if (s->draws == ENOUGH)
                close(open("drawn", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
            memset(s->row + s->at, 0, sizeof s->row - s->at);
        } else {
            s->row[s->at++] = bytes[i];
            s->widest = s->at > s->widest ? s->at : s->widest;
        }
    }
    return 0;
}

// Runs it on one that is so wide.
static struct screen on_terminal(const char *command, unsigned short columns)
{
    struct screen s = {};
    weft_sink sink = {};
    weft_subprocess_options o = {};
    const char *const sh[] = {"sh", "-c", command, nullptr};
    sink.take = show;
    sink.arg = &s;
    o.out.kind = o.err.kind = WEFT_STREAM_PTY;
    o.out.sink = &sink;
    o.columns = columns;
    assert_int_equal(weft_subprocess_run(sh, &o, nullptr, WEFT_FOREVER), 0);
    assert_string_equal(s.row, "");
    assert_true(s.widest < columns);
    return s;
}

CASE(test_each_bar)
{
    const char *command = "rm -f drawn; (echo 1; echo 2) | weft-processes each -q -j 1 sh -c "
                          "'until test -e drawn; do sleep 0.01; done; echo x'";
    for (unsigned short columns = 25; columns < 200; columns += 60) {
        weft_deadline begun = weft_now();
        struct screen s = on_terminal(command, columns);
        assert_string_equal(s.rows, "x\nx\nran 2, failed 0\n");
        assert_true(weft_now() - begun >= (ENOUGH - 2) * 200000000ll); // at most five a second
    }
}

// ---- Killed at any instant ----

enum { COMMANDS = 200, KILLS = 100 };

// How often each number is the first word of a line that ends.
static void count(const char *path, int counts[COMMANDS + 1])
{
    FILE *f = fopen(path, "re");
    char line[256];
    memset(counts, 0, (COMMANDS + 1) * sizeof *counts);
    while (f != nullptr && fgets(line, sizeof line, f) != nullptr) {
        long n = strtol(line, nullptr, 10);
        assert_true(n >= 0 && n <= COMMANDS);
        counts[n] += strchr(line, '\n') != nullptr;
    }
    if (f != nullptr)
        fclose(f);
}

// Starts it; after so many microseconds it is killed, 0: never.  Whether it came to its end.  Who
// reads its output is slow: it is mostly at writing that.
static bool resume(useconds_t life)
{
    int pipe[2];
    assert_int_equal(pipe2(pipe, O_CLOEXEC), 0);
    fcntl(pipe[1], F_SETPIPE_SZ, 4096);
    pid_t reader = fork();
    if (reader == 0) {
        dup2(pipe[0], 0);
        execlp("sh", "sh", "-c", "while read -r line; do echo $line; done >>out", nullptr);
        _exit(127);
    }
    pid_t pid = fork();
    if (pid == 0) {
        dup2(open("numbers", O_RDONLY), 0);
        dup2(pipe[1], 1);
        execlp("weft-processes", "weft-processes", "each", "-q", "-j", "3", "--joblog", "log",
               "--resume", "sh", "-c", "echo {} >>done; printf '%05000d\\n' 0; echo {}", nullptr);
        _exit(127);
    }
    close(pipe[0]);
    close(pipe[1]);
    if (life > 0)
        usleep(life);
    if (life > 0)
        kill(pid, SIGKILL);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(waitpid(reader, nullptr, 0), reader);
    assert_true(life > 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    return WIFEXITED(status);
}

// What the log says has run: once a line, output written, and never again.
static int check(int runs_when_logged[COMMANDS + 1])
{
    int logged[COMMANDS + 1], runs[COMMANDS + 1], written[COMMANDS + 1], n = 0;
    count("log", logged);
    count("done", runs);
    count("out", written);
    for (int i = 1; i <= COMMANDS; i++) {
        assert_in_range(logged[i], 0, 1);
        if (logged[i] == 0)
            continue;
        if (runs_when_logged[i] == 0)
            runs_when_logged[i] = runs[i];
        assert_true(runs[i] > 0 && written[i] > 0);
        assert_int_equal(runs[i], runs_when_logged[i]);
        n++;
    }
    return n;
}

CASE(test_each_resumes_whenever_killed)
{
    assert_int_equal(run("seq 200 >numbers"), 0);
    for (int kills = 0; kills < KILLS;) {
        int runs[COMMANDS + 1] = {};
        run("rm -f log done out");
        for (bool over = false; !over && kills < KILLS;) {
            over = resume(1 + (useconds_t)(random() % (RUNNER_SANITIZED ? 100000 : 25000)));
            kills += !over;
            check(runs);
        }
        resume(0);
        assert_int_equal(check(runs), COMMANDS);
    }
}

RUN_CASES(enter_scratch, leave_scratch)
