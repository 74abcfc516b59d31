// A thousand connections in fifty processes that are killed at random while they hold locks or
// wait for items: each lock is handed on, and each item is accounted for.  Then the server itself
// is killed, and those who own it.
//
// What a client has done it notes in memory that it shares with the test, before and after each
// step, so that what it was at when it was killed is known exactly.
#include "raw.h"

#include <weft/manager.h>
#include <weft/remote.h>

#include "../shm/processes.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum {
    PROCESSES = 50,
    EACH = 20,
    WAVES = RUNNER_SANITIZED ? 8 : 30,
    A_WAVE = 10,
    LOCKS = 10,
    LIVES = PROCESSES + WAVES * A_WAVE + 1, // of processes in a test, from 1
    A_FEW = PROCESSES + 5 * A_WAVE,
    VALUES = RUNNER_SANITIZED ? 3000 : 20000
};

// What a connection is at.
enum {
    ASKED,   // it has sent its command, or is about to connect
    READING, // a reply is there: read by now, or not
    NOTED,   // what came is noted; the next command is sent, or not
    STATES
};

struct shared {
    int states[LIVES][EACH];   // of a process's connections
    bool killed[LIVES];        // or about to be
    int64_t last_token[LOCKS]; // of those who have had the lock
    int owner[LOCKS];          // the process that has it, or had it when it was killed; 0: nobody
    int64_t locked, wrong;
    int taken[VALUES]; // how often a value was noted
};

static shared *sh;
static weft_manager *manager;
static char folder[64], address[128];
static raw control;
static pid_t pids[PROCESSES];
static int lives[PROCESSES], born; // which life each process is
static long ended_at[STATES];      // connections killed, by what they were at
static bool with_children;         // each process has one that keeps its connections
static int leash[2];               // whose end ends these children

static weft_deadline in_time(void)
{
    return weft_in_s(RAW_SECONDS);
}

static void must(bool truth)
{
    if (!truth)
        _exit(99);
}

// ---- A client process: its connections take turns ----

struct client {
    raw c;
    int lock;  // which
    bool held; // and not yet given back
};

static client clients[EACH];
static int self; // which life this is
static uint32_t dice;

static uint32_t roll(uint32_t n)
{
    dice = dice * 1664525 + 1013904223;
    return (dice >> 8) % n;
}

static void send_line(raw *c, const char *line)
{
    char text[200];
    size_t n = request_of(text, sizeof text, line);
    must(raw_send(c, text, n) == n);
}

// The reply as text, until the next; the process ends with the server.
static const char *take_reply(raw *c)
{
    static char text[200];
    size_t n;
    const char *r = raw_next(c, &n, WEFT_FOREVER);
    must(r != nullptr && n < sizeof text);
    memcpy(text, r, n); // what lies behind it in memory may be anything
    text[n] = 0;
    return text;
}

static void note_state(int i, int state)
{
    __atomic_store_n(&sh->states[self][i], state, __ATOMIC_SEQ_CST);
}

// Values are "v123", the last word of each reply.
static void note_value(const char *r)
{
    const char *v = strrchr(r, 'v');
    char *end;
    long value = v != nullptr ? strtol(v + 1, &end, 10) : -1;
    must(value >= 0 && value < VALUES && strcmp(end, "\r\n") == 0);
    __atomic_add_fetch(&sh->taken[value], 1, __ATOMIC_SEQ_CST);
}

static void take(int i, client *me, const char *again)
{
    note_state(i, READING);
    note_value(take_reply(&me->c));
    note_state(i, NOTED);
    send_line(&me->c, again);
    note_state(i, ASKED);
}

// What was read and not noted yet is lost with the process.
static void turn_blpop(int i, client *me)
{
    take(i, me, "BLPOP queue 0");
}

// It comes again if the next command was not sent.
static void turn_get(int i, client *me)
{
    take(i, me, "WEFT.GET queue -1");
}

static void lock_again(client *me)
{
    char line[64];
    me->lock = (int)roll(LOCKS);
    snprintf(line, sizeof line, "WEFT.LOCK lock%d -1", me->lock);
    send_line(&me->c, line);
}

// It has the lock: nobody who is alive may have it, or have had a later token.
static void locked(client *me, int64_t token)
{
    int before = __atomic_exchange_n(&sh->owner[me->lock], self, __ATOMIC_SEQ_CST);
    int64_t last = __atomic_exchange_n(&sh->last_token[me->lock], token, __ATOMIC_SEQ_CST);
    if ((before != 0 && !__atomic_load_n(&sh->killed[before], __ATOMIC_SEQ_CST)) || last >= token)
        __atomic_add_fetch(&sh->wrong, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&sh->locked, 1, __ATOMIC_SEQ_CST);
    me->held = true;
}

