// client_reply.cc: the reader of replies.
//
// A reply is looked at as it comes, which counts its items and bytes and remembers how far it got;
// once it is whole one block is made for all of it and filled.  So nothing is read twice, however
// it was cut, and a count that promises much takes no memory until its items are there.
//
// A large string that is not all there yet gets memory of its own, at once, and is received
// there; among the bytes in `data` it is left out.  The block lists such strings in order, and
// `at` tells which it is.
#include "client_reply.h"

#include <base/number.h>

#include <base/errno.h>

#include <locale.h>
#include <stdlib.h>

using namespace weft;

namespace {
// What a reply's first item lies in.
struct root {
    weft_reply *link;
    large_string *large;
    weft_reply first;
};
} // namespace

static root *root_of(weft_reply *r)
{
    return (root *)(void *)((char *)r - offsetof(root, first));
}

weft_reply **weft::client_reply_link(weft_reply *r)
{
    return &root_of(r)->link;
}

static void free_large(large_string *l)
{
    while (l != nullptr) {
        large_string *next = l->next;
        free(l);
        l = next;
    }
}

void weft_reply_free(weft_reply *r)
{
    if (r == nullptr)
        return;
    int saved = errno;
    free_large(root_of(r)->large);
    free(root_of(r));
    errno = saved;
}

// ---- Lines ----

namespace {
struct line {
    char type;
    const char *text; // ends with \r\n
    size_t n;
};
} // namespace

// A whole number: 1, 0 when it is none.
static int parse_number(const line *l, int64_t *number)
{
    size_t plus = l->n > 0 && l->text[0] == '+';
    return number_parse(l->text + plus, l->n - plus, number) &&
           !(plus && l->n > 1 && l->text[1] == '-');
}

// A length or count up to `most`; -1 where that is allowed.
static int parse_count(const line *l, bool null, int64_t most, int64_t *n)
{
    if (l->n == 0 || l->text[0] == '+' || !parse_number(l, n))
        return 0;
    return *n >= 0 ? *n <= most : null && *n == -1 && l->n == 2;
}

static size_t digits(const line *l, size_t i)
{
    size_t n = 0;
    while (i + n < l->n && l->text[i + n] >= '0' && l->text[i + n] <= '9')
        n++;
    return n;
}

static size_t sign(const line *l, size_t i)
{
    return i < l->n && (l->text[i] == '-' || l->text[i] == '+');
}

static bool is_word(const line *l, size_t i, const char *word)
{
    return l->n - i == strlen(word) && memcmp(l->text + i, word, l->n - i) == 0;
}

static int is_double(const line *l)
{
    size_t i = sign(l, 0), n = digits(l, i);
    if (is_word(l, i, "inf") || is_word(l, i, "nan"))
        return 1;
    i += n;
    if (i < l->n && l->text[i] == '.') {
        size_t behind = digits(l, i + 1);
        n += behind;
        i += 1 + behind;
    }
    if (n > 0 && i < l->n && (l->text[i] == 'e' || l->text[i] == 'E')) {
        i += 1 + sign(l, i + 1);
        n = digits(l, i);
        i += n;
    }
    return n > 0 && i == l->n;
}

// ---- Looking ----

static int not_resp(void)
{
    return fail_with(EPROTO);
}

static bool is_text(char type)
{
    return type == '+' || type == '-' || type == '(' || type == ',';
}

static bool is_string(char type)
{
    return type == '$' || type == '!' || type == '=';
}

static bool is_aggregate(char type)
{
    return type == '*' || type == '~' || type == '%' || type == '>' || type == '|';
}

// The line at `at`: 1, 0 when it has no end yet, -1.
static int find_line(reply_reader *r, line *l)
{
    const char *begin = r->in.data + r->in.begin + r->at;
    size_t n = r->in.end - r->in.begin - r->at;
    if (n > 0 && (*begin == 0 || strchr("+-(,:_#$!=*~%>|", *begin) == nullptr))
        return not_resp();
    const char *end =
        n > r->scanned ? (const char *)memchr(begin + r->scanned, '\r', n - r->scanned) : nullptr;
    size_t length = end != nullptr ? (size_t)(end - begin) : n;
    if (length > REPLY_LINE)
        return not_resp();
    if (end == nullptr || length + 1 == n) {
        r->scanned = length;
        return 0;
    }
    if (end[1] != '\n' || length == 0 || memchr(begin, '\n', length) != nullptr)
        return not_resp();
    *l = {*begin, begin + 1, length - 1};
    return 1;
}

// The value that ended there was the last item of these; whether it was the whole reply.
static bool close_value(reply_reader *r)
{
    while (r->depth > 0) {
        r->depth--;
        if (--r->open[r->depth].left > 0) {
            r->depth++;
            return false;
        }
        if (r->open[r->depth].attribute)
            return false; // what it belongs to is still to come
    }
    return true;
}

