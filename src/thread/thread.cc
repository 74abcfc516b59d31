// thread.cc: pthreads with records that outlive their handles.
//
// A record (record.h) says how its thread is to be joined and stopped.
//
// A thread's end is seen by the destructor of a pthread key: that runs after the
// function returns, after pthread_exit and after pthread_cancel alike, and after C++'s
// thread_local destructors.
#include "forked.h"
#include "record.h"
#include "sleep.h"
#include "tsan_locks.h"

#include <base/errno.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

using namespace weft;

static pthread_key_t end_key;
static int end_key_error = EAGAIN;
static pthread_once_t end_key_once = PTHREAD_ONCE_INIT;

static void thread_end(void *arg)
{
    weft_thread *t = (weft_thread *)arg;
    // Let the other keys' destructors go first: their calls may still ask who we are, and a join's
    // deadline holds for what they take.  Not in the last round, in which ThreadSanitizer leaves.
    if (++t->destructor_rounds < PTHREAD_DESTRUCTOR_ITERATIONS - 1 &&
        pthread_setspecific(end_key, t) == 0)
        return;
    disown_thread();
    uint32_t before = __atomic_fetch_or(&t->state, RECORD_ENDED, __ATOMIC_ACQ_REL);
    if (before & RECORD_DETACHED)
        record_put(t);
    else if (before >= RECORD_JOINER)
        wake_sleepers(&t->state, INT_MAX);
}

static void end_key_make(void)
{
    end_key_error = pthread_key_create(&end_key, thread_end);
}

// Waits until its priority has been set.  False: that was refused, and nobody knows of the thread.
// Not inline: a cancelled thread unwinds thread_main, and a variable there would leave
// AddressSanitizer's marks on the stack.
__attribute__((noinline)) static bool may_begin(weft_thread *t)
{
    uint32_t held;
    while ((held = __atomic_load_n(&t->held, __ATOMIC_ACQUIRE)) == HELD)
        futex_wait(&t->held, HELD, WEFT_FOREVER, 0);
    return held != REFUSED;
}

static void *thread_main(void *arg)
{
    weft_thread *t = (weft_thread *)arg;
    if (!may_begin(t)) {
        record_put(t);
        return nullptr;
    }
    this_thread = t;
    __atomic_store_n(&t->id, (pid_t)syscall(SYS_gettid), __ATOMIC_RELAXED);
    way_to_poll = poll_stoppable;
    bool armed = pthread_setspecific(end_key, t) == 0;
    if (t->name[0] != 0)
        prctl(PR_SET_NAME, t->name);
    void *result = t->result = t->fn(t->arg);
    if (!armed) { // no memory for the key's value: the end is seen here, if fn gets here
        t->destructor_rounds = PTHREAD_DESTRUCTOR_ITERATIONS;
        thread_end(t);
    }
    return result;
}

// Copies at most WEFT_THREAD_NAME_MAX bytes, whole UTF-8 characters only.
static void name_cut(char *to, const char *from)
{
    size_t n = strnlen(from, WEFT_THREAD_NAME_MAX + 1);
    if (n > WEFT_THREAD_NAME_MAX)
        for (n = WEFT_THREAD_NAME_MAX; n > 0 && (from[n] & 0xc0) == 0x80;)
            n--;
    memcpy(to, from, n);
    to[n] = 0;
}

static int attributes_set_cpus(pthread_attr_t *a, const int *cpus, size_t n)
{
    int most = 0;
    for (size_t i = 0; i < n; i++) {
        if (cpus[i] < 0 || cpus[i] >= 1 << 20)
            return EINVAL;
        most = cpus[i] > most ? cpus[i] : most;
    }
    cpu_set_t *set = CPU_ALLOC((size_t)most + 1);
    if (set == nullptr)
        return ENOMEM;
    size_t size = CPU_ALLOC_SIZE((size_t)most + 1);
    CPU_ZERO_S(size, set);
    for (size_t i = 0; i < n; i++)
        CPU_SET_S((size_t)cpus[i], size, set);
    int error = pthread_attr_setaffinity_np(a, size, set);
    CPU_FREE(set);
    return error;
}

