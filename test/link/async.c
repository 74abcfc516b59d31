/* A program against the installed event loop: a pipe, an alarm, a signal, a post. */
#include <weft/loop.h>

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static int seen;

static void on_read(weft_watch *w, int events, void *arg)
{
    char c;
    (void)arg;
    if ((events & WEFT_READ) && read(w->fd, &c, 1) == 1)
        seen++;
    weft_loop_unwatch(w);
}

static void on_alarm(weft_alarm *a, void *arg)
{
    seen += arg == &seen && a->arg == arg;
    raise(SIGUSR1);
}

static void on_signal(weft_signal *s, void *arg)
{
    (void)arg;
    seen++;
    weft_loop_unwatch_signal(s);
}

static void on_post(weft_task *t, void *arg)
{
    (void)t, (void)arg;
    seen++;
}

int main(void)
{
    weft_loop *l = weft_loop_create(NULL);
    static weft_watch w;
    static weft_alarm a;
    static weft_signal s;
    static weft_task t;
    int p[2];

    t.fn = on_post;
    if (l == NULL || pipe(p) != 0 || write(p[1], "x", 1) != 1)
        return 1;
    if (weft_loop_watch(l, &w, p[0], WEFT_READ, on_read, NULL) != 0 ||
        weft_loop_arm(l, &a, 0, on_alarm, &seen, weft_in_ms(1)) != 0 ||
        weft_loop_watch_signal(l, &s, SIGUSR1, on_signal, NULL) != 0 || weft_loop_post(l, &t) != 0)
        return 1;
    if (weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)) != 0 || seen != 4)
        return 1;
    return weft_loop_destroy(l);
}
