// websocket_state.h: one end of a WebSocket.
//
// One tasklet reads.  Those who write have turns, in their order; who has one sends whole frames.
// What a reader owes the other end (an answer to a ping, a close) it sends if nobody else does;
// else who has the turn sends it behind the frame.  So a reader never waits for a writer, who may
// himself wait until the other end reads, which may wait for this reader.
#ifndef WEFT_HTTP_WEBSOCKET_STATE_H
#define WEFT_HTTP_WEBSOCKET_STATE_H

#include <weft/websocket.h>

#include <coro/wait.h>

#include <sys/uio.h>

namespace weft {

// Where a text stands that comes in parts; all zero: between characters.
struct utf8_state {
    unsigned char left;      // bytes of the character
    unsigned char low, high; // what the next one is between
};

// false: these bytes go on with no text.
bool utf8_take(utf8_state *u, const void *bytes, size_t n);

// Whether a frame may have it.
bool is_close_code(int code);

enum {
    CONTROL_MOST = 125,
    CONTROL_FRAME = WEFT_WEBSOCKET_HEADER + CONTROL_MOST,
    REASON_MOST = CONTROL_MOST - 2,
    MASKED_AT_ONCE = 4096,

};

// Who waits for a turn.
struct websocket_turn {
    websocket_turn *next, *previous;
    weft_tasklet *who;
};

// What a control frame holds.
struct websocket_control {
    bool wanted;
    unsigned char size;
    char data[CONTROL_MOST];
};

} // namespace weft

struct weft_websocket {
    weft_http_exchange *x; // a server's: its stream; NULL: that is fd
    int fd;
    bool is_client; // masks what it sends, and gets nothing masked
    size_t limit, fragment;
    int64_t close_ns;
    char *protocol;

    // Who reads: the message that comes lies in data, from `start` to `filled`, without headers and
    // mask; what has come behind it from `at` to `end`.
    weft_tasklet *reads;    // in a call
    weft_tasklet *receives; // waits for bytes
    char *data;
    size_t room, start, filled, at, end;
    weft_websocket_frame frame;
    uint64_t left;  // of its payload
    bool in_frame;  // of a message, whose header was taken
    bool came;      // something, in this call
    bool given;     // what is in front of `filled` was the caller's
    int kind;       // of the message; 0: none has begun
    size_t largest; // message since the memory was larger than at first
    weft::utf8_state comes;
    int64_t heard;

    // Who has the turn.
    weft_tasklet *sends;
    weft::websocket_turn turns; // the ring's head
    int said;                   // the kind of a message that is written in pieces; 0: none is
    weft::utf8_state goes;
    char *masked;                      // a client's bytes on their way
    char out[3 * weft::CONTROL_FRAME]; // control frames, of which nothing may be lost
    size_t out_begin, out_end;

    // What is owed.
    weft::websocket_control pong, close;
    weft_tasklet *closes; // waits for the other's close
    weft_deadline close_by;
    bool close_sent, close_received;
    bool over; // nothing more is read
    bool cut;  // a frame was sent in part: nothing more is written
};

namespace weft {

// After the handshake, on the exchange's stream, or on fd.  protocol (or NULL) is copied, and what
// has come behind the handshake.  NULL: ENOMEM, and fd stays as it is.
weft_websocket *websocket_create(weft_http_exchange *x, int fd, bool is_client,
                                 const weft_websocket_options *opts, weft_http_text protocol,
                                 weft_http_text come);

// Its stream, as weft_io_read, weft_io_writev (which may change the pieces here) and an end of what
// is sent.
ssize_t websocket_stream_read(weft_websocket *w, void *buf, size_t n, weft_deadline d);
ssize_t websocket_stream_write(weft_websocket *w, struct iovec *pieces, int count, weft_deadline d);
void websocket_stream_end(weft_websocket *w);

// Whether a list of subprotocols or origins has this one: no upper case is lower case.
bool websocket_list_has(weft_http_text list, weft_http_text one);

// Whether some field of this name has the option among its values, in upper or lower case.
bool websocket_has_option(const weft_http_head *h, const char *name, const char *option);

// Says a close as soon as it can, without a wait: 1001 of a server that drains.
void websocket_go_away(void *w);

// What the reader and the others ask of the writing side.

static inline bool websocket_owes(const weft_websocket *w)
{
    return w->out_begin < w->out_end || w->pong.wanted || (w->close.wanted && !w->close_sent);
}

int websocket_begin_turn(weft_websocket *w, weft_deadline d);
void websocket_end_turn(weft_websocket *w);

// In a turn: sends what is owed.
int websocket_send_owed(weft_websocket *w, weft_deadline d);

// The close that is to be sent, unless there is one.
void websocket_want_close(weft_websocket *w, int code, const char *reason, size_t n);

// Sends what is owed if nobody has the turn, until `d` and the time for a close.  -1: it could not.
int websocket_settle(weft_websocket *w, weft_deadline d);

// The next piece, or whole message, of who has `reads`.
int websocket_next(weft_websocket *w, weft_websocket_message *m, bool whole, weft_deadline d);

} // namespace weft

#endif
