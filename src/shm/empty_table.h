// empty_table.h: for the call that must have a descriptor when there is none left.
#ifndef WEFT_SHM_EMPTY_TABLE_H
#define WEFT_SHM_EMPTY_TABLE_H

namespace weft {

// Calls fn(arg) in a thread whose descriptor table is its own, and empty (unshare(2)), so that the
// process's limit of open files is far away; all it opens is closed with it.  What fn returns; -1:
// EAGAIN, ENOMEM, EPERM.
int in_empty_table(int (*fn)(void *arg), void *arg);

} // namespace weft

#endif
