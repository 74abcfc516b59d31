/* Loads a shared object and runs what it has, in the first thread and in one more.
 * usage: load LIBRARY [OTHER...]      the others are loaded before, and a thread runs already */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static int (*run)(void);

static void *elsewhere(void *arg)
{
    *(int *)arg = run();
    return arg;
}

static void *wait_for_it(void *lock)
{
    pthread_mutex_lock(lock);
    pthread_mutex_unlock(lock);
    return lock;
}

int main(int argc, char **argv)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t older, newer;
    void *library;
    int i, failed, failed_there = -1;
    pthread_mutex_lock(&lock);
    pthread_create(&older, NULL, wait_for_it, &lock);
    for (i = 2; i < argc; i++)
        if (dlopen(argv[i], RTLD_NOW) == NULL) {
            printf("%s\n", dlerror());
            return 2;
        }
    library = dlopen(argv[1], RTLD_NOW);
    if (library == NULL) {
        printf("%s\n", dlerror());
        return 3;
    }
    *(void **)&run = dlsym(library, "link_shared_run");
    failed = run();
    pthread_create(&newer, NULL, elsewhere, &failed_there);
    pthread_join(newer, NULL);
    pthread_mutex_unlock(&lock);
    pthread_join(older, NULL);
    if (failed != 0 || failed_there != 0)
        printf("steps that failed: %d, %d\n", failed, failed_there);
    return failed != 0 || failed_there != 0;
}
