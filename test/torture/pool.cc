// pool.cc: kills each member of a pool after every instruction of its work.
//
// A worker is taken hold of while it sleeps, given work, stepped so many instructions on,
// and killed; then all work must come to its right end within 200 ms by the hands of others.  That
// for one task, a full pool, a program that sleeps on the result, a queue that wraps, a
// successor that inherits, a peer that sleeps, a map, and no retries (nothing may run twice).
//
// The supervisor is stepped through a worker's death, and the program through a task: after
// these deaths nobody may be left.
//
// A point that fails twice is fatal.  The last one is a naive pool, which must fail.
// TORTURE_STRIDE: every how many instructions (1; 5 if TORTURE_SECONDS is below 30); for
// supervisor and program seven times as many, and eight times when a worker only looks for work.
#include <weft/pool.h>
#include <weft/thread.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static struct shared {
    int runs[8];
    int deaths_left, hold, held, gate, entered;
    int naive_head, naive_tail, naive_done[2]; // the broken control's
} * shared;

static int load(const int *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void store(int *word, int value)
{
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

// ---- A victim that somebody else forked ----

static char state_of(pid_t p)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)p);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *end = strrchr(text, ')');
    return end != nullptr ? end[2] : 0;
}

static bool asleep(pid_t p)
{
    return state_of(p) == 'S';
}

// Takes hold of p, on our own processor: there a step is a switch, not a wake.
static bool seize(pid_t p)
{
    int status;
    cpu_set_t ours;
    CPU_ZERO(&ours);
    CPU_SET(sched_getcpu(), &ours);
    sched_setaffinity(0, sizeof ours, &ours);
    sched_setaffinity(p, sizeof ours, &ours);
    if (ptrace(PTRACE_SEIZE, p, nullptr, nullptr) != 0)
        return false;
    ptrace(PTRACE_INTERRUPT, p, nullptr, nullptr);
    return waitpid(p, &status, __WALL) == p && WIFSTOPPED(status);
}

static void tick(int)
{
}

// Has waitpid return now and then, so that a victim that sleeps is noticed.  Of all threads, this
// is for the one that steps.
static void start_ticking(void)
{
    struct sigaction a = {};
    a.sa_handler = tick; // without SA_RESTART
    sigaction(SIGALRM, &a, nullptr);
    struct itimerval every = {{0, 3000}, {0, 3000}};
    setitimer(ITIMER_REAL, &every, nullptr);
}

static void stop_ticking(void)
{
    struct itimerval never = {};
    setitimer(ITIMER_REAL, &never, nullptr);
}

// One instruction, or a system call; false: it sleeps in one, or has ended.
static bool step(pid_t p)
{
    int status;
    if (ptrace(PTRACE_SINGLESTEP, p, nullptr, nullptr) != 0)
        return false;
    for (int ticks = 0; waitpid(p, &status, __WALL) != p;) {
        if (errno != EINTR)
            return false;
        ticks = asleep(p) ? ticks + 1 : 0; // a short sleep is but a part of a system call
        if (ticks == 3)
            return false;
    }
    return WIFSTOPPED(status);
}

// `steps` instructions; false: it had nothing left to do before.
static bool step_on(pid_t p, long steps)
{
    long i = 0;
    start_ticking();
    while (i < steps && step(p))
        i++;
    stop_ticking();
    return i == steps;
}

// A thread that no tick disturbs.
static weft_thread *start_quiet(void *(*fn)(void *), void *arg)
{
    sigset_t ticks, before;
    sigemptyset(&ticks);
    sigaddset(&ticks, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &ticks, &before);
    weft_thread *t = weft_thread_start(fn, arg, nullptr);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return t;
}

// As its tracer we hear of its end, before or instead of its parent.
static void end_victim(pid_t p)
{
    int status;
    if (p > 0) // -1, a fork that failed, would be everybody
        kill(p, SIGKILL);
    while (waitpid(p, &status, __WALL) == p && WIFSTOPPED(status))
        ;
}

// ---- Tasks ----

static int square(const void *arg, size_t, void *result, size_t)
{
    int x = *(const int *)arg;
    __atomic_fetch_add(&shared->runs[x], 1, __ATOMIC_SEQ_CST);
    *(int *)result = x * x;
    return 0;
}

static int die_first(const void *arg, size_t n, void *result, size_t room)
{
    if (__atomic_sub_fetch(&shared->deaths_left, 1, __ATOMIC_SEQ_CST) >= 0)
        raise(SIGKILL);
    return square(arg, n, result, room);
}