static int open_aggregate(reply_reader *r, const line *l)
{
    int64_t n;
    bool pairs = l->type == '%' || l->type == '|';
    if (!parse_count(l, l->type == '*', REPLY_MOST / (pairs ? 2 : 1), &n) ||
        (l->type == '>' && r->depth > 0))
        return not_resp();
    if (n <= 0)
        return l->type == '|' ? 0 : close_value(r);
    if (r->depth == REPLY_DEPTH)
        return not_resp();
    r->open[r->depth].left = (size_t)n * (pairs ? 2 : 1);
    r->open[r->depth].attribute = l->type == '|';
    r->depth++;
    return 0;
}

static char *large_text(large_string *l)
{
    return (char *)(l + 1);
}

// Moves what has come of a string of n bytes out of `data`.
static int begin_large(reply_reader *r, char type, size_t n)
{
    size_t have = r->in.end - r->in.begin - r->at;
    large_string *l = (large_string *)malloc(sizeof *l + n + 2);
    if (l == nullptr)
        return -1;
    *l = {nullptr, r->at, n, type};
    memcpy(large_text(l), r->in.data + r->in.begin + r->at, have);
    r->in.end -= have;
    *(r->last != nullptr ? &r->last->next : &r->large) = l;
    r->last = l;
    r->outside += n;
    r->receiving = true;
    r->missing = n + 2 - have;
    return 0;
}

// Whether a string's bytes are as they should be, with their line end.
static bool is_sound(char type, const char *text, size_t n)
{
    return text[n] == '\r' && text[n + 1] == '\n' && (type != '=' || (n >= 4 && text[3] == ':'));
}

static int need_more(void)
{
    return fail_with(EAGAIN);
}

// The looks return 1: the reply ends here, 0: it goes on, or -1 and errno.
static int look_at_string(reply_reader *r, const line *l)
{
    int64_t n;
    if (!parse_count(l, l->type == '$', REPLY_STRING_MOST, &n))
        return not_resp();
    size_t size = (size_t)n, header = l->n + 3, have = r->in.end - r->in.begin - r->at - header;
    bool here = n < 0 || have >= size + 2;
    if (!here && size < REPLY_LARGE)
        return need_more(); // and comes here again then
    r->at += header;
    r->nodes++;
    if (!here)
        return begin_large(r, l->type, size) == 0 ? need_more() : -1;
    if (n >= 0) {
        if (!is_sound(l->type, r->in.data + r->in.begin + r->at, size))
            return not_resp();
        r->at += size + 2;
        r->text += size + 1;
    }
    return close_value(r);
}

static int look_at_large(reply_reader *r)
{
    large_string *l = r->last;
    if (r->missing > 0)
        return need_more();
    r->receiving = false;
    if (!is_sound(l->type, large_text(l), l->size))
        return not_resp();
    large_text(l)[l->size] = 0;
    return close_value(r);
}

static bool is_integer(const line *l)
{
    size_t i = sign(l, 0), n = digits(l, i);
    return n > 0 && i + n == l->n;
}

static bool is_well_formed(const line *l)
{
    int64_t number;
    switch (l->type) {
    case ':':
        return parse_number(l, &number);
    case '(':
        return is_integer(l);
    case ',':
        return is_double(l);
    case '_':
        return l->n == 0;
    case '#':
        return is_word(l, 0, "t") || is_word(l, 0, "f");
    default:
        return true;
    }
}

static int look(reply_reader *r)
{
    line l;
    if (r->receiving)
        return look_at_large(r);
    int found = find_line(r, &l);
    if (found <= 0)
        return found < 0 ? -1 : need_more();
    r->scanned = 0;
    if (is_string(l.type))
        return look_at_string(r, &l);
    r->at += l.n + 3;
    r->nodes++;
    if (is_aggregate(l.type))
        return open_aggregate(r, &l);
    if (!is_well_formed(&l))
        return not_resp();
    if (is_text(l.type))
        r->text += l.n + 1;
    return close_value(r);
}

// ---- Building ----

namespace {
struct builder {
    const char *begin, *at;
    weft_reply *nodes; // the next free ones
    char *text;
    large_string *large; // the next one
};
} // namespace

static void put_text(builder *b, weft_reply *r, const char *text, size_t n)
{
    memcpy(b->text, text, n);
    b->text[n] = 0;
    r->text = b->text;
    r->size = n;
    b->text += n + 1;
}

// The C locale's strtod: a program may have set one that has another decimal point.
static double double_of(const char *text)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", nullptr);
    double real = c != nullptr ? strtod_l(text, nullptr, c) : strtod(text, nullptr);
    if (c != nullptr)
        freelocale(c);
    return real;
}

static void build_string(builder *b, weft_reply *r, const line *l)
{
    int64_t n = -1;
    parse_count(l, true, REPLY_STRING_MOST, &n);
    if (n < 0)
        return;
    r->type = l->type == '!' ? WEFT_REPLY_ERROR : WEFT_REPLY_STRING;
    if (b->large != nullptr && b->large->at == (size_t)(b->at - b->begin)) {
        r->text = large_text(b->large);
        r->size = (size_t)n;
        b->large = b->large->next;
    } else {
        put_text(b, r, b->at, (size_t)n);
        b->at += n + 2;
    }
    if (l->type == '=') { // "txt:" says what kind of text it is
        r->text += 4;
        r->size -= 4;
    }
}

