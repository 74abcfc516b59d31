// compare.h: whether two replies are the same, but for what may differ.
#ifndef WEFT_TEST_COMPARE_H
#define WEFT_TEST_COMPARE_H

#include "generator.h"
#include "raw.h"

// How far apart times to live may be: the servers are given a command one after the other.
enum { TTL_SLACK_S = 40 };

struct span {
    const char *p;
    size_t n;
};

static inline int span_order(const void *a, const void *b)
{
    const span *x = (const span *)a, *y = (const span *)b;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c != 0 ? c : (x->n > y->n) - (x->n < y->n);
}

static inline bool same_bytes(span a, span b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static inline bool is_aggregate(span r)
{
    return *r.p == '*' || *r.p == '%' || *r.p == '~';
}

// The items of an aggregate, `step` replies each.
static inline span *items_of(span r, size_t step, size_t *count)
{
    long long n = 0;
    size_t at = resp_line(r.p, r.n, &n);
    n = *r.p == '%' ? n * 2 : n;
    *count = n < 0 ? 0 : (size_t)n / step;
    span *all = (span *)calloc(*count + 1, sizeof *all);
    for (size_t i = 0; i < *count; i++) {
        all[i].p = r.p + at;
        for (size_t k = 0; k < step; k++) {
            size_t one = resp_size(r.p + at, r.n - at);
            all[i].n += one;
            at += one;
        }
    }
    return all;
}

// The same head and the same items, in whatever order.
static inline bool same_sets(span a, span b, size_t step)
{
    size_t n, m;
    long long ignored;
    if (!is_aggregate(a) || !is_aggregate(b))
        return same_bytes(a, b);
    size_t head = resp_line(a.p, a.n, &ignored);
    bool same = head == resp_line(b.p, b.n, &ignored) && memcmp(a.p, b.p, head) == 0;
    span *x = items_of(a, step, &n), *y = items_of(b, step, &m);
    qsort(x, n, sizeof *x, span_order);
    qsort(y, m, sizeof *y, span_order);
    same = same && n == m;
    for (size_t i = 0; same && i < n; i++)
        same = same_bytes(x[i], y[i]);
    free(x);
    free(y);
    return same;
}

// As many items, or both a string or not: what was chosen at random is another.
static inline bool same_shapes(span a, span b)
{
    long long n = 0, m = 0;
    bool comparable = *a.p == *b.p && (is_aggregate(a) || *a.p == '$');
    size_t head = resp_line(a.p, a.n, &n), head_b = resp_line(b.p, b.n, &m);
    if (!comparable)
        return same_bytes(a, b);
    return *a.p == '$' ? (n < 0) == (m < 0) : head == head_b && n == m;
}

// A cursor, the same if both are at the end; and keys.
static inline bool same_scans(span a, span b, size_t step)
{
    size_t n, m;
    if (!is_aggregate(a) || !is_aggregate(b))
        return same_bytes(a, b);
    span *x = items_of(a, 1, &n), *y = items_of(b, 1, &m);
    bool same = n == 2 && m == 2 && same_bytes(x[0], y[0]) && same_sets(x[1], y[1], step);
    free(x);
    free(y);
    return same;
}

static inline bool same_times(span a, span b)
{
    long long x = atoll(a.p + 1), y = atoll(b.p + 1), gap = x > y ? x - y : y - x;
    if (*a.p != ':' || *b.p != ':' || x < 0 || y < 0)
        return same_bytes(a, b);
    // Seconds or milliseconds: those are all greater than the greatest of these.
    return gap <= (x > 5000 + 100 * 65521 ? TTL_SLACK_S * 1000 : TTL_SLACK_S);
}

static inline bool is_text(span r, const char *text)
{
    return r.n == strlen(text) && memcmp(r.p, text, r.n) == 0;
}

// HELLO: the same names in the same order; who it is, its version and the connection's number
// are its own.
static inline bool same_hellos(span a, span b)
{
    size_t n, m;
    if (!is_aggregate(a) || !is_aggregate(b))
        return same_bytes(a, b);
    span *x = items_of(a, 1, &n), *y = items_of(b, 1, &m);
    bool same = n == m && *a.p == *b.p;
    for (size_t i = 0; same && i + 1 < n; i += 2) {
        bool own = is_text(x[i], "$6\r\nserver\r\n") || is_text(x[i], "$7\r\nversion\r\n") ||
                   is_text(x[i], "$2\r\nid\r\n");
        same = same_bytes(x[i], y[i]) && *x[i + 1].p == *y[i + 1].p &&
               (own || same_bytes(x[i + 1], y[i + 1]));
    }
    free(x);
    free(y);
    return same;
}

static inline bool same_replies(int kind, span a, span b)
{
    switch (kind) {
    case SORTED:
        return same_sets(a, b, 1);
    case SORTED_PAIRS:
        return same_sets(a, b, 2);
    case SCANNED:
        return same_scans(a, b, 1);
    case SCANNED_PAIRS:
        return same_scans(a, b, 2);
    case RANDOM:
        return same_shapes(a, b);
    case TIME_LEFT:
        return same_times(a, b);
    case HELLO_MAP:
        return same_hellos(a, b);
    case ANY_NUMBER:
        return (*a.p == ':' && *b.p == ':') || same_bytes(a, b);
    default:
        return same_bytes(a, b);
    }
}

#endif
