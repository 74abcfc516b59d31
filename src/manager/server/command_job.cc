// command_job.cc: WEFT.JOB.*: jobs on lease.
#include "commands.h"
#include "job.h"

#include <base/number.h>

using namespace weft;

static const int64_t LONGEST_MS = INT64_C(4000000000000); // in nanoseconds it still fits
static const int64_t LONGEST_BACKOFF_MS = 3600000;

enum { MOST_AT_ONCE = 1000 }; // jobs of one command: it is not to take long

// ---- Words ----

// Whole numbers of words, each from `least` to `most`.  false: the peer was told.
static bool parse_within(peer *p, const word *w, int64_t least, int64_t most, int64_t *number)
{
    if (!parse_integer(p, w, number))
        return false;
    if (*number >= least && *number <= most)
        return true;
    reply_not_integer(p);
    return false;
}

static bool parse_span(peer *p, const word *w, int64_t *ms)
{
    return parse_within(p, w, 0, LONGEST_MS, ms);
}

// The queue and the job that words 1 and 2 name.  nullptr: the peer was told.
static job *job_named(peer *p, const word *words)
{
    int64_t id;
    if (!parse_integer(p, &words[2], &id))
        return nullptr;
    job_queue *q = jobs_find(p->server, &words[1]);
    job *j = q != nullptr ? job_by_id(q, id) : nullptr;
    if (j == nullptr)
        reply_error(p, "NOSUCH there is no such job");
    return j;
}

// The job that words 1 to 3 name, queue, id and token, if the lease is held still, or if it is done
// and `done`.  nullptr: the peer was told.
static job *job_held(peer *p, const word *words, bool done)
{
    int64_t id, token;
    if (!parse_integer(p, &words[2], &id) || !parse_integer(p, &words[3], &token))
        return nullptr;
    job_queue *q = jobs_find(p->server, &words[1]);
    job *j = q != nullptr ? job_by_id(q, id) : nullptr;
    if (j != nullptr && j->token == token && j->state == WEFT_JOB_RUNNING && j->due <= jobs_now()) {
        job_time_is_up(j);    // its alarm is late
        j = job_by_id(q, id); // it may be gone
    }
    if (j != nullptr && j->token == token &&
        (j->state == WEFT_JOB_RUNNING || (done && j->state == WEFT_JOB_DONE)))
        return j;
    reply_error(p, "NOTOWNER the lease is over");
    return nullptr;
}

// Whether there is memory for what a worker says.  A little is taken although memory is full, for
// a job that can't end is no gain.  false: the peer was told.
static bool has_room(peer *p, const word *text)
{
    enum { LITTLE = 1024 };
    if (text->size <= LITTLE || !memory_is_full(p->server))
        return true;
    reply_full(p);
    return false;
}

// ---- Replies ----

