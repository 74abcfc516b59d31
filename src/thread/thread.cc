// thread.cc: pthreads with records that outlive their handles.
//
// A record says how its thread is to be joined and stopped.  Records are never given
// back to malloc but kept on a free list, so that a handle used once too often meets a
// record that says so (EINVAL) and not somebody else's memory.
//
// A thread's end is seen by the destructor of a pthread key: that runs after the
// function returns, after pthread_exit and after pthread_cancel alike, and after C++'s
// thread_local destructors.
#include "record.h"
#include "sleep.h"

#include <base/errno.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

using namespace weft;

static pthread_mutex_t records_lock = PTHREAD_MUTEX_INITIALIZER;
static weft_thread *free_records; // guarded by records_lock, and so is each record's name

static weft_thread *record_get(void)
{
    pthread_mutex_lock(&records_lock);
    weft_thread *t = free_records;
    if (t != nullptr)
        free_records = t->next;
    pthread_mutex_unlock(&records_lock);
    return t != nullptr ? t : (weft_thread *)malloc(sizeof *t);
}

static void record_put(weft_thread *t)
{
    __atomic_store_n(&t->state, RECORD_FREE, __ATOMIC_RELEASE);
    pthread_mutex_lock(&records_lock);
    t->next = free_records;
    free_records = t;
    pthread_mutex_unlock(&records_lock);
}

static pthread_key_t end_key;
static int end_key_error = EAGAIN;
static pthread_once_t end_key_once = PTHREAD_ONCE_INIT;

static void thread_end(void *arg)
{
    weft_thread *t = (weft_thread *)arg;
    // Let the other keys' destructors go first: their calls may still ask who we are.
    if (t->destructor_rounds++ == 0 && pthread_setspecific(end_key, t) == 0)
        return;
    disown_thread();
    uint32_t before = __atomic_fetch_or(&t->state, RECORD_ENDED, __ATOMIC_ACQ_REL);
    if (before & RECORD_DETACHED)
        record_put(t);
    else if (before & RECORD_JOINING)
        futex_wake(&t->state, 1, 0);
}

static void end_key_make(void)
{
    end_key_error = pthread_key_create(&end_key, thread_end);
}

static void *thread_main(void *arg)
{
    weft_thread *t = (weft_thread *)arg;
    this_thread = t;
    way_to_poll = poll_stoppable;
    bool armed = pthread_setspecific(end_key, t) == 0;
    if (t->name[0] != 0)
        prctl(PR_SET_NAME, t->name);
    void *result = t->fn(t->arg);
    if (!armed) { // no memory for the key's value: the end is seen here, if fn gets here
        t->destructor_rounds = 1;
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

weft_thread *weft_thread_start(void *(*fn)(void *), void *arg, const weft_thread_options *opts)
{
    static const weft_thread_options defaults = {};
    const weft_thread_options *o = opts != nullptr ? opts : &defaults;
    if (fn == nullptr) {
        errno = EINVAL;
        return nullptr;
    }
    pthread_once(&end_key_once, end_key_make);
    weft_thread *t = record_get();
    if (t == nullptr)
        return nullptr;
    memset(t, 0, sizeof *t);
    t->fn = fn;
    t->arg = arg;
    t->state = o->detached ? RECORD_DETACHED : 0;
    if (o->name != nullptr)
        name_cut(t->name, o->name);

    pthread_attr_t a;
    int error = end_key_error != 0 ? end_key_error : pthread_attr_init(&a);
    if (error == 0) {
        error = attributes_set(&a, o);
        if (error == 0)
            error = pthread_create(&t->pthread, &a, thread_main, t);
        pthread_attr_destroy(&a);
    }
    if (error == 0)
        return t;
    record_put(t);
    errno = error;
    return nullptr;
}

// A null handle counts as released.
static uint32_t state_of(const weft_thread *t)
{
    return t != nullptr ? __atomic_load_n(&t->state, __ATOMIC_ACQUIRE) : (uint32_t)RECORD_FREE;
}

// Claims the right to join: sets RECORD_JOINING, or says why not.
static int join_claim(weft_thread *t)
{
    uint32_t s = state_of(t);
    for (;;) {
        if (s & (RECORD_FREE | RECORD_DETACHED))
            return EINVAL;
        if (t == this_thread)
            return EDEADLK;
        if (s & RECORD_JOINING)
            return EBUSY;
        if (__atomic_compare_exchange_n(&t->state, &s, s | RECORD_JOINING, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            return 0;
    }
}

int weft_thread_join(weft_thread *t, void **result, weft_deadline d)
{
    int error = join_claim(t);
    if (error != 0)
        return fail_with(error);
    // A caller that can't be stopped and has all the time sleeps once, in pthread_join.
    // The others first wait for the end; from there pthread_join is short.
    while (d != WEFT_FOREVER || this_thread != nullptr) {
        if (state_of(t) & RECORD_ENDED)
            break;
        if (error != 0) {
            __atomic_fetch_and(&t->state, ~(uint32_t)RECORD_JOINING, __ATOMIC_RELEASE);
            return fail_with(error);
        }
        error = sleep_on(&t->state, RECORD_JOINING, d, 0);
    }
    void *value;
    error = pthread_join(t->pthread, &value);
    if (error != 0) { // EDEADLK: it is joining us
        __atomic_fetch_and(&t->state, ~(uint32_t)RECORD_JOINING, __ATOMIC_RELEASE);
        return fail_with(error);
    }
    if (result != nullptr)
        *result = value;
    record_put(t);
    return 0;
}

int weft_thread_detach(weft_thread *t)
{
    uint32_t s = state_of(t);
    do {
        if (s & (RECORD_FREE | RECORD_DETACHED))
            return fail_with(EINVAL);
        if (s & RECORD_JOINING)
            return fail_with(EBUSY);
        // Before the thread can see that it is detached and give up its record.
        if (!(s & RECORD_ENDED)) {
            pthread_t pthread = t->pthread;
            if (__atomic_compare_exchange_n(&t->state, &s, s | RECORD_DETACHED, false,
                                            __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                return from_pthread(pthread_detach(pthread));
        }
    } while (!(s & RECORD_ENDED));
    int code = pthread_detach(t->pthread);
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
    if (t != nullptr) { // what it was given counts before it runs, and after its end
        pthread_mutex_lock(&records_lock);
        memcpy(now, t->name, sizeof now);
        pthread_mutex_unlock(&records_lock);
    }
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
    char cut[WEFT_THREAD_NAME_MAX + 1];
    if (name == nullptr)
        return fail_with(EINVAL);
    name_cut(cut, name);
    if (this_thread != nullptr) {
        pthread_mutex_lock(&records_lock);
        memcpy(this_thread->name, cut, sizeof cut);
        pthread_mutex_unlock(&records_lock);
    }
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
    int code = pthread_key_create(&s->key, destructor);
    s->ready = code == 0;
    return from_pthread(code);
}

int weft_slot_set(weft_slot *s, const void *value)
{
    return s->ready ? from_pthread(pthread_setspecific(s->key, value)) : fail_with(EINVAL);
}

void *weft_slot_get(const weft_slot *s)
{
    return s->ready ? pthread_getspecific(s->key) : nullptr;
}

int weft_slot_destroy(weft_slot *s)
{
    if (!s->ready)
        return fail_with(EINVAL);
    s->ready = 0;
    return from_pthread(pthread_key_delete(s->key));
}
