// snapshot.cc: the snapshot is written (snapshot.h): beside the old one, whose place it takes only
// when all of it is on the disk.
#include "snapshot.h"
#include "crc.h"
#include "job.h"

#include <base/errno.h>

#include <fcntl.h>
#include <unistd.h>

using namespace weft;

namespace {
struct writer {
    server *from;
    int fd, error; // of the first call that failed; then nothing more is written
    int db;
    int64_t now; // what has expired by then is left out
    uint64_t sum, records;
    size_t n;
    char buffer[SNAPSHOT_BUFFER];
};
} // namespace

static void write_out(writer *w)
{
    const char *at = w->buffer;
    w->sum = crc(w->sum, at, w->n);
    while (w->n > 0 && w->error == 0) {
        ssize_t k = write(w->fd, at, w->n);
        if (k < 0 && errno != EINTR)
            w->error = errno;
        at += k > 0 ? k : 0;
        w->n -= k > 0 ? (size_t)k : 0;
    }
    w->n = 0;
}

static void put(writer *w, const void *data, size_t n)
{
    const char *from = (const char *)data;
    while (n > 0) {
        size_t k = sizeof w->buffer - w->n < n ? sizeof w->buffer - w->n : n;
        memcpy(w->buffer + w->n, from, k);
        w->n += k;
        from += k;
        n -= k;
        if (w->n == sizeof w->buffer)
            write_out(w);
    }
}

static void put_number(writer *w, uint64_t number, int bytes)
{
    char text[8];
    for (int i = 0; i < bytes; i++)
        text[i] = (char)(number >> 8 * i);
    put(w, text, (size_t)bytes);
}

static void put_text(writer *w, const char *text, size_t n)
{
    put_number(w, n, 4);
    put(w, text, n);
}

static void put_kind(writer *w, int kind)
{
    put_number(w, (uint64_t)kind, 1);
    w->records++;
}

static void put_field(entry *e, void *arg)
{
    writer *w = (writer *)arg;
    put_text(w, entry_key(e), e->key_size);
    put_text(w, entry_text(e), e->size);
}

static void put_member(entry *e, void *arg)
{
    put_text((writer *)arg, entry_key(e), e->key_size);
}

static void put_key(entry *e, void *arg)
{
    static const char kinds[] = {IS_STRING, IS_LIST, IS_HASH, IS_SET};
    writer *w = (writer *)arg;
    int64_t expires = key_expires(e);
    if (w->error != 0 || (expires >= 0 && expires <= w->now))
        return;
    put_kind(w, kinds[e->type]);
    put_number(w, (uint64_t)w->db, 1);
    put_number(w, (uint64_t)expires, 8);
    put_text(w, entry_key(e), e->key_size);
    if (e->type == TYPE_STRING) {
        put_text(w, entry_text(e), e->size);
    } else if (e->type == TYPE_LIST) {
        const item_list *l = entry_list(e);
        put_number(w, l->count, 8);
        for (size_t i = 0; i < l->count; i++)
            put_text(w, (*list_item_at(l, i))->text, (*list_item_at(l, i))->size);
    } else {
        put_number(w, entry_hash(e)->count, 8);
        table_each(entry_hash(e), e->type == TYPE_HASH ? put_field : put_member, w);
    }
}

static bool is_kept(server *s, const place *p)
{
    if (!place_is_known(s, p))
        return false;
    return p->kind == AT_LIST ? p->number != 0 || p->closed != 0
                              : p->kind == AT_UNITS || (p->kind == AT_EVENT && p->closed != 0);
}

static void put_place(entry *e, void *arg)
{
    writer *w = (writer *)arg;
    const place *p = (const place *)entry_object(e);
    word name = place_name(p);
    int64_t number = p->number;
    if (!is_kept(w->from, p))
        return;
    if (p->kind == AT_UNITS)
        for (const hold_link *h = p->holds.next; h != &p->holds; h = h->next)
            number += h->hold->count;
    put_kind(w, IS_PLACE);
    put_number(w, (uint64_t)p->kind, 1);
    put_number(w, (uint64_t)p->db, 1);
    put_number(w, (uint64_t)number, 8);
    put_number(w, (uint64_t)p->taken, 8);
    put_number(w, (uint64_t)p->closed, 4);
    put_text(w, name.text, name.size);
}

