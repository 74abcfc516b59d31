// shlex.cc: the shell's words, in one pass.
//
// The words are written one behind the other, each ended by a NUL, into a block as
// large as they can get; then the block grows by the array of pointers, and the
// bytes move up behind it.  Each byte is looked at once in a table of classes, and stretches
// of ordinary bytes, the bulk of any text, are copied as they are found.
//
// Python's rules are those of CPython's Lib/shlex.py, shlex.read_token; where it keeps a
// state for the next character, here a function eats that construct to its end.
#include <weft/shlex.h>

#include <base/errno.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

using namespace weft;

enum byte_class : uint8_t { PLAIN, END, BLANK, SINGLE, DOUBLE, ESCAPE, COMMENT, OPERATOR };

namespace {
struct splitter {
    const char *at;
    char *to;
    size_t words;
    bool strict;
    uint8_t classes[256];
};
} // namespace

static void mark(struct splitter *s, const char *bytes, uint8_t as)
{
    for (; *bytes != 0; bytes++)
        s->classes[(unsigned char)*bytes] = as;
}

static uint8_t class_of(const struct splitter *s)
{
    return s->classes[(unsigned char)*s->at];
}

static void set_rules(struct splitter *s, int flags)
{
    memset(s->classes, PLAIN, sizeof s->classes);
    s->classes[0] = END;
    s->strict = (flags & WEFT_SHLEX_STRICT) != 0;
    mark(s, s->strict ? " \t\n" : " \t\r\n", BLANK);
    mark(s, "'", SINGLE);
    mark(s, "\"", DOUBLE);
    mark(s, "\\", ESCAPE);
    if (flags & WEFT_SHLEX_COMMENTS)
        mark(s, "#", COMMENT);
    if (flags & WEFT_SHLEX_PUNCTUATION)
        mark(s, "();<>|&", OPERATOR);
}

static void copy(struct splitter *s, const char *from, const char *end)
{
    memcpy(s->to, from, (size_t)(end - from));
    s->to += end - from;
}

static void copy_plain(struct splitter *s)
{
    const char *at = s->at;
    char *to = s->to;
    while (s->classes[(unsigned char)*at] == PLAIN)
        *to++ = *at++;
    s->at = at;
    s->to = to;
}

// Each of these stands on the opening byte, and is false, standing there still, if the text
// ends too early.

static bool eat_single(struct splitter *s)
{
    const char *close = strchr(s->at + 1, '\'');
    if (close == nullptr)
        return false;
    copy(s, s->at + 1, close);
    s->at = close + 1;
    return true;
}

static bool is_escapable(const struct splitter *s, char c)
{
    return c == '"' || c == '\\' || (s->strict && (c == '$' || c == '`' || c == '\n'));
}

static bool eat_double(struct splitter *s)
{
    const char *open = s->at, *from = open + 1;
    for (;;) {
        const char *end = from + strcspn(from, "\"\\");
        copy(s, from, end);
        if (*end == '"') {
            s->at = end + 1;
            return true;
        }
        if (*end == 0 || end[1] == 0) {
            s->at = *end == 0 ? open : end;
            return false;
        }
        if (!is_escapable(s, end[1]))
            *s->to++ = '\\';
        if (!s->strict || end[1] != '\n')
            *s->to++ = end[1];
        from = end + 2;
    }
}

static bool eat_escape(struct splitter *s)
{
    if (s->at[1] == 0)
        return false;
    if (!s->strict || s->at[1] != '\n')
        *s->to++ = s->at[1];
    s->at += 2;
    return true;
}

static void eat_comment(struct splitter *s)
{
    s->at = strchrnul(s->at, '\n');
}

static void end_word(struct splitter *s)
{
    *s->to++ = 0;
    s->words++;
}

static void eat_operator(struct splitter *s)
{
    while (class_of(s) == OPERATOR)
        *s->to++ = *s->at++;
    end_word(s);
}

// A word goes on until something that is no part of words.  Quotes make one even of nothing,
// and so does an escape, unless it is strict and removed a newline.
static bool eat_word(struct splitter *s)
{
    const char *start = s->to;
    bool quoted = false, good = true;
    for (;;) {
        switch (class_of(s)) {
        case PLAIN:
            copy_plain(s);
            break;
        case SINGLE:
            quoted = true;
            good = eat_single(s);
            break;
        case DOUBLE:
            quoted = true;
            good = eat_double(s);
            break;
        case ESCAPE:
            good = eat_escape(s);
            break;
        case COMMENT:
            // The shell knows comments only where a word could start.
            if (s->strict && (quoted || s->to != start)) {
                *s->to++ = *s->at++;
                break;
            }
            [[fallthrough]];
        default:
            if (quoted || s->to != start)
                end_word(s);
            return true;
        }
        if (!good)
            return false;
    }
}

