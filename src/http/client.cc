// client.cc: requests, sent again where that is safe, and redirects.
#include "client.h"
#include "text.h"

#include <async/here.h>

#include <stdlib.h>
#include <string.h>

using namespace weft;

enum { USUAL_URL = 8192, USUAL_MAX = 64, USUAL_PER_ORIGIN = 8, USUAL_REDIRECTS = 10 };
static const int64_t USUAL_IDLE_NS = INT64_C(30000000000);

// ---- The client ----

static size_t or_usual(size_t n, size_t usual)
{
    return n != 0 ? n : usual;
}

static bool is_agent(const char *agent)
{
    size_t n = strlen(agent);
    return n > 0 && span_of(agent, n, IS_TEXT) == n && text_trim({agent, n}).size == n;
}

weft_http_client *weft_http_client_create(const weft_http_client_options *opts)
{
    weft_http_client_options none = {}, o = opts != nullptr ? *opts : none;
    if (o.agent != nullptr && !is_agent(o.agent))
        return fail_null(EINVAL);
    weft_http_client *c = (weft_http_client *)calloc(1, sizeof *c);
    if (c == nullptr)
        return fail_null(ENOMEM);
    bool well = http_pool_init(&c->pool, or_usual(o.max, USUAL_MAX),
                               or_usual(o.max_per_origin, USUAL_PER_ORIGIN),
                               o.idle_ns == 0 ? USUAL_IDLE_NS : o.idle_ns) == 0;
    c->agent = well && o.agent != nullptr ? strdup(o.agent) : nullptr;
    if (!well || (o.agent != nullptr && c->agent == nullptr)) {
        http_pool_end(&c->pool);
        free(c);
        return fail_null(ENOMEM);
    }
    c->limits = o.limits;
    c->body = o.body;
    c->url = or_usual(o.url, USUAL_URL);
    c->redirects = o.redirects == 0 ? USUAL_REDIRECTS : o.redirects;
    return c;
}

int weft_http_client_destroy(weft_http_client *c)
{
    if (c == nullptr)
        return 0;
    if (c->users > 0)
        return fail_with(EBUSY);
    http_pool_end(&c->pool);
    free_keep_errno(c->agent);
    free_keep_errno(c);
    return 0;
}

int weft_http_client_statistics(const weft_http_client *c, weft_http_client_information *out)
{
    if (c == nullptr || out == nullptr)
        return fail_with(EINVAL);
    *out = c->done;
    out->idle = c->pool.count;
    return 0;
}

// ---- One request ----

static http_link *link_for(weft_http_client *c, const http_ask *a, bool fresh, weft_deadline d)
{
    http_link *l = fresh ? nullptr : http_pool_take(&c->pool, a->to.address);
    if (l != nullptr) {
        c->done.reused++;
        return l;
    }
    l = http_pool_open(&c->pool, a->to.address, c->limits.fields, d);
    if (l != nullptr)
        c->done.connects++;
    return l;
}

// Whether it failed for the connection had ended, which was kept, and does no harm if it is sent
// once more.
static bool may_be_again(const http_ask *a, const http_link *l)
{
    bool ended = errno == ECONNRESET || errno == EPIPE;
    bool in_memory = !http_ask_has_body(a) || a->opts->read == nullptr;
    return ended && l->reused && !l->heard && in_memory &&
           http_is_idempotent(a->method, strlen(a->method));
}

static weft_http_response *ask_over(weft_http_client *c, const http_ask *a, http_link *l,
                                    const bytes *head, weft_deadline d)
{
    weft_http_head h;
    int sent = http_ask_send(a, l, head, d);
    ssize_t size = -1;
    c->done.requests++;
    if (sent >= 0)
        size = http_link_head(l, &h, &c->limits, strcmp(a->method, "HEAD") == 0, false, d);
    return size >= 0 ? http_response_create(c, a, l, &h, (size_t)size, sent == 1) : nullptr;
}

