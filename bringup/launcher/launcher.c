/* Stands in front of a compiler: waits until memory and the job budget allow one more, runs it, records what it took.
 *
 * Installed under the compiler's own name (bin/g++) with a link to the real one beside it (bin/.behind/g++), or given
 * the compiler as its first argument. It becomes the real compiler at once where there is nothing to govern: outside
 * a build (no BRINGUP_JOBS), inside another launcher (nvcc starts g++), for `--version` and the like.
 *
 * Shared state is the file `table` in the folder BRINGUP_JOBS: one slot for each launcher, changed under flock() alone,
 * so that the kernel frees the lock of one that is killed. Sums are never stored: a slot whose process is gone is
 * dropped by whoever looks next, and nothing else has to be put right.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "admission.h"
#include "unit.h"

struct limits { long jobs, memory, nice; uint32_t lang[4]; char usage[512], limit[512], stat[512], key[64], psi[256]; };

static const char *REASONS[] = { "", "jobs", "memory", "pressure", "alone", "order" };
static struct table *table;
static struct slot *me;
static char state_dir[PATH_MAX], fifo[PATH_MAX];
static int lock_fd = -1;
static volatile sig_atomic_t child_pid;

static double clock_now(clockid_t id) { struct timespec t; clock_gettime(id, &t); return (double)t.tv_sec + (double)t.tv_nsec / 1e9; }
static void lock(void) { while (flock(lock_fd, LOCK_EX) < 0 && errno == EINTR) {} }
static void unlock(void) { flock(lock_fd, LOCK_UN); }

static long slurp(const char *path, char *into, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, into, size - 1);
    if (fd >= 0) close(fd);
    into[got > 0 ? got : 0] = 0;
    return (long)got;
}

static uint64_t start_time(int pid) {
    char path[64], text[1024], *at;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (slurp(path, text, sizeof text) <= 0 || !(at = strrchr(text, ')'))) return 0;
    if (at[2] == 'Z' || at[2] == 'X') return 0;
    for (int field = 2; field < 22 && at; field++) at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

/* ---- limits that can change while it runs ---- */
static void read_limits(struct limits *l) {
    static char text[4096], path[PATH_MAX + 16];
    memset(l, 0, sizeof *l);
    l->jobs = SLOTS; l->memory = 1L << 40;
    l->lang[0] = 150; l->lang[1] = 700; l->lang[2] = 1000; l->lang[3] = 500;
    snprintf(path, sizeof path, "%s/control", state_dir);
    if (slurp(path, text, sizeof text) <= 0) return;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        sscanf(line, "jobs %ld", &l->jobs); sscanf(line, "memory_mib %ld", &l->memory); sscanf(line, "nice %ld", &l->nice);
        sscanf(line, "usage %511s", l->usage); sscanf(line, "limit %511s", l->limit);
        sscanf(line, "stat %511s %63s", l->stat, l->key); sscanf(line, "psi %255s", l->psi);
        sscanf(line, "lang_c %u", &l->lang[0]); sscanf(line, "lang_c++ %u", &l->lang[1]);
        sscanf(line, "lang_cuda %u", &l->lang[2]); sscanf(line, "lang_link %u", &l->lang[3]);
    }
}

static int64_t free_memory(const struct limits *l) { /* MiB that may still be used; -1 if nothing tells */
    char text[8192], *at;
    int64_t best = -1;
    if (slurp("/proc/meminfo", text, sizeof text) > 0 && (at = strstr(text, "MemAvailable:"))) best = atoll(at + 13) >> 10;
    if (l->usage[0] && slurp(l->limit, text, sizeof text) > 0 && text[0] >= '0' && text[0] <= '9') {
        int64_t limit = atoll(text), left;
        if (slurp(l->usage, text, sizeof text) > 0) {
            left = limit - atoll(text);
            if (slurp(l->stat, text, sizeof text) > 0 && (at = strstr(text, l->key))) left += atoll(at + strlen(l->key));
            left >>= 20;
            if (left < 0) left = 0;
            if (best < 0 || left < best) best = left;
        }
    }
    return best;
}

static int pressed(const struct limits *l) {
    char text[512], *at;
    if (!l->psi[0] || slurp(l->psi, text, sizeof text) <= 0) return 0;
    double some = (at = strstr(text, "some avg10=")) ? atof(at + 11) : 0, full = (at = strstr(text, "full avg10=")) ? atof(at + 11) : 0;
    return some > 30 || full > 15;
}