static bool eat_all(struct splitter *s)
{
    for (;;)
        switch (class_of(s)) {
        case END:
            return true;
        case BLANK:
            s->at++;
            break;
        case COMMENT:
            eat_comment(s);
            break;
        case OPERATOR:
            eat_operator(s);
            break;
        default:
            if (!eat_word(s))
                return false;
        }
}

// The words in `bytes` as an array of pointers before them, in the same block.
static char **make_array(char *bytes, size_t size, size_t words)
{
    size_t pointers = (words + 1) * sizeof(char *);
    char **array = (char **)realloc(bytes, pointers + size);
    if (array == nullptr) {
        free_keep_errno(bytes);
        return nullptr;
    }
    char *word = (char *)array + pointers;
    memmove(word, array, size);
    for (size_t i = 0; i < words; i++) {
        array[i] = word;
        word += strlen(word) + 1;
    }
    array[words] = nullptr;
    return array;
}

char **weft_shlex_split(const char *text, int flags, size_t *error_at)
{
    const int known = WEFT_SHLEX_COMMENTS | WEFT_SHLEX_PUNCTUATION | WEFT_SHLEX_STRICT;
    struct splitter s;
    if (error_at != nullptr)
        *error_at = 0;
    if (text == nullptr || (flags & ~known) != 0) {
        errno = EINVAL;
        return nullptr;
    }
    // A word of n bytes takes n + 1, and has a separator or the end behind it; except that
    // operators need none, so that each byte may be a word.
    size_t length = strlen(text), factor = flags & WEFT_SHLEX_PUNCTUATION ? 2 : 1;
    char *bytes = length > SIZE_MAX / 4 ? nullptr : (char *)malloc(length * factor + 1);
    if (bytes == nullptr) {
        errno = ENOMEM;
        return nullptr;
    }
    set_rules(&s, flags);
    s.at = text;
    s.to = bytes;
    s.words = 0;
    if (eat_all(&s))
        return make_array(bytes, (size_t)(s.to - bytes), s.words);
    if (error_at != nullptr)
        *error_at = (size_t)(s.at - text);
    free(bytes);
    errno = EINVAL;
    return nullptr;
}

const char *weft_shlex_reason(const char *text, size_t error_at)
{
    return text != nullptr && text[error_at] == '\\' ? "No escaped character"
                                                     : "No closing quotation";
}

// ---- Quoting ----

// As Python: ASCII letters and digits and a few signs that no shell treats specially.
static bool is_safe(const char *word)
{
    static const char safe[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
    return *word != 0 && word[strspn(word, safe)] == 0;
}

// Writes `word` quoted to `to` (and perhaps a 0 behind it), or only measures if that is NULL.
static size_t put_quoted(char *to, const char *word)
{
    size_t length = strlen(word), n = 0;
    if (is_safe(word)) {
        if (to != nullptr)
            stpcpy(to, word);
        return length;
    }
    if (to == nullptr) {
        for (size_t i = 0; i < length; i++)
            n += word[i] == '\'' ? 5 : 1;
        return n + 2;
    }
    to[n++] = '\'';
    for (; *word != 0; word++) {
        if (*word != '\'') {
            to[n++] = *word;
            continue;
        }
        stpcpy(to + n, "'\"'\"'");
        n += 5;
    }
    to[n++] = '\'';
    return n;
}

char *weft_shlex_join(const char *const words[])
{
    size_t n = 1;
    if (words == nullptr) {
        errno = EINVAL;
        return nullptr;
    }
    for (size_t i = 0; words[i] != nullptr; i++)
        n += put_quoted(nullptr, words[i]) + 1;
    char *line = (char *)malloc(n), *to = line;
    if (line == nullptr)
        return nullptr;
    for (size_t i = 0; words[i] != nullptr; i++) {
        if (i > 0)
            *to++ = ' ';
        to += put_quoted(to, words[i]);
    }
    *to = 0;
    return line;
}

char *weft_shlex_quote(const char *word)
{
    const char *const words[] = {word, nullptr};
    if (word != nullptr)
        return weft_shlex_join(words);
    errno = EINVAL;
    return nullptr;
}
