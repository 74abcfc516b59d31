// route.cc: which handler answers a request: the longest prefix that matches and has the method.
//
// Routes are kept in that order, of one prefix HEAD before GET and those for each method last, so
// the first that matches is the one.
#include "server.h"
#include "text.h"

#include <string.h>

using namespace weft;

// ---- Making ----

static int rank(const route *r)
{
    return r->method == nullptr ? 2 : strcmp(r->method, "HEAD") != 0;
}

static bool comes_before(const route *a, const route *b)
{
    return a->size != b->size ? a->size > b->size : rank(a) < rank(b);
}

static bool is_same(const route *a, const char *method, const char *prefix)
{
    if (strcmp(a->prefix, prefix) != 0 || (a->method == nullptr) != (method == nullptr))
        return false;
    return method == nullptr || strcmp(a->method, method) == 0;
}

static void release(route *r)
{
    free_keep_errno(r->prefix);
    free_keep_errno(r->method);
}

static int insert(weft_http_server *s, const route *r)
{
    size_t n = s->routes.count, at = n;
    route *all = (route *)realloc(s->routes.all, (n + 1) * sizeof *all);
    if (all == nullptr)
        return -1;
    for (s->routes.all = all; at > 0 && comes_before(r, &all[at - 1]); at--)
        all[at] = all[at - 1];
    all[at] = *r;
    s->routes.count++;
    return 0;
}

int weft_http_route(weft_http_server *s, const char *method, const char *prefix,
                    weft_http_handler fn, void *arg)
{
    if (s == nullptr || prefix == nullptr || prefix[0] != '/' || fn == nullptr ||
        (method != nullptr && !is_field_name(method, strlen(method))))
        return fail_with(EINVAL);
    for (size_t i = 0; i < s->routes.count; i++)
        if (is_same(&s->routes.all[i], method, prefix))
            return fail_with(EEXIST);
    route r = {};
    r.prefix = strdup(prefix);
    r.method = method != nullptr ? strdup(method) : nullptr;
    r.size = strlen(prefix);
    r.fn = fn;
    r.arg = arg;
    if (r.prefix != nullptr && (method == nullptr || r.method != nullptr) && insert(s, &r) == 0)
        return 0;
    release(&r);
    return -1;
}

void weft::routes_free(weft_http_server *s)
{
    for (size_t i = 0; i < s->routes.count; i++)
        release(&s->routes.all[i]);
    free(s->routes.all);
}

// ---- Finding ----

// At a segment's border.
static bool is_below(const route *r, const char *path, size_t n)
{
    if (n < r->size || memcmp(path, r->prefix, r->size) != 0)
        return false;
    return n == r->size || path[r->size] == '/' || r->prefix[r->size - 1] == '/';
}

static bool has_method(const route *r, const char *method)
{
    if (r->method == nullptr) // a tunnel is nothing that a handler takes by chance
        return strcmp(method, "CONNECT") != 0;
    return strcmp(r->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(r->method, "GET") == 0);
}

// ---- Answers of the server's own ----

static void add(char *list, size_t room, const char *method)
{
    size_t n = strlen(method), used = strlen(list);
    for (const char *at = list; (at = strstr(at, method)) != nullptr; at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ',' || at[n] == 0))
            return;
    if (used + n + 3 > room)
        return;
    if (used > 0)
        memcpy(list + used, ", ", 2);
    memcpy(list + used + (used > 0 ? 2 : 0), method, n + 1);
}

// Answers with what the path allows.
static void answer_allowed(exchange *x, int status)
{
    const weft_http_server *s = x->runner->home->server;
    const char *path = x->pub.path;
    size_t n = strlen(path);
    char list[512] = "";
    for (size_t i = 0; i < s->routes.count; i++) {
        const route *r = &s->routes.all[i];
        if (r->method == nullptr || (path[0] != '*' && !is_below(r, path, n)))
            continue;
        add(list, sizeof list, r->method);
        if (strcmp(r->method, "GET") == 0)
            add(list, sizeof list, "HEAD");
    }
    add(list, sizeof list, "OPTIONS");
    weft_http_set(&x->pub, "Allow", list);
    if (status == 204)
        weft_http_reply(&x->pub, status, nullptr, nullptr, 0);
    else
        exchange_answer(&x->pub, status);
}

void weft::route_call(exchange *x)
{
    const weft_http_server *s = x->runner->home->server;
    const char *path = x->pub.path;
    size_t n = strlen(path);
    bool found = path[0] == '*';
    for (size_t i = 0; i < s->routes.count; i++) {
        const route *r = &s->routes.all[i];
        if (!is_below(r, path, n))
            continue;
        found = true;
        if (has_method(r, x->pub.method)) {
            x->pub.rest = path + r->size;
            r->fn(&x->pub, r->arg);
            return;
        }
    }
    if (strcmp(x->pub.method, "OPTIONS") == 0 && found)
        answer_allowed(x, 204);
    else if (strcmp(x->pub.method, "CONNECT") == 0)
        exchange_answer(&x->pub, 501);
    else if (found)
        answer_allowed(x, 405);
    else
        exchange_answer(&x->pub, 404);
}
