// pool_supervisor.cc: the only forker of workers, and the heir of those that die.
//
// A process with one thread and one poll: for its own children (signalfd), for the
// program's end or exec (a leash) and for the program's word (an eventfd).
//
// A dead worker's task is not queued again but stays in its place: the next worker there
// begins with it.  So nothing that others use is touched for it.
#include "fork.h"
#include "pool_parent.h"

#include <base/above_streams.h>
#include <base/close_others.h>
#include <base/errno.h>
#include <base/time.h>

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

using namespace weft;

enum { INITIALISER_FAILURES = 3 };
static const int64_t AGAIN_MS = 10, AGAIN_MS_MOST = 1000;

namespace {
struct supervisor {
    weft_pool *pool;
    pool_shared *sh;
    int signal_fd;
    int failures;          // of initialisers, in a row
    uint32_t initialised;  // sh->initialised when they were counted
    weft_deadline fork_at; // when to try again to fill empty places; WEFT_FOREVER: none is
    int64_t again_ms;      // how long until then, when there was no process to be had
};
} // namespace

static void count_up(uint64_t *n)
{
    __atomic_store_n(n, *n + 1, __ATOMIC_RELAXED);
}

static uint32_t phase(const supervisor *v)
{
    return __atomic_load_n(&v->sh->phase, __ATOMIC_SEQ_CST);
}

// Kills the workers and ends.
[[noreturn]] static void end(supervisor *v, int code)
{
    for (uint32_t i = 0; i < v->sh->workers; i++)
        if (v->sh->place[i].pid != 0)
            kill(v->sh->place[i].pid, SIGKILL);
    while (waitpid(-1, nullptr, 0) > 0 || errno == EINTR)
        ;
    if (code == 0)
        __atomic_store_n(&v->sh->ended_as_told, 1, __ATOMIC_SEQ_CST);
    _exit(code);
}

static void later(supervisor *v, int64_t ms)
{
    weft_deadline at = weft_in_ms(ms);
    v->fork_at = at < v->fork_at ? at : v->fork_at;
}

// The system had no process to give.  Others may end; but a pool that never had one ends.
static void note_refusal(supervisor *v, int error)
{
    v->sh->fork_error = error;
    if (v->again_ms >= AGAIN_MS_MOST && v->sh->forked == 0)
        end(v, 4);
    later(v, v->again_ms);
}

static void fork_worker(supervisor *v, uint32_t i)
{
    pool_place *place = &v->sh->place[i];
    place->ready = 0;
    place->leaving = 0;
    place->started = place->stopped = 0;
    place->initialiser_error = 0;
    __atomic_fetch_add(&v->sh->alive, 1, __ATOMIC_RELAXED); // both before its first task is done
    __atomic_fetch_add(&v->sh->forked, 1, __ATOMIC_RELAXED);
    pid_t pid = fork_child(nullptr);
    if (pid == 0) {
        close(v->signal_fd);
        pool_work(v->pool, i);
    }
    if (pid < 0) {
        int error = errno;
        __atomic_fetch_sub(&v->sh->alive, 1, __ATOMIC_RELAXED);
        __atomic_fetch_sub(&v->sh->forked, 1, __ATOMIC_RELAXED);
        note_refusal(v, error);
        return;
    }
    v->sh->fork_error = 0;
    __atomic_store_n(&place->pid, pid, __ATOMIC_RELEASE); // as it does itself, who comes first
}

// When the pool is closed, only for what is left to do.
static void fill_places(supervisor *v)
{
    v->fork_at = WEFT_FOREVER;
    for (uint32_t i = 0; i < v->sh->workers; i++) {
        const pool_place *place = &v->sh->place[i];
        if (place->pid == 0 && (place->inherits || phase(v) == POOL_OPEN || !queue_empty(v->sh)))
            fork_worker(v, i);
    }
    int64_t twice = v->again_ms < AGAIN_MS_MOST / 2 ? 2 * v->again_ms : AGAIN_MS_MOST;
    v->again_ms = v->sh->fork_error == 0 ? AGAIN_MS : twice;
}

