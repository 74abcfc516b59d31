// pool_map.cc: one function over many items, by chunks.
//
// A chunk is one slot with many calls, each with a verdict of its own, so what a death
// costs is an item and not a chunk.  Only a window of chunks is in the pool at a time: enough
// to keep each worker busy while the program copies, little enough for any number of items.
#include "pool_parent.h"

#include <base/errno.h>

#include <string.h>

using namespace weft;

// A chunk as large as this is copied in and out of the caches, not of main memory.
static const size_t CHUNK_BYTES = 256 << 10;

namespace {
struct piece {
    weft_result *r;
    size_t first, count;
};
} // namespace

struct weft_imap {
    weft_pool *pool;
    weft_pool_fn fn;
    const unsigned char *items;
    size_t item_size, n, result_size, chunk;
    bool unordered;

    size_t next;   // the first item that is not in the pool yet
    int broken;    // why the rest can't be put there
    piece *window; // in the order of the items
    size_t pieces, most;
    piece current; // taken out of the window; next to be handed out is its item `at`
    size_t at;
};

static size_t choose_chunk(const weft_imap *it, const weft_pool *p)
{
    size_t memory = (size_t)1 << (p->memory.orders - 1 + POOL_UNIT_SHIFT), least = memory / 8;
    size_t bytes = it->item_size + it->result_size + sizeof(pool_verdict);
    size_t share = it->n / ((size_t)p->shared->workers * 8) + 1;
    size_t fits = (CHUNK_BYTES < least ? CHUNK_BYTES : least) / bytes + 1;
    return share < fits ? share : fits;
}

static int imap_init(weft_imap *it, weft_pool *p, const weft_pool_map_options *o)
{
    it->pool = p;
    if (it->item_size > SIZE_MAX / 4 || it->result_size > SIZE_MAX / 4)
        return EMSGSIZE;
    it->chunk = o->chunk != 0 ? o->chunk : choose_chunk(it, p);
    it->unordered = o->unordered;
    it->most = 4 * (size_t)p->shared->workers + 16;
    it->window = (piece *)calloc(it->most, sizeof *it->window);
    return it->window != nullptr ? 0 : ENOMEM;
}

static int imap_check(const weft_pool *p, weft_pool_fn fn, const void *items, size_t item_size,
                      size_t n)
{
    int error = pool_check(p);
    return error == 0 && (fn == nullptr || (items == nullptr && n != 0 && item_size != 0)) ? EINVAL
                                                                                           : error;
}

// Puts as many chunks into the pool as the window and the pool take.
static void imap_fill(weft_imap *it)
{
    int saved = errno;
    while (it->next < it->n && it->pieces < it->most && it->broken == 0) {
        size_t left = it->n - it->next, count = left < it->chunk ? left : it->chunk;
        const unsigned char *from =
            it->items != nullptr ? it->items + it->next * it->item_size : nullptr;
        weft_result *r = pool_submit(it->pool, it->fn, from, it->item_size, count, it->result_size);
        if (r == nullptr) {
            it->broken = errno == EAGAIN ? 0 : errno;
            break;
        }
        it->window[it->pieces++] = {r, it->next, count};
        it->next += count;
    }
    errno = saved;
}

static void take_piece(weft_imap *it, size_t i)
{
    it->current = it->window[i];
    it->at = 0;
    it->pieces--;
    memmove(it->window + i, it->window + i + 1, (it->pieces - i) * sizeof *it->window);
}

// The first that has ended; in order, only the first of all will do.
static bool take_ended(weft_imap *it)
{
    size_t n = it->unordered || it->pieces == 0 ? it->pieces : 1;
    for (size_t i = 0; i < n; i++)
        if (weft_result_poll(it->window[i].r) == 1) {
            take_piece(it, i);
            return true;
        }
    return false;
}

static bool none_ended(void *arg)
{
    weft_imap *it = (weft_imap *)arg;
    imap_fill(it); // when nothing of ours is in the pool, it is room we wait for
    return it->pieces == 0 ? it->broken == 0 : !take_ended(it);
}

// Makes an ended piece the current one.  0, ETIMEDOUT, ECANCELED.
static int await_piece(weft_imap *it, weft_deadline d)
{
    int error = 0;
    bool whole = it->pieces == it->most || it->next == it->n || it->broken != 0;
    if (!it->unordered && it->pieces != 0 && whole) { // else room may come first
        error = result_await(it->window[0].r, d);
        if (error == 0)
            take_piece(it, 0);
        return error;
    }
    if (none_ended(it))
        do
            error = weft_left(d) == 0 ? ETIMEDOUT : pool_await_any(it->pool, none_ended, it, d);
        while (error == 0 && it->current.r == nullptr && it->broken == 0 && none_ended(it));
    return it->current.r != nullptr ? 0 : error;
}

// Items that can't be put into the pool end with the error that kept them out.
static void take_unborn(weft_imap *it)
{
    it->current = {nullptr, it->next, it->n - it->next};
    it->at = 0;
    it->next = it->n;
}

// 1: there is a current piece; 0: there are no more; -1.
static int next_piece(weft_imap *it, weft_deadline d)
{
    while (it->at == it->current.count) {
        if (it->current.r != nullptr)
            result_release(it->current.r);
        it->current = {nullptr, 0, 0};
        it->at = 0;
        imap_fill(it);
        if (it->pieces == 0 && it->next == it->n)
            return 0;
        if (it->pieces == 0 && it->broken != 0)
            take_unborn(it);
        else {
            int error = await_piece(it, d);
            if (error != 0)
                return fail_with(error);
        }
    }
    return 1;
}

