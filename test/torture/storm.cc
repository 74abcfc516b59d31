// storm.cc: processes at work on one thing while others kill them at random; then the accounts.
//
// Each storm lasts TORTURE_SECONDS (60).  The queue's accounts are exact: every message has a
// number of its producer's and a bit for having been received.  A producer killed in a put
// leaves one number of which nobody knows whether it is in; a consumer killed leaves at most
// one message that it had got and not yet noted.  All else must be there, once and whole;
// in lease mode nothing may be lost at all, and what is seen twice was held by a dead one.
//
// The ring of three sem_t of broken_rings.h must hang.
#include "broken_rings.h"
#include "victim.h"

#include <weft/shared_queue.h>
#include <weft/shared_sync.h>

#include <sched.h>
#include <time.h>

enum { PRODUCERS = 3, CONSUMERS = 3, WORKERS = PRODUCERS + CONSUMERS };
static const uint64_t MOST = (uint64_t)1 << 28; // numbers a producer may use up
static const int64_t STALL = 3000000000;        // ns without any progress: it hangs

struct message {
    uint64_t producer, number, sum;
    char text[40];
};

struct world {
    // Of a producer: the next number, and whether it was told to begin past an unknown one.
    uint64_t next[PRODUCERS];
    uint64_t progress[8]; // of each kind of work
    uint64_t seen_twice, torn;
    uint32_t stop;
    uint32_t owner; // in the mutex
    uint32_t broken_rules;
    long left, right;
    weft_shared_mutex mutex;
    weft_shared_semaphore semaphore;
    weft_shared_condition condition;
    weft_shared_event event;
    weft_shared_barrier barrier;
    weft_shared_array array;
    char items[1024];
    struct sem_ring sems;
};

static weft_shm *segment;
static struct world *w;
static weft_shared_queue *queue;
static uint64_t *received[PRODUCERS], *unknown[PRODUCERS]; // bitmaps

static uint64_t load(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void count(uint64_t *p)
{
    __atomic_fetch_add(p, 1, __ATOMIC_SEQ_CST);
}

static bool stopping(void)
{
    return __atomic_load_n(&w->stop, __ATOMIC_RELAXED);
}

// ---- the queue's processes ----

static int produce(int i)
{
    struct message m = {};
    memset(m.text, 'x', sizeof m.text);
    for (uint64_t n; !stopping() && (n = load(&w->next[i])) < MOST;) {
        m.producer = (uint64_t)i;
        m.number = n;
        m.sum = n * 31 + m.producer;
        size_t size = sizeof m - n % 40;
        if (weft_shared_queue_put(queue, &m, size, WEFT_FOREVER) != 0)
            return 1;
        __atomic_store_n(&w->next[i], n + 1, __ATOMIC_SEQ_CST);
    }
    return 0;
}

static void note(const struct message *m, ssize_t size)
{
    bool whole = m->producer < PRODUCERS && m->number < MOST &&
                 m->sum == m->number * 31 + m->producer &&
                 size == (ssize_t)(sizeof *m - m->number % 40);
    for (ssize_t k = 24; whole && k < size; k++)
        whole = ((const char *)m)[k] == 'x';
    if (!whole) {
        count(&w->torn);
        return;
    }
    uint64_t bit = (uint64_t)1 << m->number % 64;
    uint64_t *word = &received[m->producer][m->number / 64];
    if (__atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST) & bit)
        count(&w->seen_twice);
    count(&w->progress[0]);
}

static int consume(int)
{
    struct message m;
    ssize_t n;
    while ((n = weft_shared_queue_get(queue, &m, sizeof m, WEFT_FOREVER)) >= 0)
        note(&m, n);
    return errno == EPIPE ? 0 : 1;
}

static int consume_leased(int)
{
    struct message m;
    weft_shared_lease l;
    ssize_t n;
    while ((n = weft_shared_queue_lease(queue, &m, sizeof m, &l, WEFT_FOREVER)) >= 0) {
        note(&m, n);
        if (weft_shared_queue_acknowledge(queue, &l) != 0)
            return 1;
    }
    return errno == EPIPE ? 0 : 2;
}

