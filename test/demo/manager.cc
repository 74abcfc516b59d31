// manager.cc: weft-processes share, manager, put, get and lock.
#include "../runner.h"

#include "said.h"

#include <weft/deadline.h>

#include <sys/socket.h>
#include <sys/un.h>

static char at[128]; // where the manager of this group listens
static char stop[64];

// Starts it, and returns when it says that it listens.
static int start_manager(void **state)
{
    char command[512];
    if (enter_scratch(state) != 0)
        return -1;
    snprintf(at, sizeof at, "unix:%s/things", scratch);
    snprintf(command, sizeof command,
             "mkfifo news && { setsid weft-processes manager -l %s >news & } && read line <news && "
             "echo $! $line",
             at);
    if (run(command) != 0)
        return -1;
    snprintf(stop, sizeof stop, "kill %ld", strtol(said, nullptr, 10));
    const char *line = strchr(said, ' ');
    char expected[256];
    snprintf(expected, sizeof expected, " listening on %s\n", at);
    return line == nullptr || strcmp(line, expected) != 0 ? -1 : 0;
}

static int stop_manager(void **state)
{
    return run(stop) | leave_scratch(state);
}

// Runs `weft-processes FORMAT` in which %s stands for the address, standard error along with it.
static int demo(const char *format)
{
    char command[1024] = "weft-processes ";
    size_t n = strlen(command);
    n += (size_t)snprintf(command + n, sizeof command - n, format, at);
    snprintf(command + n, sizeof command - n, " 2>&1");
    return run(command);
}

static void says(const char *format, int status, const char *all)
{
    assert_int_equal(demo(format), status);
    assert_string_equal(said, all);
}

// ---- What a browser is shown ----

