// Scopes and the watchdog.
#include <weft/channel.h>
#include <weft/coro.h>
#include <weft/tasklet.h>

#include "../runner.h"

#include <errno.h>
#include <stdio.h>

static char trace[256];

static void note(const char *what)
{
    strncat(trace, what, sizeof trace - strlen(trace) - 1);
}

static weft_tasklet *spawn_in(weft_scope *scope, void *(*fn)(void *), void *arg)
{
    weft_tasklet_options o = {"child", 0, scope, false, false, false};
    return weft_tasklet_spawn(fn, arg, &o);
}

static void *yield_and_note(void *arg)
{
    weft_tasklet_yield();
    note("done ");
    return arg;
}

static void *wait_for_ever(void *arg)
{
    if (weft_tasklet_suspend(WEFT_FOREVER) == 0)
        return arg;
    note(errno == ECANCELED ? "cancelled " : "other ");
    return WEFT_FAILED;
}

static void *fail_after_a_yield(void *error)
{
    weft_tasklet_yield();
    errno = (int)(intptr_t)error;
    return WEFT_FAILED;
}

static void opens(weft_scope *s)
{
    trace[0] = 0;
    assert_int_equal(weft_scope_open(s), 0);
}

CASE(test_scope_waits_for_its_children)
{
    weft_scope s;
    opens(&s);
    for (int i = 0; i < 3; i++)
        assert_non_null(spawn_in(&s, yield_and_note, NULL));
    errno = 77;
    assert_int_equal(weft_scope_close(&s, WEFT_FOREVER), 0);
    assert_int_equal(errno, 77);
    assert_string_equal(trace, "done done done ");
    assert_int_equal(weft_tasklet_count(), 0);
}

