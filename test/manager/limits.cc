// The server's limits: of messages, replies, clients, memory, and of patience.
#include "served.h"

#include <sys/resource.h>

SERVER_CASE_WITH(test_max_message, o.max_message = 100000)
{
    char *value = (char *)malloc(200000), *p;
    memset(value, 'v', 200000);
    raw_set(&c, "SET", value, 99000);
    assert_string_equal(reply(&c), "+OK\r\n");
    raw r = open_one();
    raw_set(&r, "SET", value, 150000);
    assert_true(is_cut(&r));
    assert_true(r.have == 0 ||
                strncmp(r.in, "-ERR Protocol error: invalid bulk length\r\n", r.have) == 0);
    raw_close(&r);
    // Many small words are a long message as well.
    p = value + sprintf(value, "*20000\r\n");
    for (int i = 0; i < 20000; i++)
        p += sprintf(p, "$3\r\nDEL\r\n");
    raw_open(&r, address);
    raw_send(&r, value, (size_t)(p - value));
    assert_true(is_cut(&r));
    raw_close(&r);
    says(&c, "STRLEN big", ":99000\r\n");
    free(value);
}

// A longer one is more than the server's counts hold.
CASE(test_max_message_has_a_limit)
{
    o = {};
    o.max_message = (512 << 20) + 1;
    assert_errno(weft_manager_start(address_in_folder("weft"), &o), EINVAL);
    o.max_message = 512 << 20;
    start(&o);
    says(&c, "PING", "+PONG\r\n");
    stop_server();
}

// Whatever could be put can be got.
SERVER_CASE(test_max_reply_is_above_max_message)
{
    static const char names[] = "CONFIG GET client-output-buffer-limit proto-max-bulk-len";
    const char *r = ask(&c, names);
    long long reply = field_number(r, "normal ");
    long long message =
        field_number(strstr(r, "proto-max-bulk-len"), "proto-max-bulk-len\r\n$9\r\n");
    assert_true(message > 0);
    assert_true(reply >= message + 100); // a key beside the value, and what stands around them
}

// One asks for too much at once; the others are served as if it was not there.
SERVER_CASE_WITH(test_max_reply, o.max_reply = 2 << 20)
{
    set_big(100000);
    raw greedy = open_one();
    raw_text(&greedy, "MGET");
    for (int i = 0; i < 100; i++) {
        raw_text(&greedy, " big");
        says(&c, "PING", "+PONG\r\n");
    }
    raw_text(&greedy, "\r\n");
    assert_true(wait_clients(&c, 1));
    assert_true(is_cut(&greedy));
    assert_true(greedy.have < 100 * 100000);
    raw_close(&greedy);
}

// One that reads as fast as it may gets more than max_reply in all.
SERVER_CASE_WITH(test_max_reply_is_what_waits, o.max_reply = 1 << 20)
{
    set_big(100000);
    for (int i = 0; i < 100; i++)
        assert_int_equal(strlen(ask(&c, "GET big")), 9);
}

SERVER_CASE_WITH(test_stall, o.stall_ns = 500000000)
{
    set_big(5000000);
    raw r = open_one();
    says(&r, "PING", "+PONG\r\n");
    weft_deadline asked = weft_now();
    raw_ask(&r, "GET big");
    assert_true(wait_clients(&c, 1));
    assert_true(weft_now() - asked >= o.stall_ns);
    raw_close(&r);
}

// A slow reader makes progress: it is not cut, though it takes far longer than a stall.
SERVER_CASE_WITH(test_stall_is_no_progress, o.stall_ns = 2500000000)
{
    const size_t size = 3 << 20;
    char *value = (char *)calloc(1, size);
    raw_set(&c, "SET", value, size);
    assert_string_equal(reply(&c), "+OK\r\n");
    raw r = open_one();
    raw_ask(&r, "GET big");
    size_t got = 0, piece = size / 40;
    for (ssize_t n = 1; n > 0 && got < size; got += (size_t)n) {
        usleep(80000); // the pace
        n = recv(r.fd, value, piece < size - got ? piece : size - got, MSG_WAITALL);
        n = n < 0 ? 0 : n;
    }
    assert_true(got >= size);
    raw_close(&r);
    free(value);
}

static const char full_up[] = "-ERR max number of clients reached\r\n";

static raw open_answered(void)
{
    raw r = open_one();
    says(&r, "PING", "+PONG\r\n");
    return r;
}

SERVER_CASE_WITH(test_max_clients, o.max_clients = 3)
{
    raw a = open_answered(), b = open_answered();
    for (int i = 0; i < 5; i++)
        is_cut_after("", 0, full_up);
    says(&b, "PING", "+PONG\r\n");
    raw_close(&a);
    assert_true(wait_clients(&c, 2));
    a = open_answered();
    raw_close(&a);
    raw_close(&b);
}

static struct rlimit descriptors(rlim_t soft)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
    r.rlim_cur = soft;
    return r;
}

// The server has as many descriptors as it may have clients, whatever its starter has.
CASE(test_max_clients_in_a_small_process)
{
    enum { CLIENTS = 100 };
    struct rlimit before, small = descriptors(64);
    raw r[CLIENTS];
    o = {};
    o.max_clients = CLIENTS + 1;
    getrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
    start(&o);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (raw &each : r)
        each = open_answered();
    is_cut_after("", 0, full_up);
    for (raw &each : r)
        raw_close(&each);
    stop_server();
}

