// count.cc: `weft-threads count`: files counted in parallel, as wc(1) counts them.
//
// A word is what stands between white space (POSIX), bytes that are no character included; what is
// white is the locale's say.  GNU's wc before 9.5 leaves out words with nothing printable.
#include "../verbs.h"

#include <weft/executor.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

struct text_counts {
    long long lines, words, bytes;
    bool in_word;
    mbstate_t state;
};

static bool is_white(wchar_t c)
{
    // The no-break spaces too, though iswspace denies them.
    return iswspace((wint_t)c) || c == 0xa0 || c == 0x2007 || c == 0x202f || c == 0x2060;
}

static void count_character(text_counts *t, bool white)
{
    t->words += !white && !t->in_word;
    t->in_word = !white;
}

// Adds a piece of text; a character may go on in the next piece.
static void count_text(text_counts *t, const char *text, size_t n)
{
    t->bytes += (long long)n;
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x80 && mbsinit(&t->state)) {
            t->lines += c == '\n';
            count_character(t, isspace(c) != 0);
            i++;
            continue;
        }
        wchar_t wide;
        size_t used = mbrtowc(&wide, text + i, n - i, &t->state);
        if (used == (size_t)-2)
            return;
        if (used == (size_t)-1) {
            memset(&t->state, 0, sizeof t->state);
            count_character(t, false);
            i++;
            continue;
        }
        count_character(t, is_white(wide));
        i += used == 0 ? 1 : used;
    }
}

struct counted_file {
    const char *name;
    text_counts counts;
    int error;
};

static void count_file(size_t i, void *arg)
{
    counted_file *f = (counted_file *)arg + i;
    static const size_t piece = 1 << 17;
    char *text = (char *)malloc(piece);
    int fd = open(f->name, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    while (text != nullptr && fd >= 0 && (n = read(fd, text, piece)) > 0)
        count_text(&f->counts, text, (size_t)n);
    f->error = n < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    free(text);
}

// As wide as the sum of the files' sizes, and at least 7 where one has no size: wc's rule.
static int column_width(char **names, int n)
{
    long long total = 0;
    int width = 1, least = 1;
    for (int i = 0; i < n; i++) {
        struct stat s;
        if (stat(names[i], &s) != 0)
            continue;
        total += S_ISREG(s.st_mode) ? s.st_size : 0;
        least = S_ISREG(s.st_mode) ? least : 7;
    }
    for (; total >= 10; total /= 10)
        width++;
    return width > least ? width : least;
}

static void print_counts(int width, const text_counts *c, const char *name)
{
    printf("%*lld %*lld %*lld %s\n", width, c->lines, width, c->words, width, c->bytes, name);
}

static int count(char **names, int n)
{
    counted_file *files = (counted_file *)calloc((size_t)n, sizeof *files);
    weft_executor *ex = weft_executor_create(0, nullptr);
    if (files == nullptr || ex == nullptr)
        options_fail("weft-threads: count");
    for (int i = 0; i < n; i++)
        files[i].name = names[i];
    int width = column_width(names, n), failed = 0;
    weft_executor_map(ex, count_file, files, (size_t)n, WEFT_FOREVER);
    weft_executor_destroy(ex);
    text_counts total = {};
    for (int i = 0; i < n; i++) {
        if (files[i].error != 0) {
            fprintf(stderr, "weft-threads: %s: %s\n", names[i], strerror(files[i].error));
            failed = 1;
        }
        if (files[i].error == 0 || files[i].error == EISDIR)
            print_counts(width, &files[i].counts, names[i]);
        total.lines += files[i].counts.lines;
        total.words += files[i].counts.words;
        total.bytes += files[i].counts.bytes;
    }
    if (n > 1)
        print_counts(width, &total, "total");
    free(files);
    return failed;
}

static int run(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    char **names = options_none(argc, argv, 1, -1, "needs FILE...");
    return options_finish(count(names, argc - optind));
}

extern const verb verb_count = {"count", "FILE...", "lines, words and bytes of files, as wc(1)\n",
                                run};
