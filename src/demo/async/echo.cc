// echo.cc: `weft-async echo`: what a connection gets back, and what was counted.
#include "listen.h"

#include <sys/mman.h>

// In memory that the workers share.
struct echo_counts {
    long connections, open, most, bytes;
};
static echo_counts *echo_tally;

static long echo_add(long *number, long n)
{
    return __atomic_add_fetch(number, n, __ATOMIC_RELAXED);
}

static void echo(int fd, void *)
{
    char text[4096];
    long open = echo_add(&echo_tally->open, 1);
    echo_add(&echo_tally->connections, 1);
    if (open > echo_tally->most)
        echo_tally->most = open;
    for (ssize_t n; (n = weft_io_read(fd, text, sizeof text, WEFT_FOREVER)) > 0;) {
        if (weft_io_write(fd, text, (size_t)n, WEFT_FOREVER) != n)
            break;
        echo_add(&echo_tally->bytes, n);
    }
    echo_add(&echo_tally->open, -1);
}

static void echo_begin(void)
{
    echo_tally = (echo_counts *)mmap(nullptr, sizeof *echo_tally, PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (echo_tally == MAP_FAILED)
        options_fail("weft-async");
}

static void echo_end(void)
{
    printf("%ld connections, %ld at once, %ld bytes echoed\n", echo_tally->connections,
           echo_tally->most, echo_tally->bytes);
}

static int run(int argc, char **argv)
{
    const char *where = "127.0.0.1:7777";
    long workers = 0;
    for (int c; (c = options_next(argc, argv, "+:hl:w:", nullptr)) != -1;) {
        if (c == 'l')
            where = optarg;
        else
            workers = options_number(optarg, 1, 1000);
    }
    if (optind < argc)
        options_bad("unexpected", argv[optind]);
    echo_begin();
    int failed = serve_at(where, workers, echo);
    echo_end();
    return options_finish(failed);
}

extern const verb verb_echo = {
    "echo", "[-l host:port] [-w workers]",
    "sends back what it gets (127.0.0.1:7777), until SIGTERM or SIGINT; with -w in so\n"
    "many processes, which SIGHUP replaces\n",
    run};