/* ---- the table ---- */
static void drop_dead(int closely) {
    for (int i = 0; i < SLOTS; i++) {
        struct slot *s = &table->slot[i];
        if (s->state == FREE || s == me) continue;
        int gone = kill(s->pid, 0) < 0 && errno == ESRCH;
        if (!gone && closely) gone = start_time(s->pid) != s->start;
        if (!gone) continue;
        if (s->flags & DONATED) table->debt++; /* the server takes its token back out */
        s->state = FREE;
    }
}

static int enter(uint32_t need) {
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/table", state_dir);
    lock_fd = open(path, O_RDWR | O_CLOEXEC);
    if (lock_fd < 0) return -1;
    table = mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED, lock_fd, 0);
    struct stat st;
    if (table == MAP_FAILED || fstat(lock_fd, &st) < 0 || (size_t)st.st_size < sizeof *table) return -1;
    lock();
    drop_dead(1);
    for (int i = 0; i < SLOTS && !me; i++) if (table->slot[i].state == FREE) me = &table->slot[i];
    if (me) {
        memset(me, 0, sizeof *me);
        me->pid = getpid(); me->start = start_time(me->pid); me->need = need; me->ticket = ++table->tickets;
        snprintf(me->name, sizeof me->name, "%s: %.100s", package, source[0] ? strrchr(source, '/') ? strrchr(source, '/') + 1 : source : output_arg);
        me->state = WAITING; /* last: a launcher killed before this has no slot */
    }
    unlock();
    return me ? 0 : -1;
}

static int token(int take) { /* 1 if the server's pipe gave or took a token */
    char byte = '+';
    int fd = fifo[0] ? open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    ssize_t done = take ? read(fd, &byte, 1) : write(fd, &byte, 1);
    close(fd);
    return done == 1;
}

static void take_back(int final) {
    if (!(me->flags & DONATED)) return;
    int got = token(1);
    if (!got && !final) return;
    lock();
    me->flags &= ~DONATED;
    if (!got) table->debt++;
    unlock();
}

static int wait_turn(const char **why, pid_t parent) { /* milliseconds waited; why: what it waited for longest ago */
    double begun = clock_now(CLOCK_MONOTONIC), checked = begun;
    for (int round = 0;; round++) {
        struct limits l;
        read_limits(&l);
        int64_t left = free_memory(&l);
        int press = left >= 0 && left < l.memory / 4 && pressed(&l); /* may be that of others on the host, far from here */
        double now = clock_now(CLOCK_MONOTONIC);
        lock();
        drop_dead(now - checked > 0.25);
        if (now - checked > 0.25) checked = now;
        int answer = may_start(table->slot, SLOTS, (int)(me - table->slot), (uint64_t)l.memory, (int)l.jobs, left, press);
        int donors = 0, first = 1;
        for (int i = 0; i < SLOTS; i++) {
            donors += table->slot[i].state != FREE && (table->slot[i].flags & DONATED);
            first &= !(table->slot[i].state == WAITING && table->slot[i].ticket < me->ticket);
        }
        if (answer == GO) { me->state = RUNNING; me->now = 0; }
        /* While it waits for memory, another client may use its token: a small unit of another package. */
        int donate = answer != GO && answer != JOBS && round > 2 && !(me->flags & DONATED) && donors < 2 * l.jobs + 8 && token(0);
        if (donate) me->flags |= DONATED;
        unlock();
        if (answer == GO) { take_back(0); return (int)((now - begun) * 1000); }
        if (!**why || answer != ORDER) *why = REASONS[answer];
        if (getppid() != parent) _exit(143); /* whoever wanted the object file is gone */
        poll(NULL, 0, first ? 5 : 25);
    }
}

/* ---- running ---- */
static void forward(int signal_number) { if (child_pid) kill(child_pid, signal_number); }
static void nothing(int signal_number) { (void)signal_number; }

static uint64_t tree_kib(int pid, int depth) { /* resident memory of a process and what it started */
    char path[96], text[2048];
    unsigned long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    if (slurp(path, text, sizeof text) > 0) sscanf(text, "%*s %lu", &pages);
    uint64_t sum = (uint64_t)pages * ((uint64_t)sysconf(_SC_PAGESIZE) / 1024);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    if (depth < 8 && slurp(path, text, sizeof text) > 0)
        for (char *at = text, *end; (pid = (int)strtol(at, &end, 10)) > 0; at = end) sum += tree_kib(pid, depth + 1);
    return sum;
}

