// Reads any bytes as a WebSocket's frames twice: all at once, and in pieces that the first byte
// chooses.  Both give the same messages and the same end, within the limit, and say the same;
// what is said is frames, of text that is UTF-8.  Headers are built again as they were.
//
// sources: src/http/websocket_frame.cc src/http/websocket_read.cc src/http/websocket_write.cc
// sources: src/http/websocket_close.cc
// libraries: yes
#include <http/websocket_state.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

using namespace weft;

enum { LIMIT = 1000 };

static void must(bool truth)
{
    if (!truth)
        abort();
}

// ---- The stream ----

static const uint8_t *input;
static size_t input_size, taken;
static unsigned pieces; // 0: all at once

struct told {
    char *text;
    size_t size;
};

static told output;

static void tell(told *t, const void *p, size_t n)
{
    t->text = (char *)realloc(t->text, t->size + n + 1);
    if (n > 0)
        memcpy(t->text + t->size, p, n);
    t->size += n;
}

ssize_t weft::websocket_stream_read(weft_websocket *, void *buf, size_t n, weft_deadline)
{
    size_t left = input_size - taken;
    if (pieces != 0) {
        size_t most = 1 + (pieces = pieces * 1103515245 + 12345) / 65536 % 7;
        n = n < most ? n : most;
    }
    n = n < left ? n : left;
    if (n > 0)
        memcpy(buf, input + taken, n);
    taken += n;
    return (ssize_t)n;
}

ssize_t weft::websocket_stream_write(weft_websocket *, struct iovec *pieces, int count,
                                     weft_deadline)
{
    size_t n = 0;
    for (int i = 0; i < count; n += pieces[i++].iov_len)
        tell(&output, pieces[i].iov_base, pieces[i].iov_len);
    return (ssize_t)n;
}

void weft::websocket_stream_end(weft_websocket *)
{
}

// ---- What is read, and said ----

static bool is_text(const char *text, size_t n)
{
    utf8_state u = {};
    return utf8_take(&u, text, n) && u.left == 0;
}

static told read_all(bool is_client, unsigned piecewise, bool whole)
{
    weft_websocket_options o = {};
    weft_websocket_message m = {};
    told t = {};
    int result;
    o.limit = LIMIT;
    taken = 0;
    pieces = piecewise;
    weft_websocket *w = websocket_create(nullptr, -1, is_client, &o, {}, {});
    must(w != nullptr);
    do {
        result = whole ? weft_websocket_read(w, &m, WEFT_FOREVER)
                       : weft_websocket_read_piece(w, &m, WEFT_FOREVER);
        if (result > 0) {
            must(!whole || (m.size <= LIMIT && !m.more));
            must(!whole || m.kind != WEFT_WEBSOCKET_TEXT || is_text(m.data, m.size));
            tell(&t, m.data, m.size);
            if (!m.more)
                tell(&t, &m.kind, 1);
        } else if (result == 0) {
            must(m.size <= 123 && is_text(m.data, m.size));
            tell(&t, &m.code, sizeof m.code);
        } else {
            tell(&t, &errno, sizeof errno);
        }
    } while (result > 0);
    must(weft_websocket_read(w, &m, WEFT_FOREVER) == -1 && errno == EPIPE);
    w->is_client = false; // there is no descriptor to be closed
    must(weft_websocket_destroy(w) == 0);
    return t;
}

// Whole frames; a header is the shortest.
static void check_output(bool masked)
{
    unsigned char header[WEFT_WEBSOCKET_HEADER];
    for (size_t at = 0; at < output.size;) {
        weft_websocket_frame f;
        ssize_t n = weft_websocket_frame_parse(&f, output.text + at, output.size - at);
        must(n > 0 && f.masked == masked && f.opcode >= WEFT_WEBSOCKET_CLOSE);
        must(weft_websocket_frame_build(&f, header) == n);
        must(memcmp(header, output.text + at, (size_t)n) == 0);
        at += (size_t)n + (size_t)f.length;
        must(at <= output.size);
    }
    free(output.text);
    output = {};
}

static void check_masks(void)
{
    static const unsigned char mask[4] = {1, 2, 3, 4};
    char *twice = (char *)malloc(input_size + 1);
    size_t part = input_size / 3;
    if (input_size > 0)
        memcpy(twice, input, input_size);
    weft_websocket_mask(twice, input_size, mask, 5);
    weft_websocket_mask(twice, part, mask, 5);
    weft_websocket_mask(twice + part, input_size - part, mask, 5 + part);
    must(input_size == 0 || memcmp(twice, input, input_size) == 0);
    free(twice);
}

static void same(told a, told b)
{
    must(a.size == b.size && (a.size == 0 || memcmp(a.text, b.text, a.size) == 0));
    free(a.text);
    free(b.text);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || weft_tasklet_self() == nullptr)
        return 0;
    bool is_client = (data[0] & 1) != 0;
    input = data + 1;
    input_size = size - 1;
    check_masks();
    told at_once = read_all(is_client, 0, true);
    check_output(is_client);
    same(at_once, read_all(is_client, data[0] | 1u, true));
    check_output(is_client);
    at_once = read_all(is_client, 0, false);
    check_output(is_client);
    free(at_once.text);
    free(read_all(is_client, data[0] | 1u, false).text);
    check_output(is_client);
    return 0;
}