static int attributes_set(pthread_attr_t *a, const weft_thread_options *o)
{
    int error = 0;
    if (o->stack_size != 0) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        error = o->stack_size > SIZE_MAX - page
                    ? EINVAL
                    : pthread_attr_setstacksize(a, (o->stack_size + page - 1) / page * page);
    }
    if (error == 0 && o->cpus != nullptr)
        error = o->cpu_count == 0 ? EINVAL : attributes_set_cpus(a, o->cpus, o->cpu_count);
    if (error == 0 && o->detached)
        error = pthread_attr_setdetachstate(a, PTHREAD_CREATE_DETACHED);
    return error;
}

// Of a thread that is held: lets it begin, or be gone.
static weft_thread *begin_with_priority(weft_thread *t, const weft_thread_options *o)
{
    bool refused = weft_thread_set_priority(t, o->policy, o->priority) != 0;
    if (refused && !o->detached)
        pthread_detach(t->pthread);
    __atomic_store_n(&t->held, refused ? (uint32_t)REFUSED : 0, __ATOMIC_RELEASE);
    futex_wake(&t->held, 1, 0);
    return refused ? nullptr : t;
}

weft_thread *weft_thread_start(void *(*fn)(void *), void *arg, const weft_thread_options *opts)
{
    static const weft_thread_options defaults = {};
    const weft_thread_options *o = opts != nullptr ? opts : &defaults;
    if (fn == nullptr) {
        errno = EINVAL;
        return nullptr;
    }
    pthread_once(&end_key_once, end_key_make);
    watch_forks();
    weft_thread *t = record_get();
    if (t == nullptr)
        return nullptr;
    t->fn = fn;
    t->arg = arg;
    t->name[0] = 0;
    if (o->name != nullptr)
        name_cut(t->name, o->name);
    t->stopping = 0;
    t->result = nullptr;
    t->forked = false;
    t->destructor_rounds = t->id = 0;
    t->held = o->policy != 0 || o->priority != 0 ? HELD : 0;
    bool held = t->held != 0;
    __atomic_store_n(&t->state, o->detached ? RECORD_DETACHED : 0, __ATOMIC_RELEASE);

    pthread_attr_t a;
    int error = end_key_error != 0 ? end_key_error : pthread_attr_init(&a);
    if (error == 0) {
        error = attributes_set(&a, o);
        if (error == 0)
            error = pthread_create(&t->pthread, &a, thread_main, t);
        pthread_attr_destroy(&a);
    }
    if (error == 0)
        return held ? begin_with_priority(t, o) : t;
    record_put(t);
    errno = error;
    return nullptr;
}

// A null handle counts as released.
static uint32_t state_of(const weft_thread *t)
{
    return t != nullptr ? __atomic_load_n(&t->state, __ATOMIC_ACQUIRE) : (uint32_t)RECORD_FREE;
}

// One of those who join.
struct joiner {
    weft_thread *thread;
    bool collects; // it is its turn to wait for the pthread
};