static weft_outcome outcome_at(const weft_imap *it, size_t at)
{
    if (it->current.r == nullptr)
        return {it->broken, 0};
    return result_outcome(it->current.r, at);
}

weft_imap *weft_pool_imap(weft_pool *p, weft_pool_fn fn, const void *items, size_t item_size,
                          size_t n, size_t result_size, const weft_pool_map_options *opts)
{
    static const weft_pool_map_options defaults = {};
    int saved = errno, error = imap_check(p, fn, items, item_size, n);
    weft_imap *it = error == 0 ? (weft_imap *)calloc(1, sizeof *it) : nullptr;
    if (it != nullptr) {
        it->fn = fn;
        it->items = (const unsigned char *)items;
        it->item_size = item_size;
        it->n = n;
        it->result_size = result_size;
        error = imap_init(it, p, opts != nullptr ? opts : &defaults);
        if (error == 0)
            imap_fill(it);
        if (error == 0 && it->pieces == 0)
            error = it->broken;
    } else if (error == 0)
        error = ENOMEM;
    if (error != 0) {
        if (it != nullptr)
            free(it->window);
        free(it);
        errno = error;
        return nullptr;
    }
    pthread_mutex_lock(&p->lock);
    p->imaps++;
    pthread_mutex_unlock(&p->lock);
    errno = saved;
    return it;
}

int weft_imap_next(weft_imap *it, void *result, size_t *index, weft_outcome *outcome,
                   weft_deadline d)
{
    int error = it == nullptr ? EINVAL : pool_check(it->pool);
    if (error != 0)
        return fail_with(error);
    int there = next_piece(it, d);
    if (there != 1)
        return there;
    size_t at = it->at++;
    weft_outcome o = outcome_at(it, at);
    if (o.error == 0 && result != nullptr && it->result_size != 0)
        memcpy(result, slot_result(slot_of(it->current.r), at), it->result_size);
    if (index != nullptr)
        *index = it->current.first + at;
    if (outcome != nullptr)
        *outcome = o;
    return 1;
}

static void drop(weft_result *r)
{
    if (r == nullptr)
        return;
    result_cancel(r);
    result_release(r);
}

static void imap_end(weft_imap *it)
{
    weft_pool *p = it->pool;
    drop(it->current.r);
    for (size_t i = 0; i < it->pieces; i++)
        drop(it->window[i].r);
    pthread_mutex_lock(&p->lock);
    p->imaps--;
    pthread_mutex_unlock(&p->lock);
    free_keep_errno(it->window);
    free_keep_errno(it);
}

int weft_imap_destroy(weft_imap *it)
{
    int error = it == nullptr ? 0 : pool_check(it->pool);
    if (error != 0)
        return fail_with(error);
    if (it != nullptr)
        imap_end(it);
    return 0;
}

// ---- map: the same, a piece at a time ----

namespace {
struct gathered {
    unsigned char *results;
    weft_outcome *outcomes;
    size_t first_failed;
    int error; // of that item
};
} // namespace

static void gather_failure(gathered *g, size_t item, size_t result_size, weft_outcome o)
{
    if (g->error == 0 || item < g->first_failed) {
        g->first_failed = item;
        g->error = o.error;
    }
    if (g->results != nullptr && result_size != 0)
        memset(g->results + item * result_size, 0, result_size);
}

// Takes over the items first .. first + count - 1 of a piece, or, if r is null, of none: o for
// each.
static void gather(const weft_imap *it, gathered *g, const piece *from, weft_outcome o)
{
    bool done = from->r != nullptr && phase_of(slot_state(slot_of(from->r))) == SLOT_DONE;
    if (done && g->results != nullptr && it->result_size != 0)
        memcpy(g->results + from->first * it->result_size, slot_result(slot_of(from->r), 0),
               from->count * it->result_size);
    for (size_t i = 0; i < from->count; i++) {
        weft_outcome one = from->r != nullptr ? result_outcome(from->r, i) : o;
        if (one.error != 0)
            gather_failure(g, from->first + i, it->result_size, one);
        if (g->outcomes != nullptr)
            g->outcomes[from->first + i] = one;
    }
}

// The wait ended early: cancels what has not begun and gives up what has.
static void gather_rest(weft_imap *it, gathered *g, int error)
{
    for (size_t i = 0; i < it->pieces; i++) {
        piece *p = &it->window[i], lost = {nullptr, p->first, p->count};
        int why = result_cancel(p->r);
        gather(it, g, why == EBUSY && weft_result_poll(p->r) != 1 ? &lost : p, {ETIMEDOUT, 0});
        result_release(p->r);
    }
    it->pieces = 0;
    piece unborn = {nullptr, it->next, it->n - it->next};
    gather(it, g, &unborn, {ECANCELED, 0});
    g->error = error;
}

int weft_pool_map(weft_pool *p, weft_pool_fn fn, const void *items, size_t item_size, size_t n,
                  void *results, size_t result_size, const weft_pool_map_options *opts,
                  weft_deadline d)
{
    weft_pool_map_options o = opts != nullptr ? *opts : weft_pool_map_options{};
    gathered g = {(unsigned char *)results, o.outcomes, 0, 0};
    o.unordered = false;
    if (n == 0)
        return pool_check(p) == 0 ? 0 : fail_with(pool_check(p));
    weft_imap *it = weft_pool_imap(p, fn, items, item_size, n, result_size, &o);
    if (it == nullptr)
        return -1;
    int there, saved = errno;
    while ((there = next_piece(it, d)) == 1) {
        gather(it, &g, &it->current, {it->broken, 0});
        it->at = it->current.count;
    }
    if (there < 0)
        gather_rest(it, &g, errno);
    imap_end(it);
    errno = saved;
    return g.error == 0 ? 0 : fail_with(g.error);
}
