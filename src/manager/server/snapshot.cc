// snapshot.cc: what the server holds as a file, written and read.
//
// All numbers are little-endian and of fixed sizes.  A head: the magic, the version, when it was
// written, the last fencing token.  Then records, of which the first byte is the kind: keys of each
// type with their expiry, queues' state, semaphores, events, jobs, as they would be if all
// connections had ended: units are free, and items on lease go back, as do jobs whose leases are
// tied to them.  Then how many records there were, and a CRC of all bytes before it.  Locks and
// barriers are their owners', so they are not in it.
//
// A file is written beside the old one and takes its place only when all of it is on the disk.  One
// that is read is checked as a whole before anything of it is believed.
#include "snapshot.h"
#include "crc.h"
#include "job.h"

#include <base/errno.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace weft;

static const char MAGIC[] = "weftsave";
enum { VERSION = 1, HEAD = 8 + 4 + 4 + 8 + 8, BUFFER = 65536, CHECK = 8 };

// The records' kinds.
enum {
    IS_STRING = 'S',
    IS_LIST = 'L',
    IS_HASH = 'H',
    IS_SET = 'T',
    IS_PLACE = 'P',
    IS_ITEM = 'I', // on lease
    IS_JOBS = 'Q', // a queue of them
    IS_JOB = 'J',  // of the queue before it
    IS_END = 'E'
};

// ---- Writing ----

