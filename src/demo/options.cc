// options.cc: how the demos find their verb and read their command lines.
#include "verbs.h"

#include <fcntl.h>

static const char *program;
static const verb *current; // the verb that runs
static const verb *const *all;
static size_t count;

static void print_usage(const verb *v, const char *before, const char *name)
{
    bool by_default = v == all[0] && current == nullptr && *v->name != 0;
    printf("%s %s%s%s%s%s%s%s\n", before, name, *v->name != 0 ? " " : "", by_default ? "[" : "",
           v->name, by_default ? "]" : "", *v->arguments != 0 ? " " : "", v->arguments);
}

// Its lines behind its name, in a column.
static void print_what(const verb *v)
{
    char name[16];
    snprintf(name, sizeof name, "%s:", *v->name != 0 ? v->name : "alone");
    for (const char *line = v->what, *end; (end = strchr(line, '\n')) != nullptr; line = end + 1)
        printf("%-11s%.*s\n", line == v->what ? name : "", (int)(end - line), line);
}

[[noreturn]] static void usage(void)
{
    const char *slash = strrchr(program, '/'), *name = slash != nullptr ? slash + 1 : program;
    if (current != nullptr) {
        print_usage(current, "usage:", name);
        fputs(current->what, stdout);
        exit(options_finish(0));
    }
    for (size_t i = 0; i < count; i++)
        print_usage(all[i], i == 0 ? "usage:" : "      ", name);
    for (size_t i = 0; i < count; i++)
        print_what(all[i]);
    exit(options_finish(0));
}

void options_bad(const char *what, const char *which)
{
    fprintf(stderr, "%s: %s: %s (-h shows the usage)\n", program, what, which);
    exit(2);
}

void options_fail(const char *what)
{
    perror(what);
    exit(1);
}

long options_number(const char *text, long least, long most)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != 0)
        options_bad("not a number", text);
    if (n < least || n > most) {
        fprintf(stderr, "%s: %s is not between %ld and %ld (-h shows the usage)\n", program, text,
                least, most);
        exit(2);
    }
    return n;
}

int64_t options_seconds(const char *text)
{
    static const struct {
        char name;
        double seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}}; // timeout(1)'s
    char *end;
    double seconds = strtod(text, &end);
    for (const auto &unit : units)
        if (end != text && end[0] == unit.name && end[1] == 0) {
            seconds *= unit.seconds;
            end++;
            break;
        }
    if (end == text || *end != 0 || !(seconds >= 0 && seconds <= 1e6))
        options_bad("not a number of seconds, up to a million", text);
    return (int64_t)(seconds * 1e9);
}

int options_next(int argc, char **argv, const char *shorts, const struct option *longs)
{
    static const option none[] = {{"help", no_argument, nullptr, 'h'}, {}};
    opterr = 0; // messages of our own, so that they are one line
    int c = getopt_long(argc, argv, shorts, longs != nullptr ? longs : none, nullptr);
    if (c == 'h')
        usage();
    if (c == ':')
        options_bad("needs a value", argv[optind - 1]);
    if (c == '?')
        options_bad("unknown option", argv[optind - 1]);
    return c;
}

char **options_none(int argc, char **argv, int least, int most, const char *what)
{
    while (options_next(argc, argv, "+:h", nullptr) != -1)
        ;
    if (argc - optind < least)
        options_bad(current->name, what);
    if (most >= 0 && argc - optind > most)
        options_bad("unexpected", argv[optind + most]);
    return argv + optind;
}

long options_count(int argc, char **argv, long usual, long least, long most)
{
    long n = usual;
    while (options_next(argc, argv, "+:hn:", nullptr) != -1)
        n = options_number(optarg, least, most);
    if (optind < argc)
        options_bad("unexpected", argv[optind]);
    return n;
}

int options_finish(int status)
{
    errno = 0; // an error before this flush has been forgotten
    if (fflush(stdout) != 0 || ferror(stdout)) {
        const char *why = errno != 0 ? strerror(errno) : "not all was written";
        fprintf(stderr, "%s: standard output: %s\n", program, why);
        return 1;
    }
    return status;
}

// What is closed of the first three is taken, or a socket would get what is printed.  Each the
// wrong way round, so that it still fails.
static void take_first_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", O_CLOEXEC | (fd == 0 ? O_WRONLY : O_RDONLY));
}

int demo_main(int argc, char **argv, const verb *const verbs[], size_t n)
{
    take_first_descriptors();
    program = argv[0];
    all = verbs;
    count = n;
    bool given = argc > 1 && argv[1][0] != '-';
    if (!given && argc > 1 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0))
        usage();
    current = given ? nullptr : verbs[0];
    for (size_t i = 0; given && i < n; i++)
        if (strcmp(argv[1], verbs[i]->name) == 0)
            current = verbs[i];
    if (current == nullptr)
        options_bad("unknown verb", argv[1]);
    if (given) {
        argv[1] = argv[0];
        argc--;
        argv++;
    }
    return current->run(argc, argv);
}
