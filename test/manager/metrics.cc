// Figures for Prometheus: what they say, to whom, and that nobody is held up by who asks.
#include "served.h"

static char where[128];

static void with_metrics(void (*fn)(void))
{
    o = {};
    snprintf(where, sizeof where, "unix:%s/metrics", folder);
    o.metrics = where;
    start(&o);
    fn();
    stop_server();
    assert_int_not_equal(access(where + 5, F_OK), 0);
}

#define METRICS_CASE(fn) CASE_IN(fn, with_metrics)

// The whole answer, up to the connection's end.
static const char *asked(const char *request)
{
    static char text[1 << 16];
    size_t n = 0;
    raw r = {};
    raw_open(&r, where);
    raw_text(&r, request);
    for (weft_deadline d = in_time(); n < sizeof text - 1 && raw_ready(r.fd, POLLIN, d);) {
        ssize_t k = recv(r.fd, text + n, sizeof text - 1 - n, 0);
        if (k <= 0)
            break;
        n += (size_t)k;
    }
    text[n] = 0;
    raw_close(&r);
    return text;
}

static double figure(const char *page, const char *name)
{
    char line[128];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(page, line);
    return at != nullptr ? strtod(at + strlen(line), nullptr) : -1;
}

METRICS_CASE(test_figures)
{
    for (int i = 0; i < 3; i++)
        says(&c, "SET k v EX 100", "+OK\r\n");
    ask(&c, "INCR k");
    ask(&c, "GET");
    ask(&c, "CLIENT ID");
    const char *page = asked("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), *body;
    assert_int_equal(
        strncmp(page, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4", 50), 0);
    body = strstr(page, "\r\n\r\n");
    assert_non_null(body);
    assert_int_equal(field_number(page, "Content-Length: "), strlen(body + 4));
    assert_int_equal(figure(page, "weft_manager_clients"), 1);
    assert_int_equal(figure(page, "weft_manager_commands_total{command=\"set\"}"), 3);
    assert_int_equal(figure(page, "weft_manager_commands_total{command=\"client|id\"}"), 1);
    assert_int_equal(figure(page, "weft_manager_command_errors_total{command=\"incr\"}"), 1);
    assert_int_equal(figure(page, "weft_manager_commands_rejected_total{command=\"get\"}"), 1);
    assert_int_equal(figure(page, "weft_manager_keys{db=\"0\"}"), 1);
    assert_int_equal(figure(page, "weft_manager_keys_expiring{db=\"0\"}"), 1);
    assert_true(figure(page, "weft_manager_memory_bytes") > 0);
    assert_true(figure(page, "process_resident_memory_bytes") > 100000);
    assert_non_null(strstr(page, "\n# TYPE weft_manager_clients gauge\n"));
}

METRICS_CASE(test_what_else_is_asked)
{
    const struct {
        const char *request, *status;
    } cases[] = {{"GET /metrics?x=y HTTP/1.0\n\n", "HTTP/1.1 200 "},
                 {"HEAD /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 "},
                 {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
                 {"GET /metricsx HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
                 {"POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "},
                 {"\r\n\r\n", "HTTP/1.1 405 "}};
    for (const auto &each : cases)
        assert_int_equal(strncmp(asked(each.request), each.status, strlen(each.status)), 0);
    const char *page = asked("HEAD /metrics HTTP/1.1\r\n\r\n");
    assert_int_equal(strlen(strstr(page, "\r\n\r\n")), 4);
    static char longest[8192];
    memset(longest, 'x', sizeof longest - 1);
    memcpy(longest, "GET /metrics ", 13);
    assert_int_equal(strncmp(asked(longest), "HTTP/1.1 431 ", 13), 0);
}

// Some say half of it, some read nothing, more come than are let in: clients are served, and the
// next one who asks is, too, once they have gone.
METRICS_CASE(test_who_is_slow)
{
    raw slow[20] = {};
    for (raw &r : slow) {
        raw_open(&r, where);
        send(r.fd, "GET /metrics HTTP/1.1\r\n\r\n", &r - slow < 4 ? 10 : 25, MSG_NOSIGNAL);
    }
    for (int i = 0; i < 100; i++)
        says(&c, "PING", "+PONG\r\n");
    assert_int_equal(ask_number(&c, "CLIENT ID"), 1); // they are no clients
    for (raw &r : slow)
        raw_close(&r);
    for (weft_deadline d = in_time(); weft_left(d) > 0; usleep(1000))
        if (strncmp(asked("GET /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 200", 12) == 0)
            return;
    fail();
}

CASE(test_no_such_address)
{
    o = {};
    o.metrics = "fd:0";
    assert_errno(weft_manager_start(address_in_folder("weft"), &o), EINVAL);
    o.metrics = "unix:/nowhere/at/all";
    assert_errno(weft_manager_start(address_in_folder("weft"), &o), ENOENT);
    o.metrics = "tcp:127.0.0.1:0";
    start(&o);
    assert_non_null(strstr(ask(&c, "INFO weft"), "weft_metrics:tcp:127.0.0.1:"));
    stop_server();
}

RUN_SERVER_CASES()
