// log.cc: the access log: lines are put into a buffer, which is written when it is half full, or a
// second after its first line.
//
// What is opened is non-blocking, so a pipe that nobody reads costs lines and no time.  To a pipe
// whole lines go in pieces that the kernel does not mix with those of other processes (PIPE_BUF).
#include "log.h"

#include "date.h"
#include "exchange.h"

#include <base/above_streams.h>
#include <base/errno.h>
#include <base/number.h>
#include <base/sigpipe.h>

#include <weft/io.h>

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

using namespace weft;

static const size_t ROOM = 64 << 10, ENOUGH = 32 << 10;
static const int64_t DELAY_NS = 1000000000;

struct weft_http_log {
    char *path;
    int fd;
    bool pipe;
    size_t used; // of `lines`
    weft_http_log_counters count;
    weft_alarm alarm;
    int64_t dated; // the second of `date`
    char date[LOG_DATE_ROOM];
    char lines[ROOM];
};

// ---- A line ----

static bool is_plain(char c)
{
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

// With \", \\ and \xHH for all that is not ASCII's; what is too long is cut.
static char *put_escaped(char *to, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    const char *most = to + LOG_TEXT - 4;
    for (; *text != 0 && to <= most; text++) {
        if (is_plain(*text)) {
            *to++ = *text;
            continue;
        }
        *to++ = '\\';
        if (*text == '"' || *text == '\\') {
            *to++ = *text;
            continue;
        }
        *to++ = 'x';
        *to++ = digits[(unsigned char)*text >> 4];
        *to++ = digits[*text & 15];
    }
    return to;
}

static char *put(char *to, const char *text)
{
    return (char *)stpcpy(to, text);
}

static bool is_there(const char *text)
{
    return text != nullptr && text[0] != 0;
}

static char *put_quoted(char *to, const char *text)
{
    *to++ = '"';
    to = is_there(text) ? put_escaped(to, text) : put(to, "-");
    *to++ = '"';
    return to;
}

static char *put_request(char *to, const log_line *line)
{
    if (!is_there(line->method))
        return put_quoted(to, nullptr);
    *to++ = '"';
    // A method is short, or is not known and stands for itself.
    size_t n = strnlen(line->method, 32);
    for (size_t i = 0; i < n; i++)
        *to++ = is_plain(line->method[i]) ? line->method[i] : '?';
    *to++ = ' ';
    to = put_escaped(to, is_there(line->target) ? line->target : "-");
    to = put(to, line->version == 10 ? " HTTP/1.0" : " HTTP/1.1");
    *to++ = '"';
    return to;
}

static char *put_status(char *to, int status)
{
    for (int unit = 100; unit > 0; unit /= 10)
        *to++ = (char)('0' + status / unit % 10);
    return to;
}

size_t weft::log_format(char *to, const log_line *line, const char *date)
{
    char *at = to;
    if (is_there(line->host))
        at = (char *)mempcpy(at, line->host, strnlen(line->host, 128));
    else
        *at++ = '-';
    at = put(at, " - - [");
    at = put(at, date);
    at = put(at, "] ");
    at = put_request(at, line);
    *at++ = ' ';
    at = put_status(at, line->status);
    *at++ = ' ';
    if (line->sent > 0)
        at += number_print(at, (int64_t)line->sent);
    else
        *at++ = '-';
    *at++ = ' ';
    at = put_quoted(at, line->referer);
    *at++ = ' ';
    at = put_quoted(at, line->agent);
    *at++ = '\n';
    return (size_t)(at - to);
}

// ---- Writing ----

// How much to write at once.
static size_t piece(const weft_http_log *l, const char *from, size_t n)
{
    if (!l->pipe || n <= PIPE_BUF)
        return n;
    const char *newline = (const char *)memrchr(from, '\n', PIPE_BUF);
    return newline != nullptr ? (size_t)(newline + 1 - from) : n;
}

// Writes what can be written now.
static void flush(weft_http_log *l)
{
    size_t done = 0;
    int saved = errno;
    while (done < l->used) {
        ssize_t n =
            sigpipe_write(l->fd, l->lines + done, piece(l, l->lines + done, l->used - done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    memmove(l->lines, l->lines + done, l->used - done);
    l->used -= done;
    errno = saved;
}

static void arm(weft_http_log *l);

static void on_alarm(weft_alarm *, void *arg)
{
    weft_http_log *l = (weft_http_log *)arg;
    flush(l);
    if (l->used > 0)
        arm(l);
}

// Out of weft_io_run there are no alarms: then lines wait for others, or the end.
static void arm(weft_http_log *l)
{
    int saved = errno;
    weft_loop *loop = l->alarm.loop == nullptr ? weft_io_loop() : nullptr;
    if (loop != nullptr)
        weft_loop_arm(loop, &l->alarm, 0, on_alarm, l, weft_in_ns(DELAY_NS));
    errno = saved;
}

void weft::log_put(weft_http_log *l, const log_line *line)
{
    if (ROOM - l->used < LOG_LINE)
        flush(l);
    if (ROOM - l->used < LOG_LINE) {
        l->count.dropped++;
        return;
    }
    if (l->dated != line->seconds) {
        date_print_log(l->date, line->seconds);
        l->dated = line->seconds;
    }
    l->count.lines++;
    l->used += log_format(l->lines + l->used, line, l->date);
    if (l->used >= ENOUGH)
        flush(l);
    if (l->used > 0)
        arm(l);
}

void weft_http_log_done(const weft_http_exchange *x, void *log)
{
    if (x == nullptr || log == nullptr)
        return;
    int saved = errno;
    log_line line = {};
    line.host = exchange_peer(x);
    line.method = x->method;
    line.target = x->target;
    line.version = x->version;
    line.status = x->status;
    line.sent = x->sent;
    line.referer = weft_http_header(x, "referer");
    line.agent = weft_http_header(x, "user-agent");
    line.seconds = time(nullptr);
    log_put((weft_http_log *)log, &line);
    errno = saved;
}

// ---- Opening ----

static int open_log(const char *path, bool *pipe)
{
    struct stat s;
    int fd = above_streams(uncancelled(
        open, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640));
    if (fd >= 0)
        *pipe = fstat(fd, &s) == 0 && S_ISFIFO(s.st_mode);
    return fd;
}

weft_http_log *weft_http_log_open(const char *path)
{
    if (path == nullptr)
        return (weft_http_log *)fail_null(EINVAL);
    weft_http_log *l = (weft_http_log *)malloc(sizeof *l);
    if (l == nullptr)
        return nullptr;
    memset(l, 0, offsetof(weft_http_log, lines));
    l->dated = INT64_MIN;
    l->fd = -1;
    l->path = strdup(path);
    if (l->path != nullptr && (l->fd = open_log(path, &l->pipe)) >= 0)
        return l;
    free_keep_errno(l->path);
    free_keep_errno(l);
    return nullptr;
}

int weft_http_log_reopen(weft_http_log *l)
{
    bool pipe;
    if (l == nullptr)
        return fail_with(EINVAL);
    int fd = open_log(l->path, &pipe);
    if (fd < 0)
        return -1;
    flush(l);
    close_keep_errno(&l->fd);
    l->fd = fd;
    l->pipe = pipe;
    return 0;
}

int weft_http_log_close(weft_http_log *l)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    if (l->alarm.loop != nullptr && weft_loop_disarm(&l->alarm) != 0)
        return -1;
    flush(l);
    close_keep_errno(&l->fd);
    free_keep_errno(l->path);
    free_keep_errno(l);
    return 0;
}

int weft_http_log_statistics(const weft_http_log *l, weft_http_log_counters *c)
{
    if (l == nullptr || c == nullptr)
        return fail_with(EINVAL);
    *c = l->count;
    return 0;
}