static void build_line(weft_reply *r, builder *b, const line *l)
{
    r->type = l->type == '+'   ? WEFT_REPLY_STATUS
              : l->type == '-' ? WEFT_REPLY_ERROR
              : l->type == ':' ? WEFT_REPLY_INTEGER
              : l->type == ',' ? WEFT_REPLY_DOUBLE
              : l->type == '(' ? WEFT_REPLY_BIG
              : l->type == '#' ? WEFT_REPLY_BOOL
                               : WEFT_REPLY_NULL;
    if (is_text(l->type))
        put_text(b, r, l->text, l->n);
    if (l->type == ',')
        r->real = double_of(l->text); // which ends at the line's end
    if (l->type == ':')
        parse_number(l, &r->integer);
    if (l->type == '#')
        r->integer = l->text[0] == 't';
}

static void build(builder *b, weft_reply *r);

static void build_aggregate(builder *b, weft_reply *r, const line *l)
{
    int64_t n = -1;
    parse_count(l, true, REPLY_MOST, &n);
    if (n < 0)
        return;
    r->type = l->type == '*'   ? WEFT_REPLY_ARRAY
              : l->type == '~' ? WEFT_REPLY_SET
              : l->type == '>' ? WEFT_REPLY_PUSH
                               : WEFT_REPLY_MAP;
    r->size = (size_t)n * (r->type == WEFT_REPLY_MAP ? 2 : 1);
    weft_reply *items = b->nodes;
    b->nodes += r->size;
    r->items = items;
    for (size_t i = 0; i < r->size; i++)
        build(b, &items[i]);
}

static line next_line(builder *b)
{
    const char *end = (const char *)rawmemchr(b->at, '\r');
    line l = {*b->at, b->at + 1, (size_t)(end - b->at - 1)};
    b->at = end + 2;
    return l;
}

// Fills one item from what has been found sound.  As deep as REPLY_DEPTH.
static void build(builder *b, weft_reply *r)
{
    line l = next_line(b);
    while (l.type == '|') { // attributes say something about what follows; nobody asked
        weft_reply ignored = {};
        build_aggregate(b, &ignored, &l);
        l = next_line(b);
    }
    *r = {};
    r->type = WEFT_REPLY_NULL;
    if (is_string(l.type))
        build_string(b, r, &l);
    else if (is_aggregate(l.type))
        build_aggregate(b, r, &l);
    else
        build_line(r, b, &l);
}

static weft_reply *make(const reply_reader *r)
{
    root *all = (root *)malloc(sizeof *all + r->nodes * sizeof(weft_reply) + r->text);
    if (all == nullptr)
        return nullptr;
    const char *begin = r->in.data + r->in.begin;
    weft_reply *nodes = (weft_reply *)(all + 1);
    builder b = {begin, begin, nodes, (char *)(nodes + r->nodes), r->large};
    all->link = nullptr;
    all->large = r->large;
    build(&b, &all->first);
    return &all->first;
}

// ---- The reader ----

// A reply begins at `begin`, of which nothing is known.
static void begin_reply(reply_reader *r)
{
    r->at = r->scanned = r->nodes = r->text = r->outside = 0;
    r->depth = 0;
    r->large = r->last = nullptr;
}

weft_reply *weft::reader_next(reply_reader *r)
{
    int saved = errno, found;
    while ((found = look(r)) == 0)
        if (r->at + r->text + r->outside + r->nodes * sizeof(weft_reply) > REPLY_MOST) {
            not_resp();
            return nullptr;
        }
    weft_reply *reply = found > 0 ? make(r) : nullptr;
    if (reply == nullptr)
        return nullptr;
    bytes_take(&r->in, r->at);
    begin_reply(r);
    errno = saved;
    return reply;
}

enum { FIRST_ROOM = 16 << 10, KEPT_ROOM = 256 << 10, LEAST_ROOM = 4 << 10 };

char *weft::reader_room(reply_reader *r, size_t *n)
{
    if (r->receiving && r->missing > 0) {
        *n = r->missing;
        return large_text(r->last) + r->last->size + 2 - r->missing;
    }
    if (bytes_count(&r->in) == 0 && r->in.room > KEPT_ROOM)
        bytes_release(&r->in);
    char *to = bytes_room(&r->in, LEAST_ROOM, FIRST_ROOM, realloc);
    *n = bytes_free(&r->in);
    return to;
}

void weft::reader_got(reply_reader *r, size_t n)
{
    if (r->receiving && r->missing > 0)
        r->missing -= n;
    else
        bytes_put(&r->in, n);
}

void weft::reader_reset(reply_reader *r)
{
    int saved = errno;
    free_large(r->large);
    free(r->in.data);
    memset(r, 0, sizeof *r);
    errno = saved;
}
