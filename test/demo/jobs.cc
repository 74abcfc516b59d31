// jobs.cc: weft-processes work, submit and jobs.
#include "../runner.h"

#include "said.h"

static char at[128]; // where the manager of this group listens
static char stop[64];

static int start_manager(void **state)
{
    if (enter_scratch(state) != 0)
        return -1;
    snprintf(at, sizeof at, "unix:%s/jobs", scratch);
    setenv("AT", at, 1);
    if (run("mkfifo news && { weft-processes manager -l $AT >news & } && read line <news && "
            "echo $!") != 0)
        return -1;
    snprintf(stop, sizeof stop, "kill %ld", strtol(said, nullptr, 10));
    return 0;
}

static int stop_manager(void **state)
{
    return run(stop) | leave_scratch(state);
}

static void says(const char *command, int status, const char *all)
{
    ends_with(status, "%s", command);
    assert_string_equal(said, all);
}

// `weft-processes each` over several workers: what is put here is done there, and comes in order.
CASE(test_submit_and_work)
{
    says("{ weft-processes work -q -x -j3 $AT each -- sh -c 'echo got {}' 2>/dev/null & "
         "weft-processes work -q -x $AT each -- sh -c 'echo got {}' 2>/dev/null & "
         "seq 1 20 | weft-processes submit -qw $AT each; echo $?; wait; }",
         0,
         "got 1\ngot 2\ngot 3\ngot 4\ngot 5\ngot 6\ngot 7\ngot 8\ngot 9\ngot 10\ngot 11\ngot 12\n"
         "got 13\ngot 14\ngot 15\ngot 16\ngot 17\ngot 18\ngot 19\ngot 20\n0\n");
}

CASE(test_ids)
{
    ends_with(0, "seq 1 3 | weft-processes submit $AT ids 2>&1");
    says_part("put 3\n");
    assert_int_equal(lines(), 4);
    says("printf 'a\\nb\\na\\n' | weft-processes submit -qu $AT unique | sort -u | wc -l", 0,
         "0\n");
    says("printf 'a\\nb\\nc\\n' | weft-processes submit -u $AT unique 2>&1 >ids; sort -u ids | wc "
         "-l",
         0, "put 1, there were 2\n3\n");
    says("printf 'a b\\0c\\nd' | weft-processes submit -q0 $AT null; "
         "weft-processes work -q -x -j1 $AT null -- sh -c 'echo \"<$0>\" >>out' 2>&1; cat out",
         0, "ran 2, failed 0, lost 0, given back 0\n<a b>\n<c\nd>\n");
}

// Jobs are commands; what fails is tried again, and then is a dead letter, which can be retried.
CASE(test_failures)
{
    says("printf 'false\\nunclosed \"\\nno-such-command\\n' | weft-processes submit -q -r 0 $AT "
         "fail; "
         "weft-processes work -x -j1 $AT fail 2>&1 | sed 's/, [0-9.]* s$//'",
         0,
         "false: exited with 1\n"
         "unclosed \": No closing quotation at byte 9\n"
         "no-such-command: no-such-command: No such file or directory\n"
         "ran 3, failed 3, lost 0, given back 0\n");
    ends_with(0, "weft-processes jobs -d $AT fail");
    says_part("fail: waiting 0, delayed 0, running 0, done 0, dead 3\n");
    says_part("  false: exited with 1\n");
    says(
        "weft-processes jobs --retry $AT fail; weft-processes work -q -x -j1 $AT fail 2>/dev/null; "
        "weft-processes jobs --remove $AT fail; weft-processes jobs --remove $AT fail",
        0, "3 dead letters wait again\n3 dead letters removed\n0 dead letters removed\n");
    says("echo 'test $JOB_TRY = 2 && echo second' | weft-processes submit -qw -r 1 $AT try & "
         "weft-processes work -q -x -j1 $AT try -- sh -c {} 2>/dev/null; wait",
         0, "second\n");
    says("echo 'echo why; exit 3' | weft-processes submit -qw -r 0 $AT why 2>&1 & "
         "weft-processes work -q -x -j1 $AT why -- sh -c {} 2>/dev/null; wait $!; echo $?",
         0, "echo why; exit 3: exited with 3: why, tried 1 times\n1\n");
}

