// framed.h: frames of a WebSocket as short text, for both ways: what is sent, and what came.
//
//     "T:hello"  text          "t:hel" "c:l" "C:o"  text in three frames
//     "B:..", "b:.."           binary
//     "P:..", "O:.."           ping, pong
//     "X:1000:bye", "X:"       close with a code and a reason, with none
//
// Letters are small where the frame is not the message's last.  %XX is a byte.
#ifndef WEFT_TEST_FRAMED_H
#define WEFT_TEST_FRAMED_H

#include "../runner.h"

#include <weft/websocket.h>

#include <ctype.h>

struct framed {
    char bytes[200000];
    size_t size;
};

static inline int opcode_of(char letter)
{
    switch (toupper(letter)) {
    case 'C':
        return WEFT_WEBSOCKET_CONTINUATION;
    case 'T':
        return WEFT_WEBSOCKET_TEXT;
    case 'B':
        return WEFT_WEBSOCKET_BINARY;
    case 'X':
        return WEFT_WEBSOCKET_CLOSE;
    case 'P':
        return WEFT_WEBSOCKET_PING;
    default:
        return WEFT_WEBSOCKET_PONG;
    }
}

// The bytes of text with %XX; how many.
static inline size_t unescape(char *to, const char *from)
{
    size_t n = 0;
    for (; *from != 0; from++) {
        char digits[3] = {from[0] == '%' ? from[1] : '0', from[0] == '%' ? from[2] : '0', 0};
        bool escaped = from[0] == '%';
        to[n++] = escaped ? (char)strtol(digits, nullptr, 16) : *from;
        from += escaped ? 2 : 0;
    }
    return n;
}

// A frame as a client sends it, or, without mask, as a server does; the header need not be sound.
static inline void put_frame(framed *f, unsigned char first, const char *data, size_t n,
                             bool masked)
{
    static unsigned char mask[4] = {0x12, 0xb4, 0x56, 0xf8};
    unsigned char *h = (unsigned char *)f->bytes + f->size;
    size_t more = n <= 125 ? 0 : n <= 65535 ? 2 : 8, size = 2 + more;
    h[0] = first;
    h[1] = (unsigned char)((masked ? 0x80 : 0) | (more == 0 ? n : more == 2 ? 126 : 127));
    for (size_t i = 0; i < more; i++)
        h[2 + i] = (unsigned char)(n >> 8 * (more - 1 - i));
    if (masked) {
        memcpy(h + size, mask, 4);
        size += 4;
    }
    for (size_t i = 0; i < n; i++)
        h[size + i] = (unsigned char)(data[i] ^ (masked ? mask[i & 3] : 0));
    f->size += size + n;
    mask[0]++;
}

// One of the short texts; "R..: " and a letter: with these reserved bits, as a hexadecimal digit;
// "#": bytes as they are.
static inline void put_short(framed *f, const char *text, bool masked)
{
    static char data[70000];
    unsigned char bits = 0;
    if (text[0] == '#') {
        f->size += unescape(f->bytes + f->size, text + 1);
        return;
    }
    if (text[0] == 'R') {
        bits = (unsigned char)((text[1] - '0') << 4);
        text += 2;
    }
    size_t n = 0;
    const char *rest = text + 2;
    if (text[0] == 'X' && *rest != 0) {
        char *reason;
        long code = strtol(rest, &reason, 10);
        data[n++] = (char)(code >> 8);
        data[n++] = (char)code;
        rest = *reason == ':' ? reason + 1 : reason;
    }
    n += unescape(data + n, rest);
    unsigned char fin = isupper((unsigned char)text[0]) ? 0x80 : 0;
    put_frame(f, (unsigned char)(fin | bits | opcode_of(text[0])), data, n, masked);
}

// Several, with blanks between.
static inline void put_all(framed *f, const char *texts, bool masked)
{
    char copy[4000], *rest = copy;
    snprintf(copy, sizeof copy, "%s", texts);
    for (char *one; (one = strsep(&rest, " ")) != nullptr;)
        if (*one != 0)
            put_short(f, one, masked);
}

// ---- What came ----

struct told {
    char text[20000];
    size_t size;
};

static inline void tell_bytes(told *t, const char *data, size_t n)
{
    for (size_t i = 0; i < n && t->size + 4 < sizeof t->text; i++) {
        bool plain = data[i] > ' ' && data[i] < 127 && data[i] != '%';
        t->size += (size_t)snprintf(t->text + t->size, sizeof t->text - t->size,
                                    plain ? "%c" : "%%%02x", (unsigned char)data[i]);
    }
}

static inline void tell(told *t, const char *text)
{
    t->size += (size_t)snprintf(t->text + t->size, sizeof t->text - t->size, "%s%s",
                                t->size > 0 ? " " : "", text);
}

static inline void tell_close(told *t, int code, const char *reason, size_t n)
{
    char text[20] = "X:";
    if (code != 0)
        snprintf(text, sizeof text, n > 0 ? "X:%d:" : "X:%d", code);
    tell(t, text);
    tell_bytes(t, reason, n);
}

// All frames in n bytes, which are whole frames.  With masks or without, never mixed.
static inline void tell_frames(told *t, char *bytes, size_t n, bool masked)
{
    static const char letters[] = "CTB.....XPO";
    for (size_t at = 0; at < n;) {
        weft_websocket_frame f;
        ssize_t header = weft_websocket_frame_parse(&f, bytes + at, n - at);
        assert_true(header > 0);
        assert_int_equal(f.masked, masked);
        char *data = bytes + at + header;
        size_t size = (size_t)f.length;
        assert_true(size <= n - at - (size_t)header);
        weft_websocket_mask(data, masked ? size : 0, f.mask, 0);
        at += (size_t)header + size;
        if (f.opcode == WEFT_WEBSOCKET_CLOSE) {
            int code = size >= 2 ? (unsigned char)data[0] << 8 | (unsigned char)data[1] : 0;
            tell_close(t, code, data + (size >= 2 ? 2 : 0), size >= 2 ? size - 2 : 0);
            continue;
        }
        char letter[3] = {letters[f.opcode], ':', 0};
        letter[0] = (char)(f.fin ? letter[0] : tolower(letter[0]));
        tell(t, letter);
        tell_bytes(t, data, size);
    }
}

#endif
