/* A program against the installed processes: words, a child, a pipeline, a shell. */
#include <weft/pipeline.h>
#include <weft/shell.h>
#include <weft/shlex.h>
#include <weft/status.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char **words = weft_shlex_split("tr 'a b' \"A B\"", 0, NULL);
    const char *const cat[] = {"cat", NULL};
    const char *const absent[] = {"/nonexistent/program", NULL};
    const char *const *const stages[] = {cat, (const char *const *)words};
    weft_subprocess_options o;
    weft_buffer out = {NULL, 0, 0};
    weft_pipeline *p;
    char text[64];
    int failed, status;

    memset(&o, 0, sizeof o);
    o.in.kind = o.out.kind = WEFT_STREAM_PIPE;
    p = weft_pipeline_start(stages, 2, &o);
    failed = p == NULL ||
             weft_pipeline_communicate(p, "a cab", 5, &out, NULL, weft_in_s(30)) != 0 ||
             out.size != 5 || memcmp(out.data, "A cAB", 5) != 0;
    weft_pipeline_destroy(p);
    weft_buffer_free(&out);
    free(words);
    if (weft_system("exit 3", &status, weft_in_s(30)) != 0 ||
        strcmp(weft_status_text(status, text, sizeof text), "exited with 3") != 0)
        return 1;
    return failed || weft_subprocess_start(absent, NULL) != NULL || errno != ENOENT;
}
