// Generators: next, send, throw, close, delegation, misuse.
#include <weft/generator.h>

#include "coroutines.h"

static weft_generator *make(int (*fn)(weft_generator *g, void *arg), void *arg = NULL,
                            size_t item_size = sizeof(int))
{
    weft_generator *g = weft_generator_create(fn, arg, item_size, NULL);
    assert_non_null(g);
    return g;
}

static void destroy(weft_generator *g)
{
    assert_int_equal(weft_generator_destroy(g), 0);
}

// Its next items are first .. last.
static void assert_items(weft_generator *g, int first, int last)
{
    for (int i = first; i <= last; i++) {
        int item = -1;
        assert_int_equal(weft_generator_next(g, &item), 1);
        assert_int_equal(item, i);
        assert_int_equal(weft_generator_poll(g), 0);
    }
}

static void assert_exhausted(weft_generator *g)
{
    int item = -1;
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_generator_next(g, &item), 0);
    assert_int_equal(item, -1);
    assert_int_equal(weft_generator_poll(g), 1);
}

static int upto(weft_generator *g, void *n)
{
    for (int i = 0; i < (int)(intptr_t)n; i++)
        if (weft_generator_yield(g, &i) != 0)
            return errno;
    return 0;
}

CASE(test_next_until_exhausted)
{
    weft_generator *g = make(upto, V(3));
    errno = 4;
    assert_items(g, 0, 2);
    assert_exhausted(g);
    destroy(g);
    assert_int_equal(errno, 4);
}

CASE(test_items_of_every_size)
{
    static const size_t sizes[] = {0, 1, 3, 4, 7, 8, 16, 300};
    for (const size_t &size : sizes) {
        unsigned char item[301];
        weft_generator *g = make(
            [](weft_generator *self, void *arg) {
                unsigned char each[300];
                size_t n = *(const size_t *)arg;
                for (int round = 0; round < 2; round++) {
                    memset(each, 'a' + round, n);
                    if (weft_generator_yield(self, n != 0 ? each : NULL) != 0)
                        return errno;
                }
                return 0;
            },
            (void *)(uintptr_t)&size, size);
        for (int round = 0; round < 2; round++) {
            memset(item, 'z', sizeof item);
            assert_int_equal(weft_generator_next(g, item), 1);
            for (size_t k = 0; k < size; k++)
                assert_int_equal(item[k], 'a' + round);
            assert_int_equal(item[size], 'z');
        }
        assert_exhausted(g);
        destroy(g);
    }
}

CASE(test_next_without_a_place_drops_the_item)
{
    weft_generator *g = make(upto, V(2));
    assert_int_equal(weft_generator_next(g, NULL), 1);
    assert_items(g, 1, 1);
    destroy(g);
}

// Yields 1, then fails with `error`, or with -1 and ENOSPC.
static int fails(weft_generator *g, void *error)
{
    int i = 1;
    weft_generator_yield(g, &i);
    errno = ENOSPC;
    return error != NULL ? (int)(intptr_t)error : -1;
}

CASE(test_next_reports_the_failure_once)
{
    const int errors[] = {EIO, 0};
    for (int error : errors) {
        weft_generator *g = make(fails, V(error));
        assert_items(g, 1, 1);
        assert_errno(weft_generator_next(g, NULL), error != 0 ? error : ENOSPC);
        assert_exhausted(g);
        destroy(g);
    }
}

// ---- send ----

static int averages(weft_generator *g, void *)
{
    double sum = 0, average = 0;
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
    weft_generator *g = make(averages, NULL, sizeof(double));
    assert_errno(weft_generator_send(g, &x, &average), EINVAL); // not started
    assert_int_equal(weft_generator_send(g, NULL, &average), 1);
    assert_int_equal(weft_generator_send(g, &x, &average), 1);
    assert_true(average == 10);
    x = 20;
    assert_int_equal(weft_generator_send(g, &x, &average), 1);
    assert_true(average == 15);
    assert_int_equal(weft_generator_next(g, &average), 0); // sent NULL
    assert_int_equal(weft_generator_send(g, &x, &average), 0);
    destroy(g);
}

// ---- throw ----

