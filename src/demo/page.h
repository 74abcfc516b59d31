// page.h: what the pages of demos have alike.
#ifndef WEFT_DEMO_PAGE_H
#define WEFT_DEMO_PAGE_H

#include <weft/http.h>

// Answers with a page that is not to be kept, and that a browser lets have nothing from elsewhere.
void page_reply(weft_http_exchange *x, const char *html);

#endif
