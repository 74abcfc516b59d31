// files.h: a folder's cache, and what is made of its entries.
//
// An entry is a path that was asked for and, as bodies, the file that answers it and those of its
// neighbours (.br, .zst, .gz) that hold it compressed.  It never changes: when a look at the files
// says that they have, it leaves the table, and those who are sending it keep it by a count.
#ifndef WEFT_HTTP_FILES_PRIVATE_H
#define WEFT_HTTP_FILES_PRIVATE_H

#include "asked.h"
#include "beneath.h"
#include "mime.h"

#include <weft/http_files.h>

#include <errno.h>
#include <sys/stat.h>

namespace weft {

enum {
    IN_MEMORY = 16 << 10, // larger bodies are sent from their descriptors
    FIELDS_MOST = 1024,   // bytes of a body's fields
    ETAG_ROOM = 72,
};

// As a time: longer ago than any revalidate_ns.
static const int64_t NEVER_CHECKED = INT64_MIN / 2;

struct file_body {
    struct stat seen; // as it was when it was opened
    int fd;           // -1: it is in memory
    char *bytes;      // those, or nullptr
    // Content-Type, and behind type_size what a 304 has, too; whole lines.
    char *fields;
    size_t fields_size, type_size;
    char etag[ETAG_ROOM];
    validators v;
};

struct file_entry {
    file_entry *next, *previous; // by their last uses
    file_entry *chain;           // of the bucket
    uint64_t hash;
    size_t uses;     // by the table and by those who are sending it
    int64_t checked; // when the files were looked at, as weft_now
    unsigned seen;   // a bit for each file that was there
    unsigned have;   // for each body: a neighbour may be none of ours to read
    bool young;      // written that lately that its time may not tell a later write
    file_body bodies[CODINGS];
    size_t bytes, descriptors;
    size_t key_size;
    char *key, *file; // what was asked for; the file's path; both from the root on
};

} // namespace weft

struct weft_http_files {
    weft::root root;
    weft::mime_types *types;
    char *index, *charset, *cache_control; // nullptr: none; the last is a whole line
    bool listing, dotfiles;
    int64_t revalidate_ns;
    weft_http_files_counters limit, kept, count; // kept: in the table; count: those sent, too
    size_t handlers;                             // that are at work
    weft::file_entry recent;                     // the list's head: the last used first
    weft::file_entry **buckets;
    size_t mask;
};

namespace weft {

// ---- files_cache.cc ----

// The entry of a path, maybe after a look at the files; the caller's until file_release.
// nullptr: errno, also EISDIR, EACCES for what is no regular file.
file_entry *file_find(weft_http_files *f, const char *key, size_t n);
void file_release(weft_http_files *f, file_entry *e);

// All that nobody is sending.
void files_forget(weft_http_files *f);

// ---- files_load.cc ----

struct file_states {
    unsigned have;
    struct stat of[CODINGS];
};

static inline bool is_out_of_descriptors(int error)
{
    return error == EMFILE || error == ENFILE;
}

// Looks at the file and its neighbours.  0; -1: errno.
int file_look(weft_http_files *f, const char *file, file_states *states);
bool file_is_same(const struct stat *a, const struct stat *b);

// Opens, reads and describes what file_look has found.  0; -1: EAGAIN: it was written meanwhile.
int file_load(weft_http_files *f, file_entry *e, unsigned have);
void file_unload(weft_http_files *f, file_entry *e);

// ---- files_send.cc ----

// false: the file has become shorter; the response ends with a reset.
bool file_send(weft_http_exchange *x, const file_entry *e);

// ---- list.cc ----

// The folder as a page: path from the root on, ends with / or is empty; shown: as the client
// knows it.  The caller's to free, of *size bytes.  Lets others run.  nullptr: errno.
char *list_folder(weft_http_files *f, const char *path, const char *shown, size_t *size);

} // namespace weft

#endif
