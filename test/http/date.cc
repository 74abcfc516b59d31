// Dates of HTTP: libc as the judge of those that are written, tables for those that are read.
#include "../runner.h"

#include <http/date.h>

using namespace weft;

static const int64_t NOW = 1796133600; // 1 Dec 2026, 14:00

CASE(test_date_print)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } rows[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {-1, "Wed, 31 Dec 1969 23:59:59 GMT"},
        {951782399, "Mon, 28 Feb 2000 23:59:59 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {951868800, "Wed, 01 Mar 2000 00:00:00 GMT"},
        {2147483648, "Tue, 19 Jan 2038 03:14:08 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {253402300800, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {-62167219200, "Sat, 01 Jan 0000 00:00:00 GMT"},
        {INT64_MIN, "Sat, 01 Jan 0000 00:00:00 GMT"},
    };
    for (const auto &r : rows) {
        char text[DATE_ROOM];
        date_print(text, r.seconds);
        assert_string_equal(text, r.text);
    }
}

// Each day of 800 years, and seconds of it.
CASE(test_date_as_libc)
{
    for (int64_t day = -146097; day < 146097; day++) {
        time_t t = (time_t)(day * 86400 + (day * 7919 % 86400 + 86400) % 86400);
        struct tm tm;
        char text[DATE_ROOM], expected[64];
        int64_t back = 0;
        gmtime_r(&t, &tm);
        strftime(expected, sizeof expected, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        date_print(text, t);
        if (strcmp(text, expected) != 0 || !date_parse(text, DATE_SIZE, NOW, &back) || back != t)
            fail_msg("%lld: %s is not %s", (long long)t, text, expected);
        strftime(expected, sizeof expected, "%a %b %e %H:%M:%S %Y", &tm);
        if (!date_parse(expected, strlen(expected), NOW, &back) || back != t)
            fail_msg("%lld: %s", (long long)t, expected);
    }
}

static void check(const char *text, int64_t expected)
{
    int64_t seconds = -99;
    if (!date_parse(text, strlen(text), NOW, &seconds) || seconds != expected)
        fail_msg("%s gives %lld", text, (long long)seconds);
}

CASE(test_date_parse_forms)
{
    check("Sun, 06 Nov 1994 08:49:37 GMT", 784111777);
    check("Sunday, 06-Nov-94 08:49:37 GMT", 784111777);
    check("Sun Nov  6 08:49:37 1994", 784111777);
    check("Wed Nov 16 08:49:37 1994", 784975777);
    check("Wednesday, 16-Nov-94 08:49:37 GMT", 784975777);
    check("Tue, 29 Feb 2000 00:00:00 GMT", 951782400);
    check("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800); // a leap second
    check("Mon, 06 Nov 1994 08:49:37 GMT", 784111777);  // it was a Sunday
}

// At most 50 years from now, else of the century before.
CASE(test_date_parse_two_digits)
{
    check("Tuesday, 01-Dec-26 14:00:00 GMT", NOW);
    check("Tuesday, 01-Dec-76 14:00:00 GMT", 3374056800); // 2076
    check("Tuesday, 01-Dec-76 14:00:01 GMT", 218296801);  // 1976
    check("Thursday, 01-Jan-70 00:00:00 GMT", 3155760000);
    check("Saturday, 01-Jan-00 00:00:00 GMT", 946684800);
    check("Friday, 31-Dec-99 23:59:59 GMT", 946684799);
}

CASE(test_date_parse_refused)
{
    static const char *const texts[] = {
        "",
        "0",
        "784111777",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Son, 06 Nov 1994 08:49:37 GMT",
        "Sun,06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nox 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, 29 Feb 2023 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06 Nov 94 08:49:37 GMT",
        "Sundax, 06-Nov-94 08:49:37 GMT",
        "Sunday 06-Nov-94 08:49:37 GMT",
        "Sun Nov 06 08:49:37 1994 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  0 08:49:37 1994",
        "Sun Nov  6 08:49:37 94",
    };
    for (const char *text : texts) {
        int64_t seconds = -99;
        if (date_parse(text, strlen(text), NOW, &seconds))
            fail_msg("%s is taken", text);
        assert_int_equal(seconds, -99);
    }
}

// Each text cut short is none, and is not read beyond its end.
CASE(test_date_parse_cut)
{
    static const char *const texts[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                        "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    for (const char *text : texts)
        for (size_t n = 0; n < strlen(text); n++) {
            int64_t seconds;
            char *copy = (char *)malloc(n + 1);
            memcpy(copy, text, n);
            copy = (char *)realloc(copy, n > 0 ? n : 1);
            assert_false(date_parse(copy, n, NOW, &seconds));
            free(copy);
        }
}

CASE(test_date_print_log)
{
    static const struct {
        const char *zone, *text;
    } rows[] = {
        {"UTC0", "06/Nov/1994:08:49:37 +0000"},
        {"XXX-1", "06/Nov/1994:09:49:37 +0100"},
        {"XXX9:30", "05/Nov/1994:23:19:37 -0930"},
        {"XXX-12:45", "06/Nov/1994:21:34:37 +1245"},
    };
    for (const auto &r : rows) {
        char text[LOG_DATE_ROOM];
        setenv("TZ", r.zone, 1);
        tzset();
        date_print_log(text, 784111777);
        assert_string_equal(text, r.text);
        assert_int_equal(strlen(text), LOG_DATE_SIZE);
    }
}

RUN_CASES()