// And no more clients than it can have descriptors: the others are told.
CASE(test_max_clients_is_what_is_possible)
{
    char line[64];
    pid_t server = child_of(
        [](void *) {
            struct rlimit small = descriptors(64);
            small.rlim_max = 64;
            setrlimit(RLIMIT_NOFILE, &small);
            return weft_manager_serve(address_in_folder("small"), nullptr);
        },
        nullptr);
    raw control, r[64];
    int told = 0, fd = -1;
    for (weft_deadline d = in_time(); fd < 0 && weft_left(d) > 0; usleep(1000))
        fd = raw_socket(address_in_folder("small"));
    assert_true(fd >= 0);
    raw_adopt(&control, fd);
    for (raw &each : r) {
        raw_open(&each, address_in_folder("small"));
        raw_ask(&each, "PING");
        told += reply(&each)[0] == '-';
    }
    assert_true(told > 0 && told < 40);
    snprintf(line, sizeof line, "maxclients:%d\r\n", 65 - told);
    assert_non_null(strstr(ask(&control, "INFO clients"), line));
    for (raw &each : r)
        raw_close(&each);
    raw_ask(&control, "SHUTDOWN");
    assert_int_equal(end_of(server), 0);
    raw_close(&control);
}

SERVER_CASE_WITH(test_max_memory, o.max_memory = 8 << 20)
{
    static const char full[] = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    says(&c, "WEFT.SEMAPHORE s 1", ":1\r\n");
    int n = 0;
    char line[1000], value[801] = "";
    memset(value, 'v', 800);
    for (const char *r = "+OK\r\n"; strcmp(r, "+OK\r\n") == 0; n++) {
        assert_true(n < 20000);
        snprintf(line, sizeof line, "SET k%d %s", n, value);
        r = ask(&c, line);
        if (r[0] != '+')
            assert_string_equal(r, full);
    }
    assert_true(n > 5000 && n < 11000);
    all_say(&c,
            {"SET k v", "APPEND k0 v", "RPUSH l v", "LPUSH l v", "HSET h f v", "INCR n", "MSET a b",
             "HINCRBY h f 1", "WEFT.PUT q 0 0 v", "WEFT.LOCK l 0"},
            full);
    assert_int_equal(ask(&c, "GET k0")[0], '$');
    says(&c, "STRLEN k0", ":800\r\n");
    says(&c, "LPOP l", "$-1\r\n");
    // Who is to take something away may have to wait first.
    says(&c, "WEFT.ACQUIRE s 0", ":0\r\n");
    says(&c, "WEFT.RELEASE s", ":1\r\n");
    says(&c, "WEFT.WAIT e 0", "$-1\r\n");
    for (int i = 0; i < n; i++) {
        snprintf(line, sizeof line, "DEL k%d", i);
        ask(&c, line);
    }
    says(&c, "SET k v", "+OK\r\n");
    says(&c, "RPUSH l v", ":1\r\n");
}

// What was thrown away, and is not free yet, is no reason to refuse.
SERVER_CASE_WITH(test_max_memory_after_flush, o.max_memory = 8 << 20)
{
    static const char set[] = "*3\r\n$3\r\nSET\r\n";
    for (int round = 0; round < 5; round++) {
        char line[100];
        int n = 0, full = 0;
        for (; full == 0 && n < 1000000; n += 500) {
            for (int i = n; i < n + 500; i++)
                raw_send(
                    &c, line,
                    (size_t)snprintf(line, sizeof line, "%s$7\r\n%07d\r\n$1\r\nv\r\n", set, i));
            for (int i = 0; i < 500; i++)
                full += reply(&c)[0] == '-';
        }
        assert_true(full > 0);
        raw_text(&c, round % 2 == 0 ? "FLUSHALL\r\nSET k v\r\n" : "FLUSHDB ASYNC\r\nSET k v\r\n");
        assert_string_equal(reply(&c), "+OK\r\n");
        assert_string_equal(reply(&c), "+OK\r\n");
    }
}

// Microseconds that the calls of a command took.
static long long time_of(const char *command)
{
    char field[64];
    const char *text = ask(&c, "INFO commandstats");
    snprintf(field, sizeof field, "cmdstat_%s:", command);
    return field_number(strstr(text, field), "usec=");
}

// Taking many members takes a small multiple of what adding them did.
SERVER_CASE(test_pop_many)
{
    enum { MEMBERS = 200000, AT_ONCE = 100 };
    char line[1000];
    for (const char *pop : {"SPOP s 199999", "SPOP s 1000000"}) {
        says(&c, "CONFIG RESETSTAT", "+OK\r\n");
        for (int i = 0; i < MEMBERS; i += AT_ONCE) {
            int n = snprintf(line, sizeof line, "SADD s");
            for (int k = i; k < i + AT_ONCE; k++)
                n += snprintf(line + n, sizeof line - (size_t)n, " %d", k);
            assert_int_equal(ask(&c, line)[0], ':');
        }
        assert_int_equal(ask(&c, pop)[0], '*');
        assert_true(time_of("spop") < 15 * time_of("sadd"));
    }
    says(&c, "EXISTS s", ":0\r\n");
}

RUN_SERVER_CASES()