static void unlock(client *me)
{
    char line[64];
    if (__atomic_exchange_n(&sh->owner[me->lock], 0, __ATOMIC_SEQ_CST) != self)
        __atomic_add_fetch(&sh->wrong, 1, __ATOMIC_SEQ_CST);
    me->held = false;
    snprintf(line, sizeof line, "WEFT.UNLOCK lock%d", me->lock);
    send_line(&me->c, line);
}

static void turn_lock(int, client *me)
{
    const char *r = take_reply(&me->c);
    must(r[0] == ':');
    if (atoll(r + 1) == 0)
        lock_again(me); // that was the unlock
    else
        locked(me, atoll(r + 1));
}

// Keeps a lock for a while: until some other turns have passed.
static void loosen(void)
{
    for (client &each : clients)
        if (each.held && roll(3) == 0)
            unlock(&each);
}

[[noreturn]] static void live(int life, void (*turn)(int, client *), const char *first)
{
    self = life;
    dice = (uint32_t)getpid() * 2654435761u;
    for (client &each : clients) {
        int fd = raw_socket(address);
        must(fd >= 0);
        each = {};
        raw_adopt(&each.c, fd);
        if (first != nullptr)
            send_line(&each.c, first);
        else
            lock_again(&each);
    }
    char byte;
    if (with_children)
        close(leash[1]);
    if (with_children && fork() == 0)
        _exit(read(leash[0], &byte, 1) != 0);
    for (;;) {
        struct pollfd p[EACH];
        for (int i = 0; i < EACH; i++)
            p[i] = {clients[i].c.fd, POLLIN, 0};
        poll(p, EACH, first != nullptr ? -1 : 1);
        for (int i = 0; i < EACH; i++)
            if (p[i].revents != 0)
                turn(i, &clients[i]);
        loosen();
    }
}

// ---- The test's side ----

static void (*turn_now)(int, client *);
static const char *first_now;

static void spawn(int i)
{
    lives[i] = ++born;
    assert_true(born < LIVES);
    pids[i] = runner_fork();
    if (pids[i] == 0)
        live(lives[i], turn_now, first_now);
}

// Kills one whatever it is at; its connections are counted by that.
static void kill_one(int i)
{
    __atomic_store_n(&sh->killed[lives[i]], true, __ATOMIC_SEQ_CST);
    kill(pids[i], SIGKILL);
    assert_int_equal(end_of(pids[i]), 256 + SIGKILL);
    for (int state : sh->states[lives[i]])
        ended_at[state]++;
    pids[i] = 0;
}

static long long blocked(void)
{
    return blocked_clients(&control);
}

static void wait_at_least(long long n)
{
    for (weft_deadline d = in_time(); blocked() < n; usleep(200))
        if (weft_left(d) <= 0)
            fail_msg("%lld of %lld are blocked", blocked(), n);
}

