// client_name.cc: the addresses of a name, until a deadline.
//
// getaddrinfo(3) knows none.  So outside weft_io_run, where there are threads for that, a name that
// is no number is looked up by a thread that lasts as long as it takes; whoever is the last of the
// two to leave releases what they share.
#include "client.h"

#include <async/address.h>
#include <base/above_streams.h>
#include <base/errno.h>
#include <weft/io.h>
#include <weft/thread.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>

using namespace weft;

namespace {
struct lookup {
    endpoint of;
    struct addrinfo *list;
    int error; // atomic; 0: the list is there
    int fd;    // readable when it is known
    int users; // atomic
};
} // namespace

static void leave(lookup *l)
{
    int saved = errno;
    // Each sees what the other did before it left.
    if (__atomic_sub_fetch(&l->users, 1, __ATOMIC_ACQ_REL) == 0) {
        if (l->list != nullptr)
            freeaddrinfo(l->list);
        close_keep_errno(&l->fd);
        free(l);
    }
    errno = saved;
}

static void *look_up(void *arg)
{
    lookup *l = (lookup *)arg;
    struct addrinfo *list;
    int error = endpoint_resolve(&l->of, 0, &list, WEFT_FOREVER) == 0 ? 0 : errno;
    if (error == 0)
        l->list = list;
    __atomic_store_n(&l->error, error, __ATOMIC_RELEASE); // the list is there, too
    eventfd_write(l->fd, 1);
    leave(l);
    return nullptr;
}

// With all signals blocked: they are the program's.
static int start(lookup *l)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    weft_thread *t = weft_thread_start(look_up, l, nullptr);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    errno = saved;
    return t != nullptr ? weft_thread_detach(t) : -1;
}

static int look_up_by_thread(const endpoint *a, struct addrinfo **list, weft_deadline d)
{
    lookup *l = (lookup *)calloc(1, sizeof *l);
    if (l == nullptr)
        return -1;
    l->of = *a;
    l->users = 2;
    l->fd = above_streams(eventfd(0, EFD_CLOEXEC));
    if (l->fd < 0 || start(l) != 0) {
        l->users = 1;
        leave(l);
        return -1;
    }
    int error =
        client_wait(l->fd, WEFT_READ, d) < 0 ? errno : __atomic_load_n(&l->error, __ATOMIC_ACQUIRE);
    if (error == 0) {
        *list = l->list;
        l->list = nullptr;
    }
    leave(l);
    return error != 0 ? fail_with(error) : 0;
}

int weft::client_resolve(const endpoint *a, struct addrinfo **list, weft_deadline d)
{
    int saved = errno;
    if (endpoint_resolve(a, AI_NUMERICHOST, list, d) == 0)
        return 0;
    errno = saved;
    return look_up_by_thread(a, list, d);
}
