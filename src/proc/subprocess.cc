// subprocess.cc: starting a child, and its handle.
//
// A failure anywhere ends in one place that closes what was opened, so that nothing is
// left of a child that could not be started.
#include "plan.h"
#include "sides.h"
#include "warden.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

using namespace weft;

static int hold(weft_subprocess *p, struct spawn_plan *plan, int ends[2])
{
    if (leash_keep(&p->held, SIGKILL) != 0)
        return -1;
    ends[0] = p->held.kept;
    ends[1] = p->held.end;
    plan->leash = ends;
    return 0;
}

static int spawn(weft_subprocess *p, const char *const argv[], const weft_subprocess_options *o,
                 const struct sides *sides, int *stage)
{
    struct spawn_plan plan;
    int result = -1, ends[2];
    if (plan_make(&plan, argv, o, sides->child, stage) != 0)
        return -1;
    plan.terminal = sides->terminal;
    plan.foreground = p->terminal;
    *stage = WEFT_STAGE_PARENT;
    if (o->flags & WEFT_SUBPROCESS_TREE) {
        result = warden_start(&plan, &p->c, &p->held);
        *stage = plan.stage;
    } else if (!(o->flags & WEFT_SUBPROCESS_DIE_WITH_PARENT) || hold(p, &plan, ends) == 0) {
        leash_passed = &p->held;
        result = spawn_start(&plan, &p->c.pid, &p->c.pidfd);
        leash_passed = nullptr;
        *stage = plan.stage;
    }
    plan_free(&plan);
    return result;
}

// ---- The handle ----

static weft_subprocess *new_handle(const weft_subprocess_options *o)
{
    weft_subprocess *p = (weft_subprocess *)calloc(1, sizeof *p);
    if (p == nullptr)
        return nullptr;
    p->c.pidfd = p->s.fds[0] = p->s.fds[1] = p->s.fds[2] = -1;
    p->held.end = -1;
    p->terminal = o->flags & WEFT_SUBPROCESS_FOREGROUND ? terminal_open() : -1;
    p->self = p;
    outlet_init(&p->s.outlets[0], &o->out);
    outlet_init(&p->s.outlets[1], &o->err);
    p->s.children = &p->self;
    p->s.count = 1;
    p->c.leads = (o->flags & (WEFT_SUBPROCESS_NEW_SESSION | WEFT_SUBPROCESS_TREE)) ||
                 o->process_group == WEFT_GROUP_NEW;
    p->s.takes_input = o->in.kind == WEFT_STREAM_PIPE || o->in.kind == WEFT_STREAM_PTY;
    p->s.pty = -1;
    p->s.last = '\n';
    p->s.grace = o->grace_ns;
    p->s.kill_after = o->kill_after_ns == 0  ? WEFT_KILL_AFTER_NS
                      : o->kill_after_ns > 0 ? o->kill_after_ns
                                             : 0;
    p->flush_by = WEFT_FOREVER;
    return p;
}

static void free_handle(weft_subprocess *p)
{
    streams_free(&p->s);
    terminal_close(p);
    child_close(&p->c);
    warden_forget(&p->c);
    leash_let_go(&p->held);
    free_keep_errno(p);
}

// Those that could not be killed when their run was over.  They are looked for at the next starts,
// so that they don't stay unreaped.
static pthread_mutex_t given_up_lock = PTHREAD_MUTEX_INITIALIZER;
static weft_subprocess *given_up;

void weft::give_up(weft_subprocess *p)
{
    int saved = errno;
    if (weft_subprocess_destroy(p) == 0)
        return;
    errno = saved;
    pthread_mutex_lock(&given_up_lock);
    p->next = given_up;
    __atomic_store_n(&given_up, p, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&given_up_lock);
}

static void look_for_given_up(void)
{
    if (__atomic_load_n(&given_up, __ATOMIC_RELAXED) == nullptr ||
        pthread_mutex_trylock(&given_up_lock) != 0) // who has it looks, or had it before a fork
        return;
    for (weft_subprocess **i = &given_up; *i != nullptr;) {
        weft_subprocess *p = *i;
        if (child_poll(&p->c)) {
            *i = p->next;
            free_handle(p);
        } else {
            i = &p->next;
        }
    }
    pthread_mutex_unlock(&given_up_lock);
}

