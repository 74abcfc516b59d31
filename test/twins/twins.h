// twins.h: one suite of cases over things that are alike, each through a table of functions, by
// threads, by processes, or by threads with a connection each.
//
// A peer makes calls on a thing beside the test's main thread.  What peers and the test share is on
// the board, which children inherit as the same memory.
#ifndef WEFT_TEST_TWINS_H
#define WEFT_TEST_TWINS_H

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
    weft_thread *thread;
} peer;

enum { PEERS = 16, MOST_ITEMS = 80000 };

static struct board {
    peer peers[PEERS];
    int used, things;               // of the peers, of the room
    int words[4];                   // atomic, of the case's own
    unsigned char seen[MOST_ITEMS]; // atomic
    alignas(64) char room[32768];   // for things that lie in shared memory
} * board;

static enum way way;

static void begin_case(void)
{
    if (board == nullptr)
        board = (struct board *)mmap(nullptr, sizeof *board, PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset((void *)board, 0, offsetof(struct board, room));
}

// The same thing for another thread.
static void *again(void *thing)
{
    char text[256];
    if (way != CONNECTIONS)
        return thing;
    weft_remote_text((weft_remote *)thing, text, sizeof text);
    void *r = weft_remote_open(text, here.password, soon());
    assert_non_null(r);
    return r;
}

static void release(void *thing)
{
    if (way == CONNECTIONS)
        assert_int_equal(weft_remote_destroy((weft_remote *)thing), 0);
}

static int run_peer(void *arg)
{
    peer *p = (peer *)arg;
    __atomic_store_n(&p->id, gettid(), __ATOMIC_RELEASE);
    errno = 0;
    p->code = p->fn(p);
    p->error = errno;
    return 0;
}

static void *run_peer_thread(void *arg)
{
    run_peer(arg);
    return nullptr;
}

static peer *begin(ssize_t (*fn)(peer *p), void *thing, int call = 0)
{
    assert_true(board->used < PEERS);
    peer *p = &board->peers[board->used++];
    *p = {};
    p->fn = fn;
    p->thing = again(thing);
    p->call = call;
    for (int i = 0; i < 4; i++)
        p->items[i] = 100 + i;
    if (way == PROCESSES)
        p->child = child_of(run_peer, p);
    else
        p->thread = weft_thread_start(run_peer_thread, p, nullptr);
    assert_true(p->child > 0 || p->thread != nullptr);
    return p;
}

static void let_it_sleep(const peer *p)
{
    pid_t id;
    while ((id = __atomic_load_n(&p->id, __ATOMIC_ACQUIRE)) == 0)
        usleep(100);
    await_asleep(id);
}

static peer *begin_asleep(ssize_t (*fn)(peer *p), void *thing, int call = 0)
{
    peer *p = begin(fn, thing, call);
    let_it_sleep(p);
    return p;
}

static void end(peer *p)
{
    if (p->child > 0)
        assert_int_equal(end_of(p->child), 0);
    else
        assert_int_equal(weft_thread_join(p->thread, nullptr, WEFT_FOREVER), 0);
    release(p->thing);
}

static void end(peer *p, ssize_t code, int error)
{
    end(p);
    assert_int_equal(p->code, code);
    assert_int_equal(p->error, error);
}

// Tells a peer, which is a thread, to stop.
static void stop(peer *p)
{
    assert_int_equal(weft_thread_stop(p->thread), 0);
}

// Leaves the rest of a case out where it is not so.
#define NEEDS(what)                                                                                \
    if (!(what))                                                                                   \
    skip()

// A remote thing's name, and its end with its client's.
static const char *new_name(void)
{
    static char name[32];
    static int serial;
    snprintf(name, sizeof name, "twin %d", ++serial);
    return name;
}

static int remote_destroy(void *r)
{
    weft_client *c = weft_remote_client((weft_remote *)r);
    return weft_remote_destroy((weft_remote *)r) == 0 ? weft_client_destroy(c) : -1;
}

// Runs the cases on one kind of thing.
static int run_kind(const char *name, enum way w)
{
    way = w;
    return w == CONNECTIONS ? run_cases(begin_group, end_group, name)
                            : run_cases(census_begin, census_end, name);
}

// The name of a kind on a server.
static const char *name_on(const char *kind, const char *server_name)
{
    static char name[64];
    snprintf(name, sizeof name, "%s, %s", kind, server_name);
    return name;
}

#endif
