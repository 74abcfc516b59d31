// web.cc: see web.h.  Each who looks has a client of the manager's; each second its replies go on
// as JSON, whatever is in them, and the page makes tables of that.
#include "web.h"

#include "../page.h"

#include <weft/http.h>
#include <weft/io.h>

#include <err.h>
#include <pthread.h>
#include <signal.h>

static int listener = -1;
static char manager_address[300];
static const remote_order *order;

// ---- JSON ----

// What is shown of the manager at once; more is cut off, and said to be.
struct json {
    size_t size;
    bool full;
    char at[1 << 20];
};

static void put(json *j, const char *text, size_t n)
{
    if (n > sizeof j->at - 256 - j->size) {
        j->full = true;
        return;
    }
    memcpy(j->at + j->size, text, n);
    j->size += n;
}

static void put_text(json *j, const char *text)
{
    put(j, text, strlen(text));
}

// Bytes that are no text of JSON, and no ASCII, are shown as the characters of their numbers.
static void put_string(json *j, const char *text, size_t n)
{
    char escape[8];
    put(j, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 32 && c < 127 && c != '"' && c != '\\')
            put(j, text + i, 1);
        else
            put(j, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
    }
    put(j, "\"", 1);
}

static void put_reply(json *j, const weft_reply *r)
{
    char number[32];
    bool map = r->type == WEFT_REPLY_MAP;
    switch (r->type) {
    case WEFT_REPLY_INTEGER:
        put(j, number, (size_t)snprintf(number, sizeof number, "%lld", (long long)r->integer));
        break;
    case WEFT_REPLY_ARRAY:
    case WEFT_REPLY_MAP:
        put_text(j, map ? "{" : "[");
        for (size_t i = 0; i < r->size; i++) {
            put_text(j, i == 0 ? "" : map && i % 2 != 0 ? ":" : ",");
            put_reply(j, &r->items[i]);
        }
        put_text(j, map ? "}" : "]");
        break;
    case WEFT_REPLY_NULL:
        put_text(j, "null");
        break;
    default:
        put_string(j, r->text, r->size);
    }
}

// ---- What is asked ----

static bool ask(json *j, weft_client *c, const char *name, size_t n, const char *const *words)
{
    weft_reply *r = weft_client_command(c, n, words, nullptr, weft_in_s(5));
    if (r == nullptr)
        return false;
    size_t begin = j->size;
    put_text(j, j->size > 1 ? "," : "");
    put_string(j, name, strlen(name));
    put_text(j, ":");
    put_reply(j, r);
    weft_reply_free(r);
    if (j->full) { // the page says that there is more
        j->full = false;
        j->size = begin;
        put_text(j, j->size > 1 ? "," : "");
        put_string(j, name, strlen(name));
        put_text(j, ":null");
    }
    return true;
}

static bool ask_all(json *j, weft_client *c)
{
    static const char *const kinds[] = {"queue", "lock", "semaphore", "barrier", "event", "jobs"};
    static const char *const clients[] = {"CLIENT", "LIST"}, *const info[] = {"INFO"};
    j->size = 0;
    put_text(j, "{");
    for (const char *kind : kinds) {
        const char *const words[] = {"WEFT.LIST", kind};
        if (!ask(j, c, kind, 2, words))
            return false;
    }
    if (!ask(j, c, "clients", 2, clients) || !ask(j, c, "info", 1, info))
        return false;
    put_text(j, "}");
    j->at[j->size] = 0;
    return true;
}

// ---- Pages ----

static void page(weft_http_exchange *x, void *)
{
    if (x->rest[0] != 0) {
        weft_http_reply(x, 404, "text/plain", "there is one page\n", 18);
        return;
    }
    page_reply(x, web_page);
}

static void events(weft_http_exchange *x, void *)
{
    static const char *const name[] = {"CLIENT", "SETNAME", "web"};
    weft_client *c = weft_client_connect(
        manager_address, order->has_password ? order->password : nullptr, weft_in_s(5));
    json *j = (json *)calloc(1, sizeof *j);
    if (c == nullptr || j == nullptr) {
        weft_http_reply(x, 503, "text/plain", "the manager does not answer\n", 28);
    } else {
        weft_reply_free(weft_client_command(c, 3, name, nullptr, weft_in_s(5)));
        while (ask_all(j, c) && weft_http_event(x, nullptr, nullptr, j->at, weft_in_s(10)) == 0 &&
               weft_http_stopping(x) == 0 && weft_tasklet_sleep(weft_in_s(1)) == 0)
            ;
    }
    weft_client_destroy(c);
    free(j);
}

static int serve(void *)
{
    weft_http_server_options o = {};
    o.max = 100;
    o.name = "weft";
    weft_http_server *s = weft_http_server_create(&o);
    if (s == nullptr || weft_http_route(s, "GET", "/", page, nullptr) != 0 ||
        weft_http_route(s, "GET", "/events", events, nullptr) != 0 ||
        weft_http_serve(s, listener) != 0)
        err(1, "--web");
    return weft_http_server_destroy(s);
}

static void *run_web(void *)
{
    weft_io_run(serve, nullptr);
    return nullptr;
}

void web_listen(const char *address)
{
    listener = weft_io_listen(address, nullptr);
    if (listener < 0)
        err(1, "%s", address);
    char at[128] = "";
    weft_io_address(listener, WEFT_IO_LOCAL, at, sizeof at);
    bool tcp = strncmp(at, "tcp:", 4) == 0;
    printf("shown at %s%s\n", tcp ? "http://" : "", tcp ? at + 4 : at);
    fflush(stdout);
}

// Signals are the server's.
void web_start(const remote_order *o, const char *address)
{
    sigset_t all, before;
    pthread_t thread;
    order = o;
    snprintf(manager_address, sizeof manager_address, "%s", address);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&thread, nullptr, run_web, nullptr);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (errno != 0)
        err(1, "--web");
    pthread_detach(thread);
}
