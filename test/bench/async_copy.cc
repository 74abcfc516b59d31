// A proxy: what it costs to pass a stream on, without copies and with.
#include "sockets.h"

#include <weft/io.h>

#include <fcntl.h>
#include <pthread.h>

namespace {

constexpr size_t ALL = size_t(256) << 20;

struct Stream {
    bench::Listener in, out;
    int from, to;
    bool splices;
    double cpu;
};

char part[1 << 16];

void *pour(void *arg)
{
    int fd = static_cast<Stream *>(arg)->in.dial();
    for (size_t all = 0; all < ALL; all += sizeof part)
        if (send(fd, part, sizeof part, MSG_NOSIGNAL) != ssize_t(sizeof part))
            bench::die("send");
    close(fd);
    return nullptr;
}

void *drain(void *arg)
{
    static char bytes[1 << 16];
    int fd = *static_cast<int *>(arg);
    while (read(fd, bytes, sizeof bytes) > 0)
        ;
    return nullptr;
}

int pass_on(void *arg)
{
    static char bytes[1 << 16];
    auto *s = static_cast<Stream *>(arg);
    double before = bench::cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
    size_t all = 0;
    if (s->splices)
        all = size_t(weft_io_copy(s->from, s->to, SIZE_MAX, WEFT_FOREVER));
    else
        for (ssize_t n; (n = weft_io_read(s->from, bytes, sizeof bytes, WEFT_FOREVER)) > 0;
             all += size_t(n))
            if (weft_io_write(s->to, bytes, size_t(n), WEFT_FOREVER) != n)
                bench::die("write");
    s->cpu = bench::cpu_seconds(CLOCK_THREAD_CPUTIME_ID) - before;
    weft_io_close(s->from);
    weft_io_close(s->to);
    return all == ALL ? 0 : -1;
}

double gigabytes(bool splices)
{
    Stream s{};
    pthread_t source, sink;
    s.splices = splices;
    s.to = s.out.dial();
    fcntl(s.to, F_SETFL, O_NONBLOCK);
    fcntl(s.in.fd, F_SETFL, 0);
    fcntl(s.out.fd, F_SETFL, 0);
    int end = accept4(s.out.fd, nullptr, nullptr, SOCK_CLOEXEC);
    pthread_create(&source, nullptr, pour, &s);
    s.from = accept4(s.in.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    pthread_create(&sink, nullptr, drain, &end);
    if (weft_io_run(pass_on, &s) != 0)
        bench::die("proxy");
    pthread_join(source, nullptr);
    pthread_join(sink, nullptr);
    close(end);
    return double(ALL) / 1e9 / s.cpu;
}

} // namespace

int main()
{
    bench::Table t("proxy between two TCP connections", "GB per second of the proxy's CPU");
    t.add("weft_io_copy", [] { return gigabytes(true); });
    t.add("weft_io_read, weft_io_write", [] { return gigabytes(false); });
    t.run(9);
    t.at_least("weft_io_copy", "weft_io_read, weft_io_write", 2);
}
