// shm_segment.h: what lies at the front of each segment.
//
// The head fills the first page; the user's bytes follow.  Offsets count from the head, so 0
// is no object's.
#ifndef WEFT_SHM_SEGMENT_H
#define WEFT_SHM_SEGMENT_H

#include <base/errno.h>
#include <weft/shared_sync.h>
#include <weft/shm.h>
#include <weft/sync.h>

#include <limits.h>

namespace weft {

static const uint64_t SHM_MAGIC = 0x314d485354464557; // "WEFTSHM1"
static const uint32_t SHM_LAYOUT = 3 << 16 | (uint32_t)sizeof(weft_mutex);
static const size_t SHM_HEAD = 4096;

#define SHM_FOLDER "/dev/shm/"
enum { PATH_ROOM = sizeof SHM_FOLDER + NAME_MAX + 1 };

struct shm_head { // NOLINT(clang-analyzer-optin.performance.Padding): a line for what is locked
    // Written before the segment is seen, then never.
    uint64_t magic;
    uint32_t layout;
    uint32_t version;
    uint64_t room;  // bytes mapped by everyone, this page included
    uint64_t fixed; // where the allocator's blocks begin
    uint32_t lazy;
    uint32_t keep;

    // Single words, each valid at any time.
    uint32_t ready; // futex
    uint64_t root;  // offset
    uint32_t sealed;

    alignas(64) weft_mutex lock; // robust; guards what follows
    uint64_t size;               // bytes of the file that may be used; read without the lock
    uint64_t top;                // blocks lie from `fixed` to here
    uint64_t hint;               // a block from which to look for a free one, or 0
    uint64_t objects;            // the first of the named ones, or 0
    uint32_t made;               // futex: one more each time that the making of one ends
    weft_shared_look made_look;
};
static_assert(sizeof(shm_head) <= SHM_HEAD, "the head fits its page");

} // namespace weft

using namespace weft;

struct weft_shm {
    shm_head *head;
    size_t room; // the mapping's length
    int fd;
    bool read_only;
    char path[PATH_ROOM]; // "/dev/shm/name", or "" for a segment that came without one
};

namespace weft {

// ---- shm_file.cc ----

enum { LIFE = 0, NAME = 1 }; // bytes to lock

// What fcntl(2) says of the byte's lock; -1: errno.
int shm_lock_byte(int fd, short type, int byte, int command);
bool shm_nobody_has(int fd);

// Whether `path` means the file of `fd`.
bool shm_same_file(int fd, const char *path);

// Removes what nobody has.  -1: somebody has it (or has removed it before us).
int shm_remove(int fd, const char *path);

// Whether a file is this user's and of weft's making, whatever has become of it since.
bool shm_is_weft(int fd);

// Whether it is this user's and nobody has it, and nobody wants it kept.
bool shm_may_go(int fd);

// The head of a file that may be anything; 0 or an errno.  `others`: other users' will do.
int shm_examine(int fd, shm_head *h, bool others);

// "/dev/shm/name" for "name" and "/name"; 0 or an errno.
int shm_path_of(const char *name, char path[PATH_ROOM]);
int shm_open_path(const char *path, bool read_only);

// ---- shm.cc ----

// Takes the head's lock, whatever happened to its last holder: each change under it is one
// store, so there is nothing to mend.
void shm_lock(shm_head *h);
int shm_grow_locked(weft_shm *s, uint64_t end);

// EINVAL: there is none; EACCES.
static inline int shm_check_writable(const weft_shm *s)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    return s->read_only ? fail_with(EACCES) : 0;
}

// ---- shm_allocate.cc, under the lock ----

void *shm_allocate_locked(weft_shm *s, size_t size);
int shm_release_locked(weft_shm *s, void *p);

} // namespace weft

#endif
