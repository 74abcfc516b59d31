// request.h: commands out of bytes, as Redis takes them: RESP arrays of strings, or inline lines.
#ifndef WEFT_MANAGER_REQUEST_H
#define WEFT_MANAGER_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct weft_private_word {
    const char *text;
    size_t size;
} weft_private_word;

// A command, and how far its reading has come.  Zeroed before the first use.
typedef struct weft_private_request {
    weft_private_word *words; // when it is whole, they point into the input
    size_t count, room;
    size_t wanted; // words; 0: the head has not been read
    size_t at;     // where in the input to go on
    size_t size;   // of the word that is next, if `sized`
    bool sized;
} weft_private_request;

typedef struct weft_private_request_limits {
    size_t words, word, all; // how many; bytes of one, of a command
    bool known;              // the client has said its password: only that makes Redis's words fit
} weft_private_request_limits;

enum { WEFT_REQUEST_WHOLE = 1, WEFT_REQUEST_PART = 0, WEFT_REQUEST_BAD = -1 };

// Reads on in `in`, which begins with the command and has `n` bytes by now; it may lie elsewhere
// than last time.  WHOLE: `at` bytes of it were the command (of 0 words: nothing to do), and the
// next begins after weft_private_request_next.  BAD: *error says why.  Quotes in an inline command
// are undone in place.
int weft_private_request_read(weft_private_request *r, char *in, size_t n,
                              const weft_private_request_limits *limits, const char **error);
void weft_private_request_next(weft_private_request *r);

// How many bytes the command has at least, as far as is known.
size_t weft_private_request_size(const weft_private_request *r);

// A whole number as Redis reads one: no blanks, no plus, no needless zeros.  Whether it is one.
bool weft_private_number(const char *text, size_t n, int64_t *number);

#endif
