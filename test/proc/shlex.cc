// Splitting and quoting: tables for both rule sets, errors with their places, and
// Python and the shell as judges over random strings.
#include "../runner.h"

#include <weft/shlex.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <weft/subprocess.h>

enum {
    STRICT = WEFT_SHLEX_STRICT,
    COMMENTS = WEFT_SHLEX_COMMENTS,
    PUNCTUATION = WEFT_SHLEX_PUNCTUATION
};

// The words joined by '|', with a '|' behind each: "a b" gives "a|b|".
static const char *split(const char *text, int flags)
{
    static char joined[512];
    char **words = weft_shlex_split(text, flags, NULL);
    assert_non_null(words);
    joined[0] = 0;
    for (char **w = words; *w != NULL; w++) {
        strcat(joined, *w);
        strcat(joined, "|");
    }
    free(words);
    return joined;
}

struct row {
    const char *text, *words;
};

static void check_rows(const struct row *rows, size_t n, int flags)
{
    for (size_t i = 0; i < n; i++)
        assert_string_equal(split(rows[i].text, flags), rows[i].words);
}

#define CHECK(rows, flags) check_rows(rows, sizeof(rows) / sizeof *(rows), flags)

CASE(test_split_words)
{
    static const struct row rows[] = {
        {"", ""},
        {" \t\r\n ", ""},
        {"x", "x|"},
        {"foo bar", "foo|bar|"},
        {"  foo \t bar\r\nbaz ", "foo|bar|baz|"},
        {"a;b|c&d<e>(f)", "a;b|c&d<e>(f)|"},
        {"$HOME *.c ~ # no comment", "$HOME|*.c|~|#|no|comment|"},
        {"\xc3\xa4 \xff\x80", "\xc3\xa4|\xff\x80|"},
        {"\x01\x7f", "\x01\x7f|"},
    };
    CHECK(rows, 0);
}

CASE(test_split_quotes)
{
    static const struct row rows[] = {
        {"'foo bar'", "foo bar|"},
        {"\"foo bar\"", "foo bar|"},
        {"'' \"\"", "||"},
        {"''\"\"", "|"},
        {"a'b'c\"d\"e", "abcde|"},
        {"'a\"b' \"a'b\"", "a\"b|a'b|"},
        {"'a\\b'", "a\\b|"},
        {"\"a\\\"b\\\\c\"", "a\"b\\c|"},
        {"\"\\$x \\`y \\z \\'\"", "\\$x \\`y \\z \\'|"},
        {"\"a\\\nb\"", "a\\\nb|"},
        {"'a\nb'", "a\nb|"},
        {"foo'' ''bar x''y", "foo|bar|xy|"},
    };
    CHECK(rows, 0);
}

CASE(test_split_escapes)
{
    static const struct row rows[] = {
        {"a\\ b", "a b|"},   {"\\a\\\\", "a\\|"}, {"\\'x\\\"", "'x\"|"},
        {"a\\\nb", "a\nb|"}, {"\\\n", "\n|"},     {"\\  x", " |x|"},
    };
    CHECK(rows, 0);
}

CASE(test_split_comments)
{
    static const struct row rows[] = {
        {"a # b\nc", "a|c|"},      {"a#b\nc", "a|c|"}, {"#", ""},
        {"'a#b' \\#c", "a#b|#c|"}, {"''# x", "|"},     {"a #b", "a|"},
    };
    CHECK(rows, COMMENTS);
}

CASE(test_split_punctuation)
{
    static const struct row rows[] = {
        {"a && b || c; d >'abc'; (e)", "a|&&|b||||c|;|d|>|abc|;|(|e|)|"},
        {"a>>b", "a|>>|b|"},
        {"((a))", "((|a|))|"},
        {"'a;b'\\;c;d", "a;b;c|;|d|"},
        {"a-b~c/*.x=?;", "a-b~c/*.x=?|;|"},
        {"''();''", "|();||"},
    };
    CHECK(rows, PUNCTUATION);
    assert_string_equal(split("a;#b\n;c", PUNCTUATION | COMMENTS), "a|;|;|c|");
}

CASE(test_split_strict)
{
    static const struct row rows[] = {
        {"\"\\$x \\`y \\z \\\"\\\\\"", "$x `y \\z \"\\|"},
        {"a\\\nb", "ab|"},
        {"\\\n", ""},
        {"x \\\n y", "x|y|"},
        {"\"a\\\nb\"", "ab|"},
        {"a\rb", "a\rb|"},
        {"'a\\\nb'", "a\\\nb|"},
        {"''\\\n", "|"},
    };
    CHECK(rows, STRICT);
    static const struct row comments[] = {
        {"a#b #c\nd", "a#b|d|"},
        {"''#a", "#a|"},
        {"\\\n#a", ""},
        {"\\##", "##|"},
    };
    CHECK(comments, STRICT | COMMENTS);
    assert_string_equal(split("a;b#c;#d", STRICT | COMMENTS | PUNCTUATION), "a|;|b#c|;|");
}

