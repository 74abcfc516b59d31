// loop.cc: running, stopping, posting, nesting, forking; who may call what.
#include "../runner.h"

#include <weft/loop.h>
#include <weft/thread.h>

#include <async/loop_state.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

using namespace weft;

static void stop_it(weft_task *t)
{
    weft_loop_stop((weft_loop *)t->arg);
}

static void count_task(weft_task *t)
{
    ++*(int *)t->arg;
}

static void count_alarm(weft_alarm *a)
{
    ++*(int *)a->arg;
}

static void count_watch(weft_watch *w, int)
{
    ++*(int *)w->arg;
}

static weft_task task(void (*fn)(weft_task *), void *arg)
{
    weft_task t = {};
    t.fn = fn;
    t.arg = arg;
    return t;
}

// ---- Create, run, stop ----

CASE(test_create_options)
{
    weft_loop_options o = {};
    o.batch = -1;
    assert_errno(weft_loop_create(&o), EINVAL);
    o.batch = 1;
    o.blocked_ns = -1;
    assert_errno(weft_loop_create(&o), EINVAL);
    assert_int_equal(weft_loop_destroy(nullptr), 0);
}

CASE(test_create_without_descriptors)
{
    struct rlimit before, none;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    int next = dup(0);
    close(next);
    for (rlim_t room = 0; room < 2; room++) { // no epoll; no eventfd
        none.rlim_cur = (rlim_t)next + room;
        setrlimit(RLIMIT_NOFILE, &none);
        errno = 0;
        weft_loop *l = weft_loop_create(nullptr);
        int error = errno;
        setrlimit(RLIMIT_NOFILE, &before);
        assert_null(l);
        assert_int_equal(error, EMFILE);
    }
    int still = dup(0);
    assert_int_equal(still, next); // nothing leaked
    close(still);
}

CASE(test_run_with_nothing)
{
    weft_loop *l = weft_loop_create(nullptr);
    errno = 7;
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_FOREVER), 0);
    assert_int_equal(errno, 7);
    assert_errno(weft_loop_run(l, 2, WEFT_FOREVER), EINVAL);
    weft_loop_destroy(l);
}

