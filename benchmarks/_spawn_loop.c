/* The least that running a command many times can cost: spawn it, wait for it, nothing else.
 *
 *     spawn_loop SLOTS COUNT PROGRAM      five flags are appended; its output goes where ours goes
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv) {
    int slots = atoi(argv[1]), count = atoi(argv[2]), running = 0;
    for (int i = 0; i < count; i++) {
        char flags[5][32], *words[7] = {argv[3]};
        for (int k = 0; k < 5; k++) {
            snprintf(flags[k], sizeof flags[k], "--x%d=%.8g", k, (i + k) / (count + 5.0));
            words[k + 1] = flags[k];
        }
        pid_t pid;
        if (posix_spawn(&pid, argv[3], NULL, NULL, words, environ)) return 1;
        if (++running == slots) { wait(NULL); running--; }
    }
    while (wait(NULL) > 0) {}
    return argc == 4 ? 0 : 2;
}
