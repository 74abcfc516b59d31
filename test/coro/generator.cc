// Generators: next, send, throw, close, delegation, misuse.
#include <weft/generator.h>

#include "../runner.h"

#include <errno.h>
#include <pthread.h>

#define V(n) ((void *)(intptr_t)(n))

static int upto(weft_generator *g, void *arg)
{
    for (int i = 0; i < (int)(intptr_t)arg; i++)
        if (weft_generator_yield(g, &i) != 0)
            return errno;
    return 0;
}

CASE(test_next_until_exhausted)
{
    int item = -1;
    weft_generator *g = weft_generator_create(upto, V(3), sizeof(int), NULL);
    errno = 4;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weft_generator_next(g, &item), 1);
        assert_int_equal(item, i);
        assert_int_equal(weft_generator_done(g), 0);
    }
    assert_int_equal(weft_generator_next(g, &item), 0);
    assert_int_equal(weft_generator_next(g, &item), 0);
    assert_int_equal(item, 2);
    assert_int_equal(weft_generator_done(g), 1);
    assert_int_equal(weft_generator_destroy(g), 0);
    assert_int_equal(errno, 4);
}

typedef struct {
    size_t size;
    int fine;
} sized;

static int fill(weft_generator *g, void *arg)
{
    unsigned char item[300];
    const sized *s = (const sized *)arg;
    for (int round = 0; round < 2; round++) {
        memset(item, 'a' + round, s->size);
        if (weft_generator_yield(g, s->size != 0 ? item : NULL) != 0)
            return errno;
    }
    return 0;
}

CASE(test_items_of_every_size)
{
    const size_t sizes[] = {0, 1, 3, 4, 7, 8, 16, 300};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        sized s = {sizes[i], 0};
        unsigned char item[301];
        weft_generator *g = weft_generator_create(fill, &s, s.size, NULL);
        for (int round = 0; round < 2; round++) {
            memset(item, 'z', sizeof item);
            assert_int_equal(weft_generator_next(g, item), 1);
            for (size_t k = 0; k < s.size; k++)
                assert_int_equal(item[k], 'a' + round);
            assert_int_equal(item[s.size], 'z');
        }
        assert_int_equal(weft_generator_next(g, item), 0);
        weft_generator_destroy(g);
    }
}

CASE(test_next_without_a_place_drops_the_item)
{
    int item = 0;
    weft_generator *g = weft_generator_create(upto, V(2), sizeof(int), NULL);
    assert_int_equal(weft_generator_next(g, NULL), 1);
    assert_int_equal(weft_generator_next(g, &item), 1);
    assert_int_equal(item, 1);
    weft_generator_destroy(g);
}

static int fails(weft_generator *g, void *arg)
{
    int i = 1;
    weft_generator_yield(g, &i);
    if (arg != NULL)
        return (int)(intptr_t)arg;
    errno = ENOSPC;
    return -1;
}

