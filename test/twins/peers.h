// peers.h: who makes calls on a thing beside the test's main thread.
//
// What peers and the test share is on the board, which children inherit as the same memory.
#ifndef WEFT_TEST_PEERS_H
#define WEFT_TEST_PEERS_H

#include "../manager/servers.h"

#include <weft/thread.h>

#include <sched.h>
#include <sys/mman.h>

// How peers come to a thing: as threads, as processes, or as threads that have a connection each.
enum way { THREADS, PROCESSES, CONNECTIONS };

typedef struct peer {
    ssize_t (*fn)(struct peer *p);
    void *thing;
    int call, items[4];
    ssize_t code;
    int error;
    pid_t id, child; // id: atomic; set before fn is called
    int socket;      // of its connection
    weft_thread *thread;
} peer;

enum { PEERS = 16, MOST_ITEMS = 80000 };

static struct board {
    peer peers[PEERS];
    int used, active, things;       // of the peers; of the room
    int words[4];                   // atomic, of the case's own
    unsigned char seen[MOST_ITEMS]; // atomic
    alignas(64) char room[32768];   // for things that lie in shared memory
} * board;

static enum way way = CONNECTIONS;

static int64_t patience = 1;

// A deadline that passes; a busy server must have answered by then, too.
static inline weft_deadline shortly(void)
{
    return weft_in_ms(way == CONNECTIONS ? 200 * patience : 5);
}

// The answer has not come in time, or an earlier one still has not.
static inline bool is_too_busy(int error)
{
    return way == CONNECTIONS && (error == ECONNRESET || error == ENOTCONN);
}

// Fails unless the call, whose deadline is shortly(), runs out of time.  A server may be too busy
// to say so within that: then once more, with more of it.
#define assert_out_of_time(call)                                                                   \
    do {                                                                                           \
        bool late = true;                                                                          \
        for (patience = 1; late && patience < 200; patience *= 4) {                                \
            errno = 0;                                                                             \
            assert_true(runner_failed(call));                                                      \
            late = is_too_busy(errno);                                                             \
        }                                                                                          \
        patience = 1;                                                                              \
        assert_int_equal(errno, ETIMEDOUT);                                                        \
    } while (0)

static inline void begin_case(void)
{
    if (board == nullptr)
        board = (struct board *)mmap(nullptr, sizeof *board, PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset((void *)board, 0, offsetof(struct board, room));
}

// The same thing for another thread.
static inline void *again(void *thing)
{
    char text[256];
    if (way != CONNECTIONS)
        return thing;
    weft_remote_text((weft_remote *)thing, text, sizeof text);
    weft_remote *r = weft_remote_open(text, here.password, soon());
    assert_non_null(r);
    weft_client_set_answer(weft_remote_client(r), LONG_ANSWER);
    return r;
}

static inline void release(void *thing)
{
    if (way == CONNECTIONS)
        assert_int_equal(weft_remote_destroy((weft_remote *)thing), 0);
}

static inline int run_peer(void *arg)
{
    peer *p = (peer *)arg;
    __atomic_store_n(&p->id, gettid(), __ATOMIC_RELEASE);
    errno = 0;
    p->code = p->fn(p);
    p->error = errno;
    return 0;
}

static inline void *run_peer_thread(void *arg)
{
    run_peer(arg);
    return nullptr;
}

static inline peer *begin(ssize_t (*fn)(peer *p), void *thing, int call = 0)
{
    if (board == nullptr)
        begin_case();
    assert_true(board->used < PEERS);
    board->active++;
    peer *p = &board->peers[board->used++];
    *p = {};
    p->fn = fn;
    p->thing = again(thing);
    p->call = call;
    p->socket =
        way == CONNECTIONS ? weft_client_fd(weft_remote_client((weft_remote *)p->thing)) : -1;
    for (int i = 0; i < 4; i++)
        p->items[i] = 100 + i;
    if (way == PROCESSES)
        p->child = child_of(run_peer, p);
    else
        p->thread = weft_thread_start(run_peer_thread, p, nullptr);
    assert_true(p->child > 0 || p->thread != nullptr);
    return p;
}

// Until it sleeps in its call.  On a server that may be the second command, after a first try: each
// has come there when a later one has been answered.
static inline void let_it_sleep(const peer *p)
{
    pid_t id;
    while ((id = __atomic_load_n(&p->id, __ATOMIC_ACQUIRE)) == 0)
        usleep(100);
    await_asleep(id);
    if (way != CONNECTIONS)
        return;
    weft_client *c = client_of(&here);
    for (int i = 0; i < 2; i++) {
        tell(c, "PING");
        await_asleep(id);
    }
    weft_client_destroy(c);
}

static inline peer *begin_asleep(ssize_t (*fn)(peer *p), void *thing, int call = 0)
{
    peer *p = begin(fn, thing, call);
    let_it_sleep(p);
    return p;
}

static inline void end(peer *p)
{
    if (p->child > 0)
        assert_int_equal(end_of(p->child), 0);
    else
        assert_int_equal(weft_thread_join(p->thread, nullptr, WEFT_FOREVER), 0);
    release(p->thing);
    if (--board->active == 0)
        board->used = 0; // but what they found stays until the next begins
}

static inline void end(peer *p, ssize_t code, int error)
{
    end(p);
    assert_int_equal(p->code, code);
    assert_int_equal(p->error, error);
}

// Tells a peer, which is a thread, to stop.
static inline void stop_peer(peer *p)
{
    assert_int_equal(weft_thread_stop(p->thread), 0);
}

#endif
