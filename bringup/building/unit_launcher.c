/*
 * Runs a compiler or linker and appends what it cost to the file that BRINGUP_UNIT_LOG names, one line a command:
 *     start end user system peak status output
 * separated by tabs: seconds since 1970, CPU seconds, peak memory of the largest process in KiB, exit status, and
 * what stands after -o. One write in append mode, so that lines of compilers that end together stay whole.
 * Without the variable, or where the file cannot be written, the command runs all the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE 4000 /* below PIPE_BUF and any page: appended at once */

static double seconds(struct timeval value) { return (double)value.tv_sec + (double)value.tv_usec * 1e-6; }

static double now(void)
{
    struct timeval value;
    gettimeofday(&value, NULL);
    return seconds(value);
}

static void nothing(int number) { (void)number; }

static void append(const char *path, double start, const struct rusage *use, int status, const char *output)
{
    char line[LINE];
    int length = snprintf(line, sizeof line, "%.3f\t%.3f\t%.3f\t%.3f\t%ld\t%d\t%s\n", start, now(),
                          seconds(use->ru_utime), seconds(use->ru_stime), use->ru_maxrss, status, output);
    if (length < 0 || length >= (int)sizeof line)
        return;
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0)
        return;
    if (write(file, line, (size_t)length) != length)
        fputs("unit_launcher: a line of the unit log was lost\n", stderr);
    close(file);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: unit_launcher COMMAND [ARGUMENT...]\n", stderr);
        return 2;
    }
    const char *path = getenv("BRINGUP_UNIT_LOG");
    double start = now();
    pid_t child = path && *path ? fork() : -1;
    if (child <= 0) { /* the child; or nothing to write to, or no process left to fork */
        execvp(argv[1], argv + 1);
        fprintf(stderr, "unit_launcher: cannot start %s: %s\n", argv[1], strerror(errno));
        _exit(127);
    }
    /* Who ends a build signals the whole group: the compiler ends, and what it took is still written down. */
    signal(SIGTERM, nothing);
    signal(SIGINT, nothing);
    signal(SIGHUP, nothing);
    int status = 0;
    struct rusage use;
    while (wait4(child, &status, 0, &use) < 0)
        if (errno != EINTR)
            return 1;
    const char *output = "";
    for (int index = 2; index + 1 < argc; index++)
        if (strcmp(argv[index], "-o") == 0)
            output = argv[index + 1];
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    append(path, start, &use, code, output);
    return code;
}
