// watchdog.cc: who hogs the thread? (tasklet.h)
//
// A timer of the thread sends it a signal every half limit.  The handler, on the thread itself,
// sees whether the same tasklet is still in the same turn as last time: each switch changes the
// budget or the round.  While the scheduler waits for events the timer is disarmed, so an idle
// thread stays asleep.  A thread of its own would need no signal, but could not read
// a tasklet's name without racing its end.
#include "say.h"
#include "scheduler.h"

#include <base/errno.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

using namespace weft;

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace {
struct watchdog {
    int64_t limit; // ns; 0: none
    timer_t timer;
    pid_t pid; // whose: in a forked child that number may be another's
    void (*report)(weft_tasklet *hog, int64_t ns, void *arg);
    void *arg;
    const weft_tasklet *hog; // the turn that was running at the last look
    uint32_t budget;
    uint32_t rounds;
    int64_t since; // when that was first seen
    int told;
};
} // namespace

static __thread watchdog dog;

static void tell(const weft_tasklet *hog, int64_t ns)
{
    say_in_handler("weft: tasklet \"", weft_tasklet_name(hog), "\" has held its thread for ",
                   (uint64_t)ns / 1000000, " ms\n");
}

static void look(int sig)
{
    int saved = errno;
    const scheduler *s = &scheduler_here;
    watchdog *w = &dog;
    (void)sig;
    weft_tasklet *running = s->running;
    int64_t now = weft_now();
    if (running != w->hog || s->budget != w->budget || s->rounds != w->rounds) {
        w->hog = running;
        w->budget = s->budget;
        w->rounds = s->rounds;
        w->since = now;
        w->told = 0;
    } else if (w->limit != 0 && !w->told && now - w->since >= w->limit && s->alive != 0) {
        w->told = 1;
        if (w->report != nullptr)
            w->report(running, now - w->since, w->arg);
        else
            tell(running, now - w->since);
    }
    errno = saved;
}

static void arm(const watchdog *w, int64_t every)
{
    struct itimerspec t;
    t.it_value.tv_sec = t.it_interval.tv_sec = (time_t)(every / 1000000000);
    t.it_value.tv_nsec = t.it_interval.tv_nsec = (long)(every % 1000000000);
    timer_settime(w->timer, 0, &t, nullptr);
}

static int64_t half(int64_t limit)
{
    return limit / 2 > 0 ? limit / 2 : 1;
}

static bool is_on(void)
{
    return dog.limit != 0 && dog.pid == getpid();
}

void weft::watchdog_rest(int resting)
{
    if (!is_on())
        return;
    dog.hog = nullptr;
    arm(&dog, resting ? 0 : half(dog.limit));
}

void weft::watchdog_end(void)
{
    if (is_on())
        timer_delete(dog.timer);
    dog.limit = 0;
}

// Two threads with the same signal share the handler.
static int install(int sig)
{
    struct sigaction now, ours;
    if (sigaction(sig, nullptr, &now) != 0)
        return -1;
    if (now.sa_handler == look)
        return 0;
    if (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN)
        return fail_with(EBUSY);
    memset(&ours, 0, sizeof ours);
    ours.sa_handler = look;
    ours.sa_flags = SA_RESTART;
    return sigaction(sig, &ours, nullptr);
}

int weft_tasklet_watchdog(int64_t limit_ns, int sig,
                          void (*report)(weft_tasklet *hog, int64_t ns, void *arg), void *arg)
{
    struct sigevent event;
    if (limit_ns < 0)
        return fail_with(EINVAL);
    if (scheduler_enter() == nullptr)
        return -1;
    if (limit_ns == 0) {
        watchdog_end();
        return 0;
    }
    if (sig == 0)
        sig = SIGRTMAX - 1;
    if (install(sig) != 0)
        return -1;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = sig;
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        return -1;
    watchdog_end();
    dog.timer = timer;
    dog.pid = getpid();
    dog.report = report;
    dog.arg = arg;
    dog.hog = nullptr;
    dog.limit = limit_ns;
    arm(&dog, half(limit_ns));
    return 0;
}