static int wait_at_gate(const void *arg, size_t n, void *result, size_t room)
{
    store(&shared->entered, 1);
    while (load(&shared->gate) == 0)
        usleep(200);
    return square(arg, n, result, room);
}

// A worker that is to be taken hold of at its beginning waits here.
static int hold_on(void *)
{
    if (load(&shared->hold)) {
        store(&shared->held, getpid());
        while (load(&shared->hold))
            sched_yield();
    }
    return 0;
}

// ---- Stepping a worker ----

enum situation { ONE, FULL, BLOCKED, WRAP, RECOVERY, PEER, MAP, ONCE, SITUATIONS };
static const char *const NAMES[] = {"one task",    "full",      "blocked program",
                                    "wrap-around", "recovery",  "sleeping peer",
                                    "map",         "no retries"};
static const int TASKS[] = {1, 4, 1, 3, 1, 3, 0, 2};
enum { ITEMS = 5 };

static weft_pool *pool;
static bool late; // the last worker that was killed had done its tasks
static cpu_set_t all_processors;

static void pool_begin(enum situation s)
{
    weft_pool_options o = {};
    sched_setaffinity(0, sizeof all_processors, &all_processors); // else nobody would spin
    o.initialiser = hold_on;
    o.retries = s == ONCE ? 0 : 1000;
    o.slots = s == FULL ? 4 : s == WRAP ? 3 : 16;
    o.memory = 1 << 16;
    memset(shared, 0, sizeof *shared);
    pool = weft_pool_create(s == PEER ? 2 : 1, &o);
    if (pool == nullptr) {
        perror("weft_pool_create");
        exit(2);
    }
}

static bool pool_end(void)
{
    weft_pool_close(pool);
    return weft_pool_join(pool, weft_in_s(5)) == 0 && weft_pool_destroy(pool) == 0;
}

static pid_t sleeping_worker(int place)
{
    for (;;) {
        pid_t p = weft_pool_worker(pool, place, nullptr);
        if (p > 0 && asleep(p))
            return p;
        usleep(50);
    }
}

// The worker that begins with the task of a dead one.
static pid_t heir(weft_result **r)
{
    int x = 0;
    store(&shared->held, 0);
    store(&shared->hold, 1);
    store(&shared->deaths_left, 1);
    *r = weft_pool_apply_async(pool, die_first, &x, sizeof x, sizeof x, WEFT_NOW);
    while (load(&shared->held) == 0)
        usleep(50);
    return load(&shared->held);
}

static int get_by(weft_result *r, int *value, weft_deadline d)
{
    return weft_result_get(r, value, d) == 0 ? 0 : errno;
}

struct waiter {
    weft_result *r;
    int value, error;
};

static void *wait_for_result(void *arg)
{
    waiter *w = (waiter *)arg;
    w->error = get_by(w->r, &w->value, weft_in_s(5));
    return nullptr;
}

static int items[ITEMS] = {0, 1, 2, 3, 4}, squares[ITEMS], map_error;
static void *run_map(void *)
{
    weft_pool_map_options o = {};
    o.chunk = 3;
    map_error = weft_pool_map(pool, square, items, sizeof *items, ITEMS, squares, sizeof *squares,
                              &o, weft_in_s(5)) == 0
                    ? 0
                    : errno;
    return nullptr;
}

// Why a task's end is wrong; null if it is right.
static const char *judge(enum situation s, int x, int error, int value)
{
    int runs = load(&shared->runs[x]);
    if (s == ONCE && error == ECHILD)
        return runs <= 1 ? nullptr : "lost, and run twice";
    if (error != 0)
        return strerror(error);
    return value != x * x                           ? "wrong value"
           : runs < 1 || runs > (s == ONCE ? 1 : 2) ? "runs"
                                                    : nullptr;
}

