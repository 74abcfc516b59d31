// leash.h: what ends when its owner does.
//
// A leash is a pipe.  The owner alone has the write end, close-on-exec: it goes when the owner
// exits, is killed or executes another program, and when it lets go.  Whoever is held has the read
// end, and either has the kernel send it a signal when that happens (F_SETSIG, O_ASYNC: it needs
// no thread and no handler, and SIGKILL can't be blocked), or polls it.
//
// A program that may have no descriptor of ours is held by one that its owner keeps: the owner has
// the read end, too, and who gets the signal, a process or a whole group, is set there (F_SETOWN).
// When the owner ends, the kernel closes the descriptors with the highest number first (its list of
// works for a task is a stack), so the write end, which has the higher one, goes while the
// signal can still be sent.
//
// PR_SET_PDEATHSIG would not do: it fires at the end of the *thread* that forked, and not when the
// owner executes a program.
//
// A process that the owner forks must not have the write end, or the owner's end would not be seen
// before that process's: handlers of pthread_atfork(3), set with the first leash, close it
// there.  (What vfork(2) and clone(2) start, and posix_spawn, executes a program at once.)
#ifndef WEFT_BASE_LEASH_H
#define WEFT_BASE_LEASH_H

#include "errno.h"
#include "list.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

namespace weft {

struct leash {
    leash *next, *previous;
    int end; // the write end; -1: let go
};

// All of this process's.  The lock is held across a fork, so that the child finds them whole.
inline leash leashes = {&leashes, &leashes, -1};
inline pthread_mutex_t leash_lock = PTHREAD_MUTEX_INITIALIZER;
inline pthread_once_t leash_once = PTHREAD_ONCE_INIT;

inline void leash_fork_begins(void)
{
    pthread_mutex_lock(&leash_lock);
}

inline void leash_fork_ended(void)
{
    pthread_mutex_unlock(&leash_lock);
}

inline void leash_forked(void)
{
    for (leash *l = leashes.next; l != &leashes; l = l->next)
        close_keep_errno(&l->end);
    list_init(&leashes);
    pthread_mutex_unlock(&leash_lock);
}

inline void leash_begin(void)
{
    pthread_atfork(leash_fork_begins, leash_fork_ended, leash_forked);
}

// Neither takes the number of a standard stream, and the write end has the higher one.
static inline int leash_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    for (int i = 0, least = 3; i < 2; least = ends[i] + 1, i++) {
        int end = ends[i];
        if (end >= least)
            continue;
        ends[i] = fcntl(end, F_DUPFD_CLOEXEC, least);
        close_keep_errno(&end);
        if (ends[i] < 0) {
            close_keep_errno(&ends[!i]);
            return -1;
        }
    }
    return 0;
}

// Makes one; *held, close-on-exec, is for whoever is to be held: the owner closes it after it has
// forked.  -1: errno.
static inline int leash_make(leash *l, int *held)
{
    int pipe[2];
    pthread_once(&leash_once, leash_begin);
    pthread_mutex_lock(&leash_lock); // or a fork would come between its birth and the list
    int result = leash_pipe(pipe);
    if (result == 0) {
        *held = pipe[0];
        l->end = pipe[1];
        list_insert(&leashes, l);
    }
    pthread_mutex_unlock(&leash_lock);
    return result;
}

// Lets go: what is held is told.  Nothing if it has, or in a process that has forked since.
static inline void leash_let_go(leash *l)
{
    pthread_mutex_lock(&leash_lock);
    if (l->end >= 0) {
        list_remove(l);
        close_keep_errno(&l->end);
    }
    pthread_mutex_unlock(&leash_lock);
}

// For an owner that keeps `held`: the signal for whom a child with a copy of it will name
// by F_SETOWN: itself, or its group.  -1: errno.
static inline int leash_keep(int held, int signal)
{
    return fcntl(held, F_SETSIG, signal) == 0 && fcntl(held, F_SETFL, O_ASYNC) == 0 ? 0 : -1;
}

// ... and lets go without a signal: also a process that was forked meanwhile has a copy.
static inline void leash_drop(leash *l, int *held)
{
    int saved = errno;
    if (*held >= 0)
        fcntl(*held, F_SETOWN, 0);
    errno = saved;
    close_keep_errno(held);
    leash_let_go(l);
}

// Whether the owner has ended or let go.
static inline bool leash_is_loose(int held)
{
    struct pollfd f = {held, 0, 0};
    int saved = errno, n = poll(&f, 1, 0);
    errno = saved;
    return n != 0;
}

// In the held process, for as long as it has `held` open: it gets the signal when the owner ends
// or lets go.  A program that it executes is held, too, if `through_exec`, which leaves the
// descriptor open there.  -1: errno.  Async-signal-safe.
static inline int leash_hold(int held, int signal, bool through_exec)
{
    if (fcntl(held, F_SETSIG, signal) != 0 || fcntl(held, F_SETOWN, getpid()) != 0 ||
        fcntl(held, F_SETFL, O_ASYNC) != 0 || (through_exec && fcntl(held, F_SETFD, 0) != 0))
        return -1;
    if (leash_is_loose(held)) // before the kernel was asked
        kill(getpid(), signal);
    return 0;
}

} // namespace weft

#endif
