// tree.h: a reply as text, to compare.
#ifndef WEFT_TEST_TREE_H
#define WEFT_TEST_TREE_H

#include <weft/manager.h>
#include <weft/remote.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Writes +OK, -ERR ..., :1, "text", _, ,1.5, #1, (123 and [...], {...}, <...>, !...!.
static inline void print_tree(FILE *out, const weft_reply *r)
{
    static const char *const brackets[] = {"[]", "{}", "<>", "!!"};
    switch (r->type) {
    case WEFT_REPLY_STATUS:
    case WEFT_REPLY_ERROR:
    case WEFT_REPLY_BIG:
        fprintf(out, "%c%s",
                r->type == WEFT_REPLY_STATUS ? '+'
                : r->type == WEFT_REPLY_BIG  ? '('
                                             : '-',
                r->text);
        break;
    case WEFT_REPLY_INTEGER:
    case WEFT_REPLY_BOOL:
        fprintf(out, "%c%" PRId64, r->type == WEFT_REPLY_BOOL ? '#' : ':', r->integer);
        break;
    case WEFT_REPLY_STRING:
        fputc('"', out);
        fwrite(r->text, 1, r->size, out);
        fputc('"', out);
        break;
    case WEFT_REPLY_NULL:
        fputc('_', out);
        break;
    case WEFT_REPLY_DOUBLE:
        fprintf(out, ",%g", r->real);
        break;
    default: {
        const char *b = brackets[r->type == WEFT_REPLY_ARRAY ? 0
                                 : r->type == WEFT_REPLY_MAP ? 1
                                 : r->type == WEFT_REPLY_SET ? 2
                                                             : 3];
        fputc(b[0], out);
        for (size_t i = 0; i < r->size; i++) {
            fputs(i > 0 ? " " : "", out);
            print_tree(out, &r->items[i]);
        }
        fputc(b[1], out);
    }
    }
}

#endif