// Kills a worker after `steps` instructions.  What is wrong then; *over: it had all done before.
static const char *kill_worker(enum situation s, long steps, bool *over)
{
    weft_result *r[8];
    waiter blocked = {};
    weft_thread *t = nullptr;
    const char *wrong = nullptr;
    memset(shared->runs, 0, sizeof shared->runs);
    memset(squares, 0, sizeof squares);
    pid_t victim = s == RECOVERY ? heir(r) : sleeping_worker(0);
    if (s == PEER)
        sleeping_worker(1);
    if (!seize(victim))
        return "can't take hold of the worker";
    store(&shared->hold, 0);
    for (int i = 0; i < TASKS[s] && s != RECOVERY; i++)
        r[i] = weft_pool_apply_async(pool, square, &i, sizeof i, sizeof i, WEFT_NOW);
    if (s == BLOCKED) {
        blocked.r = r[0];
        t = start_quiet(wait_for_result, &blocked);
        while (!asleep(weft_thread_id(t)))
            usleep(20);
    }
    if (s == MAP) {
        weft_pool_counters st;
        t = start_quiet(run_map, nullptr);
        while (weft_pool_statistics(pool, &st) == 0 && st.pending < 2)
            usleep(20);
    }
    *over = !step_on(victim, steps);
    late = true;
    for (int i = 0; i < TASKS[s]; i++)
        late = late && (s == BLOCKED ? load(&shared->runs[0]) != 0 : (weft_result_poll(r[i]) == 1));
    if (s == MAP)
        late = squares[ITEMS - 1] != 0;
    end_victim(victim);

    weft_deadline soon = weft_in_ms(200);
    if (t != nullptr && weft_thread_join(t, nullptr, soon) != 0) {
        wrong = "the program still waits";
        weft_thread_join(t, nullptr, WEFT_FOREVER);
    }
    for (int i = 0; i < TASKS[s]; i++) {
        int value = blocked.value, error = blocked.error;
        if (s != BLOCKED) {
            error = r[i] == nullptr ? EAGAIN : get_by(r[i], &value, soon);
            if (error == ETIMEDOUT) // too late; but the slot is to be free for the next point
                get_by(r[i], nullptr, weft_in_s(5));
        }
        const char *now = judge(s, i, error, value);
        wrong = wrong != nullptr ? wrong : now;
    }
    for (int i = 0; i < ITEMS && s == MAP && wrong == nullptr; i++)
        wrong = judge(s, i, map_error, squares[i]);
    int x = 5, y = 0; // and somebody is there for the next
    if (weft_pool_apply(pool, square, &x, sizeof x, &y, sizeof y, weft_in_ms(200)) != 0 || y != 25)
        wrong = wrong != nullptr ? wrong : "no progress";
    return wrong;
}

// ---- The deaths of the other two ----

static bool all_gone(int held)
{
    char byte;
    struct pollfd f = {held, POLLIN, 0};
    bool gone = poll(&f, 1, 1000) == 1 && read(held, &byte, 1) == 0;
    close(held);
    return gone;
}

// Kills the supervisor while it resolves a worker's death.
static const char *kill_supervisor(enum situation, long steps, bool *over)
{
    weft_pool_counters st;
    int held[2], x = 1;
    if (pipe2(held, O_CLOEXEC) != 0)
        return "pipe2";
    pool_begin(ONE);
    close(held[1]);
    weft_result *r = weft_pool_apply_async(pool, wait_at_gate, &x, sizeof x, sizeof x, WEFT_NOW);
    while (load(&shared->entered) == 0)
        usleep(20);
    weft_pool_statistics(pool, &st);
    while (!asleep(st.supervisor))
        usleep(20);
    if (!seize(st.supervisor))
        return "can't take hold of the supervisor";
    pid_t worker = weft_pool_worker(pool, 0, nullptr);
    if (worker <= 0) // kill(-1) would be everybody
        return "a task without a worker";
    kill(worker, SIGKILL);
    while (state_of(worker) != 'Z') // else the supervisor would still sleep
        usleep(20);
    *over = !step_on(st.supervisor, steps);
    end_victim(st.supervisor);
    bool told = weft_result_get(r, nullptr, weft_in_ms(200)) != 0 && errno == EPIPE;
    bool refused = weft_pool_apply_async(pool, square, &x, sizeof x, sizeof x, WEFT_NOW) == nullptr;
    bool joined = weft_pool_join(pool, weft_in_ms(200)) != 0 && errno == EPIPE;
    bool gone = all_gone(held[0]);
    return !told                          ? "its end was not told"
           : !refused || !joined          ? "a pool without a supervisor works on"
           : !gone                        ? "somebody is left"
           : weft_pool_destroy(pool) != 0 ? "can't be destroyed"
                                          : nullptr;
}

