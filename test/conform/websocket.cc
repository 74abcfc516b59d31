// What weft(7) says of deadlines, signals, errno and NULL, of the calls for WebSockets.  A stop of
// the thread is not for its tasklets: they are cancelled.
#include <weft/websocket.h>

#include "held.h"

#include <http/sha1.h>

static char url[128];
static weft_websocket *socket_of;
static weft_websocket_message message;

// ---- A server's, and a raw client ----

static void begin_exchange(void)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
                                  "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    begin(request);
}

static void begin_socket(void)
{
    begin_exchange();
    socket_of = weft_websocket_accept(held, NULL, WEFT_NOW);
    it = socket_of;
}

// The stream itself, so that no message is cut.
static void fill_socket(void)
{
    begin_socket();
    fill_held();
}

static void give_message(void)
{
    if (send(peer, "\x82\x81\0\0\0\0x", 7, 0) != 7)
        abort();
}

static void give_close(void)
{
    if (send(peer, "\x88\x80\0\0\0\0", 6, 0) != 6)
        abort();
}

// ---- A client's ----

static int accepted = -1;

static void begin_client(void)
{
    own_address(url, sizeof url);
    listener = weft_io_listen(url, NULL);
}

static void *answer(void *)
{
    char *head, proof[weft::WEBSOCKET_PROOF];
    weft_io_buffer b = {bytes, sizeof bytes, 0, 0};
    accepted = weft_io_accept(listener, WEFT_FOREVER);
    weft_io_read_until(accepted, &b, "\r\n\r\n", 4, &head, WEFT_FOREVER);
    weft::websocket_proof(proof, strstr(head, "Key: ") + 5);
    char text[512];
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                     "Sec-WebSocket-Accept: %.*s\r\n\r\n",
                     (int)sizeof proof, proof);
    weft_io_write(accepted, text, (size_t)n, WEFT_FOREVER);
    return NULL;
}

static void answer_client(void)
{
    weft_tasklet_options o = {};
    o.detached = true;
    weft_tasklet_spawn(answer, NULL, &o);
}

static const row ROWS[] = {
    ROW(weft_websocket_accept, (it, NULL, d), begin_exchange, DO(), UNSTOPPED | ANSWERS),
    ROW(weft_websocket_connect, (url, NULL, d), begin_client, answer_client, UNSTOPPED | NO_HANDLE),
    ROW(weft_websocket_read, (it, &message, d), begin_socket, give_message, UNSTOPPED),
    ROW(weft_websocket_read_piece, (it, &message, d), begin_socket, give_message, UNSTOPPED),
    ROW(weft_websocket_write, (it, WEFT_WEBSOCKET_BINARY, bytes, 1, d), fill_socket, drain,
        UNSTOPPED),
    ROW(weft_websocket_ping, (it, "x", 1, d), fill_socket, drain, UNSTOPPED),
    ROW(weft_websocket_close, (it, 1000, NULL, d), begin_socket, give_close, UNSTOPPED),
};
RUN_ROWS(ROWS, {in_io, later})
