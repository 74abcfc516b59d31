/* websocket.h: messages in both directions over one connection (RFC 6455), in tasklets.
 *
 *     weft_websocket *w = weft_websocket_accept(x, NULL, weft_in_s(10)); // x: of an HTTP handler
 *     weft_websocket_message m;
 *     while (weft_websocket_read(w, &m, weft_in_s(60)) > 0)
 *         weft_websocket_write(w, m.kind, m.data, m.size, weft_in_s(60));
 *     weft_websocket_destroy(w);
 *
 * One tasklet reads while others write.  Calls that wait: ETIMEDOUT, ECANCELED, EPERM as in io.h.
 */
#ifndef WEFT_WEBSOCKET_H
#define WEFT_WEBSOCKET_H

#include <weft/deadline.h>
#include <weft/http.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_websocket weft_websocket;

/* Kinds of messages, and of frames (RFC 6455, section 5.2). */
#define WEFT_WEBSOCKET_CONTINUATION 0 /* a frame's alone */
#define WEFT_WEBSOCKET_TEXT 1         /* UTF-8 */
#define WEFT_WEBSOCKET_BINARY 2
#define WEFT_WEBSOCKET_CLOSE 8
#define WEFT_WEBSOCKET_PING 9  /* a frame's alone */
#define WEFT_WEBSOCKET_PONG 10 /* a frame's alone */

/* Added to a kind that is written: more of the message follows. */
#define WEFT_WEBSOCKET_MORE 256

/* Codes of a close (RFC 6455, section 7.4); 3000 to 4999 are for others to define. */
#define WEFT_WEBSOCKET_NORMAL 1000
#define WEFT_WEBSOCKET_GOING_AWAY 1001
#define WEFT_WEBSOCKET_PROTOCOL_ERROR 1002
#define WEFT_WEBSOCKET_UNSUPPORTED 1003
#define WEFT_WEBSOCKET_NO_CODE 1005 /* received alone: the close had none */
#define WEFT_WEBSOCKET_INVALID_TEXT 1007
#define WEFT_WEBSOCKET_POLICY 1008
#define WEFT_WEBSOCKET_TOO_BIG 1009
#define WEFT_WEBSOCKET_INTERNAL_ERROR 1011

/* All zero is the default; the texts are not used after the call. */
typedef struct weft_websocket_options {
    size_t limit;          /* bytes of a message, for weft_websocket_read; 0: 1 MiB */
    size_t fragment;       /* a message is written in frames of at most so many bytes; 0: in one */
    int64_t close_ns;      /* how long the other end may take to answer a close; 0: 5 s */
    const char *protocols; /* subprotocols, such as "chat, v2.chat".  accept: those it knows, the */
                           /* first of them that the client offers is taken; connect: offered */
    const char *origins;   /* accept: from which pages browsers may come, such as */
                           /* "https://a.example, https://b.example"; "*": from all; NULL: from */
                           /* those with the Host that they ask */
    const char *origin;    /* connect: the Origin field; NULL: none */
    const char *fields;    /* connect: more header lines, each with its CR LF */
} weft_websocket_options;

/* ---- Beginning and end ---- */

/* Takes the request, which asks for a WebSocket, and answers 101.  The handler has it until it
 * returns, and destroys it before.  What is refused is answered here, and NULL: EBADMSG: no request
 * for one (400), or for another version than 13 (426); EACCES: from a page of another origin (403).
 * EINVAL: NULL, or it was answered; ENOMEM; as weft_http_upgrade. */
weft_websocket *weft_websocket_accept(weft_http_exchange *x, const weft_websocket_options *opts,
                                      weft_deadline d);

/* Connects to ws://HOST[:PORT]/PATH[?QUERY], or unix:SOCKET[:/PATH[?QUERY]], as a client.  NULL:
 * EPROTONOSUPPORT: wss; EINVAL: no such URL, or a field that is none; EMSGSIZE, ENAMETOOLONG: too
 * long; EACCES: 401, 403; ENOENT: 404; EPROTO: any other answer than RFC 6455 asks for; ECONNRESET:
 * none; ENOMEM; as weft_io_connect. */
weft_websocket *weft_websocket_connect(const char *url, const weft_websocket_options *opts,
                                       weft_deadline d);