CASE(test_run_deadline)
{
    weft_loop *l = weft_loop_create(nullptr);
    assert_int_equal(weft_loop_hold(l, 1), 0);
    assert_errno(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), ETIMEDOUT);
    weft_deadline d = weft_in_ms(5);
    assert_errno(weft_loop_run(l, WEFT_LOOP_ONCE, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
    d = weft_in_us(300);
    assert_errno(weft_loop_run(l, WEFT_LOOP_ALL, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
    assert_int_equal(weft_loop_hold(l, -1), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    weft_loop_destroy(l);
}

CASE(test_run_deadline_old_kernel)
{
    weft_loop *l = weft_loop_create(nullptr);
    l->no_pwait2 = true;
    weft_loop_hold(l, 1);
    weft_deadline d = weft_in_us(2300);
    assert_errno(weft_loop_run(l, WEFT_LOOP_ALL, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
    int calls = 0, p[2];
    weft_watch w = {};
    assert_int_equal(pipe(p), 0);
    assert_int_equal(weft_loop_watch(l, &w, p[0], WEFT_READ, count_watch, &calls), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, weft_in_s(30)), 1);
    assert_int_equal(calls, 1);
    assert_true(l->no_pwait2);
    weft_watch_stop(&w);
    close(p[0]), close(p[1]);
    weft_loop_destroy(l);
}

CASE(test_hold_excuses_a_watch)
{
    weft_loop *l = weft_loop_create(nullptr);
    int p[2], calls = 0;
    weft_watch w = {};
    assert_int_equal(pipe(p), 0);
    assert_int_equal(weft_loop_watch(l, &w, p[0], WEFT_READ, count_watch, &calls), 0);
    assert_int_equal(weft_loop_hold(l, -1), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(calls, 0);
    close(p[0]), close(p[1]);
    weft_loop_destroy(l);
    assert_null(w.loop);
}

// It is only what keeps ALL running that it is taken from: who runs the loop by its descriptor gets
// to what is ready.
CASE(test_hold_leaves_once_alone)
{
    weft_loop *l = weft_loop_create(nullptr);
    int p[2], calls = 0;
    weft_watch w = {};
    assert_int_equal(pipe(p), 0);
    assert_int_equal(weft_loop_watch(l, &w, p[1], WEFT_WRITE, count_watch, &calls), 0);
    assert_int_equal(weft_loop_hold(l, -1), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 1);
    assert_int_equal(calls, 1);
    close(p[0]), close(p[1]);
    weft_loop_destroy(l);
}

CASE(test_stop_in_a_callback)
{
    weft_loop *l = weft_loop_create(nullptr);
    int calls = 0;
    weft_task s = task(stop_it, l), after = task(count_task, &calls);
    weft_loop_hold(l, 1);
    assert_int_equal(weft_loop_defer(l, &s), 0);
    assert_int_equal(weft_loop_defer(l, &after), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 1);
    assert_int_equal(calls, 1); // what was in the round ran
    // Stopped before it runs: the next run ends at once, the one after doesn't.
    weft_loop_stop(l);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 1);
    weft_loop_hold(l, -1);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    weft_loop_destroy(l);
}

struct misuse {
    weft_loop *l;
    int run, destroy, own;
};

static void misuse_it(weft_task *t)
{
    struct misuse *m = (struct misuse *)t->arg;
    m->run = weft_loop_run(m->l, WEFT_LOOP_ONCE, WEFT_NOW) == -1 ? errno : 0;
    m->destroy = weft_loop_destroy(m->l) == -1 ? errno : 0;
    m->own = weft_loop_own(m->l) == -1 ? errno : 0;
}

CASE(test_run_inside_of_itself)
{
    struct misuse m = {weft_loop_create(nullptr), 0, 0, 0};
    weft_task t = task(misuse_it, &m);
    weft_loop_defer(m.l, &t);
    assert_int_equal(weft_loop_run(m.l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(m.run, EBUSY);
    assert_int_equal(m.destroy, EBUSY);
    assert_int_equal(m.own, EBUSY);
    assert_int_equal(weft_loop_destroy(m.l), 0);
}

// ---- Threads ----

struct foreign {
    weft_loop *l;
    weft_watch *w;
    weft_alarm *a;
    weft_signal *s;
    weft_child *c;
    weft_listener *li;
    weft_task *t;
    int fd;
    int failed[24];
};

static void nothing_signal(weft_signal *)
{
}
static void nothing_child(weft_child *, int)
{
}
static void nothing_listener(weft_listener *, int fd)
{
    close(fd);
}

static int eperm(int r)
{
    return r == -1 && errno == EPERM;
}

static void *call_them_all(void *arg)
{
    struct foreign *f = (struct foreign *)arg;
    weft_watch w = {};
    weft_alarm a = {};
    weft_signal s = {};
    weft_child c = {};
    weft_listener li = {};
    weft_task t = task(count_task, nullptr);
    weft_loop_statistics stats;
    int *r = f->failed;
    *r++ = eperm(weft_loop_run(f->l, WEFT_LOOP_ONCE, WEFT_NOW));
    *r++ = eperm(weft_loop_destroy(f->l));
    *r++ = eperm(weft_loop_hold(f->l, 1));
    *r++ = eperm(weft_loop_fd(f->l));
    *r++ = eperm(weft_loop_stats(f->l, &stats));
    *r++ = eperm(weft_loop_watch(f->l, &w, f->fd, WEFT_READ, count_watch, nullptr));
    *r++ = eperm(weft_watch_change(f->w, 0));
    *r++ = eperm(weft_watch_stop(f->w));
    *r++ = eperm(weft_loop_timer(f->l, &a, 1, 0, count_alarm, nullptr));
    *r++ = eperm(weft_loop_precise_timer(f->l, &a, 1, 0, count_alarm, nullptr));
    *r++ = eperm(weft_alarm_set(f->a, 1));
    *r++ = eperm(weft_alarm_stop(f->a));
    *r++ = eperm(weft_loop_signal(f->l, &s, SIGUSR1, nothing_signal, nullptr));
    *r++ = eperm(weft_signal_stop(f->s));
    *r++ = eperm(weft_loop_child(f->l, &c, getpid(), nothing_child, nullptr));
    *r++ = eperm(weft_loop_child_fd(f->l, &c, f->c->watch.fd, nothing_child, nullptr));
    *r++ = eperm(weft_child_stop(f->c));
    *r++ = eperm(weft_loop_defer(f->l, &t));
    *r++ = eperm(weft_loop_idle(f->l, &t));
    *r++ = eperm(weft_task_stop(f->t));
    *r++ = eperm(weft_loop_listen(f->l, &li, f->li->watch.fd, nothing_listener, nullptr));
    *r++ = eperm(weft_listener_stop(f->li));
    return nullptr;
}

CASE(test_calls_from_another_thread)
{
    struct foreign f = {};
    weft_watch w = {};
    weft_alarm a = {};
    weft_signal s = {};
    weft_child c = {};
    weft_listener li = {};
    weft_task t = task(count_task, nullptr);
    int p[2];
    assert_int_equal(pipe(p), 0);
    struct sockaddr any = {AF_UNIX, ""}; // the kernel gives it a name
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, &any, sizeof any.sa_family), 0);
    assert_int_equal(listen(listener, 1), 0);
    f = {weft_loop_create(nullptr), &w, &a, &s, &c, &li, &t, p[1], {}};
    assert_int_equal(weft_loop_watch(f.l, &w, p[0], WEFT_READ, count_watch, nullptr), 0);
    assert_int_equal(weft_loop_timer(f.l, &a, weft_in_s(60), 0, count_alarm, nullptr), 0);
    assert_int_equal(weft_loop_signal(f.l, &s, SIGUSR1, nothing_signal, nullptr), 0);
    assert_int_equal(weft_loop_child(f.l, &c, getpid(), nothing_child, nullptr), 0);
    assert_int_equal(weft_loop_listen(f.l, &li, listener, nothing_listener, nullptr), 0);
    assert_int_equal(weft_loop_idle(f.l, &t), 0);
    weft_thread *th = weft_thread_start(call_them_all, &f, nullptr);
    assert_int_equal(weft_thread_join(th, nullptr, WEFT_FOREVER), 0);
    for (int i = 0; i < 22; i++)
        assert_int_equal(f.failed[i], 1);
    assert_int_equal(weft_loop_destroy(f.l), 0); // with all of it still there
    assert_null(w.loop);
    assert_null(a.loop);
    assert_null(s.loop);
    assert_null(c.watch.loop);
    assert_null(li.watch.loop);
    close(listener), close(p[0]), close(p[1]);
}

static void *own_and_run(void *arg)
{
    weft_loop *l = (weft_loop *)arg;
    return weft_loop_own(l) == 0 && weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER) == 0 ? arg
                                                                                       : nullptr;
}

CASE(test_own_hands_over)
{
    weft_loop *l = weft_loop_create(nullptr);
    int calls = 0;
    weft_alarm a = {};
    weft_loop_timer(l, &a, weft_in_ms(1), 0, count_alarm, &calls);
    void *result = nullptr;
    weft_thread *t = weft_thread_start(own_and_run, l, nullptr);
    assert_int_equal(weft_thread_join(t, &result, WEFT_FOREVER), 0);
    assert_ptr_equal(result, l);
    assert_int_equal(calls, 1);
    assert_errno(weft_loop_destroy(l), EPERM);
    assert_int_equal(weft_loop_own(l), 0);
    assert_int_equal(weft_loop_destroy(l), 0);
}

enum { POSTERS = 3, POSTS = 2000 };

struct poster {
    weft_loop *l;
    weft_task tasks[POSTS];
    int written[POSTS];
    int *seen;
};

static void on_post(weft_task *t)
{
    ++*(int *)t->arg; // plain: the loop's thread alone counts
}

static void *post_many(void *arg)
{
    struct poster *p = (struct poster *)arg;
    for (int i = 0; i < POSTS; i++) {
        p->tasks[i] = task(on_post, p->seen);
        if (weft_loop_post(p->l, &p->tasks[i]) != 0)
            return nullptr;
    }
    return arg;
}

CASE(test_post_from_threads)
{
    weft_loop *l = weft_loop_create(nullptr);
    static struct poster posters[POSTERS];
    weft_thread *threads[POSTERS];
    int seen = 0;
    weft_loop_hold(l, 1);
    for (int i = 0; i < POSTERS; i++) {
        posters[i].l = l;
        posters[i].seen = &seen;
        threads[i] = weft_thread_start(post_many, &posters[i], nullptr);
    }
    while (seen < POSTERS * POSTS)
        assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, weft_in_s(30)), 1);
    for (weft_thread *t : threads) {
        void *result = nullptr;
        assert_int_equal(weft_thread_join(t, &result, WEFT_FOREVER), 0);
        assert_non_null(result);
    }
    assert_int_equal(seen, POSTERS * POSTS);
    weft_loop_destroy(l);
}

static void note_order(weft_task *t)
{
    static int position;
    *(int *)t->arg = ++position;
}

CASE(test_post_in_order_and_once)
{
    weft_loop *l = weft_loop_create(nullptr);
    int order[3] = {}, calls = 0;
    weft_task t[3] = {task(note_order, &order[0]), task(note_order, &order[1]),
                      task(note_order, &order[2])};
    for (weft_task &each : t)
        assert_int_equal(weft_loop_post(l, &each), 0);
    weft_task twice = task(count_task, &calls), none = {};
    assert_int_equal(weft_loop_post(l, &twice), 0);
    assert_int_equal(weft_loop_post(l, &twice), 0);
    assert_errno(weft_loop_post(l, &none), EINVAL);
    assert_errno(weft_loop_defer(l, &twice), EBUSY);
    assert_errno(weft_task_stop(&twice), EALREADY);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
    assert_int_equal(order[2], 3);
    assert_int_equal(calls, 1);
    weft_loop_destroy(l);
}

struct reposted {
    weft_task t;
    weft_loop *l;
    int left;
};

static void repost(weft_task *t)
{
    struct reposted *r = (struct reposted *)t;
    if (--r->left > 0)
        weft_loop_post(r->l, t);
}

CASE(test_post_itself_again)
{
    struct reposted r = {task(repost, nullptr), weft_loop_create(nullptr), 5};
    weft_loop_post(r.l, &r.t);
    assert_int_equal(weft_loop_run(r.l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(r.left, 0);
    weft_loop_destroy(r.l);
}

static void free_task(weft_task *t)
{
    free(t);
}

CASE(test_post_may_free_itself)
{
    weft_loop *l = weft_loop_create(nullptr);
    for (int i = 0; i < 3; i++) {
        weft_task *t = (weft_task *)calloc(1, sizeof *t);
        t->fn = free_task;
        assert_int_equal(weft_loop_post(l, t), 0);
    }
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    weft_loop_destroy(l);
}

CASE(test_post_when_the_counter_is_full)
{
    weft_loop *l = weft_loop_create(nullptr);
    int calls = 0;
    weft_task t = task(count_task, &calls);
    uint64_t full = UINT64_MAX - 1;
    assert_int_equal(write(l->wake_watch.fd, &full, sizeof full), sizeof full);
    errno = 7;
    assert_int_equal(weft_loop_post(l, &t), 0);
    weft_loop_wake(l);
    assert_int_equal(errno, 7);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(calls, 1);
    weft_loop_destroy(l);
}

static weft_loop *handler_loop;
static weft_task handler_task;

static void post_from_handler(int)
{
    weft_loop_post(handler_loop, &handler_task);
}

static void *signal_it(void *arg)
{
    pthread_kill(*(pthread_t *)arg, SIGUSR2);
    return nullptr;
}

CASE(test_post_from_a_signal_handler)
{
    int calls = 0;
    pthread_t self = pthread_self();
    handler_loop = weft_loop_create(nullptr);
    handler_task = task(count_task, &calls);
    struct sigaction now = {}, before;
    now.sa_handler = post_from_handler;
    sigaction(SIGUSR2, &now, &before);
    weft_loop_hold(handler_loop, 1);
    weft_thread *t = weft_thread_start(signal_it, &self, nullptr);
    while (calls == 0)
        assert_int_equal(weft_loop_run(handler_loop, WEFT_LOOP_ONCE, WEFT_FOREVER), 1);
    weft_thread_join(t, nullptr, WEFT_FOREVER);
    sigaction(SIGUSR2, &before, nullptr);
    weft_loop_destroy(handler_loop);
}

static void *stop_from_afar(void *arg)
{
    weft_loop_stop((weft_loop *)arg);
    return nullptr;
}

static void *wake_from_afar(void *arg)
{
    weft_loop_wake((weft_loop *)arg);
    return nullptr;
}

CASE(test_stop_and_wake_from_a_thread)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_loop_hold(l, 1);
    weft_thread *t = weft_thread_start(stop_from_afar, l, nullptr);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 1);
    weft_thread_join(t, nullptr, WEFT_FOREVER);
    while (weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW) == 1)
        ; // the wake-up that went with the stop
    t = weft_thread_start(wake_from_afar, l, nullptr);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_FOREVER), 1);
    weft_thread_join(t, nullptr, WEFT_FOREVER);
    weft_loop_destroy(l);
}

