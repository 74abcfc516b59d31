// pool_storm.cc: random kills of two pools' workers while they work, with exact accounts.
//
// One pool retries: nothing may be lost.  The other doesn't: nothing may run twice, and what is
// lost is as much as the statistics say.  Now and then a third pool's supervisor is killed.
// TORTURE_SECONDS (60): how long.
#include <weft/pool.h>
#include <weft/thread.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TASKS = 400, ITEMS = 4000 };

static struct shared {
    uint8_t runs[2][ITEMS]; // of each pool's tasks, or items
} * shared;

static int stop;
static long kills, wrong;
static uint64_t lost[2], tasks;

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition) && wrong++ < 20)                                                          \
            printf("line %d: %s\n", __LINE__, #condition);                                         \
    } while (0)

struct task {
    int pool, number, work;
};

static int work(const void *arg, size_t, void *result, size_t)
{
    const task *t = (const task *)arg;
    __atomic_fetch_add(&shared->runs[t->pool][t->number], 1, __ATOMIC_SEQ_CST);
    for (volatile int i = 0; i < t->work; i++)
        ;
    *(int *)result = t->number * 3;
    return 0;
}

static void *kill_workers(void *arg)
{
    weft_pool **pools = (weft_pool **)arg;
    unsigned seed = (unsigned)weft_now();
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        unsigned dice = (unsigned)rand_r(&seed);
        pid_t p = weft_pool_worker(pools[dice & 1], (int)(dice >> 1) % 3, nullptr);
        kills += p > 0 && kill(p, SIGKILL) == 0;
        usleep((dice >> 8) % 1500);
    }
    return nullptr;
}

static void judge(int pool, int number, int error, int value)
{
    int runs = shared->runs[pool][number];
    EXPECT(error == 0 || (pool == 1 && error == ECHILD));
    EXPECT(error != 0 || (runs >= 1 && value == number * 3));
    EXPECT(pool == 0 || runs <= 1);
    lost[pool] += error == ECHILD;
    tasks++;
}

static void run_tasks(weft_pool **pools)
{
    static weft_result *r[2][TASKS];
    memset(shared, 0, sizeof *shared);
    for (int i = 0; i < TASKS; i++)
        for (int k = 0; k < 2; k++) {
            task t = {k, i, i % 7 == 0 ? 20000 : 50};
            r[k][i] = weft_pool_apply_async(pools[k], work, &t, sizeof t, sizeof(int), WEFT_NOW);
            EXPECT(r[k][i] != nullptr);
        }
    for (int i = 0; i < TASKS; i++)
        for (int k = 0; k < 2; k++) {
            int value = 0, error = weft_result_get(r[k][i], &value, weft_in_s(20)) == 0 ? 0 : errno;
            judge(k, i, error, value);
        }
}

static void run_map(weft_pool *p, int k)
{
    static task items[ITEMS];
    static int values[ITEMS];
    static weft_outcome outcomes[ITEMS];
    weft_pool_map_options o = {};
    o.outcomes = outcomes;
    memset(shared, 0, sizeof *shared);
    for (int i = 0; i < ITEMS; i++)
        items[i] = {k, i, 300};
    weft_pool_map(p, work, items, sizeof *items, ITEMS, values, sizeof *values, &o, weft_in_s(20));
    for (int i = 0; i < ITEMS; i++)
        judge(k, i, outcomes[i].error, values[i]);
}

static void lose_a_supervisor(void)
{
    weft_pool_counters s;
    weft_pool *p = weft_pool_create(2, nullptr);
    task t = {0, 0, 100000000};
    weft_result *r = weft_pool_apply_async(p, work, &t, sizeof t, sizeof(int), WEFT_NOW);
    weft_pool_statistics(p, &s);
    kill(s.supervisor, SIGKILL);
    EXPECT(weft_result_get(r, nullptr, weft_in_s(1)) != 0 && errno == EPIPE);
    EXPECT(weft_pool_join(p, weft_in_s(1)) != 0 && errno == EPIPE);
    EXPECT(weft_pool_destroy(p) == 0);
}

int main(void)
{
    const char *given = getenv("TORTURE_SECONDS");
    weft_deadline end = weft_in_s(given != nullptr ? atol(given) : 60);
    weft_pool_options retrying = {}, plain = {};
    weft_pool *pools[2];
    weft_pool_counters s[2];
    shared = (struct shared *)mmap(nullptr, sizeof *shared, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    retrying.retries = 1000000;
    pools[0] = weft_pool_create(3, &retrying);
    pools[1] = weft_pool_create(3, &plain);
    weft_thread *killer = weft_thread_start(kill_workers, pools, nullptr);
    for (int round = 0; weft_left(end) != 0; round++) {
        run_tasks(pools);
        run_map(pools[round % 2], round % 2);
        if (round % 50 == 0)
            lose_a_supervisor();
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    weft_thread_join(killer, nullptr, WEFT_FOREVER);
    for (int k = 0; k < 2; k++) {
        weft_pool_close(pools[k]);
        EXPECT(weft_pool_join(pools[k], weft_in_s(5)) == 0);
        weft_pool_statistics(pools[k], &s[k]);
        EXPECT(s[k].lost == lost[k]);
        EXPECT(k == 1 || s[k].lost == 0);
        EXPECT(weft_pool_destroy(pools[k]) == 0);
    }
    EXPECT(waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD);
    printf("%ld kills, %llu tasks, %llu retried, %llu lost without retries, %ld wrong\n", kills,
           (unsigned long long)tasks, (unsigned long long)s[0].retried, (unsigned long long)lost[1],
           wrong);
    return wrong != 0;
}
