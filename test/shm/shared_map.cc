// A hash map between processes, some of which die at work in it.
#include "../runner.h"
#include "processes.h"

#include <weft/shared_map.h>
#include <weft/shm.h>
#include <weft/thread.h>

#include <errno.h>
#include <sys/mman.h>

static weft_shm *segment;
static weft_shared_map *map;
static char value[256];

static void begin(size_t entries, size_t key_size, size_t value_size)
{
    size_t n = weft_shared_map_bytes(entries, key_size, value_size);
    assert_true(n != 0);
    segment = weft_shm_create(nullptr, n + 4096, nullptr);
    map = (weft_shared_map *)weft_shm_allocate(segment, n);
    assert_int_equal(weft_shared_map_init(map, entries, key_size, value_size), 0);
}

static void end(void)
{
    weft_shm_detach(segment);
}

static int set(const char *key, const char *to)
{
    return weft_shared_map_set(map, key, strlen(key), to, strlen(to), WEFT_FOREVER);
}

static void is(const char *key, const char *expected)
{
    ssize_t n = weft_shared_map_get(map, key, strlen(key), value, sizeof value);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(value, expected, (size_t)n);
}

static int get(const char *key, size_t room)
{
    return (int)weft_shared_map_get(map, key, strlen(key), value, room);
}

CASE(test_set_get_remove)
{
    begin(3, 16, 32);
    assert_errno(get("left", 32), ENOENT);
    assert_int_equal(set("left", "12"), 0);
    assert_int_equal(set("right", ""), 0);
    assert_int_equal(set("", "the empty key"), 0);
    is("left", "12");
    is("right", "");
    is("", "the empty key");
    assert_int_equal(weft_shared_map_count(map), 3);
    assert_errno(set("one too many", "x"), ENOSPC);
    assert_int_equal(set("left", "thirty-two bytes, not one more.."), 0); // also when it is full
    is("left", "thirty-two bytes, not one more..");
    assert_errno(get("left", 31), EMSGSIZE);
    assert_errno(set("left", "thirty-two bytes, and one more..."), EMSGSIZE);
    assert_errno(set("seventeen bytes..", "x"), EMSGSIZE);
    assert_errno(get("seventeen bytes..", 32), ENOENT);
    assert_errno(weft_shared_map_add(map, "left", 4, "x", 1, WEFT_NOW), EEXIST);
    assert_int_equal(weft_shared_map_remove(map, "right", 5, WEFT_NOW), 0);
    assert_errno(weft_shared_map_remove(map, "right", 5, WEFT_NOW), ENOENT);
    assert_errno(weft_shared_map_remove(map, "seventeen bytes..", 17, WEFT_NOW), ENOENT);
    assert_int_equal(weft_shared_map_add(map, "right", 5, "x", 1, WEFT_NOW), 0);
    is("right", "x");
    end();
}

CASE(test_bad_sizes)
{
    const size_t huge = (size_t)1 << 31;
    assert_int_equal(weft_shared_map_bytes(0, 1, 1), 0);
    assert_int_equal(weft_shared_map_bytes((size_t)1 << 24, 1, 1), 0);
    assert_int_equal(weft_shared_map_bytes(1, huge, 1), 0);
    assert_int_equal(weft_shared_map_bytes(1, 1, huge), 0);
    begin(1, 0, 0);
    assert_errno(weft_shared_map_init(map, 0, 0, 0), EINVAL);
    assert_int_equal(set("", ""), 0);
    is("", "");
    end();
}

// ---- against a model ----

enum { KEYS = 120, MOST = 90 };

CASE(test_as_the_model)
{
    int model[KEYS], count = 0;
    memset(model, -1, sizeof model);
    begin(MOST, 8, 200);
    srand(11);
    for (int i = 0; i < 300000; i++) {
        int key = rand() % KEYS, to = rand() % 200;
        if (rand() % 3 != 0) {
            memset(value, to, (size_t)to);
            int n = weft_shared_map_set(map, &key, sizeof key, value, (size_t)to, WEFT_NOW);
            bool fits = model[key] >= 0 || count < MOST;
            assert_int_equal(n, fits ? 0 : -1);
            count += fits && model[key] < 0;
            model[key] = fits ? to : model[key];
        } else {
            int n = weft_shared_map_remove(map, &key, sizeof key, WEFT_NOW);
            assert_int_equal(n, model[key] >= 0 ? 0 : -1);
            count -= model[key] >= 0;
            model[key] = -1;
        }
        key = rand() % KEYS;
        ssize_t n = weft_shared_map_get(map, &key, sizeof key, value, sizeof value);
        assert_int_equal(n, model[key]);
        for (ssize_t k = 0; k < n; k++)
            assert_int_equal((unsigned char)value[k], n);
        assert_int_equal(weft_shared_map_count(map), count);
    }
    // All of them, once each.
    uint64_t cursor = 0;
    int key, seen = 0;
    for (weft_shared_map_entry e;
         e = {&key, value, sizeof key, sizeof value}, weft_shared_map_next(map, &cursor, &e);
         seen++) {
        assert_int_equal(e.key_size, sizeof key);
        assert_int_equal(e.value_size, model[key]);
        model[key] = -2;
    }
    assert_int_equal(seen, count);
    end();
}