static void make_folder(void)
{
    strcpy(folder, "/tmp/weft-death-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(address, sizeof address, "unix:%s/socket", folder);
}

static void start_manager(void)
{
    make_folder();
    manager = weft_manager_start(address, nullptr);
    assert_non_null(manager);
    raw_open(&control, address);
}

static void stop_manager(void)
{
    raw_close(&control);
    assert_int_equal(weft_manager_end(manager, in_time()), 0);
    weft_manager_destroy(manager);
    assert_int_equal(rmdir(folder), 0); // the socket file has gone
}

static void start_all(void (*turn)(int, client *), const char *first)
{
    start_manager();
    memset(sh, 0, sizeof *sh);
    memset(ended_at, 0, sizeof ended_at);
    born = 0;
    assert_true(!with_children || pipe2(leash, O_CLOEXEC) == 0);
    turn_now = turn;
    first_now = first;
    for (int i = 0; i < PROCESSES; i++)
        spawn(i);
}

static void end_all(void)
{
    for (int i = 0; i < PROCESSES; i++)
        kill_one(i);
    for (int i = 0; with_children && i < 2; i++)
        close(leash[i]);
    weft_deadline d = in_time();
    while (field_number(ask(&control, "INFO clients"), "connected_clients:") > 1)
        assert_true(weft_left(d) > 0);
    assert_int_equal(blocked(), 0);
}

static void kill_some(void)
{
    for (int n = 0, i = rand() % PROCESSES; n < A_WAVE; n++, i = (i + 3) % PROCESSES)
        kill_one(i);
}

static void replace_some(void)
{
    for (int i = 0; i < PROCESSES; i++)
        if (pids[i] == 0)
            spawn(i);
}

// ---- Items ----

// Pushes all values, many at once, and kills processes while those are on their way.  A queue
// whose takers all wait is empty, so each value goes to one that waited for it: there are always
// more of those than values in a burst.
static void push_all(const char *command)
{
    enum { BURST = 150 };
    static char text[BURST * 100];
    for (int v = 0, burst = 0; v < VALUES; burst++) {
        char line[100];
        size_t n = 0;
        int from = v;
        wait_at_least(PROCESSES * EACH / 2);
        for (; v < VALUES && v < from + BURST; v++) {
            snprintf(line, sizeof line, "%s v%d", command, v);
            n += request_of(text + n, sizeof text - n, line);
        }
        raw_send(&control, text, n);
        if (burst % 4 == 0 && born + A_WAVE < (with_children ? A_FEW : LIVES)) {
            for (int pause = rand() % 40000; pause > 0; pause--)
                __asm__ volatile(""); // some are at it, some not yet, some done
            kill_some();
        }
        for (; from < v; from++)
            assert_int_equal(reply(&control)[0], ':');
        replace_some();
    }
}

// All that were pushed are dealt with when all wait and the queue is empty.
static void wait_idle(void)
{
    wait_at_least(PROCESSES * EACH);
    says(&control, "LLEN queue", ":0\r\n");
}

static void account(long *lost, long *doubled)
{
    *lost = *doubled = 0;
    for (int times : sh->taken) {
        *lost += times == 0;
        *doubled += times > 1 ? times - 1 : 0;
    }
    printf("%s: %d processes killed, %d connections: %ld while they read, %ld before they went on;"
           " %ld values lost, %ld doubled\n",
           runner_test, born, born * EACH, ended_at[READING], ended_at[NOTED], *lost, *doubled);
}

// Kills takers while values come: how many are lost, and how many come twice.
static void kill_takers(void (*turn)(int, client *), const char *take, const char *put, long *lost,
                        long *doubled)
{
    start_all(turn, take);
    push_all(put);
    wait_idle();
    end_all();
    account(lost, doubled);
    stop_manager();
}

CASE(test_blpop_killed)
{
    long lost, doubled;
    with_children = false;
    kill_takers(turn_blpop, "BLPOP queue 0", "RPUSH queue", &lost, &doubled);
    assert_true(lost <= ended_at[READING]);
    assert_int_equal(doubled, 0);
}

static void kill_getters(bool children)
{
    long lost, doubled;
    with_children = children;
    kill_takers(turn_get, "WEFT.GET queue -1", "WEFT.PUT queue 0 0", &lost, &doubled);
    assert_int_equal(lost, 0);
    assert_true(doubled <= ended_at[NOTED]);
}

CASE(test_weft_get_killed)
{
    kill_getters(false);
    kill_getters(true);
}

// What was not even sent goes back, whoever ends the connection, and why.
CASE(test_blpop_cut_before_it_was_sent)
{
    const size_t size = 5 << 20; // more than a socket holds
    char line[64], *value = (char *)calloc(1, size);
    raw r;
    start_manager();
    raw_open(&r, address);
    long long id = ask_number(&r, "CLIENT ID");
    raw_ask(&r, "BLPOP queue 0");
    wait_at_least(1);
    snprintf(line, sizeof line, "*3\r\n$5\r\nRPUSH\r\n$5\r\nqueue\r\n$%zu\r\n", size);
    raw_text(&control, line);
    raw_send(&control, value, size);
    raw_text(&control, "\r\n");
    assert_string_equal(reply(&control), ":1\r\n");
    says(&control, "LLEN queue", ":0\r\n");
    snprintf(line, sizeof line, "CLIENT KILL ID %lld", id);
    says(&control, line, ":1\r\n");
    assert_true(raw_ended(&r, in_time()));
    says(&control, "LLEN queue", ":1\r\n");
    raw_close(&r);
    free(value);
    stop_manager();
}

// A queue that was thrown away does not take the item back: nobody will be done with it, and who
// joins the queue does not wait for that.
CASE(test_weft_get_ends_after_discard)
{
    raw r, joins;
    start_manager();
    raw_open(&r, address);
    raw_open(&joins, address);
    says(&control, "WEFT.PUT queue 0 0 v", ":1\r\n");
    says(&r, "WEFT.GET queue 0", "$1\r\nv\r\n");
    says(&control, "WEFT.CLOSE queue DISCARD", "+OK\r\n");
    raw_ask(&joins, "WEFT.JOIN queue -1");
    wait_at_least(1);
    raw_close(&r);
    assert_string_equal(reply(&joins), ":1\r\n");
    says(&control, "LLEN queue", ":0\r\n");
    raw_close(&joins);
    stop_manager();
}

// ---- Locks ----

static void kill_lockers(bool children)
{
    char line[64];
    with_children = children;
    start_all(turn_lock, nullptr);
    for (int wave = 0; wave < (children ? 5 : WAVES); wave++) {
        int64_t before = __atomic_load_n(&sh->locked, __ATOMIC_SEQ_CST);
        weft_deadline d = in_time();
        kill_some();
        // Those who are left go on.
        while (__atomic_load_n(&sh->locked, __ATOMIC_SEQ_CST) < before + LOCKS * 5) {
            assert_true(weft_left(d) > 0);
            usleep(200);
        }
        replace_some();
    }
    end_all();
    printf("%s: locked %lld times, %d processes killed\n", runner_test, (long long)sh->locked,
           born);
    assert_int_equal(sh->wrong, 0);
    for (int i = 0; i < LOCKS; i++) {
        snprintf(line, sizeof line, "WEFT.LOCK lock%d 0", i);
        assert_true(ask_number(&control, line) > sh->last_token[i]);
    }
    stop_manager();
}

CASE(test_lock_killed)
{
    kill_lockers(false);
    kill_lockers(true);
}

// ---- The end of the server ----

CASE(test_server_killed)
{
    static const char *const lines[] = {"BLPOP queue 0", "WEFT.GET queue -1", "WEFT.LOCK lock -1",
                                        "WEFT.BARRIER b 1000 -1", "PING"};
    enum { CLIENTS = 200 };
    static raw r[CLIENTS];
    start_manager();
    for (int i = 0; i < CLIENTS; i++) {
        raw_open(&r[i], address);
        raw_ask(&r[i], lines[i % 5]);
    }
    wait_at_least(CLIENTS / 5 * 4 - 1);
    assert_int_equal(kill(weft_manager_pid(manager), SIGKILL), 0);
    weft_deadline killed = weft_now();
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(raw_ended(&r[i], in_time()));
        raw_close(&r[i]);
    }
    assert_true(weft_now() - killed < 5000000000);
    assert_true(raw_ready(weft_manager_fd(manager), POLLIN, in_time()));
    raw_close(&control);
    assert_int_equal(weft_manager_end(manager, in_time()), 0);
    weft_manager_destroy(manager);
    // The socket file was left; the next one takes its place.
    manager = weft_manager_start(address, nullptr);
    assert_non_null(manager);
    raw_open(&control, address);
    says(&control, "PING", "+PONG\r\n");
    stop_manager();
}

