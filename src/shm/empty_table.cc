// empty_table.cc: a thread with a descriptor table of its own.
//
// It lives as long as the call.  It blocks all signals: handlers would miss their descriptors.
#include "empty_table.h"

#include <base/errno.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

using namespace weft;

namespace {
struct errand {
    int (*fn)(void *arg);
    void *arg;
    int result, error;
};
} // namespace

static void *run(void *arg)
{
    errand *e = (errand *)arg;
    e->result =
        unshare(CLONE_FILES) != 0 || syscall(SYS_close_range, 0, ~0U, 0) != 0 ? -1 : e->fn(e->arg);
    e->error = errno;
    return nullptr;
}

int weft::in_empty_table(int (*fn)(void *arg), void *arg)
{
    errand e = {fn, arg, -1, 0};
    sigset_t all, before;
    pthread_t thread;
    int saved = errno;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int refused = pthread_create(&thread, nullptr, run, &e);
    if (refused == 0)
        uncancelled(pthread_join, thread, nullptr);
    else
        e.error = refused;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    errno = e.result < 0 ? e.error : saved;
    return e.result;
}
