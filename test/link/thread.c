/* A program against the installed threads: a queue between two threads, an executor. */
#include <weft/executor.h>
#include <weft/queue.h>
#include <weft/sync.h>
#include <weft/thread.h>

#include <stdio.h>

static void *put_numbers(void *arg)
{
    weft_queue *q = (weft_queue *)arg;
    for (int i = 1; i <= 100; i++)
        if (weft_queue_put(q, &i, WEFT_FOREVER) != 0)
            return NULL;
    weft_queue_close(q, WEFT_DRAIN);
    return arg;
}

static void *square(void *arg)
{
    int *n = (int *)arg;
    *n *= *n;
    return arg;
}

int main(void)
{
    weft_mutex m = WEFT_MUTEX_INIT;
    weft_queue *q = weft_queue_create(sizeof(int), 4, NULL);
    weft_thread *t = weft_thread_start(put_numbers, q, NULL);
    weft_executor *ex = weft_executor_create(2, NULL);
    int n, sum = 0, twelve = 12;
    void *result = NULL;

    while (weft_queue_get(q, &n, weft_in_s(30)) == 0) {
        weft_mutex_lock(&m, WEFT_FOREVER);
        sum += n;
        weft_mutex_unlock(&m);
    }
    if (weft_thread_join(t, &result, WEFT_FOREVER) != 0 || result != q || sum != 5050)
        return 1;
    if (weft_future_get(weft_executor_submit(ex, square, &twelve, WEFT_NOW), &result, weft_in_s(30)) != 0)
        return 1;
    weft_executor_destroy(ex);
    weft_queue_destroy(q);
    return twelve == 144 && result == &twelve ? 0 : 1;
}
