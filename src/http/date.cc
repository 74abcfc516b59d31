// date.cc: days are counted in years that begin in March, so that the leap day is the last one and
// the months' lengths follow one line.
#include "date.h"

#include <string.h>
#include <time.h>

using namespace weft;

static const int64_t DAY = 86400, FIRST = -62167219200, LAST = 253402300799; // years 0 to 9999

static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char *const DAYS[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};

namespace {
struct civil {
    int64_t year;
    int64_t month, day; // from 1 on
    int64_t second;     // of the day
};
} // namespace

static int64_t floor_of(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

// Days from 1970-01-01 to that day.
static int64_t days_to(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1, from_march = (month + 9) % 12;
    return y * 365 + floor_of(y, 4) - floor_of(y, 100) + floor_of(y, 400) +
           (from_march * 153 + 2) / 5 + day - 1 - 719468;
}

static int64_t seconds_of(const civil *c)
{
    return days_to(c->year, c->month, c->day) * DAY + c->second;
}

static civil civil_of(int64_t seconds)
{
    int64_t days = floor_of(seconds, DAY), y = floor_of(days * 400, 146097) + 1970, from_march;
    while (days_to(y, 3, 1) > days)
        y--;
    while (days_to(y + 1, 3, 1) <= days)
        y++;
    days -= days_to(y, 3, 1);
    from_march = (days * 5 + 2) / 153;
    int64_t month = from_march < 10 ? from_march + 3 : from_march - 9;
    return {month > 2 ? y : y + 1, month, days - (from_march * 153 + 2) / 5 + 1,
            seconds - floor_of(seconds, DAY) * DAY};
}

// ---- Writing ----

static char *put(char *to, const char *text, size_t n)
{
    memcpy(to, text, n);
    return to + n;
}

static char *put_number(char *to, int64_t number, int width)
{
    for (int i = width; i-- > 0; number /= 10)
        to[i] = (char)('0' + number % 10);
    return to + width;
}

static char *put_time(char *to, int64_t second)
{
    to = put_number(to, second / 3600, 2);
    *to++ = ':';
    to = put_number(to, second / 60 % 60, 2);
    *to++ = ':';
    return put_number(to, second % 60, 2);
}

void weft::date_print(char text[DATE_ROOM], int64_t seconds)
{
    seconds = seconds < FIRST ? FIRST : seconds > LAST ? LAST : seconds;
    civil c = civil_of(seconds);
    int64_t weekday = (floor_of(seconds, DAY) % 7 + 11) % 7; // the first of 1970 was a Thursday
    text = put(text, DAYS[weekday], 3);
    text = put(text, ", ", 2);
    text = put_number(text, c.day, 2);
    *text++ = ' ';
    text = put(text, MONTHS + (c.month - 1) * 3, 3);
    *text++ = ' ';
    text = put_number(text, c.year, 4);
    *text++ = ' ';
    text = put_time(text, c.second);
    memcpy(text, " GMT", 5);
}

void weft::date_print_log(char text[LOG_DATE_ROOM], int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm local;
    long offset = localtime_r(&t, &local) != nullptr ? local.tm_gmtoff : 0;
    civil c = civil_of(seconds + offset);
    text = put_number(text, c.day, 2);
    *text++ = '/';
    text = put(text, MONTHS + (c.month - 1) * 3, 3);
    *text++ = '/';
    text = put_number(text, c.year, 4);
    *text++ = ':';
    text = put_time(text, c.second);
    *text++ = ' ';
    *text++ = offset < 0 ? '-' : '+';
    offset = (offset < 0 ? -offset : offset) / 60;
    *put_number(text, offset / 60 * 100 + offset % 60, 4) = 0;
}

// ---- Reading ----

namespace {
struct scan {
    const char *at, *end;
    bool well; // all was as expected so far
};
} // namespace

static bool eat(scan *s, const char *text, size_t n)
{
    if (n > (size_t)(s->end - s->at) || memcmp(s->at, text, n) != 0)
        return false;
    s->at += n;
    return true;
}

static void expect(scan *s, const char *text)
{
    s->well = s->well && eat(s, text, strlen(text));
}

static int64_t number(scan *s, int width)
{
    int64_t value = 0;
    for (int i = 0; i < width; i++, s->at++) {
        if (s->at == s->end || *s->at < '0' || *s->at > '9') {
            s->well = false;
            return 0;
        }
        value = value * 10 + (*s->at - '0');
    }
    return value;
}

static int64_t month(scan *s)
{
    for (int64_t m = 0; m < 12; m++)
        if (eat(s, MONTHS + m * 3, 3))
            return m + 1;
    s->well = false;
    return 1;
}

// The second of the day.  23:59:60 is the one after that.
static int64_t time_of_day(scan *s)
{
    int64_t hour = number(s, 2);
    expect(s, ":");
    int64_t minute = number(s, 2);
    expect(s, ":");
    int64_t second = number(s, 2);
    s->well = s->well && hour < 24 && minute < 60 && second <= 60;
    return hour * 3600 + minute * 60 + second;
}

// Behind "Sun, ": 06 Nov 1994 08:49:37 GMT
static void imf(scan *s, civil *c)
{
    c->day = number(s, 2);
    expect(s, " ");
    c->month = month(s);
    expect(s, " ");
    c->year = number(s, 4);
    expect(s, " ");
    c->second = time_of_day(s);
    expect(s, " GMT");
}

// Behind "Sunday, ": 06-Nov-94 08:49:37 GMT
static void rfc850(scan *s, civil *c, int64_t now)
{
    c->day = number(s, 2);
    expect(s, "-");
    c->month = month(s);
    expect(s, "-");
    c->year = number(s, 2) + civil_of(now).year / 100 * 100;
    expect(s, " ");
    c->second = time_of_day(s);
    expect(s, " GMT");
    civil earlier = *c;
    earlier.year -= 50;
    if (seconds_of(&earlier) > now)
        c->year -= 100;
}

// Behind "Sun ": Nov  6 08:49:37 1994
static void asctime(scan *s, civil *c)
{
    c->month = month(s);
    expect(s, " ");
    c->day = number(s, eat(s, " ", 1) ? 1 : 2);
    expect(s, " ");
    c->second = time_of_day(s);
    expect(s, " ");
    c->year = number(s, 4);
}

static bool is_day(const civil *c)
{
    int64_t next = c->month == 12 ? days_to(c->year + 1, 1, 1) : days_to(c->year, c->month + 1, 1);
    return c->day >= 1 && c->day <= next - days_to(c->year, c->month, 1);
}

bool weft::date_parse(const char *text, size_t n, int64_t now, int64_t *seconds)
{
    scan s = {text, text + n, true};
    civil c = {};
    int day = 0;
    while (day < 7 && !eat(&s, DAYS[day], 3))
        day++;
    if (day == 7)
        return false;
    if (eat(&s, ", ", 2)) {
        imf(&s, &c);
    } else if (eat(&s, " ", 1)) {
        asctime(&s, &c);
    } else {
        expect(&s, DAYS[day] + 3);
        expect(&s, ", ");
        rfc850(&s, &c, now);
    }
    if (!s.well || s.at != s.end || !is_day(&c))
        return false;
    *seconds = seconds_of(&c);
    return true;
}
