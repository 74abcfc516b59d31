// remote_jobs.cc: jobs.  Of its options a queue keeps the least: those of a put and a take travel
// with the call, so that all who use one name need not agree.
#include "remote.h"

#include <base/errno.h>
#include <manager/redis/scripts.h>
#include <weft/remote_jobs.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

using namespace weft;

#define KEYS                                                                                       \
    {                                                                                              \
        "}:jobs", "}:jobs:wake"                                                                    \
    }
#define OPERATION(name, command)                                                                   \
    static const remote_operation on_##name = {REMOTE_JOBS, command, {lua::jobs_##name, KEYS}};

OPERATION(put, "WEFT.JOB.PUT")
OPERATION(beat, "WEFT.JOB.BEAT")
OPERATION(done, "WEFT.JOB.DONE")
OPERATION(fail, "WEFT.JOB.FAIL")
OPERATION(get, "WEFT.JOB.GET")
OPERATION(wait, "WEFT.JOB.WAIT")
OPERATION(list, "WEFT.JOB.LIST")
OPERATION(retry, "WEFT.JOB.RETRY")
OPERATION(remove, "WEFT.JOB.REMOVE")
OPERATION(pause, "WEFT.JOB.PAUSE")
OPERATION(count, "WEFT.JOB.COUNT")

// On Redis nobody says when a lease or a delay ends: it is looked for so often.
static const remote_operation on_take = {
    REMOTE_JOBS, "WEFT.JOB.TAKE", when_item({lua::jobs_take, KEYS}, 3, 250), LATE_JOB, &on_fail};

// ---- Opening ----

static const int64_t LONGEST_MS = INT64_C(4000000000000); // as the server's
static const int64_t MS = 1000000, DAY_MS = 86400000;

namespace {
struct rules {
    int64_t lease_ms, backoff_ms, keep_ms, keep;
    int retries;
    bool tied;
    char worker[1]; // and on; "": the process's
};
} // namespace

// Rounded up, for nothing is to end early.
static int64_t to_ms(int64_t ns)
{
    int64_t ms = ns / MS + (ns % MS > 0);
    return ms < LONGEST_MS ? ms : LONGEST_MS;
}

// 0: the usual, below 0: none.
static int64_t or_usual(int64_t number, int64_t usual)
{
    return number == 0 ? usual : number > 0 ? number : 0;
}

weft_remote_jobs *weft_remote_jobs_open(weft_client *c, const char *name,
                                        const weft_remote_jobs_options *opts)
{
    static const weft_remote_jobs_options usual = {};
    const weft_remote_jobs_options *o = opts != nullptr ? opts : &usual;
    if (o->lease_ns < 0 || o->keep_ns < 0 || o->keep > INT64_MAX ||
        (o->flags & ~WEFT_JOBS_TIED) != 0) {
        errno = EINVAL;
        return nullptr;
    }
    size_t n = o->worker != nullptr ? strlen(o->worker) : 0;
    rules *own = (rules *)calloc(1, sizeof *own + n);
    if (own == nullptr)
        return nullptr;
    own->lease_ms = or_usual(to_ms(o->lease_ns), 30000);
    own->backoff_ms = or_usual(o->backoff_ns < 0 ? -1 : to_ms(o->backoff_ns), 1000);
    own->keep_ms = or_usual(to_ms(o->keep_ns), DAY_MS);
    own->keep = or_usual((int64_t)o->keep, 100000);
    own->retries = (int)or_usual(o->retries, 3);
    own->tied = (o->flags & WEFT_JOBS_TIED) != 0;
    if (n > 0)
        memcpy(own->worker, o->worker, n);
    weft_remote_jobs *q = remote_open(c, REMOTE_JOBS, name, own->lease_ms);
    if (q == nullptr)
        free_keep_errno(own);
    else
        q->own = own;
    return q;
}

