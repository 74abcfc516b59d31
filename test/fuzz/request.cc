// Reads any bytes as requests twice: all at once, and as they may come, in pieces that the first
// byte chooses and that lie elsewhere each time.  Both give the same commands and the same error,
// within the limits; no word lies outside of what has come, and no memory stays behind.
//
// sources: src/manager/server/*.cc
// libraries: yes
#include <manager/server/memory.h>
#include <manager/server/request.h>

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

using namespace weft;

static const request_limits known = {INT_MAX, 1000, 3000, true};
static const request_limits unknown = {10, 100, SIZE_MAX, false};

static void must(bool truth)
{
    if (!truth)
        abort();
}

// ---- What was read, as bytes that can be compared ----

struct told {
    char *text;
    size_t size;
};

static void tell(told *t, const void *p, size_t n)
{
    t->text = (char *)realloc(t->text, t->size + n + 1);
    if (n > 0)
        memcpy(t->text + t->size, p, n);
    t->size += n;
}

static void tell_command(told *t, const request *r, const char *in, size_t n,
                         const request_limits *limits)
{
    must(r->at <= n && r->count <= limits->words);
    tell(t, &r->count, sizeof r->count);
    for (size_t i = 0; i < r->count; i++) {
        const word *w = &r->words[i];
        must(w->text >= in && w->text + w->size <= in + n);
        tell(t, &w->size, sizeof w->size);
        tell(t, w->text, w->size);
    }
}

// ---- Reading ----

// All commands that are whole in [in, in + n); how many bytes they were.
static size_t read_whole(request *r, char *in, size_t n, const request_limits *limits, told *t,
                         bool *bad)
{
    size_t used = 0;
    const char *error = nullptr;
    while (used < n) {
        int got = request_read(r, in + used, n - used, limits, &error);
        must(got == REQUEST_BAD || request_size(r) >= r->at);
        if (got == REQUEST_PART)
            break;
        if (got == REQUEST_BAD) {
            must(error != nullptr && strncmp(error, "Protocol error: ", 16) == 0);
            tell(t, error, strlen(error));
            *bad = true;
            break;
        }
        tell_command(t, r, in + used, n - used, limits);
        must(r->at > 0);
        used += r->at;
        request_next(r);
    }
    return used;
}

// In pieces; what is not used of one is moved in front of the next, in memory of the exact size.
static told read_all(const uint8_t *data, size_t size, unsigned pieces,
                     const request_limits *limits)
{
    told t = {};
    request r = {};
    size_t kept = 0;
    char *in = nullptr;
    bool bad = false;
    for (size_t at = 0; at < size && !bad;) {
        size_t n = pieces == 0 ? size : 1 + (pieces = pieces * 1103515245 + 12345) / 65536 % 7;
        n = n < size - at ? n : size - at;
        char *more = (char *)malloc(kept + n);
        if (kept > 0)
            memcpy(more, in, kept);
        memcpy(more + kept, data + at, n);
        free(in);
        in = more;
        at += n;
        size_t used = read_whole(&r, in, kept + n, limits, &t, &bad);
        kept = kept + n - used;
        memmove(in, in + used, kept);
    }
    free(in);
    memory_give(r.words);
    must(bytes_in_use == 0);
    return t;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 60000) // beyond that a line is too long, by where it was cut
        return 0;
    const request_limits *limits = data[0] & 1 ? &known : &unknown;
    told whole = read_all(data + 1, size - 1, 0, limits);
    told split = read_all(data + 1, size - 1, data[0] | 1u, limits);
    must(whole.size == split.size);
    must(whole.size == 0 || memcmp(whole.text, split.text, whole.size) == 0);
    free(whole.text);
    free(split.text);
    return 0;
}
