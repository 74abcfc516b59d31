/* What a user's shared object may look like: it stands on all archives, and who loads it knows none. */
#include <weft/weft.h>

#include <sys/wait.h>

int link_shared_run(void);

static void *count(void *arg)
{
    ++*(int *)arg;
    return arg;
}

static int count_apart(void *arg)
{
    return arg == NULL;
}

static void on_alarm(weft_alarm *a, void *arg)
{
    (void)a;
    count(arg);
}

static int in_io(void *arg)
{
    return weft_offload(count, arg, NULL, weft_in_s(30));
}

/* 0, or the number of the step that failed. */
int link_shared_run(void)
{
    const char *const argv[] = {"true", NULL};
    weft_deadline d = weft_in_s(60);
    int n = 0, status = 1;
    weft_thread *t = weft_thread_start(count, &n, NULL);
    weft_executor *ex = weft_executor_create(1, NULL);
    weft_tasklet *let;
    weft_subprocess *sub;
    weft_process *pro;
    weft_loop *l;
    weft_alarm a = {0};

    if (t == NULL || weft_thread_join(t, NULL, d) != 0)
        return 1;
    if (ex == NULL || weft_future_get(weft_executor_submit(ex, count, &n, WEFT_NOW), NULL, d) != 0 ||
        weft_executor_destroy(ex) != 0)
        return 2;
    let = weft_tasklet_spawn(count, &n, NULL);
    if (let == NULL || weft_tasklet_join(let, NULL, d) != 0)
        return 3;
    sub = weft_subprocess_start(argv, NULL);
    if (sub == NULL || weft_subprocess_join(sub, &status, d) != 0 || status != 0 || weft_subprocess_destroy(sub) != 0)
        return 4;
    pro = weft_process_start(count_apart, &n, NULL);
    if (pro == NULL || weft_process_join(pro, &status, d) != 0 || status != 0 || weft_process_destroy(pro) != 0)
        return 5;
    l = weft_loop_create(NULL);
    if (l == NULL || weft_loop_arm(l, &a, 0, on_alarm, &n, weft_in_ms(1)) != 0 ||
        weft_loop_run(l, WEFT_LOOP_ALL, d) != 0 || weft_loop_destroy(l) != 0)
        return 6;
    if (weft_io_run(in_io, &n) != 0)
        return 7;
    return n == 5 ? 0 : 8;
}