// Kills the program in a task's round trip.
static const char *kill_program(enum situation, long steps, bool *over)
{
    int held[2], status, x = 3, y;
    if (pipe2(held, O_CLOEXEC) != 0)
        return "pipe2";
    pid_t program = fork();
    if (program == 0) {
        pool_begin(ONE);
        weft_pool_apply(pool, square, &x, sizeof x, &y, sizeof y, WEFT_FOREVER);
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        weft_pool_apply(pool, square, &x, sizeof x, &y, sizeof y, WEFT_FOREVER);
        raise(SIGSTOP);
        _exit(0);
    }
    close(held[1]);
    waitpid(program, &status, __WALL);
    *over = false;
    // A sleep in the middle is not the end: the worker's wake goes on with it.
    for (long i = 0; i < steps && !*over; i++) {
        ptrace(PTRACE_SINGLESTEP, program, nullptr, nullptr);
        waitpid(program, &status, __WALL);
        *over = !WIFSTOPPED(status) || WSTOPSIG(status) == SIGSTOP;
    }
    end_victim(program);
    return all_gone(held[0]) ? nullptr : "somebody is left";
}

// ---- The control: a pool that trusts its workers ----

// Takes a task by moving the head, and then does it.
static int naive_worker(void)
{
    for (;;) {
        while (load(&shared->naive_head) == load(&shared->naive_tail))
            usleep(100);
        int i = __atomic_fetch_add(&shared->naive_head, 1, __ATOMIC_SEQ_CST);
        store(&shared->naive_done[i], 1);
    }
}

static pid_t start_naive(void)
{
    pid_t p = fork();
    if (p == 0)
        naive_worker();
    return p;
}

static const char *kill_naive(enum situation, long steps, bool *over)
{
    memset(shared, 0, sizeof *shared);
    pid_t victim = start_naive();
    while (!asleep(victim))
        usleep(20);
    seize(victim);
    store(&shared->naive_tail, 1);
    *over = false;
    for (long i = 0; i < steps && !*over; i++) {
        step_on(victim, 1); // it may sleep first
        *over = load(&shared->naive_done[0]) != 0;
    }
    end_victim(victim);
    pid_t successor = start_naive();
    for (weft_deadline d = weft_in_ms(20); load(&shared->naive_done[0]) == 0 && weft_left(d);)
        usleep(100);
    end_victim(successor);
    return load(&shared->naive_done[0]) ? nullptr : "lost";
}

// ---- All points ----

typedef const char *kill_fn(enum situation s, long steps, bool *over);

// How many points are fatal.
static int step_through(const char *name, kill_fn *kill_at, enum situation s, long stride)
{
    int fatal = 0, once = 0;
    long points = 0;
    bool over = false;
    late = false;
    for (long steps = 0; !over && fatal <= 5; steps += late ? 8 * stride : stride, points++) {
        const char *wrong = kill_at(s, steps, &over), *again = nullptr;
        bool ignored;
        if (wrong == nullptr)
            continue;
        if ((again = kill_at(s, steps, &ignored)) == nullptr) {
            once++;
            printf("  %s: once after %ld: %s\n", name, steps, wrong);
        } else {
            fatal++;
            printf("  %s: fatal after %ld: %s, %s\n", name, steps, wrong, again);
        }
    }
    printf("%-28s %6ld points, %d fatal, %d failed once\n", name, points, fatal, once);
    fflush(stdout);
    return fatal;
}

int main(void)
{
    const char *given = getenv("TORTURE_STRIDE"), *only = getenv("TORTURE_ONLY");
    const char *seconds = getenv("TORTURE_SECONDS");
    long stride = given != nullptr ? atol(given) : seconds != nullptr && atol(seconds) < 30 ? 5 : 1;
    int fatal = 0;
    sched_getaffinity(0, sizeof all_processors, &all_processors);
    shared = (struct shared *)mmap(nullptr, sizeof *shared, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int s = 0; s < SITUATIONS; s++) {
        char name[64];
        snprintf(name, sizeof name, "pool worker, %s", NAMES[s]);
        if (only != nullptr && strstr(name, only) == nullptr)
            continue;
        pool_begin((enum situation)s);
        fatal += step_through(name, kill_worker, (enum situation)s, stride);
        fatal += !pool_end();
    }
    if (only == nullptr || strstr("pool supervisor", only) != nullptr)
        fatal += step_through("pool supervisor", kill_supervisor, ONE, 7 * stride);
    if (only == nullptr || strstr("pool program", only) != nullptr)
        fatal += step_through("pool program", kill_program, ONE, 7 * stride);
    if (step_through("naive pool (must fail)", kill_naive, ONE, 1) == 0) {
        puts("the control held: this proves nothing");
        fatal++;
    }
    bool zombies = waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD;
    puts(zombies ? "a child is left" : fatal ? "fatal points were found" : "all held");
    return fatal != 0 || zombies;
}
