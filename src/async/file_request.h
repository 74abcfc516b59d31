// file_request.h: one thing that is done with a file while a tasklet waits.
//
// It is written down once, as a system call by its number, and a thread carries it out
// (file_perform.cc).  It holds copies of all it needs, the descriptor included (dup(2)): a caller
// that gave up may close the file and reuse its memory at once.
#ifndef WEFT_ASYNC_FILE_REQUEST_H
#define WEFT_ASYNC_FILE_REQUEST_H

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
    file_call call;
    int fd;       // its own, or -1
    int how;      // flags
    mode_t mode;  // of what is made
    off_t offset; // or the length of what is cut
    size_t n;
    char *data;     // in its memory: what is written or was read, a path
    char *other;    // the second path
    int64_t result; // below 0: -errno
    void *list;     // of weft_file_entry
    struct stat stat;
};

// Does it, here and now.
void file_perform(file_request *r);

} // namespace weft

#endif
