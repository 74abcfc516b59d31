// What a client tries again, where it goes then, and what becomes of answers that come too late.
#include "../shm/processes.h"
#include "fake.h"

#include <weft/remote_jobs.h>

// ---- A server that follows a script ----

// What it says to each command in turn; nullptr: nothing.  Behind the end it says PONG.
static const char *const *script;
static char said[16][128]; // the commands, their words with a space between
static int heard;          // atomic
static int silent;         // atomic: it waits after a nullptr until this is 0

static void note(const weft_reply *r)
{
    char *to = said[heard % 16];
    *to = 0;
    for (size_t i = 0; i < r->size && strlen(to) + r->items[i].size + 2 < 128; i++) {
        strcat(to, i > 0 ? " " : "");
        strcat(to, r->items[i].text);
    }
    __atomic_add_fetch(&heard, 1, __ATOMIC_RELEASE);
}

static void follow_script(fake *s, int fd, int)
{
    for (weft_reply *r; (r = fake_command(s, fd)) != nullptr; weft_reply_free(r)) {
        note(r);
        if (script == nullptr || *script == nullptr) {
            fake_say(s, fd, "+PONG\r\n");
            continue;
        }
        while (__atomic_load_n(&silent, __ATOMIC_ACQUIRE))
            usleep(200);
        fake_say(s, fd, *script++);
    }
}

static void begin_script(const char *const *lines)
{
    script = lines;
    heard = 0;
    memset(said, 0, sizeof said);
}

static void was_said(int i, const char *command)
{
    assert_true(i < __atomic_load_n(&heard, __ATOMIC_ACQUIRE));
    assert_string_equal(said[i], command);
}

#define SCRIPT_CASE(fn, ...)                                                                       \
    static void fn##_scripted(void);                                                               \
    CASE(fn)                                                                                       \
    {                                                                                              \
        static const char *const lines[] = {__VA_ARGS__, nullptr};                                 \
        begin_script(lines);                                                                       \
        with_fake(follow_script, 0, fn##_scripted);                                                \
    }                                                                                              \
    static void fn##_scripted(void)

// ---- Refusals ----

SCRIPT_CASE(test_again_later, "-LOADING Redis is loading the dataset in memory\r\n",
            "-BUSY Redis is busy running a script.\r\n", "-TRYAGAIN Multiple keys request\r\n",
            "-CLUSTERDOWN The cluster is down\r\n", "-MASTERDOWN Link with MASTER is down\r\n",
            "-READONLY You can't write against a read only replica.\r\n")
{
    is_pong(ping());
    assert_int_equal(heard, 7);
    assert_int_equal(f.connections, 2); // a replica, and one that has lost its master, are left
}

SCRIPT_CASE(test_again_in_vain, "-LOADING 1\r\n", "-LOADING 2\r\n", "-READONLY 3\r\n",
            "-READONLY 3\r\n", "-READONLY 3\r\n", "-READONLY 3\r\n", "-READONLY 3\r\n",
            "-READONLY 3\r\n", "-READONLY 3\r\n", "-READONLY 3\r\n", "-READONLY 3\r\n")
{
    weft_remote_value *v = weft_remote_value_open(c, "v");
    assert_int_equal(weft_client_set_answer(c, INT64_C(20000000000)), 0);
    assert_errno(weft_remote_value_set(v, 1, WEFT_NOW), EAGAIN); // once
    assert_int_equal(heard, 1);
    assert_string_equal(weft_client_error(c), "LOADING 1");
    assert_int_equal(weft_remote_value_set(v, 1, weft_in_ms(20)), -1);
    assert_in_range(heard, 2, 9);
    // Its time may also be over while it connects once more, or waits for the last answer.
    if (errno != ENOTCONN && errno != ECONNRESET) {
        assert_int_equal(errno, EAGAIN);
        assert_string_equal(weft_client_error(c), "READONLY 3");
    }
    weft_remote_destroy(v);
}

// In a transaction nothing is tried again: the server would take it for something else.
SCRIPT_CASE(test_again_not_in_a_transaction, "+OK\r\n", "-READONLY no\r\n")
{
    static const char *const multi[] = {"MULTI"};
    weft_reply_free(weft_client_command(c, 1, multi, nullptr, weft_in_s(20)));
    weft_reply *r = ping();
    assert_int_equal(r->type, WEFT_REPLY_ERROR);
    weft_reply_free(r);
    assert_int_equal(heard, 2);
}

// ---- Clusters ----

static fake other;
static char sent_on[64];

static void serve_other(fake *s, int fd, int)
{
    for (weft_reply *r; (r = fake_command(s, fd)) != nullptr; weft_reply_free(r)) {
        note(r);
        fake_say(s, fd, strcmp(r->items[0].text, "ASKING") == 0 ? "+OK\r\n" : ":7\r\n");
    }
}

static void with_cluster(const char *how, void (*body)(void))
{
    static const char *lines[3];
    other = {};
    other.serve = serve_other;
    fake_start(&other, true);
    snprintf(sent_on, sizeof sent_on, "-%s 3999 %.40s\r\n", how, other.address + 4);
    lines[0] = sent_on;
    lines[1] = nullptr;
    begin_script(lines);
    with_fake(follow_script, 0, body);
    fake_end(&other);
}

static void is_seven(void)
{
    weft_reply *r = ping();
    assert_non_null(r);
    assert_int_equal(r->type, WEFT_REPLY_INTEGER);
    weft_reply_free(r);
}

CASE(test_again_moved)
{
    with_cluster("MOVED", [] {
        is_seven();
        is_seven(); // and stays there
        assert_int_equal(heard, 3);
        shutdown(weft_client_fd(c), SHUT_RDWR);
        is_seven(); // it is the named address that it connects to again
        assert_int_equal(heard, 4);
    });
}

CASE(test_again_ask)
{
    with_cluster("ASK", [] {
        is_seven();
        was_said(1, "ASKING");
        was_said(2, "PING");
        is_pong(ping()); // back again
        assert_int_equal(heard, 4);
    });
}

// A server that names nobody, or one that is not there: its answer is the call's.
CASE(test_again_moved_nowhere)
{
    static const char *const nowhere[] = {"-MOVED 1 \r\n", "-MOVED\r\n", "-MOVED 1 :7000\r\n",
                                          "-MOVED 1 127.0.0.1:1\r\n", nullptr};
    begin_script(nowhere);
    with_fake(follow_script, 0, [] {
        for (int i = 0; i < 3; i++) {
            weft_reply *r = ping();
            assert_int_equal(r->type, WEFT_REPLY_ERROR);
            weft_reply_free(r);
        }
        is_pong(ping()); // back at its own address
    });
}

// ---- Answers that come too late ----

static void late(void (*call)(void))
{
    assert_int_equal(weft_client_set_answer(c, 1000000), 0);
    __atomic_store_n(&silent, 1, __ATOMIC_RELEASE);
    call();
    assert_int_equal(errno, ECONNRESET);
    __atomic_store_n(&silent, 0, __ATOMIC_RELEASE);
}

SCRIPT_CASE(test_late_item, "$4\r\nlate\r\n", ":1\r\n")
{
    late([] {
        char item[8];
        weft_remote_queue *q = weft_remote_queue_open(c, "q", 0);
        assert_int_equal(weft_remote_queue_get(q, item, sizeof item, WEFT_NOW), -1);
        weft_remote_destroy(q);
    });
    is_pong(ping());
    was_said(1, "LPUSH q late");
    was_said(2, "PING");
}

static void take_nothing(void)
{
    weft_remote_queue *q = weft_remote_queue_open(c, "q", 0);
    assert_null(weft_remote_queue_take(q, WEFT_NOW));
    weft_remote_destroy(q);
}

SCRIPT_CASE(test_late_nothing, "_\r\n")
{
    late(take_nothing);
    is_pong(ping());
    was_said(1, "PING");
}

SCRIPT_CASE(test_late_lock, ":5\r\n", ":0\r\n")
{
    late([] {
        weft_remote_lock *l = weft_remote_lock_open(c, "l", 0);
        assert_int_equal(weft_remote_lock_lock(l, nullptr, WEFT_NOW), -1);
        weft_remote_destroy(l);
    });
    assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0); // a pipeline comes behind it
    is_pong(weft_client_next(c, weft_in_s(20)));
    was_said(1, "WEFT.UNLOCK l");
    was_said(2, "PING");
}

