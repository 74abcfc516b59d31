// files_cache.cc: entries by path, the longest unused going first.
//
// Only what is there is kept, so nobody fills the table with names.  What is not is looked for each
// time.
#include "files.h"

#include <base/errno.h>
#include <base/list.h>

#include <weft/deadline.h>

#include <stdlib.h>
#include <string.h>

using namespace weft;

enum { TRIES = 4 }; // to open a file that is written at the moment

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

static uint64_t hash_of(const char *key, size_t n)
{
    uint64_t hash = n, word;
    for (; n >= sizeof word; key += sizeof word, n -= sizeof word) {
        memcpy(&word, key, sizeof word);
        hash = mix(hash, word);
    }
    word = 0;
    memcpy(&word, key, n);
    return mix(hash, word);
}

// ---- The table ----

static file_entry *look_up(const weft_http_files *f, uint64_t hash, const char *key, size_t n)
{
    file_entry *e = f->buckets[hash & f->mask];
    while (e != nullptr && (e->hash != hash || e->key_size != n || memcmp(e->key, key, n) != 0))
        e = e->chain;
    return e;
}

static void insert(weft_http_files *f, file_entry *e)
{
    file_entry **bucket = &f->buckets[e->hash & f->mask];
    e->chain = *bucket;
    *bucket = e;
    list_insert(f->recent.next, e);
    e->uses++;
    f->kept.entries++;
    f->kept.bytes += e->bytes;
    f->kept.descriptors += e->descriptors;
}

static void take_out(weft_http_files *f, file_entry *e)
{
    file_entry **at = &f->buckets[e->hash & f->mask];
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    list_remove(e);
    f->kept.entries--;
    f->kept.bytes -= e->bytes;
    f->kept.descriptors -= e->descriptors;
    file_release(f, e);
}

static void use(weft_http_files *f, file_entry *e)
{
    if (f->recent.next != e) {
        list_remove(e);
        list_insert(f->recent.next, e);
    }
    e->uses++;
}

static bool is_over(const weft_http_files *f)
{
    return f->kept.entries > f->limit.entries || f->kept.bytes > f->limit.bytes;
}

// Who is sending one of those that go still has it.
static void make_room(weft_http_files *f, const file_entry *keep)
{
    file_entry *before, *e = f->recent.previous;
    for (; f->kept.descriptors > f->limit.descriptors && e != &f->recent; e = before) {
        before = e->previous;
        if (e->descriptors > 0 && e != keep)
            take_out(f, e);
    }
    while (is_over(f) && f->recent.previous != keep)
        take_out(f, f->recent.previous);
}

void weft::files_forget(weft_http_files *f)
{
    while (!list_is_empty(&f->recent))
        take_out(f, f->recent.next);
}

// ---- Entries ----

// The file behind a path: of a folder's, its index.
static file_entry *make_entry(weft_http_files *f, const char *key, size_t n, uint64_t hash)
{
    bool folder = n == 0 || key[n - 1] == '/';
    const char *end = folder && f->index != nullptr ? f->index : "";
    size_t file_size = n + strlen(end) + 1, bytes = sizeof(file_entry) + n + 1 + file_size;
    file_entry *e = (file_entry *)calloc(1, bytes);
    if (e == nullptr)
        return nullptr;
    e->hash = hash;
    e->bytes = bytes;
    e->key_size = n;
    e->key = (char *)(e + 1);
    e->file = e->key + n + 1;
    memcpy(e->key, key, n);
    memcpy(e->file, key, n);
    strcpy(e->file + n, end);
    return e;
}

static bool is_same(const file_entry *e, const file_states *states)
{
    if (e->seen != states->have)
        return false;
    for (int c = IDENTITY; c < CODINGS; c++)
        if ((e->seen & 1U << c) != 0 && !file_is_same(&e->bodies[c].seen, &states->of[c]))
            return false;
    return true;
}

// Those that may not be read: a look sees when that changes.
static void note_others(file_entry *e, const file_states *states)
{
    for (int c = BR; c < CODINGS; c++)
        if ((e->seen & ~e->have & 1U << c) != 0)
            e->bodies[c].seen = states->of[c];
}

static int load(weft_http_files *f, file_entry *e)
{
    file_states states;
    for (int i = 0; i < TRIES; i++) {
        bool seen = file_look(f, e->file, &states) == 0;
        e->bytes = sizeof *e + e->key_size + strlen(e->file) + 2;
        if (seen && file_load(f, e, states.have) == 0) {
            note_others(e, &states);
            return 0;
        }
        if (is_out_of_descriptors(errno) && f->count.descriptors > 0)
            files_forget(f);
        else if (!seen || (errno != EAGAIN && errno != ENOENT))
            return -1;
    }
    return -1;
}

static file_entry *open_entry(weft_http_files *f, const char *key, size_t n, uint64_t hash,
                              int64_t now)
{
    file_entry *e = make_entry(f, key, n, hash);
    if (e == nullptr)
        return nullptr;
    if (load(f, e) != 0) {
        free_keep_errno(e);
        return nullptr;
    }
    e->checked = now;
    f->count.misses++;
    f->count.entries++;
    f->count.bytes += e->bytes;
    insert(f, e);
    e->uses++;
    make_room(f, e);
    return e;
}

// Looks whether an entry is still what is there.  As long as there is no descriptor to do that by,
// it has to be.
static bool is_current(weft_http_files *f, file_entry *e, int64_t now)
{
    file_states states;
    if (now - e->checked < f->revalidate_ns) {
        f->count.hits++;
        return true;
    }
    if (file_look(f, e->file, &states) != 0)
        return is_out_of_descriptors(errno);
    if (e->young || !is_same(e, &states))
        return false;
    f->count.checks++;
    e->checked = now;
    return true;
}

file_entry *weft::file_find(weft_http_files *f, const char *key, size_t n)
{
    uint64_t hash = hash_of(key, n);
    int64_t now = weft_now();
    file_entry *e = look_up(f, hash, key, n);
    if (e == nullptr)
        return open_entry(f, key, n, hash, now);
    int saved = errno;
    if (is_current(f, e, now)) {
        errno = saved;
        use(f, e);
        return e;
    }
    errno = saved;
    take_out(f, e);
    return open_entry(f, key, n, hash, now);
}

void weft::file_release(weft_http_files *f, file_entry *e)
{
    if (--e->uses > 0)
        return;
    file_unload(f, e);
    f->count.entries--;
    f->count.bytes -= e->bytes;
    free_keep_errno(e);
}