static weft_http_response *ask(weft_http_client *c, const http_ask *a, weft_deadline d)
{
    bytes head = {};
    weft_http_response *r = nullptr;
    bool again = http_ask_head(a, c->agent, &head) == 0;
    for (bool fresh = false; again; fresh = true) {
        http_link *l = link_for(c, a, fresh, d);
        r = l != nullptr ? ask_over(c, a, l, &head, d) : nullptr;
        again = l != nullptr && r == nullptr && may_be_again(a, l);
        c->done.again += again;
        if (l != nullptr && r == nullptr)
            http_link_close(l);
    }
    bytes_release(&head);
    return r;
}

// ---- Redirects (RFC 9110, 15.4) ----

static bool becomes_get(const http_ask *a, int status)
{
    if (strcmp(a->method, "GET") == 0 || strcmp(a->method, "HEAD") == 0)
        return false;
    return status == 303 || ((status == 301 || status == 302) && strcmp(a->method, "POST") == 0);
}

static bool is_redirect(const http_ask *a, const weft_http_response *r)
{
    int s = r->status;
    if ((s != 301 && s != 302 && s != 303 && s != 307 && s != 308) ||
        weft_http_find(r->head, "Location") == nullptr)
        return false;
    // A body that was read can't be sent again.
    return becomes_get(a, s) || !http_ask_has_body(a) || a->opts->read == nullptr;
}

// Where it leads to.  It must be said once: two may not be the same.
static int find_location(char *to, const weft_http_client *c, const http_ask *a,
                         const weft_http_response *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->head->count; i++)
        n += text_is(r->head->fields[i].name, "location");
    const char *location = weft_http_response_header(r, "Location");
    if (n == 1 && url_resolve(to, c->url + 1, a->text, location) == 0)
        return 0;
    return n == 1 && errno == ENAMETOOLONG ? -1 : fail_with(EPROTO);
}

static int follow(weft_http_client *c, http_ask *a, const weft_http_response *r)
{
    url to;
    char *text = (char *)malloc(c->url + 1);
    if (text == nullptr)
        return fail_with(ENOMEM);
    if (find_location(text, c, a, r) != 0 || url_parse(&to, text) != 0 ||
        (to.is_unix && strcmp(to.address, a->to.address) != 0)) {
        int error = errno == EPROTONOSUPPORT || errno == ENAMETOOLONG ? errno : EPROTO;
        free(text);
        return fail_with(error);
    }
    if (becomes_get(a, r->status)) {
        a->method = "GET";
        a->bare = true;
    }
    a->other = a->other || strcmp(to.address, a->to.address) != 0;
    free(a->text);
    a->text = text;
    a->to = to;
    return 0;
}

static weft_http_response *ask_on(weft_http_client *c, http_ask *a, weft_deadline d)
{
    for (int left = c->redirects;; left--) {
        weft_http_response *r = ask(c, a, d);
        if (r == nullptr || left < 0 || !is_redirect(a, r))
            return r;
        errno = 0;
        int error = left == 0 ? ELOOP : follow(c, a, r) != 0 ? errno : 0;
        weft_http_response_close(r);
        if (error != 0)
            return fail_null(error);
        c->done.redirects++;
    }
}

// ---- The calls ----

weft_http_response *weft_http_request(weft_http_client *c, const char *method, const char *url,
                                      const weft_http_request_options *opts, weft_deadline d)
{
    static const weft_http_request_options none = {};
    if (c == nullptr || method == nullptr || url == nullptr)
        return fail_null(EINVAL);
    http_ask a = {};
    int saved = errno;
    size_t n = strnlen(url, c->url + 1);
    a.method = method;
    a.opts = opts != nullptr ? opts : &none;
    if (!in_io_run())
        return fail_null(EPERM);
    if (http_ask_check(&a) != 0)
        return nullptr;
    if (n > c->url)
        return fail_null(ENAMETOOLONG);
    a.text = strdup(url);
    if (a.text == nullptr)
        return fail_null(ENOMEM);
    weft_http_response *r = nullptr;
    struct url to;
    if (url_parse(&to, a.text) == 0) {
        a.to = to;
        c->users++;
        r = ask_on(c, &a, d);
        c->users--;
    }
    free_keep_errno(a.text);
    if (r != nullptr)
        errno = saved;
    return r;
}

weft_http_response *weft_http_get(weft_http_client *c, const char *url, weft_deadline d)
{
    return weft_http_request(c, "GET", url, nullptr, d);
}