// ---- the sync objects' processes ----

static int lock_mutex(void)
{
    if (weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER) == 0)
        return 0;
    if (errno != EOWNERDEAD)
        return -1;
    w->right = w->left;
    return 0;
}

static void work_mutex(void)
{
    uint32_t self = (uint32_t)getpid();
    lock_mutex();
    __atomic_store_n(&w->owner, self, __ATOMIC_SEQ_CST);
    if (w->left != w->right)
        w->broken_rules++;
    w->left++;
    w->right++;
    if (__atomic_load_n(&w->owner, __ATOMIC_SEQ_CST) != self)
        w->broken_rules++;
    weft_shared_mutex_unlock(&w->mutex);
}

static void work_semaphore(void)
{
    if (weft_shared_semaphore_wait(&w->semaphore, WEFT_FOREVER) != 0)
        w->broken_rules++;
    sched_yield();
    if (weft_shared_semaphore_post(&w->semaphore) != 0)
        w->broken_rules++;
}

static void work_condition(unsigned dice)
{
    lock_mutex();
    if (dice % 3 == 0)
        weft_shared_condition_broadcast(&w->condition);
    else if (weft_shared_condition_wait(&w->condition, &w->mutex, weft_in_ms(3)) != 0 &&
             errno != ETIMEDOUT && errno != EOWNERDEAD)
        w->broken_rules++;
    w->right = w->left;
    weft_shared_mutex_unlock(&w->mutex);
}

static void work_event(unsigned dice)
{
    if (dice % 3 == 0)
        weft_shared_event_set(&w->event);
    else if (dice % 3 == 1)
        weft_shared_event_clear(&w->event);
    else
        weft_shared_event_wait(&w->event, weft_in_ms(3));
}

static void work_barrier(void)
{
    if (weft_shared_barrier_wait(&w->barrier, weft_in_ms(10)) < 0 && errno != ETIMEDOUT)
        weft_shared_barrier_reset(&w->barrier);
}

static void work_array(unsigned dice)
{
    uint64_t item[16];
    if (dice % 2) {
        for (uint64_t &each : item)
            each = dice;
        weft_shared_array_set(&w->array, dice % 4, item);
        return;
    }
    weft_shared_array_get(&w->array, dice / 2 % 4, item);
    for (uint64_t each : item)
        if (each != item[0])
            count(&w->torn);
}

static void work_heap(unsigned dice)
{
    size_t n = 1 + dice % 900;
    unsigned char *p = (unsigned char *)weft_shm_allocate(segment, n);
    if (p == nullptr)
        return; // the dead have leaked it all
    memset(p, (int)dice, n);
    sched_yield();
    for (size_t i = 0; i < n; i++)
        if (p[i] != (unsigned char)dice)
            count(&w->torn);
    weft_shm_free(segment, p);
}

static int work(int)
{
    unsigned seed = (unsigned)getpid();
    while (!stopping()) {
        unsigned dice = (unsigned)rand_r(&seed), kind = dice % 7;
        dice /= 7;
        switch (kind) {
        case 0:
            work_mutex();
            break;
        case 1:
            work_semaphore();
            break;
        case 2:
            work_condition(dice);
            break;
        case 3:
            work_event(dice);
            break;
        case 4:
            work_barrier();
            break;
        case 5:
            work_array(dice);
            break;
        case 6:
            work_heap(dice);
            break;
        }
        count(&w->progress[kind]);
    }
    return 0;
}

// ---- the control ----

static int abuse_sem_ring(int i)
{
    while (!stopping()) {
        if (i < PRODUCERS)
            sem_ring_put(&w->sems, 1);
        else
            sem_ring_get(&w->sems);
        count(&w->progress[0]);
    }
    return 0;
}

// ---- a storm ----

struct storm {
    const char *name;
    int (*role[WORKERS])(int i);
    int kinds;  // of progress that must go on
    bool hangs; // must
};

static pid_t alive[WORKERS];

