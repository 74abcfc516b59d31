// answer.h: an answer of HTTP/1.1 (RFC 9112), whole, in memory.
#ifndef WEFT_DEMO_ANSWER_H
#define WEFT_DEMO_ANSWER_H

#include <weft/io.h>

struct answer {
    int status;
    char *body; // to be freed
    size_t size;
};

// The head, behind those of interim answers (1xx), then the body in whichever way it is sent.
bool answer_read(answer *a, int fd, weft_deadline d);

#endif
