// A call is about the connection that it began with, whatever has the number when it goes on:
// never a byte on another one.
#include "paired.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/un.h>

static int idle[2]; // connected, with nothing in it
static int names;   // a memory file: for each name a block of it

// The next call here gives the others a turn before it does anything.
static void use_up_turn(void)
{
    char byte;
    weft_io_recv(idle[0], &byte, 1, 0, weft_in_us(1));
    for (int i = 0; i < 255; i++)
        weft_io_recv(idle[0], &byte, 1, 0, WEFT_NOW);
}

// ---- Each call, closed in its turn ----

static ssize_t reading_pieces(transfer *t)
{
    struct iovec piece = {t->data, t->n};
    return weft_io_readv(t->fd, &piece, 1, WEFT_FOREVER);
}

static ssize_t reading_until(transfer *t)
{
    char memory[64], *at;
    weft_io_buffer b = {memory, sizeof memory, 0, 0};
    return weft_io_read_until(t->fd, &b, "!", 1, &at, WEFT_FOREVER);
}

static ssize_t receiving(transfer *t)
{
    return weft_io_recv(t->fd, t->data, t->n, 0, WEFT_FOREVER);
}

static ssize_t sending(transfer *t)
{
    return weft_io_send(t->fd, t->data, t->n, 0, WEFT_FOREVER);
}

static ssize_t sending_file(transfer *t)
{
    off_t from = 0;
    return weft_io_sendfile(t->fd, names, &from, t->n, WEFT_FOREVER);
}

// `first`: it has used the descriptor before.
static void close_in_its_turn(ssize_t (*call)(transfer *), bool first)
{
    static char bytes[64];
    char got[64];
    transfer t;
    int q[2];
    make_pair(UNIX_PAIR, p);
    if (!first)
        assert_errno(get(got, 1, WEFT_NOW), ETIMEDOUT);
    use_up_turn();
    begin(&t, call, p[0], bytes, sizeof bytes);
    assert_int_equal(t.result, -2);
    int number = p[0];
    close_pair(p);
    make_pair(UNIX_PAIR, q);
    assert_int_equal(q[0], number);
    assert_int_equal(send(q[1], "foreign!", 8, 0), 8);
    is_cancelled(&t);
    assert_errno(recv(q[1], got, sizeof got, MSG_DONTWAIT), EAGAIN);
    assert_int_equal(weft_io_read(q[0], got, sizeof got, WEFT_FOREVER), 8);
    close_pair(q);
}

INSIDE_CASE(test_close_in_its_turn)
{
    ssize_t (*const calls[])(transfer *) = {reading,   reading_all, reading_pieces, reading_until,
                                            receiving, writing,     sending,        sending_file};
    names = memfd_create("names", MFD_CLOEXEC);
    assert_int_equal(ftruncate(names, 64), 0);
    make_pair(UNIX_PAIR, idle);
    for (ssize_t (*call)(transfer *) : calls) {
        close_in_its_turn(call, true);
        close_in_its_turn(call, false);
    }
    close_pair(idle);
    close(names);
}

INSIDE_CASE(test_close_of_a_listener_in_its_turn)
{
    transfer t;
    char address[64];
    snprintf(address, sizeof address, "unix:@weft-turn-%d", (int)getpid());
    make_pair(UNIX_PAIR, idle);
    int l = weft_io_listen(address, nullptr);
    use_up_turn();
    begin(
        &t, [](transfer *x) { return (ssize_t)weft_io_accept(x->fd, WEFT_FOREVER); }, l, nullptr,
        0);
    weft_io_close(l);
    assert_int_equal(weft_io_listen(address, nullptr), l);
    int fd = weft_io_connect(address, WEFT_FOREVER);
    is_cancelled(&t);
    weft_io_close(weft_io_accept(l, WEFT_FOREVER));
    weft_io_close(fd);
    weft_io_close(l);
    close_pair(idle);
}

// What is waited for in turn by a call of another's that keeps nothing is no other one for that.
INSIDE_CASE(test_end_of_another_wait_in_its_turn)
{
    transfer t, w;
    make_pair(UNIX_PAIR, idle);
    make_pair(UNIX_PAIR, p);
    begin(&w, waiting, p[0], nullptr, 0);
    use_up_turn();
    begin(&t, sending, p[0], text, 1);
    send(p[1], "x", 1, 0);
    assert_int_equal(result_of(&w), WEFT_READ);
    assert_int_equal(result_of(&t), 1);
    close_pair(p);
    close_pair(idle);
}

