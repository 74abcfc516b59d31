// communicate.cc: a child's streams, and the calls that do all in one.
#include <weft/subprocess.h>

#include <base/errno.h>

#include "handle.h"
#include "pump.h"

#include <errno.h>
#include <string.h>

using namespace weft;

int weft_subprocess_communicate(weft_subprocess *p, const void *in, size_t n, weft_buffer *out,
                                weft_buffer *err, weft_deadline d)
{
    pump pump = {p->fds, (const char *)in, n, &p->written, {nullptr, out, err}, &p, 1, p->grace};
    if (n > 0 && (in == nullptr || !p->takes_input))
        return fail_with(EINVAL);
    int incomplete = pump_run(&pump, d);
    if (incomplete < 0)
        return -1;
    return weft_subprocess_wait(p, nullptr, d) == 0 ? incomplete : -1;
}

static bool is_stream(int stream)
{
    return stream >= 0 && stream <= 2;
}

int weft_subprocess_stream(const weft_subprocess *p, int stream)
{
    return is_stream(stream) && p->fds[stream] >= 0 ? p->fds[stream] : fail_with(EBADF);
}

ssize_t weft_subprocess_read(weft_subprocess *p, int stream, void *bytes, size_t n, weft_deadline d)
{
    if (stream != 1 && stream != 2)
        return fail_with(EBADF);
    return pipe_read(p->fds[stream], bytes, n, d);
}

ssize_t weft_subprocess_write(weft_subprocess *p, const void *bytes, size_t n, weft_deadline d)
{
    return pipe_write(p->fds[0], bytes, n, d);
}

int weft_subprocess_close(weft_subprocess *p, int stream)
{
    if (!is_stream(stream) || p->fds[stream] < 0)
        return fail_with(EBADF);
    close_keep_errno(&p->fds[stream]);
    if (stream == 0)
        p->takes_input = false;
    return 0;
}

void weft_subprocess_result_free(weft_subprocess_result *r)
{
    if (r == nullptr)
        return;
    weft_buffer_free(&r->out);
    weft_buffer_free(&r->err);
}

// Ends a run that failed, with what its pipes still hold.  SIGKILL can't be refused, so
// the wait is short unless the kernel itself is stuck.
static void end_run(weft_subprocess *p, weft_subprocess_result *r)
{
    int saved = errno;
    pump rest = {p->fds, nullptr, 0, &p->written, {nullptr, &r->out, &r->err}, &p, 1, 0};
    weft_subprocess_kill(p);
    weft_subprocess_wait(p, &r->status, WEFT_FOREVER);
    pump_run(&rest, WEFT_NOW);
    errno = saved;
}

int weft_subprocess_run(const char *const argv[], const weft_subprocess_options *opts,
                        weft_subprocess_result *r, weft_deadline d)
{
    weft_subprocess_options o;
    weft_subprocess_result unwanted;
    weft_subprocess_result *to = r != nullptr ? r : &unwanted;
    memset(&o, 0, sizeof o);
    memset(to, 0, sizeof *to);
    if (opts != nullptr)
        o = *opts;
    if (o.input == nullptr && o.input_size > 0)
        return fail_with(EINVAL);
    if (o.input != nullptr)
        o.in.kind = WEFT_STREAM_PIPE;
    int64_t start = weft_now();
    weft_subprocess *p = weft_subprocess_start(argv, &o);
    if (p == nullptr)
        return -1;
    int result = weft_subprocess_communicate(p, o.input, o.input_size, &to->out, &to->err, d);
    to->incomplete = result == 1;
    if (result >= 0)
        result = weft_subprocess_wait(p, &to->status, WEFT_NOW);
    else if (errno != ECHILD)
        end_run(p, to);
    to->ns = weft_now() - start;
    weft_subprocess_destroy(p);
    if (r == nullptr)
        weft_subprocess_result_free(&unwanted);
    return result;
}
