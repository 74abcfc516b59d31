// weft_subprocess_map: many commands, a few at a time, reported in order.
#include "children.h"

#include <proc/spawn.h>

using namespace weft;

enum { MOST = 64 };

struct seen {
    size_t reported, ended;
    int errors[MOST], statuses[MOST];
    char out[MOST][32], err[MOST][32];
    bool in_order, long_enough;
};

static void keep(char *to, const weft_buffer *b)
{
    snprintf(to, 32, "%s", b->data != NULL ? b->data : "(null)");
}

static void report(size_t i, const weft_subprocess_result *r, int error, void *arg)
{
    struct seen *s = (struct seen *)arg;
    s->in_order = s->in_order && i == s->reported;
    s->long_enough = s->long_enough && r->ns > 0 && (error != 0 || r->usage.ru_maxrss > 0);
    s->reported++;
    s->errors[i] = error;
    s->statuses[i] = r->status;
    keep(s->out[i], &r->out);
    keep(s->err[i], &r->err);
}

static void progress(size_t ended, size_t n, int64_t ns, void *arg)
{
    struct seen *s = (struct seen *)arg;
    s->in_order = s->in_order && ended == s->ended + 1 && ended <= n && ns > 0;
    s->ended = ended;
}

static weft_subprocess_batch batch(struct seen *s, int jobs)
{
    weft_subprocess_batch b;
    memset(&b, 0, sizeof b);
    memset(s, 0, sizeof *s);
    s->in_order = s->long_enough = true;
    b.jobs = jobs;
    b.report = report;
    b.progress = progress;
    b.arg = s;
    return b;
}

static void test_map_in_order(void **state)
{
    (void)state;
    struct seen s;
    struct script scripts[MOST];
    const char *const *argvs[MOST];
    char texts[MOST][64];
    for (int i = 0; i < MOST; i++) {
        snprintf(texts[i], sizeof texts[i], "%s echo %d; echo e%d >&2; exit %d",
                 i % 7 == 0 ? "sleep 0.03;" : "", i, i, i % 5);
        scripts[i] = sh(texts[i]);
        argvs[i] = scripts[i].argv;
    }
    weft_subprocess_options o = piped();
    o.err.kind = WEFT_STREAM_PIPE;
    for (int jobs = 0; jobs < 9; jobs += 4) {
        weft_subprocess_batch b = batch(&s, jobs);
        int before = open_descriptors();
        assert_int_equal(weft_subprocess_map(argvs, MOST, &o, &b, WEFT_FOREVER), MOST - 13);
        assert_int_equal(s.reported, MOST);
        assert_int_equal(s.ended, MOST);
        assert_true(s.in_order && s.long_enough);
        for (int i = 0; i < MOST; i++) {
            char expected[32];
            snprintf(expected, sizeof expected, "%d\n", i);
            assert_string_equal(s.out[i], expected);
            snprintf(expected, sizeof expected, "e%d\n", i);
            assert_string_equal(s.err[i], expected);
            assert_int_equal(s.errors[i], 0);
            assert_int_equal(weft_status_exited(s.statuses[i]), i % 5);
        }
        assert_int_equal(open_descriptors(), before);
        assert_true(no_children());
    }
}

static void test_map_errors(void **state)
{
    (void)state;
    struct seen s;
    struct script good = sh("true"), slow = sh("sleep 1000 & sleep 1000");
    const char *const none[] = {"/nonexistent", NULL};
    const char *const *argvs[] = {good.argv, none, NULL, slow.argv, good.argv};
    weft_subprocess_batch b = batch(&s, 2);
    weft_subprocess_options o = no_options();
    o.process_group = WEFT_GROUP_NEW;
    b.limit_ns = 2000000000;
    b.progress = NULL;
    assert_int_equal(weft_subprocess_map(argvs, 5, &o, &b, WEFT_FOREVER), 3);
    assert_int_equal(s.reported, 5);
    assert_int_equal(s.errors[0], 0);
    assert_int_equal(s.errors[1], ENOENT);
    assert_int_equal(s.errors[2], EINVAL);
    assert_int_equal(s.errors[3], ETIMEDOUT);
    assert_int_equal(weft_status_signal(s.statuses[3]), SIGKILL);
    assert_int_equal(s.errors[4], 0);
    assert_string_equal(s.out[0], "(null)");
    assert_true(no_children());
    assert_int_equal(weft_subprocess_map(NULL, 0, NULL, &b, WEFT_FOREVER), 0);
}

static void test_map_deadline(void **state)
{
    (void)state;
    struct seen s;
    struct script quick = sh("echo x"), slow = sh("exec sleep 1000");
    const char *const *argvs[] = {quick.argv, slow.argv, quick.argv, slow.argv};
    weft_subprocess_batch b = batch(&s, 4);
    weft_subprocess_options o = piped();
    int before = open_descriptors();
    assert_errno(weft_subprocess_map(argvs, 4, &o, &b, weft_in_ms(200)), ETIMEDOUT);
    assert_true(s.reported <= 1); // how far the quick ones got is the machine's affair
    assert_true(s.ended <= 2);
    assert_int_equal(open_descriptors(), before);
    assert_true(no_children());
}

