// shell.cc: system(3) and popen(3) without their surprises.
//
// The libc's versions meddle with SIGINT, SIGQUIT and SIGCHLD in the whole process, leak the
// pipe into children started at the same time, and wait without end.  The stream of
// weft_popen is a custom one over weft_subprocess_read and _write: its writes raise no SIGPIPE and
// its last flush obeys the deadline of weft_pclose.
#include <weft/shell.h>

#include "streams.h"

#include <string.h>

using namespace weft;

int weft_system(const char *command, int *status, weft_deadline d)
{
    const char *const argv[] = {"sh", "-c", "--", command, nullptr};
    weft_subprocess_options o;
    weft_subprocess_result r;
    if (command == nullptr)
        return fail_with(EINVAL);
    memset(&o, 0, sizeof o);
    o.file = "/bin/sh";
    int result = weft_subprocess_run(argv, &o, &r, d);
    int saved = errno;
    if (status != nullptr && (result == 0 || errno == ETIMEDOUT))
        *status = r.status;
    weft_subprocess_result_free(&r);
    errno = saved;
    return result;
}

static ssize_t stream_read(void *cookie, char *bytes, size_t n)
{
    return weft_subprocess_read((weft_subprocess *)cookie, 1, bytes, n, WEFT_FOREVER);
}

// A short count tells stdio of an error, errno says which.
static ssize_t stream_write(void *cookie, const char *bytes, size_t n)
{
    weft_subprocess *p = (weft_subprocess *)cookie;
    ssize_t done = weft_subprocess_write(p, bytes, n, p->flush_by);
    return done < 0 ? 0 : done;
}

static int stream_close(void *cookie)
{
    weft_subprocess *p = (weft_subprocess *)cookie;
    streams_close(&p->s);
    return 0;
}

weft_subprocess *weft_popen(const char *command, const char *mode, FILE **stream)
{
    const char *const argv[] = {"sh", "-c", "--", command, nullptr};
    const cookie_io_functions_t functions = {stream_read, stream_write, nullptr, stream_close};
    weft_subprocess_options o;
    bool reads = mode != nullptr && strcmp(mode, "r") == 0;
    if (command == nullptr || mode == nullptr || (!reads && strcmp(mode, "w") != 0)) {
        errno = EINVAL;
        return nullptr;
    }
    memset(&o, 0, sizeof o);
    o.file = "/bin/sh";
    o.process_group = terminal_is_ours() ? 0 : WEFT_GROUP_NEW;
    (reads ? o.out : o.in).kind = WEFT_STREAM_PIPE;
    weft_subprocess *p = weft_subprocess_start(argv, &o);
    if (p == nullptr)
        return nullptr;
    *stream = fopencookie(p, mode, functions);
    if (*stream != nullptr)
        return p;
    streams_kill(&p->s, nullptr);
    give_up(p);
    return nullptr;
}

int weft_pclose(weft_subprocess *p, FILE *stream, int *status, weft_deadline d)
{
    if (p == nullptr)
        return fail_with(EINVAL);
    int saved = errno, error = 0;
    p->flush_by = d;
    if (uncancelled(fclose, stream) != 0)
        error = errno;
    if (weft_subprocess_join(p, status, d) != 0) {
        error = errno;
        if (error != ECHILD)
            streams_end(&p->s, nullptr, nullptr, status);
    }
    give_up(p);
    errno = error != 0 ? error : saved;
    return error != 0 ? -1 : 0;
}