// ---- Deferred and idle ----

CASE(test_defer_runs_once)
{
    weft_loop *l = weft_loop_create(nullptr);
    int calls = 0;
    weft_task t = task(count_task, &calls), none = {};
    assert_int_equal(weft_loop_defer(l, &t), 0);
    assert_errno(weft_loop_defer(l, &t), EBUSY);
    assert_errno(weft_loop_idle(l, &t), EBUSY);
    assert_errno(weft_loop_post(l, &t), EBUSY);
    assert_errno(weft_loop_defer(l, &none), EINVAL);
    assert_errno(weft_loop_idle(l, &none), EINVAL);
    assert_int_equal(weft_task_stop(&t), 0);
    assert_errno(weft_task_stop(&t), EALREADY);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(calls, 0);
    assert_int_equal(weft_loop_defer(l, &t), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(calls, 1);
    weft_loop_destroy(l);
}

struct again {
    weft_task t;
    weft_loop *l;
    uint64_t rounds[3];
    int calls;
};

static void defer_again(weft_task *t)
{
    struct again *a = (struct again *)t;
    weft_loop_statistics s;
    weft_loop_stats(a->l, &s);
    a->rounds[a->calls++] = s.rounds;
    if (a->calls < 3)
        weft_loop_defer(a->l, t);
}

CASE(test_defer_again_is_the_next_round)
{
    struct again a = {task(defer_again, nullptr), weft_loop_create(nullptr), {}, 0};
    weft_loop_defer(a.l, &a.t);
    assert_int_equal(weft_loop_run(a.l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(a.calls, 3);
    assert_int_equal(a.rounds[1], a.rounds[0] + 1);
    assert_int_equal(a.rounds[2], a.rounds[1] + 1);
    weft_loop_destroy(a.l);
}

static void idle_thrice(weft_task *t)
{
    if (++*(int *)t->arg == 3)
        weft_task_stop(t);
}

CASE(test_idle_when_nothing_else)
{
    weft_loop *l = weft_loop_create(nullptr);
    int idle = 0, deferred = 0;
    weft_task i = task(idle_thrice, &idle), d = task(count_task, &deferred);
    assert_int_equal(weft_loop_idle(l, &i), 0);
    assert_int_equal(weft_loop_defer(l, &d), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_FOREVER), 1);
    assert_int_equal(deferred, 1);
    assert_int_equal(idle, 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(idle, 3);
    weft_loop_destroy(l);
}

static void stop_the_other(weft_task *t)
{
    weft_task_stop((weft_task *)t->arg);
}

CASE(test_stop_within_a_batch_of_tasks)
{
    weft_loop *l = weft_loop_create(nullptr);
    int calls = 0;
    weft_task victim = task(count_task, &calls), killer = task(stop_the_other, &victim);
    weft_loop_defer(l, &killer);
    weft_loop_defer(l, &victim);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(calls, 0);
    weft_loop_destroy(l);
}

// ---- Statistics, the detector ----

struct report {
    char kind[16];
    void (*fn)(void);
    int fd;
    int64_t ns;
    int count, inside;
    weft_loop *l;
};

static void on_blocked(weft_loop *, const weft_loop_callback *c, void *arg)
{
    struct report *r = (struct report *)arg;
    snprintf(r->kind, sizeof r->kind, "%s", c->kind);
    r->fn = c->fn;
    r->fd = c->fd;
    r->ns = c->ns;
    r->count++;
}

static void spin(int64_t ns)
{
    for (int64_t end = weft_now() + ns; weft_now() < end;)
        ;
}

static void slow_alarm(weft_alarm *a)
{
    struct report *r = (struct report *)a->arg;
    weft_loop_callback c;
    spin(3000000);
    if (weft_loop_blocked(r->l, &c) == 1 && c.ns >= 3000000 && c.fn == (void (*)(void))slow_alarm)
        r->inside++;
}

static void slow_watch(weft_watch *w, int)
{
    spin(2000000);
    weft_watch_stop(w);
}

static void slow_task(weft_task *)
{
    spin(2000000);
}

CASE(test_blocked_tells_which)
{
    struct report r = {};
    weft_loop_options o = {};
    o.blocked_ns = 1500000;
    o.blocked = on_blocked;
    o.blocked_arg = &r;
    weft_loop *l = r.l = weft_loop_create(&o);
    weft_alarm a = {};
    weft_loop_callback c;
    assert_int_equal(weft_loop_blocked(l, &c), 0);
    weft_loop_timer(l, &a, WEFT_NOW, 0, slow_alarm, &r);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.inside, 1);
    assert_string_equal(r.kind, "alarm");
    assert_true(r.ns >= 3000000);
    int p[2];
    weft_watch w = {};
    assert_int_equal(pipe(p), 0);
    assert_int_equal(weft_loop_watch(l, &w, p[1], WEFT_WRITE, slow_watch, nullptr), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_string_equal(r.kind, "watch");
    assert_int_equal(r.fd, p[1]);
    assert_ptr_equal((void *)r.fn, (void *)slow_watch);
    weft_task t = task(slow_task, nullptr);
    weft_loop_post(l, &t);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_string_equal(r.kind, "task");
    weft_loop_statistics s;
    assert_int_equal(weft_loop_stats(l, &s), 0);
    assert_true(s.blocked >= 3);
    assert_int_equal(s.blocked, r.count);
    assert_true(s.lag_max_ns >= 3000000);
    assert_int_equal(weft_loop_blocked(l, &c), 0);
    close(p[0]), close(p[1]);
    weft_loop_destroy(l);
}

CASE(test_blocked_says_it_on_stderr)
{
    weft_loop_options o = {};
    o.blocked_ns = 1000000;
    weft_loop *l = weft_loop_create(&o);
    weft_task t = task(slow_task, nullptr);
    int p[2], keep = dup(2);
    char line[512] = "";
    assert_int_equal(pipe(p), 0);
    weft_loop_post(l, &t);
    dup2(p[1], 2);
    weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER);
    dup2(keep, 2);
    ssize_t n = read(p[0], line, sizeof line - 1);
    assert_true(n > 0);
    assert_non_null(strstr(line, "blocked the loop for "));
    assert_non_null(strstr(line, "task"));
    close(keep), close(p[0]), close(p[1]);
    weft_loop_destroy(l);
}

struct watchdog {
    weft_loop *l;
    uint32_t saw; // atomic
};

static void *watch_the_loop(void *arg)
{
    struct watchdog *w = (struct watchdog *)arg;
    weft_loop_callback c;
    while (weft_loop_blocked(w->l, &c) == 0 || c.ns < 1000000)
        ;
    __atomic_store_n(&w->saw, strcmp(c.kind, "task") == 0 ? 1 : 2, __ATOMIC_RELEASE);
    return nullptr;
}

static void until_seen(weft_task *t)
{
    struct watchdog *w = (struct watchdog *)t->arg;
    while (__atomic_load_n(&w->saw, __ATOMIC_ACQUIRE) == 0)
        ;
}

CASE(test_blocked_from_a_watchdog_thread)
{
    weft_loop_options o = {};
    o.blocked_ns = INT64_MAX;
    struct watchdog w = {weft_loop_create(&o), 0};
    weft_task t = task(until_seen, &w);
    weft_thread *th = weft_thread_start(watch_the_loop, &w, nullptr);
    weft_loop_post(w.l, &t);
    assert_int_equal(weft_loop_run(w.l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    weft_thread_join(th, nullptr, WEFT_FOREVER);
    assert_int_equal(w.saw, 1);
    weft_loop_destroy(w.l);
}

CASE(test_stats_count)
{
    weft_loop *l = weft_loop_create(nullptr);
    int calls = 0, p[2];
    weft_alarm a = {};
    weft_watch w = {};
    weft_task t = task(count_task, &calls);
    weft_loop_statistics s;
    assert_int_equal(pipe(p), 0);
    weft_loop_timer(l, &a, weft_in_s(60), 0, count_alarm, &calls);
    weft_loop_watch(l, &w, p[1], WEFT_WRITE, count_watch, &calls);
    weft_loop_defer(l, &t);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_FOREVER), 1);
    assert_int_equal(weft_loop_stats(l, &s), 0);
    assert_int_equal(s.watches, 1);
    assert_int_equal(s.armed, 1);
    assert_int_equal(s.events, 1);
    assert_int_equal(s.tasks, 1);
    assert_int_equal(s.alarms, 0);
    assert_int_equal(s.rounds, 1);
    weft_alarm_set(&a, WEFT_NOW);
    weft_watch_stop(&w);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(weft_loop_stats(l, &s), 0);
    assert_int_equal(s.alarms, 1);
    assert_int_equal(s.watches, 0);
    assert_int_equal(s.armed, 0);
    assert_true(weft_loop_now(l) <= weft_now() && weft_loop_now(l) > weft_now() - 30000000000);
    close(p[0]), close(p[1]);
    weft_loop_destroy(l);
}

// ---- Nesting ----

static bool readable(int fd, int ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, ms) == 1;
}

CASE(test_fd_shows_what_is_ready)
{
    weft_loop *l = weft_loop_create(nullptr);
    int fd = weft_loop_fd(l), calls = 0, p[2];
    assert_true(fd >= 0);
    assert_int_equal(weft_loop_fd(l), fd);
    assert_false(readable(fd, 0));
    // An alarm armed outside of a run.
    weft_alarm a = {};
    weft_loop_timer(l, &a, weft_in_ms(3), 0, count_alarm, &calls);
    assert_true(readable(fd, -1));
    while (calls == 0)
        weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW);
    weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW);
    assert_false(readable(fd, 0));
    // A change outside of a run.
    weft_watch w = {};
    assert_int_equal(pipe(p), 0);
    weft_loop_watch(l, &w, p[1], 0, count_watch, &calls);
    assert_false(readable(fd, 0));
    weft_watch_change(&w, WEFT_WRITE);
    assert_true(readable(fd, 0));
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 1);
    assert_int_equal(calls, 2);
    weft_watch_change(&w, 0);
    assert_false(readable(fd, 0));
    // Deferred, posted.
    weft_task t = task(count_task, &calls);
    weft_loop_defer(l, &t);
    assert_true(readable(fd, -1));
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 1);
    weft_loop_post(l, &t);
    assert_true(readable(fd, -1));
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 1);
    while (weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW) == 1)
        ;
    assert_int_equal(calls, 4);
    assert_false(readable(fd, 0));
    // It doesn't keep the loop running.
    weft_watch_stop(&w);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    close(p[0]), close(p[1]);
    weft_loop_destroy(l);
}

