// each_log.cc: a line for each command that has ended, and what an earlier log says.
//
// A line goes into the file by one write at its end, after the command's output has been written.
// So what has a line has run, and is not run again; what has none may have run, wholly or in part.
// A line that lacks its end was torn by a kill: it is dropped.  The file is not synced: it
// survives our death, not that of the machine.
//
// The lock is a record lock: it is gone with this process, also when a child that we were starting
// as we were killed still has the descriptor.  Any close of the file here would give it up.
#include "each.h"

#include "../verbs.h"

#include <weft/status.h>

#include <err.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char head[] = "Seq\tStart\tSeconds\tCPU\tMaxKB\tTries\tExit\tSignal\tCommand\n";

namespace {
struct entry {
    size_t number;
    uint64_t command; // its hash
};
} // namespace

static int fd = -1;
static entry *entries; // sorted
static size_t count;

static uint64_t hash(const char *bytes, size_t n)
{
    uint64_t h = 14695981039346656037U; // FNV-1a
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)bytes[i]) * 1099511628211U;
    return h;
}

static int compare(const void *a, const void *b)
{
    const entry *x = (const entry *)a, *y = (const entry *)b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return (x->command > y->command) - (x->command < y->command);
}

// "7\t...\tcommand": nine fields.
static bool parse(const char *line, size_t n, entry *e)
{
    const char *at = line;
    char *rest;
    e->number = strtoul(line, &rest, 10);
    for (int tabs = 0; tabs < 8; tabs++) {
        at = (const char *)memchr(at, '\t', n - (size_t)(at - line));
        if (at++ == nullptr)
            return false;
    }
    e->command = hash(at, n - (size_t)(at - line));
    return rest != line && *rest == '\t';
}

// Takes over what is there; leaves the file without a torn last line.
static void read_log(const char *path)
{
    FILE *f = fdopen(fd, "r"); // never closed
    char *line = nullptr;
    size_t size = 0, room = 0;
    off_t whole = 0;
    if (f == nullptr)
        options_fail(path);
    for (ssize_t n; (n = getline(&line, &size, f)) > 0 && line[n - 1] == '\n'; whole += n) {
        if (count == room) {
            room = 2 * room + 64;
            entries = (entry *)realloc(entries, room * sizeof *entries);
            if (entries == nullptr)
                err(1, "memory");
        }
        count += parse(line, (size_t)n - 1, &entries[count]);
    }
    if (ferror(f) || ftruncate(fd, whole) != 0)
        options_fail(path);
    free(line);
    if (count > 0)
        qsort(entries, count, sizeof *entries, compare);
}

// All or nothing: what could be written only in part is taken back.
static int append(const char *line, size_t n)
{
    struct stat before;
    size_t done = 0;
    if (fstat(fd, &before) != 0)
        return -1;
    for (ssize_t put; done < n; done += (size_t)put)
        if ((put = write(fd, line + done, n - done)) <= 0)
            break;
    if (done == n)
        return 0;
    int error = errno;
    if (ftruncate(fd, before.st_size) != 0)
        error = errno;
    errno = error;
    return -1;
}

void log_open(const char *path, bool resume)
{
    struct stat s;
    int opened = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    fd = fcntl(opened, F_DUPFD_CLOEXEC, 3); // where standard error is closed it is not that
    if (opened >= 0)
        close(opened);
    if (fd < 0 || fstat(fd, &s) != 0)
        options_fail(path);
    if (!S_ISREG(s.st_mode))
        errx(1, "%s: not a file", path);
    struct flock all = {};
    all.l_type = F_WRLCK;
    if (fcntl(fd, F_SETLK, &all) != 0)
        errx(1, "%s: in use", path);
    if (resume)
        read_log(path);
    else if (ftruncate(fd, 0) != 0)
        options_fail(path);
    if (fstat(fd, &s) != 0 || (s.st_size == 0 && append(head, sizeof head - 1) != 0))
        options_fail(path);
}

// One line: what would end it is a blank.
static void to_one_line(char *text)
{
    for (; *text != 0; text++)
        if (*text == '\n')
            *text = ' ';
}

bool log_has(const job *j)
{
    if (count == 0)
        return false;
    char *name = strdup(j->name);
    if (name == nullptr)
        err(1, "memory");
    to_one_line(name);
    entry wanted = {j->number, hash(name, strlen(name))};
    free(name);
    return bsearch(&wanted, entries, count, sizeof *entries, compare) != nullptr;
}

size_t log_count(void)
{
    return count;
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

// As a shell and timeout(1) would say.
static int exit_of(const weft_subprocess_result *r, int error)
{
    if (error == 0)
        return weft_status_signal(r->status) != 0 ? 0 : weft_status_exited(r->status);
    return error == ETIMEDOUT ? 124 : error == ENOENT ? 127 : 126;
}

int log_add(const job *j, const weft_subprocess_result *r, int error)
{
    char *line;
    struct timespec now;
    if (fd < 0)
        return 0;
    clock_gettime(CLOCK_REALTIME, &now);
    double start =
        (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)(weft_now() - r->start) / 1e9;
    int n =
        asprintf(&line, "%zu\t%.3f\t%.3f\t%.3f\t%ld\t%d\t%d\t%d\t%s", j->number, start,
                 (double)r->ns / 1e9, seconds_of(r->usage.ru_utime) + seconds_of(r->usage.ru_stime),
                 r->usage.ru_maxrss, r->tries, exit_of(r, error),
                 error == 0 || error == ETIMEDOUT ? weft_status_signal(r->status) : 0, j->name);
    if (n < 0)
        return -1;
    to_one_line(line);
    line[n] = '\n'; // in the place of its 0
    int result = append(line, (size_t)n + 1);
    int saved = errno;
    free(line);
    errno = saved;
    return result;
}
