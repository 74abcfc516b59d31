// snapshot.h: what the server holds as a file: s->save says where.
#ifndef WEFT_MANAGER_SNAPSHOT_H
#define WEFT_MANAGER_SNAPSHOT_H

#include "server.h"

#include <limits.h>

namespace weft {

// ---- snapshot.cc ----

// Writes all in place of the file, which is left as it was if that fails: -1 and errno.
int snapshot_write(server *s);

// Reads the file, if there is one, into a server that has nothing yet.  0, or -1: EBADMSG (it is
// damaged or cut short), EPROTONOSUPPORT (a newer weft has written it), and others as open(2).
int snapshot_read(server *s);

// Removes what one that was killed while it wrote has left.
void snapshot_forget(const server *s);

// ---- command_save.cc ----

// Opens the folder of o.save, if there is such an option, and reads the file.  0, or -1 and errno.
int save_open(server *s);

// In this thread, at once: 0, or -1 and errno, which is told on standard error as well.
int save_now(server *s);

// At the end of the server, once the clients have gone: the same, unless it was told not to.
int save_close(server *s);

} // namespace weft

#endif