// Yields 0 .. 9; 100 when its yield fails, once.
static int catches(weft_generator *g, void *caught)
{
    for (int i = 0; i < 10; i++)
        if (weft_generator_yield(g, &i) != 0) {
            *(int *)caught = errno;
            i = 100;
            if (weft_generator_yield(g, &i) != 0)
                return errno;
        }
    return 0;
}

CASE(test_throw_may_be_caught)
{
    int item = 0, caught = 0;
    weft_generator *g = make(catches, &caught);
    assert_items(g, 0, 0);
    assert_int_equal(weft_generator_throw(g, EIO, &item), 1);
    assert_int_equal(caught, EIO);
    assert_int_equal(item, 100);
    assert_errno(weft_generator_throw(g, EINTR, &item), EINTR);
    assert_int_equal(weft_generator_poll(g), 1);
    assert_errno(weft_generator_throw(g, ENXIO, &item), ENXIO); // ended
    destroy(g);
}

CASE(test_throw_into_new_ends_it)
{
    int item = 0, caught = 0;
    weft_generator *g = make(catches, &caught);
    assert_errno(weft_generator_throw(g, 0, &item), EINVAL);
    assert_errno(weft_generator_throw(g, -1, &item), EINVAL);
    assert_errno(weft_generator_throw(g, EIO, &item), EIO);
    assert_int_equal(caught, 0);
    assert_exhausted(g);
    destroy(g);
}

// ---- close ----

CASE(test_close_ends_it)
{
    int failures = 0;
    weft_generator *g = make(
        [](weft_generator *self, void *arg) {
            int *n = (int *)arg, i = 0;
            while (weft_generator_yield(self, &i) == 0)
                ;
            while (*n < 3 && weft_generator_yield(self, &i) == -1 && errno == ECANCELED)
                ++*n;
            return 0;
        },
        &failures);
    assert_items(g, 0, 0);
    errno = 2;
    assert_int_equal(weft_generator_close(g), 0);
    assert_int_equal(errno, 2);
    assert_int_equal(failures, 3);
    assert_exhausted(g);
    assert_int_equal(weft_generator_close(g), 0);
    destroy(g);
}

CASE(test_close_new_or_failing)
{
    weft_generator *g = make(upto, V(3));
    assert_int_equal(weft_generator_close(g), 0);
    assert_exhausted(g);
    destroy(g);
    g = make(upto, V(3));
    assert_items(g, 0, 0);
    assert_int_equal(weft_generator_close(g), 0); // it returned ECANCELED
    destroy(g);
    g = make(fails, V(EIO));
    assert_items(g, 1, 1);
    assert_errno(weft_generator_close(g), EIO);
    assert_int_equal(weft_generator_poll(g), 1);
    destroy(g);
}

CASE(test_destroy_closes)
{
    weft_generator *g = make([](weft_generator *self, void *) {
        int i = 0;
        weft_defer([](void *) { note("deferred"); }, NULL);
        while (weft_generator_yield(self, &i) == 0)
            ;
        note("ended "); // its body runs to the end, too
        return 0;
    });
    assert_items(g, 0, 0);
    destroy(g);
    assert_noted("ended deferred");
    assert_int_equal(weft_generator_destroy(NULL), 0);
}

// ---- delegate: yield from ----

namespace {
struct range {
    int low, high;
};
} // namespace

// In-order walk of an implicit balanced tree: recursion as deep as the tree.
static int walk(weft_generator *g, void *arg)
{
    const range *r = (const range *)arg;
    if (r->low > r->high)
        return 0;
    int middle = (r->low + r->high) / 2, error = 0;
    range left = {r->low, middle - 1}, right = {middle + 1, r->high};
    weft_generator *lower = make(walk, &left), *upper = make(walk, &right);
    if (weft_generator_delegate(g, lower) != 0 || weft_generator_yield(g, &middle) != 0 ||
        weft_generator_delegate(g, upper) != 0)
        error = errno;
    destroy(lower);
    destroy(upper);
    return error;
}

CASE(test_delegate_recursively)
{
    range all = {1, 200};
    weft_generator *g = make(walk, &all);
    assert_items(g, 1, 200);
    assert_exhausted(g);
    destroy(g);
    // Closed half-way: every level ends and destroys its own.
    g = make(walk, &all);
    assert_items(g, 1, 77);
    destroy(g);
}

