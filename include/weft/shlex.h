/* shlex.h: split a line into words as the shell does, and quote words for it.  See weft_shlex(3).
 *
 *     size_t at;
 *     char **words = weft_shlex_split("cp 'my file' /tmp", 0, &at);
 *     if (words == NULL)
 *         fprintf(stderr, "%s at byte %zu\n", weft_shlex_reason(line, at), at);
 *     free(words);
 *
 * Nothing is expanded: no $variables, no *.c, no ~.  Bytes above 127 are parts of
 * words, so UTF-8 passes unharmed.  Nothing here waits.
 */
#ifndef WEFT_SHLEX_H
#define WEFT_SHLEX_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEFT_SHLEX_COMMENTS = 1,    /* '#' starts a comment, to the end of its line */
    WEFT_SHLEX_PUNCTUATION = 2, /* runs of ( ) ; < > | & are words of their own */
    WEFT_SHLEX_STRICT = 4       /* the POSIX shell's rules instead of Python's */
};

/* The words of `text`, in an array ended by NULL, as Python's shlex.split gives them or, with
 * STRICT, a shell; one free() releases it all.  An empty text has no words: the array is {NULL}.
 * EINVAL: a quote that is not closed, or a backslash at the end of the text; *error_at (may
 * be NULL) is the offset of that quote or backslash.  EINVAL, *error_at = 0: text is NULL,
 * or unknown flags.  ENOMEM. */
char **weft_shlex_split(const char *text, int flags, size_t *error_at);

/* The reason of such an error, for a message: "No closing quotation" or "No escaped character". */
const char *weft_shlex_reason(const char *text, size_t error_at);

/* `word` as one word of a shell (and of split), quoted only if need be.  free() it.  ENOMEM;
 * EINVAL: NULL. */
char *weft_shlex_quote(const char *word);

/* The words, each quoted, with blanks between: split gives them back.  free() it.  ENOMEM; EINVAL:
 * NULL. */
char *weft_shlex_join(const char *const words[]);

#ifdef __cplusplus
}
#endif

#endif
