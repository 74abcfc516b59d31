// cgroup.cc: folders and files below /sys/fs/cgroup.
#include "cgroup.h"

#include <base/above_streams.h>

#include <dirent.h>
#include <ftw.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

using namespace weft;

// The path of the group that we are in, as the line "0::/path" tells; null: none.
static const char *read_own(char *text, size_t size)
{
    int fd = uncancelled(open, "/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? uncancelled(read, fd, text, size - 1) : 0;
    close_keep_errno(&fd);
    text[n > 0 ? n : 0] = 0;
    char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    char *path = line != nullptr ? strchr(line, '/') : nullptr;
    if (path != nullptr)
        path[strcspn(path, "\n")] = 0;
    return path;
}

// systemd says so in one of these, and so do others.
static bool is_delegated(const char *path)
{
    char value = 0;
    return (getxattr(path, "trusted.delegate", &value, 1) == 1 && value == '1') ||
           (getxattr(path, "user.delegate", &value, 1) == 1 && value == '1');
}

// Where version 2 alone is mounted, or beside version 1.
static bool find_own(char *path, size_t size)
{
    static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char text[4096];
    struct statfs s;
    const char *own = read_own(text, sizeof text);
    for (const char *root : roots)
        if (own != nullptr && statfs(root, &s) == 0 && s.f_type == CGROUP2_SUPER_MAGIC)
            return snprintf(path, size, "%s%s", root, own) < (int)size && is_delegated(path);
    return false;
}

// Those of wardens that were killed.  One that somebody is in stays, and so does one that was just
// made, unless by a warden whose number nobody has here: that one does without.
static void remove_left(const char *folder)
{
    char path[4096 + 32];
    DIR *d = opendir(folder);
    for (struct dirent *e; d != nullptr && (e = readdir(d)) != nullptr;) {
        int pid = strncmp(e->d_name, "weft-", 5) == 0 ? atoi(e->d_name + 5) : 0;
        if (pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH)
            continue;
        snprintf(path, sizeof path, "%s/weft-%d", folder, pid);
        rmdir(path);
    }
    if (d != nullptr)
        closedir(d);
}

void weft::cgroup_make(cgroup *g)
{
    const size_t room = sizeof g->path - 64;
    g->folder = -1;
    if (!find_own(g->path, room)) {
        *g->path = 0;
        return;
    }
    remove_left(g->path);
    snprintf(g->path + strlen(g->path), 32, "/weft-%d", (int)getpid());
    rmdir(g->path); // of one that had our number
    if (mkdir(g->path, 0755) != 0)
        *g->path = 0; // nothing of ours is there
    else
        g->folder = above_streams(uncancelled(open, g->path, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (g->folder >= 0 && faccessat(g->folder, "cgroup.kill", W_OK, 0) == 0) // Linux 5.14
        return;
    close_keep_errno(&g->folder);
    cgroup_remove(g);
}

void weft::cgroup_kill(const cgroup *g)
{
    char file[sizeof g->path + 16];
    if (*g->path == 0)
        return;
    snprintf(file, sizeof file, "%s/cgroup.kill", g->path);
    int fd = uncancelled(open, file, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || uncancelled(write, fd, "1", 1) != 1) {
        // Then they are ended one by one.
    }
    close_keep_errno(&fd);
}

static int remove_one(const char *path, const struct stat *, int type, struct FTW *)
{
    if (type == FTW_DP)
        rmdir(path);
    return 0;
}

void weft::cgroup_remove(cgroup *g)
{
    enum { FOLDERS = 8 }; // open at a time
    if (*g->path != 0 && rmdir(g->path) != 0)
        nftw(g->path, remove_one, FOLDERS, FTW_DEPTH | FTW_PHYS); // with those that they made in it
    *g->path = 0;
}