namespace {
struct writer {
    server *from;
    int fd, error; // of the first call that failed; then nothing more is written
    int db;
    int64_t now; // what has expired by then is left out
    uint64_t sum, records;
    size_t n;
    char buffer[BUFFER];
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
    put(w, MAGIC, 8);
    put_number(w, VERSION, 4);
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

// ---- Reading ----

static const int64_t MOST = INT64_MAX / 2;          // of what is counted
static const int64_t SPAN = INT64_C(4000000000000); // milliseconds, as in command_job.cc

namespace {
struct reader {
    int fd;
    bool bad;        // it is not what it should be; all that is read from then on is 0
    uint64_t left;   // bytes, without the CRC
    job_queue *jobs; // the last
    size_t at, n;
    char buffer[BUFFER];
};
} // namespace

static void get(reader *r, void *data, size_t n)
{
    char *to = (char *)data;
    if (n > r->left)
        r->bad = true;
    while (!r->bad && n > 0) {
        if (r->at == r->n) {
            ssize_t k = read(r->fd, r->buffer, sizeof r->buffer);
            r->bad = k == 0 || (k < 0 && errno != EINTR);
            r->at = 0;
            r->n = k > 0 ? (size_t)k : 0;
            continue;
        }
        size_t k = r->n - r->at < n ? r->n - r->at : n;
        memcpy(to, r->buffer + r->at, k);
        r->at += k;
        r->left -= k;
        to += k;
        n -= k;
    }
    if (r->bad)
        memset(to, 0, n);
}

static uint64_t get_number(reader *r, int bytes)
{
    unsigned char text[8];
    uint64_t number = 0;
    get(r, text, (size_t)bytes);
    for (int i = 0; i < bytes; i++)
        number |= (uint64_t)text[i] << 8 * i;
    return number;
}

// A text's length, of which so much is there.
static size_t get_size(reader *r)
{
    uint64_t n = get_number(r, 4);
    r->bad = r->bad || n > r->left || n > KEY_MAX;
    return r->bad ? 0 : (size_t)n;
}

// A text in memory of the caller's, to be given back.
static word get_text(reader *r)
{
    size_t n = get_size(r);
    char *text = (char *)memory_take(n + 1);
    get(r, text, n);
    return {text, n};
}

static void give(word *w)
{
    memory_give((char *)w->text);
}

// An entry of a string, whose key is that.
static entry *get_string(reader *r, const word *key)
{
    size_t n = get_size(r);
    entry *e = entry_new(TYPE_STRING, key->text, key->size, hash_of(key->text, key->size), n);
    get(r, entry_text(e), n);
    return e;
}

static list_item *get_item(reader *r)
{
    word text = get_text(r);
    list_item *item = item_new(text.text, text.size);
    give(&text);
    return item;
}

static void add_new(reader *r, table *t, entry *e)
{
    r->bad = r->bad || table_find(t, entry_key(e), e->key_size, e->hash) != nullptr;
    table_add(t, e);
}

static entry *get_collection(reader *r, int type, const word *key)
{
    entry *e = entry_new(type, key->text, key->size, hash_of(key->text, key->size), 0);
    uint64_t count = get_number(r, 8);
    r->bad = r->bad || count == 0;
    for (uint64_t i = 0; i < count && !r->bad; i++) {
        if (type == TYPE_LIST) {
            list_push(entry_list(e), get_item(r), false);
            continue;
        }
        word name = get_text(r);
        add_new(r, entry_hash(e),
                type == TYPE_HASH ? get_string(r, &name)
                                  : entry_new(TYPE_STRING, name.text, name.size,
                                              hash_of(name.text, name.size), 0));
        give(&name);
    }
    return e;
}

static int get_db(reader *r)
{
    uint64_t db = get_number(r, 1);
    r->bad = r->bad || db >= DATABASES;
    return r->bad ? 0 : (int)db;
}

static void get_key(reader *r, server *s, int type, int64_t now)
{
    int db = get_db(r);
    int64_t expires = (int64_t)get_number(r, 8);
    word key = get_text(r);
    entry *e = type == TYPE_STRING ? get_string(r, &key) : get_collection(r, type, &key);
    if (expires >= 0 && expires <= now) {
        entry_drop(e);
    } else {
        add_new(r, &s->keys[db], e);
        if (expires >= 0)
            key_expire_at(s, db, key_find(s, db, &key), expires);
    }
    give(&key);
}

static void get_place(reader *r, server *s)
{
    int kind = (int)get_number(r, 1), db = get_db(r);
    int64_t number = (int64_t)get_number(r, 8), taken = (int64_t)get_number(r, 8);
    int closed = (int)get_number(r, 4);
    word name = get_text(r);
    int most = kind == AT_LIST ? 2 : kind == AT_EVENT ? 1 : 0; // of `closed`
    r->bad = r->bad || number < 0 || number > MOST || taken < 0 || taken > number || closed < 0 ||
             closed > most || (kind != AT_LIST && kind != AT_UNITS && kind != AT_EVENT);
    if (!r->bad) {
        place *p = place_find(s, kind, db, name.text, name.size, true);
        p->number = number;
        p->taken = taken;
        p->closed = closed;
    }
    give(&name);
}

static void get_jobs(reader *r, server *s)
{
    word name = get_text(r);
    job_queue *q = r->bad ? nullptr : jobs_open(s, &name);
    if (q != nullptr) {
        int64_t *const numbers[] = {&q->keep, &q->put, &q->taken, &q->ended, &q->failed, &q->lost};
        for (int64_t *number : numbers)
            *number = (int64_t)get_number(r, 8);
        q->paused = get_number(r, 1) != 0;
        r->bad = r->bad || q->keep < 0;
    }
    r->jobs = q;
    give(&name);
}

// From a time on the wall clock.
static int64_t in_time(reader *r, int64_t at_ms, int64_t now)
{
    r->bad = r->bad || at_ms < -SPAN || at_ms > 4 * SPAN;
    int64_t left = r->bad ? 0 : at_ms - now;
    return weft_now() + (left < SPAN ? left : SPAN) * 1000000;
}

static void get_job(reader *r, int64_t now)
{
    int state = (int)get_number(r, 1);
    bool tied = get_number(r, 1) != 0;
    // 0: any, and of times what in_time says.
    static const uint64_t most[] = {MOST, MOST, 0, INT32_MAX, INT32_MAX, 0, SPAN, SPAN, SPAN};
    int64_t numbers[12];
    word texts[5];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        numbers[i] = (int64_t)get_number(r, 8);
        if (i < sizeof most / sizeof *most && most[i] != 0)
            r->bad = r->bad || (uint64_t)numbers[i] > most[i];
    }
    for (word &text : texts)
        text = get_text(r);
    job_queue *q = r->jobs;
    r->bad = r->bad || q == nullptr || state < WEFT_JOB_WAITING || state >= JOB_STATES ||
             job_by_id(q, numbers[0]) != nullptr || job_by_key(q, &texts[1]) != nullptr;
    int64_t due = in_time(r, numbers[11], now), limit = in_time(r, numbers[5], now),
            since = in_time(r, numbers[9], now);
    if (!r->bad) {
        job *j = job_restore(q, numbers[0], &texts[0], &texts[1]);
        j->token = numbers[1];
        j->priority = (int)numbers[2];
        j->tries = (int)numbers[3];
        j->retries = (int)numbers[4];
        j->limit_at = numbers[5] != 0 ? limit : 0;
        j->limit_ms = numbers[6];
        j->backoff_ms = numbers[7];
        j->keep_ms = numbers[8];
        j->progress = numbers[10];
        job_set(&j->worker, texts[2].text, texts[2].size);
        job_set(&j->note, texts[3].text, texts[3].size);
        job_set(&j->outcome, texts[4].text, texts[4].size);
        job_number_above(j->id);
        job_number_above(j->token);
        job_move(j, state, due);
        j->since = since;
        if (tied)
            job_lost(j, "the connection ended");
    }
    for (word &text : texts)
        give(&text);
}

// As if the connection had ended (lease_back).
static void get_leased(reader *r, server *s)
{
    int db = get_db(r);
    bool front = get_number(r, 1) != 0, counts = get_number(r, 1) != 0;
    word key = get_text(r);
    list_item *item = get_item(r);
    place *p = place_find(s, AT_LIST, db, key.text, key.size, false);
    bool back = !r->bad && (p == nullptr || p->closed != 2) && item_push(s, db, &key, item, front);
    if (p != nullptr && counts && p->taken > 0) {
        p->taken--;
        p->number -= !back;
    }
    if (!back)
        memory_give(item);
    give(&key);
}

static void get_records(reader *r, server *s, int64_t now)
{
    uint64_t records = 0;
    for (; !r->bad; records++) {
        int kind = (int)get_number(r, 1);
        if (kind == IS_END)
            break;
        if (kind == IS_STRING || kind == IS_LIST || kind == IS_HASH || kind == IS_SET)
            get_key(r, s,
                    kind == IS_STRING ? TYPE_STRING
                    : kind == IS_LIST ? TYPE_LIST
                    : kind == IS_HASH ? TYPE_HASH
                                      : TYPE_SET,
                    now);
        else if (kind == IS_PLACE)
            get_place(r, s);
        else if (kind == IS_ITEM)
            get_leased(r, s);
        else if (kind == IS_JOBS)
            get_jobs(r, s);
        else if (kind == IS_JOB)
            get_job(r, now);
        else
            r->bad = true;
    }
    r->bad = r->bad || get_number(r, 8) != records || r->left != 0;
}

// Whether the CRC at its end is that of all before it; then it is read again from the start.
static bool is_whole(reader *r, uint64_t size)
{
    uint64_t sum = 0, expected = 0;
    if (size < HEAD + 1 + 8 + CHECK)
        return false;
    r->left = size;
    for (uint64_t left = size - CHECK; left > 0 && !r->bad;) {
        char piece[4096];
        size_t n = left < sizeof piece ? (size_t)left : sizeof piece;
        get(r, piece, n);
        sum = crc(sum, piece, n);
        left -= n;
    }
    expected = get_number(r, CHECK);
    r->left = size - CHECK;
    r->at = r->n = 0;
    return !r->bad && sum == expected && lseek(r->fd, 0, SEEK_SET) == 0;
}

static int read_all(reader *r, server *s, uint64_t size)
{
    char magic[8];
    if (!is_whole(r, size))
        return fail_with(EBADMSG);
    get(r, magic, sizeof magic);
    if (memcmp(magic, MAGIC, sizeof magic) != 0)
        return fail_with(EBADMSG);
    if (get_number(r, 4) != VERSION)
        return fail_with(EPROTONOSUPPORT);
    get_number(r, 4);
    get_number(r, 8);
    s->token = (int64_t)get_number(r, 8);
    r->bad = r->bad || s->token < 0 || s->token > MOST;
    get_records(r, s, wall_ms());
    return r->bad ? fail_with(EBADMSG) : 0;
}

int weft::snapshot_read(server *s)
{
    struct stat file;
    int fd = openat(s->save.dir, s->save.name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    reader *r = (reader *)calloc(1, sizeof *r);
    int result = -1;
    if (r != nullptr && fstat(fd, &file) == 0) {
        r->fd = fd;
        result = S_ISREG(file.st_mode) ? read_all(r, s, (uint64_t)file.st_size)
                                       : fail_with(S_ISDIR(file.st_mode) ? EISDIR : EINVAL);
    }
    free_keep_errno(r);
    close_keep_errno(&fd);
    return result;
}