// The item in which a worker died: whether it is to be run again.
static bool retry_item(supervisor *v, pool_slot *s, uint64_t item, bool expired, int status)
{
    pool_verdict *verdict = slot_verdict(s, item);
    if (!expired && s->tries < v->sh->retries) {
        s->tries++;
        count_up(&v->sh->retried);
        return true;
    }
    verdict->error = expired ? ETIMEDOUT : ECHILD;
    verdict->status = expired ? 0 : (uint16_t)status;
    count_up(expired ? &v->sh->timed_out : &v->sh->lost);
    if (s->result_size != 0)
        memset(slot_result(s, item), 0, s->result_size);
    s->tries = 0;
    return false;
}

// What a dead worker leaves: the slot it meant last, if it is still its own.
static void inherit(supervisor *v, uint32_t i, int status)
{
    pool_place *place = &v->sh->place[i];
    pool_slot *s = &v->sh->slot[place->intent];
    uint64_t state = slot_state(s);
    place->inherits = 0;
    if (owner_of(state) != i)
        return;
    if (phase_of(state) == SLOT_DONE) // it may have died before it told
        announce(v->sh, s, state);
    if (phase_of(state) != SLOT_RUNNING)
        return;
    if (!place->ready) { // inherited, and not begun
        place->inherits = 1;
        return;
    }
    uint64_t item = __atomic_load_n(&s->item, __ATOMIC_ACQUIRE), plain = item & ~ITEM_EXPIRED;
    if (plain < s->count && !retry_item(v, s, plain, item != plain, status))
        plain++;
    __atomic_store_n(&s->item, plain, __ATOMIC_RELEASE);
    if (plain == s->count)
        slot_finish(v->sh, s);
    else
        place->inherits = 1;
}

static void count_failure(supervisor *v, const pool_place *place, int status)
{
    uint32_t initialised = __atomic_load_n(&v->sh->initialised, __ATOMIC_RELAXED);
    bool failed = place->leaving || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;
    if (!failed) // killed from outside before it could begin
        return;
    v->failures = initialised == v->initialised ? v->failures + 1 : 1;
    v->initialised = initialised;
    v->sh->initialiser_error = place->leaving ? place->initialiser_error : ECHILD;
    if (v->failures >= INITIALISER_FAILURES)
        end(v, 2);
}

static void worker_ended(supervisor *v, uint32_t i, int status)
{
    pool_place *place = &v->sh->place[i];
    uint32_t spinner = i + 1;
    __atomic_store_n(&place->pid, 0, __ATOMIC_RELEASE);
    __atomic_fetch_sub(&v->sh->alive, 1, __ATOMIC_RELAXED);
    __atomic_fetch_and(&v->sh->asleep[i / 64], ~((uint64_t)1 << i % 64), __ATOMIC_SEQ_CST);
    __atomic_compare_exchange_n(&v->sh->spinner, &spinner, 0, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_RELAXED);
    if (!place->leaving)
        count_up(&v->sh->deaths);
    inherit(v, i, status);
    if (!place->ready) {
        count_failure(v, place, status);
        later(v, AGAIN_MS);
    }
}

// A call's time does not go on while its worker is stopped (by a terminal, say).
static void note_stop(pool_place *place, bool stopped)
{
    int64_t now = weft_now(), started = __atomic_load_n(&place->started, __ATOMIC_ACQUIRE);
    if (stopped) {
        place->stopped = now;
        return;
    }
    if (place->stopped != 0 && started != 0) // its own store, if the call has ended, comes first
        __atomic_compare_exchange_n(&place->started, &started, started + (now - place->stopped),
                                    false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    place->stopped = 0;
}

static void reap(supervisor *v)
{
    struct signalfd_siginfo told;
    int status;
    pid_t pid;
    bool any = false, ready = true;
    while (read(v->signal_fd, &told, sizeof told) == (ssize_t)sizeof told)
        if (told.ssi_signo == SIGTERM)
            end(v, 3);
        else if (told.ssi_signo == SIGUSR1)
            ring_fd(v->sh);
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0)
        for (uint32_t i = 0; i < v->sh->workers; i++)
            if (v->sh->place[i].pid == pid && (WIFSTOPPED(status) || WIFCONTINUED(status))) {
                note_stop(&v->sh->place[i], WIFSTOPPED(status));
            } else if (v->sh->place[i].pid == pid) {
                any = true;
                ready = ready && v->sh->place[i].ready;
                worker_ended(v, i, status);
            }
    if (!any)
        return;
    if (ready)
        fill_places(v);
    // A dead worker may have been woken, or have been looking, for a task that it did not take.
    if (!queue_empty(v->sh))
        wake_a_worker(v->sh);
}

