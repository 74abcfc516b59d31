// events.cc: server-sent events, as a browser's EventSource reads them (HTML, section 9.2).
//
// Each is written as a whole and flushed, so that it arrives when it happens.
#include <weft/http.h>

#include <base/errno.h>
#include <base/number.h>

#include <string.h>

using namespace weft;

namespace {
// Lines that are written, or, without memory, counted.
struct lines {
    char *text;
    size_t size;
};
} // namespace

static void add(lines *l, const char *text, size_t n)
{
    if (l->text != nullptr && n > 0)
        memcpy(l->text + l->size, text, n);
    l->size += n;
}

// A blank behind the colon is no part of the value, so one at the value's front stays.
static void add_field(lines *l, const char *name, const char *value, size_t n)
{
    add(l, name, strlen(name));
    add(l, ": ", 2);
    add(l, value, n);
    add(l, "\n", 1);
}

// A line ends at LF, CR or CR LF; each is a field of its own, which the browser joins by LF.
static void add_data(lines *l, const char *data)
{
    for (;;) {
        size_t n = strcspn(data, "\r\n");
        add_field(l, "data", data, n);
        data += n;
        if (*data == 0)
            return;
        data += data[0] == '\r' && data[1] == '\n' ? 2 : 1;
    }
}

static void add_event(lines *l, const char *event, const char *id, const char *data)
{
    if (event != nullptr)
        add_field(l, "event", event, strlen(event));
    if (id != nullptr)
        add_field(l, "id", id, strlen(id));
    if (data != nullptr)
        add_data(l, data);
    if (l->size == 0)
        add(l, ":\n", 2);
    add(l, "\n", 1);
}

static bool is_line(const char *text)
{
    return text == nullptr || text[strcspn(text, "\r\n")] == 0;
}

// ---- Sending ----

// Neither a cache nor nginx before us is to hold back what comes.
static int begin(weft_http_exchange *x)
{
    if (x->status != 0)
        return 0;
    if (weft_http_set(x, "Cache-Control", "no-cache") != 0 ||
        weft_http_set(x, "X-Accel-Buffering", "no") != 0)
        return -1;
    return weft_http_begin(x, 200, "text/event-stream", WEFT_HTTP_CHUNKED);
}

static int send(weft_http_exchange *x, const char *text, size_t n, weft_deadline d)
{
    if (begin(x) != 0 || weft_http_write(x, text, n, d) != (ssize_t)n)
        return -1;
    return weft_http_flush(x, d);
}

int weft_http_event(weft_http_exchange *x, const char *event, const char *id, const char *data,
                    weft_deadline d)
{
    char few[1024];
    lines l = {nullptr, 0};
    if (x == nullptr || !is_line(event) || !is_line(id))
        return fail_with(EINVAL);
    add_event(&l, event, id, data);
    char *text = l.size <= sizeof few ? few : (char *)malloc(l.size);
    if (text == nullptr)
        return -1;
    l = {text, 0};
    add_event(&l, event, id, data);
    int result = send(x, text, l.size, d);
    if (text != few)
        free_keep_errno(text);
    return result;
}

int weft_http_event_retry(weft_http_exchange *x, int64_t ns, weft_deadline d)
{
    char text[sizeof "retry: \n\n" + NUMBER_ROOM], number[NUMBER_ROOM];
    lines l = {text, 0};
    if (x == nullptr || ns < 0)
        return fail_with(EINVAL);
    add_field(&l, "retry", number, number_print(number, ns / 1000000));
    add(&l, "\n", 1);
    return send(x, text, l.size, d);
}
