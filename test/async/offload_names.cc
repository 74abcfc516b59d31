// Look-ups that hang: they hold up no others.
#include <weft/offload.h>

#include "inside.h"
#include "libc_names.h"

#include <async/job.h>
#include <dirent.h>
#include <dlfcn.h>
#include <initializer_list>
#include <netdb.h>
#include <pthread.h>

enum { HANGING = 70 }; // more than there can be threads

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int hanging, open_gates;

static void hang(void)
{
    pthread_mutex_lock(&lock);
    hanging++;
    while (!open_gates)
        pthread_cond_wait(&changed, &lock);
    hanging--;
    pthread_mutex_unlock(&lock);
}

static void let_go(int gates)
{
    pthread_mutex_lock(&lock);
    open_gates = gates;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int how_many_hang(void)
{
    pthread_mutex_lock(&lock);
    int n = hanging;
    pthread_mutex_unlock(&lock);
    return n;
}

// In the place of libc's: servers that do not answer, one that does.
extern "C" int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                           struct addrinfo **list)
{
    if (is_name(name, hints)) {
        if (strncmp(name, "hang", 4) == 0)
            hang();
        name = "127.0.0.1";
    }
    return libc_getaddrinfo(name, service, hints, list);
}

// And of the name of 192.0.2.1.
extern "C" int getnameinfo(const struct sockaddr *address, socklen_t size, char *host,
                           socklen_t host_room, char *service, socklen_t service_room, int flags)
{
    typedef int look_up(const struct sockaddr *, socklen_t, char *, socklen_t, char *, socklen_t,
                        int);
    static look_up *real;
    if (real == nullptr)
        real = (look_up *)dlsym(RTLD_NEXT, "getnameinfo");
    int code = real(address, size, host, host_room, service, service_room,
                    flags | NI_NUMERICHOST | NI_NUMERICSERV);
    if (flags & NI_NUMERICHOST || code != 0)
        return code;
    if (strcmp(host, "192.0.2.1") == 0)
        hang();
    if (flags & NI_NAMEREQD)
        return EAI_NONAME;
    if (host_room < sizeof "peer.test")
        return EAI_OVERFLOW;
    strcpy(host, "peer.test");
    return 0;
}

static int look_up(const char *name, weft_deadline d)
{
    struct addrinfo *list, hints = {};
    hints.ai_socktype = SOCK_STREAM;
    if (weft_offload_getaddrinfo(name, "80", &hints, &list, nullptr, d) != 0)
        return -1;
    freeaddrinfo(list);
    return 0;
}

static void hang_for(weft_deadline d, int n)
{
    static weft_deadline until;
    until = d;
    for (int i = 0; i < n; i++)
        spawn([] { look_up("hangs", until); });
}

static void await_hanging(int n)
{
    while (how_many_hang() != n)
        weft_tasklet_sleep(weft_in_us(500));
}

// Callers that still wait, then such as have given up.
INSIDE_CASE(test_names_beside_some_that_hang)
{
    let_go(0);
    hang_for(WEFT_FOREVER, 10);
    await_hanging(10);
    assert_int_equal(look_up("answered", WEFT_FOREVER), 0);
    for (int i = 0; i < 10; i++)
        assert_errno(look_up("hangs too", weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(look_up("answered", WEFT_FOREVER), 0);
    let_go(1);
    await_hanging(0);
}

// Beyond what threads there may be: those that need no server are answered.
INSIDE_CASE(test_near_names_beside_many_that_hang)
{
    char path[] = "/tmp/weft-names-XXXXXX";
    int fd = mkstemp(path);
    const char lines[] = "# 1.2.3.4 hangs\n127.0.0.1\tnear  weft.near # far\n::1 six\n\nodd";
    assert_int_equal(write(fd, lines, sizeof lines - 1), sizeof lines - 1);
    close(fd);
    weft::names_file = path;
    let_go(0);
    hang_for(weft_in_s(30), HANGING);
    await_hanging(64);
    for (const char *name : {"near", "weft.NEAR", "six", "localhost", "127.0.0.1"})
        assert_int_equal(look_up(name, WEFT_FOREVER), 0);
    assert_errno(look_up("far", weft_in_ms(5)), ETIMEDOUT);
    let_go(1);
    assert_int_equal(look_up("far", WEFT_FOREVER), 0);
    unlink(path);
}

static char peer[64], port[16];

static int name_of(in_addr_t address, int flags, int *code, weft_deadline d,
                   socklen_t room = sizeof peer)
{
    struct sockaddr_in a = {};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(address);
    a.sin_port = htons(7777);
    memset(peer, 0, sizeof peer);
    memset(port, 0, sizeof port);
    return weft_offload_getnameinfo((struct sockaddr *)&a, sizeof a, peer, room, port, sizeof port,
                                    flags, code, d);
}

INSIDE_CASE(test_names_of_addresses)
{
    const in_addr_t slow = 0xc0000201;
    int code = 1;
    let_go(0);
    errno = 77;
    assert_int_equal(name_of(INADDR_LOOPBACK, 0, &code, WEFT_FOREVER), 0);
    assert_int_equal(errno, 77);
    assert_int_equal(code, 0);
    assert_string_equal(peer, "peer.test");
    assert_string_equal(port, "7777");
    // Numbers are written at once.
    assert_int_equal(name_of(slow, NI_NUMERICHOST | NI_NUMERICSERV, NULL, WEFT_NOW), 0);
    assert_string_equal(peer, "192.0.2.1");
    assert_errno(name_of(slow, 0, &code, weft_in_ms(2)), ETIMEDOUT);
    assert_int_equal(code, 0);
    assert_errno(name_of(INADDR_LOOPBACK, NI_NAMEREQD, &code, WEFT_FOREVER), ENOENT);
    assert_int_equal(code, EAI_NONAME);
    assert_errno(name_of(INADDR_LOOPBACK, 0, &code, WEFT_FOREVER, 5), ENOBUFS);
    assert_errno(weft_offload_getnameinfo(NULL, 0, peer, 9, NULL, 0, 0, NULL, WEFT_NOW), EINVAL);
    let_go(1);
    await_hanging(0);
    assert_int_equal(name_of(slow, 0, &code, WEFT_FOREVER), 0);
    assert_string_equal(peer, "peer.test");
}

// Threads of the pool, as the system counts them.
static int threads(void)
{
    char path[300], name[32];
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *t; (t = readdir(tasks)) != nullptr;) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", t->d_name);
        FILE *f = fopen(path, "re");
        n += f != nullptr && fgets(name, sizeof name, f) != nullptr &&
             strcmp(name, "weft-names\n") == 0;
        if (f != nullptr)
            fclose(f);
    }
    closedir(tasks);
    return n;
}

// They can hang again and again; those that were too many end.
INSIDE_CASE(test_threads_go_again)
{
    let_go(1);
    assert_int_equal(weft_offload_set_threads(WEFT_OFFLOAD_NAMES, 2), 0);
    assert_int_equal(look_up("answered", WEFT_FOREVER), 0);
    await_hanging(0);
    for (int i = 0; i < 3; i++) {
        let_go(0);
        hang_for(WEFT_FOREVER, 8);
        await_hanging(8);
        let_go(1);
        await_hanging(0);
        assert_int_equal(look_up("answered", WEFT_FOREVER), 0);
        while (threads() > 2)
            weft_tasklet_sleep(weft_in_us(500));
    }
    assert_int_equal(weft_offload_set_threads(WEFT_OFFLOAD_NAMES, 2), 0); // it joins them
}

RUN_CASES()
