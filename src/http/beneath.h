// beneath.h: files are opened below a folder, and nowhere else.
#ifndef WEFT_HTTP_BENEATH_H
#define WEFT_HTTP_BENEATH_H

#include <sys/stat.h>

namespace weft {

struct root {
    int fd;
    bool by_hand; // openat2(2) is missing or forbidden here
};

// 0; -1: as open(2).
int root_open(root *r, const char *dir);
void root_close(root *r);

// As openat(2), close-on-exec, without waiting for a fifo's other end; path: relative, "" is the
// root.  Links may lead about below the root; what leads outside of it, by links with an absolute
// path or .. or those of /proc, is EXDEV.  Flags: O_PATH or O_RDONLY, maybe O_DIRECTORY.
int root_openat(root *r, const char *path, int flags);

// stat(2) of it, which opens nothing that could be read.  0; -1.
int root_stat(root *r, const char *path, struct stat *s);

} // namespace weft

#endif
