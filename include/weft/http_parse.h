/* http_parse.h: messages of HTTP/1.1 and 1.0 (RFC 9112), parsed where they lie.  See
 * weft_http_parse(3).
 *
 *     weft_http_field fields[64];
 *     weft_http_head h = {.fields = fields, .room = 64};
 *     ssize_t n = weft_http_parse_request(&h, text, size, NULL); // 0: read more, and again
 *
 * Nothing is copied or allocated, and nothing here waits.  Strict: what two readers may read in two
 * ways is refused, and h.status says what to answer. */
#ifndef WEFT_HTTP_PARSE_H
#define WEFT_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes in the text that was parsed.  No 0 is behind them. */
typedef struct weft_http_text {
    const char *at;
    size_t size;
} weft_http_text;

/* The name as it came: names are compared without case (weft_http_find).  The value is without the
 * blanks around it; in it are no controls but tabs. */
typedef struct weft_http_field {
    weft_http_text name, value;
} weft_http_field;

typedef struct weft_http_limits {
    size_t line;   /* bytes of the first line, and of a field, without CR LF.  0: 8 KiB */
    size_t head;   /* bytes of the head, all its CR LF included.  0: 32 KiB */
    size_t fields; /* 0: 100 */
} weft_http_limits;

/* A body of unknown length (weft_http_head.length). */
#define WEFT_HTTP_CHUNKED INT64_C(-1)    /* it comes in chunks: weft_http_chunks_next */
#define WEFT_HTTP_TO_THE_END INT64_C(-2) /* of the connection; of responses alone */

/* A message but its body.  Start from {.fields, .room}: an array of the caller's. */
typedef struct weft_http_head {
    weft_http_field *fields;
    size_t room;
    size_t count; /* of fields, in their order */

    /* Of a request.  The target is of one of four forms (RFC 9112, 3.2): a path, a http or https
     * URI, host:port with CONNECT alone, * with OPTIONS alone. */
    weft_http_text method, target;
    weft_http_text path; /* of the target, the query included; empty if it has none */
    weft_http_text host; /* and :port; of the target, else of the field Host; 1.0: may be empty */

    weft_http_text reason; /* of a response; may be empty */
    int status;            /* of a response; of what is refused; else 0 */
    int version;           /* 10, 11: also of a later 1.x */

    int64_t length;        /* of the body, or one of the two above */
    bool keep_alive;       /* the connection may be used again, when the body has been read */
    bool expects_continue; /* the client waits for a 100 before it sends the body */
    bool upgrades;         /* Connection has upgrade and there is a field Upgrade */

    const char *why; /* it is refused, in a few words; NULL: it is not */
    size_t seen;     /* where the next call goes on; 0: a new head begins */

    const char *private_text; /* the parser's own */
    size_t private_line;
    unsigned private_flags;
} weft_http_head;

/* Parses the head of a request at text[0..n).  Returns its length, behind which the body begins; 0
 * if it is not all there: call again with the same *h when more has come, with the bytes from the
 * first on, which may lie elsewhere then.  Bytes are looked at once.  -1 with EBADMSG if it is
 * refused, as early as that can be told, with h->why and a status for the answer:
 * 400, 414: its line is too long, 417: it expects something else than 100-continue,
 * 431: too many or too long fields, 501: an unknown transfer coding, 505: not HTTP/1.
 * After that, and after a whole head, a call begins with a new one.
 * limits NULL: all are 0.  EINVAL: h, text or its fields NULL, or fewer bytes than before. */
ssize_t weft_http_parse_request(weft_http_head *h, const char *text, size_t n,
                                const weft_http_limits *limits);

/* The same for a response, also for one with 1xx, behind which another follows.  What is refused
 * has the status 502, a gateway's answer.  The response to a HEAD request has no body, whatever it
 * says; a 2xx to CONNECT has none and no end, whatever h->length says (RFC 9112, 6.3). */
ssize_t weft_http_parse_response(weft_http_head *h, const char *text, size_t n,
                                 const weft_http_limits *limits, bool to_head_request);

/* The value of the first field of this name, upper or lower case; NULL: there is none.
 * EINVAL: NULL. */
const weft_http_text *weft_http_find(const weft_http_head *h, const char *name);

/* Where a chunked body has been read to (RFC 9112, 7.1).  Start from {0}, or {.limits}: of a
 * chunk's extensions (line) and of the trailer (line, head, fields). */
typedef struct weft_http_chunks {
    weft_http_limits limits;
    bool ended;      /* all of it has been taken, the trailer too */
    int status;      /* refused: 400, 431 */
    const char *why; /* it is refused, in a few words; NULL: it is not */
    uint64_t left;   /* bytes of the chunk that are still to come */

    int private_state; /* the parser's own */
    size_t private_count, private_line, private_size, private_fields;
} weft_http_chunks;

/* Takes bytes from the front of text[0..n) and returns how many, at least 1 if n is not 0: up to
 * and with the next piece of the body, which is *data, in the text; or all, when no piece is in it
 * (data->size is 0); or up to the body's end (c->ended).  Extensions and the trailer's fields are
 * checked and dropped; extensions may be c->limits.line bytes more than the body so far.
 * -1: EBADMSG, it is refused, and what follows is not to be read.  Then, and after the end, nothing
 * is taken any more.  EINVAL: NULL. */
ssize_t weft_http_chunks_next(weft_http_chunks *c, const char *text, size_t n,
                              weft_http_text *data);

#ifdef __cplusplus
}
#endif

#endif
