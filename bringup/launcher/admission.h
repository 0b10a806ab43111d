/* Which of the waiting compilers may start: a function of the table and the limits alone.
 *
 * The tests compile this file as a library and hold a model against it. It reads no clock and no file.
 */
#include <stdint.h>

#define SLOTS 1024
#define FREE 0
#define WAITING 1
#define RUNNING 2
#define ALONE 1u   /* flag: runs while nothing else does */
#define DONATED 2u /* flag: has put its token back into the job server while it waits */
enum { GO, JOBS, MEMORY, PRESSURE, ALONE_FIRST, ORDER };

struct slot { /* 192 bytes; bringup/system/jobtable.py reads the same */
    int32_t state, pid, child;
    uint32_t flags, need, seen, now, jobs_unused; /* MiB: reserved, most seen, seen last */
    uint64_t start, ticket;                       /* start: of the process, in clock ticks since boot */
    char name[144];
};
struct table { uint32_t version, debt; uint64_t tickets; char unused[176]; struct slot slot[SLOTS]; };

static uint64_t reserved(const struct slot *s) { return s->need > s->seen ? s->need : s->seen; }

static int fits(const struct slot *s, int n, uint64_t need, uint64_t limit, int64_t free_mib) {
    uint64_t used = 0, growth = 0;
    for (int i = 0; i < n; i++)
        if (s[i].state == RUNNING) { used += reserved(&s[i]); growth += reserved(&s[i]) - (s[i].now < reserved(&s[i]) ? s[i].now : reserved(&s[i])); }
    return used + need <= limit && (free_mib < 0 || growth + need <= (uint64_t)free_mib);
}

/* What is left beside the first in the queue, once as many of the largest running ones are done as it needs. */
static int64_t beside(const struct slot *s, int n, uint64_t need, uint64_t limit) {
    uint64_t sizes[SLOTS], used = 0; int count = 0;
    for (int i = 0; i < n; i++) if (s[i].state == RUNNING) { sizes[count++] = reserved(&s[i]); used += reserved(&s[i]); }
    while (used + need > limit && count) {
        int big = 0;
        for (int i = 1; i < count; i++) if (sizes[i] > sizes[big]) big = i;
        used -= sizes[big]; sizes[big] = sizes[--count];
    }
    return (int64_t)limit - (int64_t)need - (int64_t)used;
}

int may_start(const struct slot *s, int n, int self, uint64_t limit, int jobs, int64_t free_mib, int pressure) {
    int running = 0, first = -1, alone = 0;
    for (int i = 0; i < n; i++) {
        if (s[i].state == RUNNING) { running++; if (s[i].flags & ALONE) alone = 1; }
        if (s[i].state != WAITING) continue;
        int before = first < 0 || (s[i].flags & ALONE) > (s[first].flags & ALONE) ||
                     ((s[i].flags & ALONE) == (s[first].flags & ALONE) && s[i].ticket < s[first].ticket);
        if (before) first = i;
    }
    if (alone) return ALONE_FIRST;
    if (!running) return first == self ? GO : ORDER; /* one always runs: no deadlock, however large it is */
    if (s[first].flags & ALONE) return ALONE_FIRST;
    if (running >= jobs) return JOBS;
    if (pressure) return PRESSURE;
    if (!fits(s, n, s[self].need, limit, free_mib)) return MEMORY;
    if (first == self) return GO;
    if (fits(s, n, s[first].need, limit, free_mib)) { /* the first can start now: only what leaves it its place may */
        if (running + 2 > jobs || !fits(s, n, (uint64_t)s[first].need + s[self].need, limit, free_mib)) return ORDER;
        return GO;
    }
    return (int64_t)s[self].need <= beside(s, n, s[first].need, limit) ? GO : ORDER;
}
