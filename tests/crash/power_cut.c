/* A disk that loses power, for a preloaded library: notes how to undo every change that is not on
 * the disk yet. It must never change what the process itself sees.
 *
 * POWER_CUT_DIR      canonical directory; regular files below it are watched
 * POWER_CUT_JOURNAL  new file outside of it that takes the notes
 * POWER_CUT_LYING    set: fdatasync and fsync say yes and do nothing
 *
 * Before a write the old bytes of the pages that it touches and the old length go to the journal;
 * a sync that succeeded notes up to where the file's notes are void. Everything that the process
 * did reaches the page cache, so a killed process leaves the real files and a journal of what to
 * take back. sync_file_range is not intercepted: it makes nothing durable. Directory entries
 * (create, rename, unlink) are durable at once. Ways of writing that are not modelled end the
 * process (synchronous descriptors) or are refused so that the caller falls back (copies inside the
 * kernel); system calls that do not go through libc and written memory maps are not seen. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define CHUNK (16 * PAGE)
#define EXPORT __attribute__((visibility("default")))
#define ALIAS(name) EXPORT __attribute__((alias(#name)))

/* What a note says. WRITE: bytes from `start` to `end` are about to be written. CUT: the same for
 * what a truncation is about to cut. LENGTH: the truncation itself, to `end`. SYNC: the notes of
 * the file before `start` are void. GONE: all of them are, the file is about to go. */
enum kind { WRITE = 1, CUT, LENGTH, SYNC, GONE };

/* A note in the journal; `bytes` old bytes follow, from `start` on. */
struct note {
    uint64_t kind, inode, start, end, length, bytes;
};

/* How long the disk takes for a sync. A kill then often hits a group that waits for it. */
static const struct timespec SYNC_TIME = {0, 2000000};

/* Held over the note of a change and the change itself, so that a sync knows which it covers. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char old_bytes[CHUNK];
static uint64_t journal_end;
static int journal = -1, lying;
static char directory[PATH_MAX];
static size_t directory_length;
static dev_t device;

static void stop(const char *why) {
    dprintf(2, "power_cut: %s\n", why);
    abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *dir = getenv("POWER_CUT_DIR"), *path = getenv("POWER_CUT_JOURNAL");
    struct stat found;
    if (!dir || !path) return;
    if (strlen(dir) >= sizeof directory || stat(dir, &found) != 0) stop("no directory");
    strcpy(directory, dir);
    directory_length = strlen(dir);
    device = found.st_dev;
    lying = getenv("POWER_CUT_LYING") != NULL;
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC;
    journal = (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
    if (journal < 0) stop("no journal");
}

/* Whether a descriptor is a regular file below the directory, and one that still has a name. */
static int watched(int fd, struct stat *found) {
    char link[40], path[PATH_MAX];
    int error = errno;
    int regular = journal >= 0 && fstat(fd, found) == 0 && S_ISREG(found->st_mode);
    ssize_t length = -1;
    if (regular && found->st_nlink > 0 && found->st_dev == device) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        length = readlink(link, path, sizeof path);
    }
    errno = error;
    return length > (ssize_t)directory_length && path[directory_length] == '/' &&
           memcmp(path, directory, directory_length) == 0;
}

static void note(struct note what, const void *bytes) {
    struct iovec parts[2] = {{&what, sizeof what}, {(void *)bytes, what.bytes}};
    ssize_t length = (ssize_t)(sizeof what + what.bytes);
    if (syscall(SYS_writev, journal, parts, 2) != length) stop("the journal cannot be written");
    journal_end += (uint64_t)length;
}

/* Notes the pages of a range as they are. The turn is taken. */
static void note_pages(int fd, const struct stat *file, enum kind kind, off_t from, off_t to) {
    uint64_t length = (uint64_t)file->st_size;
    from -= from % PAGE;
    do {
        off_t end = to - from > CHUNK ? from + CHUNK : to;
        size_t whole = (size_t)((end - from + PAGE - 1) / PAGE * PAGE);
        ssize_t got = 0;
        if (from < file->st_size) {
            /* A descriptor for writing alone cannot be read from. */
            char link[40];
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            int reader = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
            got = pread(reader, old_bytes, whole, from);
            if (reader < 0 || got < 0) stop("a file cannot be read");
            syscall(SYS_close, reader);
        }
        note((struct note){kind, file->st_ino, (uint64_t)from, (uint64_t)end, length,
                           (uint64_t)got}, old_bytes);
        from = end;
    } while (from < to);
}

static void note_truncation(int fd, const struct stat *file, off_t length) {
    if (length >= file->st_size) {
        note_pages(fd, file, WRITE, length, length);
        return;
    }
    note_pages(fd, file, CUT, length, file->st_size);
    uint64_t before = (uint64_t)file->st_size;
    note((struct note){LENGTH, file->st_ino, 0, (uint64_t)length, before, 0}, NULL);
}