static weft_generator *inner;
static int delegated; // the error of delegate

// The items of `inner`, then 99.
static int outer_of(weft_generator *g, void *)
{
    int last = 99;
    delegated = weft_generator_delegate(g, inner) != 0 ? errno : 0;
    return weft_generator_yield(g, &last) != 0 ? errno : 0;
}

static int delegates_to(weft_generator *g, void *to)
{
    return weft_generator_delegate(g, (weft_generator *)to) != 0 ? errno : 0;
}

CASE(test_delegate_passes_throw_and_send_inward)
{
    int item = 0, caught = 0;
    inner = make(catches, &caught);
    weft_generator *g = make(outer_of);
    assert_items(g, 0, 0);
    assert_int_equal(weft_generator_throw(g, EIO, &item), 1);
    assert_int_equal(caught, EIO);
    assert_int_equal(item, 100);
    // While delegated to, it belongs to g.
    assert_errno(weft_generator_next(inner, &item), EBUSY);
    assert_errno(weft_generator_destroy(inner), EBUSY);
    // Not caught this time: inner ends, its error is delegate's.
    assert_int_equal(weft_generator_throw(g, EINTR, &item), 1);
    assert_int_equal(item, 99);
    assert_int_equal(delegated, EINTR);
    destroy(g);
    destroy(inner);
    inner = make(averages, NULL, sizeof(double));
    g = make(outer_of, NULL, sizeof(double));
    double x = 8, average = 0;
    assert_int_equal(weft_generator_next(g, &average), 1);
    assert_int_equal(weft_generator_send(g, &x, &average), 1);
    assert_true(average == 8);
    destroy(g);
    destroy(inner);
}

CASE(test_delegate_to_one_in_the_middle)
{
    range some = {1, 7};
    inner = make(walk, &some);
    assert_items(inner, 1, 3); // inside its own chain now
    weft_generator *g = make(outer_of);
    assert_items(g, 4, 7);
    assert_items(g, 99, 99);
    assert_int_equal(delegated, 0);
    assert_exhausted(g);
    assert_exhausted(inner);
    destroy(g);
    destroy(inner);
}

// Chains are joined, and closed, at every place of them.
CASE(test_delegate_to_a_chain_by_a_chain)
{
    range some = {1, 50};
    for (int before = 0; before < 49; before++) {
        inner = make(walk, &some);
        assert_items(inner, 1, before);
        weft_generator *middle = make(outer_of), *g = make(delegates_to, middle);
        assert_items(middle, before + 1, before + 1);
        assert_items(g, before + 2, before % 2 ? 50 : before + 2);
        destroy(g);
        assert_exhausted(middle);
        assert_exhausted(inner);
        destroy(middle);
        destroy(inner);
    }
}

static int delegates_wrongly(weft_generator *g, void *)
{
    weft_generator *bytes = make(upto, NULL, 1), *empty = make(upto, V(0));
    int refused = 0;
    refused += weft_generator_delegate(g, NULL) == -1 && errno == EINVAL;
    refused += weft_generator_delegate(g, bytes) == -1 && errno == EINVAL;
    refused += weft_generator_delegate(g, g) == -1 && errno == EBUSY;
    refused += weft_generator_delegate(empty, empty) == -1 && errno == EPERM;
    refused += weft_generator_delegate(g, empty) == 0;
    refused += weft_generator_delegate(g, empty) == 0; // exhausted before
    refused += weft_generator_next(g, NULL) == -1 && errno == EBUSY;
    refused += weft_generator_destroy(g) == -1 && errno == EBUSY;
    destroy(bytes);
    destroy(empty);
    weft_generator_yield(g, &refused);
    return 0;
}

CASE(test_delegate_misuse)
{
    weft_generator *g = make(delegates_wrongly);
    assert_items(g, 8, 8);
    destroy(g);
}

// ---- Generators of generators ----

namespace {
struct filter {
    weft_generator *source;
    int prime;
};
} // namespace

static int not_divisible(weft_generator *g, void *arg)
{
    const filter *f = (const filter *)arg;
    int n;
    while (weft_generator_next(f->source, &n) == 1)
        if (n % f->prime != 0 && weft_generator_yield(g, &n) != 0)
            return errno;
    return 0;
}

