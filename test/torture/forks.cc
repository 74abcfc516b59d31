// forks.cc: a program whose threads are all at work forks at any moment, and the child uses what
// they were at: it works or fails at once, and nothing waits without end.
//
// Each kind of thing has a process of its own, for its share of TORTURE_SECONDS (60); then all
// at once.  TORTURE_ONLY: part of a kind's name.  The control, a lock of pthread's that a thread
// holds for most of the time, must hang.
#include "forks.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static int stopping;
static struct told {
    int line, at;
} * told;

struct work {
    const struct kind *k;
    int i;
};

static void *work(void *arg)
{
    const struct work *w = (const struct work *)arg;
    while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED))
        w->k->busy(w->i);
    return NULL;
}

// One fork: 0, or the line that was wrong, negative if it hung there.
static int fork_once(const struct kind *k)
{
    int status;
    told->line = 0;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(20);
        told->line = k->use();
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? told->line : -told->at;
}

// In a process of its own: n kinds at work, all of them asked of in turn.  Its exit status.
static int storm(const struct kind *kinds, size_t n, int64_t ns)
{
    static struct work works[32 * THREADS];
    long forks = 0;
    for (size_t k = 0; k < n; k++)
        if (kinds[k].begin != NULL)
            kinds[k].begin();
    for (size_t i = 0; i < n * THREADS; i++) {
        pthread_t thread;
        works[i] = {&kinds[i / THREADS], (int)(i % THREADS)};
        if (pthread_create(&thread, NULL, work, &works[i]) != 0)
            return 2;
    }
    usleep(2000);
    for (weft_deadline d = weft_in_ns(ns); weft_left(d) != 0; forks++) {
        const struct kind *k = &kinds[(size_t)forks % n];
        int line = fork_once(k);
        if (line == 0)
            continue;
        printf("  %s: after %ld forks: %s, line %d of forks.h\n", k->name, forks,
               line < 0 ? "hung or died" : "wrong", line < 0 ? -line : line);
        return 1;
    }
    printf("%-28s %6ld forks\n", n > 1 ? "all at once" : kinds->name, forks);
    return 0;
}

static bool storm_fails(const struct kind *kinds, size_t n, int64_t ns)
{
    int status;
    fflush(stdout);
    pid_t p = fork();
    if (p == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        status = storm(kinds, n, ns);
        fflush(stdout);
        _exit(status); // its threads with it
    }
    while (waitpid(p, &status, 0) < 0 && errno == EINTR)
        ;
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

// ---- The control ----

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static void busy_held(int)
{
    pthread_mutex_lock(&held);
    usleep(100);
    pthread_mutex_unlock(&held);
}

static int use_held(void)
{
    alarm(1);
    pthread_mutex_lock(&held);
    pthread_mutex_unlock(&held);
    return 0;
}

int main(void)
{
    const char *only = getenv("TORTURE_ONLY"), *seconds = getenv("TORTURE_SECONDS");
    const size_t n = sizeof KINDS / sizeof KINDS[0];
    int64_t each = (seconds != NULL ? atol(seconds) : 60) * 1000000000 / (int64_t)(n + 2);
    static const struct kind control = {"control (must fail)", NULL, busy_held, use_held};
    int failed = 0;
    told = (struct told *)mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    at = &told->at;
    for (const struct kind &k : KINDS)
        if (only == NULL || strstr(k.name, only) != NULL)
            failed += storm_fails(&k, 1, each);
    if (only == NULL || strstr("all at once", only) != NULL)
        failed += storm_fails(KINDS, n, 2 * each);
    if (!storm_fails(&control, 1, 3000000000)) {
        puts("the control held: this proves nothing");
        failed++;
    }
    puts(failed != 0 ? "a child went wrong" : "all held");
    return failed != 0;
}
