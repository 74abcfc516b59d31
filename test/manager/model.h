// model.h: redis-server as a model for the server under test, where it is installed.
#ifndef WEFT_TEST_MODEL_H
#define WEFT_TEST_MODEL_H

#include <weft/manager.h>
#include <weft/remote.h>

#include "raw.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>

// ---- A folder for sockets ----

static char folder[64];

static inline const char *folder_make(void)
{
    strcpy(folder, "/tmp/weft-manager-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

// Removes it; what is left in it is a failure unless it was to be left.
static inline int folder_remove(void)
{
    int left = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d != nullptr && (e = readdir(d)) != nullptr;)
        if (e->d_name[0] != '.') {
            fprintf(stderr, "left behind: %s/%s\n", folder, e->d_name);
            unlinkat(dirfd(d), e->d_name, 0);
            left++;
        }
    if (d != nullptr)
        closedir(d);
    rmdir(folder);
    return left == 0 ? 0 : -1;
}

static inline const char *address_in_folder(const char *name)
{
    static char text[4][128];
    static int turn;
    char *t = text[turn++ % 4];
    snprintf(t, sizeof text[0], "unix:%s/%s", folder, name);
    return t;
}

// ---- redis-server ----

struct redis {
    pid_t pid;
    char address[128];
};

// Whether `name` is in PATH.
static inline bool has_program(const char *name)
{
    char path[4096], *save, line[4400];
    snprintf(path, sizeof path, "%s", getenv("PATH"));
    for (char *p = strtok_r(path, ":", &save); p != nullptr; p = strtok_r(nullptr, ":", &save)) {
        snprintf(line, sizeof line, "%s/%s", p, name);
        if (access(line, X_OK) == 0)
            return true;
    }
    return false;
}

// The error texts that clients match on are those of 7.0; other versions word some in other ways.
static inline const char *redis_missing(void)
{
    char text[256] = "";
    if (!has_program("redis-server"))
        return "redis-server is not in PATH";
    FILE *p = popen("redis-server --version", "r");
    if (p == nullptr || fgets(text, sizeof text, p) == nullptr)
        text[0] = 0;
    if (p != nullptr)
        pclose(p);
    return strstr(text, "v=7.0.") != nullptr ? nullptr : "redis-server is not version 7.0";
}

static inline void redis_exec(const char *path, const char *password)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    alarm(0);
    dup2(null, 0);
    dup2(null, 1);
    // Timers every 2 ms: a timeout of a few milliseconds is kept then.
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path, "--save", "",
           "--dir", "/tmp", "--hz", "500", "--dynamic-hz", "no", "--maxclients", "4000",
           password == nullptr ? nullptr : "--requirepass", password, nullptr);
    _exit(127);
}

// Starts one on a unix socket in the folder, and waits until it answers.
static inline void redis_start(redis *r, const char *password)
{
    snprintf(r->address, sizeof r->address, "unix:%s/redis-%d", folder, rand());
    r->pid = runner_fork();
    if (r->pid == 0)
        redis_exec(r->address + 5, password);
    int fd = -1;
    for (weft_deadline d = weft_in_s(RAW_SECONDS); fd < 0 && weft_left(d) > 0; usleep(1000))
        fd = raw_socket(r->address);
    assert_true(fd >= 0);
    close(fd);
}

static inline void redis_stop(redis *r)
{
    kill(r->pid, SIGTERM);
    assert_int_equal(waitpid(r->pid, nullptr, 0), r->pid);
    unlink(r->address + 5);
    r->pid = 0;
}

#endif
