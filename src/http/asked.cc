// asked.cc: fields that are told apart by their lengths first, for most requests have none of them.
#include "asked.h"

#include "date.h"
#include "text.h"

#include <string.h>

using namespace weft;

const char *const weft::CODING_NAMES[CODINGS] = {"identity", "br", "zstd", "gzip"};
const char *const weft::CODING_ENDS[CODINGS] = {"", ".br", ".zst", ".gz"};

static void once(weft_http_text *to, weft_http_text value)
{
    *to = to->at == nullptr ? value : weft_http_text{"", 0};
}

static void look_at(asked *a, const weft_http_field *f)
{
    switch (f->name.size) {
    case 5:
        if (text_is(f->name, "range"))
            once(&a->range, f->value);
        break;
    case 8:
        if (text_is(f->name, "if-range"))
            once(&a->if_range, f->value);
        a->if_match = a->if_match || text_is(f->name, "if-match");
        break;
    case 13:
        a->if_none_match = a->if_none_match || text_is(f->name, "if-none-match");
        break;
    case 15:
        a->accept_encoding = a->accept_encoding || text_is(f->name, "accept-encoding");
        break;
    case 17:
        if (text_is(f->name, "if-modified-since"))
            once(&a->if_modified_since, f->value);
        break;
    case 19:
        if (text_is(f->name, "if-unmodified-since"))
            once(&a->if_unmodified_since, f->value);
        break;
    default:
        break;
    }
}

void weft::asked_read(asked *a, const weft_http_head *head)
{
    *a = {};
    a->head = head;
    for (size_t i = 0; i < head->count; i++)
        look_at(a, &head->fields[i]);
}

// ---- Conditions ----

// Takes a tag, with its W/ and quotes, from the front of a list; false: there is none.
static bool tag_next(weft_http_text *list, weft_http_text *tag)
{
    const char *at = list->at, *end = at + list->size;
    while (at < end && (is_blank(*at) || *at == ','))
        at++;
    const char *quote = end - at > 2 && memcmp(at, "W/", 2) == 0 ? at + 2 : at;
    if (quote == end || *quote != '"')
        return false;
    const char *close = (const char *)memchr(quote + 1, '"', (size_t)(end - quote - 1));
    if (close == nullptr)
        return false;
    *tag = {at, (size_t)(close + 1 - at)};
    *list = {close + 1, (size_t)(end - close - 1)};
    return true;
}

// A weak tag is the same only where that is enough.
static bool tag_is(weft_http_text tag, const validators *v, bool weakly)
{
    if (weakly && tag.at[0] == 'W')
        tag = {tag.at + 2, tag.size - 2};
    return tag.size == v->etag_size && memcmp(tag.at, v->etag, tag.size) == 0;
}

// Whether one of the tags in all fields of that name is the file's, or * is one of them.
static bool tags_match(const weft_http_head *h, const char *name, const validators *v, bool weakly)
{
    for (size_t i = 0; i < h->count; i++) {
        weft_http_text list = h->fields[i].value, tag;
        if (!text_is(h->fields[i].name, name))
            continue;
        if (text_is(text_trim(list), "*"))
            return true;
        while (tag_next(&list, &tag))
            if (tag_is(tag, v, weakly))
                return true;
    }
    return false;
}

static bool date_of(weft_http_text value, int64_t now, int64_t *date)
{
    return value.at != nullptr && date_parse(value.at, value.size, now, date);
}

int weft::asked_condition(const asked *a, const validators *v, int64_t now)
{
    int64_t date;
    if (a->if_match) {
        if (!tags_match(a->head, "if-match", v, false))
            return 412;
    } else if (date_of(a->if_unmodified_since, now, &date) && v->modified > date) {
        return 412;
    }
    if (a->if_none_match)
        return tags_match(a->head, "if-none-match", v, true) ? 304 : 0;
    return date_of(a->if_modified_since, now, &date) && v->modified <= date ? 304 : 0;
}

// A date is as good as a strong tag if the file is that old that it can't have changed twice in
// that second (RFC 9110 8.8.2.2).
bool weft::asked_ranges(const asked *a, const validators *v, int64_t now)
{
    weft_http_text list = a->if_range, tag;
    int64_t date;
    if (a->range.at == nullptr || a->if_range.at == nullptr)
        return a->range.at != nullptr;
    if (tag_next(&list, &tag))
        return tag.size == a->if_range.size && tag_is(tag, v, false);
    return date_of(a->if_range, now, &date) && date == v->modified && now > v->modified;
}

// ---- Codings ----

// ;q=0.5 in thousandths; 1000: there is none; 0: what is there is no weight.
static int weight(weft_http_text text)
{
    text = text_trim(text);
    if (text.size == 0)
        return 1000;
    if (text.size < 3 || (text.at[0] | 32) != 'q' || text.at[1] != '=' || text.size > 7)
        return 0;
    const char *digits = text.at + 2;
    size_t n = text.size - 2;
    int value = digits[0] == '0' || digits[0] == '1' ? (digits[0] - '0') * 1000 : -1;
    if (value < 0 || (n > 1 && digits[1] != '.'))
        return 0;
    for (size_t i = 2, unit = 100; i < n; i++, unit /= 10) {
        if (digits[i] < '0' || digits[i] > '9')
            return 0;
        value += (digits[i] - '0') * (int)unit;
    }
    return value <= 1000 ? value : 0;
}

// CODINGS: *; -1: none that is known here.
static int coding_of(weft_http_text name)
{
    for (int c = 0; c < CODINGS; c++)
        if (text_is(name, CODING_NAMES[c]))
            return c;
    return text_is(name, "x-gzip") ? (int)GZIP : text_is(name, "*") ? (int)CODINGS : -1;
}

// Weights of all the fields; -1: not said.
static void read_weights(const weft_http_head *h, int weights[CODINGS + 1])
{
    for (int c = 0; c <= CODINGS; c++)
        weights[c] = -1;
    for (size_t i = 0; i < h->count; i++) {
        weft_http_text list = h->fields[i].value, member;
        if (!text_is(h->fields[i].name, "accept-encoding"))
            continue;
        while (list_next(&list, &member)) {
            const char *semicolon =
                member.size > 0 ? (const char *)memchr(member.at, ';', member.size) : nullptr;
            size_t n = semicolon != nullptr ? (size_t)(semicolon - member.at) : member.size;
            weft_http_text rest = {};
            if (semicolon != nullptr)
                rest = {semicolon + 1, member.size - n - 1};
            int c = coding_of(text_trim({member.at, n}));
            if (c >= 0)
                weights[c] = weight(rest);
        }
    }
}

coding weft::asked_coding(const asked *a, unsigned have)
{
    int weights[CODINGS + 1], best = IDENTITY;
    if (!a->accept_encoding || have == 1U << IDENTITY)
        return IDENTITY;
    read_weights(a->head, weights);
    int most = weights[IDENTITY] >= 0 ? weights[IDENTITY] : 1;
    for (int c = BR; c < CODINGS; c++) {
        int w = weights[c] >= 0 ? weights[c] : weights[CODINGS];
        if ((have & 1U << c) == 0 || w <= 0 || w < most || (w == most && best != IDENTITY))
            continue;
        most = w;
        best = c;
    }
    return (coding)best;
}
