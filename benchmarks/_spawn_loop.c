/* The least that running a command many times can cost: spawn it, wait for it, nothing else.
 *
 *     spawn_loop SLOTS COUNT PROGRAM [DIRECTORY]
 *
 * Five flags are appended. Its output goes where ours goes, or to a file of its own in the directory.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv) {
    int slots = atoi(argv[1]), count = atoi(argv[2]), running = 0;
    for (int i = 0; i < count; i++) {
        char flags[5][32], path[4096], *words[7] = {argv[3]};
        for (int k = 0; k < 5; k++) {
            snprintf(flags[k], sizeof flags[k], "--x%d=%.8g", k, (i + k) / (count + 5.0));
            words[k + 1] = flags[k];
        }
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        if (argc == 5) {
            snprintf(path, sizeof path, "%s/%d.out", argv[4], i);
            posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        }
        pid_t pid;
        if (posix_spawn(&pid, argv[3], &actions, NULL, words, environ)) return 1;
        posix_spawn_file_actions_destroy(&actions);
        if (++running == slots) { wait(NULL); running--; }
    }
    while (wait(NULL) > 0) {}
    return 0;
}
