// The server's protocol by raw sockets: requests in pieces, of wrong and of giant lengths, and each
// of its limits.  What Redis has as well is worded as Redis words it.
#include "model.h"

#include <initializer_list>
#include <linux/sockios.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

static weft_manager *manager;
static const char *address;
static raw c; // one connection of each test

static weft_manager_options options_of(const char *password)
{
    weft_manager_options o = {};
    o.password = password;
    return o;
}

static void start_at(const char *where, const weft_manager_options *o)
{
    if (manager != nullptr) { // a failed test has left it
        weft_manager_stop(manager, weft_in_s(RAW_SECONDS));
        weft_manager_destroy(manager);
    }
    manager = weft_manager_start(where, o);
    assert_non_null(manager);
    address = weft_manager_address(manager);
    raw_open(&c, address);
}

static void start(const weft_manager_options *o)
{
    unlink(address_in_folder("weft") + 5);
    start_at(address_in_folder("weft"), o);
}

static void stop(void)
{
    raw_close(&c);
    assert_int_equal(weft_manager_stop(manager, weft_in_s(RAW_SECONDS)), 0);
    assert_int_equal(weft_manager_destroy(manager), 0);
    manager = nullptr;
}

// ---- Looking at it from outside ----

// Waits until the other end has read all that was sent by this one.
static void wait_read(const raw *r)
{
    weft_deadline d = weft_in_s(RAW_SECONDS);
    for (int left = 1; ioctl(r->fd, SIOCOUTQ, &left) == 0 && left > 0 && weft_left(d) > 0;)
        usleep(10);
}

static bool wait_clients(raw *r, int n)
{
    for (weft_deadline d = weft_in_s(RAW_SECONDS); weft_left(d) > 0; usleep(500))
        if (field_number(ask(r, "INFO clients"), "connected_clients:") == n)
            return true;
    return false;
}

