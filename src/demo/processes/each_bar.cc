// each_bar.cc: how far `each` is, in one line on a terminal.
#include "each.h"

#include <weft/sync.h>

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static weft_mutex lock = WEFT_MUTEX_INIT; // guards standard error and these
static bool seen;
static size_t (*total)(void);
static size_t running, ended, failed;
static int64_t began;

void bar_begin(size_t (*how_many)(void))
{
    seen = isatty(2);
    total = how_many;
    began = weft_now();
}

static int describe(char *text, size_t size, size_t all)
{
    double seconds = (double)(weft_now() - began) / 1e9, rate = (double)ended / seconds;
    int n = all > 0 ? snprintf(text, size, "%zu/%zu, ", ended, all)
                    : snprintf(text, size, "%zu done, ", ended);
    n += snprintf(text + n, size - (size_t)n, "%zu running, %zu failed, %.1f/s", running, failed,
                  rate);
    if (all > 0 && ended > 0)
        n += snprintf(text + n, size - (size_t)n, ", %.0f s left", (double)(all - ended) / rate);
    return n;
}

static void draw(void)
{
    struct winsize w;
    char text[160];
    if (!seen)
        return;
    int columns = ioctl(2, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
    size_t all = total();
    int n = describe(text, sizeof text, all);
    int width = columns - 4 - n < 40 ? columns - 4 - n : 40; // the last column stays free
    if (width > 0 && all > 0)
        fprintf(stderr, "\r[%-*.*s] %s\033[K", width, (int)(ended * (size_t)width / all),
                "########################################", text);
    else
        fprintf(stderr, "\r%.*s\033[K", columns - 1, text);
    fflush(stderr);
}

void bar_hide(void)
{
    weft_mutex_lock(&lock, WEFT_FOREVER);
    if (seen)
        fputs("\r\033[K", stderr);
}

void bar_show(void)
{
    draw();
    weft_mutex_unlock(&lock);
}

void bar_end(void)
{
    bar_hide();
    seen = false;
    bar_show();
}

void bar_redraw(void)
{
    weft_mutex_lock(&lock, WEFT_FOREVER);
    draw();
    weft_mutex_unlock(&lock);
}

void bar_starts(void)
{
    weft_mutex_lock(&lock, WEFT_FOREVER);
    running++;
    draw();
    weft_mutex_unlock(&lock);
}

void bar_ends(bool again, bool fault)
{
    weft_mutex_lock(&lock, WEFT_FOREVER);
    running -= !again;
    ended += !again;
    failed += fault && !again;
    draw();
    weft_mutex_unlock(&lock);
}
