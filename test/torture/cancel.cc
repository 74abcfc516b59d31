// cancel.cc: at every system call of each call that waits, its thread is cancelled or told to stop;
// and once while it sleeps there.
//
// The thread is weft's, or a plain pthread.  It is stopped as it enters the system call, and goes
// on when the main thread has called pthread_cancel or weft_thread_stop.  Then the call must end,
// in a cancellation point with the thread; what it was about is whole, others go on, and no
// descriptor and no child is left.
//
// The controls, a wait by poll(2) and one that keeps a lock, must fail.  TORTURE_ONLY: part of a
// row's name.  TORTURE_STRIDE: every how many system calls (1; of processes, 5 if TORTURE_SECONDS
// is below 30).
#include "cancelled.h"
#include "orphans.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

enum strike { CANCEL_OTHERS, CANCEL, STOP, STRIKES };
static const char *const STRIKE_NAMES[] = {"cancelled, not weft's", "cancelled", "told to stop"};

enum { ASLEEP = -1, RECORD = -2 }; // instead of a system call

static const struct plan {
    const struct row *row;
    enum strike strike;
    long at;
} * plan;

// Shared by the tracer and the process with the thread.  All are set once, and atomic.
static struct report {
    pid_t thread;
    int go;     // it may begin
    int inside; // 1: in the call; 2: it has left it
    int strike; // now
    int sent;
    int told, result;     // what the call gave
    int done, line, left; // of the check; descriptors that are more now
} * report;

static void set(int *word, int to)
{
    __atomic_store_n(word, to, __ATOMIC_SEQ_CST);
}

static int get(const int *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

// ---- The process with the thread ----

static pthread_t target_pthread;
static weft_thread *target_thread;

static void *run_target(void *)
{
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    target_pthread = pthread_self();
    set(&report->thread, gettid());
    while (!get(&report->go))
        usleep(50);
    set(&report->inside, 1);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
    int result = plan->row->act();
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    set(&report->inside, 2);
    report->result = result;
    set(&report->told, 1);
    return nullptr;
}

static void strike_target(void)
{
    set(&report->sent, 1);
    if (plan->strike == STOP)
        weft_thread_stop(target_thread);
    else
        pthread_cancel(target_pthread);
    set(&report->sent, 2);
}

static void *strike_in_time(void *)
{
    for (int i = 0; get(&report->inside) < 2 && !get(&report->sent); i++) {
        if (get(&report->strike) || (plan->at == ASLEEP && get(&report->inside) && i >= 6))
            strike_target();
        usleep(100);
    }
    return nullptr;
}

static void run_row(void)
{
    const struct row *r = plan->row;
    pthread_t striker;
    alarm(30);
    int before = open_descriptors();
    r->begin();
    if (plan->strike == CANCEL_OTHERS)
        pthread_create(&target_pthread, nullptr, run_target, nullptr);
    else
        target_thread = weft_thread_start(run_target, nullptr, nullptr);
    pthread_create(&striker, nullptr, strike_in_time, nullptr);
    while (get(&report->inside) == 0)
        usleep(50);
    usleep(1500);
    if (r->release != nullptr)
        r->release();
    if (target_thread != nullptr)
        weft_thread_join(target_thread, nullptr, WEFT_FOREVER);
    else
        pthread_join(target_pthread, nullptr);
    set(&report->inside, 2);
    pthread_join(striker, nullptr);
    bool told = get(&report->told);
    report->line = !told && !r->point ? -1 : r->check(told ? report->result : CANCELLED);
    if (!all_gone() && report->line == 0)
        report->line = -2;
    report->left = open_descriptors() - before;
    set(&report->done, 1);
    _exit(0);
}

// ---- The tracer ----

static bool is_entry(pid_t thread)
{
    struct __ptrace_syscall_info i = {};
    return ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof i, &i) > 0 &&
           i.op == PTRACE_SYSCALL_INFO_ENTRY;
}

// Until the main thread has struck; a stop waits for the thread, which is to go on meanwhile.
static void have_struck(void)
{
    set(&report->strike, 1);
    for (int i = 0; i < 20000 && get(&report->sent) < (plan->strike == STOP ? 1 : 2); i++)
        usleep(50);
    usleep(plan->strike == STOP ? 300 : 0);
}

// Follows the thread to the call at which it is to be struck, or to its end: how many it made.
static long trace(pid_t thread)
{
    long n = 0;
    int status;
    ptrace(PTRACE_SEIZE, thread, nullptr, PTRACE_O_TRACESYSGOOD);
    ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr);
    waitpid(thread, &status, __WALL);
    set(&report->go, 1);
    for (long signal = 0;; n++) {
        do {
            ptrace(PTRACE_SYSCALL, thread, nullptr, signal);
            if (waitpid(thread, &status, __WALL) != thread || !WIFSTOPPED(status))
                return n;
            bool event = status >> 16 != 0 || WSTOPSIG(status) == (SIGTRAP | 0x80);
            signal = event ? 0 : WSTOPSIG(status);
        } while (signal != 0 || get(&report->inside) != 1 || !is_entry(thread));
        if (n == plan->at) {
            have_struck();
            ptrace(PTRACE_DETACH, thread, nullptr, nullptr);
            return n;
        }
    }
}