// ---- many at once ----

static bool stop; // by threads; processes are killed

// Keys 0 to 9 are always there, the others come and go.
static int write_at_random(void *seed_of)
{
    unsigned seed = (unsigned)(uintptr_t)seed_of;
    char to[128];
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        uint32_t key = (uint32_t)rand_r(&seed) % 40;
        size_t n = 8 + (size_t)rand_r(&seed) % 120;
        memset(to, (int)n, n);
        if (key < 10 || rand_r(&seed) % 2)
            weft_shared_map_set(map, &key, sizeof key, to, n, WEFT_FOREVER);
        else
            weft_shared_map_remove(map, &key, sizeof key, WEFT_FOREVER);
    }
    return 0;
}

static void fill(void)
{
    for (uint32_t key = 0; key < 10; key++)
        weft_shared_map_set(map, &key, sizeof key, "\1", 1, WEFT_FOREVER);
}

// 0, or what was wrong with a key.
static int read_one(uint32_t key)
{
    char to[128];
    ssize_t n = weft_shared_map_get(map, &key, sizeof key, to, sizeof to);
    if (n < 0)
        return errno != ENOENT || key < 10 ? 1 : 0; // it was missed
    for (ssize_t i = 0; i < n; i++)
        if (to[i] != (char)n)
            return 2; // torn
    return 0;
}

static void *write_in_thread(void *arg)
{
    write_at_random(arg);
    return nullptr;
}

CASE(test_readers_beside_writing_threads)
{
    begin(40, 4, 128);
    fill();
    __atomic_store_n(&stop, false, __ATOMIC_RELAXED);
    weft_thread *t[2];
    for (uintptr_t i = 0; i < 2; i++)
        t[i] = weft_thread_start(write_in_thread, (void *)i, nullptr);
    for (uint32_t i = 0; i < 300000; i++)
        assert_int_equal(read_one(i % 40), 0);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (weft_thread *each : t)
        assert_int_equal(weft_thread_join(each, nullptr, WEFT_FOREVER), 0);
    end();
}

CASE(test_writers_are_killed)
{
    enum { WRITERS = 3, KILLS = 400 };
    begin(40, 4, 128);
    fill();
    __atomic_store_n(&stop, false, __ATOMIC_RELAXED);
    pid_t p[WRITERS];
    for (uintptr_t i = 0; i < WRITERS; i++)
        p[i] = child_of(write_at_random, (void *)i);
    for (uintptr_t i = 0; i < KILLS; i++) {
        for (uint32_t key = 0; key < 40; key++)
            assert_int_equal(read_one(key), 0);
        kill_and_reap(p[i % WRITERS]);
        p[i % WRITERS] = child_of(write_at_random, (void *)(i + WRITERS));
    }
    for (pid_t each : p)
        kill_and_reap(each);
    // All its room is there.
    for (uint32_t key = 0; key < 40; key++) {
        assert_int_equal(weft_shared_map_set(map, &key, sizeof key, "\1", 1, WEFT_FOREVER), 0);
        assert_int_equal(read_one(key), 0);
    }
    assert_int_equal(weft_shared_map_count(map), 40);
    end();
}

// Readers go on beside a writer that is stopped, wherever that is.
CASE(test_readers_do_not_wait)
{
    begin(40, 4, 128);
    fill();
    for (uintptr_t i = 0; i < 100; i++) {
        pid_t p = child_of(write_at_random, (void *)i);
        usleep((useconds_t)(i * 31 % 500));
        kill(p, SIGSTOP);
        int status;
        assert_int_equal(waitpid(p, &status, WUNTRACED), p);
        for (uint32_t key = 0; key < 40; key++)
            assert_int_equal(read_one(key), 0);
        kill_and_reap(p);
    }
    end();
}

// They only read.
CASE(test_get_from_memory_that_can_only_be_read)
{
    begin(10, 16, 16);
    assert_int_equal(set("key", "value"), 0);
    size_t n = weft_shm_size(segment);
    assert_int_equal(mprotect(weft_shm_address(segment), n, PROT_READ), 0);
    is("key", "value");
    assert_errno(get("other", 16), ENOENT);
    assert_int_equal(mprotect(weft_shm_address(segment), n, PROT_READ | PROT_WRITE), 0);
    end();
}

RUN_CASES(census_begin, census_end)