#define EMPTY "$0\r\n\r\n"

// It was not tried by anybody, and waits for others at once.
SCRIPT_CASE(test_late_job,
            "*15\r\n:7\r\n:9\r\n:3\r\n:0\r\n:1\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n" EMPTY EMPTY EMPTY
                EMPTY EMPTY,
            ":1\r\n")
{
    late([] {
        weft_remote_jobs *q = weft_remote_jobs_open(c, "q", nullptr);
        assert_null(weft_remote_jobs_take(q, WEFT_NOW));
        weft_remote_destroy(q);
    });
    is_pong(ping());
    was_said(1, "WEFT.JOB.FAIL q 7 9 UNDONE ");
    was_said(2, "PING");
}

static weft_remote_semaphore *units;

SCRIPT_CASE(test_late_unit, ":1\r\n", ":1\r\n", ":0\r\n")
{
    units = weft_remote_semaphore_open(c, "s", 1, weft_in_s(20));
    late([] { assert_int_equal(weft_remote_semaphore_wait(units, WEFT_NOW), -1); });
    is_pong(ping());
    was_said(2, "WEFT.RELEASE s");
    was_said(3, "PING");
    weft_remote_destroy(units);
}

// One that reads nothing has a part of the command: the rest follows before the next one.
static void read_when_told(fake *s, int fd, int before)
{
    while (__atomic_load_n(&silent, __ATOMIC_ACQUIRE))
        usleep(200);
    follow_script(s, fd, before);
}

CASE(test_late_rest)
{
    begin_script(nullptr);
    __atomic_store_n(&silent, 1, __ATOMIC_RELEASE);
    with_fake(read_when_told, 0, [] {
        const size_t n = 8 << 20; // more than the sockets hold
        char *value = (char *)calloc(1, n);
        const char *const words[] = {"SET", "k", value};
        const size_t sizes[] = {3, 1, n};
        assert_errno(weft_client_command(c, 3, words, sizes, weft_in_ms(20)), ECONNRESET);
        assert_errno(ping(weft_in_ms(20)), ENOTCONN);
        free(value);
        __atomic_store_n(&silent, 0, __ATOMIC_RELEASE);
        is_pong(ping());
        assert_int_equal(heard, 2);
        was_said(1, "PING");
    });
}

// The end of the client gives back what nobody has seen: then it says nothing more.
SCRIPT_CASE(test_late_item_at_the_end, "$4\r\nlate\r\n")
{
    late(take_nothing);
    weft_client_destroy(c);
    c = nullptr;
    usleep(1000);
    assert_int_equal(heard, 1);
}

RUN_CASES(census_begin, census_end)
