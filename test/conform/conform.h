// conform.h: what weft(7) says of every call that takes a deadline, asked of each, by a table.
//
//     static const row ROWS[] = {
//         ROW(weft_event_wait, (it, d), DO(it = &event), DO(weft_event_set(&event))),
//     };
//     RUN_ROWS(ROWS)
//
// `make lint` compares the names in the tables with those in the headers.  A flag is an exception;
// each is in the comment of that call in its header, or in what the header says of all its calls.
#ifndef WEFT_TEST_CONFORM_H
#define WEFT_TEST_CONFORM_H

#include "../thread/asleep.h"

#include <weft/deadline.h>
#include <weft/thread.h>

#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>

#if RUNNER_TSAN
// Each row's process ends with what it has begun.
extern "C" const char *__tsan_default_options(void)
{
    return "report_thread_leaks=0";
}
#endif

enum {
    SLEEPS = 1,      // it succeeds at its deadline
    UNSTOPPED = 2,   // weft_thread_stop does not end it
    NO_HANDLE = 4,   // there is none that could be NULL
    ALONE = 8,       // only the thread that calls can end the wait: nobody else makes it ready
    ONLY_WOKEN = 16, // it can't be ready before it waits
    HASTENED = 32,   // once stopped it goes through its stages, and may be done without a wait
    ANSWERS = 64,    // it does what it is asked for without a wait, whatever the deadline
    ASKS = 128,      // so does another process
    SILENT = 256,    // another process does not answer
};

struct row {
    const char *name;
    intptr_t (*call)(weft_deadline d);
    void (*begin)(void); // makes things so that it would wait
    void (*ready)(void); // and so that it need not
    int flags = 0;
    void (*end)(void) = NULL; // what its process would leave behind
};

static inline intptr_t code(intptr_t result)
{
    return result;
}

static inline intptr_t code(const void *result)
{
    return runner_failed(result) ? -1 : 0;
}

// The name of the call, how it is called, `begin`, `ready`, flags, and `end`.
#define ROW_BY(name, call, ...)                                                                    \
    {                                                                                              \
#name, [](weft_deadline d) -> intptr_t { return code(call); }, __VA_ARGS__                 \
    }
#define ROW(name, arguments, ...) ROW_BY(name, name arguments, __VA_ARGS__)
#define DO(...) [] { __VA_ARGS__; }

// The handle that a call is about.
static struct handle {
    void *p;
    template <class T> operator T *() const
    {
        return (T *)p;
    }
    handle &operator=(const void *q)
    {
        p = (void *)q;
        return *this;
    }
} it;

// How a library's calls are made, where it is not plainly in a thread.
struct manner {
    void (*run)(void (*fn)(void));
    void (*later)(void (*fn)(void)); // calls it while the caller waits
    int (*begin)(void **) = NULL;    // before all cases
    int (*end)(void **) = NULL;      // after them
    bool asks = false;               // another process, which may get no processor
};

static const row *rows;
static size_t row_count;
static manner with;

// ---- A thread that has what others wait for ----

static struct holder {
    int (*take)(void), (*give)(void);
    sem_t taken, go;
    pthread_t thread;
} holder;

static inline void *hold_it(void *)
{
    holder.take();
    sem_post(&holder.taken);
    while (sem_wait(&holder.go) != 0)
        ;
    holder.give();
    return NULL;
}

static inline void hold(int (*take)(void), int (*give)(void))
{
    holder.take = take;
    holder.give = give;
    sem_init(&holder.taken, 0, 0);
    sem_init(&holder.go, 0, 0);
    pthread_create(&holder.thread, NULL, hold_it, NULL);
    while (sem_wait(&holder.taken) != 0)
        ;
}

static inline void let_go(void)
{
    sem_post(&holder.go);
    pthread_join(holder.thread, NULL);
}

// ---- A condition ----

static int signalled [[maybe_unused]]; // atomic