// The file that is sent from is closed while the socket is full.
INSIDE_CASE(test_close_of_the_file)
{
    static int file;
    static off_t from;
    transfer t;
    static char got[1 << 16];
    size_t all = 0;
    make_pair(UNIX_PAIR, p);
    from = 0;
    file = memfd_create("old", MFD_CLOEXEC);
    assert_int_equal(ftruncate(file, 4 << 20), 0);
    begin(
        &t, [](transfer *x) { return weft_io_sendfile(x->fd, file, &from, x->n, WEFT_FOREVER); },
        p[1], nullptr, 4 << 20);
    assert_int_equal(t.result, -2);
    weft_io_close(file);
    int other = memfd_create("new", MFD_CLOEXEC);
    assert_int_equal(other, file);
    assert_int_equal(ftruncate(other, 4 << 20), 0);
    for (ssize_t n; t.result == -2; all += (size_t)(n > 0 ? n : 0)) {
        n = weft_io_read(p[0], got, sizeof got, WEFT_NOW);
        weft_tasklet_yield();
    }
    assert_int_equal(t.error, ECANCELED);
    weft_io_shutdown(p[1], SHUT_WR);
    for (ssize_t n; (n = get(got, sizeof got)) > 0;)
        all += (size_t)n;
    assert_int_equal(result_of(&t), all);
    close(other);
    close_pair(p);
}

// So is the descriptor that is to be passed.
INSIDE_CASE(test_close_of_what_is_passed)
{
    static int passed;
    static char much[1 << 16];
    transfer t;
    make_pair(UNIX_PAIR, p);
    passed = memfd_create("old", MFD_CLOEXEC);
    while (send(p[1], much, sizeof much, MSG_DONTWAIT) > 0)
        ;
    begin(
        &t, [](transfer *x) { return (ssize_t)weft_io_send_fd(x->fd, passed, WEFT_FOREVER); }, p[1],
        nullptr, 0);
    assert_int_equal(t.result, -2);
    weft_io_close(passed);
    int other = memfd_create("new", MFD_CLOEXEC);
    assert_int_equal(other, passed);
    while (recv(p[0], much, sizeof much, MSG_DONTWAIT) > 0)
        ;
    is_cancelled(&t);
    assert_errno(recv(p[0], much, 1, MSG_DONTWAIT), EAGAIN);
    close(other);
    close_pair(p);
}

// ---- Any calls, closed at any time ----

// Lines come and go, and with them numbers.  Each byte that one carries, either way, is its name.
// Tasklets make one random call each, which may be cancelled or come to its deadline; what it
// returns counts, and in the end what has arrived is what was sent.
enum {
    LISTENER = PAIRS,
    KINDS,
    SLOTS = 6,
    ACTORS = 12,
    STEPS = RUNNER_TSAN ? 1500 : 5000,
    BLOCK = 16384
};

typedef struct line {
    unsigned char name;
    int kind, fd, peer;
    int users; // tasklets whose call is about it
    bool closed;
    int64_t sent, arrived;
} line;

typedef struct actor {
    line *on;
    int how, fd; // the number is the line's when the call is made
    size_t n;
    weft_deadline d;
    weft_tasklet *tasklet; // nullptr: none
    bool begun;            // one that is cancelled before never runs
} actor;

static line *slots[SLOTS];
static actor actors[ACTORS];
static uint32_t seed;
static bool ending;
static int foreign, calls_made, calls_cut, lost;

