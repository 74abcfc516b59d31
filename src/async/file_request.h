// file_request.h: one thing that is done with a file while a tasklet waits.
//
// It is written down once, and carried out by the kernel on its own (file_ring.cc) or by a thread
// (file_perform.cc).  It holds copies of all it needs, the descriptor included (dup(2)): a caller
// that gave up may close the file and reuse its memory at once.
#ifndef WEFT_ASYNC_FILE_REQUEST_H
#define WEFT_ASYNC_FILE_REQUEST_H

#include <weft/deadline.h>
#include <weft/tasklet.h>

#include <stdint.h>
#include <sys/stat.h>

namespace weft {

enum file_call : uint8_t {
    FILE_FSYNC,
    FILE_OPEN,
    FILE_STAT,
    FILE_READ,
    FILE_WRITE,
    FILE_RENAME,
    FILE_UNLINK,
    FILE_MKDIR,
    FILE_TRUNCATE,
    FILE_READDIR,
};

struct file_request {
    // In a ring, of which it is a member while it is under way.
    file_request *next, *previous;
    weft_tasklet *waiter;
    uint8_t done, abandoned;
    uint8_t lost; // in the parent of a fork
    struct statx extended;
    // What is to be done, and what came of it.
    file_call call;
    int fd;       // its own, or -1
    int how;      // flags
    mode_t mode;  // of what is made
    off_t offset; // or the length of what is cut; -1: where the file stands
    size_t n;
    char *data;     // in its memory: what is written or was read, a path
    char *other;    // the second path
    int64_t result; // below 0: -errno
    void *list;     // of weft_file_entry
    struct stat stat;
};

// Does it, here and now.
void file_perform(file_request *r);

// Nobody wants what came of it, if it was done.
void file_release(file_request *r, bool performed);

// Whether requests may go to a ring; false once the kernel has refused to make one.  Tests set it.
extern bool files_by_ring;

// Has a ring do it while the tasklet waits.  1: done; 0: it is not for a ring, and nothing has
// happened; -1: given up (ETIMEDOUT, ECANCELED), and `r` is the ring's.
int ring_await(file_request *r, weft_deadline d);

} // namespace weft

#endif
