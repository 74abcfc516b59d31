/* A program for weft 0.1, which isn't to be mended by hand: test/lint/translate makes one for 0.2 of it.
 * In comments, too, it is weft_subprocess_wait that becomes another name. */
#include <weft/executor.h>
#include <weft/loop.h>
# include <weft/manager.h> /* that was the client, too */
#include <weft/pool.h>
#include <weft/process.h>
#include <weft/shm.h>
#include <weft/subprocess.h>
#include <weft/sync.h>
#include <weft/tasklet.h>
#include <weft/thread.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SECONDS(n) weft_in_ms((n) * 1000)
#define SUBMIT(ex, fn, arg) weft_executor_submit(ex, fn, arg)
#define ATTACH(name) \
    weft_shm_attach(name, SECONDS(1))
#define WAIT weft_subprocess_wait

static int calls, callback_arg; /* no field of weft's */

static void *work(void *arg)
{
    calls++;
    callback_arg++;
    return arg;
}

static void called(void *arg)
{
    (void)arg;
    calls++;
}

static int work_apart(const void *arg, size_t n, void *result, size_t room)
{
    (void)arg, (void)n, (void)result, (void)room;
    return 0;
}

static int sleepy(void *arg)
{
    (void)arg;
    return weft_thread_sleep(SECONDS(30));
}

/* The name of a step is a string with one of weft's in it. */
static int fails(const char *step)
{
    perror(step);
    return strcmp(step, "weft_subprocess_wait") == 0;
}

int main(void)
{
    const char *const argv[] = {"true", NULL};
    weft_executor *ex = weft_executor_create(1, NULL);
    weft_future *f = SUBMIT(ex, work, NULL), *g = weft_executor_submit(ex, work, NULL), at;
    weft_pool_statistics pools;
    weft_loop_statistics loops;
    weft_loop *l;
    weft_watch w = {0};
    weft_pool *p;
    weft_barrier both;
    weft_client *nobody = NULL;
    weft_process *child;
    weft_result *r;
    weft_subprocess *s = weft_subprocess_start(argv, NULL);
    weft_subprocess_options o = {.grace_ms = 1 + 2, .cpus_count = 0, .callback_arg = NULL};
    int status;

    if (weft_future_get(f, NULL, SECONDS(9)) != 0 || weft_future_get(g, NULL, SECONDS(9)) != 0)
        return 1;
    /* A call in a call, a comment (with "a quote) between, and one over two lines. */
    if (weft_executor_submit_at(ex, &at, work, /* isn't, it */ weft_future_result(f = weft_executor_submit(ex,
            work, NULL))) != 0 || weft_future_get(&at, NULL, SECONDS(9)) != 0 || weft_future_get(f, NULL, SECONDS(9)) != 0)
        return 2;
    if (weft_executor_shutdown(ex, WEFT_DRAIN, SECONDS(9)) != 0 || calls != 4)
        return 3;
    weft_executor_destroy(ex, WEFT_DRAIN);

    if (WAIT(s, &status, SECONDS(9)) != 0 || status != 0 || weft_subprocess_destroy(s) != 0)
        return fails("weft_subprocess_wait") ? 5 : 4;
    o.grace_ms = status;
    s = weft_subprocess_start(argv, &o);
    if (s == NULL || (weft_subprocess_stop)(s, NULL, WEFT_NOW, WEFT_NOW, SECONDS(9)) != 0)
        return 6;
    weft_subprocess_destroy(s);

    child = weft_process_start(sleepy, NULL, NULL);
    if (!weft_process_is_alive(child) || weft_process_kill(child) != 0 ||
        weft_process_join(child, NULL, SECONDS(9)) != 0 || weft_process_is_alive(child))
        return 7;
    weft_process_destroy(child);

    p = weft_pool_create(1, &(weft_pool_options){.initialiser_arg = NULL});
    r = weft_pool_apply_async(p, work_apart, NULL, 0, 0);
    if (weft_result_get(r, NULL, SECONDS(9)) != 0 || weft_pool_stat(p, &pools) != 0 || pools.done != 1)
        return 8;
    weft_pool_close(p), weft_pool_join(p, SECONDS(9)), weft_pool_destroy(p);

    errno = 0;
    if (ATTACH("/weft-nobody's") != NULL || weft_shm_attach_version("/weft-nobody's", 3, WEFT_NOW) != NULL)
        return 9;
    weft_timer_join(weft_timer_start(called, NULL, weft_in_ms(1)), SECONDS(9));
    if (calls != 5 || weft_barrier_init(&both, 1, 0) != 0 || weft_client_destroy(nobody) != 0)
        return 10;

    l = weft_loop_create(NULL);
    if (weft_loop_stats(l, &loops) != 0 || weft_watch_stop(&w) == 0)
        return 11;
    weft_loop_destroy(l);
    return callback_arg == 4 ? 0 : 12;
}
