// expiry.cc: when keys expire.
//
// What expires lies in a wheel of milliseconds (how one works is told in async/wheel.h).  When the
// time of a slot begins, all that lies there goes to `begun` at once, and the background looks
// through that in pieces: what is due is removed, what is not is filed again, below.  So a million
// keys that expire together are some work in each of many rounds, and one alarm.  Who looks at a
// key meanwhile compares the time as well (key.cc).
//
// The wheel is as wide as the wall clock, whose time expiries are.  When that is set back, all
// begins again from there.
#include "place.h"
#include "server.h"

#include <time.h>

using namespace weft;

enum { LEVELS = 6, SLOTS = 256, WORDS = SLOTS / 64, PIECES = 32 };

namespace {
struct expiry_link {
    expiry_link *next, *previous;
};

struct expiry {
    struct entry *entry; // first: entry.h
    expiry_link link;    // in a slot, or `begun`; of itself: in neither
    int64_t at_ms;
    int home; // in `databases`: where its key is
};

} // namespace

struct weft::expiry_wheel {
    int64_t tick; // the first millisecond that has not begun
    uint64_t occupied[LEVELS]
                     [WORDS]; // a bit a slot; one that has become empty keeps it for a while
    expiry_link slots[LEVELS][SLOTS];
    expiry_link begun;
    int homes[DATABASES], databases[DATABASES]; // of each database, and back
    bool looking;                               // the background is at it
    weft_alarm alarm;                           // for the next slot, else
    int64_t alarm_ms;
};

int64_t weft::wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// ---- The wheel ----

expiry_wheel *weft::expiry_open(void)
{
    expiry_wheel *w = (expiry_wheel *)memory_take_zeroed(1, sizeof *w);
    for (auto &level : w->slots)
        for (expiry_link &slot : level)
            list_init(&slot);
    list_init(&w->begun);
    for (int db = 0; db < DATABASES; db++)
        w->homes[db] = w->databases[db] = db;
    return w;
}

// When the slot begins that it lies in now.  What is further than the wheel goes lies nowhere.
static int64_t file(expiry_wheel *w, expiry *x)
{
    uint64_t at = (uint64_t)x->at_ms, differs = at ^ (uint64_t)w->tick;
    if (x->at_ms < w->tick) {
        list_insert(&w->begun, &x->link);
        return x->at_ms;
    }
    int level = (63 - __builtin_clzll(differs | 1)) / 8, below = level * 8;
    if (level >= LEVELS) {
        list_init(&x->link);
        return INT64_MAX;
    }
    size_t slot = at >> below & (SLOTS - 1);
    list_insert(&w->slots[level][slot], &x->link);
    w->occupied[level][slot / 64] |= 1ull << slot % 64;
    return x->at_ms >> below << below;
}

// The first slot of a level, from `from` on, that holds something; SLOTS: none.
static size_t first_occupied(expiry_wheel *w, int level, size_t from)
{
    uint64_t *words = w->occupied[level], word = words[from / 64] & ~0ull << from % 64;
    for (size_t i = from / 64;; word = words[i]) {
        for (; word != 0; word &= word - 1) {
            size_t slot = i * 64 + (size_t)__builtin_ctzll(word);
            if (!list_is_empty(&w->slots[level][slot]))
                return slot;
            words[i] &= ~(1ull << slot % 64);
        }
        if (++i == WORDS)
            return SLOTS;
    }
}

// When the next slot begins, and which it is; INT64_MAX: nothing lies in any.
static int64_t next_slot(expiry_wheel *w, expiry_link **next)
{
    int64_t first = INT64_MAX;
    for (int level = 0; level < LEVELS; level++) {
        int64_t above = w->tick >> 8 * level;
        size_t slot = first_occupied(w, level, (size_t)above & (SLOTS - 1));
        if (slot == SLOTS)
            continue;
        int64_t begins = (int64_t)(((uint64_t)above & ~(SLOTS - 1ull)) | slot) << 8 * level;
        if (begins < first) {
            first = begins;
            *next = &w->slots[level][slot];
        }
    }
    return first;
}