weft_remote *weft::remote_jobs_open_text(weft_client *c, const char *name, int64_t lease_ms)
{
    weft_remote_jobs_options o = {};
    o.lease_ns = (lease_ms < LONGEST_MS ? lease_ms : LONGEST_MS) * MS;
    return weft_remote_jobs_open(c, name, &o);
}

static const rules *rules_of(const weft_remote_jobs *q)
{
    return remote_check(q, REMOTE_JOBS) == 0 ? (const rules *)q->own : nullptr;
}

// ---- Jobs out of replies ----

namespace {
enum field {
    ID,
    TOKEN,
    STATE,
    PRIORITY,
    TRIES,
    RETRIES,
    LIMIT,
    SINCE,
    UNTIL,
    PROGRESS, // numbers
    VALUE,
    WORKER,
    NOTE,
    OUTCOME,
    KEY,
    FIELDS
};

// What the user's pointer to the first job is to.
struct jobs_reply {
    weft_reply *reply;
    weft_remote_job jobs[1]; // and on
};
} // namespace

// Redis says numbers as text.
static int64_t number_of(const weft_reply *r)
{
    int64_t number = 0;
    if (r->type == WEFT_REPLY_INTEGER)
        return r->integer;
    if (r->type == WEFT_REPLY_STRING && !number_parse(r->text, r->size, &number))
        number = (int64_t)strtod(r->text, nullptr); // a time, as a sorted set has it
    return number;
}

static bool is_job(const weft_reply *r)
{
    if (r->type != WEFT_REPLY_ARRAY || r->size != FIELDS)
        return false;
    for (int i = VALUE; i < FIELDS; i++)
        if (r->items[i].type != WEFT_REPLY_STRING)
            return false;
    return true;
}

static void read_job(weft_remote_job *j, const weft_reply *r)
{
    const weft_reply *f = r->items;
    j->id = number_of(&f[ID]);
    j->token = number_of(&f[TOKEN]);
    j->state = (int)number_of(&f[STATE]);
    j->priority = (int)number_of(&f[PRIORITY]);
    j->tries = (int)number_of(&f[TRIES]);
    j->retries = (int)number_of(&f[RETRIES]);
    j->limit_ns = number_of(&f[LIMIT]) * MS;
    j->since_ns = number_of(&f[SINCE]) * MS;
    j->until_ns = number_of(&f[UNTIL]) * MS;
    j->progress = number_of(&f[PROGRESS]);
    j->value = f[VALUE].text;
    j->size = f[VALUE].size;
    j->worker = f[WORKER].text;
    j->note = f[NOTE].text;
    j->outcome = f[OUTCOME].text;
    j->outcome_size = f[OUTCOME].size;
    j->key = f[KEY].text;
}

// The n jobs at `items`, of the reply, which is theirs then.
static weft_remote_job *jobs_from(weft_reply *reply, const weft_reply *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_job(&items[i])) {
            remote_strange(reply);
            return nullptr;
        }
    jobs_reply *all = (jobs_reply *)calloc(1, sizeof *all + n * sizeof *all->jobs);
    if (all == nullptr) {
        int error = errno;
        weft_reply_free(reply);
        errno = error;
        return nullptr;
    }
    all->reply = reply;
    for (size_t i = 0; i < n; i++) {
        read_job(&all->jobs[i], &items[i]);
        all->jobs[i].next = i + 1 < n ? &all->jobs[i + 1] : nullptr;
    }
    return all->jobs;
}

void weft_remote_job_free(weft_remote_job *j)
{
    if (j == nullptr)
        return;
    jobs_reply *all = (jobs_reply *)((char *)j - offsetof(jobs_reply, jobs));
    weft_reply_free(all->reply);
    free_keep_errno(all);
}

// ---- Putting and taking ----

static const weft_remote_job_options usual_job = {};

