// offload.cc: blocking functions on executors, awaited by tasklets.
//
// A worker that has run a job leaves it at the post of the thread that waits: a stack that
// anyone may push on and only that thread takes off, all at once, when the eventfd beside it says
// so.  Whether a job's tasklet still waits is looked at only there, in the tasklet's own
// thread, so giving up needs no agreement with the worker.  When weft_io_run ends, the post is
// shut: a worker that would push on it then releases the job itself.
//
// A look-up or a file that hangs must not hold up others: a pool of names grows with the look-ups
// that are under way, one of files with the work that nobody waits for any more.  Both are as
// strong as they should be again when they have nothing to do.
#include <weft/executor.h>
#include <weft/offload.h>

#include "descriptor.h"
#include "job.h"
#include "park.h"

#include <base/above_streams.h>
#include <base/errno.h>

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

using namespace weft;

static const int DEFAULTS[] = {8, 4, 4};
static const size_t BACKLOG = 4096;
static const int MOST = 64; // threads that a pool may grow to

// ---- Pools ----

namespace weft {
struct pool {
    weft_executor *executor;
    pid_t pid; // whose threads they are: a child has none
    int which;
    pthread_mutex_t lock; // guards the rest
    int jobs;             // that wait or are under way
    int stuck;            // of those under way: nobody waits for them
    int threads;          // as asked for last; 0: there are fewer
};
} // namespace weft

static pool *pools[3]; // set once in each process
static int wanted[3];

static int wants(int which)
{
    int n = __atomic_load_n(&wanted[which], __ATOMIC_RELAXED);
    return n > 0 ? n : DEFAULTS[which];
}

static pool *create_pool(int which)
{
    static const char *const names[] = {"weft-offload", "weft-names", "weft-files"};
    weft_executor_options o;
    memset(&o, 0, sizeof o);
    o.name = names[which];
    o.backlog = BACKLOG;
    pool *p = (pool *)malloc(sizeof *p);
    if (p == nullptr)
        return nullptr;
    *p = {nullptr, getpid(), which, PTHREAD_MUTEX_INITIALIZER, 0, 0, wants(which)};
    p->executor = weft_executor_create(p->threads, &o);
    if (p->executor == nullptr) {
        free_keep_errno(p);
        return nullptr;
    }
    return p;
}