// Whether a slot had begun by `now`; what lay there is in `begun` then.
static bool begin_slot(expiry_wheel *w, int64_t now)
{
    expiry_link *slot;
    int64_t at = next_slot(w, &slot);
    if (at > now)
        return false;
    list_splice(&w->begun, slot);
    w->tick = at > w->tick ? at : w->tick;
    return true;
}

static void begin_all(expiry_wheel *w, int64_t now)
{
    for (int level = 0; level < LEVELS; level++)
        for (expiry_link &slot : w->slots[level])
            list_splice(&w->begun, &slot);
    w->tick = now;
}

// ---- The look through what has begun ----

static void on_alarm(weft_alarm *, void *arg);

static void arm(server *s, int64_t at)
{
    expiry_wheel *w = s->expiries;
    int64_t left = at - wall_ms();
    w->alarm_ms = at;
    weft_loop_arm(s->loop, &w->alarm, 0, on_alarm, s, left > 0 ? weft_in_ms(left) : WEFT_NOW);
}

// One that is due.  If its key is no longer there, it is among what was set aside, and goes with
// that.
static void expire(server *s, const expiry *x)
{
    const entry *e = x->entry;
    int db = s->expiries->databases[x->home];
    entry **link = table_find(&s->keys[db], entry_key(e), e->key_size, e->hash);
    if (link == nullptr || *link != e)
        return;
    key_remove(s, db, link);
    s->expired++;
}

static bool look(server *s, void *)
{
    expiry_wheel *w = s->expiries;
    int64_t now = wall_ms();
    if (now + 1 < w->tick)
        begin_all(w, now);
    for (int i = 0; i < PIECES; i++) {
        while (list_is_empty(&w->begun) && begin_slot(w, now))
            ;
        if (list_is_empty(&w->begun)) {
            expiry_link *slot;
            int64_t at = next_slot(w, &slot);
            w->tick = now + 1;
            w->looking = false;
            if (at != INT64_MAX)
                arm(s, at);
            return false;
        }
        expiry *x = (expiry *)(void *)((char *)w->begun.next - offsetof(expiry, link));
        list_remove(&x->link);
        list_init(&x->link);
        if (x->at_ms <= now)
            expire(s, x);
        else
            file(w, x);
    }
    return true;
}

static void begin_look(server *s)
{
    expiry_wheel *w = s->expiries;
    if (w->looking)
        return;
    w->looking = true;
    background(s, look, nullptr);
}

static void on_alarm(weft_alarm *, void *arg)
{
    begin_look((server *)arg);
}

// ---- Keys ----

int64_t weft::key_expires(const entry *e)
{
    const expiry *x = (const expiry *)entry_expiry(e);
    return x != nullptr ? x->at_ms : -1;
}

void weft::expiry_drop(void *which)
{
    expiry *x = (expiry *)which;
    list_remove(&x->link);
    memory_give(x);
}

void weft::key_expire_at(server *s, int db, entry **link, int64_t at_ms)
{
    expiry_wheel *w = s->expiries;
    expiry *x = (expiry *)entry_expiry(*link);
    if (w->alarm.loop == nullptr && !w->looking)
        w->tick = wall_ms(); // nothing lies in it, nor had to be begun
    if (x == nullptr) {
        x = (expiry *)memory_take(sizeof *x);
        x->home = w->homes[db];
        entry_set_expiry(link, x);
        s->expiring[db]++;
    } else {
        list_remove(&x->link);
    }
    x->at_ms = at_ms;
    int64_t begins = file(w, x);
    if (begins < w->tick)
        begin_look(s);
    else if (!w->looking && begins != INT64_MAX &&
             (w->alarm.loop == nullptr || begins < w->alarm_ms))
        arm(s, begins);
}

void weft::key_persist(server *s, int db, entry **link)
{
    void *x = entry_expiry(*link);
    if (x == nullptr)
        return;
    entry_set_expiry(link, nullptr);
    expiry_drop(x);
    s->expiring[db]--;
}

void weft::expiries_swap(server *s, int a, int b)
{
    expiry_wheel *w = s->expiries;
    size_t count = s->expiring[a];
    int home = w->homes[a];
    s->expiring[a] = s->expiring[b];
    s->expiring[b] = count;
    w->homes[a] = w->homes[b];
    w->homes[b] = home;
    w->databases[w->homes[a]] = a;
    w->databases[home] = b;
}
