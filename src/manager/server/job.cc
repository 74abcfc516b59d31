// job.cc: see job.h.
#include "job.h"

using namespace weft;

enum { A_STEP = 32 }; // jobs, in the background
static const int64_t FOREVER = INT64_MAX;

static int64_t last_number;

// ---- Orders ----

static bool comes_first(const job_turn *a, const job_turn *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->id < b->id;
}

static job_turn turn_of(job *j)
{
    return {j->state == WEFT_JOB_WAITING ? -(int64_t)j->priority : j->due, j->id, j};
}

static void heap_set(job_order *o, size_t i, const job_turn *t)
{
    o->heap[i] = *t;
    t->job->at = i;
}

// Puts it where it belongs, from the free place i on.
static void heap_settle(job_order *o, size_t i, job_turn t)
{
    for (; i > 0 && comes_first(&t, &o->heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap_set(o, i, &o->heap[(i - 1) / 2]);
    for (size_t child; (child = 2 * i + 1) < o->count; i = child) {
        if (child + 1 < o->count && comes_first(&o->heap[child + 1], &o->heap[child]))
            child++;
        if (!comes_first(&o->heap[child], &t))
            break;
        heap_set(o, i, &o->heap[child]);
    }
    heap_set(o, i, &t);
}

static void order_add(job_order *o, job *j)
{
    job_turn t = turn_of(j);
    if (!list_is_empty(&o->line)) {
        job_turn last = turn_of(o->line.previous->job);
        if (comes_first(&t, &last)) {
            j->line.next = nullptr;
            if (o->count == o->room) {
                o->room = o->room == 0 ? 16 : 2 * o->room;
                o->heap = (job_turn *)retake(o->heap, o->room * sizeof *o->heap);
            }
            o->count++;
            heap_settle(o, o->count - 1, t);
            return;
        }
    }
    list_insert(&o->line, &j->line);
}

static void order_remove(job_order *o, const job *j)
{
    if (j->line.next != nullptr) {
        j->line.previous->next = j->line.next;
        j->line.next->previous = j->line.previous;
        return;
    }
    job_turn last = o->heap[--o->count];
    if (j->at < o->count)
        heap_settle(o, j->at, last);
    if (o->count == 0 && o->room > 1024) { // before, it is little beside the jobs
        memory_drop(o->heap);
        o->heap = nullptr;
        o->room = 0;
    }
}

static job *order_first(const job_order *o)
{
    job *in_line = list_is_empty(&o->line) ? nullptr : o->line.next->job;
    if (o->count == 0 || in_line == nullptr)
        return o->count == 0 ? in_line : o->heap[0].job;
    job_turn t = turn_of(in_line);
    return comes_first(&t, &o->heap[0]) ? in_line : o->heap[0].job;
}

static job_order *order_of(const job *j)
{
    return &j->queue->orders[j->state];
}

// Of those whose state ends by itself, the one that comes first; nullptr: there is none.
static job *next_due(const job_queue *q)
{
    job *next = nullptr;
    for (int state = WEFT_JOB_DELAYED; state <= WEFT_JOB_DEAD; state++) {
        job *j = order_first(&q->orders[state]);
        if (j != nullptr && (next == nullptr || j->due < next->due))
            next = j;
    }
    return next;
}

// ---- Texts ----

void weft::job_set(list_item **text, const char *what, size_t n)
{
    memory_give(*text);
    *text = n > 0 ? item_new(what, n) : nullptr;
}

// ---- Tables ----

static void table_put(table *t, const char *key, size_t n, job *j)
{
    entry *e = entry_new(TYPE_PLACE, key, n, hash_of(key, n), 0);
    entry_set_object(e, j);
    table_add(t, e);
}

static job *table_get(table *t, const char *key, size_t n)
{
    entry **link = table_find(t, key, n, hash_of(key, n));
    return link != nullptr ? (job *)entry_object(*link) : nullptr;
}

static void table_drop(table *t, const char *key, size_t n)
{
    memory_give(table_remove(t, table_find(t, key, n, hash_of(key, n))));
}

job *weft::job_by_id(job_queue *q, int64_t id)
{
    return table_get(&q->by_id, (const char *)&id, sizeof id);
}

job *weft::job_by_key(job_queue *q, const word *key)
{
    return key->size > 0 ? table_get(&q->by_key, key->text, key->size) : nullptr;
}

// ---- Time ----

static void on_alarm(weft_alarm *, void *arg);

static void look_by(job_queue *q, int64_t at)
{
    if (q->alarm_at <= at)
        return;
    q->alarm_at = at;
    weft_loop_arm(this_server->loop, &q->alarm, 0, on_alarm, q, at);
}

void weft::job_time_is_up(job *j)
{
    if (j->state == WEFT_JOB_DELAYED)
        job_move(j, WEFT_JOB_WAITING, 0);
    else if (j->state == WEFT_JOB_RUNNING)
        job_lost(j,
                 j->limit_at != 0 && j->limit_at <= jobs_now() ? "out of time" : "the lease ended");
    else
        job_forget(j);
}

static void queue_free(job_queue *q)
{
    if (q->alarm.loop != nullptr)
        weft_loop_disarm(&q->alarm);
    for (const job_order &o : q->orders)
        memory_drop(o.heap);
    table_clear(&q->by_id, entry_drop);
    table_clear(&q->by_key, entry_drop);
    memory_give(q);
}

static job *any_of(job_queue *q)
{
    for (job &ring : q->rings)
        if (!list_is_empty(&ring))
            return ring.previous;
    return nullptr;
}

// What a queue that was removed has still.
static bool remove_some(job_queue *q)
{
    job *j = any_of(q);
    for (int i = 1; i < A_STEP && j != nullptr; i++, j = any_of(q))
        job_forget(j);
    if (j != nullptr)
        return true;
    queue_free(q);
    return false;
}

static bool go_on(server *s, void *arg)
{
    job_queue *q = (job_queue *)arg;
    if (q->place == nullptr)
        return remove_some(q);
    int64_t now = jobs_now();
    job *j = next_due(q);
    for (int i = 0; i < A_STEP && j != nullptr && j->due <= now; i++, j = next_due(q))
        job_time_is_up(j);
    if (j != nullptr && j->due <= now)
        return true;
    q->works = false;
    if (j != nullptr)
        look_by(q, j->due);
    place_ready(s, q->place); // which drops it, if nothing is left
    return false;
}

static void begin_work(job_queue *q)
{
    if (!q->works)
        background(this_server, go_on, q);
    q->works = true;
}

static void on_alarm(weft_alarm *, void *arg)
{
    job_queue *q = (job_queue *)arg;
    q->alarm_at = FOREVER;
    begin_work(q);
}

// ---- States ----

int64_t weft::jobs_now(void)
{
    return weft_loop_now(this_server->loop);
}

// The wall clock as it was at first: that it is set moves no number.
int64_t weft::job_number(void)
{
    static int64_t before; // so many microseconds before weft_now() was 0
    if (before == 0)
        before = wall_ms() * 1000 - jobs_now() / 1000;
    int64_t us = before + jobs_now() / 1000;
    last_number = us > last_number ? us : last_number + 1;
    return last_number;
}

void weft::job_number_above(int64_t number)
{
    last_number = number > last_number ? number : last_number;
}

job *weft::job_restore(job_queue *q, int64_t id, const word *value, const word *key)
{
    job *j = (job *)memory_take_zeroed(1, sizeof *j);
    list_init(&j->watches);
    j->queue = q;
    j->held.job = j->line.job = j;
    j->id = id;
    job_set(&j->value, value->text, value->size);
    job_set(&j->key, key->text, key->size);
    table_put(&q->by_id, (const char *)&j->id, sizeof j->id, j);
    if (key->size > 0)
        table_put(&q->by_key, key->text, key->size, j);
    return j;
}

job *weft::job_new(job_queue *q, const word *value, const word *key)
{
    return job_restore(q, job_number(), value, key);
}

static void untie(job *j)
{
    if (j->held.next != nullptr)
        list_remove(&j->held);
    j->held.next = nullptr;
}

static void leave_state(job *j)
{
    if (j->state == 0)
        return;
    untie(j);
    order_remove(order_of(j), j);
    list_remove(j);
    j->queue->counts[j->state]--;
}

void weft::job_move(job *j, int state, int64_t due)
{
    job_queue *q = j->queue;
    leave_state(j);
    j->state = state;
    j->due = due;
    j->since = jobs_now();
    list_insert(&q->rings[state], j);
    q->counts[state]++;
    order_add(order_of(j), j);
    if (state == WEFT_JOB_WAITING)
        place_ready(this_server, q->place);
    else
        look_by(q, due);
}

void weft::job_forget(job *j)
{
    job_queue *q = j->queue;
    while (j->watches.next != &j->watches) {
        peer_wait *w = j->watches.next->wait;
        reply_error(w->peer, "NOSUCH there is no such job any more");
        wait_end(w); // takes all its watches out
    }
    leave_state(j);
    table_drop(&q->by_id, (const char *)&j->id, sizeof j->id);
    if (j->key != nullptr)
        table_drop(&q->by_key, j->key->text, j->key->size);
    list_item *const texts[] = {j->value, j->worker, j->note, j->outcome, j->key};
    for (list_item *text : texts)
        memory_give(text);
    memory_give(j);
}

void weft::job_ends(job *j, int state)
{
    job_queue *q = j->queue;
    job_move(j, state, jobs_now() + j->keep_ms * 1000000);
    while (j->watches.next != &j->watches) {
        job_watch *one = j->watches.next;
        peer_wait *w = one->wait;
        list_remove(one);
        list_init(one); // in no ring
        if (--w->number == 0) {
            reply_integer(w->peer, 1);
            wait_end(w);
        }
    }
    // A few more, should the bound have become less.
    for (int i = 0; i < 4 && (int64_t)q->counts[state] > q->keep; i++)
        job_forget(q->rings[state].next);
}

static int64_t lease_end(const job *j, int64_t lease_ms)
{
    int64_t end = jobs_now() + lease_ms * 1000000;
    return j->limit_at != 0 && j->limit_at < end ? j->limit_at : end;
}

void weft::job_lease(job *j, peer *p, int64_t lease_ms, bool tied)
{
    j->limit_at = j->limit_ms != 0 ? jobs_now() + j->limit_ms * 1000000 : 0;
    j->token = job_number();
    j->progress = 0;
    job_set(&j->note, nullptr, 0);
    j->tries++;
    j->queue->taken++;
    job_move(j, WEFT_JOB_RUNNING, lease_end(j, lease_ms));
    if (!tied)
        return;
    list_insert(&p->jobs, &j->held);
    owner_watch(p, true);
}

void weft::job_extend(job *j, int64_t lease_ms)
{
    order_remove(order_of(j), j);
    j->due = lease_end(j, lease_ms);
    order_add(order_of(j), j);
    look_by(j->queue, j->due);
}

void weft::job_lost(job *j, const char *why)
{
    j->queue->lost++;
    job_set(&j->outcome, why, strlen(why));
    if (j->tries > j->retries)
        job_ends(j, WEFT_JOB_DEAD);
    else
        job_move(j, WEFT_JOB_WAITING, 0);
}

job *weft::job_first(const job_queue *q)
{
    return q->paused ? nullptr : order_first(&q->orders[WEFT_JOB_WAITING]);
}

// ---- Queues ----

static job_queue *queue_new(place *place)
{
    job_queue *q = (job_queue *)memory_take_zeroed(1, sizeof *q);
    q->place = place;
    q->keep = 100000;
    q->alarm_at = FOREVER;
    for (job &ring : q->rings)
        list_init(&ring);
    for (job_order &o : q->orders)
        list_init(&o.line);
    return q;
}

static job_queue *queue_at(place *place)
{
    if (place != nullptr && place->jobs == nullptr)
        place->jobs = queue_new(place);
    return place != nullptr ? place->jobs : nullptr;
}

job_queue *weft::jobs_find(server *s, const word *name)
{
    return queue_at(place_find(s, AT_JOBS, 0, name->text, name->size, false));
}

job_queue *weft::jobs_open(server *s, const word *name)
{
    return queue_at(place_find(s, AT_JOBS, 0, name->text, name->size, true));
}

job_queue *weft::jobs_make(peer *p, const word *name, bool adds)
{
    return queue_at(place_make(p, AT_JOBS, 0, name, adds));
}

bool weft::jobs_are_idle(const place *place)
{
    const job_queue *q = place->jobs;
    return q == nullptr || (q->by_id.count == 0 && !q->paused && !q->works);
}

void weft::jobs_remove(server *s, place *place)
{
    job_queue *q = place->jobs;
    if (q == nullptr)
        return;
    place->jobs = nullptr;
    q->place = nullptr;
    begin_work(q);
    place_ready(s, place);
}

void weft::jobs_free(place *place)
{
    job_queue *q = place->jobs;
    if (q == nullptr)
        return;
    for (job *j; (j = any_of(q)) != nullptr;)
        job_forget(j);
    queue_free(q);
}

static bool lose_some(server *s, void *)
{
    for (int i = 0; i < A_STEP && !list_is_empty(&s->lost_jobs); i++) {
        job *j = s->lost_jobs.next->job;
        if (j->queue->place != nullptr)
            job_lost(j, "the connection ended");
        else
            untie(j); // it goes with its queue
    }
    return !list_is_empty(&s->lost_jobs);
}

void weft::jobs_release(peer *p)
{
    server *s = p->server;
    bool works = !list_is_empty(&s->lost_jobs);
    list_splice(&s->lost_jobs, &p->jobs);
    if (!works && !list_is_empty(&s->lost_jobs))
        background(s, lose_some, nullptr);
}