struct said { char *text; size_t length, size; int shown; };
static const char *SIGNS[] = { "Killed", "signal 9", "out of memory", "Cannot allocate memory", "bad_alloc", "memory exhausted", NULL };

static void show(struct said *s) {
    for (size_t at = 0; at < s->length;) {
        ssize_t done = write(2, s->text + at, s->length - at);
        if (done < 0 && errno != EINTR) break;
        if (done > 0) at += (size_t)done;
    }
    s->length = 0;
}

static int drain(int fd, struct said *s) { /* what the compiler says is held back until it is done, for a second attempt */
    for (;;) {
        if (s->length + 4096 > s->size) {
            char *more = s->size < (1u << 20) ? realloc(s->text, s->size * 2 + 16384) : NULL;
            if (more) { s->text = more; s->size = s->size * 2 + 16384; } else show(s);
        }
        ssize_t got = read(fd, s->text + s->length, 4095);
        if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR);
        s->length += (size_t)got;
        s->text[s->length] = 0;
    }
}

static int killed(int status, const struct said *s) {
    if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGKILL;
    if (WEXITSTATUS(status) == 0) return 0;
    if (WEXITSTATUS(status) == 137) return 1;
    for (int i = 0; s->text && i < (int)(sizeof SIGNS / sizeof *SIGNS) - 1; i++) if (memmem(s->text, s->length, SIGNS[i], strlen(SIGNS[i]))) return 1;
    return 0;
}

