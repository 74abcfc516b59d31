// weft_system, weft_popen, weft_pclose.
#include "children.h"

#include <weft/shell.h>

CASE(test_system)
{
    int status = -1;
    assert_int_equal(weft_system("exit 3", &status, WEFT_FOREVER), 0);
    assert_int_equal(weft_status_exited(status), 3);
    assert_int_equal(weft_system("kill -9 $$", &status, weft_in_s(50)), 0);
    assert_int_equal(weft_status_signal(status), SIGKILL);
    assert_int_equal(weft_system("no-such-command-of-weft 2>/dev/null", &status, WEFT_FOREVER), 0);
    assert_int_equal(weft_status_code(status), 127);
    assert_int_equal(weft_system("-x 2>/dev/null", NULL, WEFT_FOREVER), 0);
    assert_errno(weft_system(NULL, &status, WEFT_FOREVER), EINVAL);
}

// All of the command is killed: its background process gives up the pipe.
CASE(test_system_deadline)
{
    int status = -1, pipes[2];
    char command[64], byte;
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    int old = fcntl(1, F_DUPFD_CLOEXEC, 10);
    dup2(pipes[1], 1);
    snprintf(command, sizeof command, "sleep 1000 & sleep 1000");
    int result = weft_system(command, &status, weft_in_ms(20)), error = errno;
    dup2(old, 1);
    close(old);
    close(pipes[1]);
    assert_int_equal(result, -1);
    assert_int_equal(error, ETIMEDOUT);
    assert_int_equal(weft_status_signal(status), SIGTERM);
    assert_int_equal(read(pipes[0], &byte, 1), 0);
    close(pipes[0]);
    assert_true(no_children());
}

// ^C reaches the caller's group alone; its end is the command's.
CASE(test_system_ends_with_its_caller)
{
    int ends[2];
    char byte;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t caller = fork();
    if (caller == 0) {
        setpgid(0, 0);
        dup2(ends[1], 1);
        weft_system("echo; exec sleep 1000", NULL, weft_in_s(1000));
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(kill(-caller, SIGINT), 0);
    assert_int_equal(waitpid(caller, NULL, 0), caller);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
}

CASE(test_system_leaves_signals_alone)
{
    struct sigaction before[3], after;
    const int signals[] = {SIGCHLD, SIGINT, SIGQUIT};
    for (int i = 0; i < 3; i++)
        sigaction(signals[i], NULL, &before[i]);
    assert_errno(weft_system("exec sleep 1000", NULL, weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(weft_system("exit 0", NULL, WEFT_FOREVER), 0);
    for (int i = 0; i < 3; i++) {
        sigaction(signals[i], NULL, &after);
        assert_true(after.sa_handler == before[i].sa_handler);
    }
}

CASE(test_popen_read)
{
    char line[64];
    FILE *stream;
    int status = -1;
    weft_subprocess *p = weft_popen("echo one; echo two; exit 4", "r", &stream);
    assert_non_null(p);
    assert_non_null(fgets(line, sizeof line, stream));
    assert_string_equal(line, "one\n");
    assert_non_null(fgets(line, sizeof line, stream));
    assert_null(fgets(line, sizeof line, stream));
    assert_true(feof(stream));
    assert_int_equal(weft_pclose(p, stream, &status, WEFT_FOREVER), 0);
    assert_int_equal(weft_status_exited(status), 4);
}

CASE(test_popen_write)
{
    struct scratch s = make_scratch();
    char command[128];
    FILE *stream;
    int status = -1;
    snprintf(command, sizeof command, "cat > %s", s.path);
    weft_subprocess *p = weft_popen(command, "w", &stream);
    assert_non_null(p);
    assert_int_equal(fprintf(stream, "number %d\n", 7), 9);
    assert_int_equal(weft_pclose(p, stream, &status, WEFT_FOREVER), 0);
    assert_int_equal(status, 0);
    assert_string_equal(read_file(s.path), "number 7\n");
    remove_scratch(&s);
}

// Two at a time: the second does not hold the first one's pipe open.
CASE(test_popen_close_on_exec)
{
    FILE *first, *second;
    weft_subprocess *p = weft_popen("cat", "w", &first);
    weft_subprocess *q = weft_popen("exec sleep 1000", "w", &second);
    assert_int_equal(weft_pclose(p, first, NULL, WEFT_FOREVER), 0);
    assert_errno(weft_pclose(q, second, NULL, WEFT_NOW), ETIMEDOUT);
    assert_true(no_children());
}

// A reader that is gone: EPIPE, no signal.  One that sleeps: the flush ends at the deadline.
CASE(test_popen_write_errors)
{
    FILE *stream;
    int status = -1;
    weft_subprocess *p = weft_popen("exec 0<&-; exit 2", "w", &stream);
    weft_subprocess_join(p, NULL, WEFT_FOREVER);
    assert_int_equal(fputs("lost\n", stream), 1);
    assert_errno(weft_pclose(p, stream, &status, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_status_exited(status), 2);
    p = weft_popen("exec sleep 1000", "w", &stream);
    static char large[65536];
    memset(large, 'x', sizeof large);
    setvbuf(stream, NULL, _IOFBF, 4096);
    assert_int_equal(fwrite(large, 1, sizeof large, stream), sizeof large);
    assert_int_equal(fputs("more\n", stream), 1);
    assert_errno(weft_pclose(p, stream, &status, weft_in_ms(5)), ETIMEDOUT);
    assert_int_equal(weft_status_signal(status), SIGTERM);
    assert_true(no_children());
}

enum { NOWHERE, FOREGROUND, BACKGROUND };

// Whether the command, and one with a deadline, is in our group.
static int is_shared(void *background)
{
    FILE *stream;
    char script[96];
    int status;
    if (background != NULL && setpgid(0, 0) != 0)
        return 6;
    weft_subprocess *p = weft_popen("exec cat", "w", &stream);
    bool shares = p != NULL && getpgid(weft_subprocess_pid(p)) == getpgrp();
    if (p == NULL || weft_pclose(p, stream, NULL, WEFT_FOREVER) != 0)
        return 4;
    snprintf(script, sizeof script, "read -r a b c d group rest </proc/$$/stat; test $group = %d",
             (int)getpgrp());
    return weft_system(script, &status, weft_in_s(50)) == 0 && shares == (status == 0) ? shares : 5;
}

// In a session of its own, with a terminal that is none of our streams, or none.
static int shares_group(void *place)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (setsid() < 0 || unlockpt(master) != 0)
        return 2;
    if (*(int *)place != NOWHERE && open(ptsname(master), O_RDWR | O_CLOEXEC) < 0)
        return 3;
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    return *(int *)place == BACKGROUND ? end_of(child_of(is_shared, place)) : is_shared(NULL);
}

CASE(test_group)
{
    for (int place = NOWHERE; place <= BACKGROUND; place++)
        assert_int_equal(end_of(child_of(shares_group, &place)), place == FOREGROUND);
}

CASE(test_popen_misuse)
{
    FILE *stream;
    assert_errno(weft_popen("true", "rw", &stream), EINVAL);
    assert_errno(weft_popen("true", NULL, &stream), EINVAL);
    assert_errno(weft_popen(NULL, "r", &stream), EINVAL);
    assert_true(no_children());
}

RUN_CASES()