CASE(test_layers_of_generators)
{
    static const int primes[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29};
    weft_generator *layer[11] = {make([](weft_generator *g, void *) {
        for (int i = 2;; i++)
            if (weft_generator_yield(g, &i) != 0)
                return errno;
    })};
    filter filters[10];
    for (int i = 0; i < 10; i++) {
        assert_int_equal(weft_generator_next(layer[i], &filters[i].prime), 1);
        assert_int_equal(filters[i].prime, primes[i]);
        filters[i].source = layer[i];
        layer[i + 1] = make(not_divisible, &filters[i]);
    }
    for (int i = 10; i >= 0; i--)
        destroy(layer[i]);
}

// Permutations, as greenlet's suite has them: recursion through next.
namespace {
struct permutation {
    int n;
    int *place;
};
} // namespace

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
        weft_generator *sub = make(permute, &rest, 1);
        int error = weft_generator_delegate(g, sub) != 0 ? errno : 0;
        destroy(sub);
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
    weft_generator *g = make(permute, &p, 1);
    while (weft_generator_next(g, &none) == 1) {
        int code = 0;
        for (int each : place)
            code = code * 5 + each;
        assert_int_equal(seen[code], 0);
        seen[code] = 1;
        count++;
    }
    assert_int_equal(count, 120);
    destroy(g);
}

// ---- Misuse ----

static int yields_for_another(weft_generator *g, void *other)
{
    int refused = 0;
    refused += weft_generator_yield((weft_generator *)other, &refused) == -1 && errno == EPERM;
    refused += weft_coro_yield(NULL) == WEFT_FAILED && errno == EPERM;
    refused += weft_coro_switch(weft_coro_main(), NULL) == WEFT_FAILED && errno == EPERM;
    refused += weft_generator_yield(g, NULL) == -1 && errno == EINVAL;
    weft_generator_yield(g, &refused);
    return 0;
}

static void *resume_a_generators(void *generator)
{
    weft_generator *g = (weft_generator *)generator;
    intptr_t refused = 0;
    refused += weft_generator_next(g, NULL) == -1 && errno == EPERM;
    refused += weft_generator_close(g) == -1 && errno == EPERM;
    refused += weft_generator_destroy(g) == -1 && errno == EPERM;
    refused += weft_generator_poll(g) == -1 && errno == EPERM;
    return V(refused);
}

CASE(test_misuse_is_an_error)
{
    int i = 0;
    weft_generator *other = make(upto, V(3)), *g = make(yields_for_another, other);
    assert_errno(weft_generator_create(NULL, NULL, 1, NULL), EINVAL);
    assert_errno(weft_generator_next(NULL, &i), EINVAL);
    assert_errno(weft_generator_send(NULL, NULL, &i), EINVAL);
    assert_errno(weft_generator_throw(NULL, 1, &i), EINVAL);
    assert_errno(weft_generator_close(NULL), EINVAL);
    assert_errno(weft_generator_poll(NULL), EINVAL);
    assert_errno(weft_generator_yield(NULL, &i), EINVAL);
    assert_errno(weft_generator_yield(other, &i), EPERM);
    assert_null(weft_generator_sent(NULL));
    assert_items(g, 4, 4);
    assert_ptr_equal(run_in_thread(resume_a_generators, other), V(4));
    destroy(g);
    destroy(other);
}

// Two coroutines take turns with one generator.
CASE(test_consumers_take_turns)
{
    const auto take = [](void *g, void *) {
        int item = -1;
        while (weft_generator_next((weft_generator *)g, &item) == 1)
            weft_coro_yield(V(item));
        return V(-2);
    };
    weft_generator *g = make(upto, V(6));
    a = create(take, g);
    b = create(take, g);
    for (int i = 0; i < 6; i++)
        assert_ptr_equal(weft_coro_resume(i % 2 ? b : a, NULL), V(i));
    assert_ptr_equal(weft_coro_resume(a, NULL), V(-2));
    assert_ptr_equal(weft_coro_resume(b, NULL), V(-2));
    destroy(g);
    destroy(a);
    destroy(b);
}

RUN_CASES()
