// chat.cc: a chat server for nc(1), one tasklet a user.
//
// A user's tasklet writes to all others itself and never waits for them: a user whose socket is
// full does not read, and is dropped.  Nothing interrupts a tasklet between two waits, so the list
// of users needs no lock.
#include "listen.h"

struct chat_user {
    chat_user *next;
    int fd;
    bool dropped;
    char name[32];
};

static chat_user *chat_users;
static long chat_lines, chat_dropped;

static void chat_tell(const chat_user *except, const char *line, size_t n)
{
    for (chat_user *u = chat_users; u != nullptr; u = u->next) {
        if (u == except || u->dropped || weft_io_write(u->fd, line, n, WEFT_NOW) == (ssize_t)n)
            continue;
        weft_io_shutdown(u->fd, SHUT_RDWR); // its read ends, and so does its tasklet
        u->dropped = true;
        chat_dropped++;
    }
}

static void chat_say(const chat_user *from, const char *format, const char *text, int n)
{
    char line[1100];
    int size = snprintf(line, sizeof line, format, from->name, n, text);
    chat_tell(from, line, (size_t)size);
    chat_lines++;
}

static void chat_leave(chat_user *me)
{
    chat_user **at = &chat_users;
    while (*at != me)
        at = &(*at)->next;
    *at = me->next;
    chat_say(me, "* %s left%.*s\n", "", 0);
}

static void chat(int fd, void *)
{
    static const char prompt[] = "your name? ";
    char memory[1024], *line;
    weft_io_buffer b = {memory, sizeof memory, 0, 0};
    chat_user me = {chat_users, fd, false, ""};
    weft_io_write(fd, prompt, sizeof prompt - 1, weft_in_s(10));
    ssize_t n = weft_io_read_until(fd, &b, "\n", 1, &line, weft_in_s(60));
    if (n <= 1)
        return;
    while (n > 0 && strchr("\r\n", line[n - 1]) != nullptr)
        n--;
    snprintf(me.name, sizeof me.name, "%.*s", (int)n, line);
    me.next = chat_users;
    chat_users = &me;
    chat_say(&me, "* %s is here%.*s\n", "", 0);
    while ((n = weft_io_read_until(fd, &b, "\n", 1, &line, WEFT_FOREVER)) > 0)
        chat_say(&me, "%s: %.*s\n", line, (int)(n - (line[n - 1] == '\n')));
    chat_leave(&me);
}

static int run(int argc, char **argv)
{
    const char *where = "127.0.0.1:7777";
    while (options_next(argc, argv, "+:hl:", nullptr) != -1)
        where = optarg;
    if (optind < argc)
        options_bad("unexpected", argv[optind]);
    int failed = serve_at(where, 0, chat);
    printf("%ld lines, %ld slow readers dropped\n", chat_lines, chat_dropped);
    return options_finish(failed);
}

extern const verb verb_chat = {"chat", "[-l host:port]",
                               "says to all what one says, line by line: nc 127.0.0.1 7777\n", run};
