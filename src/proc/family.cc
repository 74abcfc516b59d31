// family.cc: /proc, read as a whole.  Its lists of children would be quicker, but a kernel may be
// built without them, and they hold only for processes that are stopped.
#include "family.h"

#include <base/bytes.h>
#include <base/child.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

using namespace weft;

enum { PATIENCE_MS = 200, RUNS_MS = 5000, FIRST_ROOM = 4096 };

// Of a line like "17 (a (b) c) S 1 ...": the name may contain anything.  Born is field 22.
static bool parse(const char *line, relative *r)
{
    const char *rest = strrchr(line, ')');
    unsigned long long born;
    if (rest == nullptr || sscanf(rest, ") %c %d %d", &r->state, &r->parent, &r->group) != 3)
        return false;
    rest += 2;
    for (int field = 3; field < 22 && rest != nullptr; field++) {
        rest = strchr(rest, ' ');
        rest = rest != nullptr ? rest + 1 : nullptr;
    }
    if (rest == nullptr || sscanf(rest, "%llu", &born) != 1)
        return false;
    r->born = born;
    return true;
}

static bool read_one(pid_t pid, relative *r)
{
    char path[32], line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = uncancelled(open, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = uncancelled(read, fd, line, sizeof line - 1);
    uncancelled(close, fd);
    line[n > 0 ? n : 0] = 0;
    r->pid = pid;
    return parse(line, r);
}

static void add(relative **list, size_t *count, size_t *room, const relative *r)
{
    size_t bytes = *room * sizeof **list;
    char *data = (char *)*list;
    if (*count == *room && grow(&data, &bytes, bytes + sizeof **list, FIRST_ROOM, realloc) != 0)
        return;
    *list = (relative *)(void *)data;
    *room = bytes / sizeof **list;
    (*list)[(*count)++] = *r;
}

void weft::family_add(family *f, pid_t pid)
{
    relative r;
    int saved = errno;
    if (read_one(pid, &r))
        add(&f->members, &f->count, &f->room, &r);
    errno = saved;
}

static bool is_alive(const relative *r)
{
    return strchr("ZXx", r->state) == nullptr;
}

// The first `before` may be gone, and their numbers be others'.
static bool is_member(const family *f, size_t before, const relative *r)
{
    bool is = f->root > 0 && r->parent == f->root;
    for (size_t i = 0; i < f->count && !is; i++) {
        const relative *m = &f->members[i];
        is = i < before ? m->pid == r->pid && m->born == r->born : m->pid == r->parent;
    }
    return is;
}

// All processes but the dead.
static relative *read_all(size_t *count)
{
    relative *all = nullptr, r;
    size_t room = 0;
    *count = 0;
    DIR *d = opendir("/proc");
    if (d == nullptr)
        return nullptr;
    for (struct dirent *e; (e = readdir(d)) != nullptr;) {
        int pid = atoi(e->d_name);
        if (pid > 0 && read_one(pid, &r) && is_alive(&r))
            add(&all, count, &room, &r);
    }
    closedir(d);
    return all;
}

bool weft::group_lives(pid_t group)
{
    int saved = errno;
    size_t n;
    relative *all = read_all(&n);
    bool lives = all == nullptr;
    for (size_t i = 0; i < n && !lives; i++)
        lives = all[i].group == group;
    free(all);
    errno = saved;
    return lives;
}

// Moves r to the members.
static void take(family *f, relative *all, size_t *count, size_t i)
{
    add(&f->members, &f->count, &f->room, &all[i]);
    all[i] = all[--*count];
}

// A parent comes first: it is not to see its children end before it hears why.
static int by_birth(const void *a, const void *b)
{
    const relative *x = (const relative *)a, *y = (const relative *)b;
    if (x->born != y->born)
        return x->born < y->born ? -1 : 1;
    return x->pid < y->pid ? -1 : 1;
}

size_t weft::family_look(family *f)
{
    int saved = errno;
    size_t n, before = f->count;
    relative *all = read_all(&n);
    for (bool more = true; more;) {
        more = false;
        for (size_t i = n; i-- > 0;)
            if (is_member(f, before, &all[i])) {
                take(f, all, &n, i);
                more = true;
            }
    }
    free(all);
    // The members of before stand again behind themselves, if they live.
    f->count -= before;
    if (f->count > 0) {
        memmove(f->members, f->members + before, f->count * sizeof *f->members);
        qsort(f->members, f->count, sizeof *f->members, by_birth);
    }
    errno = saved;
    return f->count;
}

// By a pidfd of the process that has this birth; by number where there are none.  Whether it was.
static bool signal_one(const relative *r, int signal)
{
    relative now;
    int fd = (int)syscall(SYS_pidfd_open, r->pid, 0);
    bool is = read_one(r->pid, &now) && now.born == r->born;
    if (is && (fd < 0 || syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0) != 0))
        is = (fd < 0 || is_refused(errno)) && kill(r->pid, signal) == 0;
    if (fd >= 0)
        uncancelled(close, fd);
    return is;
}

void weft::family_signal(const family *f, int signal)
{
    int saved = errno;
    for (size_t i = 0; i < f->count; i++)
        signal_one(&f->members[i], signal);
    errno = saved;
}

void weft::family_stop(family *f)
{
    int saved = errno;
    weft_deadline by = f->patience != 0 ? f->patience : weft_in_ms(PATIENCE_MS);
    weft_deadline runs_by = weft_in_ms(RUNS_MS);
    for (bool some = true, runs = true, first = true;
         some && (weft_left(by) > 0 || (runs && weft_left(runs_by) > 0)); first = false) {
        some = runs = false;
        family_look(f);
        for (size_t i = 0; i < f->count; i++)
            if (strchr("Tt", f->members[i].state) == nullptr) {
                some = true;
                runs |= signal_one(&f->members[i], SIGSTOP) && f->members[i].state != 'D';
            }
        if (some && !first) // who has been told stops at once, unless it waits for a disk
            uncancelled(poll, nullptr, 0, 1);
    }
    errno = saved;
}

void weft::family_free(family *f)
{
    free_keep_errno(f->members);
    *f = {};
}