// Ends the calls that take too long.  When to look again.
static weft_deadline expire(supervisor *v)
{
    pool_shared *sh = v->sh;
    if (sh->task_ns == 0)
        return WEFT_FOREVER;
    int64_t now = weft_now();
    weft_deadline next = now + sh->task_ns; // what begins later isn't due before that
    for (uint32_t i = 0; i < sh->workers; i++) {
        pool_place *place = &sh->place[i];
        pool_slot *s = &sh->slot[__atomic_load_n(&place->intent, __ATOMIC_ACQUIRE)];
        uint64_t state = slot_state(s), item = __atomic_load_n(&s->item, __ATOMIC_ACQUIRE);
        int64_t started = __atomic_load_n(&place->started, __ATOMIC_ACQUIRE);
        if (place->pid == 0 || started == 0 || place->stopped != 0 ||
            phase_of(state) != SLOT_RUNNING || owner_of(state) != i || item & ITEM_EXPIRED)
            continue;
        if (started + sh->task_ns > now)
            next = started + sh->task_ns < next ? started + sh->task_ns : next;
        else if (__atomic_compare_exchange_n(&s->item, &item, item | ITEM_EXPIRED, false,
                                             __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            kill(place->pid, SIGKILL); // the item is ours now: it can't get away
    }
    return next;
}

static void forget_handlers(void)
{
    for (int n = 1; n < NSIG; n++) {
        struct sigaction a;
        if (sigaction(n, nullptr, &a) == 0 && (a.sa_handler != SIG_IGN || n == SIGCHLD))
            signal(n, SIG_DFL);
    }
}

static void prepare(supervisor *v)
{
    weft_pool *p = v->pool;
    sigset_t ours;
    forget_handlers();
    prctl(PR_SET_NAME, "weft-pool");
    *p->whose = POOL_SUPERVISOR;
    p->supervisor.pid = getpid();
    if (p->close_others)
        close_others(p->keep, p->keep_count);
    sigemptyset(&ours);
    sigaddset(&ours, SIGCHLD);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGUSR1);
    v->signal_fd = above_streams(signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
    if (v->signal_fd < 0) {
        v->sh->fork_error = errno; // before it has forked anybody: for all its tasks
        _exit(1);
    }
}

static void sleep_until(supervisor *v, weft_deadline d)
{
    struct pollfd f[] = {
        {v->signal_fd, POLLIN, 0}, {v->pool->control_fd, POLLIN, 0}, {v->pool->held, POLLIN, 0}};
    d = v->fork_at < d ? v->fork_at : d;
    int n = poll(f, 3, poll_ms(d));
    uint64_t word;
    if (n > 0 && f[1].revents != 0)
        (void)!read(v->pool->control_fd, &word, sizeof word);
    if ((n > 0 && f[2].revents != 0) || phase(v) == POOL_TERMINATED)
        end(v, 0);
}

void weft::pool_supervise(weft_pool *p)
{
    supervisor self = {p, p->shared, -1, 0, 0, WEFT_FOREVER, AGAIN_MS}, *v = &self;
    prepare(v);
    fill_places(v);
    for (;;) {
        sleep_until(v, expire(v));
        reap(v);
        if (v->fork_at <= weft_now())
            fill_places(v);
        if (phase(v) != POOL_OPEN && v->sh->alive == 0 && v->fork_at == WEFT_FOREVER &&
            queue_empty(v->sh))
            end(v, 0);
    }
}