// A wake-up that finds nothing to do is over when it has been looked at: else the outer loop
// would turn for ever.
CASE(test_fd_is_quiet_after_a_wake_for_nothing)
{
    weft_loop *l = weft_loop_create(nullptr);
    int fd = weft_loop_fd(l);
    weft_loop_wake(l);
    assert_true(readable(fd, 0));
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 0);
    assert_false(readable(fd, 0));
    weft_loop_stop(l);
    assert_true(readable(fd, 0));
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 1);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 0);
    assert_false(readable(fd, 0));
    weft_loop_destroy(l);
}

static void run_inner(weft_watch *w, int)
{
    weft_loop *inner = (weft_loop *)w->arg;
    if (weft_loop_run(inner, WEFT_LOOP_ONCE, WEFT_NOW) == 0)
        weft_watch_stop(w);
}

static void thrice(weft_alarm *a)
{
    if (++*(int *)a->arg == 3)
        weft_alarm_stop(a);
}

CASE(test_fd_in_another_loop)
{
    weft_loop *outer = weft_loop_create(nullptr), *inner = weft_loop_create(nullptr);
    weft_watch w = {};
    weft_alarm a = {};
    int calls = 0;
    weft_loop_timer(inner, &a, weft_in_ms(1), 1000000, thrice, &calls);
    assert_int_equal(weft_loop_watch(outer, &w, weft_loop_fd(inner), WEFT_READ, run_inner, inner),
                     0);
    while (calls < 3)
        assert_int_equal(weft_loop_run(outer, WEFT_LOOP_ONCE, weft_in_s(30)), 1);
    weft_loop_destroy(outer);
    weft_loop_destroy(inner);
}

