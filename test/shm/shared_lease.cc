// Leases: slow ones stop nothing, full rings of one's own are told, and they end in time.
#include "../runner.h"
#include "processes.h"

#include <weft/shared_queue.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>

static weft_shared_queue *q;
static char text[256];

static void begin(size_t bytes, int64_t lease_ms)
{
    weft_shared_queue_options o = {};
    o.leases = true;
    o.lease_ns = lease_ms * 1000000;
    q = weft_shared_queue_create(nullptr, bytes, &o);
    assert_non_null(q);
}

static void end(void)
{
    assert_int_equal(weft_shared_queue_destroy(q), 0);
}

static int put(const char *what)
{
    return weft_shared_queue_put(q, what, strlen(what), WEFT_NOW);
}

// Leases the next message, which is `what`.
static weft_shared_lease lease(const char *what, weft_deadline d)
{
    weft_shared_lease l = {};
    ssize_t n = weft_shared_queue_lease(q, text, sizeof text, &l, d);
    assert_int_equal(n, strlen(what));
    assert_memory_equal(text, what, (size_t)n);
    return l;
}

static void quick_ones(int n)
{
    for (int i = 0; i < n; i++) {
        char what[32];
        snprintf(what, sizeof what, "quick %d", i);
        assert_int_equal(put(what), 0);
        assert_int_equal(weft_shared_queue_length(q), 1);
        weft_shared_lease l = lease(what, WEFT_NOW);
        assert_int_equal(weft_shared_queue_acknowledge(q, &l), 0);
        assert_int_equal(weft_shared_queue_length(q), 0);
    }
}

CASE(test_slow_lease_stops_nothing)
{
    begin(256, 0);
    assert_int_equal(put("slow"), 0);
    weft_shared_lease slow = lease("slow", WEFT_NOW);
    quick_ones(1000);
    assert_errno(weft_shared_queue_join(q, WEFT_NOW), ETIMEDOUT);
    // It comes back from wherever it is by now, before what was put later.
    assert_int_equal(put("later"), 0);
    assert_int_equal(weft_shared_queue_give_back(q, &slow), 0);
    assert_int_equal(weft_shared_queue_length(q), 2);
    assert_errno(weft_shared_queue_acknowledge(q, &slow), ESTALE);
    slow = lease("slow", WEFT_NOW);
    assert_int_equal(slow.deliveries, 2);
    weft_shared_lease later = lease("later", WEFT_NOW);
    quick_ones(1000);
    assert_int_equal(weft_shared_queue_acknowledge(q, &later), 0);
    assert_int_equal(weft_shared_queue_acknowledge(q, &slow), 0);
    assert_int_equal(weft_shared_queue_join(q, WEFT_NOW), 0);
    end();
}

static int lease_and_pause(void *)
{
    weft_shared_lease l;
    return weft_shared_queue_lease(q, text, sizeof text, &l, WEFT_FOREVER) < 0 ? 1 : pause();
}

CASE(test_moved_lease_comes_back_from_the_dead)
{
    begin(256, 0);
    assert_int_equal(put("slow"), 0);
    pid_t p = child_of(lease_and_pause, nullptr);
    while (weft_shared_queue_length(q) != 0)
        usleep(200);
    quick_ones(100);
    kill_and_reap(p);
    weft_shared_lease l = lease("slow", weft_in_s(20));
    assert_int_equal(l.deliveries, 2);
    assert_int_equal(weft_shared_queue_acknowledge(q, &l), 0);
    end();
}

static int put_into_the_full(void *)
{
    return put("more") == -1 ? errno : 0;
}

CASE(test_full_of_own_leases)
{
    begin(256, 0);
    weft_shared_lease l = {};
    int n = 0;
    for (; put("mine") == 0; n++)
        l = lease("mine", WEFT_NOW);
    assert_int_equal(errno, EDEADLK);
    assert_true(n > 3);
    assert_errno(weft_shared_queue_put(q, "more", 4, WEFT_FOREVER), EDEADLK);
    // It is none for others, nor if one that waits is among them.
    assert_int_equal(end_of(child_of(put_into_the_full, nullptr)), ETIMEDOUT);
    assert_int_equal(weft_shared_queue_give_back(q, &l), 0);
    assert_errno(put("more"), ETIMEDOUT);
    l = lease("mine", WEFT_NOW);
    assert_int_equal(weft_shared_queue_acknowledge(q, &l), 0);
    assert_int_equal(put("more"), 0);
    weft_shared_queue_close(q, WEFT_DISCARD);
    end();
}

CASE(test_time_limit)
{
    begin(256, 20);
    assert_int_equal(put("late"), 0);
    weft_shared_lease first = lease("late", WEFT_NOW);
    weft_shared_lease second = lease("late", weft_in_s(20)); // while its holder lives
    assert_int_equal(second.deliveries, 2);
    assert_errno(weft_shared_queue_acknowledge(q, &first), ESTALE);
    assert_errno(weft_shared_queue_extend(q, &first, WEFT_FOREVER), ESTALE);
    assert_int_equal(weft_shared_queue_extend(q, &second, WEFT_FOREVER), 0);
    weft_shared_lease third;
    assert_errno(weft_shared_queue_lease(q, text, sizeof text, &third, weft_in_ms(150)), ETIMEDOUT);
    assert_int_equal(weft_shared_queue_extend(q, &second, WEFT_NOW), 0);
    third = lease("late", WEFT_NOW);
    assert_int_equal(weft_shared_queue_acknowledge(q, &third), 0);
    end();
}

