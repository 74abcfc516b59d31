// websocket_frame.cc: the frames of RFC 6455, section 5, as bytes; and text as it comes.
#include "websocket_state.h"

#include <base/errno.h>

#include <string.h>

using namespace weft;

static bool is_control(int opcode)
{
    return opcode >= WEFT_WEBSOCKET_CLOSE;
}

static bool is_opcode(int opcode)
{
    return (opcode >= WEFT_WEBSOCKET_CONTINUATION && opcode <= WEFT_WEBSOCKET_BINARY) ||
           (opcode >= WEFT_WEBSOCKET_CLOSE && opcode <= WEFT_WEBSOCKET_PONG);
}

// ---- Headers ----

static const unsigned char FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80;
static const unsigned SHORT = 125, TWO_BYTES = 126, EIGHT_BYTES = 127;

static bool is_sound(const weft_websocket_frame *f)
{
    return is_opcode(f->opcode) && f->length <= INT64_MAX &&
           (!is_control(f->opcode) || (f->fin && f->length <= SHORT));
}

// How many bytes the length takes behind the second one.
static size_t length_size(unsigned first)
{
    return first == EIGHT_BYTES ? 8 : first == TWO_BYTES ? 2 : 0;
}

static unsigned first_length(uint64_t length)
{
    return length <= SHORT ? (unsigned)length : length <= UINT16_MAX ? TWO_BYTES : EIGHT_BYTES;
}

// What the first two bytes say already is looked at before there are more.
ssize_t weft_websocket_frame_parse(weft_websocket_frame *f, const void *bytes, size_t n)
{
    const unsigned char *p = (const unsigned char *)bytes;
    if (f == nullptr || (p == nullptr && n > 0))
        return fail_with(EINVAL);
    if (n < 2)
        return n == 1 && ((p[0] & RESERVED) != 0 || !is_opcode(p[0] & OPCODE)) ? fail_with(EBADMSG)
                                                                               : 0;
    unsigned first = p[1] & 0x7f;
    f->opcode = p[0] & OPCODE;
    f->fin = (p[0] & FIN) != 0;
    f->masked = (p[1] & MASKED) != 0;
    f->length = first;
    if ((p[0] & RESERVED) != 0 || !is_sound(f))
        return fail_with(EBADMSG);
    size_t more = length_size(first), size = 2 + more + (f->masked ? sizeof f->mask : 0);
    if (n < size)
        return 0;
    if (more > 0)
        f->length = 0;
    for (size_t i = 0; i < more; i++)
        f->length = f->length << 8 | p[2 + i];
    if (!is_sound(f) || first_length(f->length) != first)
        return fail_with(EBADMSG);
    memset(f->mask, 0, sizeof f->mask);
    if (f->masked)
        memcpy(f->mask, p + 2 + more, sizeof f->mask);
    return (ssize_t)size;
}

ssize_t weft_websocket_frame_build(const weft_websocket_frame *f,
                                   unsigned char header[WEFT_WEBSOCKET_HEADER])
{
    if (f == nullptr || header == nullptr || !is_sound(f))
        return fail_with(EINVAL);
    unsigned first = first_length(f->length);
    size_t more = length_size(first);
    header[0] = (unsigned char)((f->fin ? FIN : 0) | f->opcode);
    header[1] = (unsigned char)((f->masked ? MASKED : 0) | first);
    for (size_t i = 0; i < more; i++)
        header[2 + i] = (unsigned char)(f->length >> 8 * (more - 1 - i));
    if (f->masked)
        memcpy(header + 2 + more, f->mask, sizeof f->mask);
    return (ssize_t)(2 + more + (f->masked ? sizeof f->mask : 0));
}

// ---- Masks ----

void weft_websocket_mask(void *data, size_t n, const unsigned char mask[4], uint64_t offset)
{
    unsigned char *p = (unsigned char *)data, turned[8];
    uint64_t wide, eight;
    if (data == nullptr || mask == nullptr)
        return;
    for (size_t i = 0; i < sizeof turned; i++)
        turned[i] = mask[(offset + i) & 3];
    memcpy(&wide, turned, sizeof wide);
    for (; n >= sizeof eight; n -= sizeof eight, p += sizeof eight) {
        memcpy(&eight, p, sizeof eight);
        eight ^= wide;
        memcpy(p, &eight, sizeof eight);
    }
    for (size_t i = 0; i < n; i++)
        p[i] ^= turned[i];
}

// ---- Text ----

// The first byte of a character of several: how many follow, and between what the second must be,
// so that nothing is longer than need be, a surrogate or beyond U+10FFFF (RFC 3629, section 4).
static bool begin_character(utf8_state *u, unsigned char c)
{
    if (c < 0xc2 || c > 0xf4)
        return false;
    u->left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    u->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    u->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    return true;
}

static bool go_on(utf8_state *u, unsigned char c)
{
    if (c < u->low || c > u->high)
        return false;
    u->left--;
    u->low = 0x80;
    u->high = 0xbf;
    return true;
}

static const unsigned char *skip_ascii(const unsigned char *p, const unsigned char *end)
{
    uint64_t eight;
    for (; (size_t)(end - p) >= sizeof eight; p += sizeof eight) {
        memcpy(&eight, p, sizeof eight);
        if ((eight & 0x8080808080808080) != 0)
            break;
    }
    while (p < end && *p < 0x80)
        p++;
    return p;
}

bool weft::utf8_take(utf8_state *u, const void *bytes, size_t n)
{
    const unsigned char *p = (const unsigned char *)bytes, *end = p + n;
    while (p < end) {
        if (u->left == 0 && (p = skip_ascii(p, end)) == end)
            break;
        if (!(u->left == 0 ? begin_character(u, *p) : go_on(u, *p)))
            return false;
        p++;
    }
    return true;
}

// ---- Codes ----

// Those of section 7.4 and of the registry, and not the three that no frame may have.
bool weft::is_close_code(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}