CASE(test_scope_without_children)
{
    weft_scope s;
    assert_int_equal(weft_scope_open(&s), 0);
    assert_int_equal(weft_scope_close(&s, WEFT_NOW), 0);
    assert_errno(weft_scope_close(&s, WEFT_NOW), EPERM);
    assert_errno(weft_scope_cancel(&s), EPERM);
    assert_errno(weft_scope_open(NULL), EINVAL);
    assert_errno(weft_scope_close(NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_scope_cancel(NULL), EINVAL);
}

CASE(test_scope_first_failure_cancels_the_rest)
{
    weft_scope s;
    opens(&s);
    spawn_in(&s, wait_for_ever, NULL);
    spawn_in(&s, fail_after_a_yield, (void *)EIO);
    spawn_in(&s, wait_for_ever, NULL);
    spawn_in(&s, fail_after_a_yield, (void *)ENOENT);
    assert_errno(weft_scope_close(&s, WEFT_FOREVER), EIO);
    assert_string_equal(trace, "cancelled cancelled ");
}

CASE(test_scope_cancel)
{
    weft_scope s;
    opens(&s);
    spawn_in(&s, wait_for_ever, NULL);
    weft_tasklet_yield();
    assert_int_equal(weft_scope_cancel(&s), 0);
    assert_errno(spawn_in(&s, wait_for_ever, NULL), ECANCELED);
    assert_int_equal(weft_scope_close(&s, WEFT_FOREVER), 0);
    assert_string_equal(trace, "cancelled ");
}

CASE(test_scope_deadline_cancels_the_children)
{
    weft_scope s;
    opens(&s);
    spawn_in(&s, wait_for_ever, NULL);
    weft_tasklet_yield();
    assert_errno(weft_scope_close(&s, weft_in_ms(1)), ETIMEDOUT);
    assert_string_equal(trace, "cancelled ");
    assert_int_equal(weft_scope_open(&s), 0);
    spawn_in(&s, wait_for_ever, NULL);
    weft_tasklet_yield();
    assert_errno(weft_scope_close(&s, WEFT_NOW), ETIMEDOUT);
    assert_string_equal(trace, "cancelled cancelled ");
}

static void *open_and_close(void *arg)
{
    weft_scope s;
    weft_scope_open(&s);
    spawn_in(&s, wait_for_ever, NULL);
    int r = weft_scope_close(&s, WEFT_FOREVER);
    note(r == -1 && errno == ECANCELED ? "owner " : "wrong ");
    return arg;
}

CASE(test_scope_owner_cancelled)
{
    trace[0] = 0;
    weft_tasklet *t = weft_tasklet_spawn(open_and_close, NULL, NULL);
    weft_tasklet_yield();
    weft_tasklet_yield();
    assert_int_equal(weft_tasklet_cancel(t), 0);
    assert_int_equal(weft_tasklet_join(t, NULL, WEFT_FOREVER), 0);
    assert_string_equal(trace, "cancelled owner ");
}

CASE(test_scope_child_cancelled_alone_is_no_failure)
{
    weft_scope s;
    opens(&s);
    weft_tasklet *t = spawn_in(&s, wait_for_ever, NULL);
    spawn_in(&s, yield_and_note, NULL);
    weft_tasklet_cancel(t); // before it runs
    assert_int_equal(weft_scope_close(&s, WEFT_FOREVER), 0);
    assert_string_equal(trace, "done ");
}

CASE(test_scopes_nest)
{
    weft_scope outer, inner;
    trace[0] = 0;
    assert_int_equal(weft_scope_open(&outer), 0);
    assert_int_equal(weft_scope_open(&inner), 0);
    spawn_in(&outer, wait_for_ever, NULL);
    spawn_in(&inner, yield_and_note, NULL);
    assert_errno(weft_scope_close(&outer, WEFT_FOREVER), EBUSY);
    assert_int_equal(weft_scope_close(&inner, WEFT_FOREVER), 0);
    assert_string_equal(trace, "done ");
    weft_scope_cancel(&outer);
    assert_int_equal(weft_scope_close(&outer, WEFT_FOREVER), 0);
}

static void *open_and_leave(void *arg)
{
    weft_scope s;
    weft_scope_open(&s);
    spawn_in(&s, wait_for_ever, NULL);
    weft_tasklet_yield();
    return arg;
}

CASE(test_scope_left_open_cancels_its_children)
{
    trace[0] = 0;
    weft_tasklet *t = weft_tasklet_spawn(open_and_leave, NULL, NULL);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_int_equal(weft_tasklet_join(t, NULL, WEFT_NOW), 0);
    assert_string_equal(trace, "cancelled ");
}

static weft_scope *shared;

static void *grow(void *arg)
{
    intptr_t n = (intptr_t)arg;
    for (intptr_t i = 0; n > 0 && i < 2; i++)
        spawn_in(shared, grow, (void *)(n - 1));
    note("x");
    return NULL;
}

static void *close_foreign(void *arg)
{
    note(weft_scope_close(shared, WEFT_FOREVER) == -1 && errno == EPERM ? "refused " : "wrong ");
    return arg;
}

CASE(test_scope_children_spawn_more)
{
    weft_scope s;
    shared = &s;
    opens(&s);
    weft_tasklet *t = spawn_in(&s, close_foreign, NULL);
    assert_errno(weft_tasklet_join(t, NULL, WEFT_NOW), EINVAL);
    spawn_in(&s, grow, (void *)3);
    assert_int_equal(weft_scope_close(&s, WEFT_FOREVER), 0);
    assert_string_equal(trace, "refused xxxxxxxxxxxxxxx");
}

// ---- The watchdog ----

static volatile sig_atomic_t reports;
static weft_tasklet *volatile reported;

static void report_and_cancel(weft_tasklet *hog, int64_t ns)
{
    reported = hog;
    reports = reports + (ns >= 20000000);
    weft_tasklet_cancel(hog);
}

static void *hog_until_reported(void *arg)
{
    while (reports == 0) // nothing in here gives way
        if (RUNNER_SANITIZED)
            usleep(1); // TSan holds signals back until such a call
    note(weft_tasklet_yield() == -1 && errno == ECANCELED ? "stopped " : "wrong ");
    return arg;
}

CASE(test_watchdog_reports_and_stops_a_hog)
{
    trace[0] = 0;
    reports = 0;
    assert_int_equal(weft_tasklet_watchdog(20000000, 0, report_and_cancel), 0);
    weft_tasklet *t = weft_tasklet_spawn(hog_until_reported, NULL, NULL);
    assert_int_equal(weft_tasklet_join(t, NULL, WEFT_FOREVER), 0);
    assert_true(reported == t);
    assert_int_equal(reports, 1);
    assert_string_equal(trace, "stopped ");
    assert_int_equal(weft_tasklet_watchdog(0, 0, NULL), 0);
}

static void *hog_until_written(void *arg)
{
    FILE *f = (FILE *)arg;
    char text[200];
    do {
        rewind(f);
    } while (fread(text, 1, 10, f) < 10);
    return NULL;
}

CASE(test_watchdog_names_the_hog)
{
    char text[200] = "";
    weft_tasklet_options o = {"greedy", 0, NULL, true, false, false};
    FILE *f = tmpfile();
    assert_non_null(f);
    int old = dup(STDERR_FILENO);
    dup2(fileno(f), STDERR_FILENO);
    int r = weft_tasklet_watchdog(5000000, SIGUSR2, NULL);
    weft_tasklet_spawn(hog_until_written, f, &o);
    weft_tasklet_run();
    weft_tasklet_watchdog(0, 0, NULL);
    dup2(old, STDERR_FILENO);
    close(old);
    rewind(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    assert_int_equal(r, 0);
    assert_non_null(strstr(text, "weft: tasklet \"greedy\" has held its thread for "));
}

static void *yield_for_a_while(void *arg)
{
    for (int64_t end = weft_in_ms(60); weft_now() < end;)
        weft_tasklet_yield();
    return arg;
}

CASE(test_watchdog_spares_who_yields_or_sleeps)
{
    weft_tasklet_options o = {"good", 0, NULL, true, false, false};
    reports = 0;
    // A limit that only a stall of the whole machine reaches.
    assert_int_equal(weft_tasklet_watchdog(INT64_C(5000000000), 0, report_and_cancel), 0);
    weft_tasklet_spawn(yield_for_a_while, NULL, &o);
    weft_tasklet_spawn(yield_for_a_while, NULL, &o);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_int_equal(weft_tasklet_sleep(weft_in_ms(5)), 0);
    assert_int_equal(reports, 0);
    assert_int_equal(weft_tasklet_watchdog(0, 0, NULL), 0);
}

static void some_handler(int sig)
{
    (void)sig;
}

CASE(test_watchdog_checks_its_arguments)
{
    assert_errno(weft_tasklet_watchdog(-1, 0, NULL), EINVAL);
    assert_errno(weft_tasklet_watchdog(1000000, 9999, NULL), EINVAL);
    signal(SIGUSR1, some_handler);
    assert_errno(weft_tasklet_watchdog(1000000, SIGUSR1, NULL), EBUSY);
    signal(SIGUSR1, SIG_DFL);
    assert_int_equal(weft_tasklet_watchdog(0, 0, NULL), 0);
}

RUN_CASES()