static weft_subprocess *start(const char *const argv[], const weft_subprocess_options *o,
                              int *stage)
{
    struct sides sides = {{-1, -1, -1}, {false, false, false}, -1};
    *stage = WEFT_STAGE_PREPARE;
    if (!options_fit(argv, o)) {
        errno = EINVAL;
        return nullptr;
    }
    weft_subprocess *p = new_handle(o);
    if (p == nullptr)
        return nullptr;
    *stage = WEFT_STAGE_STREAMS;
    bool started = sides_open(&sides, o, &p->s) == 0 && spawn(p, argv, o, &sides, stage) == 0;
    sides_close(&sides);
    if (started)
        return p;
    free_handle(p);
    return nullptr;
}

weft_subprocess *weft_subprocess_start(const char *const argv[],
                                       const weft_subprocess_options *opts)
{
    weft_subprocess_options own = {}, *o = &own;
    if (opts != nullptr)
        own = *opts;
    if (sides_use_pty(o))
        own.flags |= WEFT_SUBPROCESS_NEW_SESSION;
    if (own.flags & WEFT_SUBPROCESS_FOREGROUND && own.process_group == 0)
        own.process_group = WEFT_GROUP_NEW;
    int stage = WEFT_STAGE_NONE, cancel;
    look_for_given_up();
    // The child, until it executes its program, has our pending cancel too.
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    weft_subprocess *p = start(argv, o, &stage);
    pthread_setcancelstate(cancel, nullptr);
    if (o->stage != nullptr)
        *o->stage = p != nullptr ? WEFT_STAGE_NONE : stage;
    return p;
}

int weft_subprocess_destroy(weft_subprocess *p)
{
    if (p == nullptr)
        return 0;
    if (!child_poll(&p->c))
        return fail_with(EBUSY);
    free_handle(p);
    return 0;
}

pid_t weft_subprocess_pid(const weft_subprocess *p)
{
    if (p == nullptr)
        return fail_with(EINVAL);
    return p->c.warden != nullptr ? p->c.warden->pid : p->c.pid;
}

int weft_subprocess_fd(const weft_subprocess *p)
{
    if (p == nullptr)
        return fail_with(EINVAL);
    return p->c.pidfd >= 0 ? p->c.pidfd : fail_with(ENOSYS);
}

// ---- Its streams ----

int weft_subprocess_communicate(weft_subprocess *p, const void *in, size_t n, weft_buffer *out,
                                weft_buffer *err, weft_deadline d)
{
    return p != nullptr ? streams_communicate(&p->s, in, n, out, err, d) : fail_with(EINVAL);
}

int weft_subprocess_stream(const weft_subprocess *p, int stream)
{
    return p != nullptr ? streams_fd(&p->s, stream) : fail_with(EINVAL);
}

ssize_t weft_subprocess_read(weft_subprocess *p, int stream, void *bytes, size_t n, weft_deadline d)
{
    return p != nullptr ? streams_read(&p->s, stream, bytes, n, d) : fail_with(EINVAL);
}

ssize_t weft_subprocess_write(weft_subprocess *p, const void *bytes, size_t n, weft_deadline d)
{
    return p != nullptr ? streams_write(&p->s, bytes, n, d) : fail_with(EINVAL);
}

int weft_subprocess_close(weft_subprocess *p, int stream)
{
    return p != nullptr ? streams_close_one(&p->s, stream) : fail_with(EINVAL);
}

// ---- All in one ----

void weft_subprocess_result_free(weft_subprocess_result *r)
{
    if (r == nullptr)
        return;
    weft_buffer_free(&r->out);
    weft_buffer_free(&r->err);
}

int weft_subprocess_run(const char *const argv[], const weft_subprocess_options *opts,
                        weft_subprocess_result *r, weft_deadline d)
{
    weft_subprocess_options o;
    weft_subprocess_result unwanted, *to = r != nullptr ? r : &unwanted;
    memset(to, 0, sizeof *to);
    if (run_options(&o, opts, d != WEFT_FOREVER) != 0)
        return -1;
    int64_t begun = weft_now();
    weft_subprocess *p = weft_subprocess_start(argv, &o);
    if (p == nullptr)
        return -1;
    int result = run_streams(&p->s, &o, to, begun, d);
    give_up(p);
    if (r == nullptr)
        weft_subprocess_result_free(&unwanted);
    return result;
}

const char *weft_stage_name(int stage)
{
    static const char *const names[] = {"none",    "prepare",  "streams",   "spawn",  "chdir",
                                        "session", "limits",   "setgroups", "setgid", "setuid",
                                        "parent",  "callback", "exec"};
    return stage >= 0 && stage <= WEFT_STAGE_EXEC ? names[stage] : "unknown";
}
