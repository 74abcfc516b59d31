// Splits any bytes by all eight sets of rules.  What comes out must be true: an error points at
// the quote or backslash that is wrong, and words survive being quoted and split again.
//
// sources: src/proc/shlex.cc
#include <weft/shlex.h>

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void must(int truth)
{
    if (!truth)
        abort();
}

static void check_error(const char *text, size_t at)
{
    must(at < strlen(text));
    must(text[at] == '\'' || text[at] == '"' || text[at] == '\\');
    // A bad escape is the last byte; a quote has no partner.
    must(text[at] != '\\' || text[at + 1] == 0);
    must(text[at] != '\'' || strchr(text + at + 1, '\'') == NULL);
}

static void check_words(char **words, int flags)
{
    char *line = weft_shlex_join((const char *const *)words);
    char **again = weft_shlex_split(line, flags, NULL);
    size_t i = 0;
    must(line != NULL && again != NULL);
    for (; words[i] != NULL; i++)
        must(again[i] != NULL && strcmp(words[i], again[i]) == 0);
    must(again[i] == NULL);
    free(line);
    free(again);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // A copy of the exact size, so that a step beyond it is seen.
    char *text = (char *)malloc(size + 1);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = 0;
    for (int flags = 0; flags < 8; flags++) {
        size_t at = SIZE_MAX;
        char **words = weft_shlex_split(text, flags, &at);
        if (words == NULL)
            check_error(text, at);
        else
            check_words(words, flags);
        free(words);
    }
    free(text);
    return 0;
}
