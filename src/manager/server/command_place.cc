// command_place.cc: WEFT.LIST and WEFT.DELETE: what is known beside the keys, looked at and
// removed.
#include "commands.h"
#include "job.h"

using namespace weft;

// ---- What is said of each ----

static void field(peer *p, const char *name, int64_t value)
{
    reply_text(p, name);
    reply_integer(p, value);
}

static int64_t length(const place_link *list)
{
    int64_t n = 0;
    for (const place_link *l = list->next; l != list; l = l->next)
        n += l->wait->peer != nullptr;
    return n;
}

static void about_queue(peer *p, place *place)
{
    static const char *const closed[] = {"no", "drain", "discard"};
    field(p, "pending", queue_pending(p->server, place));
    field(p, "taken", place->taken);
    field(p, "putters", length(&place->putters));
    field(p, "joiners", length(&place->joiners));
    reply_text(p, "closed");
    reply_text(p, closed[place->closed]);
}

static void about_lock(peer *p, place *place)
{
    const hold_link *h = place->holds.next;
    bool locked = h != &place->holds;
    field(p, "owner", locked ? (int64_t)h->hold->peer->id : 0);
    field(p, "pid", locked ? h->hold->peer->pid : 0);
    field(p, "token", place->number);
    field(p, "count", locked ? h->hold->count : 0);
}

static void about_semaphore(peer *p, place *place)
{
    size_t n = 0;
    for (const hold_link *h = place->holds.next; h != &place->holds; h = h->next)
        n++;
    field(p, "units", place->number);
    reply_text(p, "owners");
    reply_array(p, n);
    for (const hold_link *h = place->holds.next; h != &place->holds; h = h->next) {
        reply_array(p, 3);
        reply_integer(p, (int64_t)h->hold->peer->id);
        reply_integer(p, h->hold->peer->pid);
        reply_integer(p, h->hold->count);
    }
}

static void about_barrier(peer *p, place *place)
{
    field(p, "parties", place->closed == 0 ? place->number : 0);
    field(p, "broken", place->closed != 0);
}

static void about_event(peer *p, place *place)
{
    field(p, "set", place->closed != 0);
}

static void about_jobs(peer *p, place *place)
{
    static const struct {
        const char *name;
        int state;
    } states[] = {{"ready", WEFT_JOB_WAITING},
                  {"delayed", WEFT_JOB_DELAYED},
                  {"running", WEFT_JOB_RUNNING},
                  {"done", WEFT_JOB_DONE},
                  {"dead", WEFT_JOB_DEAD}};
    const job_queue *q = place->jobs;
    for (const auto &each : states)
        field(p, each.name, q != nullptr ? (int64_t)q->counts[each.state] : 0);
    field(p, "paused", q != nullptr && q->paused);
}

// ---- The kinds ----

namespace {
struct place_kind {
    const char *name;
    int kind;
    size_t fields; // that `about` says
    void (*about)(peer *p, place *which);
};
} // namespace

static const place_kind kinds[] = {
    {"queue", AT_LIST, 5, about_queue},          {"lock", AT_LOCK, 4, about_lock},
    {"semaphore", AT_UNITS, 2, about_semaphore}, {"barrier", AT_BARRIER, 2, about_barrier},
    {"event", AT_EVENT, 1, about_event},         {"jobs", AT_JOBS, 6, about_jobs}};

// nullptr: there is no such kind, and the peer was told.
static const place_kind *kind_of(peer *p, const word *w)
{
    for (const place_kind &each : kinds)
        if (word_is(w, each.name))
            return &each;
    reply_error(p, "ERR the kind is none of QUEUE, LOCK, SEMAPHORE, BARRIER, EVENT, JOBS");
    return nullptr;
}

// ---- WEFT.LIST ----

static void reply_place(peer *p, const place_kind *kind, place *place)
{
    word name = place_name(place);
    int64_t now = weft_loop_now(p->server->loop);
    reply_map(p, 4 + kind->fields);
    reply_text(p, "name");
    reply_string(p, name.text, name.size);
    field(p, "age", (now - place->since) / 1000000);
    field(p, "idle", (now - place->active) / 1000000);
    field(p, "waiters", length(&place->waiting));
    kind->about(p, place);
}

static bool is_asked_for(server *s, const place *place, int kind, int db, const word *pattern)
{
    word name = place_name(place);
    return place->kind == kind && (kind != AT_LIST || place->db == db) &&
           place_is_known(s, place) &&
           (pattern == nullptr || glob_matches(pattern->text, pattern->size, name.text, name.size));
}

// WEFT.LIST kind [pattern]
void weft::command_list_places(peer *p, const word *words, int n)
{
    server *s = p->server;
    const word *pattern = n == 3 ? &words[2] : nullptr;
    size_t count = 0;
    if (n > 3) {
        reply_syntax(p);
        return;
    }
    const place_kind *kind = kind_of(p, &words[1]);
    if (kind == nullptr)
        return;
    for (place_ring *r = s->all_places.next; r != &s->all_places; r = r->next)
        count += is_asked_for(s, (place *)r, kind->kind, p->db, pattern);
    reply_array(p, count);
    for (place_ring *r = s->all_places.next; r != &s->all_places; r = r->next)
        if (is_asked_for(s, (place *)r, kind->kind, p->db, pattern))
            reply_place(p, kind, (place *)r);
}

// ---- WEFT.DELETE ----

static void say_deleted(peer *p)
{
    reply_error(p, "DELETED it was deleted");
}

static bool delete_queue(peer *p, place *place, const word *name)
{
    server *s = p->server;
    entry **link = key_find(s, p->db, name);
    bool list = link != nullptr && (*link)->type == TYPE_LIST;
    if (list)
        key_remove(s, p->db, link);
    if (place == nullptr)
        return list;
    place->number = place->taken = place->closed = 0;
    gets_end(place, say_deleted);
    waits_end(&place->putters, say_deleted);
    waits_end(&place->joiners, say_deleted);
    place_ready(s, place);
    return true;
}

static bool delete_other(server *s, place *place)
{
    if (place == nullptr)
        return false;
    while (!list_is_empty(&place->holds)) {
        hold_remove(place->holds.next->hold);
        s->locks -= place->kind == AT_LOCK;
    }
    if (place->kind == AT_JOBS)
        jobs_remove(s, place);
    waits_end(&place->waiting, say_deleted);
    place->closed = 0;
    place_erase(s, place);
    return true;
}

// WEFT.DELETE kind name
void weft::command_delete_place(peer *p, const word *words, int)
{
    server *s = p->server;
    const place_kind *kind = kind_of(p, &words[1]);
    if (kind == nullptr)
        return;
    bool queue = kind->kind == AT_LIST;
    const word *name = &words[2];
    place *place = place_find(s, kind->kind, queue ? p->db : 0, name->text, name->size, false);
    reply_integer(p, queue ? delete_queue(p, place, name) : delete_other(s, place));
}
