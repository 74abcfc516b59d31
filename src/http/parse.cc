// Heads, line by line: a line is scanned to its CR LF, and then taken to pieces.
//
// What decides is always the first thing that is wrong in the order of the bytes, and a limit is a
// place among them: so the result is the same however the text is split.
#include "parse.h"

#include "scan.h"

using namespace weft;

static size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void begin(weft_http_head *h, unsigned flags)
{
    weft_http_field *fields = h->fields;
    size_t room = h->room;
    *h = {};
    h->fields = fields;
    h->room = room;
    h->private_flags = flags;
}

static void moved(weft_http_text *t, const char *from, const char *to)
{
    if (t->at != nullptr) // NOLINT(clang-analyzer-core.NullDereference): there are no fields then
        t->at = to + ((uintptr_t)t->at - (uintptr_t)from);
}

// The bytes lie elsewhere than in the call before.
static void follow(weft_http_head *h, const char *to)
{
    const char *from = h->private_text;
    moved(&h->method, from, to);
    moved(&h->target, from, to);
    moved(&h->path, from, to);
    moved(&h->host, from, to);
    moved(&h->reason, from, to);
    for (size_t i = 0; i < h->count; i++) {
        moved(&h->fields[i].name, from, to);
        moved(&h->fields[i].value, from, to);
    }
}

static bool take_field(weft_http_head *h, const char *line, size_t n, size_t limit)
{
    size_t name = name_span(line, n);
    if (name == n || line[name] != ':' || name == 0)
        return head_refuse(
            h, 400, n > 0 && is_blank(line[0]) ? "a folded field" : "no field name and colon");
    if (h->count == at_most(h->room, limit)) {
        h->private_flags |= HEAD_TOO_LARGE;
        return head_refuse(h, 431, "too many fields");
    }
    weft_http_field *f = &h->fields[h->count++];
    f->name = {line, name};
    f->value = text_trim({line + name + 1, n - name - 1});
    return head_take_field(h, f->name, f->value);
}

// What a line of n bytes says; false: the head is refused.  *done: it was the last.
static bool take_line(weft_http_head *h, const char *line, size_t n, size_t fields, bool *done)
{
    if (n == 0 && (h->private_flags & HEAD_BEGUN)) {
        *done = true;
        return head_end(h);
    }
    // One empty line is forgiven before a request (RFC 9112, 2.2).
    if (n == 0 && !(h->private_flags & (HEAD_EMPTY_LINE | HEAD_RESPONSE))) {
        h->private_flags |= HEAD_EMPTY_LINE;
        return true;
    }
    if (h->private_flags & HEAD_BEGUN)
        return take_field(h, line, n, fields);
    h->private_flags |= HEAD_BEGUN;
    return head_first_line(h, {line, n});
}

static ssize_t refused(weft_http_head *h)
{
    h->seen = 0;
    return fail_with(EBADMSG);
}

static ssize_t too_long(weft_http_head *h)
{
    h->private_flags |= HEAD_TOO_LARGE;
    if (h->private_flags & HEAD_BEGUN)
        head_refuse(h, 431, "a field or all of them are too long");
    else
        head_refuse(h, 414, "the first line is too long");
    return refused(h);
}

// The CR of a line that begins there comes before this place: behind it, and in the head's limit,
// is its LF.
static size_t bound_of(size_t line, const weft_http_limits *l)
{
    size_t bound = l->head - 1;
    return line < bound && l->line < bound - line ? line + l->line + 1 : bound;
}

static ssize_t parse(weft_http_head *h, const char *text, size_t n, const weft_http_limits *l)
{
    size_t line = h->private_line, at = h->seen;
    for (bool done = false; !done;) {
        size_t bound = bound_of(line, l);
        if (at < bound)
            at += text_span(text + at, at_most(n, bound) - at);
        if (at >= bound)
            return too_long(h);
        if (at == n || (at + 1 == n && text[at] == '\r')) {
            h->private_line = line;
            h->seen = at;
            return 0;
        }
        if (text[at] != '\r' || text[at + 1] != '\n') {
            head_refuse(h, 400, "a control, or a line that does not end with CR LF");
            return refused(h);
        }
        if (!take_line(h, text + line, at - line, l->fields, &done))
            return refused(h);
        line = at += 2;
    }
    h->seen = 0;
    return (ssize_t)line;
}

static weft_http_limits limits_of(const weft_http_limits *given)
{
    weft_http_limits l = given != nullptr ? *given : weft_http_limits{};
    return {l.line != 0 ? l.line : 8192, l.head != 0 ? l.head : 32768,
            l.fields != 0 ? l.fields : 100};
}

static ssize_t parse_head(weft_http_head *h, const char *text, size_t n,
                          const weft_http_limits *limits, unsigned flags)
{
    if (h == nullptr || (text == nullptr && n > 0) || (h->fields == nullptr && h->room > 0) ||
        n < h->seen)
        return fail_with(EINVAL);
    if (h->seen == 0)
        begin(h, flags);
    else if (text != h->private_text)
        follow(h, text);
    h->private_text = text;
    const weft_http_limits l = limits_of(limits);
    return n > h->seen ? parse(h, text, n, &l) : 0;
}

ssize_t weft_http_parse_request(weft_http_head *h, const char *text, size_t n,
                                const weft_http_limits *limits)
{
    return parse_head(h, text, n, limits, 0);
}

ssize_t weft_http_parse_response(weft_http_head *h, const char *text, size_t n,
                                 const weft_http_limits *limits, bool to_head_request)
{
    return parse_head(h, text, n, limits, HEAD_RESPONSE | (to_head_request ? HEAD_NO_BODY : 0));
}

const weft_http_text *weft_http_find(const weft_http_head *h, const char *name)
{
    if (h == nullptr || name == nullptr)
        return fail_null(EINVAL);
    size_t size = strlen(name);
    for (size_t i = 0; i < h->count; i++)
        if (text_is(h->fields[i].name, name, size))
            return &h->fields[i].value;
    return nullptr;
}
