// holder.cc: a process as one word.
//
// Whether it lives is asked of a pidfd, which says so also of a process whose first thread has
// ended before the others, and which a zombie makes readable; the start time comes
// from /proc.  Without /proc it is 0, and the id alone counts.  Where a sandbox refuses a pidfd,
// with any errno, /proc tells both.  Without a free descriptor a dead one lives until it is reaped.
//
// It is asked with a brief lock held: a thread must not be cancelled in there.
//
// The own word is kept in a page that a fork wipes in the child (MADV_WIPEONFORK), so asking
// for it is one load.
#include "holder.h"

#include <base/errno.h>
#include <base/number.h>
#include <base/wiped.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

using namespace weft;

static const uint64_t ID = ((uint64_t)1 << 24) - 1;

namespace {
struct stat_line {
    uint64_t start; // in clock ticks since boot; 0: it can't be read
    bool ended;     // a zombie, and not only its first thread
};
} // namespace

// Fields 3, 20 and 22 of /proc/ID/stat: state, threads, start.
static stat_line look_up(int id)
{
    char text[512], *p = stpcpy(text, "/proc/");
    strcpy(p + number_print(p, id), "/stat");
    int fd = uncancelled(open, text, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? uncancelled(read, fd, text, sizeof text - 1) : 0;
    close_keep_errno(&fd);
    text[n > 0 ? n : 0] = 0;
    p = strrchr(text, ')'); // the name before it may hold anything
    if (p == nullptr || p[1] == 0)
        return {0, false};
    bool ended = p[2] == 'Z' || p[2] == 'X';
    for (int field = 2; p != nullptr && field < 22; field++) {
        p = strchr(p + 1, ' ');
        if (field == 19 && p != nullptr && strtol(p, nullptr, 10) > 1)
            ended = false;
    }
    return {p != nullptr ? strtoull(p + 1, nullptr, 10) & (~(uint64_t)0 >> 25) : 0, ended};
}

uint64_t *weft::holder_page; // wiped on fork

static uint64_t *wiped_page(void)
{
    uint64_t *page = __atomic_load_n(&holder_page, __ATOMIC_ACQUIRE);
    if (page != nullptr)
        return page;
    uint64_t *made = (uint64_t *)wiped_make();
    if (made == nullptr || __atomic_compare_exchange_n(&holder_page, &page, made, false,
                                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return made;
    wiped_free(made); // another thread was first
    return page;
}

uint64_t weft::holder_self(void)
{
    uint64_t who = holder_known();
    if (who != 0)
        return who;
    int saved = errno, id = getpid();
    who = look_up(id).start << 24 | (uint64_t)id;
    uint64_t *page = wiped_page();
    if (page != nullptr)
        __atomic_store_n(page, who, __ATOMIC_RELAXED);
    errno = saved;
    return who;
}

bool weft::holder_lives(uint64_t who)
{
    if (who == holder_self())
        return true;
    int saved = errno, id = (int)(who & ID);
    int fd = (int)syscall(SYS_pidfd_open, id, 0);
    bool lives = fd >= 0 || (errno != ESRCH && (kill(id, 0) == 0 || errno != ESRCH));
    if (lives) {
        struct pollfd p = {fd, POLLIN, 0};
        stat_line now = look_up(id);
        lives = (fd >= 0 ? uncancelled(poll, &p, 1, 0) != 1 : !now.ended) &&
                (now.start == 0 || who >> 24 == 0 || now.start == who >> 24);
    }
    close_keep_errno(&fd);
    errno = saved;
    return lives;
}
