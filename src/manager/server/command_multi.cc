// command_multi.cc: MULTI EXEC DISCARD WATCH UNWATCH, as Redis has them (multi.h).
#include "commands.h"
#include "multi.h"
#include "place.h"
#include "topic.h"

using namespace weft;

// ---- Keys that are watched ----

// Looking at a key removes it if it has expired: who watches it then watches nothing.
void weft::command_watch(peer *p, const word *words, int n)
{
    server *s = p->server;
    if (p->multi != nullptr) {
        reply_error(p, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    for (int i = 1; i < n && !p->touched; i++) {
        entry **link = key_find(s, p->db, &words[i]);
        if (!topic_join(&s->watched[p->db], &p->watched, p, &words[i]))
            continue;
        s->watches++;
        if (link == nullptr)
            continue;
        int64_t expires = key_expires(*link);
        p->watched->there |= 1u << p->db;
        if (expires >= 0 && expires < p->watched->expires)
            p->watched->expires = expires;
    }
    reply_ok(p);
}

static void unwatch(peer *p)
{
    p->server->watches -= topics_of(p->watched);
    topics_leave(p->server, &p->watched);
}

void weft::command_unwatch(peer *p, const word *, int)
{
    unwatch(p);
    p->touched = false;
    reply_ok(p);
}

// It will not run its transaction, and watches nothing any more.
static void touch(peer *p)
{
    p->touched = true;
    unwatch(p);
}

void weft::watch_touch(server *s, int db, const char *key, size_t n)
{
    const topic *t = topic_find(&s->watched[db], key, n);
    for (topic_link *next, *l = t != nullptr ? t->first : nullptr; l != nullptr; l = next) {
        next = l->next; // another's: the last takes the topic with it
        if (l->own->peer != nullptr)
            touch(l->own->peer);
    }
}

void weft::watch_touch_all(server *s, int db)
{
    for (peer *p = s->peers.next; s->watches > 0 && p != &s->peers; p = p->next)
        if (p->watched != nullptr && (p->watched->there >> db & 1))
            touch(p);
}

// Whether it watches a key that is not there in one of two databases, but in the other.
static bool misses_key(const peer *p, int a, int b)
{
    server *s = p->server;
    for (const topic_link *l = p->watched->first; l != nullptr; l = l->next_own) {
        int db = (int)(l->topic->in - s->watched);
        word key = topic_name(l->topic);
        if ((db == a || db == b) && key_find(s, db == a ? b : a, &key) != nullptr)
            return true;
    }
    return false;
}

void weft::watch_touch_both(server *s, int a, int b)
{
    watch_touch_all(s, a);
    watch_touch_all(s, b);
    for (peer *p = s->peers.next; s->watches > 0 && p != &s->peers; p = p->next)
        if (p->watched != nullptr && misses_key(p, a, b))
            touch(p);
}

// Whether a key has changed that it watches, by expiring at the latest now.
static bool is_touched(const peer *p)
{
    return p->touched || (p->watched != nullptr && p->watched->expires <= wall_ms());
}

// ---- Queue ----

namespace {
// One command; behind it the sizes of its words, then their text.
struct queued {
    const command_row *command;
    size_t size; // with what is behind it
    int n;
};
} // namespace

void weft::command_multi(peer *p, const word *, int)
{
    if (p->multi != nullptr) {
        reply_error(p, "ERR MULTI calls can not be nested");
        return;
    }
    p->multi = (transaction *)memory_take_zeroed(1, sizeof *p->multi);
    reply_ok(p);
}

void weft::transaction_queue(peer *p, const command_row *c, const word *words, int n)
{
    transaction *t = p->multi;
    p->running = c->name;
    size_t size = sizeof(queued) + (size_t)n * sizeof(size_t);
    if (t->failed || p->touched) { // it will not be run
        reply_status(p, "QUEUED");
        return;
    }
    for (int i = 0; i < n; i++)
        size += words[i].size;
    size = (size + 7) & ~(size_t)7;
    if (bytes_count(&t->queue) + size > p->server->o.max_message) {
        t->failed = true;
        reply_error(p, "ERR the transaction is longer than a command may be");
        return;
    }
    char *to = bytes_room(&t->queue, size, 512, retake);
    queued q = {c, size, n};
    memcpy(to, &q, sizeof q);
    char *sizes = to + sizeof q, *text = sizes + (size_t)n * sizeof(size_t);
    for (int i = 0; i < n; i++) {
        memcpy(sizes + (size_t)i * sizeof(size_t), &words[i].size, sizeof(size_t));
        memcpy(text, words[i].text, words[i].size);
        text += words[i].size;
    }
    bytes_put(&t->queue, size);
    t->count++;
    t->most = (size_t)n > t->most ? (size_t)n : t->most;
    t->adds = t->adds || (c->flags & COMMAND_ADDS);
    t->writes = t->writes || is_write(p, c);
    reply_status(p, "QUEUED");
}

void weft::transaction_end(peer *p)
{
    unwatch(p);
    p->touched = false;
    if (p->multi == nullptr)
        return;
    memory_drop(p->multi->queue.data);
    memory_give(p->multi);
    p->multi = nullptr;
}

void weft::command_discard(peer *p, const word *, int)
{
    if (p->multi == nullptr) {
        reply_error(p, "ERR DISCARD without MULTI");
        return;
    }
    transaction_end(p);
    reply_ok(p);
}

// ---- Run ----

// The words of a queued command.
static void take_words(const queued *q, word *words)
{
    const char *sizes = (const char *)(q + 1);
    const char *text = sizes + (size_t)q->n * sizeof(size_t);
    for (int i = 0; i < q->n; i++) {
        memcpy(&words[i].size, sizes + (size_t)i * sizeof(size_t), sizeof(size_t));
        words[i].text = text;
        text += words[i].size;
    }
}

// It would wait, and must not.  A move's reply is one item, unlike when its time is out (as Redis).
static void end_wait(peer *p)
{
    peer_wait *w = p->wait;
    bool resume = p->resume;
    if (w->moves)
        reply_null(p);
    else
        w->time_out(w);
    wait_end(w);
    p->resume = resume;
}

static void run(peer *p)
{
    transaction *t = p->multi;
    word *words = (word *)memory_take((t->most + 1) * sizeof *words);
    unwatch(p);
    t->running = true;
    reply_array(p, t->count);
    while (t->queue.begin < t->queue.end && !p->ending) {
        const queued *q = (const queued *)bytes_at(&t->queue);
        take_words(q, words);
        p->server->commands++;
        call(p, q->command, words, q->n);
        if (p->wait != nullptr)
            end_wait(p);
        if (p->last) // it killed itself: nothing is said behind that
            p->silent = 1;
        t->queue.begin += q->size;
    }
    p->running = "exec";
    memory_give(words);
}

void weft::command_exec(peer *p, const word *, int)
{
    if (p->multi == nullptr) {
        reply_error(p, "ERR EXEC without MULTI");
        return;
    }
    bool touched = is_touched(p);
    if (p->multi->failed)
        reply_error(p, "EXECABORT Transaction discarded because of previous errors.");
    else if (touched)
        reply_null_array(p);
    else
        run(p);
    transaction_end(p);
}
