// pool.cc: a pool's beginning and end, and what the program may learn of it.
//
// The other files: pool_shared.h says how the memory is laid out and why it survives any death,
// pool_worker.cc and pool_supervisor.cc are the other processes, pool_result.cc and pool_map.cc
// give them work.
#include "fork.h"
#include "pool_parent.h"

#include <base/above_streams.h>
#include <base/errno.h>
#include <base/time.h>
#include <base/wiped.h>
#include <thread/sleep.h>
#include <weft/thread.h>

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

using namespace weft;

static const int64_t SLICE_MS = 50; // the longest sleep without a look at the supervisor

int weft::pool_check(const weft_pool *p)
{
    return p == nullptr ? EINVAL : *p->whose != POOL_PARENT ? EPERM : 0;
}

// ---- Creating ----

static const size_t DEFAULT_SLOTS = 16384, DEFAULT_MEMORY = (size_t)256 << 20,
                    MEMORY_MAX = (size_t)1 << 39;
static const int64_t LONGEST_TASK = INT64_MAX / 2; // so that a sum with the clock overflows not

static int options_check(int workers, const weft_pool_options *o)
{
    if (workers < 0 || workers > WEFT_POOL_WORKERS_MAX || o->slots > WEFT_POOL_SLOTS_MAX ||
        o->memory > MEMORY_MAX || o->task_ns < 0 ||
        (o->keep_count != 0 && (o->keep == nullptr || !o->close_others)))
        return fail_with(EINVAL);
    return 0;
}

// Places an array in the mapping, or, while that does not exist, only counts its bytes.
static void *lay(unsigned char *base, size_t *used, size_t bytes)
{
    size_t at = *used;
    *used = (at + bytes + 63) & ~(size_t)63;
    return base != nullptr ? base + at : nullptr;
}

static size_t lay_out(pool_shared *sh, unsigned char *base, size_t slots, size_t memory)
{
    size_t used = 0;
    lay(base, &used, sizeof *sh);
    sh->place = (pool_place *)lay(base, &used, sh->workers * sizeof *sh->place);
    sh->queue = (uint32_t *)lay(base, &used, ((size_t)sh->queue_mask + 1) * sizeof *sh->queue);
    sh->ready = (uint64_t *)lay(base, &used, (slots + 63) / 64 * sizeof *sh->ready);
    sh->slot = (pool_slot *)lay(base, &used, slots * sizeof *sh->slot);
    used = (used + 4095) & ~(size_t)4095;
    sh->memory = (unsigned char *)lay(base, &used, memory);
    return used;
}

static int map_shared(weft_pool *p, int workers, const weft_pool_options *o)
{
    pool_shared sh = {};
    size_t slots = o->slots != 0 ? o->slots : DEFAULT_SLOTS;
    size_t memory = pool_memory_round(o->memory != 0 ? o->memory : DEFAULT_MEMORY);
    int cpus = weft_cpu_count();
    sh.workers = (uint32_t)(workers != 0 ? workers : cpus);
    sh.workers = sh.workers > WEFT_POOL_WORKERS_MAX ? WEFT_POOL_WORKERS_MAX : sh.workers;
    sh.slots = (uint32_t)slots;
    sh.queue_mask =
        (uint32_t)((slots <= 1 ? 1 : (size_t)1 << (64 - __builtin_clzll(slots - 1))) - 1);
    sh.asleep_words = (sh.workers + 63) / 64;
    sh.tasks_per_child = o->tasks_per_child;
    sh.retries = o->retries;
    sh.task_ns = o->task_ns < LONGEST_TASK ? o->task_ns : LONGEST_TASK;
    sh.spin_ns = cpus > 1 ? 50000 : 0; // about what a sleep and a wake cost
    sh.done_fd = -1;
    p->shared_size = lay_out(&sh, nullptr, slots, memory);
    void *m = mmap(nullptr, p->shared_size, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED)
        return -1;
    p->shared = (pool_shared *)m;
    lay_out(&sh, (unsigned char *)m, slots, memory);
    memcpy(m, &sh, sizeof sh);
    p->results = (weft_result *)calloc(slots, sizeof *p->results);
    return p->results != nullptr && pool_memory_init(&p->memory, memory) == 0 ? 0 : -1;
}

