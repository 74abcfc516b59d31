// snapshot.h: what the server holds as a file: s->save says where.
//
// All numbers are little-endian and of fixed sizes.  A head: the magic, the version, when it was
// written, the last fencing token.  Then records, of which the first byte is the kind: keys of each
// type with their expiry, queues' state, semaphores, events, jobs, as they would be if all
// connections had ended: units are free, and items on lease go back, as do jobs whose leases are
// tied to them.  Then how many records there were, and a CRC of all bytes before it.  Locks and
// barriers are their owners', so they are not in it.
#ifndef WEFT_MANAGER_SNAPSHOT_H
#define WEFT_MANAGER_SNAPSHOT_H

#include "server.h"

#include <limits.h>

namespace weft {

// ---- The format ----

static const char SNAPSHOT_MAGIC[] = "weftsave";
enum {
    SNAPSHOT_VERSION = 1,
    SNAPSHOT_HEAD = 8 + 4 + 4 + 8 + 8,
    SNAPSHOT_BUFFER = 65536,
    SNAPSHOT_CHECK = 8
};

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

// ---- snapshot.cc ----

// Writes all in place of the file, which is left as it was if that fails: -1 and errno.
int snapshot_write(server *s);

// Removes what one that was killed while it wrote has left.
void snapshot_forget(const server *s);

// ---- snapshot_read.cc ----

// Reads the file, if there is one, into a server that has nothing yet.  0, or -1: EBADMSG (it is
// damaged or cut short), EPROTONOSUPPORT (a newer weft has written it), and others as open(2).
int snapshot_read(server *s);

// ---- command_save.cc ----

// Opens the folder of o.save, if there is such an option, and reads the file.  0, or -1 and errno.
int save_open(server *s);

// In this thread, at once: 0, or -1 and errno, which is told on standard error as well.
int save_now(server *s);

// At the end of the server, once the clients have gone: the same, unless it was told not to.
int save_close(server *s);

} // namespace weft

#endif
