// status.cc: what the statuses are called (RFC 9110, 15; RFC 6585).
#include "exchange.h"

using namespace weft;

namespace {
struct named {
    int status;
    const char *text;
    size_t size;
};
} // namespace

#define NAMED(status, text)                                                                        \
    {                                                                                              \
        status, #status " " text, sizeof #status " " text - 1                                      \
    }

// Ascending.
static const named NAMES[] = {
    NAMED(100, "Continue"),
    NAMED(101, "Switching Protocols"),
    NAMED(200, "OK"),
    NAMED(201, "Created"),
    NAMED(202, "Accepted"),
    NAMED(203, "Non-Authoritative Information"),
    NAMED(204, "No Content"),
    NAMED(205, "Reset Content"),
    NAMED(206, "Partial Content"),
    NAMED(300, "Multiple Choices"),
    NAMED(301, "Moved Permanently"),
    NAMED(302, "Found"),
    NAMED(303, "See Other"),
    NAMED(304, "Not Modified"),
    NAMED(305, "Use Proxy"),
    NAMED(307, "Temporary Redirect"),
    NAMED(308, "Permanent Redirect"),
    NAMED(400, "Bad Request"),
    NAMED(401, "Unauthorized"),
    NAMED(402, "Payment Required"),
    NAMED(403, "Forbidden"),
    NAMED(404, "Not Found"),
    NAMED(405, "Method Not Allowed"),
    NAMED(406, "Not Acceptable"),
    NAMED(407, "Proxy Authentication Required"),
    NAMED(408, "Request Timeout"),
    NAMED(409, "Conflict"),
    NAMED(410, "Gone"),
    NAMED(411, "Length Required"),
    NAMED(412, "Precondition Failed"),
    NAMED(413, "Content Too Large"),
    NAMED(414, "URI Too Long"),
    NAMED(415, "Unsupported Media Type"),
    NAMED(416, "Range Not Satisfiable"),
    NAMED(417, "Expectation Failed"),
    NAMED(421, "Misdirected Request"),
    NAMED(422, "Unprocessable Content"),
    NAMED(426, "Upgrade Required"),
    NAMED(428, "Precondition Required"),
    NAMED(429, "Too Many Requests"),
    NAMED(431, "Request Header Fields Too Large"),
    NAMED(500, "Internal Server Error"),
    NAMED(501, "Not Implemented"),
    NAMED(502, "Bad Gateway"),
    NAMED(503, "Service Unavailable"),
    NAMED(504, "Gateway Timeout"),
    NAMED(505, "HTTP Version Not Supported"),
};

const char *weft::status_text(int status, size_t *n)
{
    static __thread char unknown[sizeof "599 "];
    static const named *const ok = &NAMES[2];
    if (status == 200) {
        *n = ok->size;
        return ok->text;
    }
    for (const named &each : NAMES)
        if (each.status == status) {
            *n = each.size;
            return each.text;
        }
    unknown[0] = (char)('0' + status / 100 % 10);
    unknown[1] = (char)('0' + status / 10 % 10);
    unknown[2] = (char)('0' + status % 10);
    unknown[3] = ' ';
    *n = 4;
    return unknown;
}
