// url.h: where a request goes: http://HOST[:PORT]/TARGET (RFC 3986, RFC 9110 section 4.2) and
// unix:SOCKET[:/TARGET].
#ifndef WEFT_HTTP_URL_H
#define WEFT_HTTP_URL_H

#include <stddef.h>

namespace weft {

enum { URL_ADDRESS = 320, URL_HOST = 280 };

struct url {
    bool is_unix;
    char address[URL_ADDRESS]; // for weft_io_connect, small letters: that of the origin
    char host[URL_HOST];       // what Host says
    const char *target;        // in the text, `size` bytes: path and query.  The path may be empty
    size_t size;
};

// Takes it apart.  -1: EINVAL (white space, controls, what is not ASCII, a user's name, a bad host
// or port), EPROTONOSUPPORT (another scheme), ENAMETOOLONG.
int url_parse(url *u, const char *text);

// What a reference means in what `base` names (RFC 3986 section 5.2), without its
// fragment; bytes that are not ASCII and spaces are encoded.  -1: EINVAL, ENAMETOOLONG.
int url_resolve(char *to, size_t room, const char *base, const char *reference);

} // namespace weft

#endif