// In a child: starts a server, tells its process id, and waits to be killed.
static int own(void *channel)
{
    weft_manager *m = weft_manager_start(address, nullptr);
    pid_t p = m != nullptr ? weft_manager_pid(m) : -1;
    if (write(*(int *)channel, &p, sizeof p) != (ssize_t)sizeof p)
        return 1;
    pause();
    return 0;
}

static void is_gone(pid_t p)
{
    weft_deadline d = in_time();
    for (; kill(p, 0) == 0; usleep(200))
        assert_true(weft_left(d) > 0);
}

CASE(test_parent_killed)
{
    int channel[2];
    pid_t server = 0;
    struct stat st;
    make_folder();
    assert_int_equal(pipe2(channel, O_CLOEXEC), 0);
    pid_t parent = child_of(own, &channel[1]);
    assert_int_equal(read(channel[0], &server, sizeof server), sizeof server);
    assert_true(server > 0);
    raw_open(&control, address);
    raw_ask(&control, "BLPOP queue 0");
    kill_and_reap(parent);
    assert_true(raw_ended(&control, in_time()));
    is_gone(server);
    assert_errno(stat(address + 5, &st), ENOENT);
    raw_close(&control);
    close(channel[0]);
    close(channel[1]);
    assert_int_equal(rmdir(folder), 0);
}

static int hold_on(void *until)
{
    char byte;
    close(((int *)until)[1]);
    return read(((int *)until)[0], &byte, 1) == 0 ? 0 : 1;
}

// The handle is inherited by fork: the server ends with the last who has it.
CASE(test_last_owner_goes)
{
    int until[2];
    start_manager();
    pid_t server = weft_manager_pid(manager);
    assert_int_equal(pipe2(until, O_CLOEXEC), 0);
    pid_t other = child_of(hold_on, until);
    weft_manager_destroy(manager);
    says(&control, "PING", "+PONG\r\n");
    says(&control, "SET k v", "+OK\r\n");
    close(until[0]);
    close(until[1]);
    assert_int_equal(end_of(other), 0);
    assert_true(raw_ended(&control, in_time()));
    is_gone(server);
    raw_close(&control);
    assert_int_equal(rmdir(folder), 0);
}

// ---- Running ----

static int begin(void **state)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
    setrlimit(RLIMIT_NOFILE, &files);
    sh = (shared *)mmap(nullptr, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                        0);
    srand((unsigned)getpid());
    return sh != MAP_FAILED ? census_begin(state) : -1;
}

RUN_CASES(begin, census_end)