int weft_remote_jobs_put(weft_remote_jobs *q, const void *v, size_t n,
                         const weft_remote_job_options *opts, int64_t *id, weft_deadline d)
{
    char text[7][NUMBER_ROOM];
    const rules *own = rules_of(q);
    const weft_remote_job_options *o = opts != nullptr ? opts : &usual_job;
    int64_t number;
    if (own == nullptr || o->delay_ns < 0 || o->limit_ns < 0)
        return fail_with(EINVAL);
    client_word words[] = {client_number(text[0], to_ms(o->delay_ns)),
                           client_number(text[1], o->priority),
                           client_number(text[2], or_usual(o->retries, own->retries)),
                           client_number(text[3], to_ms(o->limit_ns)),
                           client_number(text[4], own->backoff_ms),
                           client_number(text[5], own->keep_ms),
                           client_number(text[6], own->keep),
                           client_text(o->key != nullptr ? o->key : ""),
                           client_bytes(v, n)};
    if (remote_integer(q, &on_put, words, 9, &number, d) != 0)
        return -1;
    if (id != nullptr)
        *id = number < 0 ? -number : number;
    return number < 0;
}

static void name_process(char *text, size_t room)
{
    char host[65] = "";
    gethostname(host, sizeof host - 1);
    snprintf(text, room, "%s:%d", host, (int)getpid());
}

weft_remote_job *weft_remote_jobs_take(weft_remote_jobs *q, weft_deadline d)
{
    char lease[NUMBER_ROOM], process[96];
    const rules *own = rules_of(q);
    if (own == nullptr)
        return nullptr;
    if (own->worker[0] == 0)
        name_process(process, sizeof process);
    client_word words[] = {remote_wait(), client_number(lease, own->lease_ms),
                           client_text(own->tied ? "TIED" : "FREE"),
                           client_text(own->worker[0] != 0 ? own->worker : process)};
    weft_reply *reply = remote_ask(q, &on_take, words, 4, d);
    return reply != nullptr ? jobs_from(reply, reply, 1) : nullptr;
}

int weft_remote_jobs_pause(weft_remote_jobs *q, bool paused, weft_deadline d)
{
    client_word word = client_text(paused ? "1" : "0");
    return remote_do(q, &on_pause, &word, 1, d);
}

// ---- The lease ----

int weft_remote_jobs_heartbeat(weft_remote_jobs *q, int64_t id, int64_t token, int64_t progress,
                               const char *note, weft_deadline d)
{
    char text[4][NUMBER_ROOM];
    const rules *own = rules_of(q);
    if (own == nullptr)
        return -1;
    client_word words[] = {client_number(text[0], id), client_number(text[1], token),
                           client_number(text[2], own->lease_ms), client_number(text[3], progress),
                           client_text(note != nullptr ? note : "")};
    return remote_do(q, &on_beat, words, 5, d);
}

int weft_remote_jobs_done(weft_remote_jobs *q, int64_t id, int64_t token, const void *result,
                          size_t n, weft_deadline d)
{
    char text[2][NUMBER_ROOM];
    client_word words[] = {client_number(text[0], id), client_number(text[1], token),
                           client_bytes(result, n)};
    return remote_do(q, &on_done, words, 3, d);
}

int weft_remote_jobs_fail(weft_remote_jobs *q, int64_t id, int64_t token, int how,
                          const char *error, weft_deadline d)
{
    static const char *const names[] = {"AGAIN", "NEVER", "UNDONE"};
    char text[2][NUMBER_ROOM];
    if (how < WEFT_JOB_AGAIN || how > WEFT_JOB_UNDONE)
        return fail_with(EINVAL);
    client_word words[] = {client_number(text[0], id), client_number(text[1], token),
                           client_text(names[how]), client_text(error != nullptr ? error : "")};
    return remote_truth(q, &on_fail, words, 4, d);
}

// ---- What became of them ----