CASE(test_next_reports_the_failure_once)
{
    int item = 0;
    weft_generator *g = weft_generator_create(fails, V(EIO), sizeof(int), NULL);
    assert_int_equal(weft_generator_next(g, &item), 1);
    assert_int_equal(weft_generator_next(g, &item), -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(weft_generator_next(g, &item), 0);
    weft_generator_destroy(g);
    g = weft_generator_create(fails, NULL, sizeof(int), NULL);
    assert_int_equal(weft_generator_next(g, &item), 1);
    assert_int_equal(weft_generator_next(g, &item), -1);
    assert_int_equal(errno, ENOSPC);
    weft_generator_destroy(g);
}

// ---- send ----

static int averages(weft_generator *g, void *arg)
{
    double sum = 0, average = 0;
    (void)arg;
    for (int n = 1;; n++) {
        if (weft_generator_yield(g, &average) != 0)
            return 0;
        const double *sent = (const double *)weft_generator_sent(g);
        if (sent == NULL)
            return 0;
        sum += *sent;
        average = sum / n;
    }
}

CASE(test_send_reaches_the_yield)
{
    double x = 10, average = 0;
    weft_generator *g = weft_generator_create(averages, NULL, sizeof(double), NULL);
    errno = 0;
    assert_int_equal(weft_generator_send(g, &x, &average), -1); // not started
    assert_int_equal(errno, EINVAL);
    assert_int_equal(weft_generator_send(g, NULL, &average), 1);
    assert_int_equal(weft_generator_send(g, &x, &average), 1);
    assert_true(average == 10);
    x = 20;
    assert_int_equal(weft_generator_send(g, &x, &average), 1);
    assert_true(average == 15);
    assert_int_equal(weft_generator_next(g, &average), 0); // sent NULL
    assert_int_equal(weft_generator_send(g, &x, &average), 0);
    weft_generator_destroy(g);
}

// ---- throw ----

static int catches(weft_generator *g, void *arg)
{
    int *caught = (int *)arg;
    for (int i = 0; i < 10; i++)
        if (weft_generator_yield(g, &i) != 0) {
            *caught = errno;
            i = 100;
            if (weft_generator_yield(g, &i) != 0)
                return errno;
        }
    return 0;
}

CASE(test_throw_may_be_caught)
{
    int item = 0, caught = 0;
    weft_generator *g = weft_generator_create(catches, &caught, sizeof(int), NULL);
    assert_int_equal(weft_generator_next(g, &item), 1);
    assert_int_equal(weft_generator_throw(g, EIO, &item), 1);
    assert_int_equal(caught, EIO);
    assert_int_equal(item, 100);
    assert_int_equal(weft_generator_throw(g, EINTR, &item), -1);
    assert_int_equal(errno, EINTR);
    assert_int_equal(weft_generator_done(g), 1);
    assert_errno(weft_generator_throw(g, ENXIO, &item), ENXIO); // ended
    weft_generator_destroy(g);
}

CASE(test_throw_into_new_ends_it)
{
    int item = 0, caught = 0;
    weft_generator *g = weft_generator_create(catches, &caught, sizeof(int), NULL);
    assert_errno(weft_generator_throw(g, 0, &item), EINVAL);
    assert_errno(weft_generator_throw(g, -1, &item), EINVAL);
    assert_int_equal(weft_generator_throw(g, EIO, &item), -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(caught, 0);
    assert_int_equal(weft_generator_next(g, &item), 0);
    weft_generator_destroy(g);
}

// ---- close ----

static int ignores_close(weft_generator *g, void *arg)
{
    int *failures = (int *)arg, i = 0;
    while (weft_generator_yield(g, &i) == 0)
        ;
    for (; *failures < 3 && weft_generator_yield(g, &i) == -1 && errno == ECANCELED; ++*failures)
        ;
    return 0;
}

CASE(test_close_ends_it)
{
    int item = 0, failures = 0;
    weft_generator *g = weft_generator_create(ignores_close, &failures, sizeof(int), NULL);
    assert_int_equal(weft_generator_next(g, &item), 1);
    errno = 2;
    assert_int_equal(weft_generator_close(g), 0);
    assert_int_equal(errno, 2);
    assert_int_equal(failures, 3);
    assert_int_equal(weft_generator_next(g, &item), 0);
    assert_int_equal(weft_generator_close(g), 0);
    weft_generator_destroy(g);
}

CASE(test_close_new_or_failing)
{
    int item = 0;
    weft_generator *g = weft_generator_create(upto, V(3), sizeof(int), NULL);
    assert_int_equal(weft_generator_close(g), 0);
    assert_int_equal(weft_generator_next(g, &item), 0);
    weft_generator_destroy(g);
    g = weft_generator_create(upto, V(3), sizeof(int), NULL);
    weft_generator_next(g, &item);
    assert_int_equal(weft_generator_close(g), 0); // it returned ECANCELED
    weft_generator_destroy(g);
    g = weft_generator_create(fails, V(EIO), sizeof(int), NULL);
    weft_generator_next(g, &item);
    assert_errno(weft_generator_close(g), EIO);
    assert_int_equal(weft_generator_done(g), 1);
    weft_generator_destroy(g);
}

static void count_up(void *p)
{
    ++*(int *)p;
}

static int defers(weft_generator *g, void *arg)
{
    int i = 0;
    weft_defer(count_up, arg);
    while (weft_generator_yield(g, &i) == 0)
        ;
    count_up(arg); // its body runs to the end, too
    return 0;
}

CASE(test_destroy_closes)
{
    int item = 0, ended = 0;
    weft_generator *g = weft_generator_create(defers, &ended, sizeof(int), NULL);
    weft_generator_next(g, &item);
    assert_int_equal(weft_generator_destroy(g), 0);
    assert_int_equal(ended, 2);
    assert_int_equal(weft_generator_destroy(NULL), 0);
}

// ---- delegate: yield from ----

typedef struct {
    int low, high;
} range;

// In-order walk of an implicit balanced tree: recursion as deep as the tree.
static int walk(weft_generator *g, void *arg)
{
    const range *r = (const range *)arg;
    if (r->low > r->high)
        return 0;
    int middle = (r->low + r->high) / 2;
    range left = {r->low, middle - 1}, right = {middle + 1, r->high};
    weft_generator *a = weft_generator_create(walk, &left, sizeof(int), NULL);
    weft_generator *b = weft_generator_create(walk, &right, sizeof(int), NULL);
    int error = 0;
    if (weft_generator_delegate(g, a) != 0 || weft_generator_yield(g, &middle) != 0 ||
        weft_generator_delegate(g, b) != 0)
        error = errno;
    weft_generator_destroy(a);
    weft_generator_destroy(b);
    return error;
}

CASE(test_delegate_recursively)
{
    range all = {1, 200};
    int item = 0;
    weft_generator *g = weft_generator_create(walk, &all, sizeof(int), NULL);
    for (int i = 1; i <= 200; i++) {
        assert_int_equal(weft_generator_next(g, &item), 1);
        assert_int_equal(item, i);
    }
    assert_int_equal(weft_generator_next(g, &item), 0);
    weft_generator_destroy(g);
    // Closed half-way: every level ends and destroys its own.
    g = weft_generator_create(walk, &all, sizeof(int), NULL);
    for (int i = 0; i < 77; i++)
        assert_int_equal(weft_generator_next(g, &item), 1);
    assert_int_equal(weft_generator_destroy(g), 0);
}

static weft_generator *inner;
static int delegated; // what delegate returned
static int delegate_errno;

static int outer_of(weft_generator *g, void *arg)
{
    int last = 99;
    (void)arg;
    delegated = weft_generator_delegate(g, inner);
    delegate_errno = errno;
    if (weft_generator_yield(g, &last) != 0)
        return errno;
    return 0;
}

CASE(test_delegate_passes_throw_and_send_inward)
{
    int item = 0, caught = 0;
    inner = weft_generator_create(catches, &caught, sizeof(int), NULL);
    weft_generator *g = weft_generator_create(outer_of, NULL, sizeof(int), NULL);
    assert_int_equal(weft_generator_next(g, &item), 1);
    assert_int_equal(weft_generator_throw(g, EIO, &item), 1);
    assert_int_equal(caught, EIO);
    assert_int_equal(item, 100);
    // While delegated to, it belongs to g.
    assert_errno(weft_generator_next(inner, &item), EBUSY);
    assert_errno(weft_generator_destroy(inner), EBUSY);
    // Not caught this time: inner ends, its error is delegate's.
    assert_int_equal(weft_generator_throw(g, EINTR, &item), 1);
    assert_int_equal(item, 99);
    assert_int_equal(delegated, -1);
    assert_int_equal(delegate_errno, EINTR);
    weft_generator_destroy(g);
    weft_generator_destroy(inner);
    inner = weft_generator_create(averages, NULL, sizeof(double), NULL);
    g = weft_generator_create(outer_of, NULL, sizeof(double), NULL);
    double x = 8, average = 0;
    assert_int_equal(weft_generator_next(g, &average), 1);
    assert_int_equal(weft_generator_send(g, &x, &average), 1);
    assert_true(average == 8);
    weft_generator_destroy(g);
    weft_generator_destroy(inner);
}

CASE(test_delegate_to_one_in_the_middle)
{
    range some = {1, 7};
    int item = 0;
    inner = weft_generator_create(walk, &some, sizeof(int), NULL);
    for (int i = 1; i <= 3; i++) // inside its own chain now
        assert_int_equal(weft_generator_next(inner, &item), 1);
    weft_generator *g = weft_generator_create(outer_of, NULL, sizeof(int), NULL);
    for (int i = 4; i <= 7; i++) {
        assert_int_equal(weft_generator_next(g, &item), 1);
        assert_int_equal(item, i);
    }
    assert_int_equal(weft_generator_next(g, &item), 1);
    assert_int_equal(item, 99);
    assert_int_equal(delegated, 0);
    assert_int_equal(weft_generator_next(g, &item), 0);
    assert_int_equal(weft_generator_next(inner, &item), 0);
    weft_generator_destroy(g);
    weft_generator_destroy(inner);
}

static int errors_seen[8];

static int delegates_wrongly(weft_generator *g, void *arg)
{
    char wrong_size;
    (void)arg;
    weft_generator *bytes = weft_generator_create(upto, NULL, sizeof wrong_size, NULL);
    weft_generator *empty = weft_generator_create(upto, V(0), sizeof(int), NULL);
    int item;
    errors_seen[0] = weft_generator_delegate(g, NULL) == -1 && errno == EINVAL;
    errors_seen[1] = weft_generator_delegate(g, bytes) == -1 && errno == EINVAL;
    errors_seen[2] = weft_generator_delegate(g, g) == -1 && errno == EBUSY;
    errors_seen[3] = weft_generator_delegate(empty, empty) == -1 && errno == EPERM;
    errors_seen[4] = weft_generator_delegate(g, empty) == 0;
    errors_seen[5] = weft_generator_delegate(g, empty) == 0; // exhausted before
    errors_seen[6] = weft_generator_next(g, &item) == -1 && errno == EBUSY;
    errors_seen[7] = weft_generator_destroy(g) == -1 && errno == EBUSY;
    weft_generator_destroy(bytes);
    weft_generator_destroy(empty);
    return 0;
}

CASE(test_delegate_misuse)
{
    weft_generator *g = weft_generator_create(delegates_wrongly, NULL, sizeof(int), NULL);
    assert_int_equal(weft_generator_next(g, NULL), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(errors_seen[i], 1);
    weft_generator_destroy(g);
}

// ---- Generators of generators ----

typedef struct {
    weft_generator *source;
    int prime;
} filter;

static int not_divisible(weft_generator *g, void *arg)
{
    const filter *f = (const filter *)arg;
    int n;
    while (weft_generator_next(f->source, &n) == 1)
        if (n % f->prime != 0 && weft_generator_yield(g, &n) != 0)
            return errno;
    return 0;
}

static int from_two(weft_generator *g, void *arg)
{
    (void)arg;
    for (int i = 2;; i++)
        if (weft_generator_yield(g, &i) != 0)
            return errno;
}

CASE(test_layers_of_generators)
{
    static const int primes[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29};
    weft_generator *layer[11] = {weft_generator_create(from_two, NULL, sizeof(int), NULL)};
    filter filters[10];
    for (int i = 0; i < 10; i++) {
        assert_int_equal(weft_generator_next(layer[i], &filters[i].prime), 1);
        assert_int_equal(filters[i].prime, primes[i]);
        filters[i].source = layer[i];
        layer[i + 1] = weft_generator_create(not_divisible, &filters[i], sizeof(int), NULL);
    }
    for (int i = 10; i >= 0; i--)
        assert_int_equal(weft_generator_destroy(layer[i]), 0);
}

// Permutations, as greenlet's suite has them: recursion through next.
typedef struct {
    int n;
    int *place;
} permutation;

static int permute(weft_generator *g, void *arg)
{
    const permutation *p = (const permutation *)arg;
    char none = 0;
    if (p->n == 0)
        return weft_generator_yield(g, &none) != 0 ? errno : 0;
    permutation rest = {p->n - 1, p->place};
    for (int i = 0; i < p->n; i++) {
        int t = p->place[i];
        p->place[i] = p->place[p->n - 1];
        p->place[p->n - 1] = t;
        weft_generator *sub = weft_generator_create(permute, &rest, 1, NULL);
        int error = weft_generator_delegate(g, sub) != 0 ? errno : 0;
        weft_generator_destroy(sub);
        if (error != 0)
            return error;
        p->place[p->n - 1] = p->place[i];
        p->place[i] = t;
    }
    return 0;
}

CASE(test_permutations)
{
    int place[5] = {0, 1, 2, 3, 4}, count = 0;
    char seen[3125] = {0}, none;
    permutation p = {5, place};
    weft_generator *g = weft_generator_create(permute, &p, 1, NULL);
    while (weft_generator_next(g, &none) == 1) {
        int code = 0;
        for (int i = 0; i < 5; i++)
            code = code * 5 + place[i];
        assert_int_equal(seen[code], 0);
        seen[code] = 1;
        count++;
    }
    assert_int_equal(count, 120);
    weft_generator_destroy(g);
}

// ---- Misuse ----

static int yields_for_another(weft_generator *g, void *arg)
{
    int i = 1;
    errors_seen[0] = weft_generator_yield((weft_generator *)arg, &i) == -1 && errno == EPERM;
    errors_seen[1] = weft_coro_yield(NULL) == WEFT_FAILED && errno == EPERM;
    errors_seen[2] = weft_coro_switch(weft_coro_main(), NULL) == WEFT_FAILED && errno == EPERM;
    errors_seen[3] = weft_generator_yield(g, NULL) == -1 && errno == EINVAL;
    return 0;
}

static void *resume_a_generators(void *arg)
{
    errors_seen[0] = weft_generator_next((weft_generator *)arg, NULL) == -1 && errno == EPERM;
    errors_seen[1] = weft_generator_close((weft_generator *)arg) == -1 && errno == EPERM;
    errors_seen[2] = weft_generator_destroy((weft_generator *)arg) == -1 && errno == EPERM;
    errors_seen[3] = weft_generator_done((weft_generator *)arg) == -1 && errno == EPERM;
    return NULL;
}

CASE(test_misuse_is_an_error)
{
    int i = 0;
    pthread_t t;
    weft_generator *other = weft_generator_create(upto, V(3), sizeof(int), NULL);
    weft_generator *g = weft_generator_create(yields_for_another, other, sizeof(int), NULL);
    assert_errno(weft_generator_create(NULL, NULL, 1, NULL), EINVAL);
    assert_errno(weft_generator_next(NULL, &i), EINVAL);
    assert_errno(weft_generator_send(NULL, NULL, &i), EINVAL);
    assert_errno(weft_generator_throw(NULL, 1, &i), EINVAL);
    assert_errno(weft_generator_close(NULL), EINVAL);
    assert_errno(weft_generator_done(NULL), EINVAL);
    assert_errno(weft_generator_yield(NULL, &i), EINVAL);
    assert_errno(weft_generator_yield(other, &i), EPERM);
    assert_null(weft_generator_sent(NULL));
    assert_int_equal(weft_generator_next(g, &i), 0);
    for (int k = 0; k < 4; k++)
        assert_int_equal(errors_seen[k], 1);
    assert_int_equal(pthread_create(&t, NULL, resume_a_generators, other), 0);
    pthread_join(t, NULL);
    for (int k = 0; k < 4; k++)
        assert_int_equal(errors_seen[k], 1);
    weft_generator_destroy(g);
    weft_generator_destroy(other);
}

// Two coroutines take turns with one generator.
static void *takes_one(void *arg, void *v)
{
    int item = -1;
    (void)v;
    while (weft_generator_next((weft_generator *)arg, &item) == 1)
        weft_coro_yield(V(item));
    return V(-2);
}

CASE(test_consumers_take_turns)
{
    weft_generator *g = weft_generator_create(upto, V(6), sizeof(int), NULL);
    weft_coro *a = weft_coro_create(takes_one, g, NULL), *b = weft_coro_create(takes_one, g, NULL);
    for (int i = 0; i < 6; i++)
        assert_ptr_equal(weft_coro_resume(i % 2 ? b : a, NULL), V(i));
    assert_ptr_equal(weft_coro_resume(a, NULL), V(-2));
    assert_ptr_equal(weft_coro_resume(b, NULL), V(-2));
    weft_generator_destroy(g);
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

RUN_CASES()
