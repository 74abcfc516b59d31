/* A program against the installed shared memory: a queue and a lock between two processes. */
#include <weft/shared_queue.h>
#include <weft/shared_sync.h>
#include <weft/shm.h>
#include <weft/status.h>

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct shared {
    weft_shared_mutex lock;
    weft_shared_value sum;
};

static int add_numbers(weft_shared_queue *q, struct shared *w)
{
    int n;
    while (weft_shared_queue_get(q, &n, sizeof n, WEFT_FOREVER) == (ssize_t)sizeof n) {
        weft_shared_mutex_lock(&w->lock, WEFT_FOREVER);
        weft_shared_value_set(&w->sum, weft_shared_value_get(&w->sum) + n);
        weft_shared_mutex_unlock(&w->lock);
    }
    return 0;
}

int main(void)
{
    weft_shm *s = weft_shm_create(NULL, 1 << 16, NULL);
    struct shared *w;
    weft_shared_queue *q;
    int i;

    if (s == NULL)
        return 1;
    w = (struct shared *)weft_shm_allocate(s, sizeof *w);
    q = weft_shared_queue_create(s, 1024, NULL);
    if (w == NULL || q == NULL || weft_shared_mutex_init(&w->lock, 0) != 0)
        return 1;
    weft_shared_value_set(&w->sum, 0);
    for (i = 0; i < 2; i++)
        if (fork() == 0)
            _exit(add_numbers(q, w));
    for (i = 1; i <= 100; i++)
        if (weft_shared_queue_put(q, &i, sizeof i, WEFT_FOREVER) != 0)
            return 1;
    weft_shared_queue_close(q, WEFT_DRAIN);
    while (wait(&i) > 0)
        if (weft_status_code(i) != 0)
            return 1;
    printf("the sum is %ld\n", (long)weft_shared_value_get(&w->sum));
    i = weft_shared_value_get(&w->sum) == 5050 ? 0 : 1;
    weft_shared_queue_destroy(q);
    weft_shm_detach(s);
    return i;
}
