/* A program against the installed coroutines: a generator, and errno where it is due. */
#include <weft/coro.h>
#include <weft/generator.h>

#include <errno.h>

static int count_to(weft_generator *g, void *arg)
{
    for (int i = 1; i <= *(int *)arg; i++)
        if (weft_generator_yield(g, &i) != 0)
            return -1;
    return 0;
}

static void *add(void *arg, void *first)
{
    int *sum = (int *)arg;
    for (int *n = (int *)first; n != NULL && n != WEFT_FAILED; n = (int *)weft_coro_yield(sum))
        *sum += *n;
    return sum;
}

int main(void)
{
    int n = 10, item, sum = 0;
    weft_generator *g = weft_generator_create(count_to, &n, sizeof item, NULL);
    weft_coro *co = weft_coro_create(add, &sum, NULL);

    while (weft_generator_next(g, &item) == 1)
        if (weft_coro_resume(co, &item) != &sum)
            return 1;
    if (weft_coro_resume(co, NULL) != &sum || weft_coro_state(co) != WEFT_CORO_DEAD)
        return 1;
    if (weft_coro_yield(NULL) != WEFT_FAILED || errno != EPERM)
        return 1;
    return weft_coro_destroy(co) != 0 || weft_generator_destroy(g) != 0 || sum != 55;
}