static int run(char **argv, struct said *s, uint64_t *peak, struct rusage *usage, long niceness, pid_t parent) {
    int ends[2], status = 0, open_end = 1;
    sigset_t block, before;
    sigemptyset(&block); sigaddset(&block, SIGCHLD);
    sigprocmask(SIG_BLOCK, &block, &before);
    signal(SIGCHLD, nothing);
    if (pipe2(ends, O_CLOEXEC) < 0) return -1;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a compiler without its launcher would run unaccounted */
        if (niceness) setpriority(PRIO_PROCESS, 0, (int)niceness);
        sigprocmask(SIG_SETMASK, &before, NULL);
        dup2(ends[1], 2);
        execv(argv[0], argv);
        dprintf(2, "bringup: cannot start %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    close(ends[1]);
    if (pid < 0) { close(ends[0]); return -1; }
    child_pid = pid;
    me->child = pid;
    signal(SIGTERM, forward); signal(SIGINT, forward); signal(SIGHUP, forward);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    sigset_t waiting = before;
    sigdelset(&waiting, SIGCHLD);
    for (;;) {
        struct timespec pause = { 0, 250000000 };
        struct pollfd end = { ends[0], POLLIN, 0 };
        int ready = ppoll(&end, open_end ? 1 : 0, &pause, &waiting);
        if (ready > 0) open_end = drain(ends[0], s);
        if (wait4(pid, &status, WNOHANG, usage) == pid) break;
        if (ready == 0) { /* a quarter of a second went by; the end of the pipe comes a moment before that of the child */
            uint64_t kib = tree_kib(pid, 0);
            if (kib > *peak) *peak = kib;
            me->now = (uint32_t)(kib >> 10);
            if (me->now > me->seen) me->seen = me->now;
            if (getppid() != parent) kill(pid, SIGTERM);
            take_back(0);
        }
    }
    drain(ends[0], s);
    close(ends[0]);
    child_pid = 0;
    if ((uint64_t)usage->ru_maxrss > *peak) *peak = (uint64_t)usage->ru_maxrss;
    return status;
}

static void record(double began, double wall, int waited, const char *why, uint64_t peak, uint32_t need, const struct rusage *u, int status, int attempt, int running) {
    char path[PATH_MAX + 16], line[4000];
    double cpu = (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) + (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
    int size = snprintf(line, sizeof line,
        "{\"key\":\"%s\",\"lang\":\"%s\",\"start\":%.3f,\"wall\":%.3f,\"cpu\":%.3f,\"rss_kib\":%llu,\"need_mib\":%u,\"wait\":%.3f,\"why\":\"%s\","
        "\"exit\":%d,\"signal\":%d,\"attempt\":%d,\"slot\":%d,\"running\":%d,\"pid\":%d,\"run\":\"%s\"}\n",
        key, LANGS[lang], began, wall, cpu, (unsigned long long)peak, need, waited / 1000.0, why,
        WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0, attempt,
        (int)(me - table->slot), running, (int)getpid(), getenv("BRINGUP_RUN") ? getenv("BRINGUP_RUN") : "");
    const char *to = getenv("BRINGUP_UNITS");
    snprintf(path, sizeof path, "%s", to ? to : "");
    int fd = to && size < (int)sizeof line ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (fd >= 0) { ssize_t done = write(fd, line, (size_t)size); (void)done; close(fd); }
}

static void say_start(void) { /* a build system tells when a unit is done; here it starts */
    const char *text = getenv("BRINGUP_START"), *to = getenv("BRINGUP_START_TO");
    int fd = text && to ? open(to, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    if (fd < 0) return;
    dprintf(fd, "%s\n", text);
    close(fd);
}

int main(int argc, char **argv) {
    static char self[PATH_MAX], real[PATH_MAX], link[PATH_MAX + 64];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    char *name = length > 0 ? strrchr(self, '/') : NULL;
    if (!name) { dprintf(2, "bringup: /proc is not mounted\n"); return 127; }
    *name++ = 0;
    snprintf(link, sizeof link, "%s/.behind/%s", self, name);
    if (readlink(link, real, sizeof real - 1) > 0) argv[0] = real;
    else if (argc > 1) argv++;
    else { dprintf(2, "usage: %s COMPILER ARGUMENT...\n", name); return 2; }
    const char *dir = getenv("BRINGUP_JOBS"), *flags = getenv("MAKEFLAGS"), *auth = flags ? strstr(flags, "--jobserver-auth=fifo:") : NULL;
    package = getenv("BRINGUP_PACKAGE") ? getenv("BRINGUP_PACKAGE") : "";
    if (dir && *dir && !getenv("BRINGUP_INSIDE") && is_unit(argv)) {
        struct limits l;
        snprintf(state_dir, sizeof state_dir, "%s", dir);
        if (auth) sscanf(auth + 22, "%4000s", fifo);
        read_limits(&l);
        uint32_t need = predict(state_dir, l.lang);
        pid_t parent = getppid();
        if (enter(need) == 0) {
            setenv("BRINGUP_INSIDE", "1", 1);
            int status = 0;
            for (int attempt = 1;; attempt++) {
                const char *why = "";
                struct said said = { NULL, 0, 0, 0 };
                struct rusage usage;
                uint64_t peak = 0;
                int running = 0, waited = wait_turn(&why, parent);
                if (attempt == 1) say_start();
                double began = clock_now(CLOCK_REALTIME), from = clock_now(CLOCK_MONOTONIC);
                read_limits(&l);
                memset(&usage, 0, sizeof usage);
                status = run(argv, &said, &peak, &usage, l.nice, parent);
                if (status < 0) { dprintf(2, "bringup: %s: %s\n", argv[0], strerror(errno)); status = 127 << 8; }
                for (int i = 0; i < SLOTS; i++) running += table->slot[i].state == RUNNING;
                record(began, clock_now(CLOCK_MONOTONIC) - from, waited, why, peak, need, &usage, status, attempt, running);
                if (attempt == 1 && killed(status, &said) && getppid() == parent) {
                    dprintf(2, "bringup: %s was killed at %llu MiB (%u expected), most likely for want of memory; it is compiled again alone\n", me->name, (unsigned long long)(peak >> 10), need);
                    lock(); me->flags |= ALONE; me->state = WAITING; unlock();
                    free(said.text);
                    continue;
                }
                show(&said);
                break;
            }
            take_back(1);
            lock(); me->state = FREE; unlock();
            if (WIFSIGNALED(status)) { signal(WTERMSIG(status), SIG_DFL); kill(getpid(), WTERMSIG(status)); return 128 + WTERMSIG(status); }
            return WEXITSTATUS(status);
        }
        dprintf(2, "bringup: no job budget at %s (%s): compiling without it\n", dir, strerror(errno));
    }
    execv(argv[0], argv);
    if (errno == ENOENT && !strchr(argv[0], '/')) execvp(argv[0], argv);
    dprintf(2, "bringup: cannot start %s: %s\n", argv[0], strerror(errno));
    return 127;
}
