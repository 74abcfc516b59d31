// The parser of HTTP alone, on what a browser sends for a page.
//
// picohttpparser is taken from libh2o, where it has no package of its own.  It and weft store all
// fields; only weft also says where the body ends and whether the connection stays.  http_parser
// and its successor llhttp tell of each part by a callback, here one that adds its size.
#include "bench.h"
#include "sockets.h"

#include <weft/http_parse.h>

#if defined(HAVE_LIB_llhttp) && __has_include(<llhttp.h>)
#define HAVE_LLHTTP 1
#include <llhttp.h>
#else
#define HAVE_LLHTTP 0
#endif

// The two headers define the same names.
#if !HAVE_LLHTTP && defined(HAVE_LIB_http_parser) && __has_include(<http_parser.h>)
#define HAVE_HTTP_PARSER 1
#include <http_parser.h>
#else
#define HAVE_HTTP_PARSER 0
#endif

#include <cstring>
#include <dlfcn.h>

size_t told; // by callbacks; not of this file alone, so that it is written

namespace {

const int ROUNDS = 31, TIMES = 20000;

const char request[] =
    "GET /library/shelves/early-printed-books/catalogue.html?page=3&sort=date HTTP/1.1\r\n"
    "Host: www.example.org\r\n"
    "Connection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"120\", \"Not?A_Brand\";v=\"8\"\r\n"
    "sec-ch-ua-mobile: ?0\r\n"
    "sec-ch-ua-platform: \"Linux\"\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "image/apng,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-User: ?1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Referer: https://www.example.org/library/shelves/\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
    "Cookie: session=5f1c9a7e3b8d4f60a2c4; theme=dark; last=1701423456.1701424512; consent=1\r\n"
    "\r\n";
const size_t size = sizeof request - 1;

[[noreturn]] void give_up(const char *who)
{
    std::fprintf(stderr, "%s does not take the request\n", who);
    std::exit(1);
}

// Processor seconds that fn takes: others that share the machine are not in it.
template <class F> double seconds(F fn)
{
    double before = bench::cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
    fn();
    return bench::cpu_seconds(CLOCK_THREAD_CPUTIME_ID) - before;
}

// GB/s of fn, which parses the request once and returns whether it has.
template <class F> double speed(const char *who, F fn)
{
    bool well = true;
    double s = seconds([&] {
        for (int i = 0; i < TIMES; i++) {
            well &= fn();
            asm volatile("" ::: "memory");
        }
    });
    if (!well)
        give_up(who);
    return double(size) * TIMES / s / 1e9;
}

bool by_weft()
{
    weft_http_field fields[32];
    weft_http_head h{};
    h.fields = fields;
    h.room = 32;
    return weft_http_parse_request(&h, request, size, nullptr) == ssize_t(size);
}

// The head comes in pieces: each call goes on.
bool by_weft_in_pieces()
{
    weft_http_field fields[32];
    weft_http_head h{};
    h.fields = fields;
    h.room = 32;
    ssize_t n = 0;
    for (size_t fed = 64; n == 0; fed = std::min(fed + 64, size))
        n = weft_http_parse_request(&h, request, fed, nullptr);
    return n == ssize_t(size);
}

// ---- Chunks ----

std::string body;

void fill_body()
{
    char line[16];
    std::snprintf(line, sizeof line, "%x\r\n", 4096);
    for (int i = 0; i < 16; i++)
        body += line + std::string(4096, 'x') + "\r\n";
    body += "0\r\n\r\n";
}

double chunks()
{
    const int times = 2000;
    size_t sum = 0;
    double s = seconds([&] {
        for (int i = 0; i < times; i++) {
            weft_http_chunks c{};
            weft_http_text data;
            for (size_t at = 0; !c.ended; sum += data.size)
                at += size_t(weft_http_chunks_next(&c, body.data() + at, body.size() - at, &data));
        }
    });
    if (sum != size_t(times) * 65536)
        give_up("weft");
    return times / s / 1e6;
}

// ---- picohttpparser ----

struct phr_field {
    const char *name;
    size_t name_size;
    const char *value;
    size_t value_size;
};

int (*phr_parse)(const char *, size_t, const char **, size_t *, const char **, size_t *, int *,
                 phr_field *, size_t *, size_t);

bool find_phr()
{
    for (const char *name : {"libpicohttpparser.so", "libh2o-evloop.so.0.13", "libh2o.so.0.13",
                             "libh2o-evloop.so.0.16", "libh2o.so.0.16"}) {
        void *library = dlopen(name, RTLD_LAZY);
        void *found = library ? dlsym(library, "phr_parse_request") : nullptr;
        std::memcpy(&phr_parse, &found, sizeof found);
        if (found)
            return true;
    }
    return false;
}

bool by_phr()
{
    phr_field fields[32];
    size_t count = 32, method_size, path_size;
    const char *method, *path;
    int minor;
    return phr_parse(request, size, &method, &method_size, &path, &path_size, &minor, fields,
                     &count, 0) == int(size);
}

// ---- Parsers with callbacks ----

template <class P> int tell(P *, const char *, size_t n)
{
    told += n;
    return 0;
}

#if HAVE_HTTP_PARSER
bool by_http_parser()
{
    http_parser p;
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_url = s.on_header_field = s.on_header_value = tell<http_parser>;
    http_parser_init(&p, HTTP_REQUEST);
    return http_parser_execute(&p, &s, request, size) == size;
}
#endif

#if HAVE_LLHTTP
bool by_llhttp()
{
    llhttp_t p;
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_url = s.on_header_field = s.on_header_value = tell<llhttp_t>;
    llhttp_init(&p, HTTP_REQUEST, &s);
    return llhttp_execute(&p, request, size) == HPE_OK;
}
#endif

} // namespace

int main()
{
    fill_body();
    bench::Table t("a browser's request of " + std::to_string(size) + " bytes", "GB/s");
    t.add("weft_http_parse_request", [] { return speed("weft", by_weft); });
    t.add("weft, in pieces of 64 bytes", [] { return speed("weft", by_weft_in_pieces); });
    t.add_if(find_phr(), "picohttpparser", "libh2o-evloop0.13",
             [] { return speed("picohttpparser", by_phr); });
    PEER(HAVE_HTTP_PARSER, t, "http_parser", "libhttp-parser-dev and no llhttp",
         [] { return speed("http_parser", by_http_parser); });
    PEER(HAVE_LLHTTP, t, "llhttp", "libllhttp-dev", [] { return speed("llhttp", by_llhttp); });
    t.run(ROUNDS);
    t.figure_at_least("weft_http_parse_request", 1);
    t.at_least("weft_http_parse_request",
               {{"picohttpparser", 1}, {"http_parser", 1}, {"llhttp", 1}});

    bench::Table c("a chunked body: 16 chunks of 4 KiB", "M bodies/s");
    c.add("weft_http_chunks_next", chunks);
    c.run(ROUNDS);
    return 0;
}