// Appends a sign, a number and the line's end.
static char *put_number(char *to, char sign, int64_t number)
{
    *to++ = sign;
    to += number_print(to, number);
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

static void reply_item(peer *p, const list_item *text)
{
    reply_string(p, text != nullptr ? text->text : "", text != nullptr ? text->size : 0);
}

// The numbers in one piece: they are most of a reply.
static void reply_job(peer *p, const job *j)
{
    int64_t now = jobs_now(), wall = wall_ms(),
            until = j->state == WEFT_JOB_WAITING ? 0 : wall + (j->due - now) / 1000000;
    const int64_t numbers[] = {j->id,    j->token,   j->state,    j->priority,
                               j->tries, j->retries, j->limit_ms, wall - (now - j->since) / 1000000,
                               until,    j->progress};
    const list_item *const texts[] = {j->value, j->worker, j->note, j->outcome, j->key};
    const size_t n = sizeof numbers / sizeof *numbers;
    char head[(n + 1) * (NUMBER_ROOM + 3)], *to = head;
    to = put_number(to, '*', (int64_t)(n + sizeof texts / sizeof *texts));
    for (int64_t number : numbers)
        to = put_number(to, ':', number);
    reply_raw(p, head, (size_t)(to - head));
    for (const list_item *text : texts)
        reply_item(p, text);
}

// ---- Put, take ----

// WEFT.JOB.PUT name delay-ms priority retries limit-ms backoff-ms keep-ms keep key value
void weft::command_job_put(peer *p, const word *words, int)
{
    int64_t delay, priority, retries, limit, backoff, kept, keep;
    if (!parse_span(p, &words[2], &delay) ||
        !parse_within(p, &words[3], INT32_MIN, INT32_MAX, &priority) ||
        !parse_within(p, &words[4], 0, INT32_MAX, &retries) || !parse_span(p, &words[5], &limit) ||
        !parse_span(p, &words[6], &backoff) || !parse_span(p, &words[7], &kept) ||
        !parse_within(p, &words[8], 0, INT64_MAX, &keep))
        return;
    job_queue *q = jobs_make(p, &words[1], true);
    if (q == nullptr)
        return;
    job *j = job_by_key(q, &words[9]);
    if (j != nullptr) {
        reply_integer(p, -j->id);
        return;
    }
    j = job_new(q, &words[10], &words[9]);
    j->priority = (int)priority;
    j->retries = (int)retries;
    j->limit_ms = limit;
    j->backoff_ms = backoff;
    j->keep_ms = kept;
    q->keep = keep;
    q->put++;
    job_move(j, delay > 0 ? WEFT_JOB_DELAYED : WEFT_JOB_WAITING, jobs_now() + delay * 1000000);
    reply_integer(p, j->id);
}

static void give(peer *p, job *j, int64_t lease_ms, bool tied, const word *worker)
{
    job_set(&j->worker, worker->text, worker->size);
    job_lease(j, p, lease_ms, tied);
    reply_job(p, j);
}

void weft::jobs_serve(server *, place *place)
{
    peer_wait *w;
    for (job *j; place->jobs != nullptr && (j = job_first(place->jobs)) != nullptr &&
                 (w = wait_first(&place->waiting)) != nullptr;) {
        give(w->peer, j, w->number, w->gets, &w->text);
        wait_end(w);
    }
}

// WEFT.JOB.TAKE name ms lease-ms TIED|FREE worker
void weft::command_job_take(peer *p, const word *words, int)
{
    weft_deadline d;
    int64_t lease;
    bool tied = word_is(&words[4], "tied");
    if (!tied && !word_is(&words[4], "free")) {
        reply_syntax(p);
        return;
    }
    if (!parse_milliseconds(p, &words[2], &d) || !parse_span(p, &words[3], &lease) ||
        !has_room(p, &words[5]))
        return;
    job_queue *q = jobs_make(p, &words[1], false);
    if (q == nullptr)
        return;
    place *place = q->place;
    job *j = list_is_empty(&place->waiting) ? job_first(q) : nullptr;
    if (j != nullptr) {
        give(p, j, lease, tied, &words[5]);
        return;
    }
    peer_wait *w = wait_in(p, place, &place->waiting, &words[5], d);
    if (w == nullptr)
        return;
    w->number = lease;
    w->gets = tied;
}

// ---- The lease ----

// WEFT.JOB.BEAT name id token lease-ms progress note
void weft::command_job_beat(peer *p, const word *words, int)
{
    int64_t lease, progress;
    if (!parse_span(p, &words[4], &lease) || !parse_integer(p, &words[5], &progress) ||
        !has_room(p, &words[6]))
        return;
    job *j = job_held(p, words, false);
    if (j == nullptr)
        return;
    j->progress = progress;
    job_set(&j->note, words[6].text, words[6].size);
    job_extend(j, lease);
    reply_integer(p, 1);
}

// WEFT.JOB.DONE name id token result
void weft::command_job_done(peer *p, const word *words, int)
{
    if (!has_room(p, &words[4]))
        return;
    job *j = job_held(p, words, true);
    if (j == nullptr)
        return;
    reply_integer(p, 1);
    if (j->state == WEFT_JOB_DONE)
        return; // said twice
    job_set(&j->outcome, words[4].text, words[4].size);
    j->queue->ended++;
    job_ends(j, WEFT_JOB_DONE);
}

static int64_t backoff_ms(const job *j)
{
    int64_t most = j->backoff_ms > LONGEST_BACKOFF_MS ? j->backoff_ms : LONGEST_BACKOFF_MS;
    int64_t ms = j->backoff_ms;
    for (int i = 1; i < j->tries && ms > 0 && ms < most; i++)
        ms *= 2;
    return ms < most ? ms : most;
}

// WEFT.JOB.FAIL name id token AGAIN|NEVER|UNDONE error
void weft::command_job_fail(peer *p, const word *words, int)
{
    bool never = word_is(&words[4], "never"), undone = word_is(&words[4], "undone");
    if (!never && !undone && !word_is(&words[4], "again")) {
        reply_syntax(p);
        return;
    }
    if (!has_room(p, &words[5]))
        return;
    job *j = job_held(p, words, false);
    if (j == nullptr)
        return;
    if (undone) {
        j->tries--;
        j->queue->taken--;
    } else {
        j->queue->failed++;
        job_set(&j->outcome, words[5].text, words[5].size);
    }
    bool again = undone || (!never && j->tries <= j->retries);
    reply_integer(p, again);
    if (!again)
        job_ends(j, WEFT_JOB_DEAD);
    else if (undone || j->backoff_ms == 0)
        job_move(j, WEFT_JOB_WAITING, 0);
    else
        job_move(j, WEFT_JOB_DELAYED, jobs_now() + backoff_ms(j) * 1000000);
}

// ---- What became of them ----

void weft::command_job_get(peer *p, const word *words, int)
{
    const job *j = job_named(p, words);
    if (j != nullptr)
        reply_job(p, j);
}

static bool has_ended(const job *j)
{
    return j->state == WEFT_JOB_DONE || j->state == WEFT_JOB_DEAD;
}

// Takes the next number out of a text of them, with blanks between.  nullptr: there is none, or
// (*bad) something else.
static const char *next_number(const char *at, const char *end, int64_t *number, bool *bad)
{
    while (at < end && *at == ' ')
        at++;
    const char *stop = at;
    while (stop < end && *stop != ' ')
        stop++;
    *bad = stop > at && !parse_number(at, (size_t)(stop - at), number);
    return stop > at && !*bad ? stop : nullptr;
}

// Makes watches for the jobs among `ids` that have not ended; how many.  -1: the peer was told why
// not.
static int watches_for(peer *p, job_queue *q, const word *ids, job_watch *watches)
{
    const char *at = ids->text, *end = at + ids->size;
    int64_t id;
    int n = 0, seen = 0;
    bool bad = false;
    for (; (at = next_number(at, end, &id, &bad)) != nullptr; seen++) {
        job *j = q != nullptr ? job_by_id(q, id) : nullptr;
        if (j == nullptr) {
            reply_error(p, "NOSUCH there is no job %lld", (long long)id);
            return -1;
        }
        if (seen == MOST_AT_ONCE) {
            reply_error(p, "ERR more than %d jobs", MOST_AT_ONCE);
            return -1;
        }
        watches[n].job = j;
        n += !has_ended(j);
    }
    if (!bad)
        return n;
    reply_not_integer(p);
    return -1;
}

static void unwatch(peer_wait *w)
{
    job_watch *all = (job_watch *)w->text.text;
    for (size_t i = 0; i < w->text.size / sizeof *all; i++)
        list_remove(&all[i]);
}

static void wait_for(peer *p, job_queue *q, const job_watch *watches, size_t n, weft_deadline d)
{
    word copied = {(const char *)watches, n * sizeof *watches};
    peer_wait *w = wait_in(p, q->place, &q->place->joiners, &copied, d);
    if (w == nullptr)
        return;
    job_watch *all = (job_watch *)w->text.text;
    for (size_t i = 0; i < n; i++) {
        all[i].wait = w;
        list_insert(&all[i].job->watches, &all[i]);
    }
    w->number = (int64_t)n;
    w->ended = unwatch;
}

// WEFT.JOB.WAIT name ms "id id ..."
void weft::command_job_wait(peer *p, const word *words, int)
{
    weft_deadline d;
    if (!parse_milliseconds(p, &words[2], &d))
        return;
    job_watch *watches = (job_watch *)memory_take_zeroed(MOST_AT_ONCE + 1, sizeof *watches);
    job_queue *q = jobs_find(p->server, &words[1]);
    int n = watches_for(p, q, &words[3], watches);
    if (n == 0)
        reply_integer(p, 1);
    else if (n > 0)
        wait_for(p, q, watches, (size_t)n, d);
    memory_give(watches);
}

// WEFT.JOB.LIST name state after count
void weft::command_job_list(peer *p, const word *words, int)
{
    int64_t state, after, most;
    if (!parse_within(p, &words[2], WEFT_JOB_WAITING, WEFT_JOB_DEAD, &state) ||
        !parse_integer(p, &words[3], &after) || !parse_within(p, &words[4], 0, MOST_AT_ONCE, &most))
        return;
    job_queue *q = jobs_find(p->server, &words[1]);
    const job *ring = q != nullptr ? &q->rings[state] : nullptr;
    const job *first = q != nullptr ? ring->next : nullptr;
    if (after != 0) {
        const job *j = q != nullptr ? job_by_id(q, after) : nullptr;
        if (j == nullptr || j->state != state) {
            reply_error(p, "NOSUCH there is no such job in that state");
            return;
        }
        first = j->next;
    }
    size_t n = 0;
    for (const job *j = first; j != ring && n < (size_t)most; j = j->next)
        n++;
    reply_array(p, n);
    for (const job *j = first; n > 0; n--, j = j->next)
        reply_job(p, j);
}

void weft::command_job_retry(peer *p, const word *words, int)
{
    job *j = job_named(p, words);
    if (j == nullptr)
        return;
    bool dead = j->state == WEFT_JOB_DEAD;
    reply_integer(p, dead);
    if (!dead)
        return;
    j->tries = 0;
    job_move(j, WEFT_JOB_WAITING, 0);
}

void weft::command_job_remove(peer *p, const word *words, int)
{
    job *j = job_named(p, words);
    if (j == nullptr)
        return;
    place *place = j->queue->place;
    job_forget(j);
    reply_integer(p, 1);
    place_ready(p->server, place);
}

// WEFT.JOB.PAUSE name 0|1
void weft::command_job_pause(peer *p, const word *words, int)
{
    int64_t paused;
    if (!parse_within(p, &words[2], 0, 1, &paused))
        return;
    job_queue *q = jobs_make(p, &words[1], true);
    if (q == nullptr)
        return;
    q->paused = paused != 0;
    place_ready(p->server, q->place);
    reply_integer(p, paused);
}

void weft::command_job_count(peer *p, const word *words, int)
{
    static const job_queue none = {};
    const job_queue *q = jobs_find(p->server, &words[1]);
    q = q != nullptr ? q : &none;
    reply_array(p, WEFT_JOB_DEAD + 6);
    for (int state = WEFT_JOB_WAITING; state <= WEFT_JOB_DEAD; state++)
        reply_integer(p, (int64_t)q->counts[state]);
    const int64_t numbers[] = {q->paused, q->put, q->taken, q->ended, q->failed, q->lost};
    for (int64_t number : numbers)
        reply_integer(p, number);
}