/* The notes of a file that is about to lose its name. */
static void note_gone(int dir, const char *path) {
    struct stat file;
    int error = errno;
    if (journal >= 0 && fstatat(dir, path, &file, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(file.st_mode) && file.st_nlink == 1 && file.st_dev == device) {
        pthread_mutex_lock(&turn);
        note((struct note){GONE, file.st_ino, 0, 0, 0, 0}, NULL);
        pthread_mutex_unlock(&turn);
    }
    errno = error;
}

static ssize_t write_at(int fd, const struct iovec *parts, int count, off_t at, int positioned) {
    struct stat file;
    size_t length = 0;
    if (!watched(fd, &file)) {
        return positioned ? syscall(SYS_pwritev, fd, parts, count, at, 0)
                          : syscall(SYS_writev, fd, parts, count);
    }
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    pthread_mutex_lock(&turn);
    fstat(fd, &file);
    if (!positioned) {
        at = fcntl(fd, F_GETFL) & O_APPEND ? file.st_size : lseek(fd, 0, SEEK_CUR);
    }
    if (length > 0) note_pages(fd, &file, WRITE, at, at + (off_t)length);
    ssize_t done = positioned ? syscall(SYS_pwritev, fd, parts, count, at, 0)
                              : syscall(SYS_writev, fd, parts, count);
    pthread_mutex_unlock(&turn);
    return done;
}

EXPORT ssize_t write(int fd, const void *bytes, size_t length) {
    struct iovec part = {(void *)bytes, length};
    return write_at(fd, &part, 1, 0, 0);
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count) {
    return write_at(fd, parts, count, 0, 0);
}

EXPORT ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    struct iovec part = {(void *)bytes, length};
    return write_at(fd, &part, 1, at, 1);
}
ALIAS(pwrite) ssize_t pwrite64(int, const void *, size_t, off_t);

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return write_at(fd, parts, count, at, 1);
}
ALIAS(pwritev) ssize_t pwritev64(int, const struct iovec *, int, off_t);

EXPORT int ftruncate(int fd, off_t length) {
    struct stat file;
    if (!watched(fd, &file)) return (int)syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&turn);
    fstat(fd, &file);
    note_truncation(fd, &file, length);
    int done = (int)syscall(SYS_ftruncate, fd, length);
    pthread_mutex_unlock(&turn);
    return done;
}
ALIAS(ftruncate) int ftruncate64(int, off_t);

EXPORT int fallocate(int fd, int mode, off_t at, off_t length) {
    struct stat file;
    if (!watched(fd, &file)) return (int)syscall(SYS_fallocate, fd, mode, at, length);
    if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
        stop("this fallocate is not modelled");
    }
    pthread_mutex_lock(&turn);
    fstat(fd, &file);
    note_pages(fd, &file, WRITE, at, mode & ~FALLOC_FL_KEEP_SIZE ? at + length : at);
    int done = (int)syscall(SYS_fallocate, fd, mode, at, length);
    pthread_mutex_unlock(&turn);
    return done;
}
ALIAS(fallocate) int fallocate64(int, int, off_t, off_t);

EXPORT int posix_fallocate(int fd, off_t at, off_t length) {
    int error = errno, failed = fallocate(fd, 0, at, length) != 0 ? errno : 0;
    errno = error;
    return failed;
}
ALIAS(posix_fallocate) int posix_fallocate64(int, off_t, off_t);

/* What is written while a sync is under way is not covered by it. */
static int synced(int fd, long number) {
    struct stat file;
    if (!watched(fd, &file)) return (int)syscall(number, fd);
    pthread_mutex_lock(&turn);
    uint64_t covered = journal_end;
    pthread_mutex_unlock(&turn);
    nanosleep(&SYNC_TIME, NULL);
    if (lying) return 0;
    int done = (int)syscall(number, fd);
    if (done == 0) {
        pthread_mutex_lock(&turn);
        note((struct note){SYNC, file.st_ino, covered, 0, 0, 0}, NULL);
        pthread_mutex_unlock(&turn);
    }
    return done;
}

EXPORT int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

EXPORT int fsync(int fd) { return synced(fd, SYS_fsync); }

/* O_TRUNC is taken out and done by hand, so that it is noted. */
static int open_at(int dir, const char *path, int flags, mode_t mode) {
    int truncates = (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY && journal >= 0;
    int fd = (int)syscall(SYS_openat, dir, path, truncates ? flags & ~O_TRUNC : flags, mode);
    struct stat file;
    if (fd < 0 || (flags & O_ACCMODE) == O_RDONLY) return fd;
    int ours = watched(fd, &file);
    if (ours && (flags & (O_DSYNC | O_SYNC))) stop("synchronous descriptors are not modelled");
    if (truncates && !(ours && file.st_size == 0)) ftruncate(fd, 0);
    return fd;
}

static mode_t mode_of(int flags, va_list rest) {
    int creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    return creates ? va_arg(rest, mode_t) : 0;
}

EXPORT int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(AT_FDCWD, path, flags, mode);
}
ALIAS(open) int open64(const char *, int, ...);

EXPORT int openat(int dir, const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(dir, path, flags, mode);
}
ALIAS(openat) int openat64(int, const char *, int, ...);

EXPORT int creat(const char *path, mode_t mode) {
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
ALIAS(creat) int creat64(const char *, mode_t);

EXPORT int unlinkat(int dir, const char *path, int flags) {
    note_gone(dir, path);
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

EXPORT int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

EXPORT int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    if (flags == 0) note_gone(to, new);
    return (int)syscall(SYS_renameat2, from, old, to, new, flags);
}

EXPORT int renameat(int from, const char *old, int to, const char *new) {
    return renameat2(from, old, to, new, 0);
}

EXPORT int rename(const char *old, const char *new) {
    return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0);
}

/* Copies inside the kernel: refused with what makes callers read and write instead. */
EXPORT ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t length, unsigned f) {
    struct stat file;
    if (!watched(out, &file)) return syscall(SYS_copy_file_range, in, from, out, to, length, f);
    errno = EXDEV;
    return -1;
}

EXPORT ssize_t sendfile(int out, int in, off_t *from, size_t length) {
    struct stat file;
    if (!watched(out, &file)) return syscall(SYS_sendfile, out, in, from, length);
    errno = EINVAL;
    return -1;
}
ALIAS(sendfile) ssize_t sendfile64(int, int, off_t *, size_t);