// It may return without a signal.
template <class Wait, class Mutex>
static inline int wait_for_signal(Wait wait, handle c, Mutex *m, weft_deadline d)
{
    int result;
    do
        result = wait(c, m, d);
    while (result == 0 && !__atomic_load_n(&signalled, __ATOMIC_SEQ_CST));
    return result;
}

// ---- One row in one mode, in a process of its own ----

enum mode { PAST, NOW, LATER, STORM, RESTARTING_STORM, STOPPED, STOPPED_LATER, READY, WOKEN, NONE };
static const char *const MODES[] = {"past deadline",
                                    "WEFT_NOW",
                                    "deadline",
                                    "signals",
                                    "signals, SA_RESTART",
                                    "stopped before",
                                    "stopped meanwhile",
                                    "success",
                                    "success after a wait",
                                    "NULL"};
enum { SENTINEL = 7777, SPAN = 30000000 /* ns */ };

static mode how;
static const row *what;
static int caller, done; // atomic: the thread that calls; it has
static struct {
    intptr_t result;
    int error;
    int64_t took;
} found;

static inline bool stops(void)
{
    return how == STOPPED || how == STOPPED_LATER;
}

static inline bool succeeds(void)
{
    return how == READY || how == WOKEN;
}

static inline weft_deadline its_deadline(void)
{
    if (how == NOW)
        return WEFT_NOW;
    if (how == PAST)
        return weft_now() - 1;
    return succeeds() || how == NONE || (stops() && !(what->flags & UNSTOPPED)) ? WEFT_FOREVER
                                                                                : weft_in_ns(SPAN);
}

static inline void make_call(void)
{
    if (how != NONE)
        what->begin();
    if (how == READY)
        what->ready();
    if (how == WOKEN && with.later != NULL)
        with.later(what->ready);
    if (how == STOPPED)
        weft_thread_stop(weft_thread_self());
    __atomic_store_n(&caller, gettid(), __ATOMIC_SEQ_CST);
    int64_t start = weft_now();
    weft_deadline d = its_deadline();
    errno = SENTINEL;
    found.result = what->call(d);
    found.error = errno;
    found.took = weft_now() - start;
    __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
}

static inline void *call_in_thread(void *)
{
    if (with.run != NULL)
        with.run(make_call);
    else
        make_call();
    return NULL;
}

static inline int expected_error(void)
{
    if (how == NONE)
        return EINVAL;
    if (succeeds() || (what->flags & ANSWERS))
        return 0;
    if (stops() && !(what->flags & UNSTOPPED))
        return ECANCELED;
    if (what->flags & ASKS)
        return 0;
    return what->flags & SLEEPS ? 0 : what->flags & SILENT ? ECONNRESET : ETIMEDOUT;
}

// What is wrong, or NULL.
static inline const char *verdict(void)
{
    int expected = expected_error();
    if (stops() && (what->flags & (HASTENED | ASKS)) && found.result != -1)
        expected = 0;
    if (with.asks && found.took >= SPAN && (what->flags & SILENT) == 0 && !succeeds() &&
        (found.error == ECONNRESET || found.error == ENOTCONN || found.error == ETIMEDOUT))
        expected = found.error; // it has not answered by then
    if (expected == 0 && found.result == -1)
        return "failed";
    if (expected == 0 && found.error != SENTINEL)
        return "changed errno";
    if (expected != 0 && found.result != -1)
        return "succeeded";
    if (expected != 0 && found.error != expected)
        return "another errno";
    bool waits = how == LATER || how == STORM || how == RESTARTING_STORM;
    if (waits && !(what->flags & (ANSWERS | ASKS)) && found.took < SPAN)
        return "too early";
    return found.took > 10000000000 ? "too late" : NULL;
}

static inline void on_signal(int)
{
}

static inline void storm(void)
{
    while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST)) {
        syscall(SYS_tgkill, getpid(), caller, SIGUSR1);
        usleep(200);
    }
}

