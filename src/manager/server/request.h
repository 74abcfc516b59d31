// request.h: commands out of bytes, as Redis takes them: RESP arrays of strings, or inline lines.
#ifndef WEFT_MANAGER_REQUEST_H
#define WEFT_MANAGER_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

namespace weft {

struct word {
    const char *text;
    size_t size;
};

// A command, and how far its reading has come.  Zeroed before the first use.
struct request {
    word *words; // when it is whole, they point into the input
    size_t count, room;
    size_t wanted; // words; 0: the head has not been read
    size_t at;     // where in the input to go on
    size_t size;   // of the word that is next, if `sized`
    bool sized;
};

struct request_limits {
    size_t words, word, all; // how many; bytes of one, of a command
    bool known;              // the client has said its password: only that makes Redis's words fit
};

enum { REQUEST_WHOLE = 1, REQUEST_PART = 0, REQUEST_BAD = -1 };

// Reads on in `in`, which begins with the command and has `n` bytes by now; it may lie elsewhere
// than last time.  WHOLE: `at` bytes of it were the command (of 0 words: nothing to do), and the
// next begins after request_next.  BAD: *error says why.  Quotes in an inline command
// are undone in place.
int request_read(request *r, char *in, size_t n, const request_limits *limits, const char **error);
void request_next(request *r);

// How many bytes the command has at least, as far as is known.
size_t request_size(const request *r);

// A whole number as Redis reads one: no blanks, no plus, no needless zeros.  Whether it is one.
bool parse_number(const char *text, size_t n, int64_t *number);

} // namespace weft

#endif