// ---- Fork ----

static int exit_of(pid_t child)
{
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void read_one(weft_watch *w, int)
{
    char c;
    if (read(w->fd, &c, 1) == 1)
        ++*(int *)w->arg;
}

CASE(test_fork_child_has_its_own)
{
    weft_loop *l = weft_loop_create(nullptr);
    int a[2], b[2], from_a = 0, from_b = 0;
    weft_watch wa = {}, wb = {};
    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    weft_loop_fd(l); // nested, too
    weft_loop_watch(l, &wa, a[0], WEFT_READ, read_one, &from_a);
    weft_loop_watch(l, &wb, b[0], WEFT_READ, read_one, &from_b);
    pid_t child = fork();
    if (child == 0) {
        // Stopping in the child doesn't stop in the parent; both can wait.
        int calls = 0;
        weft_alarm t = {};
        weft_task p = task(count_task, &calls);
        bool ok = weft_watch_stop(&wa) == 0 &&
                  weft_loop_timer(l, &t, weft_in_ms(1), 0, count_alarm, &calls) == 0;
        ok = ok && weft_loop_post(l, &p) == 0;
        while (ok && (calls < 2 || from_b < 1))
            ok = weft_loop_run(l, WEFT_LOOP_ONCE, weft_in_s(30)) == 1;
        ok = ok && weft_loop_destroy(l) == 0;
        _exit(ok && from_a == 0 ? 0 : 1);
    }
    // The child's one byte: the parent leaves it alone until the child has gone.
    assert_int_equal(write(b[1], "x", 1), 1);
    assert_int_equal(exit_of(child), 0);
    assert_int_equal(write(a[1], "x", 1), 1);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, weft_in_s(30)), 1);
    while (from_a == 0)
        assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, weft_in_s(30)), 1);
    assert_int_equal(from_a, 1);
    assert_int_equal(from_b, 0);
    weft_loop_destroy(l);
    close(a[0]), close(a[1]), close(b[0]), close(b[1]);
}

