/* A program against the installed manager: a server, a child that works from a queue, a lock. */
#include <weft/manager.h>
#include <weft/remote.h>

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int add_numbers(weft_client *c)
{
    weft_remote_queue *numbers = weft_remote_queue_open(c, "numbers", 8);
    weft_remote_lock *lock = weft_remote_lock_open(c, "sum", 0);
    weft_remote_value *sum = weft_remote_value_open(c, "sum");
    weft_deadline d = weft_in_s(60);
    int64_t is;
    int n;
    while (weft_remote_queue_get(numbers, &n, sizeof n, d) == (ssize_t)sizeof n) {
        if (weft_remote_lock_lock(lock, NULL, d) != 0 ||
            weft_remote_value_get(sum, &is, d) != 0 ||
            weft_remote_value_set(sum, is + n, d) != 0 || weft_remote_lock_unlock(lock, d) != 0)
            return 1;
    }
    return 0;
}

int main(void)
{
    char address[64];
    weft_deadline d = weft_in_s(60);
    weft_manager *m;
    weft_client *c;
    weft_remote_queue *numbers;
    weft_remote_value *sum;
    int64_t is = 0;
    int i, status, failed = 0;

    snprintf(address, sizeof address, "unix:@weft-link-%d", (int)getpid());
    m = weft_manager_start(address, NULL);
    if (m == NULL)
        return 1;
    c = weft_client_connect(weft_manager_address(m), NULL, d);
    if (c == NULL)
        return 1;
    numbers = weft_remote_queue_open(c, "numbers", 8);
    sum = weft_remote_value_open(c, "sum");
    for (i = 0; i < 2; i++)
        if (fork() == 0)
            _exit(add_numbers(c));
    for (i = 1; i <= 100; i++)
        if (weft_remote_queue_put(numbers, &i, sizeof i, d) != 0)
            return 1;
    weft_remote_queue_close(numbers, WEFT_DRAIN, d);
    while (wait(&status) > 0)
        failed |= status;
    weft_remote_value_get(sum, &is, d);
    printf("the sum is %ld\n", (long)is);
    weft_remote_destroy(numbers);
    weft_remote_destroy(sum);
    weft_client_destroy(c);
    weft_manager_destroy(m);
    return failed == 0 && is == 5050 ? 0 : 1;
}
