// held.h: rows on an exchange: a server whose handler has one, and waits, and its raw client.
#ifndef WEFT_TEST_CONFORM_HELD_H
#define WEFT_TEST_CONFORM_HELD_H

#include "conform.h"
#include "inside.h"

#include <weft/http.h>

#include <sys/socket.h>

static char bytes[4096];
static int peer, listener;
static weft_http_server *server;
static weft_http_exchange *held;

static inline void hold_exchange(weft_http_exchange *x, void *)
{
    held = x;
    weft_tasklet_suspend(WEFT_FOREVER);
}

static inline void *serve(void *)
{
    weft_http_serve(server, listener);
    return NULL;
}

// Each row's own, in whatever thread it runs.
static inline void own_address(char *address, size_t room)
{
    snprintf(address, room, "unix:@weft-conform-%d", gettid());
}

static inline void begin(const char *request)
{
    char address[64];
    own_address(address, sizeof address);
    server = weft_http_server_create(NULL);
    listener = weft_io_listen(address, NULL);
    weft_http_route(server, NULL, "/", hold_exchange, NULL);
    weft_tasklet_spawn(serve, NULL, NULL);
    peer = weft_io_connect(address, WEFT_FOREVER);
    weft_io_write(peer, request, strlen(request), WEFT_FOREVER);
    while (held == NULL)
        weft_tasklet_sleep(weft_in_ms(1));
    it = held;
}

// Behind an upgrade: until nothing more fits.
static inline void fill_held(void)
{
    while (weft_http_raw_write(held, bytes, sizeof bytes, WEFT_NOW) > 0)
        ;
    while (weft_http_raw_write(held, bytes, 1, WEFT_NOW) > 0)
        ;
}

static inline void drain(void)
{
    while (recv(peer, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}

#endif