static inline void await_its_sleep(void)
{
    await_word(&caller, 1);
    await_asleep(caller);
}

static inline void disturb(weft_thread *t)
{
    if (how == STORM || how == RESTARTING_STORM) {
        await_word(&caller, 1);
        storm();
    } else if (how == STOPPED_LATER) {
        await_its_sleep();
        weft_thread_stop(t);
    } else if (how == WOKEN && with.later == NULL) {
        await_its_sleep();
        what->ready();
    }
}

static inline void say_hung(int)
{
    dprintf(STDERR_FILENO, "%s, %s: hung\n", what->name, MODES[how]);
    _exit(1);
}

static inline int play(const row *r)
{
    struct sigaction a = {};
    weft_thread *t = NULL;
    pthread_t p;
    what = r;
    signal(SIGALRM, say_hung);
    alarm(RUNNER_SANITIZED ? 200 : 50);
    a.sa_handler = on_signal;
    a.sa_flags = how == RESTARTING_STORM ? SA_RESTART : 0;
    sigaction(SIGUSR1, &a, NULL);
    if (stops())
        t = weft_thread_start(call_in_thread, NULL, NULL);
    else
        pthread_create(&p, NULL, call_in_thread, NULL);
    disturb(t);
    while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST)) // what it began may go on
        usleep(200);
    if (r->end != NULL)
        r->end();
    const char *wrong = verdict();
    if (wrong != NULL)
        dprintf(STDERR_FILENO, "%s, %s: %s (result %ld, errno %s, %ld us)\n", r->name, MODES[how],
                wrong, (long)found.result, found.error == SENTINEL ? "kept" : strerror(found.error),
                (long)(found.took / 1000));
    return wrong != NULL;
}

// ---- All rows in one mode ----

static inline bool is_left_out(const row *r)
{
    if (succeeds() && r->ready == NULL)
        return true;
    return (how == NONE && (r->flags & NO_HANDLE)) ||
           (how == WOKEN && (r->flags & (ALONE | ANSWERS | ASKS))) ||
           (how == READY && (r->flags & ONLY_WOKEN));
}

static inline int end_one(int *running)
{
    int status = 1;
    *running -= waitpid(-1, &status, 0) > 0;
    return status != 0;
}

static inline void ask_all(mode m)
{
    enum { AT_ONCE = 8 };
    const char *only = getenv("CONFORM_ONLY");
    int running = 0, wrong = 0;
    how = m;
    for (const row *r = rows; r < rows + row_count; r++) {
        if (is_left_out(r) || (only != NULL && strstr(r->name, only) == NULL))
            continue;
        if (running == AT_ONCE)
            wrong += end_one(&running);
        if (runner_fork() == 0)
            _exit(play(r));
        running++;
    }
    while (running > 0)
        wrong += end_one(&running);
    assert_int_equal(wrong, 0);
}

CASE(test_past_deadline)
{
    ask_all(PAST);
}

CASE(test_now)
{
    ask_all(NOW);
}

CASE(test_deadline)
{
    ask_all(LATER);
}

CASE(test_signals)
{
    ask_all(STORM);
    ask_all(RESTARTING_STORM);
}

CASE(test_stop_before)
{
    ask_all(STOPPED);
}

CASE(test_stop_meanwhile)
{
    ask_all(STOPPED_LATER);
}

CASE(test_success_keeps_errno)
{
    ask_all(READY);
    ask_all(WOKEN);
}

CASE(test_null)
{
    ask_all(NONE);
}

template <size_t n> int run_rows(const row (&table)[n], manner m = {})
{
    rows = table;
    row_count = n;
    with = m;
    return run_cases(m.begin, m.end);
}

#define RUN_ROWS(...)                                                                              \
    int main(void)                                                                                 \
    {                                                                                              \
        return run_rows(__VA_ARGS__);                                                              \
    }

#endif
