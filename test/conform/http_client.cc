// What weft(7) says of deadlines, signals, errno and NULL, of the HTTP client's calls.
#include <weft/http_client.h>
#include <weft/io.h>

#include "conform.h"
#include "inside.h"

#include <sys/socket.h>

static char bytes[512], address[64], url[80], *text;
static int listener, accepted;

// A server that takes connections and says nothing.
static void begin_client(void)
{
    snprintf(address, sizeof address, "unix:@weft-conform-http-%d", gettid());
    snprintf(url, sizeof url, "%s:/", address);
    listener = weft_io_listen(address, NULL);
    it = weft_http_client_create(NULL);
    if (listener < 0 || it.p == NULL)
        abort();
}

static void *answer(void *head)
{
    accepted = weft_io_accept(listener, WEFT_FOREVER);
    ssize_t n = weft_io_read(accepted, bytes, sizeof bytes, WEFT_FOREVER);
    if (n <= 0 || weft_io_write(accepted, head, strlen((char *)head), WEFT_FOREVER) <= 0)
        abort();
    return NULL;
}

static void answer_all(void)
{
    in_tasklet(answer, (void *)"HTTP/1.1 204 No Content\r\n\r\n");
}

// One whose body has not come yet.
static void begin_response(void)
{
    begin_client();
    in_tasklet(answer, (void *)"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n");
    it = weft_http_get(it, url, WEFT_FOREVER);
    if (it.p == NULL)
        abort();
}

static void give(void)
{
    if (send(accepted, "x", 1, 0) != 1)
        abort();
}

// A proxy before it.
static void begin_proxy(void)
{
    begin_client();
    const char *server = address;
    it = weft_http_proxy_open(&server, 1, NULL);
}

static const row ROWS[] = {
    ROW(weft_http_get, (it, url, d), begin_client, answer_all, UNSTOPPED),
    ROW(weft_http_request, (it, "PUT", url, NULL, d), begin_client, answer_all, UNSTOPPED),
    ROW(weft_http_response_read, (it, bytes, 1, d), begin_response, give, UNSTOPPED),
    ROW(weft_http_response_read_all, (it, &text, 9, d), begin_response, give, UNSTOPPED),
    ROW(weft_http_proxy_check, (it, "/", d), begin_proxy, answer_all, UNSTOPPED | SLEEPS),
};
RUN_ROWS(ROWS, {in_io, later})