// Makes the caller one more, or says why not.
static int join_begin(weft_thread *t)
{
    uint32_t s = state_of(t);
    for (;;) {
        if (s & (RECORD_FREE | RECORD_DETACHED) || (s & RECORD_COLLECTED && s < RECORD_JOINER))
            return EINVAL; // at last: whoever was the last to join is about to release it
        if (t == this_thread)
            return EDEADLK;
        if (s & RECORD_GONE)
            return ESRCH;
        if (__atomic_compare_exchange_n(&t->state, &s, s + RECORD_JOINER, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            return 0;
    }
}

// With the result, after an error, and after a cancel alike; it may be another's turn now.
static void join_end(void *arg)
{
    joiner *j = (joiner *)arg;
    weft_thread *t = j->thread;
    uint32_t off = RECORD_JOINER + (j->collects ? RECORD_COLLECTING : 0);
    uint32_t left = __atomic_sub_fetch(&t->state, off, __ATOMIC_ACQ_REL);
    if (left & RECORD_COLLECTED && left < RECORD_JOINER)
        record_put(t);
    else if (j->collects)
        wake_sleepers(&t->state, INT_MAX);
}

// Whether the kernel has told of the end of a thread that forked, and we are the child.  glibc 2.43
// lets no pthread_join hear of that: it waits for a word which a fork does not name to the kernel.
static bool is_unheard(const weft_thread *t)
{
    clockid_t clock; // as in weft_thread_id
    return t->forked && (pthread_getcpuclockid(t->pthread, &clock) != 0 || ~(clock >> 3) == 0);
}

// Waits for the end of a thread that is past RECORD_ENDED, or for any thread's if the caller has
// all the time and can't be stopped: then one sleep, in pthread_join, is enough.  What is left
// after RECORD_ENDED is short, but for the destructors of younger keys in the last round; nothing
// but the end ends that wait, so a caller that may be stopped looks now and then.
static int join_pthread(weft_thread *t, void **value, weft_deadline d)
{
    for (;;) {
        weft_deadline slice = this_thread != nullptr || t->forked ? weft_in_ms(20) : d;
        if (slice > d)
            slice = d;
        struct timespec at = timespec_of(slice < 0 ? 0 : slice);
        bool unheard = is_unheard(t); // so it has had its chance
        int error = slice == WEFT_FOREVER
                        ? pthread_join(t->pthread, value)
                        : pthread_clockjoin_np(t->pthread, value, CLOCK_MONOTONIC, &at);
        if (error == ETIMEDOUT && unheard)
            return 0; // with what its function returned
        if (error != ETIMEDOUT || weft_left(d) == 0)
            return error;
        if (weft_thread_stopping())
            return ECANCELED;
    }
}

// Waits until the result is there, or it is our turn to collect it: that of one who has all the
// time and can't be stopped may come before the end, since it sleeps in pthread_join at once.
static int join_wait(joiner *j, weft_deadline d)
{
    weft_thread *t = j->thread;
    bool early =
        d == WEFT_FOREVER && this_thread == nullptr && way_to_sleep == nullptr && !t->forked;
    for (int error = 0;;) {
        uint32_t s = state_of(t);
        if (s & RECORD_COLLECTED)
            return 0;
        if (!(s & RECORD_COLLECTING) && (early || s & RECORD_ENDED)) {
            j->collects = __atomic_compare_exchange_n(&t->state, &s, s | RECORD_COLLECTING, false,
                                                      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
            if (j->collects)
                return 0;
            continue;
        }
        if (error != 0)
            return error;
        error = sleep_cancellable(&t->state, s, d);
    }
}

// It being our turn.
static int join_collect(joiner *j, weft_deadline d)
{
    weft_thread *t = j->thread;
    int error = join_pthread(t, &t->result, d); // EDEADLK: it is joining us
    if (error != 0)
        return error;
    j->collects = false;
    __atomic_fetch_or(&t->state, RECORD_COLLECTED | RECORD_ENDED, __ATOMIC_ACQ_REL);
    wake_sleepers(&t->state, INT_MAX);
    return 0;
}

static int join(joiner *j, void **result, weft_deadline d)
{
    int error = join_wait(j, d);
    if (error == 0 && j->collects)
        error = join_collect(j, d);
    if (error == 0 && result != nullptr)
        *result = j->thread->result;
    return error;
}

// As a cancellation point.
static int join_cancellable(joiner *j, void **result, weft_deadline d)
{
    int error;
    pthread_cleanup_push(join_end, j);
    error = join(j, result, d);
    pthread_cleanup_pop(1);
    return error;
}

int weft_thread_join(weft_thread *t, void **result, weft_deadline d)
{
    int error = join_begin(t);
    if (error != 0)
        return fail_with(error);
    joiner j = {t, false};
    if (way_to_sleep == nullptr)
        return from_pthread(join_cancellable(&j, result, d));
    error = join(&j, result, d); // clean-up handlers are the thread's, and tasklets take turns
    join_end(&j);
    return from_pthread(error);
}

int weft_thread_detach(weft_thread *t)
{
    uint32_t s = state_of(t);
    pthread_t pthread;
    do {
        if (s & (RECORD_FREE | RECORD_DETACHED | RECORD_COLLECTED))
            return fail_with(EINVAL);
        if (s >= RECORD_JOINER)
            return fail_with(EBUSY);
        pthread = t->pthread; // once it is detached the thread may give up its record
    } while (!__atomic_compare_exchange_n(&t->state, &s, s | RECORD_DETACHED, false,
                                          __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    int code = s & RECORD_GONE ? 0 : pthread_detach(pthread);
    if (s & RECORD_ENDED)
        record_put(t);
    return from_pthread(code);
}

int weft_thread_sleep(weft_deadline d)
{
    static const uint32_t nothing = 0;
    for (;;) {
        int error = sleep_on(&nothing, 0, d, 0);
        if (error == ETIMEDOUT)
            return 0;
        if (error != 0)
            return fail_with(error);
    }
}

weft_thread *weft_thread_self(void)
{
    return this_thread;
}

int weft_thread_name(weft_thread *t, char *name, size_t room)
{
    if (name == nullptr || (t != nullptr && state_of(t) & RECORD_FREE))
        return fail_with(EINVAL);
    char now[WEFT_THREAD_NAME_MAX + 1] = "";
    if (t != nullptr) // what it was given counts before it runs, and after its end
        record_name(t, now);
    int saved = errno;
    bool ended = t != nullptr && (state_of(t) & RECORD_ENDED);
    if (now[0] == 0 && !ended) // never named: what it inherited
        pthread_getname_np(t != nullptr ? t->pthread : pthread_self(), now, sizeof now);
    errno = saved;
    if (strlen(now) >= room)
        return fail_with(ERANGE);
    memcpy(name, now, strlen(now) + 1);
    return 0;
}

int weft_thread_set_name(const char *name)
{
    char cut[WEFT_THREAD_NAME_MAX + 1] = "";
    if (name == nullptr)
        return fail_with(EINVAL);
    name_cut(cut, name);
    if (this_thread != nullptr)
        record_set_name(this_thread, cut);
    return from_pthread(pthread_setname_np(pthread_self(), cut));
}

pid_t weft_thread_id(weft_thread *t)
{
    clockid_t clock;
    if (t == nullptr || t == this_thread)
        return (pid_t)syscall(SYS_gettid);
    if (state_of(t) & (RECORD_FREE | RECORD_ENDED))
        return fail_with(state_of(t) & RECORD_FREE ? EINVAL : ESRCH);
    // A thread's CPU clock is named by its id, in the kernel's own encoding (the
    // complement, shifted by three: include/linux/posix-timers.h), and is known as soon
    // as pthread_create returns.
    int code = pthread_getcpuclockid(t->pthread, &clock);
    return code != 0 ? fail_with(code) : ~(pid_t)(clock >> 3);
}

int weft_slot_init(weft_slot *s, void (*destructor)(void *))
{
    if (s == nullptr)
        return fail_with(EINVAL);
    int code = pthread_key_create(&s->key, destructor);
    s->ready = code == 0;
    return from_pthread(code);
}

int weft_slot_set(weft_slot *s, const void *value)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    return s->ready ? from_pthread(pthread_setspecific(s->key, value)) : fail_with(EINVAL);
}

void *weft_slot_get(const weft_slot *s)
{
    if (s == nullptr)
        return fail_null(EINVAL);
    return s->ready ? pthread_getspecific(s->key) : nullptr;
}

int weft_slot_destroy(weft_slot *s)
{
    if (s == nullptr)
        return 0;
    if (!s->ready)
        return fail_with(EINVAL);
    s->ready = 0;
    return from_pthread(pthread_key_delete(s->key));
}
