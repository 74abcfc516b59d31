// path.h: the path of a request's target, from what came to what is meant.
#ifndef WEFT_HTTP_PATH_H
#define WEFT_HTTP_PATH_H

#include <stddef.h>
#include <sys/types.h>

namespace weft {

// Decodes the path text[0..n) of a target, which is all before the ?, once; then takes out . and ..
// and empty segments (RFC 3986 5.2.4): a %2F is as good as a /.  What comes out begins with /, has
// no control and no NUL but the one that ends it, and is no longer than the text: `to`, of n + 1
// bytes, may be the text itself.  Returns its length; -1: EINVAL: it does not begin with /, a % is
// no %XX, a control, or .. above the root.
ssize_t path_normalise(char *to, const char *text, size_t n);

// Writes text[0..n) so that it can stand in a URL, in a header field and in a quoted attribute of
// HTML: all but unreserved characters (RFC 3986 2.3) and / as %XX.  At most 3 * n bytes, without a
// NUL; returns how many.
size_t path_escape(char *to, const char *text, size_t n);

} // namespace weft

#endif