// The process's pool.  A parent's is left as it is in a child: its threads are not there to end.
static pool *pool_of(int which)
{
    // Acquire: with the release below the executor is whole.
    pool *p = __atomic_load_n(&pools[which], __ATOMIC_ACQUIRE);
    if (p != nullptr && p->pid == getpid())
        return p;
    pool *fresh = create_pool(which);
    if (fresh == nullptr)
        return nullptr;
    if (__atomic_compare_exchange_n(&pools[which], &p, fresh, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return fresh;
    weft_executor_close(fresh->executor, WEFT_DISCARD);
    weft_executor_destroy(fresh->executor); // another thread was first
    free(fresh);
    return p;
}

// How many threads it takes for those that hang to hold up nobody.
static int fitting(const pool *p)
{
    int n = wants(p->which), more = p->which == WEFT_OFFLOAD_NAMES   ? p->jobs - n
                                    : p->which == WEFT_OFFLOAD_FILES ? p->stuck
                                                                     : 0;
    if (more <= 0 || n >= MOST)
        return n;
    return n + more < MOST ? n + more : MOST;
}

// With the lock held.
static int resize(pool *p, int threads)
{
    int result = weft_executor_resize(p->executor, threads);
    p->threads = result == 0 ? threads : 0;
    return result;
}

// So many more have come; fewer: have gone.
static void account(pool *p, int jobs, int stuck)
{
    int saved = errno;
    if (p->which == WEFT_OFFLOAD_WORK)
        return;
    pthread_mutex_lock(&p->lock);
    p->jobs += jobs;
    p->stuck += stuck;
    int n = fitting(p);
    if (n > p->threads || (n < p->threads && p->jobs == 0))
        resize(p, n); // if fewer start they do it one after the other
    pthread_mutex_unlock(&p->lock);
    errno = saved;
}

int weft_offload_set_threads(int which, int threads)
{
    if (which < 0 || which > 2 || threads < 1)
        return fail_with(EINVAL);
    __atomic_store_n(&wanted[which], threads, __ATOMIC_RELAXED);
    pool *p = __atomic_load_n(&pools[which], __ATOMIC_ACQUIRE);
    if (p == nullptr || p->pid != getpid())
        return 0;
    pthread_mutex_lock(&p->lock);
    int result = resize(p, fitting(p));
    pthread_mutex_unlock(&p->lock);
    return result;
}

// ---- The post ----

struct weft::post_box {
    io_source source; // the first member
    posted *head;     // pushed by anyone; SHUT: by nobody any more
    int event;
    uint32_t users;    // the owner and each job under way
    offload_job *mine; // under way; the owner's
    parking parked;    // the owner's
};

static posted *const SHUT = (posted *)-1;

static __thread post_box *post_here; // nullptr until needed

static void drop(post_box *p)
{
    // Release and acquire: the last one sees what all others did.
    if (__atomic_sub_fetch(&p->users, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    close(p->event);
    free(p);
}

static void discard(offload_job *job)
{
    if (job->release != nullptr)
        job->release(job->ran ? job->result : nullptr, job->arg);
    free(job);
}

bool weft::post(post_box *p, posted *item)
{
    // Acquire: who finds it shut, and releases the job, has seen all that its owner did with it.
    posted *head = __atomic_load_n(&p->head, __ATOMIC_ACQUIRE);
    do {
        if (head == SHUT)
            return false;
        item->next = head;
        // Release: whoever takes the item sees what it brings.
    } while (!__atomic_compare_exchange_n(&p->head, &head, item, true, __ATOMIC_RELEASE,
                                          __ATOMIC_ACQUIRE));
    if (head == nullptr)
        eventfd_write(p->event, 1); // the others' event is still to come, or theirs covers us
    return true;
}

static void *run(void *arg)
{
    offload_job *job = (offload_job *)arg;
    job->result = job->fn(job->arg);
    job->error = errno;
    job->ran = 1;
    account(job->of, -1, -__atomic_exchange_n(&job->stuck, 2, __ATOMIC_RELAXED));
    post_box *p = job->post; // the job may be gone
    if (!post(p, &job->item))
        discard(job);
    drop(p);
    return nullptr;
}

static void take_off(post_box *p, offload_job *job)
{
    offload_job **at = &p->mine;
    while (*at != job)
        at = &(*at)->later;
    *at = job->later;
}

static void settle(posted *item, bool late)
{
    offload_job *job = (offload_job *)(void *)item;
    if (late) { // nobody waits for it, or weft_io_run would not end
        discard(job);
        return;
    }
    take_off(job->post, job);
    if (job->abandoned) {
        discard(job);
        return;
    }
    job->done = 1;
    end_wait(job->waiter, 0);
}

// Takes all off, and leaves `rest` there.
static void take_in(post_box *p, posted *rest)
{
    posted *item = __atomic_exchange_n(&p->head, rest, __ATOMIC_ACQ_REL), *next;
    for (; item != nullptr; item = next) {
        next = item->next;
        item->arrived(item, rest == SHUT);
    }
}

void weft::post_collect(post_box *p)
{
    eventfd_t n;
    int saved = errno;
    eventfd_read(p->event, &n); // before the stack is taken: a later push rings again
    take_in(p, nullptr);
    errno = saved;
}

static void collect(io_source *source)
{
    post_collect((post_box *)(void *)source);
}

parking *weft::post_parked(post_box *p)
{
    return &p->parked;
}

// The workers stayed behind, and with them the jobs under way: who waits is told.  Their memory is
// left, as what state it is in nobody can say, but for a descriptor.
static void forked(io_source *source)
{
    post_box *p = (post_box *)(void *)source;
    list_remove(source);
    post_here = nullptr;
    close(p->event);
    parked_end(&p->parked);
    for (offload_job *job = p->mine; job != nullptr; job = job->later) {
        job->lost = 1;
        if (job->fd != nullptr)
            close_keep_errno(job->fd);
        if (!job->abandoned)
            end_wait(job->waiter, ECANCELED);
    }
}

static void shut(io_source *source)
{
    post_box *p = (post_box *)(void *)source;
    if (events_forked(&io_here->set)) {
        forked(source);
        return;
    }
    list_remove(source);
    post_here = nullptr;
    take_in(p, SHUT);
    drop(p);
}

post_box *weft::post_of(io_state *io)
{
    if (io_enter(io) != 0)
        return nullptr;
    if (post_here != nullptr)
        return post_here;
    post_box *p = (post_box *)calloc(1, sizeof *p);
    if (p == nullptr)
        return nullptr;
    p->source.event = collect;
    p->source.forked = forked;
    p->source.end = shut;
    p->users = 1;
    list_init(&p->parked);
    p->event = above_streams(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (p->event < 0 || io_register(io, &p->source, p->event) != 0) {
        close_keep_errno(&p->event);
        free_keep_errno(p);
        return nullptr;
    }
    post_here = p;
    return p;
}

// ---- Waiting ----

// The caller gives up.
static void abandon(offload_job *job)
{
    int saved = errno;
    job->abandoned = 1;
    // (In a child nobody lets go of the locks that the parent's pool had.)
    if (io_enter(io_here) != 0 || job->lost) {
        errno = saved;
        return;
    }
    if (weft_future_cancel(job->future) == 0) {
        post_box *p = job->post;
        take_off(p, job);
        account(job->of, -1, 0);
        weft_future_release(job->future);
        discard(job);
        drop(p);
    } else {
        int under_way = 0;
        if (__atomic_compare_exchange_n(&job->stuck, &under_way, 1, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
            account(job->of, 0, 1);
        weft_future_release(job->future);
    }
    errno = saved;
}

static int submit(offload_job *job, int which)
{
    job->of = pool_of(which);
    post_box *p = job->of != nullptr ? post_of(io_here) : nullptr;
    if (p == nullptr)
        return -1;
    account(job->of, 1, 0);
    job->post = p;
    __atomic_add_fetch(&p->users, 1, __ATOMIC_RELAXED);
    job->later = p->mine;
    p->mine = job;
    job->future = weft_executor_submit(job->of->executor, run, job, WEFT_NOW);
    if (job->future != nullptr)
        return 0;
    int saved = errno == ETIMEDOUT ? EAGAIN : errno; // too much waits already
    account(job->of, -1, 0);
    take_off(p, job);
    drop(p);
    errno = saved;
    return -1;
}

int weft::offload_to(int which, void *(*fn)(void *), void *arg, void (*release)(void *, void *),
                     void **result, weft_deadline d, int *fd)
{
    int saved = errno;
    io_state *io = io_here;
    int error = io == nullptr   ? EPERM
                : fn == nullptr ? EINVAL
                : d <= WEFT_NOW ? ETIMEDOUT
                                : wait_refusal(d);
    if (error == ETIMEDOUT || error == ECANCELED) {
        if (release != nullptr)
            release(nullptr, arg);
    }
    if (error != 0)
        return fail_with(error);
    offload_job *job = (offload_job *)calloc(1, sizeof *job);
    if (job == nullptr)
        return -1;
    job->item.arrived = settle;
    job->fn = fn;
    job->arg = arg;
    job->release = release;
    job->fd = fd;
    job->waiter = weft_tasklet_self();
    if (job->waiter == nullptr || submit(job, which) != 0) {
        free_keep_errno(job);
        return -1;
    }
    while (!job->done) {
        if (io_suspend(io, d) != 0 && !job->done) {
            abandon(job);
            return -1;
        }
    }
    void *value = job->result;
    error = value == WEFT_FAILED ? job->error : saved;
    weft_future_release(job->future);
    free(job);
    if (result != nullptr)
        *result = value;
    errno = error;
    return 0;
}

void weft::offload_alone(void *(*fn)(void *), void *arg)
{
    pool *p = pool_of(WEFT_OFFLOAD_FILES);
    weft_future *f = p != nullptr ? weft_executor_submit(p->executor, fn, arg, WEFT_NOW) : nullptr;
    if (f == nullptr)
        fn(arg);
    else
        weft_future_release(f);
}

int weft_offload(void *(*fn)(void *arg), void *arg, void **result, weft_deadline d)
{
    return offload_to(WEFT_OFFLOAD_WORK, fn, arg, nullptr, result, d);
}

int weft_offload_owned(void *(*fn)(void *arg), void *arg, void (*release)(void *result, void *arg),
                       void **result, weft_deadline d)
{
    return release == nullptr ? fail_with(EINVAL)
                              : offload_to(WEFT_OFFLOAD_WORK, fn, arg, release, result, d);
}
