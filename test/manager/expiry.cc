// expiry.cc: keys expire when the wall clock says so, whatever it does: it is the test's own here.
#include "inside.h"

#include <sys/syscall.h>

using namespace weft;

enum { KEYS = 300, POKE = KEYS };

static int64_t clock_ms;

extern "C" int clock_gettime(clockid_t id, struct timespec *t) noexcept
{
    if (id != CLOCK_REALTIME)
        return (int)syscall(SYS_clock_gettime, id, t);
    *t = {(time_t)(clock_ms / 1000), (long)(clock_ms % 1000 * 1000000)};
    return 0;
}

// Has the server look, since no alarm sees this clock, and waits until it has.
static void look(void)
{
    key_expire_at(&inside, 0, inside_set(POKE), 1);
    while (inside.works != NULL)
        inside_round();
    assert_null(inside_find(POKE));
}

static int64_t any(int64_t below)
{
    return below > 0 ? (int64_t)(((uint64_t)random() << 31 | (uint64_t)random()) % (uint64_t)below)
                     : 0;
}

// Of any size: each has as many bits as each other.
static int64_t any_size(int bits)
{
    return any((int64_t)1 << any(bits));
}

CASE(test_wheel_is_as_a_list)
{
    int64_t at[KEYS]; // -1: it does not expire
    bool is_there[KEYS] = {};
    srandom(17);
    clock_ms = 1700000000000;
    inside_open();
    for (int round = 0; round < 3000; round++) {
        for (int n = (int)any(20); n > 0; n--) {
            int i = (int)any(KEYS);
            entry **link = is_there[i] ? inside_find(i) : inside_set(i);
            assert_non_null(link);
            if (!is_there[i])
                at[i] = -1;
            is_there[i] = true;
            switch (any(8)) {
            case 0:
                key_persist(&inside, 0, link);
                at[i] = -1;
                break;
            case 1:
                key_remove(&inside, 0, link);
                is_there[i] = false;
                break;
            default:
                at[i] = clock_ms + 1 + any_size(any(40) == 0 ? 62 : 42);
                key_expire_at(&inside, 0, link, at[i]);
            }
        }
        if (any(10) == 0)
            clock_ms -= any(2) == 0 ? any_size(12) : any(clock_ms / 2);
        else
            clock_ms += any_size(any(10) == 0 ? 38 : 12);
        look();
        size_t count = 0, expiring = 0;
        for (int i = 0; i < KEYS; i++) {
            is_there[i] = is_there[i] && (at[i] < 0 || at[i] > clock_ms);
            assert_int_equal(inside_find(i) != NULL, is_there[i]);
            count += is_there[i];
            expiring += is_there[i] && at[i] >= 0;
        }
        assert_int_equal(inside.keys[0].count, count);
        assert_int_equal(inside.expiring[0], expiring);
    }
    inside_close();
}

// By its alarm, which is set for the first of them.
CASE(test_alarm)
{
    clock_ms = 1700000000000;
    inside_open();
    weft_deadline began = weft_now();
    key_expire_at(&inside, 0, inside_set(1), clock_ms + 100000);
    key_expire_at(&inside, 0, inside_set(2), clock_ms + 70);
    key_expire_at(&inside, 0, inside_set(3), clock_ms + 30);
    clock_ms += 30;
    while (inside.keys[0].count == 3)
        inside_round();
    assert_true(weft_now() - began >= 30000000);
    assert_null(inside_find(3));
    clock_ms += 40;
    while (inside.keys[0].count == 2)
        inside_round();
    assert_null(inside_find(2));
    assert_non_null(inside_find(1));
    inside_close();
}

// What is set aside is not taken for a new key of the same name.
CASE(test_flushed_keys_expire_nowhere)
{
    clock_ms = 1700000000000;
    inside_open();
    for (int i = 0; i < KEYS; i++)
        key_expire_at(&inside, 0, inside_set(i), clock_ms + 10);
    key_flush(&inside, 0);
    assert_int_equal(inside.keys[0].count + inside.expiring[0], 0);
    for (int i = 0; i < KEYS; i++)
        inside_set(i);
    clock_ms += 20;
    look();
    assert_int_equal(inside.keys[0].count, KEYS);
    assert_int_equal(inside.expired, 1); // look's own
    inside_close();
}

RUN_CASES()
