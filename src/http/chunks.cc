// A chunked body (RFC 9112, 7.1), a byte at a time but for the data: all that has come is taken, so
// the caller keeps nothing for it.
//
// Stricter than the grammar: no blanks between a size and its extensions, and at most 16 digits.
#include "base/errno.h"
#include "base/number.h"
#include "scan.h"

using namespace weft;

// Where the next byte stands.  SIZE is 0: all zero is the beginning.
enum {
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, // a field's first byte, or the CR of the empty line
    NAME,
    VALUE,
    VALUE_LF,
    LAST_LF,
    ENDED,
    REFUSED
};

static bool refuse(weft_http_chunks *c, int status, const char *why)
{
    c->private_state = REFUSED;
    c->status = status;
    c->why = why;
    return false;
}

static bool go(weft_http_chunks *c, int state)
{
    c->private_state = state;
    return true;
}

static size_t or_else(size_t limit, size_t usual)
{
    return limit != 0 ? limit : usual;
}

// Extensions may run ahead of the data only so far: else a peer could send little else.
static bool take_extension(weft_http_chunks *c, char byte)
{
    if (byte == '\r')
        return go(c, SIZE_LF);
    if (!byte_is(byte, IS_TEXT))
        return refuse(c, 400, "a control in a chunk's extension");
    if (c->private_size++ >= or_else(c->limits.line, 8192))
        return refuse(c, 400, "too long extensions of chunks");
    return true;
}

static bool take_size(weft_http_chunks *c, char byte)
{
    int digit = hex_digit(byte);
    if (digit >= 0) {
        if (c->private_count++ == 16 || c->left >> 59 != 0)
            return refuse(c, 400, "a chunk's size that is too large");
        c->left = c->left << 4 | (unsigned)digit;
        return true;
    }
    if (c->private_count == 0 || (byte != '\r' && byte != ';'))
        return refuse(c, 400, "a chunk without a size");
    c->private_count = 0;
    return byte == '\r' ? go(c, SIZE_LF) : go(c, EXTENSION) && take_extension(c, byte);
}

static bool take_lf(weft_http_chunks *c, char byte, int next)
{
    return byte == '\n' ? go(c, next) : refuse(c, 400, "a line that does not end with CR LF");
}

static bool begin_trailer(weft_http_chunks *c)
{
    c->private_size = c->private_fields = 0;
    return go(c, TRAILER);
}

static bool take_size_lf(weft_http_chunks *c, char byte)
{
    return take_lf(c, byte, DATA) && (c->left > 0 || begin_trailer(c));
}

// A byte of a field, its CR LF left out of the line but not of the trailer.
static bool within_limits(weft_http_chunks *c, bool of_line)
{
    c->private_line += of_line;
    if (c->private_line > or_else(c->limits.line, 8192) ||
        ++c->private_size > or_else(c->limits.head, 32768))
        return refuse(c, 431, "too long fields in the trailer");
    return true;
}

static bool take_name(weft_http_chunks *c, char byte)
{
    if (byte == ':' && c->private_line > 0)
        return within_limits(c, true) && go(c, VALUE);
    if (!byte_is(byte, IS_TOKEN))
        return refuse(c, 400, "no field name and colon in the trailer");
    return within_limits(c, true);
}

static bool take_trailer(weft_http_chunks *c, char byte)
{
    c->private_line = 0;
    if (byte == '\r')
        return within_limits(c, false) && go(c, LAST_LF);
    if (!take_name(c, byte))
        return false;
    if (c->private_fields++ == or_else(c->limits.fields, 100))
        return refuse(c, 431, "too many fields in the trailer");
    return go(c, NAME);
}

static bool take_value(weft_http_chunks *c, char byte)
{
    if (byte == '\r')
        return within_limits(c, false) && go(c, VALUE_LF);
    return byte_is(byte, IS_TEXT) ? within_limits(c, true)
                                  : refuse(c, 400, "a control in the trailer");
}

static bool take_data_cr(weft_http_chunks *c, char byte)
{
    return byte == '\r' ? go(c, DATA_LF) : refuse(c, 400, "a chunk that is longer than its size");
}

// Any byte but data; false: the body is refused.
static bool take(weft_http_chunks *c, char byte)
{
    switch (c->private_state) {
    case SIZE:
        return take_size(c, byte);
    case EXTENSION:
        return take_extension(c, byte);
    case SIZE_LF:
        return take_size_lf(c, byte);
    case DATA_CR:
        return take_data_cr(c, byte);
    case DATA_LF:
        return take_lf(c, byte, SIZE);
    case TRAILER:
        return take_trailer(c, byte);
    case NAME:
        return take_name(c, byte);
    case VALUE:
        return take_value(c, byte);
    case VALUE_LF:
        return take_lf(c, byte, TRAILER) && within_limits(c, false);
    default:
        return take_lf(c, byte, ENDED) && within_limits(c, false);
    }
}

static void take_data(weft_http_chunks *c, const char *at, size_t n, weft_http_text *data)
{
    if (n > c->left)
        n = (size_t)c->left;
    *data = {at, n};
    c->left -= n;
    c->private_size -= n < c->private_size ? n : c->private_size;
    if (c->left == 0)
        c->private_state = DATA_CR;
}

ssize_t weft_http_chunks_next(weft_http_chunks *c, const char *text, size_t n, weft_http_text *data)
{
    if (c == nullptr || data == nullptr || (text == nullptr && n > 0))
        return fail_with(EINVAL);
    *data = {};
    size_t i = 0;
    while (i < n && c->private_state != ENDED && c->private_state != DATA)
        if (c->private_state == REFUSED || !take(c, text[i++]))
            return fail_with(EBADMSG);
    if (i < n && c->private_state == DATA) {
        take_data(c, text + i, n - i, data);
        i += data->size;
    }
    c->ended = c->private_state == ENDED;
    return (ssize_t)i;
}
