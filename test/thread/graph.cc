// Tasks that wait for one another, in random graphs: without a circle they always come to their
// end, with one always somebody is told, and it is one of the circle.
#include "asleep.h"

#include <weft/executor.h>
#include <weft/sync.h>
#include <weft/thread.h>

#include <errno.h>

enum { MOST = 60, NEEDS = 5, POOLS = 3, GRAPHS = RUNNER_SANITIZED ? 60 : 300 };
enum { EACH, ALL, AMONG, ANY, TIMED, WAYS };

struct graph;
struct node {
    graph *g;
    int way, count, needs[NEEDS];
    bool by_tail[NEEDS]; // waits for what comes after the one it needs
    weft_future f, *tail;
    weft_completions *among;
    int error; // of its waits; 0: all were good
};
struct graph {
    unsigned seed;
    int n, pools;
    weft_executor *pool[POOLS];
    weft_event ready; // all are submitted
    node nodes[MOST];
    bool reaches[MOST][MOST];
};

static int below(graph *g, int n)
{
    return (int)((unsigned)rand_r(&g->seed) % (unsigned)n);
}

static int wait_among(node *v, weft_future *const f[], size_t n)
{
    int code = 0;
    v->among = weft_completions_create();
    for (size_t i = 0; i < n; i++)
        code |= weft_completions_add(v->among, f[i]);
    for (size_t i = 0; i < n && code == 0; i++)
        code = weft_completions_next(v->among, WEFT_FOREVER) != NULL ? 0 : -1;
    return code;
}

static int wait_for_needs(node *v)
{
    weft_future *f[NEEDS];
    size_t n = (size_t)v->count;
    for (size_t i = 0; i < n; i++) {
        node *w = &v->g->nodes[v->needs[i]];
        f[i] = v->by_tail[i] ? w->tail : &w->f;
    }
    if (n == 0)
        return 0;
    if (v->way == AMONG)
        return wait_among(v, f, n);
    if (v->way == ALL)
        return weft_future_wait_all(f, n, WEFT_FOREVER);
    if (v->way == ANY)
        return weft_future_wait_any(f, n, WEFT_FOREVER) < 0 ? -1 : 0;
    int code = 0;
    for (size_t i = 0; i < n && code == 0; i++)
        code = weft_future_wait(f[i], v->way == TIMED ? weft_in_s(600) : WEFT_FOREVER);
    return code;
}

static void *visit(void *arg)
{
    node *v = (node *)arg;
    weft_event_wait(&v->g->ready, WEFT_FOREVER);
    v->error = wait_for_needs(v) == 0 ? 0 : errno;
    return arg;
}

static void *pass_on(void *arg)
{
    return arg;
}

static void need(graph *g, int v, int w)
{
    node *n = &g->nodes[v];
    if (n->count == NEEDS)
        return;
    n->by_tail[n->count] = below(g, 3) == 0;
    n->needs[n->count++] = w;
}

// Each needs some of those with smaller numbers.
static void draw(graph *g, int ways)
{
    g->n = 2 + below(g, MOST - 2);
    for (int v = 0; v < g->n; v++) {
        g->nodes[v].g = g;
        g->nodes[v].way = below(g, ways);
        g->nodes[v].count = 0;
        g->nodes[v].among = NULL;
        for (int i = below(g, NEEDS); v > 0 && i > 0; i--)
            need(g, v, below(g, v));
    }
}

// Makes `length` of them a circle.
static void bend(graph *g, int length)
{
    int first = below(g, g->n - length + 1);
    for (int i = 0; i < length; i++) {
        node *v = &g->nodes[first + i];
        v->way = below(g, ANY);
        v->count = v->count < NEEDS ? v->count : NEEDS - 1;
        need(g, first + i, first + (i + 1) % length);
    }
}

static void close_over(graph *g)
{
    memset(g->reaches, 0, sizeof g->reaches);
    for (int v = 0; v < g->n; v++)
        for (int i = 0; i < g->nodes[v].count; i++)
            g->reaches[v][g->nodes[v].needs[i]] = true;
    for (int k = 0; k < g->n; k++)
        for (int v = 0; v < g->n; v++)
            for (int w = 0; w < g->n; w++)
                g->reaches[v][w] |= g->reaches[v][k] && g->reaches[k][w];
}

// Submits them in any order to some executors and waits until all have ended.
static void walk(graph *g)
{
    int order[MOST];
    g->pools = 1 + below(g, POOLS);
    assert_int_equal(weft_event_init(&g->ready), 0);
    for (int i = 0; i < g->pools; i++) {
        weft_executor_options o = {};
        o.spares = below(g, 3) - 1;
        assert_non_null(g->pool[i] = weft_executor_create(1 + below(g, 3), &o));
    }
    for (int i = 0; i < g->n; i++) {
        int at = below(g, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (int i = 0; i < g->n; i++) {
        node *v = &g->nodes[order[i]];
        weft_executor *ex = g->pool[below(g, g->pools)];
        assert_int_equal(weft_executor_submit_at(ex, &v->f, visit, v, WEFT_NOW), 0);
        ex = g->pool[below(g, g->pools)];
        assert_non_null(v->tail = weft_executor_submit_after(ex, &v->f, pass_on, v));
    }
    weft_event_set(&g->ready);
    for (int i = 0; i < g->n; i++)
        assert_int_equal(weft_future_wait(&g->nodes[order[i]].f, WEFT_FOREVER), 0);
    for (int i = 0; i < g->n; i++) {
        assert_int_equal(weft_future_wait(g->nodes[i].tail, WEFT_FOREVER), 0);
        while (weft_completions_destroy(g->nodes[i].among) != 0) // it hears of it later
            sched_yield();
    }
    for (int i = 0; i < g->n; i++)
        assert_int_equal(weft_future_get(g->nodes[i].tail, NULL, WEFT_FOREVER), 0);
    for (int i = 0; i < g->pools; i++)
        assert_int_equal(weft_executor_destroy(g->pool[i]), 0);
}

CASE(test_without_a_circle_all_end)
{
    static graph g;
    for (unsigned k = 0; k < GRAPHS; k++) {
        g.seed = k;
        draw(&g, WAYS);
        walk(&g);
        for (int v = 0; v < g.n; v++)
            assert_int_equal(g.nodes[v].error, 0);
    }
}

CASE(test_with_a_circle_one_is_told)
{
    static graph g;
    for (unsigned k = 0; k < GRAPHS; k++) {
        g.seed = k;
        draw(&g, TIMED);
        bend(&g, 1 + below(&g, g.n));
        close_over(&g);
        walk(&g);
        int told = 0;
        for (int v = 0; v < g.n; v++) {
            told += g.nodes[v].error != 0;
            assert_true(g.nodes[v].error == 0 || g.nodes[v].error == EDEADLK);
            assert_true(g.nodes[v].error == 0 || g.reaches[v][v]);
        }
        assert_true(told > 0);
    }
}

RUN_CASES()