// At its time limit a job ends with all that it started.
CASE(test_limit)
{
    ends_with(0, "echo 'setsid sh -c \"echo \\$\\$ >pid; exec sleep 100\" & wait' | "
                 "weft-processes submit -q -l 0.5 -r 0 $AT limit; "
                 "weft-processes work -x -j1 $AT limit -- sh -c {} 2>&1");
    says_part(": out of time, ");
    ends_with(1, "kill -0 $(cat pid) 2>/dev/null");
    ends_with(0, "weft-processes jobs -d $AT limit");
    says_part("out of time");
}

// Only the first bytes of what it says are its result.
CASE(test_output)
{
    says("echo 'seq 1 100000' | weft-processes submit -qw $AT output & "
         "weft-processes work -q -x -j1 -o 7 $AT output 2>/dev/null; wait",
         0, "1\n2\n3\n4");
    says("echo x | weft-processes submit -qw $AT output & "
         "weft-processes work -q -x -j1 -o 0 $AT output -- echo 2>/dev/null; wait",
         0, "");
}

// With a server whose memory is full a job is done, too, with less of a result.
CASE(test_full_server)
{
    says("weft-processes manager --max-memory 2m -l unix:$PWD/full >full.log & M=$!; "
         "A=unix:$PWD/full; until grep -q . full.log; do sleep 0.01; done; "
         "echo 'echo on >>full.ran; seq 1 2000' | weft-processes submit -q $A q; "
         "W=$(head -c 60000 /dev/zero | tr '\\0' x); "
         "while weft-processes put -t 9 $A fill $W 2>/dev/null; do :; done; "
         "weft-processes work -x -j1 -l 9 $A q -- sh -c {} 2>&1 | tail -1; wc -l <full.ran; "
         "weft-processes jobs $A q | head -1; kill $M; wait $M",
         0,
         "ran 1, failed 0, lost 0, given back 0\n1\n"
         "q: waiting 0, delayed 0, running 0, done 1, dead 0\n");
}

// SIGTERM: no more are taken, and what runs ends in peace.
CASE(test_drain)
{
    ends_with(0, "mkfifo go; printf 'echo on >begun; cat go\\necho never\\n' | "
                 "weft-processes submit -q $AT drain; "
                 "weft-processes work -j1 $AT drain -- sh -c {} 2>log & "
                 "until [ -s begun ]; do sleep 0.01; done; kill $!; "
                 "until grep -q 'once more' log; do sleep 0.01; done; echo gone >go; wait $!");
    ends_with(0, "cat log");
    says_part("ran 1, failed 0, lost 0, given back 0\n");
    ends_with(0, "weft-processes jobs $AT drain");
    says_part("waiting 1, delayed 0, running 0, done 1, dead 0");
}

// Twice: now; the job is another's, without having lost a try.
CASE(test_drain_at_once)
{
    ends_with(128 + SIGTERM,
              "echo 'echo $JOB_TRY >>tries; [ -s first ] || { echo on >first; sleep 100; }' | "
              "weft-processes submit -q $AT now; "
              "weft-processes work -j1 $AT now -- sh -c {} 2>log & "
              "until [ -s first ]; do sleep 0.01; done; kill $!; "
              "until grep -q 'once more' log; do sleep 0.01; done; kill $!; wait $!");
    ends_with(0, "weft-processes jobs $AT now");
    says_part("waiting 1, delayed 0, running 0, done 0, dead 0");
    ends_with(0, "weft-processes work -q -x -j1 $AT now -- sh -c {} 2>&1; cat tries");
    says_part("1\n1\n");
}

