// parse.h: the parts of the parser of heads.
//
//   parse.cc         finds the lines, in each of which every byte is looked at once
//   parse_first.cc   what a request's or a response's first line says
//   parse_fields.cc  what the fields say of the body and the connection
//   host.cc          whether something is a host
#ifndef WEFT_HTTP_PARSE_PRIVATE_H
#define WEFT_HTTP_PARSE_PRIVATE_H

#include "base/errno.h"
#include "text.h"

namespace weft {

// weft_http_head.private_flags: what the lines so far have said.
enum {
    HEAD_RESPONSE = 1,
    HEAD_NO_BODY = 2, // the response to a HEAD request
    HEAD_BEGUN = 4,   // the first line is done
    HEAD_EMPTY_LINE = 8,
    HEAD_LENGTH = 16,
    HEAD_CHUNKED = 32,
    HEAD_HOST = 64,
    HEAD_CLOSE = 128,
    HEAD_KEEP_ALIVE = 256,
    HEAD_UPGRADE_OPTION = 512,
    HEAD_UPGRADE = 1024,
    HEAD_EXPECT = 2048,
    HEAD_TOO_LARGE = 4096 // refused: beyond a limit
};

// Says why, and with which status a server answers: false.
static inline bool head_refuse(weft_http_head *h, int status, const char *why)
{
    h->status = (h->private_flags & HEAD_RESPONSE) ? 502 : status;
    h->why = why;
    return false;
}

// These return false when they have refused it.
bool head_first_line(weft_http_head *h, weft_http_text line);
bool head_take_field(weft_http_head *h, weft_http_text name, weft_http_text value);
bool head_end(weft_http_head *h);

// host, host:port, [IPv6] or [IPv6]:port; *port (may be nullptr): whether there is one.
bool is_host(weft_http_text t, bool *port);

} // namespace weft

#endif
