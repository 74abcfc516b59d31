// describe.h: what a parser makes of a text, in words, however the text is cut into pieces.
//
// Every call gets memory of exactly the size, elsewhere than the one before, so that a sanitizer
// sees a step beyond it and a place in what is gone.
#ifndef WEFT_TEST_HTTP_DESCRIBE_H
#define WEFT_TEST_HTTP_DESCRIBE_H

#include <weft/http_parse.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DESCRIBE_FIELDS = 8 };

// How a text is cut: the first piece, and all others (0: the rest is one).
struct cut {
    size_t first, then;
};

struct message {
    const char *text;
    size_t size;
    bool response, to_head;
    weft_http_limits limits;
};

// Words that are appended to a buffer that grows.
struct words {
    char *text;
    size_t size;
};

static inline void put(words *w, const char *bytes, size_t n)
{
    w->text = (char *)realloc(w->text, w->size + n + 1);
    if (n > 0)
        memcpy(w->text + w->size, bytes, n);
    w->size += n;
    w->text[w->size] = 0;
}

__attribute__((format(printf, 2, 3))) static inline void say(words *w, const char *form, ...)
{
    char line[256];
    va_list args;
    va_start(args, form);
    int n = vsnprintf(line, sizeof line, form, args);
    va_end(args);
    put(w, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static inline bool same(words a, words b)
{
    return a.size == b.size && memcmp(a.text, b.text, a.size) == 0;
}

static inline bool ends_with(words w, const char *end)
{
    size_t n = strlen(end);
    return w.size >= n && memcmp(w.text + w.size - n, end, n) == 0;
}

static inline void put_text(words *w, const char *before, weft_http_text t)
{
    put(w, before, strlen(before));
    put(w, t.at, t.size);
}

static inline void describe_head(words *w, const weft_http_head *h)
{
    if (h->status == 0) {
        put_text(w, "", h->method);
        put_text(w, " ", h->target);
        put_text(w, " path=", h->path);
        put_text(w, " host=", h->host);
    } else {
        say(w, "%d", h->status);
        put_text(w, " ", h->reason);
    }
    say(w, " %d length=%" PRId64 "%s%s%s|", h->version, h->length,
        h->keep_alive ? " keep-alive" : "", h->expects_continue ? " expects" : "",
        h->upgrades ? " upgrades" : "");
    for (size_t i = 0; i < h->count; i++) {
        put_text(w, "", h->fields[i].name);
        put_text(w, "=", h->fields[i].value);
        put(w, "|", 1);
    }
}

static inline char *copied(const char *text, size_t n)
{
    char *copy = (char *)malloc(n > 0 ? n : 1);
    if (n > 0)
        memcpy(copy, text, n);
    return copy;
}

static inline size_t next_cut(size_t before, size_t size, cut c)
{
    size_t piece = before == 0 ? c.first : c.then;
    return piece == 0 || piece > size - before ? size : before + piece;
}

// "more", "STATUS why" or what the head says.  *end: where the body begins.  free() the text.
static inline words describe(const message *m, cut c, size_t *end)
{
    weft_http_field fields[DESCRIBE_FIELDS];
    weft_http_head h = {};
    h.fields = fields;
    h.room = DESCRIBE_FIELDS;
    words w = {};
    ssize_t n = 0;
    char *text = nullptr;
    for (size_t fed = 0; n == 0 && fed < m->size;) {
        fed = next_cut(fed, m->size, c);
        char *before = text;
        text = copied(m->text, fed);
        n = m->response ? weft_http_parse_response(&h, text, fed, &m->limits, m->to_head)
                        : weft_http_parse_request(&h, text, fed, &m->limits);
        free(before);
    }
    if (n == 0)
        say(&w, "more");
    else if (n < 0)
        say(&w, "%d %s", h.status, h.why);
    else
        describe_head(&w, &h);
    free(text);
    *end = n > 0 ? (size_t)n : 0;
    return w;
}

// The body's bytes, and behind them "|more", "|STATUS why" or "|ended"; *end: behind it.  free()
// it.
static inline words describe_body(const message *m, cut c, size_t *end)
{
    weft_http_chunks chunks = {};
    chunks.limits = m->limits;
    words w = {};
    ssize_t n = 0;
    *end = 0;
    put(&w, "", 0);
    for (size_t begin = 0, fed = 0; n >= 0 && !chunks.ended && fed < m->size; begin = fed) {
        fed = next_cut(fed, m->size, c);
        char *text = copied(m->text + begin, fed - begin);
        for (size_t i = 0; n >= 0 && !chunks.ended && i < fed - begin; i += (size_t)n) {
            weft_http_text data;
            n = weft_http_chunks_next(&chunks, text + i, fed - begin - i, &data);
            put(&w, data.at, data.size);
            *end += n > 0 ? (size_t)n : 0;
            if (n == 0)
                abort(); // nothing was taken
        }
        free(text);
    }
    if (n < 0)
        say(&w, "|%d %s", chunks.status, chunks.why);
    else
        say(&w, chunks.ended ? "|ended" : "|more");
    return w;
}

#endif
