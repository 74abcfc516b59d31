// Answers that are cut or no answers: never taken for whole, and each with its errno.
#include "scripted.h"

// What reading to the end makes of it; 0: it is whole.
static int outcome(void)
{
    char *body = nullptr;
    weft_http_response *r = get("/");
    if (r == nullptr)
        return errno;
    int error = weft_http_response_read_all(r, &body, 1 << 20, weft_in_s(20)) >= 0 ? 0 : errno;
    for (int i = 0; error != 0 && i < 2; i++) { // and stays so, behind what it had read
        char byte;
        ssize_t n;
        while ((n = weft_http_response_read(r, &byte, 1, weft_in_s(20))) > 0) {
        }
        assert_int_equal(n, -1);
        assert_int_equal(errno, error);
    }
    free(body);
    weft_http_response_close(r);
    return error;
}

static void is_outcome(const char *text, int then, int error)
{
    answer a = {text, then};
    serve(&a, 1);
    begin_client();
    int is = outcome();
    if (is != error)
        fail_msg("\"%s\" is %d (%s), not %d", text, is, strerror(is), error);
    if (error != 0)
        assert_int_equal(information().idle, 0);
    end_client();
    end_server();
}

// ---- Cut at every byte ----

INSIDE_CASE(test_cut)
{
    static const char *const whole[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: u\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    };
    for (const char *each : whole) {
        char part[256];
        size_t n = strlen(each);
        for (size_t i = 0; i < n; i++) {
            snprintf(part, sizeof part, "%.*s", (int)i, each);
            is_outcome(part, CLOSE, ECONNRESET);
        }
        is_outcome(each, CLOSE, 0);
    }
}

// A reset is no end, where the end of the connection is that of the body.
INSIDE_CASE(test_reset)
{
    answer a = {"HTTP/1.0 200 OK\r\n\r\nabcde", RESET};
    serve(&a, 1, true);
    begin_client();
    assert_int_equal(outcome(), ECONNRESET);
    end_client();
    end_server();
}

// ---- No answers ----

INSIDE_CASE(test_bad_answers)
{
    static const char *const bad[] = {
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "\r\n",
        "\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n Content-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: none\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n",
    };
    for (const char *each : bad)
        is_outcome(each, STALL, EBADMSG);
}

// So many of them are no answer.
INSIDE_CASE(test_interim_without_end)
{
    static char text[8192];
    for (size_t n = 0; n < 101; n++)
        strcat(text, "HTTP/1.1 102 Processing\r\n\r\n");
    is_outcome(text, STALL, EBADMSG);
}

RUN_CASES()
