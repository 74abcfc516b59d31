// Masters that are killed at random moments, and reloads by the dozen under load.
// SOAK_KILLS (25), SOAK_RELOADS (50): how many; `make soak` takes 1,000 of each.  The thread
// sanitizer makes forks slow, so there are fewer.
#include "mastered.h"

enum { SAYS_LISTENING = 300 };

static struct sockaddr_in port; // of every master

static int many(const char *name, int usual)
{
    const char *text = getenv(name);
    return text != nullptr ? atoi(text) : RUNNER_TSAN ? usual / 5 : usual;
}

static int listening_master(void *)
{
    int listener = listen_to(&port);
    weft_workers_options o = {};
    o.tell = tell;
    if (listener < 0)
        return errno;
    say(SAYS_LISTENING, -1, getpid(), 0);
    return weft_workers_run(2, echoing_worker, &listener, &o);
}

// The kill comes while it starts its workers, or reloads, or when they serve.
static void kill_a_master(int round)
{
    assert_int_equal(pipe2(news_pipe, O_CLOEXEC), 0);
    m = child_of(listening_master, nullptr);
    close(news_pipe[1]);
    hear(SAYS_LISTENING);
    int fd = round % 2 == 0 ? dial(&port) : -1;
    if (round % 3 == 0) {
        hear(SAYS_READY);
        kill(m, SIGHUP);
    }
    usleep((useconds_t)(rand() % 4000));
    kill(m, SIGKILL);
    assert_int_equal(end_of(m), 256 + SIGKILL);
    if (fd >= 0)
        close(fd);
}

// When the last worker has gone the pipe ends, and the port is the next master's.
CASE(test_killed_masters_leave_nothing)
{
    port = {};
    int kept = bind_to(&port); // so that nobody connects from it; does not listen
    for (int i = 0, n = many("SOAK_KILLS", 25); i < n; i++) {
        struct news left;
        kill_a_master(i);
        while (read(news_pipe[0], &left, sizeof left) > 0)
            ;
        close(news_pipe[0]);
    }
    close(kept);
}

CASE(test_many_reloads_under_load)
{
    struct sockaddr_in a;
    struct echo_load load;
    int listener = start_under_load(&a, &load);
    for (int i = 0, n = many("SOAK_RELOADS", 50); i < n; i++) {
        struct change c = {};
        reload();
        hear_of(&c, 2, 2);
    }
    echo_load_end(&load);
    terminate();
    close(listener);
}

RUN_CASES()