static int lease_it_and_die(void *)
{
    weft_shared_lease l;
    return weft_shared_queue_lease(q, text, sizeof text, &l, WEFT_FOREVER) < 0
               ? 1
               : kill(getpid(), SIGKILL);
}

// Polls until a lease can be had.
static weft_shared_lease lease_by_polling(const char *what, int fd)
{
    weft_shared_lease l;
    struct pollfd p = {fd, POLLIN, 0};
    while (weft_shared_queue_lease(q, text, sizeof text, &l, WEFT_NOW) < 0) {
        assert_int_equal(errno, ETIMEDOUT);
        assert_int_equal(poll(&p, 1, 20000), 1);
    }
    assert_memory_equal(text, what, strlen(what));
    return l;
}

// Who only polls the descriptor gets what comes back, with the dead or in time.
CASE(test_descriptor_tells_of_what_comes_back)
{
    begin(256, 30);
    int fd = weft_shared_queue_fd(q);
    assert_true(fd >= 0);
    assert_int_equal(put("x"), 0);
    assert_int_equal(end_of(child_of(lease_it_and_die, nullptr)), 256 + SIGKILL);
    weft_shared_lease l = lease_by_polling("x", fd);
    assert_int_equal(l.deliveries, 2);
    l = lease_by_polling("x", fd); // the time of the lease before is over
    assert_int_equal(l.deliveries, 3);
    assert_int_equal(weft_shared_queue_acknowledge(q, &l), 0);
    end();
}

CASE(test_errors)
{
    weft_shared_queue_options o = {};
    o.leases = true;
    o.lease_ns = -1;
    assert_errno(weft_shared_queue_create(nullptr, 64, &o), EINVAL);
    o.lease_ns = 0;
    assert_errno(weft_shared_queue_create(nullptr, ((size_t)1 << 31) + 1, &o), EINVAL);
    weft_shared_lease none = {};
    q = weft_shared_queue_create(nullptr, 64, nullptr);
    assert_errno(weft_shared_queue_extend(q, &none, WEFT_FOREVER), EINVAL);
    end();
}

// ---- against a model ----

enum { MOST = 64 };
static struct kept {
    char what[200];
    size_t n;
    int leases; // how often it was leased
    bool out;
    weft_shared_lease lease;
} kept[MOST]; // in the order of their puts
static int count;
static unsigned serial;

static void forget(int i)
{
    count--;
    memmove(&kept[i], &kept[i + 1], (size_t)(count - i) * sizeof kept[0]);
}

static size_t live(void)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += weft_shared_queue_cost(kept[i].n, true);
    return bytes;
}

static void model_put(void)
{
    struct kept *k = &kept[count];
    bool all_out = true;
    for (int i = 0; i < count; i++)
        all_out = all_out && kept[i].out;
    *k = {};
    k->n = (size_t)(rand() % 150);
    memset(k->what, (int)('a' + serial++ % 26), k->n);
    bool fits = live() + weft_shared_queue_cost(k->n, true) <= 1024;
    int result = weft_shared_queue_put(q, k->what, k->n, WEFT_NOW);
    if (!fits)
        assert_int_equal(errno, all_out ? EDEADLK : ETIMEDOUT);
    // What has come back, and nobody takes, may keep others from moving.
    assert_true(result == 0 ? fits : !fits || errno == ETIMEDOUT);
    count += result == 0;
}

static void model_lease(void)
{
    weft_shared_lease l;
    ssize_t n = weft_shared_queue_lease(q, text, sizeof text, &l, WEFT_NOW);
    int which = -1;
    bool old = false, fresh = false;
    for (int i = count; i-- > 0;) {
        old = old || (!kept[i].out && kept[i].leases != 0);
        if (kept[i].out || kept[i].n != (size_t)n || memcmp(kept[i].what, text, (size_t)n) != 0)
            continue;
        if (kept[i].leases + 1 == (int)l.deliveries)
            which = i;
    }
    for (int i = 0; i < count; i++)
        fresh = fresh || !kept[i].out;
    assert_int_equal(n >= 0, fresh);
    if (n < 0)
        return;
    assert_true(which >= 0);
    assert_true(!old || l.deliveries > 1); // what has come back goes first
    for (int i = 0; l.deliveries == 1 && i < which; i++)
        assert_true(kept[i].out || kept[i].leases != 0 || kept[i].n == (size_t)n);
    kept[which].leases++;
    kept[which].out = true;
    kept[which].lease = l;
}

static void model_end_one(void)
{
    int i = count != 0 ? rand() % count : 0;
    if (count == 0 || !kept[i].out)
        return;
    if (rand() % 4 == 0) {
        assert_int_equal(weft_shared_queue_give_back(q, &kept[i].lease), 0);
        kept[i].out = false;
    } else {
        assert_int_equal(weft_shared_queue_acknowledge(q, &kept[i].lease), 0);
        forget(i);
    }
}

CASE(test_as_the_model)
{
    begin(1024, 0);
    srand(7);
    for (int i = 0; i < 200000; i++) {
        int which = rand() % 3;
        if (which == 0)
            model_put();
        else if (which == 1)
            model_lease();
        else
            model_end_one();
        int waiting = 0;
        for (int k = 0; k < count; k++)
            waiting += !kept[k].out;
        assert_int_equal(weft_shared_queue_length(q), waiting);
    }
    weft_shared_queue_close(q, WEFT_DISCARD);
    for (int i = 0; i < count; i++)
        if (kept[i].out)
            assert_int_equal(weft_shared_queue_acknowledge(q, &kept[i].lease), 0);
    assert_int_equal(weft_shared_queue_join(q, WEFT_NOW), 0);
    end();
}

RUN_CASES(census_begin, census_end)