static uint32_t chance(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

// Whether all are this line's.
static void look_at(const line *l, const char *bytes, ssize_t n)
{
    for (ssize_t i = 0; i < n; i++)
        if ((unsigned char)bytes[i] != l->name)
            foreign++;
}

static socklen_t listener_address(const line *l, struct sockaddr_un *un)
{
    memset(un, 0, sizeof *un);
    un->sun_family = AF_UNIX;
    int n = snprintf(un->sun_path + 1, 64, "weft-line-%d-%d", (int)getpid(), l->name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static void open_listener(line *l)
{
    struct sockaddr_un un;
    socklen_t size = listener_address(l, &un);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    l->peer = -1;
    assert_int_equal(bind(l->fd, (struct sockaddr *)&un, size), 0);
    assert_int_equal(listen(l->fd, 5), 0);
}

static void open_line(line **slot)
{
    static unsigned char name;
    int ends[2];
    line *l = *slot = (line *)calloc(1, sizeof *l);
    l->name = name = (unsigned char)(name % 250 + 1);
    l->kind = (int)chance(KINDS);
    if (l->kind == LISTENER) {
        open_listener(l);
        return;
    }
    make_pair(l->kind, ends);
    bool turned = chance(2) == 0;
    l->fd = ends[turned];
    l->peer = ends[!turned];
    fcntl(l->fd, F_SETFL, chance(2) ? O_NONBLOCK : 0);
    fcntl(l->peer, F_SETFL, O_NONBLOCK);
}

// The other end, by system calls alone.
static void drain(line *l)
{
    static char bytes[1 << 16];
    for (ssize_t n; l->peer >= 0 && (n = read(l->peer, bytes, sizeof bytes)) > 0; l->arrived += n)
        look_at(l, bytes, n);
}

static void feed_listener(const line *l)
{
    struct sockaddr_un un;
    socklen_t size = listener_address(l, &un);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&un, size) == 0)
        assert_int_equal(send(fd, &l->name, 1, 0), 1);
    close(fd);
}

static void feed(line *l)
{
    static char bytes[BLOCK];
    if (l->kind == LISTENER) {
        feed_listener(l);
        return;
    }
    memset(bytes, l->name, sizeof bytes);
    ssize_t n = write(l->peer, bytes, 1 + chance(sizeof bytes));
    (void)n; // a pipe may go the other way
}

// Nobody is at it any more.
static void settle(line *l)
{
    drain(l);
    // TCP's peer is reset where something was left unread.
    if (l->kind != TCP_PAIR && l->arrived != l->sent)
        lost++;
    close(l->peer);
    free(l);
}

static void close_line(line **slot)
{
    line *l = *slot;
    *slot = nullptr;
    l->closed = true;
    weft_io_close(l->fd);
    if (l->users == 0)
        settle(l);
}

static void replace(line **slot)
{
    close_line(slot);
    open_line(slot);
    if (chance(2))
        feed(*slot);
}

// ---- A call ----

static ssize_t call_read(actor *a, char *bytes)
{
    struct iovec pieces[2] = {{bytes, a->n / 2}, {bytes + a->n / 2, a->n - a->n / 2}};
    weft_io_buffer b = {bytes, a->n, 0, 0};
    char *at;
    ssize_t n;
    switch (a->how) {
    case 0:
        return weft_io_read(a->fd, bytes, a->n, a->d);
    case 1:
        return weft_io_read_all(a->fd, bytes, a->n, a->d);
    case 2:
        return weft_io_readv(a->fd, pieces, 2, a->d);
    case 3:
        return weft_io_recv(a->fd, bytes, a->n, chance(2) ? MSG_PEEK : 0, a->d);
    default: // no name is 0
        n = weft_io_read_until(a->fd, &b, "", 1, &at, a->d);
        look_at(a->on, bytes, (ssize_t)b.end);
        return n;
    }
}

static ssize_t call_write(actor *a, char *bytes)
{
    struct iovec pieces[2] = {{bytes, a->n / 3}, {bytes + a->n / 3, a->n - a->n / 3}};
    off_t from = (off_t)a->on->name * BLOCK;
    switch (a->how) {
    case 5:
        return weft_io_write(a->fd, bytes, a->n, a->d);
    case 6:
        return weft_io_writev(a->fd, pieces, 2, a->d);
    case 7:
        return weft_io_send(a->fd, bytes, a->n, 0, a->d);
    default:
        return weft_io_sendfile(a->fd, names, &from, a->n % BLOCK, a->d);
    }
}

static ssize_t call_accept(const actor *a)
{
    char byte = 0;
    int fd = weft_io_accept(a->fd, a->d);
    if (fd < 0)
        return -1;
    if (read(fd, &byte, 1) == 1) // it was sent before
        look_at(a->on, &byte, 1);
    weft_io_close(fd);
    return 0;
}

// From the line to a pair, or from one to the line.
static ssize_t call_copy(actor *a, char *bytes)
{
    int q[2];
    ssize_t n, got;
    make_pair(UNIX_PAIR, q);
    fcntl(q[1], F_SETFL, O_NONBLOCK);
    if (a->how == 11) {
        n = weft_io_copy(a->fd, q[1], a->n, a->d);
        while ((got = recv(q[0], bytes, a->n, MSG_DONTWAIT)) > 0)
            look_at(a->on, bytes, got);
    } else {
        memset(bytes, a->on->name, a->n);
        ssize_t there = send(q[1], bytes, a->n, MSG_DONTWAIT);
        weft_io_shutdown(q[1], SHUT_WR);
        fcntl(q[0], F_SETFL, O_NONBLOCK);
        n = weft_io_copy(q[0], a->fd, (size_t)there, a->d);
        a->on->sent += n > 0 ? n : 0;
    }
    int error = errno;
    close_pair(q);
    errno = error;
    return n;
}

static void call(actor *a)
{
    line *l = a->on;
    char *bytes = (char *)malloc(a->n);
    ssize_t n;
    if (a->how < 5) {
        n = call_read(a, bytes);
        if (a->how < 4)
            look_at(l, bytes, n);
    } else if (a->how < 9) {
        memset(bytes, l->name, a->n);
        n = call_write(a, bytes);
        l->sent += n > 0 ? n : 0;
    } else if (a->how > 10) {
        n = call_copy(a, bytes);
    } else {
        n = a->how == 9 ? weft_io_wait(a->fd, 1 + (int)chance(3), a->d) : call_accept(a);
    }
    calls_made++;
    calls_cut += n < 0 && errno == ECANCELED;
    free(bytes);
}

static void *act(void *arg)
{
    actor *a = (actor *)arg;
    line *l = a->on;
    a->begun = true;
    if (!l->closed)
        call(a);
    a->tasklet = nullptr;
    if (--l->users == 0 && l->closed)
        settle(l);
    // Before others go on that the same events have woken.
    if (!ending && chance(2))
        replace(&slots[chance(SLOTS)]);
    return nullptr;
}

static void begin_call(line *l)
{
    actor *a = &actors[chance(ACTORS)];
    if (a->tasklet != nullptr)
        return;
    uint32_t late = chance(8);
    a->on = l;
    a->fd = l->fd;
    a->how = l->kind == LISTENER ? 9 + (int)chance(2) : (int)chance(13);
    a->how = a->how == 10 && l->kind != LISTENER ? 11 : a->how;
    a->n = 1 + chance(chance(2) ? 100 : 200000);
    a->d = late == 0 ? WEFT_NOW : late < 5 ? weft_in_us(late * 300) : WEFT_FOREVER;
    l->users++;
    a->begun = false;
    a->tasklet = spawn(act, a);
}

// ---- The schedule ----

// What waits, or begins to, gets its turn when the number is another's already.
static void replace_in_turn(line **slot)
{
    char byte;
    for (uint32_t n = 255 - chance(3); n > 0; n--)
        weft_io_recv(idle[0], &byte, 1, 0, WEFT_NOW);
    for (uint32_t n = chance(3); n > 0; n--)
        begin_call(*slot);
    weft_tasklet_yield();
    replace(slot);
}

static void step(void)
{
    line **slot = &slots[chance(SLOTS)], **other = &slots[chance(SLOTS)];
    const actor *any = &actors[chance(ACTORS)];
    switch (chance(12)) {
    case 0: // two may change places
        if (other == slot)
            break;
        close_line(slot);
        close_line(other);
        open_line(slot);
        open_line(other);
        break;
    case 1:
        replace(slot);
        break;
    case 2:
        replace_in_turn(slot);
        break;
    case 3:
        if (any->tasklet != nullptr && any->begun)
            weft_tasklet_cancel(any->tasklet);
        break;
    case 4:
        drain(*slot);
        break;
    case 5: // events for all at once
        for (line *each : slots)
            chance(2) ? feed(each) : drain(each);
        break;
    case 6:
        feed(*slot);
        break;
    default:
        begin_call(*slot);
        return;
    }
    if (chance(3) > 0)
        weft_tasklet_yield();
    else if (chance(4) == 0)
        weft_tasklet_sleep(weft_in_us(chance(50)));
}

static void run_schedule(void)
{
    make_pair(UNIX_PAIR, idle);
    for (line *&each : slots)
        open_line(&each);
    ending = false;
    for (int i = 0; i < STEPS; i++)
        step();
    ending = true;
    for (line *&each : slots)
        close_line(&each); // all that wait end now
    for (bool busy = true; busy; weft_tasklet_yield()) {
        busy = false;
        for (const actor &each : actors)
            busy = busy || each.tasklet != nullptr;
    }
    close_pair(idle);
}

CASE(test_schedules)
{
    static char block[BLOCK];
    names = memfd_create("names", MFD_CLOEXEC);
    for (int i = 0; i < 256; i++) {
        memset(block, i, sizeof block);
        assert_int_equal(write(names, block, sizeof block), BLOCK);
    }
    for (uint32_t first = 1; first <= 12; first++) {
        seed = first;
        inside(run_schedule);
        if (foreign != 0 || lost != 0)
            fail_msg("seed %u: %d foreign bytes, %d lines that lost some", first, foreign, lost);
    }
    assert_true(calls_made > 1000 && calls_cut > 100);
    close(names);
}

RUN_CASES()
