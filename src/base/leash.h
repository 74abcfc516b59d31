// leash.h: what ends when its owner does.
//
// A leash is a pipe.  The owner alone has the write end, close-on-exec: it goes when the owner
// exits, is killed or executes another program, and when it lets go.  Who runs our code and has the
// read end polls it.  For any other, a process that executes programs or a whole group, the owner
// keeps the read end, too, and has the kernel send a signal to them when the write end goes
// (F_SETOWN, F_SETSIG, O_ASYNC): it needs no thread and no handler, SIGKILL can't be blocked, and
// none of them has a descriptor to close.  That the signal can still be sent when the owner ends
// lies in the order in which the kernel closes: its list of works for a task is a stack, so those
// with the highest number go first, and the write end has the higher one.
//
// PR_SET_PDEATHSIG would not do: it fires at the end of the *thread* that forked, and not when the
// owner executes a program, and holds one process alone.
//
// A process that the owner forks must have neither.  With the write end the owner's end would not
// be seen before that process's; and the read end is to be closed by the owner last, not by a
// process that perhaps ends at the same time.  Handlers of pthread_atfork(3), set with the first
// leash, close them there, but the read end of the one that the new process is to join
// (leash_passed), which that closes when it has joined.  fork(2) returns when they have (or, for
// that one, leash_await_join): the owner may end at once, and if it had begun to, with its write
// end not yet gone, the last copy of the read end would be closed before, and nobody be told. (What
// vfork(2) and clone(2) start, and posix_spawn, executes a program at once.)
#ifndef WEFT_BASE_LEASH_H
#define WEFT_BASE_LEASH_H

#include "above_streams.h"
#include "errno.h"
#include "list.h"
#include "time.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

namespace weft {

struct leash {
    leash *next, *previous;
    int end;  // the write end; -1: let go
    int kept; // the read end, if the owner keeps it; else -1
};

// All of this process's.  The lock is held across a fork, so that the child finds them whole.
inline leash leashes = {&leashes, &leashes, -1, -1};
inline pthread_mutex_t leash_lock = PTHREAD_MUTEX_INITIALIZER;
inline __thread const leash *leash_passed; // of this thread's fork; null: none
inline __thread bool leash_joins;          // ... whose child calls leash_join
inline __thread int leash_joining = -1;    // ends when it has
inline pthread_once_t leash_once = PTHREAD_ONCE_INIT;
// A pipe that ends when the child has closed them; -1: there is none.
inline int leash_fork[2] = {-1, -1};
enum { LEASH_FORK_MS = 10000 }; // for that: somebody may have stopped the child

inline void leash_fork_begins(void)
{
    int saved = errno;
    pthread_mutex_lock(&leash_lock);
    if (list_is_empty(&leashes) || make_pipe(leash_fork) != 0)
        leash_fork[0] = leash_fork[1] = -1;
    errno = saved;
}

static inline void leash_await_end_of(int *fd)
{
    int saved = errno;
    struct pollfd f = {*fd, 0, 0};
    weft_deadline d = weft_in_ms(LEASH_FORK_MS);
    while (f.fd >= 0 && uncancelled(poll, &f, 1, poll_ms(d)) < 0 && errno == EINTR)
        ;
    close_keep_errno(fd);
    errno = saved;
}

inline void leash_fork_ended(void)
{
    close_keep_errno(&leash_fork[1]);
    if (leash_passed != nullptr && leash_joins)
        leash_joining = leash_fork[0];
    else
        leash_await_end_of(&leash_fork[0]);
    pthread_mutex_unlock(&leash_lock);
}

inline void leash_forked(void)
{
    for (leash *l = leashes.next; l != &leashes; l = l->next) {
        close_keep_errno(&l->end);
        if (l != leash_passed)
            close_keep_errno(&l->kept);
    }
    list_init(&leashes);
    close_keep_errno(&leash_fork[0]);
    if (leash_passed == nullptr || !leash_joins)
        close_keep_errno(&leash_fork[1]);
    pthread_mutex_unlock(&leash_lock);
}

inline void leash_begin(void)
{
    pthread_atfork(leash_fork_begins, leash_fork_ended, leash_forked);
}

// Makes one; *held, close-on-exec, is for whoever is to be held: the owner closes it after it has
// forked.  Null: the owner keeps it.  -1: errno.
static inline int leash_make(leash *l, int *held)
{
    int pipe[2];
    pthread_once(&leash_once, leash_begin);
    pthread_mutex_lock(&leash_lock); // or a fork would come between its birth and the list
    int result = make_pipe(pipe);
    if (result == 0) {
        l->end = pipe[1];
        l->kept = held == nullptr ? pipe[0] : -1;
        if (held != nullptr)
            *held = pipe[0];
        list_insert(&leashes, l);
    }
    pthread_mutex_unlock(&leash_lock);
    return result;
}

// Lets go: who polls it is told; the kernel sends no signal.  Nothing if it has, or in a process
// that has forked since.
static inline void leash_let_go(leash *l)
{
    pthread_mutex_lock(&leash_lock);
    if (l->end >= 0) {
        list_remove(l);
        if (l->kept >= 0) { // a process that was forked meanwhile has it, too
            int saved = errno;
            fcntl(l->kept, F_SETOWN, 0);
            errno = saved;
        }
        close_keep_errno(&l->kept);
        close_keep_errno(&l->end);
    }
    pthread_mutex_unlock(&leash_lock);
}

// Makes one whose read end the owner keeps.  Who gets the signal each child says (leash_join).
// -1: errno.
static inline int leash_keep(leash *l, int signal)
{
    if (leash_make(l, nullptr) != 0)
        return -1;
    if (fcntl(l->kept, F_SETSIG, signal) == 0 && fcntl(l->kept, F_SETFL, O_ASYNC) == 0)
        return 0;
    leash_let_go(l);
    return -1;
}

// Whether the owner has ended or let go.
static inline bool leash_is_loose(int held)
{
    struct pollfd f = {held, 0, 0};
    int saved = errno, n = uncancelled(poll, &f, 1, 0);
    errno = saved;
    return n != 0;
}

// In the parent after such a fork.
static inline void leash_await_join(void)
{
    int fd = leash_joining; // not its address: UBSan takes a relaxed one of gcc's for null
    leash_joining = -1;
    leash_await_end_of(&fd);
}

// In the child of a fork with leash_passed and leash_joins: the signal goes to it, or to the group
// that it leads.  Closes `kept`.  -1: errno; ESRCH: the owner has ended already.
// Async-signal-safe.
static inline int leash_join(int kept, bool leads)
{
    int result = fcntl(kept, F_SETOWN, leads ? -getpid() : getpid());
    if (result == 0 && leash_is_loose(kept))
        result = fail_with(ESRCH);
    close_keep_errno(&kept);
    close_keep_errno(&leash_fork[1]);
    return result;
}

} // namespace weft

#endif