static void put_item(writer *w, const list_item *text)
{
    put_text(w, text != nullptr ? text->text : "", text != nullptr ? text->size : 0);
}

// Times are on the wall clock, which goes on when the machine does not.
static void put_job(writer *w, const job *j)
{
    int64_t now = weft_now();
    int64_t limit = j->limit_at != 0 ? w->now + (j->limit_at - now) / 1000000 : 0;
    const int64_t numbers[] = {j->id,       j->token,
                               j->priority, j->tries,
                               j->retries,  limit,
                               j->limit_ms, j->backoff_ms,
                               j->keep_ms,  w->now - (now - j->since) / 1000000,
                               j->progress, w->now + (j->due - now) / 1000000};
    const list_item *const texts[] = {j->value, j->key, j->worker, j->note, j->outcome};
    put_kind(w, IS_JOB);
    put_number(w, (uint64_t)j->state, 1);
    put_number(w, j->held.next != nullptr, 1);
    for (int64_t number : numbers)
        put_number(w, (uint64_t)number, 8);
    for (const list_item *text : texts)
        put_item(w, text);
}

static void put_jobs(entry *e, void *arg)
{
    writer *w = (writer *)arg;
    const place *p = (const place *)entry_object(e);
    const job_queue *q = p->kind == AT_JOBS ? p->jobs : nullptr;
    word name = place_name(p);
    if (q == nullptr || jobs_are_idle(p) || !place_is_known(w->from, p))
        return;
    put_kind(w, IS_JOBS);
    put_text(w, name.text, name.size);
    const int64_t numbers[] = {q->keep, q->put, q->taken, q->ended, q->failed, q->lost};
    for (int64_t number : numbers)
        put_number(w, (uint64_t)number, 8);
    put_number(w, q->paused, 1);
    for (const job &ring : q->rings)
        for (const job *j = ring.next; j != &ring; j = j->next)
            put_job(w, j);
}

static void put_lease(writer *w, const item_lease *l)
{
    if (l->item == nullptr || !l->always)
        return;
    put_kind(w, IS_ITEM);
    put_number(w, (uint64_t)l->db, 1);
    put_number(w, l->front, 1);
    put_number(w, l->counts, 1);
    put_text(w, l->key, l->key_size);
    put_text(w, l->item->text, l->item->size);
}

static void write_all(writer *w)
{
    server *s = w->from;
    put(w, SNAPSHOT_MAGIC, 8);
    put_number(w, SNAPSHOT_VERSION, 4);
    put_number(w, 0, 4);
    put_number(w, (uint64_t)w->now, 8);
    put_number(w, (uint64_t)s->token, 8);
    for (w->db = 0; w->db < DATABASES; w->db++)
        table_each(&s->keys[w->db], put_key, w);
    table_each(&s->places, put_place, w);
    table_each(&s->places, put_jobs, w);
    for (const peer *p = s->peers.next; p != &s->peers; p = p->next)
        put_lease(w, &p->lease);
    put_number(w, IS_END, 1);
    put_number(w, w->records, 8);
    write_out(w);
    put_number(w, w->sum, 8);
    write_out(w);
}

static void beside(const server *s, char *name, size_t room)
{
    snprintf(name, room, "%s.saving", s->save.name);
}

void weft::snapshot_forget(const server *s)
{
    char name[NAME_MAX + 1];
    beside(s, name, sizeof name);
    unlinkat(s->save.dir, name, 0);
}

int weft::snapshot_write(server *s)
{
    char name[NAME_MAX + 1];
    beside(s, name, sizeof name);
    unlinkat(s->save.dir, name, 0); // a server that was killed may have left it
    int fd = openat(s->save.dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    writer *w = (writer *)calloc(1, sizeof *w);
    int error = ENOMEM;
    if (w != nullptr) {
        w->fd = fd;
        w->now = wall_ms();
        w->from = s;
        write_all(w);
        error = w->error;
    }
    free(w);
    if (error == 0 && fsync(fd) != 0)
        error = errno;
    if (close(fd) != 0 && error == 0)
        error = errno;
    if (error == 0 && renameat(s->save.dir, name, s->save.dir, s->save.name) != 0)
        error = errno;
    if (error == 0 && fsync(s->save.dir) != 0 && errno != EINVAL) // some know no such thing
        error = errno;
    else if (error != 0)
        unlinkat(s->save.dir, name, 0);
    return error == 0 ? 0 : fail_with(error);
}