// nohup(1): what is ignored ends nothing.
CASE(test_ignored_signal)
{
    says("mkfifo nohup; printf 'echo on >nohup.begun; cat nohup\necho second\n' | "
         "weft-processes submit -q $AT nohup; trap '' HUP; "
         "weft-processes work -x -j1 $AT nohup -- sh -c {} 2>log & "
         "until [ -s nohup.begun ]; do sleep 0.01; done; kill -HUP $!; echo gone >nohup; wait $!; "
         "tail -1 log",
         0, "ran 2, failed 0, lost 0, given back 0\n");
}

// A server that is silent keeps nobody from ending; nor is it given up at once at the start.  It is
// in a session of its own: where somebody is stopped, the kernel may send SIGHUP to the whole
// group.
CASE(test_silent_server)
{
    says(
        "setsid weft-processes manager -l unix:$PWD/silent >silent.log & M=$!; A=unix:$PWD/silent; "
        "until grep -q . silent.log; do sleep 0.01; done; "
        "echo 'echo on >silent.begun; sleep 100' | weft-processes submit -q $A q; "
        "weft-processes work -j1 -l 40 $A q -- sh -c {} 2>log & W=$!; "
        "until [ -s silent.begun ]; do sleep 0.01; done; kill -STOP $M; kill $W; "
        "until grep -q 'once more' log; do sleep 0.01; done; T=$(date +%s); kill $W; wait $W; "
        "echo $?; [ $(($(date +%s) - T)) -lt 30 ] || echo late; "
        "{ weft-processes jobs $A q | head -1; } & J=$!; sleep 0.5; kill -CONT $M; wait $J; "
        "kill $M; wait $M",
        0, "143\nq: waiting 1, delayed 0, running 0, done 0, dead 0\n");
}

// A worker that is killed takes its command with it, and loses its job: at once if it is tied.
CASE(test_killed)
{
    ends_with(0, "echo 'echo $$ >>pids; [ $(wc -l <pids) = 2 ] || exec sleep 100' | "
                 "weft-processes submit -q $AT killed; "
                 "weft-processes work -t -j1 $AT killed -- sh -c {} 2>/dev/null & "
                 "until [ -s pids ]; do sleep 0.01; done; kill -9 $!; wait $!; "
                 "weft-processes work -q -x -j1 $AT killed -- sh -c {} 2>&1; "
                 "while kill -0 $(head -1 pids) 2>/dev/null; do sleep 0.01; done; wc -l <pids");
    says_part("ran 1, failed 0, lost 0, given back 0\n2\n");
}

// Heartbeats keep the lease of what takes longer than that.
CASE(test_long)
{
    says("echo 'sleep 1; echo $JOB_TRY' | weft-processes submit -qw $AT long & "
         "weft-processes work -q -x -j1 -l 0.3 $AT long -- sh -c {} 2>/dev/null; wait",
         0, "1\n");
}

CASE(test_json)
{
    ends_with(0, "printf 'a\"\\\\\\t\\n' | weft-processes submit -q -r 0 -p 5 $AT json; "
                 "weft-processes work -q -x -j1 $AT json -- sh -c 'exit 1' 2>/dev/null; "
                 "weft-processes jobs --pause $AT json; weft-processes jobs --json $AT json");
    says_part("{\"queue\":\"json\",\"paused\":true,\"waiting\":0,\"delayed\":0,\"running\":0,"
              "\"done\":0,\"dead\":1,\"put\":1,\"taken\":1,\"ended\":0,\"failed\":1,\"lost\":0,"
              "\"rate\":0.000,\"running_jobs\":[],\"dead_jobs\":[{\"id\":");
    says_part("\"priority\":5,\"tries\":1,\"retries\":0,");
    says_part("\"job\":\"a\\\"\\\\\\u0009\"}]}\n");
    says("weft-processes jobs --resume $AT json; weft-processes jobs $AT json | head -1", 0,
         "json: waiting 0, delayed 0, running 0, done 0, dead 1\n");
}