static int usual; // descriptors that a row leaves undisturbed, made once

// How many system calls the thread made; *wrong: NULL or what is wrong.
static long run(const struct plan *p, const char **wrong)
{
    static char line[64];
    memset((void *)report, 0, sizeof *report);
    plan = p;
    long n = 0;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        run_row();
    }
    while (get(&report->thread) == 0)
        usleep(50);
    if (p->at == ASLEEP)
        set(&report->go, 1);
    else
        n = trace(report->thread);
    waitpid(child, nullptr, 0);
    snprintf(line, sizeof line, "line %d of cancelled.h", report->line);
    *wrong = !report->done                              ? "died or hung"
             : report->line == -1                       ? "ended in the call"
             : report->line == -2                       ? "left a child"
             : report->line != 0                        ? line
             : p->at != RECORD && report->left != usual ? "left a descriptor"
                                                        : nullptr;
    return n;
}

static int strike_all(const struct row *r, int strikes, long stride, bool quiet)
{
    int fatal = 0, points = 0;
    for (int s = 0; s < strikes; s++) {
        struct plan p = {r, (enum strike)s, RECORD};
        const char *wrong;
        long n = 0;
        for (int i = 0; i < 20 && n == 0; i++) // by chance it may need none
            n = run(&p, &wrong);
        usual = report->left;
        for (p.at = wrong == nullptr ? (long)ASLEEP : n; p.at < n && fatal < 9;
             p.at += p.at < 0 ? 1 : stride, points++)
            if ((run(&p, &wrong), wrong) != nullptr && (run(&p, &wrong), wrong) != nullptr) {
                fatal++;
                if (!quiet)
                    printf("  %s, %s at system call %ld of %ld: %s\n", r->name, STRIKE_NAMES[s],
                           p.at, n, wrong);
            }
        if (n == 0 || (wrong != nullptr && fatal == 0)) {
            fatal++;
            printf("  %s, undisturbed: %s\n", r->name, wrong != nullptr ? wrong : "no calls");
        }
    }
    printf("%-28s %6d points, %d fatal\n", r->name, points, fatal);
    return fatal;
}

// ---- The controls ----

static int wait_by_poll(void)
{
    return poll(nullptr, 0, 2) == 0 ? 0 : errno;
}

static void mutex_begin(void)
{
    weft_mutex_init(&mutex, 0);
}

static int poll_with_mutex(void)
{
    weft_mutex_lock(&mutex, WEFT_FOREVER);
    poll(nullptr, 0, 2);
    return code_of(weft_mutex_unlock(&mutex));
}

static int mutex_can_be_had(int)
{
    REQUIRE(weft_mutex_lock(&mutex, WEFT_NOW) == 0);
    return 0;
}

static const struct row CONTROLS[] = {
    {"control: poll(2)", nothing, wait_by_poll, nullptr, is_right, false},
    {"control: keeps a lock", mutex_begin, poll_with_mutex, nullptr, mutex_can_be_had, true},
};

// Whether it calls nothing but weft: what else it called might be a cancellation point.
static bool is_weft_alone(const struct operation *o)
{
    static const char *const others[] = {
        "start with descriptors", "popen", "close others", "die with parent",
        "pool: descriptor",       "queue", "semaphore"};
    for (const char *each : others)
        if (strncmp(o->name, each, strlen(each)) == 0)
            return false;
    return true;
}

static const char *only;
static long stride;

static int strike_row(const struct row *r, int strikes, long each)
{
    if (only != nullptr && strstr(r->name, only) == nullptr)
        return 0;
    return strike_all(r, strikes, each, false);
}

// These are not ready to be stopped.
static int strike_operation(const struct operation *o)
{
    struct row r = {o->name, nothing, o->act, nullptr, is_right, false};
    return is_weft_alone(o) ? strike_row(&r, STOP, stride) : 0;
}

int main(void)
{
    const char *given = getenv("TORTURE_STRIDE"), *seconds = getenv("TORTURE_SECONDS");
    int fatal = 0;
    only = getenv("TORTURE_ONLY");
    stride = given != nullptr ? atol(given) : seconds != nullptr && atol(seconds) < 30 ? 5 : 1;
    setvbuf(stdout, nullptr, _IOLBF, 0);
    report = (struct report *)mmap(nullptr, sizeof *report, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (const struct row &r : ROWS)
        fatal += strike_row(&r, STRIKES, given != nullptr ? stride : 1);
    for (const struct operation &o : PROC_OPERATIONS)
        fatal += strike_operation(&o);
    for (const struct operation &o : SHM_OPERATIONS)
        fatal += strike_operation(&o);
    for (const struct row &r : CONTROLS)
        if (strike_all(&r, STRIKES, 1, true) == 0) {
            puts("the control held: this proves nothing");
            fatal++;
        }
    puts(fatal != 0 ? "fatal points were found" : "all held");
    return fatal != 0;
}
