// snapshot_read.cc: the snapshot is read (snapshot.h): checked as a whole before anything of it is
// believed.
#include "crc.h"
#include "job.h"
#include "snapshot.h"

#include <base/errno.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace weft;

static const int64_t MOST = INT64_MAX / 2;          // of what is counted
static const int64_t SPAN = INT64_C(4000000000000); // milliseconds, as in command_job.cc

namespace {
struct reader {
    int fd;
    bool bad;        // it is not what it should be; all that is read from then on is 0
    uint64_t left;   // bytes, without the CRC
    job_queue *jobs; // the last
    size_t at, n;
    char buffer[SNAPSHOT_BUFFER];
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
    if (size < SNAPSHOT_HEAD + 1 + 8 + SNAPSHOT_CHECK)
        return false;
    r->left = size;
    for (uint64_t left = size - SNAPSHOT_CHECK; left > 0 && !r->bad;) {
        char piece[4096];
        size_t n = left < sizeof piece ? (size_t)left : sizeof piece;
        get(r, piece, n);
        sum = crc(sum, piece, n);
        left -= n;
    }
    expected = get_number(r, SNAPSHOT_CHECK);
    r->left = size - SNAPSHOT_CHECK;
    r->at = r->n = 0;
    return !r->bad && sum == expected && lseek(r->fd, 0, SEEK_SET) == 0;
}

static int read_all(reader *r, server *s, uint64_t size)
{
    char magic[8];
    if (!is_whole(r, size))
        return fail_with(EBADMSG);
    get(r, magic, sizeof magic);
    if (memcmp(magic, SNAPSHOT_MAGIC, sizeof magic) != 0)
        return fail_with(EBADMSG);
    if (get_number(r, 4) != SNAPSHOT_VERSION)
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