weft_remote_job *weft_remote_jobs_get(weft_remote_jobs *q, int64_t id, weft_deadline d)
{
    char text[NUMBER_ROOM];
    client_word word = client_number(text, id);
    weft_reply *reply = remote_ask(q, &on_get, &word, 1, d);
    return reply != nullptr ? jobs_from(reply, reply, 1) : nullptr;
}

// For so many as the server takes at once.
static int wait_for(weft_remote_jobs *q, const int64_t ids[], size_t n, weft_deadline d)
{
    char *text = (char *)malloc(n * NUMBER_ROOM + 1);
    size_t size = 0;
    if (text == nullptr)
        return -1;
    for (size_t i = 0; i < n; i++) {
        size += number_print(text + size, ids[i]);
        text[size++] = ' ';
    }
    client_word words[] = {remote_wait(), client_bytes(text, size)};
    int result = remote_do(q, &on_wait, words, 2, d);
    free_keep_errno(text);
    return result;
}

// One piece after the other: all have to end.
int weft_remote_jobs_wait(weft_remote_jobs *q, const int64_t ids[], size_t n, weft_deadline d)
{
    enum { PIECE = 1000 };
    if (ids == nullptr && n > 0)
        return fail_with(EINVAL);
    for (; n > PIECE; ids += PIECE, n -= PIECE)
        if (wait_for(q, ids, PIECE, d) != 0)
            return -1;
    return wait_for(q, ids, n, d);
}

weft_remote_job *weft_remote_jobs_list(weft_remote_jobs *q, int state, int64_t after, size_t n,
                                       weft_deadline d)
{
    char text[3][NUMBER_ROOM];
    if (state < WEFT_JOB_WAITING || state > WEFT_JOB_DEAD || n == 0) {
        errno = EINVAL;
        return nullptr;
    }
    client_word words[] = {client_number(text[0], state), client_number(text[1], after),
                           client_number(text[2], n < 1000 ? (int64_t)n : 1000)};
    weft_reply *reply = remote_ask(q, &on_list, words, 3, d);
    if (reply == nullptr)
        return nullptr;
    if (reply->type != WEFT_REPLY_ARRAY) {
        remote_strange(reply);
        return nullptr;
    }
    if (reply->size > 0)
        return jobs_from(reply, reply->items, reply->size);
    weft_reply_free(reply);
    errno = ENOENT;
    return nullptr;
}

int weft_remote_jobs_retry(weft_remote_jobs *q, int64_t id, weft_deadline d)
{
    char text[NUMBER_ROOM];
    client_word word = client_number(text, id);
    return remote_truth(q, &on_retry, &word, 1, d);
}

int weft_remote_jobs_remove(weft_remote_jobs *q, int64_t id, weft_deadline d)
{
    char text[NUMBER_ROOM];
    client_word word = client_number(text, id);
    return remote_do(q, &on_remove, &word, 1, d);
}

int weft_remote_jobs_statistics(weft_remote_jobs *q, weft_remote_jobs_counters *s, weft_deadline d)
{
    enum { COUNTS = 11 };
    if (s == nullptr)
        return fail_with(EINVAL);
    weft_reply *reply = remote_ask(q, &on_count, nullptr, 0, d);
    if (reply == nullptr)
        return -1;
    if (reply->type != WEFT_REPLY_ARRAY || reply->size != COUNTS)
        return remote_strange(reply);
    const weft_reply *n = reply->items;
    *s = {};
    int64_t *const to[COUNTS] = {&s->waiting, &s->delayed, &s->running, &s->done,
                                 &s->dead,    nullptr,     &s->put,     &s->taken,
                                 &s->ended,   &s->failed,  &s->lost};
    for (int i = 0; i < COUNTS; i++)
        if (to[i] != nullptr)
            *to[i] = number_of(&n[i]);
    s->paused = number_of(&n[WEFT_JOB_DEAD]) != 0;
    weft_reply_free(reply);
    return 0;
}
