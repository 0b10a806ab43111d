/* What a compiler's command line makes: the name under which the unit is known, its language, what it will take. */
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char key[2600], source[1200], output[1200];
static const char *output_arg = "", *package = "";
static int lang; /* 0 C, 1 C++, 2 CUDA, 3 link */
static const char *LANGS[] = { "c", "c++", "cuda", "link" };

static void add_path(char *into, size_t size, const char *path) { /* relative to the package's tree, hashes in it as # */
    char full[2 * PATH_MAX] = "";
    const char *root = getenv("BRINGUP_TREE");
    if (path[0] != '/' && getcwd(full, PATH_MAX)) strcat(full, "/");
    strncat(full, path, PATH_MAX - 1);
    const char *at = full;
    if (root && !strncmp(full, root, strlen(root)) && full[strlen(root)] == '/') at += strlen(root) + 1;
    size_t used = 0;
    while (*at && used + 2 < size) {
        size_t length = strcspn(at, "/"), hex = strspn(at, "0123456789abcdef");
        if (length >= 16 && hex == length) into[used++] = '#';
        else for (size_t i = 0; i < length && used + 2 < size; i++) into[used++] = (at[i] == '"' || at[i] == '\\' || (unsigned char)at[i] < 32) ? '_' : at[i];
        at += length;
        if (*at == '/') { into[used++] = '/'; at++; }
    }
    into[used] = 0;
}

static int is_unit(char **argv) { /* reads source, output and language off a command line; 0 if there is nothing to govern */
    static const char *suffix[] = { ".c", ".cc", ".cpp", ".cxx", ".C", ".c++", ".cu", ".S", ".s", NULL };
    int compiles = 0, objects = 0;
    const char *src = NULL;
    for (char **a = argv + 1; *a; a++) {
        const char *dot = strrchr(*a, '.');
        if (!strcmp(*a, "-E") || !strcmp(*a, "-M") || !strcmp(*a, "-MM") || !strcmp(*a, "-###") || !strcmp(*a, "--dryrun") || !strcmp(*a, "-dryrun")) return 0;
        if (!strcmp(*a, "-c") || !strcmp(*a, "-dc") || !strcmp(*a, "--compile") || !strcmp(*a, "-cubin") || !strcmp(*a, "-ptx")) compiles = 1;
        else if (!strcmp(*a, "-o") && a[1]) output_arg = *++a;
        else if ((*a)[0] != '-' && dot && !strcmp(dot, ".o")) objects = 1;
        else if ((*a)[0] == '@') objects = 1;
        else if ((*a)[0] != '-' && dot) for (int i = 0; suffix[i]; i++) if (!strcmp(dot, suffix[i])) { src = *a; lang = i == 6 ? 2 : i == 0 || i > 6 ? 0 : 1; }
    }
    if (!compiles && !(objects && *output_arg)) return 0;
    if (compiles && !src) return 0;
    if (!compiles) lang = 3;
    const char *trial[] = { "cmTC_", "CMakeScratch", "CMakeTmp", "CompilerId", "conftest", "tmpxft_", NULL };
    for (int i = 0; trial[i]; i++) if (strstr(output_arg, trial[i]) || (src && strstr(src, trial[i]))) return 0;
    if (src) add_path(source, sizeof source, src);
    add_path(output, sizeof output, output_arg);
    snprintf(key, sizeof key, "%s|%s|%s", package, source, output);
    return 1;
}

/* MiB that the unit will take: by its own history, by the recipe's guesses, or as its language usually does. */
static uint32_t predict(const char *state_dir, const uint32_t usual[4]) {
    char path[PATH_MAX + 16];
    uint64_t hash = 1469598103934665603ULL; /* FNV-1a, as bringup/building/unit_history.py */
    for (const char *c = key; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211ULL;
    snprintf(path, sizeof path, "%s/history", state_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct { uint64_t hash; uint32_t mib, spare; } row;
    if (fd >= 0) {
        long low = 0, high = lseek(fd, 0, SEEK_END) / (long)sizeof row;
        while (low < high) {
            long middle = (low + high) / 2;
            if (pread(fd, &row, sizeof row, middle * (long)sizeof row) != sizeof row) break;
            if (row.hash == hash) { close(fd); return row.mib; }
            if (row.hash < hash) low = middle + 1; else high = middle;
        }
        close(fd);
    }
    snprintf(path, sizeof path, "%s/guesses", state_dir);
    FILE *file = fopen(path, "re");
    char line[1024], owner[128], pattern[800], *cut = strrchr(source, '/'), *tail = source;
    while (cut && cut > source && *--cut != '/') {}
    if (cut && *cut == '/') tail = cut + 1; else if (cut) tail = cut;
    uint32_t mib;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%u %127s %799[^\n]", &mib, owner, pattern) == 3 && !strcmp(owner, package) &&
            (!fnmatch(pattern, tail, 0) || !fnmatch(pattern, output_arg, 0))) { fclose(file); return mib; }
    if (file) fclose(file);
    return usual[lang];
}