static void expect_error(const char *text, int flags, size_t at, const char *reason)
{
    size_t error_at = 999;
    assert_errno(weft_shlex_split(text, flags, &error_at), EINVAL);
    assert_int_equal(error_at, at);
    assert_string_equal(weft_shlex_reason(text, error_at), reason);
    assert_errno(weft_shlex_split(text, flags, NULL), EINVAL);
}

CASE(test_split_errors)
{
    static const char quote[] = "No closing quotation", escape[] = "No escaped character";
    for (int flags = 0; flags < 8; flags++) {
        expect_error("'", flags, 0, quote);
        expect_error("a 'b\\", flags, 2, quote);
        expect_error("a \"b", flags, 2, quote);
        expect_error("ab\"\\\"", flags, 2, quote);
        expect_error("a\\", flags, 1, escape);
        expect_error("'x' \\", flags, 4, escape);
        expect_error("\"a\\", flags, 2, escape);
    }
    size_t at = 7;
    assert_errno(weft_shlex_split(NULL, 0, &at), EINVAL);
    assert_int_equal(at, 0);
    assert_errno(weft_shlex_split("a", 8, &at), EINVAL);
    assert_errno(weft_shlex_split("a", -1, NULL), EINVAL);
    errno = EDOM;
    free(weft_shlex_split("a b", 0, &at));
    assert_int_equal(errno, EDOM);
}

static void expect_quoted(const char *word, const char *quoted)
{
    char *q = weft_shlex_quote(word);
    assert_string_equal(q, quoted);
    free(q);
}

CASE(test_quote)
{
    expect_quoted("", "''");
    expect_quoted("safe@%+=:,./-_09azAZ", "safe@%+=:,./-_09azAZ");
    expect_quoted("a b", "'a b'");
    expect_quoted("it's", "'it'\"'\"'s'");
    expect_quoted("'", "''\"'\"''");
    expect_quoted("$x`y`\\", "'$x`y`\\'");
    expect_quoted("\xc3\xa4", "'\xc3\xa4'");
    expect_quoted("a\nb", "'a\nb'");
    assert_errno(weft_shlex_quote(NULL), EINVAL);
}

CASE(test_join)
{
    const char *const words[] = {"a", "", "b c", "d'e", NULL}, *const none[] = {NULL};
    char *line = weft_shlex_join(words);
    assert_string_equal(line, "a '' 'b c' 'd'\"'\"'e'");
    for (int flags = 0; flags < 8; flags++)
        assert_string_equal(split(line, flags), "a||b c|d'e|");
    free(line);
    line = weft_shlex_join(none);
    assert_string_equal(line, "");
    free(line);
    assert_errno(weft_shlex_join(NULL), EINVAL);
}

// ---- Judges ----

static uint32_t seed = 12345;

