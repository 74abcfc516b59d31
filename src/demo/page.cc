// page.cc: see page.h.
#include "page.h"

#include <string.h>

void page_reply(weft_http_exchange *x, const char *html)
{
    weft_http_set(x, "Cache-Control", "no-store");
    weft_http_set(x, "Content-Security-Policy",
                  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
                  "connect-src 'self'");
    weft_http_reply(x, 200, "text/html; charset=utf-8", html, strlen(html));
}