static int map_whose(weft_pool *p)
{
    p->whose = (uint32_t *)wiped_make();
    if (p->whose == nullptr)
        return -1;
    *p->whose = POOL_PARENT;
    return 0;
}

static int open_descriptors(weft_pool *p, const weft_pool_options *o)
{
    p->control_fd = above_streams(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    p->shared->done_fd = above_streams(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (p->control_fd < 0 || p->shared->done_fd < 0 ||
        leash_make(&p->supervisor_leash, &p->held) != 0)
        return -1;
    const int ours[] = {p->control_fd, p->shared->done_fd, p->held};
    p->close_others = o->close_others;
    p->keep_count = o->keep_count;
    p->keep = sorted_descriptors(o->keep, &p->keep_count, ours, 3);
    return p->keep != nullptr ? 0 : -1;
}

// All signals are blocked meanwhile: no handler of the program runs in the supervisor.
static int fork_supervisor(weft_pool *p)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork_child(&p->supervisor);
    if (pid == 0)
        pool_supervise(p);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return pid < 0 ? -1 : 0;
}

static void release(weft_pool *p)
{
    int saved = errno;
    if (p->shared != nullptr) {
        close_keep_errno(&p->shared->done_fd);
        munmap(p->shared, p->shared_size);
    }
    wiped_free(p->whose);
    close_keep_errno(&p->control_fd);
    close_keep_errno(&p->held);
    leash_let_go(&p->supervisor_leash);
    child_close(&p->supervisor);
    close_keep_errno(&p->epoll_fd);
    pool_memory_free(&p->memory);
    free(p->results);
    free(p->keep);
    free(p);
    errno = saved;
}

weft_pool *weft_pool_create(int workers, const weft_pool_options *opts)
{
    static const weft_pool_options defaults = {};
    const weft_pool_options *o = opts != nullptr ? opts : &defaults;
    int saved = errno;
    if (options_check(workers, o) != 0)
        return nullptr;
    weft_pool *p = (weft_pool *)calloc(1, sizeof *p);
    if (p == nullptr)
        return nullptr;
    p->control_fd = p->held = p->supervisor_leash.end = p->supervisor.pidfd = p->epoll_fd = -1;
    p->initialiser = o->initialiser;
    p->arg = o->arg;
    pthread_mutex_init(&p->lock, nullptr);
    if (o->name != nullptr)
        strncpy(p->name, o->name, sizeof p->name - 1);
    if (map_shared(p, workers, o) != 0 || map_whose(p) != 0 || open_descriptors(p, o) != 0 ||
        fork_supervisor(p) != 0) {
        release(p);
        return nullptr;
    }
    close_keep_errno(&p->held); // the supervisor's
    errno = saved;
    return p;
}

// ---- Ending ----

static void tell_supervisor(weft_pool *p, uint32_t phase)
{
    uint64_t one = 1;
    pthread_mutex_lock(&p->lock);
    if (p->shared->phase < phase)
        __atomic_store_n(&p->shared->phase, phase, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&p->lock);
    (void)!uncancelled(write, p->control_fd, &one, sizeof one);
}

int weft_pool_close(weft_pool *p)
{
    int error = pool_check(p);
    if (error != 0)
        return fail_with(error);
    tell_supervisor(p, POOL_CLOSED);
    for (uint32_t i = 0; i < p->shared->workers; i++)
        ring_place(p->shared, i);
    return 0;
}

int weft_pool_terminate(weft_pool *p)
{
    int error = pool_check(p);
    if (error != 0)
        return fail_with(error);
    tell_supervisor(p, POOL_TERMINATED);
    return 0;
}

// The caller holds p->lock.  Its exit status may be lost to others who wait for children.
static void note_end(weft_pool *p)
{
    child_reap(&p->supervisor, 0);
    p->gone_well = __atomic_load_n(&p->shared->ended_as_told, __ATOMIC_SEQ_CST) != 0;
    bool terminated = p->gone_well && p->shared->phase == POOL_TERMINATED;
    int early =
        p->shared->forked == 0 && p->shared->fork_error != 0 ? p->shared->fork_error : EPIPE;
    __atomic_store_n(&p->gone, terminated ? ECANCELED : early, __ATOMIC_SEQ_CST);
}

int weft::pool_look(weft_pool *p)
{
    int saved = errno;
    if (__atomic_load_n(&p->gone, __ATOMIC_SEQ_CST) == 0 && child_has_ended(&p->supervisor)) {
        pthread_mutex_lock(&p->lock);
        if (p->gone == 0)
            note_end(p);
        pthread_mutex_unlock(&p->lock);
    }
    errno = saved;
    return __atomic_load_n(&p->gone, __ATOMIC_SEQ_CST);
}

// Calls the callbacks in the list.
static ssize_t call_back(weft_result *due)
{
    ssize_t called = 0;
    while (due != nullptr) {
        weft_result *r = due;
        due = r->next;
        r->due(r, r->then_arg);
        called++;
    }
    return called;
}

static ssize_t run_callbacks(weft_pool *p)
{
    uint64_t word;
    int saved = errno;
    (void)!uncancelled(read, p->shared->done_fd, &word,
                       sizeof word); // before the look: later ends stay visible
    errno = saved;
    pthread_mutex_lock(&p->lock);
    weft_result *due = nullptr;
    pool_sweep(p, &due);
    pthread_mutex_unlock(&p->lock);
    return call_back(due);
}

int weft_pool_join(weft_pool *p, weft_deadline d)
{
    int error = pool_check(p);
    if (error == 0 && __atomic_load_n(&p->shared->phase, __ATOMIC_SEQ_CST) == POOL_OPEN &&
        pool_look(p) == 0)
        error = EBUSY;
    if (error != 0)
        return fail_with(error);
    int saved = errno;
    pthread_mutex_lock(&p->lock);
    bool callbacks = p->callbacks != 0;
    pthread_mutex_unlock(&p->lock);
    if (callbacks)
        weft_pool_fd(p); // so that ends are heard; if it fails, the slices do
    while (run_callbacks(p), pool_look(p) == 0) {
        struct pollfd f[] = {{p->supervisor.pidfd, POLLIN, 0}, {p->shared->done_fd, POLLIN, 0}};
        weft_deadline slice = weft_in_ms(SLICE_MS);
        if (weft_left(d) == 0)
            return fail_with(ETIMEDOUT);
        if (weft_thread_stopping())
            return fail_with(ECANCELED);
        uncancelled(poll, f, 2, poll_ms(slice < d ? slice : d));
    }
    run_callbacks(p);
    errno = saved;
    return p->gone_well ? 0 : fail_with(p->gone);
}

int weft_pool_destroy(weft_pool *p)
{
    if (p == nullptr)
        return 0;
    int error = pool_check(p);
    if (error == 0 && (pool_look(p) == 0 || p->imaps != 0 ||
                       __atomic_load_n(&p->shared->listening, __ATOMIC_SEQ_CST) & ~LISTENING_FD))
        error = EBUSY;
    if (error != 0)
        return fail_with(error);
    pthread_mutex_destroy(&p->lock);
    release(p);
    return 0;
}

// ---- Hearing of ends ----

static int open_epoll(weft_pool *p)
{
    struct epoll_event e = {EPOLLIN, {}};
    int fd = above_streams(epoll_create1(EPOLL_CLOEXEC));
    if (fd < 0)
        return -1;
    if (epoll_ctl(fd, EPOLL_CTL_ADD, p->shared->done_fd, &e) != 0 ||
        epoll_ctl(fd, EPOLL_CTL_ADD, p->supervisor.pidfd, &e) != 0) {
        close_keep_errno(&fd);
        return -1;
    }
    return fd;
}

int weft_pool_fd(weft_pool *p)
{
    int error = pool_check(p);
    if (error == 0 && p->supervisor.pidfd < 0)
        error = ENOSYS;
    if (error != 0)
        return fail_with(error);
    pthread_mutex_lock(&p->lock);
    if (p->epoll_fd < 0)
        p->epoll_fd = open_epoll(p);
    int fd = p->epoll_fd;
    if (fd >= 0)
        __atomic_fetch_or(&p->shared->listening, LISTENING_FD, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&p->lock);
    return fd;
}

int weft::pool_await_any(weft_pool *p, bool (*still)(void *), void *arg, weft_deadline d)
{
    pool_shared *sh = p->shared;
    int error = 0;
    // SEQ_CST: a worker that ends a task first changes its phase, then looks who listens.
    __atomic_fetch_add(&sh->listening, 1, __ATOMIC_SEQ_CST);
    uint32_t bell = __atomic_load_n(&sh->done_bell, __ATOMIC_SEQ_CST);
    if (still(arg) && pool_look(p) == 0) {
        weft_deadline slice = weft_in_ms(SLICE_MS);
        error = sleep_on(&sh->done_bell, bell, slice < d ? slice : d, 1);
        if (error == ETIMEDOUT && weft_left(d) != 0)
            error = 0;
    }
    __atomic_fetch_sub(&sh->listening, 1, __ATOMIC_SEQ_CST);
    return error;
}

static bool none_is_ready(void *arg)
{
    const pool_shared *sh = ((weft_pool *)arg)->shared;
    for (uint32_t w = 0; w < (sh->slots + 63) / 64; w++)
        if (__atomic_load_n(&sh->ready[w], __ATOMIC_SEQ_CST) != 0)
            return false;
    return true;
}

ssize_t weft_pool_dispatch(weft_pool *p, weft_deadline d)
{
    int error = pool_check(p);
    while (error == 0) {
        int gone = pool_look(p);
        ssize_t called = run_callbacks(p);
        if (called > 0)
            return called;
        if (gone != 0)
            return fail_with(EPIPE);
        pthread_mutex_lock(&p->lock);
        bool any = p->callbacks != 0;
        pthread_mutex_unlock(&p->lock);
        if (!any)
            return 0;
        error = weft_left(d) == 0 ? ETIMEDOUT : pool_await_any(p, none_is_ready, p, d);
    }
    return fail_with(error);
}

static bool is_busy(const pool_shared *sh, uint32_t place)
{
    uint32_t i = __atomic_load_n(&sh->place[place].intent, __ATOMIC_ACQUIRE);
    uint64_t state = slot_state(&sh->slot[i]);
    return phase_of(state) == SLOT_RUNNING && owner_of(state) == place;
}

static uint64_t read_count(const uint64_t *n)
{
    return __atomic_load_n(n, __ATOMIC_RELAXED);
}

int weft_pool_statistics(weft_pool *p, weft_pool_counters *s)
{
    int error = s == nullptr ? EINVAL : pool_check(p);
    if (error != 0)
        return fail_with(error);
    const pool_shared *sh = p->shared;
    *s = {};
    pthread_mutex_lock(&p->lock);
    s->submitted = p->submitted;
    pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < sh->workers; i++) {
        s->done += read_count(&sh->place[i].calls_done);
        s->busy += is_busy(sh, i);
    }
    s->lost = read_count(&sh->lost);
    s->timed_out = read_count(&sh->timed_out);
    s->retried = read_count(&sh->retried);
    s->forked = read_count(&sh->forked);
    s->deaths = read_count(&sh->deaths);
    uint64_t head = __atomic_load_n(&sh->head, __ATOMIC_SEQ_CST);
    s->pending = (size_t)(__atomic_load_n(&sh->tail, __ATOMIC_SEQ_CST) - head);
    s->workers = (int)sh->workers;
    s->alive = (int)__atomic_load_n(&sh->alive, __ATOMIC_RELAXED);
    s->initialiser_error = __atomic_load_n(&sh->initialiser_error, __ATOMIC_RELAXED);
    s->fork_error = __atomic_load_n(&sh->fork_error, __ATOMIC_RELAXED);
    s->supervisor = p->supervisor.pid;
    return 0;
}

pid_t weft_pool_worker(weft_pool *p, size_t place, bool *busy)
{
    int error = pool_check(p);
    if (error == 0 && place >= p->shared->workers)
        error = EINVAL;
    if (error != 0)
        return fail_with(error);
    pid_t pid = __atomic_load_n(&p->shared->place[place].pid, __ATOMIC_ACQUIRE);
    if (pid == 0)
        return fail_with(ESRCH);
    if (busy != nullptr)
        *busy = is_busy(p->shared, (uint32_t)place);
    return pid;
}
