// remote.cc: see remote.h.
#include "remote.h"

#include <err.h>

// One that would be cut short, and so be another password, is refused.
void remote_read_password(const char *file, remote_order *o)
{
    char *line = nullptr;
    size_t room = 0;
    FILE *f = fopen(file, "re");
    if (f == nullptr)
        err(1, "%s", file);
    ssize_t n = getline(&line, &room, f);
    if (n > 0 && line[n - 1] == '\n')
        line[--n] = 0;
    if (n <= 0)
        errx(1, "%s: there is no password in it", file);
    if (strlen(line) != (size_t)n || (size_t)n >= sizeof o->password)
        errx(1, "%s: a password has at most %zu bytes, and none is 0", file,
             sizeof o->password - 1);
    memcpy(o->password, line, (size_t)n + 1);
    o->has_password = true;
    free(line);
    fclose(f);
}

static size_t read_size(const char *text)
{
    static const char units[] = "kmg";
    char *unit;
    errno = 0;
    unsigned long long n = strtoull(text, &unit, 10);
    const char *known = *unit != 0 ? strchr(units, *unit | 0x20) : nullptr;
    int shift = known != nullptr ? 10 * (int)(known - units + 1) : 0;
    if (errno != 0 || *text < '1' || *text > '9' ||
        (*unit != 0 && (known == nullptr || unit[1] != 0)) || n > SIZE_MAX >> shift)
        options_bad("not a size", text);
    return (size_t)n << shift;
}

weft_client *remote_connect(const remote_order *o)
{
    weft_client *c =
        weft_client_connect(o->address, o->has_password ? o->password : nullptr, o->end);
    if (c == nullptr)
        err(1, "%s", o->address);
    return c;
}

void remote_warn(const char *what, const weft_remote *r)
{
    bool says_more = errno == EPROTO || errno == ENOTCONN || errno == ECONNRESET || errno == EAGAIN;
    const char *more = says_more ? weft_client_error(weft_remote_client(r)) : "";
    warnx("%s: %s%s%s", what, errno == ETIMEDOUT ? "out of time" : strerror(errno),
          *more != 0 ? ": " : "", more);
}

int remote_failed(const char *what, weft_remote *r)
{
    weft_client *c = weft_remote_client(r);
    remote_warn(what, r);
    weft_remote_destroy(r);
    weft_client_destroy(c);
    return 1;
}

remote_order remote_read_options(int argc, char **argv, const char *shorts)
{
    static const option longs[] = {option_flag("help", 'h'),
                                   option_with("password-file", 'p'),
                                   option_with("max-memory", 'm'),
                                   option_with("save", 's'),
                                   option_with("metrics", 'M'),
                                   option_with("web", 'W'),
                                   {}};
    remote_order o = {};
    o.count = 1;
    o.end = WEFT_FOREVER;
    for (int c; (c = options_next(argc, argv, shorts, longs)) != -1;) {
        if (c == 'l')
            o.address = optarg;
        else if (c == 'p')
            remote_read_password(o.password_file = optarg, &o);
        else if (c == 'm')
            o.memory = read_size(optarg);
        else if (c == 's')
            o.save = optarg;
        else if (c == 'M')
            o.metrics = optarg;
        else if (c == 'W')
            o.web = optarg;
        else if (c == 'n')
            o.count = options_number(optarg, 1, LONG_MAX);
        else if (c == 'c')
            o.capacity = options_number(optarg, 1, LONG_MAX);
        else
            o.end = weft_in_ns(options_seconds(optarg));
    }
    return o;
}

char **remote_read_arguments(remote_order *o, int argc, char **argv, int least, int most,
                             const char *verb, const char *needs)
{
    int n = argc - optind;
    if (n < least || (most >= 0 && n > most))
        options_bad(verb, needs);
    o->address = argv[optind];
    o->name = argv[optind + 1];
    return argv + optind + 2;
}
