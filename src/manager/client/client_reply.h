// client_reply.h: what a server answers, taken apart (RESP 2 and 3).
//
// Bytes are received into the reader in pieces of any size, and whole replies taken out of it:
//     size_t n;
//     char *to = reader_room(&r, &n);
//     reader_got(&r, recv(fd, to, n, 0));
//     while ((reply = reader_next(&r)) != nullptr) ...       // until EAGAIN
#ifndef WEFT_MANAGER_CLIENT_REPLY_H
#define WEFT_MANAGER_CLIENT_REPLY_H

#include <base/bytes.h>
#include <weft/client.h>

#include <string.h>

namespace weft {

enum {
    REPLY_DEPTH = 32,       // arrays within arrays
    REPLY_LARGE = 16 << 10, // bytes: a string that is received into memory of its own
    REPLY_LINE = 64 << 10,  // of what is no counted string
    REPLY_STRING_MOST = 512 << 20,
    REPLY_MOST = 1 << 30 // of all that a reply takes
};

// A string in memory of its own; its bytes and two more follow.
struct large_string {
    struct large_string *next;
    size_t at; // where it would be, from the reply's beginning
    size_t size;
    char type;
};

// All zero: empty.
struct reply_reader {
    bytes in; // received; a reply begins at its beginning

    // That reply, as far as it has been looked at.
    size_t at;      // from `begin`
    size_t scanned; // of the line that begins there: has no end in it
    int depth;      // the arrays that are open
    struct {
        size_t left; // items to come
        bool attribute;
    } open[REPLY_DEPTH];
    size_t nodes, text, outside; // what it takes: items, bytes of text, of large strings
    large_string *large, *last;
    bool receiving; // the last large one,
    size_t missing; // of which so many bytes, with its line end, have not come
};

// Where the next bytes are to go, and how many may.  NULL: ENOMEM.
char *reader_room(reply_reader *r, size_t *n);

// That many have come.
void reader_got(reply_reader *r, size_t n);

// The next reply.  NULL: EAGAIN, it is not all there; EPROTO, it is not RESP; ENOMEM.  After the
// last two nothing more can be made of what comes.
weft_reply *reader_next(reply_reader *r);

// Releases what it has; it is empty then.
void reader_reset(reply_reader *r);

// A link for whoever keeps replies in a list.
weft_reply **client_reply_link(weft_reply *r);

} // namespace weft

#endif