// What is no UTF-8 is not said as if it were, nor is a terminal told anything.
CASE(test_odd_bytes)
{
    ends_with(0, "printf 'a\\303\\244\\377\\300\\200\\355\\240\\200\\360\\237\\n' | "
                 "weft-processes submit -q -r 0 $AT odd; "
                 "weft-processes work -q -x -j1 -w \"$(printf 'w\\033[2J')\" $AT odd -- false "
                 "2>/dev/null; weft-processes jobs --json $AT odd");
    says_part("\"worker\":\"w\\u001b[2J\",");
    says_part("\"job\":\"a\303\244\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"}]}\n");
    ends_with(0, "weft-processes jobs -d $AT odd");
    says_part("  w?[2J                    ");
}

// Dead letters that die again at once are not tried for ever.
CASE(test_retry_once)
{
    says("yes false | head -200 | weft-processes submit -q -r 0 $AT once; "
         "weft-processes work -q -x -j2 $AT once 2>/dev/null; "
         "weft-processes work -q -j2 $AT once 2>/dev/null & "
         "timeout 20 weft-processes jobs --retry $AT once; kill $!; wait $!",
         0, "200 dead letters wait again\n");
}

// The same on a Redis server.
CASE(test_redis)
{
    if (run("command -v redis-server >/dev/null") != 0)
        skip();
    says("redis-server --port 0 --unixsocket $PWD/redis --save '' --dir $PWD >redis.log 2>&1 & "
         "R=$!; A=unix:$PWD/redis; "
         "until weft-processes jobs $A q >/dev/null 2>&1; do sleep 0.01; done; "
         "weft-processes work -q -x -j2 $A q -- sh -c 'echo $JOB_TRY {}; test {} != 2' 2>/dev/null "
         "& "
         "seq 1 3 | weft-processes submit -q -w -r 0 $A q 2>&1; wait $!; "
         "weft-processes jobs $A q | head -1; kill $R; wait $R",
         0,
         "1 1\n2: exited with 1: 1 2, tried 1 times\n1 3\n"
         "q: waiting 0, delayed 0, running 0, done 2, dead 1\n");
}

// What has filled the memory of a Redis server can be worked off.
CASE(test_full_redis)
{
    if (run("command -v redis-server >/dev/null") != 0)
        skip();
    says("redis-server --port 0 --unixsocket $PWD/full.redis --save '' --dir $PWD --maxmemory 3mb "
         ">full.log 2>&1 & R=$!; A=unix:$PWD/full.redis; "
         "until weft-processes jobs $A q >/dev/null 2>&1; do sleep 0.01; done; "
         "W=$(head -c 60000 /dev/zero | tr '\\0' x); "
         "{ echo 'seq 1 2000'; echo false; while echo \": $W\"; do :; done; } 2>/dev/null | "
         "weft-processes submit -q -r 0 $A q 2>/dev/null; weft-processes jobs $A q | "
         "sed 's/.*waiting \\([0-9]*\\),.*/\\1/;q' >all; "
         "weft-processes work -x -q -j1 $A q -- sh -c {} 2>&1 | sed 's/ 1, lost.*//' | tail -1 "
         ">ran; echo \"ran $(cat all), failed\" | cmp - ran; kill $R; wait $R",
         0, "");
}

CASE(test_refuses)
{
    static const char *const wrong[] = {
        "work",
        "work $AT",
        "work -j0 $AT q",
        "work -l 0 $AT q",
        "submit $AT",
        "submit $AT q x",
        "submit -p x $AT q",
        "jobs $AT",
        "jobs --retry --remove $AT q",
        "jobs -x $AT q",
    };
    assert_refuses("weft-processes", wrong);
    ends_with(1, "weft-processes work unix:@no-such-place q 2>&1");
    ends_with(1, "weft-processes jobs unix:@no-such-place q 2>&1");
    ends_with(1, "weft-processes submit unix:@no-such-place q </dev/null 2>&1");
}

RUN_CASES(start_manager, stop_manager)