/* Releases it; a client's connection is closed, a server's when the handler returns.  One that is
 * open says 1001 before, if that needs no wait.  Does not wait.  EBUSY: it is used; NULL: 0. */
int weft_websocket_destroy(weft_websocket *w);

/* The subprotocol that both agreed on, or NULL. */
const char *weft_websocket_protocol(const weft_websocket *w);

/* When something last came, on the clock of deadline.h: to end one that answers no ping.  EINVAL.
 */
int64_t weft_websocket_heard(const weft_websocket *w);

/* ---- Messages ---- */

typedef struct weft_websocket_message {
    const char *data; /* not terminated; until the next read or close */
    size_t size;
    int kind;  /* WEFT_WEBSOCKET_TEXT, BINARY; CLOSE: data are the reason, which may be empty */
    int code;  /* of a close */
    bool more; /* weft_websocket_read_piece: the message goes on */
} weft_websocket_message;

/* Waits for the next message, whole, and returns 1; 0: the other end has closed, as m says, and was
 * answered.  Answers pings.  A wait that fails loses nothing.  These end the connection, and the
 * other end is told the code: EBADMSG: it broke the protocol (1002); EILSEQ: its text is not UTF-8
 * (1007); EMSGSIZE: longer than the limit (1009).  ECONNRESET: it ended without a close.  EPIPE: it
 * has ended before; EBUSY: another one reads; EINVAL; ENOMEM. */
int weft_websocket_read(weft_websocket *w, weft_websocket_message *m, weft_deadline d);

/* The same for what comes next of a message, however long that is: some bytes, or none at its end.
 * A piece of text may end within a character. */
int weft_websocket_read_piece(weft_websocket *w, weft_websocket_message *m, weft_deadline d);

/* Writes a message, or with WEFT_WEBSOCKET_MORE its next piece; the last has the same kind without
 * it.  Those who write at the same time take turns, and who writes pieces is alone.  Returns 0.  A
 * failure before the first byte loses nothing; after it the connection has ended.  EILSEQ: it is
 * not UTF-8, and nothing of it is written; EPIPE: it is closed, or has ended; EINVAL: a kind that
 * is none, or not the kind of the message that has begun; as send(2). */
int weft_websocket_write(weft_websocket *w, int kind, const void *data, size_t n, weft_deadline d);

/* Sends a ping with up to 125 bytes, also between pieces.  0; EINVAL, EPIPE. */
int weft_websocket_ping(weft_websocket *w, const void *data, size_t n, weft_deadline d);

/* Closes with a code (0: none) and a reason of up to 123 bytes (NULL: none), and waits until the
 * other end has answered, for close_ns at most; what else comes is dropped, unless another tasklet
 * reads.  0, also if it was closed; ETIMEDOUT, ECONNRESET: no answer; EINVAL: a code that may not
 * be sent, or a reason that is no such text. */
int weft_websocket_close(weft_websocket *w, int code, const char *reason, weft_deadline d);

/* ---- Frames, alone: on bytes, without a connection ---- */

#define WEFT_WEBSOCKET_HEADER 14 /* bytes at most */

typedef struct weft_websocket_frame {
    uint64_t length; /* of the payload behind the header, below 2^63 */
    int opcode;      /* WEFT_WEBSOCKET_CONTINUATION to PONG */
    bool fin;        /* the message's last frame */
    bool masked;
    unsigned char mask[4];
} weft_websocket_frame;

/* Reads a header: how long it is; 0: more bytes are needed.  EBADMSG: reserved bits or opcode, a
 * control frame in parts or longer than 125, a length not in its shortest form (RFC 6455, section
 * 5.2); EINVAL. */
ssize_t weft_websocket_frame_parse(weft_websocket_frame *f, const void *bytes, size_t n);

/* Writes one: how long it is.  EINVAL: it is none that parse takes. */
ssize_t weft_websocket_frame_build(const weft_websocket_frame *f,
                                   unsigned char header[WEFT_WEBSOCKET_HEADER]);

/* Masks or unmasks n bytes of a payload in place, those from `offset` on. */
void weft_websocket_mask(void *data, size_t n, const unsigned char mask[4], uint64_t offset);

#ifdef __cplusplus
}
#endif

#endif