static uint32_t draw(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

// A text drawn from the pieces, of up to 16 of them.
static void draw_text(char *text, const char *const *pieces, uint32_t n)
{
    uint32_t length = draw(17);
    text[0] = 0;
    while (length-- > 0)
        strcat(text, pieces[draw(n)]);
}

static void put_hex(FILE *f, const char *bytes)
{
    for (; *bytes != 0; bytes++)
        fprintf(f, "%02x", (unsigned char)*bytes);
}

// "hex hex ..." of the words, '-' for an empty one, or the reason of an error, and for the judge
// the flags and the text.
static void put_case(FILE *f, const char *text, int flags)
{
    size_t at = 0;
    char **words = weft_shlex_split(text, flags, &at);
    fprintf(f, "%d,", flags);
    put_hex(f, text);
    fprintf(f, ",%s", words == NULL ? weft_shlex_reason(text, at) : "");
    for (char **w = words; words != NULL && *w != NULL; w++) {
        fputs(w == words ? "-" : " -", f);
        put_hex(f, *w);
    }
    fputc('\n', f);
    free(words);
}

static const char *const pieces[] = {"a", "b",  " ",  "\t",       "\n",           "\r", "'",
                                     "'", "\"", "\"", "\\",       "\\",           "#",  ";",
                                     "(", "|",  "$",  "\xc3\xa4", "\xe2\x82\xac", "~"};

static const char judge[] = "import shlex, sys\n"
                            "seen = wrong = 0\n"
                            "for line in sys.stdin.buffer:\n"
                            "    flags, text, ours = line.decode().rstrip('\\n').split(',')\n"
                            "    lex = shlex.shlex(bytes.fromhex(text).decode(), posix=True,\n"
                            "                      punctuation_chars=bool(int(flags) & 2))\n"
                            "    lex.whitespace_split = True\n"
                            "    if not int(flags) & 1: lex.commenters = ''\n"
                            "    try: theirs = ' '.join('-' + w.encode().hex() for w in lex)\n"
                            "    except ValueError as e: theirs = str(e)\n"
                            "    seen += 1\n"
                            "    if theirs != ours:\n"
                            "        wrong += 1\n"
                            "        print('differs:', line, theirs, file=sys.stderr)\n"
                            "print(seen, wrong)\n";

// Feeds the cases to a judge, which must have seen all of them and found nothing wrong.
static void ask(const char *const argv[], const char *cases, size_t size, const char *verdict)
{
    weft_subprocess_options o;
    weft_subprocess_result r;
    memset(&o, 0, sizeof o);
    o.out.kind = WEFT_STREAM_PIPE;
    o.input = cases;
    o.input_size = size;
    assert_int_equal(weft_subprocess_run(argv, &o, &r, WEFT_FOREVER), 0);
    assert_int_equal(r.status, 0);
    assert_string_equal(r.out.data, verdict);
    weft_subprocess_result_free(&r);
}

// Python itself, 100,000 strings under each of its four sets of rules in turn.
CASE(test_split_agrees_with_python)
{
    const char *const argv[] = {"python3", "-c", judge, NULL}, *const version[] = {"python3", "-c",
                                                                                   "", NULL};
    weft_subprocess *python = weft_subprocess_start(version, NULL);
    if (python == NULL) {
        // Its rules are also in the tables above.
        assert_int_equal(errno, ENOENT);
        print_message("no python3: not compared\n");
        return;
    }
    weft_subprocess_join(python, NULL, WEFT_FOREVER);
    weft_subprocess_destroy(python);
    enum { CASES = 100000 };
    char text[128], *cases = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&cases, &size);
    for (int i = 0; i < CASES; i++) {
        draw_text(text, pieces, sizeof pieces / sizeof *pieces);
        put_case(f, text, i % 2 ? 0 : i / 2 % 4);
    }
    fclose(f);
    ask(argv, cases, size, "100000 0\n");
    free(cases);
}

// The shell, for the strict rules; without what it would expand or run.
CASE(test_split_strict_agrees_with_the_shell)
{
    static const char *const plain[] = {"a",  "b",  " ",  "\t",   "'", "'",        "\"",
                                        "\"", "\\", "\\", "\\\n", "#", "\xc3\xa4", "\r"};
    enum { CASES = 3000 };
    char text[128], *script = NULL, *expected = NULL;
    size_t script_size = 0, expected_size = 0;
    FILE *in = open_memstream(&script, &script_size),
         *out = open_memstream(&expected, &expected_size);
    int good = 0;
    for (int i = 0; i < CASES; i++) {
        draw_text(text, plain, sizeof plain / sizeof *plain);
        // To the shell a newline that is not escaped ends the command, to us it parts words.
        if ((strchr(text, '#') != NULL && strchr(text, '\n') != NULL) ||
            strstr(text, "\\\\\n") != NULL)
            continue;
        char **words = weft_shlex_split(text, STRICT | COMMENTS, NULL);
        if (words == NULL)
            continue;
        good++;
        fprintf(in, "set -- %s\nprintf '<%%s>' \"$@\"; echo\n", text);
        if (words[0] == NULL)
            fputs("<>", out);
        for (char **w = words; *w != NULL; w++)
            fprintf(out, "<%s>", *w);
        fputc('\n', out);
        free(words);
    }
    fclose(in);
    fclose(out);
    assert_true(good > CASES / 10);
    const char *const argv[] = {"sh", "-f", NULL};
    ask(argv, script, script_size, expected);
    free(script);
    free(expected);
}

// What is quoted comes back, by each set of rules.
CASE(test_join_and_split_are_inverse)
{
    char words[4][128];
    for (int i = 0; i < 20000; i++) {
        const char *list[5] = {};
        uint32_t n = draw(5);
        for (uint32_t w = 0; w < n; w++) {
            draw_text(words[w], pieces, sizeof pieces / sizeof *pieces);
            list[w] = words[w];
        }
        char *line = weft_shlex_join(list), **again = weft_shlex_split(line, i % 8, NULL);
        assert_non_null(again);
        for (uint32_t w = 0; w < n; w++)
            assert_string_equal(again[w], words[w]);
        assert_null(again[n]);
        free(line);
        free(again);
    }
}

RUN_CASES()
