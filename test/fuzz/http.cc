// Reads any bytes as a request, a response or a chunked body, at once and in pieces, which must
// come to the same.  The first byte says what they are and which limits hold, the next two how
// large the pieces are.
//
// sources: src/http/parse*.cc src/http/host.cc src/http/chunks.cc
#include "../http/describe.h"

#include <stdint.h>

static void must(bool truth)
{
    if (!truth)
        abort();
}

static size_t count_of(const char *text, size_t size, const char *what)
{
    size_t n = 0, length = strlen(what);
    for (size_t i = 0; i + length <= size; i++)
        n += strncasecmp(text + i, what, length) == 0;
    return n;
}

// What is true of each head that is taken, told in a way of its own.
static void check_head(const message *m, size_t end)
{
    weft_http_field fields[DESCRIBE_FIELDS];
    weft_http_head h = {};
    h.fields = fields;
    h.room = DESCRIBE_FIELDS;
    ssize_t n = m->response ? weft_http_parse_response(&h, m->text, end, NULL, m->to_head)
                            : weft_http_parse_request(&h, m->text, end, NULL);
    must(n == (ssize_t)end && h.seen == 0 && h.why == nullptr);
    size_t lines = count_of(m->text, end, "\r\n"), empty = memcmp(m->text, "\r\n", 2) == 0;
    must(lines == h.count + 2 + empty);
    must(count_of(m->text, end, "\n") == lines && count_of(m->text, end, "\r") == lines);
    must(memchr(m->text, 0, end) == nullptr && memcmp(m->text + end - 4, "\r\n\r\n", 4) == 0);
    size_t hosts = count_of(m->text, end, "\nHost:"),
           codings = count_of(m->text, end, "\nTransfer-Encoding:");
    size_t sizes = count_of(m->text, end, "\nContent-Length:");
    must(sizes < 2 && sizes + (codings > 0) < 2 && (m->response || hosts < 2));
    must(m->response || h.version == 10 || hosts == 1);
    must(h.length != WEFT_HTTP_CHUNKED || (codings > 0 && h.version == 11));
    must(h.length != WEFT_HTTP_TO_THE_END || (m->response && !h.keep_alive));
    must(m->response || h.length != 0 || codings == 0);
}

static void check_body(const message *m, cut c)
{
    size_t end, other_end;
    words said = describe_body(m, {0, 0}, &end), other = describe_body(m, c, &other_end);
    must(same(said, other));
    must(!ends_with(said, "|ended") || (end == other_end && m->text[end - 1] == '\n'));
    free(said.text);
    free(other.text);
}

static void check_message(message *m, cut c)
{
    size_t end, other_end;
    words said = describe(m, {0, 0}, &end), other = describe(m, c, &other_end);
    must(same(said, other) && end == other_end);
    free(said.text);
    free(other.text);
    if (end == 0)
        return;
    check_head(m, end);
    m->text += end;
    m->size -= end;
    check_body(m, c);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    message m = {};
    m.text = copied((const char *)data + 3, size - 3);
    m.size = size - 3;
    m.response = (data[0] & 1) != 0;
    m.to_head = (data[0] & 2) != 0;
    if (data[0] & 4)
        m.limits = {24, 100, 3};
    const cut c = {data[1], (size_t)data[2] + 1};
    char *text = (char *)m.text;
    if (data[0] & 8)
        check_body(&m, c);
    else
        check_message(&m, c);
    free(text);
    return 0;
}