static long resident_kb(void)
{
    char path[64];
    long total, pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", weft_manager_pid(manager));
    FILE *f = fopen(path, "r");
    if (f == nullptr || fscanf(f, "%ld %ld", &total, &pages) != 2)
        pages = -1;
    if (f != nullptr)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

// What it says to these bytes, which must be the last of the connection.
static void is_cut_after(const char *text, size_t n, const char *expected)
{
    raw r;
    raw_open(&r, address);
    raw_send(&r, text, n);
    if (!raw_ended(&r, weft_in_s(RAW_SECONDS))) {
        show(stderr, text, n, 100);
        fail_msg("is not cut");
    }
    size_t got = r.have - r.used;
    if (got != strlen(expected) || (got > 0 && memcmp(r.in, expected, got) != 0)) {
        show(stderr, text, n, 100);
        fputs(" gets ", stderr);
        show(stderr, r.in, got, 300);
        fail();
    }
    raw_close(&r);
}

// ---- In pieces ----

static const char pieces[] = "*1\r\n$4\r\nPING\r\n"
                             "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$13\r\nva\r\nlue\n\r$1*2\r\n"
                             "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
                             "\r\n*0\r\n*-1\r\n"
                             "ECHO \"in \\x6cine\"\r\n"
                             "PING\n"
                             "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$0\r\n\r\n$1\r\nb\r\n$1\r\nx\r\n"
                             "*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n"
                             "*2\r\n$4\r\nMGET\r\n$2\r\n\r\n\r\n";
static const char pieces_answer[] = "+PONG\r\n+OK\r\n$13\r\nva\r\nlue\n\r$1*2\r\n$7\r\nin line\r\n"
                                    "+PONG\r\n+OK\r\n*2\r\n$0\r\n\r\n$1\r\nx\r\n*1\r\n$-1\r\n";

static void gets(raw *r, const char *expected)
{
    weft_deadline d = weft_in_s(RAW_SECONDS);
    size_t n = strlen(expected);
    for (ssize_t k = 1; r->have - r->used < n && k != 0 && weft_left(d) > 0;)
        if ((k = raw_fill(r)) < 0)
            raw_ready(r->fd, POLLIN, d);
    if (r->have - r->used != n || memcmp(r->in + r->used, expected, n) != 0) {
        show(stderr, r->in + r->used, r->have - r->used, 1000);
        fail_msg(" is not what was expected");
    }
    r->used += n;
}

CASE(test_split_at_every_byte)
{
    start(nullptr);
    for (size_t at = 0; at < sizeof pieces; at++) {
        raw r;
        raw_open(&r, address);
        raw_send(&r, pieces, at);
        wait_read(&r);
        raw_send(&r, pieces + at, sizeof pieces - 1 - at);
        gets(&r, pieces_answer);
        raw_close(&r);
    }
    stop();
}

CASE(test_byte_by_byte)
{
    start(nullptr);
    for (const char *p = pieces; *p != 0; p++) {
        raw_send(&c, p, 1);
        wait_read(&c);
    }
    gets(&c, pieces_answer);
    stop();
}

// A beginning, and then the end: the whole commands in it are answered, the rest is forgotten.
CASE(test_cut_off_anywhere)
{
    start(nullptr);
    for (size_t at = 0; at < sizeof pieces; at++) {
        raw r;
        raw_open(&r, address);
        raw_send(&r, pieces, at);
        if (at % 2 == 0) {
            shutdown(r.fd, SHUT_WR);
            assert_true(raw_ended(&r, weft_in_s(RAW_SECONDS)));
            assert_true(r.have < sizeof pieces_answer);
            assert_true(r.have == 0 || memcmp(r.in, pieces_answer, r.have) == 0);
        }
        raw_close(&r);
    }
    assert_true(wait_clients(&c, 1));
    says(&c, "PING", "+PONG\r\n");
    stop();
}

// ---- Lengths ----

CASE(test_wrong_lengths)
{
    static const struct {
        const char *text, *expected;
    } all[] = {
        {"*2147483648\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*99999999999999999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*a\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*1 \r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*+1\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n$536870913\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n$9223372036854775808\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n$x\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n$\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n$01\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'P'\r\n"},
        {"*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"},
        {"*2\r\n$4\r\nPING\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"},
        {"PING \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
        {"PING 'a'b\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
        {"PING\r\n*1\r\n$x\r\nPING\r\n", "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n"},
    };
    start(nullptr);
    for (auto &a : all)
        is_cut_after(a.text, strlen(a.text), a.expected);
    assert_true(wait_clients(&c, 1));
    stop();
}

CASE(test_endless_lines)
{
    size_t n = 70000;
    char *line = (char *)malloc(n);
    memset(line, '1', n);
    start(nullptr);
    memcpy(line, "PING ", 5);
    is_cut_after(line, n, "-ERR Protocol error: too big inline request\r\n");
    line[0] = '*';
    is_cut_after(line, n, "-ERR Protocol error: too big mbulk count string\r\n");
    memcpy(line, "*1\r\n$", 5);
    is_cut_after(line, n, "-ERR Protocol error: too big bulk count string\r\n");
    free(line);
    stop();
}

// A length is a promise: no memory is taken for what has not come.
CASE(test_giant_promises)
{
    start(nullptr);
    says(&c, "PING", "+PONG\r\n");
    long before = resident_kb();
    raw r[40];
    for (int i = 0; i < 40; i++) {
        raw_open(&r[i], address);
        raw_text(&r[i], i % 2 != 0 ? "*2147483647\r\n$3\r\nDEL\r\n$1\r\nx\r\n"
                                   : "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nbegin");
        wait_read(&r[i]);
    }
    says(&c, "PING", "+PONG\r\n");
    if (!RUNNER_SANITIZED)
        assert_true(resident_kb() - before < 8192);
    for (int i = 0; i < 40; i++)
        raw_close(&r[i]);
    assert_true(wait_clients(&c, 1));
    says(&c, "EXISTS k x", ":0\r\n");
    stop();
}

CASE(test_many_words)
{
    enum { WORDS = 100000 };
    char *text = (char *)malloc(WORDS * 20 + 100), *p = text;
    p += sprintf(p, "*%d\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n", WORDS + 2);
    for (int i = 0; i < WORDS; i++)
        p += sprintf(p, "$5\r\n%05d\r\n", i);
    start(nullptr);
    raw_send(&c, text, (size_t)(p - text));
    assert_string_equal(reply(&c), ":100000\r\n");
    says(&c, "LINDEX l 77777", "$5\r\n77777\r\n");
    says(&c, "LINDEX l -1", "$5\r\n99999\r\n");
    free(text);
    stop();
}

// ---- Large values ----

static char pattern_at(size_t i)
{
    return (char)(i ^ (i >> 8) * 31 ^ (i >> 16) * 7);
}

static void raw_set(raw *r, const char *command, const char *value, size_t n)
{
    char head[100];
    raw_send(r, head,
             (size_t)snprintf(head, sizeof head, "*3\r\n$%zu\r\n%s\r\n$3\r\nbig\r\n$%zu\r\n",
                              strlen(command), command, n));
    raw_send(r, value, n);
    raw_text(r, "\r\n");
}

static void round_trip(size_t n)
{
    char *value = (char *)malloc(n), head[32];
    for (size_t i = 0; i < n; i++)
        value[i] = pattern_at(i);
    raw_set(&c, "SET", value, n);
    assert_string_equal(reply(&c), "+OK\r\n");
    raw_ask(&c, "GET big");
    size_t size;
    const char *r = raw_next(&c, &size, weft_in_s(RAW_SECONDS));
    size_t k = (size_t)snprintf(head, sizeof head, "$%zu\r\n", n);
    assert_non_null(r);
    assert_int_equal(size, n + k + 2);
    assert_memory_equal(r, head, k);
    assert_true(memcmp(r + k, value, n) == 0);
    free(value);
}

// The time that a wait for many keys takes does not grow with their square: others are served.
CASE(test_many_keys_to_wait_for)
{
    enum { KEYS = 600000 };
    char *text = (char *)malloc(KEYS * 24 + 100), *p = text;
    raw r;
    start(nullptr);
    raw_open(&r, address);
    p += sprintf(p, "*%d\r\n$5\r\nBLPOP\r\n", KEYS + 2);
    for (int i = 0; i < KEYS; i++)
        p += sprintf(p, "$10\r\nk%09d\r\n", i / 2); // each of them twice
    p += sprintf(p, "$1\r\n0\r\n");
    raw_send(&r, text, (size_t)(p - text));
    assert_true(wait_blocked(&c, 1));
    says(&c, "RPUSH k000299999 v", ":1\r\n");
    assert_string_equal(reply(&r), "*2\r\n$10\r\nk000299999\r\n$1\r\nv\r\n");
    assert_int_equal(field_number(ask(&c, "INFO weft"), "weft_places:"), 0);
    raw_close(&r);
    free(text);
    stop();
}

CASE(test_value_of_1_mib)
{
    start(nullptr);
    round_trip(1 << 20);
    stop();
}

CASE(test_value_of_64_mib)
{
    start(nullptr);
    round_trip(64 << 20);
    says(&c, "STRLEN big", ":67108864\r\n");
    says(&c, "DEL big", ":1\r\n");
    stop();
}

// ---- Limits ----

CASE(test_max_message)
{
    weft_manager_options o = {};
    o.max_message = 100000;
    start(&o);
    char *value = (char *)malloc(200000), *p;
    memset(value, 'v', 200000);
    raw_set(&c, "SET", value, 99000);
    assert_string_equal(reply(&c), "+OK\r\n");
    raw r;
    raw_open(&r, address);
    raw_set(&r, "SET", value, 150000);
    assert_true(raw_ended(&r, weft_in_s(RAW_SECONDS)));
    assert_true(r.have == 0 ||
                strncmp(r.in, "-ERR Protocol error: invalid bulk length\r\n", r.have) == 0);
    raw_close(&r);
    // Many small words are a long message as well.
    p = value + sprintf(value, "*20000\r\n");
    for (int i = 0; i < 20000; i++)
        p += sprintf(p, "$3\r\nDEL\r\n");
    raw_open(&r, address);
    raw_send(&r, value, (size_t)(p - value));
    assert_true(raw_ended(&r, weft_in_s(RAW_SECONDS)));
    raw_close(&r);
    says(&c, "STRLEN big", ":99000\r\n");
    free(value);
    stop();
}

// A longer one is more than the server's counts hold.
CASE(test_max_message_has_a_limit)
{
    weft_manager_options o = {};
    o.max_message = (512 << 20) + 1;
    assert_errno(weft_manager_start(address_in_folder("weft"), &o), EINVAL);
    o.max_message = 512 << 20;
    start(&o);
    says(&c, "PING", "+PONG\r\n");
    stop();
}

// Whatever could be put can be got.
CASE(test_max_reply_is_above_max_message)
{
    static const char names[] = "CONFIG GET client-output-buffer-limit proto-max-bulk-len";
    start(nullptr);
    const char *r = ask(&c, names);
    long long reply = field_number(r, "normal ");
    long long message =
        field_number(strstr(r, "proto-max-bulk-len"), "proto-max-bulk-len\r\n$9\r\n");
    assert_true(message > 0);
    assert_true(reply >= message + 100); // a key beside the value, and what stands around them
    stop();
}

// One asks for much and reads nothing; the others are served as if it was not there.
CASE(test_max_reply)
{
    weft_manager_options o = {};
    o.max_reply = 2 << 20;
    start(&o);
    char *value = (char *)calloc(1, 100000);
    raw_set(&c, "SET", value, 100000);
    assert_string_equal(reply(&c), "+OK\r\n");
    raw greedy;
    raw_open(&greedy, address);
    for (int i = 0; i < 100; i++) {
        raw_ask(&greedy, "GET big");
        says(&c, "PING", "+PONG\r\n");
    }
    assert_true(wait_clients(&c, 1));
    assert_true(raw_ended(&greedy, weft_in_s(RAW_SECONDS)));
    assert_true(greedy.have < 100 * 100000);
    raw_close(&greedy);
    free(value);
    stop();
}

// One that reads as fast as it may gets more than max_reply in all.
CASE(test_max_reply_is_what_waits)
{
    weft_manager_options o = {};
    o.max_reply = 1 << 20;
    start(&o);
    char *value = (char *)calloc(1, 100000);
    raw_set(&c, "SET", value, 100000);
    assert_string_equal(reply(&c), "+OK\r\n");
    for (int i = 0; i < 100; i++)
        assert_int_equal(strlen(ask(&c, "GET big")), 9);
    free(value);
    stop();
}

CASE(test_stall)
{
    weft_manager_options o = {};
    o.stall_ns = 500000000;
    start(&o);
    char *value = (char *)calloc(1, 5000000);
    raw_set(&c, "SET", value, 5000000);
    assert_string_equal(reply(&c), "+OK\r\n");
    raw r;
    raw_open(&r, address);
    says(&r, "PING", "+PONG\r\n");
    weft_deadline asked = weft_now();
    raw_ask(&r, "GET big");
    assert_true(wait_clients(&c, 1));
    assert_true(weft_now() - asked >= o.stall_ns);
    raw_close(&r);
    free(value);
    stop();
}

// A slow reader makes progress: it is not cut, though it takes far longer than a stall.
CASE(test_stall_is_no_progress)
{
    weft_manager_options o = {};
    o.stall_ns = 2500000000;
    start(&o);
    const size_t size = 3 << 20;
    char *value = (char *)calloc(1, size);
    raw_set(&c, "SET", value, size);
    assert_string_equal(reply(&c), "+OK\r\n");
    raw r;
    raw_open(&r, address);
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
    stop();
}

CASE(test_max_clients)
{
    weft_manager_options o = {};
    o.max_clients = 3;
    start(&o);
    raw r[3];
    for (int i = 0; i < 2; i++) {
        raw_open(&r[i], address);
        says(&r[i], "PING", "+PONG\r\n");
    }
    for (int i = 0; i < 5; i++)
        is_cut_after("", 0, "-ERR max number of clients reached\r\n");
    says(&r[1], "PING", "+PONG\r\n");
    raw_close(&r[0]);
    assert_true(wait_clients(&c, 2));
    raw_open(&r[2], address);
    says(&r[2], "PING", "+PONG\r\n");
    raw_close(&r[1]);
    raw_close(&r[2]);
    stop();
}

// The server has as many descriptors as it may have clients, whatever its starter has.
CASE(test_max_clients_in_a_small_process)
{
    enum { CLIENTS = 100 };
    struct rlimit before, small;
    weft_manager_options o = {};
    raw r[CLIENTS];
    o.max_clients = CLIENTS + 1;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    small = before;
    small.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
    start(&o);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (raw &each : r) {
        raw_open(&each, address);
        says(&each, "PING", "+PONG\r\n");
    }
    is_cut_after("", 0, "-ERR max number of clients reached\r\n");
    for (raw &each : r)
        raw_close(&each);
    stop();
}

// And no more clients than it can have descriptors: the others are told.
CASE(test_max_clients_is_what_is_possible)
{
    struct rlimit before, small;
    char line[64];
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    small = before;
    small.rlim_cur = small.rlim_max = 64;
    pid_t p = fork();
    assert_true(p >= 0);
    if (p == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setrlimit(RLIMIT_NOFILE, &small);
        _exit(weft_manager_serve(address_in_folder("small"), nullptr));
    }
    raw control, r[64];
    int told = 0, status = -1, fd = -1;
    for (weft_deadline d = weft_in_s(RAW_SECONDS); fd < 0 && weft_left(d) > 0; usleep(1000))
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
    assert_int_equal(waitpid(p, &status, 0), p);
    assert_int_equal(status, 0);
    raw_close(&control);
}

CASE(test_max_memory)
{
    static const char full[] = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    weft_manager_options o = {};
    o.max_memory = 8 << 20;
    start(&o);
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
    for (const char *adds : {"SET k v", "APPEND k0 v", "RPUSH l v", "LPUSH l v", "HSET h f v",
                             "INCR n", "MSET a b", "HINCRBY h f 1", "WEFT.PUT q 0 0 v"})
        says(&c, adds, full);
    assert_int_equal(ask(&c, "GET k0")[0], '$');
    says(&c, "STRLEN k0", ":800\r\n");
    says(&c, "LPOP l", "$-1\r\n");
    // Who is to take something away may have to lock or wait first.
    says(&c, "WEFT.LOCK l 0", ":1\r\n");
    says(&c, "WEFT.UNLOCK l", ":0\r\n");
    says(&c, "WEFT.ACQUIRE s 0", ":0\r\n");
    says(&c, "WEFT.RELEASE s", ":1\r\n");
    says(&c, "WEFT.WAIT e 0", "$-1\r\n");
    for (int i = 0; i < n; i++) {
        snprintf(line, sizeof line, "DEL k%d", i);
        ask(&c, line);
    }
    says(&c, "SET k v", "+OK\r\n");
    says(&c, "RPUSH l v", ":1\r\n");
    stop();
}

// ---- Browsers ----

CASE(test_http_is_cut)
{
    static const char *const requests[] = {
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 20\r\n\r\nSET pwned yes\r\n",
        "post / HTTP/1.0\r\n\r\nSET pwned yes\r\n",
        "Host: 127.0.0.1\r\nSET pwned yes\r\n",
        "host: x\r\nSET pwned yes\r\n",
    };
    start(nullptr);
    for (const char *text : requests)
        is_cut_after(text, strlen(text), "");
    raw r;
    raw_open(&r, address);
    raw_text(&r, "PUT / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET pwned yes\r\n");
    assert_true(raw_ended(&r, weft_in_s(RAW_SECONDS)));
    raw_close(&r);
    says(&c, "EXISTS pwned", ":0\r\n");
    stop();
}

// ---- Passwords ----

static const char noauth[] = "-NOAUTH Authentication required.\r\n";
static const char wrongpass[] =
    "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

CASE(test_password)
{
    weft_manager_options o = options_of("open sesame");
    start(&o);
    says(&c, "GET k", noauth);
    says(&c, "WEFT.LOCK l 0", noauth);
    says(&c, "AUTH wrong", wrongpass);
    says(&c, "GET k", noauth);
    raw_text(&c, "AUTH \"open sesame\"\r\n");
    assert_string_equal(reply(&c), "+OK\r\n");
    says(&c, "GET k", "$-1\r\n");
    stop();
}

// Nearly right is wrong; so is what only begins so, or goes on.
CASE(test_password_is_whole)
{
    weft_manager_options o = options_of("sesame");
    start(&o);
    for (const char *word : {"sesam", "sesame1", "Sesame", "sesamf", "s"}) {
        char line[64];
        raw r;
        raw_open(&r, address);
        snprintf(line, sizeof line, "AUTH %s", word);
        says(&r, line, wrongpass);
        says(&r, "PING", noauth);
        raw_close(&r);
    }
    raw_send(&c, "*2\r\n$4\r\nAUTH\r\n$8\r\nsesame\0x\r\n", 28);
    assert_string_equal(reply(&c), wrongpass);
    says(&c, "AUTH sesame", "+OK\r\n");
    stop();
}

CASE(test_third_wrong_password_cuts)
{
    weft_manager_options o = options_of("sesame");
    start(&o);
    raw r;
    raw_open(&r, address);
    says(&r, "AUTH one", wrongpass);
    says(&r, "HELLO 3 AUTH default two", wrongpass);
    says(&r, "AUTH default three", wrongpass);
    assert_true(raw_ended(&r, weft_in_s(RAW_SECONDS)));
    raw_close(&r);
    says(&c, "AUTH sesame", "+OK\r\n");
    stop();
}

// Whoever guesses on many connections is slowed down by all of them together; who is in is not.
CASE(test_guesses_are_slow)
{
    enum { GUESSES = 8 };
    weft_manager_options o = options_of("sesame");
    start_at("tcp:127.0.0.1:0", &o);
    says(&c, "AUTH sesame", "+OK\r\n");
    raw r[GUESSES];
    weft_deadline began = weft_now();
    for (int i = 0; i < GUESSES; i++) {
        raw_open(&r[i], address);
        raw_ask(&r[i], "AUTH guess");
    }
    for (int i = 0; i < GUESSES; i++) {
        says(&c, "PING", "+PONG\r\n");
        assert_string_equal(reply(&r[i]), wrongpass);
        assert_true(weft_now() - began >= i * 200000000ll); // five a second
        raw_close(&r[i]);
    }
    stop();
}

// Nobody waits long for a turn: those who would are refused.
CASE(test_guesses_are_few)
{
    enum { GUESSES = 100 };
    weft_manager_options o = options_of("sesame");
    start_at("tcp:127.0.0.1:0", &o);
    raw r[GUESSES];
    for (int i = 0; i < GUESSES; i++) {
        raw_open(&r[i], address);
        raw_ask(&r[i], "AUTH guess");
    }
    int refused = 0;
    for (int i = GUESSES; i-- > GUESSES - 20; raw_close(&r[i]))
        refused += strcmp(reply(&r[i]), "-ERR too many wrong passwords, try again later\r\n") == 0;
    for (int i = 0; i < GUESSES - 20; i++)
        raw_close(&r[i]);
    assert_int_equal(refused, 20);
    stop();
}

// A command that waits for its turn is as good as at first, however many words it has.
CASE(test_guesses_are_answered)
{
    weft_manager_options o = options_of("sesame");
    start_at("tcp:127.0.0.1:0", &o);
    says(&c, "AUTH sesame", "+OK\r\n");
    raw r;
    raw_open(&r, address);
    says(&r, "AUTH guess", wrongpass);
    raw_ask(&c, "HELLO 3 SETNAME a SETNAME b SETNAME c SETNAME d SETNAME e SETNAME f SETNAME g "
                "AUTH default sesame");
    assert_int_equal(reply(&c)[0], '%');
    says(&c, "CLIENT GETNAME", "$1\r\ng\r\n");
    raw_close(&r);
    stop();
}

CASE(test_before_the_password)
{
    weft_manager_options o = options_of("sesame");
    start(&o);
    for (const char *text : {"*11\r\n", "*1000000\r\n"})
        is_cut_after(text, strlen(text),
                     "-ERR Protocol error: unauthenticated multibulk length\r\n");
    for (const char *text : {"*1\r\n$16385\r\n", "*2\r\n$4\r\nAUTH\r\n$536870912\r\n"})
        is_cut_after(text, strlen(text), "-ERR Protocol error: unauthenticated bulk length\r\n");
    is_cut_after("PING 2 3 4 5 6 7 8 9 10 11\r\n", 28,
                 "-ERR Protocol error: unauthenticated multibulk length\r\n");
    char line[16390];
    memset(line, 'x', sizeof line);
    is_cut_after(line, sizeof line, "-ERR Protocol error: too big inline request\r\n");
    says(&c, "AUTH sesame", "+OK\r\n");
    says(&c, "DEL 1 2 3 4 5 6 7 8 9 10 11 12", ":0\r\n");
    stop();
}

// ---- Who may come in ----

CASE(test_tcp_needs_a_password)
{
    weft_manager_options o = {};
    assert_errno(weft_manager_start("tcp:127.0.0.1:0", nullptr), EACCES);
    assert_errno(weft_manager_start("tcp:127.0.0.1:0", &o), EACCES);
    assert_errno(weft_manager_serve("tcp:127.0.0.1:0", nullptr), EACCES);
    assert_errno(weft_manager_serve("tcp:[::1]:0", nullptr), EACCES);
}

// One of no bytes is none: everybody would guess it.
CASE(test_empty_password_is_none)
{
    weft_manager_options o = options_of("");
    assert_errno(weft_manager_start("tcp:127.0.0.1:0", &o), EACCES);
    assert_errno(weft_manager_serve("tcp:127.0.0.1:0", &o), EACCES);
    start(&o);
    says(&c, "PING", "+PONG\r\n");
    stop();
}

CASE(test_tcp)
{
    weft_manager_options o = options_of("sesame");
    start_at("tcp:127.0.0.1:0", &o);
    says(&c, "PING", noauth);
    says(&c, "AUTH sesame", "+OK\r\n");
    says(&c, "PING", "+PONG\r\n");
    is_cut_after("POST / HTTP/1.1\r\n", 17, "");
    round_trip(1 << 20);
    stop();
}

// Which timer runs for the server's end of a connection from that port: 2, keepalive.
static int timer_of(unsigned server, unsigned client)
{
    char line[512];
    int timer = -1;
    FILE *f = fopen("/proc/net/tcp", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != nullptr) {
        unsigned local, remote, state, which;
        if (sscanf(line, "%*d: %*x:%x %*x:%x %x %*x:%*x %x:", &local, &remote, &state, &which) ==
                4 &&
            local == server && remote == client)
            timer = (int)which;
    }
    fclose(f);
    return timer;
}

// A client whose machine has gone says nothing any more: it is asked, or its locks would stay.
CASE(test_tcp_notices_who_vanished)
{
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    weft_manager_options o = options_of("sesame");
    start_at("tcp:127.0.0.1:0", &o);
    says(&c, "AUTH sesame", "+OK\r\n");
    assert_int_equal(getsockname(c.fd, (struct sockaddr *)&a, &size), 0);
    unsigned server = (unsigned)atoi(strrchr(address, ':') + 1), client = ntohs(a.sin_port);
    weft_deadline d = weft_in_s(RAW_SECONDS);
    while (timer_of(server, client) != 2) { // until the reply is acknowledged it is another
        assert_true(weft_left(d) > 0);
        usleep(1000);
    }
    stop();
}

CASE(test_socket_file)
{
    struct stat st;
    start(nullptr);
    assert_int_equal(stat(address + 5, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(S_ISSOCK(st.st_mode));
    stop();
    assert_errno(stat(address_in_folder("weft") + 5, &st), ENOENT);
}

// What another server has put where its own was is not its to remove.
CASE(test_socket_file_of_another)
{
    struct stat st;
    const char *at = address_in_folder("weft");
    weft_manager *first = weft_manager_start(at, nullptr);
    assert_non_null(first);
    assert_int_equal(unlink(at + 5), 0);
    weft_manager *second = weft_manager_start(at, nullptr);
    assert_non_null(second);
    assert_int_equal(weft_manager_stop(first, weft_in_s(60)), 0);
    assert_int_equal(stat(at + 5, &st), 0);
    assert_int_equal(weft_manager_stop(second, weft_in_s(60)), 0);
    assert_errno(stat(at + 5, &st), ENOENT);
    weft_manager_destroy(first);
    weft_manager_destroy(second);
}

// In a child of another user: 0 if the server cut it without a word.
static int knock(const char *at)
{
    pid_t p = fork();
    int status;
    if (p == 0) {
        char byte;
        int fd = -1;
        if (setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0)
            fd = raw_socket(at);
        if (fd < 0)
            _exit(2);
        (void)!send(fd, "PING\r\n", 6, MSG_NOSIGNAL);
        ssize_t n = recv(fd, &byte, 1, 0);
        _exit(n == 0 || (n < 0 && errno == ECONNRESET) ? 0 : 1);
    }
    waitpid(p, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

CASE(test_another_user)
{
    char name[64];
    if (geteuid() != 0) {
        fprintf(stderr, "%s: left out, needs root\n", runner_test);
        skip();
    }
    start(nullptr);
    chmod(folder, 0711);
    assert_int_equal(knock(address), 2); // the file's mode
    chmod(address + 5, 0666);
    assert_int_equal(knock(address), 0); // and if that was changed, its user id
    says(&c, "PING", "+PONG\r\n");
    stop();
    snprintf(name, sizeof name, "unix:@weft-protocol-%d", getpid());
    start_at(name, nullptr);
    assert_int_equal(knock(name), 0);
    says(&c, "PING", "+PONG\r\n");
    stop();
}

// ---- Its beginning and its end ----

static void *read_a_byte(void *file)
{
    return (void *)(intptr_t)fgetc((FILE *)file);
}

// A thread that waits in stdio has the lock of its stream: the start does not wait for that.
CASE(test_start_while_a_thread_reads)
{
    int ends[2];
    void *got;
    pthread_t reader;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    FILE *file = fdopen(ends[0], "r");
    assert_non_null(file);
    assert_int_equal(pthread_create(&reader, nullptr, read_a_byte, file), 0);
    for (; ftrylockfile(file) == 0; usleep(100))
        funlockfile(file);
    start(nullptr);
    says(&c, "PING", "+PONG\r\n");
    stop();
    assert_int_equal(write(ends[1], "x", 1), 1);
    pthread_join(reader, &got);
    assert_int_equal((intptr_t)got, 'x');
    fclose(file);
    close(ends[1]);
}

CASE(test_shutdown)
{
    raw r;
    start(nullptr);
    raw_open(&r, address);
    says(&r, "PING", "+PONG\r\n");
    raw_ask(&c, "SHUTDOWN NOSAVE");
    assert_true(raw_ended(&c, weft_in_s(RAW_SECONDS)));
    assert_int_equal(c.have - c.used, 0);
    assert_true(raw_ended(&r, weft_in_s(RAW_SECONDS)));
    assert_true(raw_ready(weft_manager_fd(manager), POLLIN, weft_in_s(RAW_SECONDS)));
    raw_close(&r);
    stop();
}

// ---- Running ----

static int begin(void **)
{
    folder_make();
    return 0;
}

static int end(void **)
{
    return folder_remove();
}

RUN_CASES(begin, end)
