// mime.h: what a file's name says about its type.
#ifndef WEFT_HTTP_MIME_H
#define WEFT_HTTP_MIME_H

#include <stddef.h>

namespace weft {

struct mime_types;

// Types that are known anyway, and before these what `path`, a file such as /etc/mime.types, says:
// at most 1 MiB of it.  One that can't be read says nothing; nullptr: none.  Blocks.
// nullptr: ENOMEM.
mime_types *mime_open(const char *path);

// nullptr is ignored.
void mime_close(mime_types *m);

// By what is behind the name's last dot, in any case; application/octet-stream if that says
// nothing.  Valid until mime_close.
const char *mime_type(const mime_types *m, const char *name, size_t n);

} // namespace weft

#endif
