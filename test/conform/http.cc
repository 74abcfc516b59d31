// What weft(7) says of deadlines, signals, errno and NULL, of the calls for an exchange of HTTP.  A
// stop of the thread is not for its tasklets: they are cancelled.
#include "held.h"

#include <fcntl.h>

static int file;

static void begin_body(void)
{
    begin("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
}

static void begin_response(void)
{
    begin("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    weft_http_begin(held, 200, NULL, WEFT_HTTP_CHUNKED);
    while (weft_http_write(held, bytes, sizeof bytes, WEFT_NOW) > 0)
        ;
    file = open("/proc/self/exe", O_RDONLY);
}

static void begin_upgrade(void)
{
    begin("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
}

static void begin_raw(void)
{
    begin_upgrade();
    weft_http_upgrade(held, "x", WEFT_NOW);
}

static void fill_raw(void)
{
    begin_raw();
    fill_held();
}

static void give(void)
{
    if (send(peer, "x", 1, 0) != 1)
        abort();
}

static const row ROWS[] = {
    ROW(weft_http_read, (it, bytes, 1, d), begin_body, give, UNSTOPPED),
    ROW(weft_http_write, (it, bytes, 1, d), begin_response, drain, UNSTOPPED),
    ROW(weft_http_send_file, (it, file, 0, 1, d), begin_response, drain, UNSTOPPED),
    ROW(weft_http_flush, (it, d), begin_response, drain, UNSTOPPED),
    ROW(weft_http_upgrade, (it, "x", d), begin_upgrade, DO(), UNSTOPPED | ANSWERS),
    ROW(weft_http_raw_read, (it, bytes, 1, d), begin_raw, give, UNSTOPPED),
    ROW(weft_http_raw_write, (it, bytes, 1, d), fill_raw, drain, UNSTOPPED),
    ROW(weft_http_event, (it, NULL, NULL, "x", d), begin_response, drain, UNSTOPPED),
    ROW(weft_http_event_retry, (it, 0, d), begin_response, drain, UNSTOPPED),
};
RUN_ROWS(ROWS, {in_io, later})
