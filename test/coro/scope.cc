// Scopes and the watchdog.
#include "tasklets.h"

static weft_tasklet *spawn_in(weft_scope *s, void *(*fn)(void *), const void *arg = NULL)
{
    weft_tasklet_options o = {"child", 0, s, false, false, false};
    return weft_tasklet_spawn(fn, (void *)(uintptr_t)arg, &o);
}

static void *yield_and_note(void *arg)
{
    weft_tasklet_yield();
    note("done ");
    return arg;
}

static void *fail_after_a_yield(void *error)
{
    weft_tasklet_yield();
    errno = (int)(intptr_t)error;
    return WEFT_FAILED;
}

static weft_scope scope;

static void open_scope(void)
{
    assert_int_equal(weft_scope_open(&scope), 0);
}

CASE(test_scope_waits_for_its_children)
{
    open_scope();
    for (int i = 0; i < 3; i++)
        assert_non_null(spawn_in(&scope, yield_and_note));
    errno = 77;
    assert_int_equal(weft_scope_join(&scope, WEFT_FOREVER), 0);
    assert_int_equal(errno, 77);
    assert_noted("done done done ");
    assert_int_equal(weft_tasklet_count(), 0);
}

CASE(test_scope_without_children)
{
    open_scope();
    assert_int_equal(weft_scope_join(&scope, WEFT_NOW), 0);
    assert_errno(weft_scope_join(&scope, WEFT_NOW), EPERM);
    assert_errno(weft_scope_cancel(&scope), EPERM);
    assert_errno(weft_scope_open(NULL), EINVAL);
    assert_errno(weft_scope_join(NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_scope_cancel(NULL), EINVAL);
}

CASE(test_scope_first_failure_cancels_the_rest)
{
    open_scope();
    spawn_in(&scope, suspend_for_ever);
    spawn_in(&scope, fail_after_a_yield, V(EIO));
    spawn_in(&scope, suspend_for_ever);
    spawn_in(&scope, fail_after_a_yield, V(ENOENT));
    assert_errno(weft_scope_join(&scope, WEFT_FOREVER), EIO);
    assert_noted("ECANCELED ECANCELED ");
}

CASE(test_scope_cancel)
{
    open_scope();
    spawn_in(&scope, suspend_for_ever);
    weft_tasklet_yield();
    assert_int_equal(weft_scope_cancel(&scope), 0);
    assert_errno(spawn_in(&scope, suspend_for_ever), ECANCELED);
    assert_int_equal(weft_scope_join(&scope, WEFT_FOREVER), 0);
    assert_noted("ECANCELED ");
}

CASE(test_scope_deadline_cancels_the_children)
{
    for (int now = 0; now < 2; now++) {
        open_scope();
        spawn_in(&scope, suspend_for_ever);
        weft_tasklet_yield();
        assert_errno(weft_scope_join(&scope, now ? WEFT_NOW : weft_in_ms(1)), ETIMEDOUT);
        assert_noted("ECANCELED ");
    }
}

static void open_with_child(weft_scope *s)
{
    weft_scope_open(s);
    spawn_in(s, suspend_for_ever);
}

CASE(test_scope_owner_cancelled)
{
    weft_tasklet *t = spawn([](void *arg) {
        weft_scope s;
        open_with_child(&s);
        note_result(weft_scope_join(&s, WEFT_FOREVER), "closed");
        return arg;
    });
    weft_tasklet_yield();
    weft_tasklet_yield();
    cancel_and_join(t);
    assert_noted("ECANCELED ECANCELED ");
}

CASE(test_scope_child_cancelled_alone_is_no_failure)
{
    open_scope();
    weft_tasklet *t = spawn_in(&scope, suspend_for_ever);
    spawn_in(&scope, yield_and_note);
    weft_tasklet_cancel(t); // before it runs
    assert_int_equal(weft_scope_join(&scope, WEFT_FOREVER), 0);
    assert_noted("done ");
}

CASE(test_scopes_nest)
{
    weft_scope inner;
    open_scope();
    assert_int_equal(weft_scope_open(&inner), 0);
    spawn_in(&scope, suspend_for_ever);
    spawn_in(&inner, yield_and_note);
    assert_errno(weft_scope_join(&scope, WEFT_FOREVER), EBUSY);
    assert_int_equal(weft_scope_join(&inner, WEFT_FOREVER), 0);
    assert_noted("done ");
    weft_scope_cancel(&scope);
    assert_int_equal(weft_scope_join(&scope, WEFT_FOREVER), 0);
    assert_noted("ECANCELED ");
}

CASE(test_scope_left_open_cancels_its_children)
{
    weft_tasklet *t = spawn([](void *arg) {
        weft_scope s;
        open_with_child(&s);
        weft_tasklet_yield();
        return arg;
    });
    run_all("ECANCELED ");
    join(t);
}

static void *grow(void *arg)
{
    for (int i = 0; arg != NULL && i < 2; i++)
        spawn_in(&scope, grow, (char *)arg - 1);
    note("x");
    return NULL;
}

CASE(test_scope_children_spawn_more)
{
    open_scope();
    weft_tasklet *t = spawn_in(&scope, [](void *arg) {
        note_result(weft_scope_join(&scope, WEFT_FOREVER), "closed");
        return arg;
    });
    assert_errno(weft_tasklet_join(t, NULL, WEFT_NOW), EINVAL);
    spawn_in(&scope, grow, V(3));
    assert_int_equal(weft_scope_join(&scope, WEFT_FOREVER), 0);
    assert_noted("EPERM xxxxxxxxxxxxxxx");
}

// ---- The watchdog ----

static volatile sig_atomic_t reports;
static weft_tasklet *volatile reported;

static void report_and_cancel(weft_tasklet *hog, int64_t ns, void *)
{
    reported = hog;
    reports = reports + (ns >= 20000000);
    weft_tasklet_cancel(hog);
}

static void set_watchdog(int64_t limit_ns)
{
    reports = 0;
    assert_int_equal(
        weft_tasklet_watchdog(limit_ns, 0, limit_ns != 0 ? report_and_cancel : NULL, NULL), 0);
}

CASE(test_watchdog_reports_and_stops_a_hog)
{
    set_watchdog(20000000);
    weft_tasklet *t = spawn([](void *arg) {
        while (reports == 0) // nothing in here gives way
            if (RUNNER_SANITIZED)
                usleep(1); // TSan holds signals back until such a call
        note_result(weft_tasklet_yield(), "yielded");
        return arg;
    });
    assert_int_equal(weft_tasklet_join(t, NULL, WEFT_FOREVER), 0);
    assert_true(reported == t);
    assert_int_equal(reports, 1);
    assert_noted("ECANCELED ");
    set_watchdog(0);
}

CASE(test_watchdog_names_the_hog)
{
    weft_tasklet_options o = {"greedy", 0, NULL, true, false, false};
    move_stderr();
    int r = weft_tasklet_watchdog(5000000, SIGUSR2, NULL, NULL);
    weft_tasklet_spawn(
        [](void *arg) {
            char text[10];
            do {
                rewind(moved);
            } while (fread(text, 1, sizeof text, moved) < sizeof text);
            return arg;
        },
        NULL, &o);
    weft_tasklet_run();
    set_watchdog(0);
    const char *said = restore_stderr();
    assert_int_equal(r, 0);
    assert_non_null(strstr(said, "weft: tasklet \"greedy\" has held its thread for "));
}

CASE(test_watchdog_spares_who_yields_or_sleeps)
{
    set_watchdog(INT64_C(5000000000)); // which only a stall of the whole machine reaches
    for (int i = 0; i < 2; i++)
        spawn_detached([](void *arg) {
            for (int64_t end = weft_in_ms(60); weft_now() < end;)
                weft_tasklet_yield();
            return arg;
        });
    run_all();
    assert_int_equal(weft_tasklet_sleep(weft_in_ms(5)), 0);
    assert_int_equal(reports, 0);
    set_watchdog(0);
}

CASE(test_watchdog_checks_its_arguments)
{
    assert_errno(weft_tasklet_watchdog(-1, 0, NULL, NULL), EINVAL);
    assert_errno(weft_tasklet_watchdog(1000000, 9999, NULL, NULL), EINVAL);
    signal(SIGUSR1, [](int) {});
    assert_errno(weft_tasklet_watchdog(1000000, SIGUSR1, NULL, NULL), EBUSY);
    signal(SIGUSR1, SIG_DFL);
    set_watchdog(0);
}

RUN_CASES()