struct forker {
    weft_loop *l;
    pid_t child;
};

static void fork_here(weft_watch *w, int)
{
    struct forker *f = (struct forker *)w->arg;
    char c;
    f->child = fork();
    if (f->child == 0)
        return; // goes on with the loop
    if (read(w->fd, &c, 1) != 1)
        abort();
    weft_watch_stop(w);
}

static void exit_42(weft_alarm *)
{
    _exit(42);
}

CASE(test_fork_inside_a_callback)
{
    struct forker f = {weft_loop_create(nullptr), -1};
    int p[2];
    weft_watch w = {};
    weft_alarm a = {};
    assert_int_equal(pipe(p), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    weft_loop_watch(f.l, &w, p[0], WEFT_READ, fork_here, &f);
    assert_int_equal(weft_loop_run(f.l, WEFT_LOOP_ONCE, WEFT_FOREVER), 1);
    if (f.child == 0) {
        weft_watch_stop(&w);
        weft_loop_timer(f.l, &a, weft_in_ms(1), 0, exit_42, nullptr);
        weft_loop_run(f.l, WEFT_LOOP_ALL, WEFT_FOREVER);
        _exit(1);
    }
    assert_int_equal(exit_of(f.child), 42);
    assert_int_equal(weft_loop_run(f.l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    weft_loop_destroy(f.l);
    close(p[0]), close(p[1]);
}

static void *fork_elsewhere(void *arg)
{
    struct forker *f = (struct forker *)arg;
    f->child = fork();
    if (f->child == 0) {
        weft_task t = task(stop_it, f->l);
        // The thread that ran it is not in this process.
        bool ok = weft_loop_own(f->l) == 0 && weft_loop_defer(f->l, &t) == 0 &&
                  weft_loop_run(f->l, WEFT_LOOP_ALL, WEFT_FOREVER) == 1 &&
                  weft_loop_destroy(f->l) == 0;
        _exit(ok ? 0 : 1);
    }
    weft_loop_stop(f->l);
    return nullptr;
}

// Of two that are nested the inner one is made again first: then the outer one has the new one.
CASE(test_fork_of_nested_loops)
{
    weft_loop *outer = weft_loop_create(nullptr), *inner = weft_loop_create(nullptr);
    weft_watch w = {};
    weft_alarm a = {};
    int calls = 0;
    assert_int_equal(weft_loop_watch(outer, &w, weft_loop_fd(inner), WEFT_READ, run_inner, inner),
                     0);
    pid_t child = fork();
    if (child == 0) {
        bool ok = weft_loop_fd(inner) >= 0;
        ok = ok && weft_loop_timer(inner, &a, weft_in_ms(1), 1000000, thrice, &calls) == 0;
        while (ok && calls < 3)
            ok = weft_loop_run(outer, WEFT_LOOP_ONCE, weft_in_s(30)) == 1;
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(exit_of(child), 0);
    assert_int_equal(weft_loop_run(outer, WEFT_LOOP_ONCE, WEFT_NOW), -1); // nothing came here
    weft_loop_destroy(outer);
    weft_loop_destroy(inner);
}

CASE(test_fork_by_another_thread)
{
    struct forker f = {weft_loop_create(nullptr), -1};
    weft_loop_hold(f.l, 1);
    weft_thread *t = weft_thread_start(fork_elsewhere, &f, nullptr);
    assert_int_equal(weft_loop_run(f.l, WEFT_LOOP_ALL, WEFT_FOREVER), 1);
    weft_thread_join(t, nullptr, WEFT_FOREVER);
    assert_int_equal(exit_of(f.child), 0);
    weft_loop_destroy(f.l);
}

RUN_CASES()