// No descriptor is left for the output: an error of each command, not of the call.
static void test_map_out_of_descriptors(void **state)
{
    (void)state;
    struct seen s;
    struct script good = sh("true");
    const char *const *argvs[] = {good.argv, good.argv};
    weft_subprocess_options o = piped();
    weft_subprocess_batch b = batch(&s, 2);
    struct rlimit old, few;
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = (rlim_t)next;
    setrlimit(RLIMIT_NOFILE, &few);
    int failed = weft_subprocess_map(argvs, 2, &o, &b, WEFT_FOREVER);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(failed, 2);
    assert_int_equal(s.errors[0], EMFILE);
    assert_int_equal(s.errors[1], EMFILE);
}

// What a command opens again by its name in /dev is the same pipe: nothing is overwritten.
static void test_map_output_opened_again(void **state)
{
    (void)state;
    struct seen s;
    struct script one = sh("echo A; echo B >/dev/stderr; echo C; echo D >/dev/stdout");
    const char *const *argvs[] = {one.argv};
    weft_subprocess_options o = piped();
    o.err.kind = WEFT_STREAM_STDOUT;
    weft_subprocess_batch b = batch(&s, 1);
    assert_int_equal(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), 0);
    assert_string_equal(s.out[0], "A\nB\nC\nD\n");
    o.err.kind = WEFT_STREAM_PIPE;
    b = batch(&s, 1);
    assert_int_equal(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), 0);
    assert_string_equal(s.out[0], "A\nC\nD\n");
    assert_string_equal(s.err[0], "B\n");
}

static void count_good(size_t, const weft_subprocess_result *r, int error, void *arg)
{
    *(int *)arg += error == 0 && r->status == 0 && r->out.size == 3;
}

// Many commands end before their turn, with few descriptors; and there is no room for all that are
// wanted at once: both are waited out.
static void run_with_few_descriptors(int jobs)
{
    enum { COMMANDS = 300, FEW = 64 };
    int good = 0;
    struct script slow = sh("sleep 0.2; echo ok"), quick = sh("echo ok");
    static const char *const *argvs[COMMANDS];
    weft_subprocess_options o = piped();
    weft_subprocess_batch b = {};
    struct rlimit old, few;
    b.jobs = jobs;
    b.report = count_good;
    b.arg = &good;
    for (int i = 0; i < COMMANDS; i++)
        argvs[i] = i == 0 ? slow.argv : quick.argv;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = FEW;
    setrlimit(RLIMIT_NOFILE, &few);
    int failed = weft_subprocess_map(argvs, COMMANDS, &o, &b, WEFT_FOREVER);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(failed, 0);
    assert_int_equal(good, COMMANDS);
}

static void test_map_behind_a_slow_one(void **state)
{
    (void)state;
    run_with_few_descriptors(2);
}

static void test_map_waits_for_room(void **state)
{
    (void)state;
    run_with_few_descriptors(200);
}

static void test_map_large_output(void **state)
{
    (void)state;
    int good = 0;
    struct script large = sh("head -c 3000000 /dev/zero | tr '\\0' x");
    const char *const *argvs[] = {large.argv, large.argv, large.argv};
    weft_subprocess_options o = piped();
    weft_subprocess_batch b = {};
    b.jobs = 3;
    b.report = [](size_t, const weft_subprocess_result *r, int error, void *arg) {
        *(int *)arg += error == 0 && r->out.size == 3000000 && strlen(r->out.data) == 3000000;
    };
    b.arg = &good;
    assert_int_equal(weft_subprocess_map(argvs, 3, &o, &b, WEFT_FOREVER), 0);
    assert_int_equal(good, 3);
}

static void test_map_misuse(void **state)
{
    (void)state;
    struct seen s;
    struct script good = sh("true");
    const char *const *argvs[] = {good.argv};
    weft_subprocess_options o = no_options();
    weft_subprocess_batch b = batch(&s, -1);
    assert_errno(weft_subprocess_map(argvs, 1, &o, NULL, WEFT_FOREVER), EINVAL);
    assert_errno(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), EINVAL);
    b = batch(&s, 1);
    b.limit_ns = -1;
    assert_errno(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), EINVAL);
    b = batch(&s, 1);
    assert_errno(weft_subprocess_map(NULL, 1, &o, &b, WEFT_FOREVER), EINVAL);
    o.in.kind = WEFT_STREAM_PIPE;
    assert_errno(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), EINVAL);
    o.in.kind = WEFT_STREAM_INHERIT;
    b.report = NULL;
    assert_errno(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_map_in_order),
        TEST(test_map_errors),
        TEST(test_map_deadline),
        TEST(test_map_out_of_descriptors),
        TEST(test_map_misuse),
        TEST(test_map_output_opened_again),
        TEST(test_map_behind_a_slow_one),
        TEST(test_map_waits_for_room),
        TEST(test_map_large_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