// The page's server at ./page is asked for that, and what comes until `part` is in `said`.
static void browses(const char *path, const char *part)
{
    struct sockaddr_un a = {};
    a.sun_family = AF_UNIX;
    snprintf(a.sun_path, sizeof a.sun_path, "%s/page", scratch);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    dprintf(fd, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    size_t all = 0;
    for (said[0] = 0; strstr(said, part) == nullptr && all < sizeof said - 1;) {
        ssize_t n = read(fd, said + all, sizeof said - 1 - all);
        if (n <= 0)
            break;
        all += (size_t)n;
        said[all] = 0;
    }
    close(fd);
    says_part(part);
}

// The page, and then each second what the manager knows.
CASE(test_web)
{
    ends_with(0, "mkfifo web && { setsid weft-processes manager -l unix:$PWD/seen "
                 "--web unix:$PWD/page >web & } && { read shown && read listens; } <web && "
                 "echo $! >web.pid && echo \"$shown, $listens\"");
    says_part("shown at unix:");
    says_part(", listening on unix:");
    ends_with(0, "weft-processes put unix:$PWD/seen 'thi\"ngs' a b c");
    browses("/", "EventSource('/events')");
    browses("/events", "\"queue\":[{\"name\":\"thi\\u0022ngs\",\"age\":");
    says_part("\"pending\":3,");
    browses("/events", "name=web"); // the client that it is itself
    browses("/none", "404");
    ends_with(0, "kill $(cat web.pid); while test -S seen; do sleep 0.01; done; rm -f web page");
}

CASE(test_share)
{
    assert_int_equal(run("weft-processes share"), 0);
    assert_int_equal(lines(), 9);
    for (const char *value = "ABCD"; *value != 0; value++) {
        char put[32], get[32];
        snprintf(put, sizeof put, "Put %c to queue...\n", *value);
        snprintf(get, sizeof get, "Get %c from queue.\n", *value);
        const char *first = strstr(said, put), *then = strstr(said, get);
        assert_true(first != nullptr && then != nullptr && first < then);
    }
    assert_string_equal(last_line(), "all 4 values written and read");
    assert_int_equal(run("weft-processes share x 2>&1"), 2);
    assert_int_equal(lines(), 1);
}

CASE(test_put_and_get)
{
    assert_int_equal(demo("put %s q one 'two words' ''"), 0);
    says("get -n 2 %s q", 0, "one\ntwo words\n");
    says("get %s q", 0, "\n");
    says("get -t 2 %s q", 1, "weft-processes: q: out of time\n");
}

// A get waits for a put that comes later.
CASE(test_get_waits)
{
    assert_int_equal(
        run_with("weft-processes get -t 60 %s later & weft-processes put %s later now; wait $!", at,
                 at),
        0);
    assert_string_equal(said, "now\n");
}

CASE(test_put_is_bounded)
{
    assert_int_equal(demo("put -c 2 %s full 1 2"), 0);
    says("put -c 2 -t 2 %s full 3", 1, "weft-processes: full: out of time\n");
    says("get -n 2 %s full", 0, "1\n2\n");
}

// One deadline holds for all of it: connecting, too.
CASE(test_stopped)
{
    char expected[256];
    int64_t begun = weft_now();
    snprintf(expected, sizeof expected, "weft-processes: %s: Connection timed out\n", at);
    assert_int_equal(run_with("kill -STOP %s", strrchr(stop, ' ') + 1), 0);
    says("get -t 0.3 %s q", 1, expected);
    says("put -t 0.3 %s q x", 1, expected);
    says("lock -t 0.3 %s q true", 1, expected);
    int64_t took = weft_now() - begun;
    assert_int_equal(run_with("kill -CONT %s", strrchr(stop, ' ') + 1), 0);
    assert_true(took >= 900000000 && took < 8000000000);
}

// A value that could not be printed is in the queue again.
CASE(test_get_does_not_lose)
{
    assert_int_equal(demo("put %s kept value"), 0);
    assert_int_equal(run_with("weft-processes get %s kept 2>&1 >/dev/full", at), 1);
    assert_non_null(strstr(said, "standard output: No space left"));
    says("get -t 60 %s kept", 0, "value\n");
}

CASE(test_lock)
{
    assert_int_equal(demo("lock %s l sh -c 'echo $TOKEN; exit 7'"), 7);
    long token = atol(said);
    assert_int_equal(demo("lock %s l printenv TOKEN"), 0);
    assert_true(atol(said) > token);
    assert_int_equal(demo("lock %s l weft-no-such-program"), 127);
    assert_int_equal(demo("lock %s l sh -c 'kill -9 $$'"), 137);
}

// Who holds it keeps others out, as long as its command runs: also when it is killed itself.
CASE(test_lock_excludes)
{
    char command[1024];
    snprintf(command, sizeof command,
             "mkfifo held; { weft-processes lock %s x sh -c 'echo $$ >held; exec sleep 1000' & }; "
             "read pid <held; weft-processes lock -t 2 %s x true 2>&1; echo $?; kill -9 $!; "
             "wait $! 2>/dev/null; weft-processes lock -t 2 %s x true 2>&1; echo $?; "
             "kill $pid; weft-processes lock -t 60 %s x echo mine",
             at, at, at, at);
    assert_int_equal(run(command), 0);
    assert_string_equal(said, "weft-processes: x: out of time\n1\n"
                              "weft-processes: x: out of time\n1\nmine\n");
}

// The same on Redis.  A lock there outlives its holder's connection, so it is given back also when
// the command was not found.
CASE(test_on_redis)
{
    if (system("command -v redis-server >/dev/null 2>&1") != 0)
        skip();
    assert_int_equal(
        run("timeout 60 redis-server --port 0 --unixsocket redis --save '' --appendonly no "
            ">/dev/null & "
            "until weft-processes put unix:redis q one 'two words' 2>/dev/null; do sleep 0.01; "
            "done; weft-processes get -n 2 unix:redis q; "
            "weft-processes put -c 1 unix:redis q 1; "
            "weft-processes put -c 1 -t 2 unix:redis q 2 2>/dev/null; echo $?; "
            "weft-processes lock unix:redis l weft-no-such-program 2>/dev/null; echo $?; "
            "weft-processes lock -t 20 unix:redis l printenv TOKEN; echo $?; "
            "weft-processes lock unix:redis l redis-cli -s redis client kill type normal; "
            "weft-processes lock -t 20 unix:redis l printenv TOKEN 2>&1; "
            "kill $!; wait $!"),
        0);
    assert_string_equal(said, "one\ntwo words\n1\n127\n2\n0\n1\n4\n");
}

CASE(test_password)
{
    assert_int_equal(run("weft-processes manager -l tcp:127.0.0.1:0 2>&1"), 1);
    assert_string_equal(said, "weft-processes: tcp:127.0.0.1:0: needs --password-file\n");
    assert_int_equal(run("echo secret >pw; echo wrong >bad; mkfifo tcp; "
                         "{ weft-processes manager -l tcp:127.0.0.1:0 --password-file pw >tcp & }; "
                         "read a b address <tcp; "
                         "weft-processes put --password-file pw $address q 1; echo $?; "
                         "weft-processes get --password-file pw $address q; "
                         "weft-processes get $address q 2>&1; echo $?; "
                         "weft-processes get --password-file bad $address q 2>&1; echo $?; "
                         "kill $!; wait $!; echo $?"),
                     0);
    assert_int_equal(lines(), 7);
    assert_int_equal(strncmp(said, "0\n1\n", 4), 0);
    const char *refused = strstr(said, "Permission denied\n1\n");
    assert_non_null(refused);
    assert_non_null(strstr(refused + 1, "Permission denied\n1\n0\n"));
}

// What would be another password than the file's is none.
CASE(test_password_file_is_bad)
{
    static const char *const bad[] = {"printf ''", "echo", "printf '\\0secret\\n'",
                                      "printf 'sec\\0ret\\n'", "printf %0512d 1"};
    for (const char *each : bad) {
        assert_int_equal(
            run_with(
                "%s >bad; timeout 20 weft-processes manager -l tcp:127.0.0.1:0 --password-file "
                "bad 2>&1",
                each),
            1);
        assert_int_equal(strncmp(said, "weft-processes: bad: ", 21), 0);
        assert_int_equal(lines(), 1);
    }
    assert_int_equal(run("printf '%0511d' 1 >pw; mkfifo long; "
                         "{ weft-processes manager -l tcp:127.0.0.1:0 --password-file pw >long & };"
                         "read a b address <long; "
                         "weft-processes put --password-file pw $address q 1; echo $?; "
                         "kill $!; wait $!; echo $?"),
                     0);
    assert_string_equal(said, "0\n0\n");
}

CASE(test_wrong_usage)
{
    static const char *const wrong[] = {"manager",
                                        "manager -l",
                                        "manager -l unix:x y",
                                        "manager --max-memory 1x",
                                        "put",
                                        "put unix:x",
                                        "put unix:x q",
                                        "get",
                                        "get unix:x",
                                        "get unix:x q r",
                                        "get -n 0 unix:x q",
                                        "get -t x unix:x q",
                                        "lock",
                                        "lock unix:x",
                                        "lock unix:x l",
                                        "put -c -1 unix:x q v",
                                        "get --what unix:x",
                                        "manager -l unix:x --max-memory -5"};
    assert_refuses("weft-processes", wrong);
    assert_int_equal(run("weft-processes get unix:./nobody q 2>&1"), 1);
    assert_string_equal(said, "weft-processes: unix:./nobody: No such file or directory\n");
    assert_int_equal(run("weft-processes lock -h"), 0);
    assert_int_equal(strncmp(said, "usage: ", 7), 0);
}

RUN_CASES(start_manager, stop_manager)