static void launch(const struct storm *s, int i)
{
    pid_t p = fork();
    if (p == 0) {
        alarm(600);
        _exit(s->role[i](i));
    }
    alive[i] = p;
}

struct outcome {
    int kills[WORKERS], failed;
    uint64_t unknown; // numbers of which nobody knows
    double worst;     // seconds without progress of some kind
    bool hung;
};

struct watch {
    uint64_t seen[8];
    int64_t since[8];
};

static void look(const struct storm *s, struct watch *t, struct outcome *o)
{
    for (int k = 0; k < s->kinds; k++) {
        uint64_t n = load(&w->progress[k]);
        int64_t stood = weft_now() - t->since[k];
        if (n == t->seen[k]) {
            o->hung |= stood > STALL;
            continue;
        }
        if ((double)stood / 1e9 > o->worst)
            o->worst = (double)stood / 1e9;
        t->seen[k] = n;
        t->since[k] = weft_now();
    }
}

static void kill_one(const struct storm *s, int i, struct outcome *o)
{
    if (alive[i] <= 0) // -1, a fork that failed, would be everybody
        return;
    kill(alive[i], SIGKILL);
    int status;
    waitpid(alive[i], &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        o->failed++;
    o->kills[i]++;
    if (i < PRODUCERS && queue != nullptr) { // its number may be in or not: nobody uses it again
        uint64_t n = w->next[i]++;
        unknown[i][n / 64] |= (uint64_t)1 << n % 64;
        o->unknown++;
    }
    launch(s, i);
}

static struct outcome rage(const struct storm *s, int seconds)
{
    struct outcome o = {};
    struct watch t = {};
    unsigned seed = (unsigned)time(nullptr);
    for (int64_t &each : t.since)
        each = weft_now();
    for (int i = 0; i < WORKERS; i++)
        launch(s, i);
    for (weft_deadline end = weft_in_s(seconds); weft_left(end) > 0 && !o.hung;) {
        usleep((unsigned)rand_r(&seed) % 4000);
        kill_one(s, (int)((unsigned)rand_r(&seed) % WORKERS), &o);
        look(s, &t, &o);
    }
    return o;
}

// Those that are left come to their end.
static void calm(struct outcome *o)
{
    __atomic_store_n(&w->stop, 1, __ATOMIC_SEQ_CST);
    weft_deadline d = weft_in_s(10);
    for (int i = 0; i < WORKERS; i++) {
        if (i == PRODUCERS && queue != nullptr)
            weft_shared_queue_close(queue, WEFT_DRAIN);
        int n = o->hung ? -2 : end_by(alive[i], d);
        if (n == -2)
            finish(alive[i]);
        if (n != 0 && !o->hung) {
            fprintf(stderr, "worker %d ended with %d\n", i, n);
            o->failed++;
        }
    }
}

static int sum_of(const int *kills, int from, int to)
{
    int n = 0;
    for (int i = from; i < to; i++)
        n += kills[i];
    return n;
}

static void report(const struct storm *s, const struct outcome *o)
{
    uint64_t n = 0;
    for (int k = 0; k < s->kinds; k++)
        n += load(&w->progress[k]);
    printf("%s: %llu done, %d kills, longest stall %.0f ms", s->name, (unsigned long long)n,
           sum_of(o->kills, 0, WORKERS), o->worst * 1e3);
}

static int seconds_each(void)
{
    const char *text = getenv("TORTURE_SECONDS");
    int n = text != nullptr ? atoi(text) : 60;
    return n > 0 ? n : 1;
}

// ---- the storms ----

static int queue_storm(bool leases)
{
    struct storm s = {leases ? "queue, leases" : "queue", {}, 1, false};
    for (int i = 0; i < WORKERS; i++)
        s.role[i] = i < PRODUCERS ? produce : leases ? consume_leased : consume;
    weft_shm_options lazy = {};
    lazy.lazy = true;
    weft_shm *bits[PRODUCERS];
    for (int i = 0; i < PRODUCERS; i++) {
        bits[i] = weft_shm_create(nullptr, MOST / 4, &lazy);
        received[i] = (uint64_t *)weft_shm_address(bits[i]);
        unknown[i] = received[i] + MOST / 64;
    }
    weft_shared_queue_options o = {};
    o.leases = leases;
    queue = weft_shared_queue_create(segment, 4096, &o);
    memset((void *)w, 0, sizeof *w);
    struct outcome end = rage(&s, seconds_each());
    calm(&end);

    uint64_t missing = 0;
    for (int i = 0; i < PRODUCERS; i++)
        for (uint64_t n = 0; n < w->next[i]; n++)
            missing += !((received[i][n / 64] | unknown[i][n / 64]) >> n % 64 & 1);
    uint64_t consumers = (uint64_t)sum_of(end.kills, PRODUCERS, WORKERS);
    // Of what was put for certain, only what dead consumers had got.
    uint64_t may_miss = leases ? 0 : consumers;
    uint64_t may_double = leases ? consumers : 0;
    bool held = !end.hung && end.failed == 0 && w->torn == 0 && missing <= may_miss &&
                w->seen_twice <= may_double;
    report(&s, &end);
    printf(", torn %llu, lost %llu (at most %llu), twice %llu (at most %llu)%s%s\n",
           (unsigned long long)w->torn, (unsigned long long)missing, (unsigned long long)may_miss,
           (unsigned long long)w->seen_twice, (unsigned long long)may_double,
           end.hung ? ", HUNG" : "", held ? "" : "  FAILED");
    weft_shared_queue_destroy(queue);
    queue = nullptr;
    for (weft_shm *each : bits)
        weft_shm_detach(each);
    return held ? 0 : 1;
}

static int sync_storm(void)
{
    struct storm s = {
        "mutex, semaphore, condition, event, barrier, array, allocator", {}, 7, false};
    for (auto &each : s.role)
        each = work;
    memset((void *)w, 0, sizeof *w);
    weft_shared_mutex_init(&w->mutex, 0);
    weft_shared_semaphore_init(&w->semaphore, 2, 2);
    weft_shared_condition_init(&w->condition);
    weft_shared_event_init(&w->event);
    weft_shared_barrier_init(&w->barrier, 2);
    weft_shared_array_init(&w->array, 4, 128);
    struct outcome end = rage(&s, seconds_each());
    calm(&end);
    uint32_t units = weft_shared_semaphore_value(&w->semaphore);
    bool held = !end.hung && end.failed == 0 && w->torn == 0 && w->broken_rules == 0 && units == 2;
    report(&s, &end);
    printf(", torn %llu, rules broken %u, units back %u of 2%s%s\n", (unsigned long long)w->torn,
           w->broken_rules, units, end.hung ? ", HUNG" : "", held ? "" : "  FAILED");
    return held ? 0 : 1;
}

static int control_storm(void)
{
    struct storm s = {"control: sem_t ring", {}, 1, true};
    for (auto &each : s.role)
        each = abuse_sem_ring;
    memset((void *)w, 0, sizeof *w);
    sem_ring_init(&w->sems);
    // It ends when it hangs; on a busy machine that can take a while.
    struct outcome end = rage(&s, seconds_each() < 60 ? 60 : seconds_each());
    calm(&end);
    report(&s, &end);
    printf("%s\n", end.hung ? ", hung as it must" : ", held: this storm proves nothing  FAILED");
    return end.hung ? 0 : 1;
}

int main(void)
{
    int descriptors = open_descriptors();
    setvbuf(stdout, nullptr, _IOLBF, 0);
    segment = weft_shm_create(nullptr, 64 << 20, nullptr);
    w = (struct world *)weft_shm_allocate(segment, sizeof *w);
    int bad = queue_storm(false) + queue_storm(true) + sync_storm() + control_storm();
    weft_shm_detach(segment);
    if (waitpid(-1, nullptr, WNOHANG) != -1 || open_descriptors() != descriptors) {
        fprintf(stderr, "left behind: a child or a descriptor\n");
        bad++;
    }
    return bad != 0;
}
