/* SPDX-License-Identifier: Apache-2.0 */
/* common/file.c - the contract is in file.h.
 *
 * rename() replaces a name in one step, but only fsync of the file before it
 * and of the folder after it make both survive a power cut.
 */
#include "common/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static hearth_status io_error(hearth_error *err, const char *what,
                              const char *path) {
    int e = errno;
    hearth_status st = hearth_error_from_errno(e);
    const char *hint = st == HEARTH_ENOTFOUND ? "; check the path"
                       : st == HEARTH_ENOSPACE
                           ? "; free some space and try again"
                           : "";
    return hearth_error_set(err, st, "cannot %s %s: %s%s", what, path,
                            strerror(e), hint);
}

hearth_status hearth_file_map(hearth_file *f, const char *path,
                              hearth_error *err) {
    *f = (hearth_file)HEARTH_FILE_INIT;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_error(err, "open", path);
    struct stat st;
    hearth_status rc = HEARTH_OK;
    if (fstat(fd, &st)) {
        rc = io_error(err, "stat", path);
    } else if (!S_ISREG(st.st_mode)) {
        rc =
            hearth_error_set(err, HEARTH_EFORMAT,
                             "%s is not a file; give the path of a file", path);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            rc = io_error(err, "map", path);
        } else {
            f->map = p;
            f->v = p;
            f->n = (size_t)st.st_size;
        }
    }
    close(fd);
    return rc;
}

void hearth_file_unmap(hearth_file *f) {
    if (f->map) munmap(f->map, f->n);
    *f = (hearth_file)HEARTH_FILE_INIT;
}

#if defined(MADV_DONTNEED)
static void advise(const void *p, size_t n, int advice) {
    long page = sysconf(_SC_PAGESIZE);
    if (!p || !n || page <= 0) return;
    size_t over = (size_t)((uintptr_t)p % (uintptr_t)page);
    (void)madvise((unsigned char *)(uintptr_t)p - over, n + over, advice);
}
#endif

void hearth_file_forget(const void *p, size_t n) {
#if defined(MADV_DONTNEED)
    advise(p, n, MADV_DONTNEED);
#else
    (void)p;
    (void)n;
#endif
}

void hearth_file_expect(const void *p, size_t n, bool scattered) {
#if defined(MADV_DONTNEED)
    advise(p, n, scattered ? MADV_RANDOM : MADV_NORMAL);
#else
    (void)p;
    (void)n;
    (void)scattered;
#endif
}

hearth_status hearth_file_read(hearth_buf *out, const char *path,
                               size_t max_bytes, hearth_error *err) {
    FILE *fp = fopen(path, "rb");
    if (!fp) return io_error(err, "open", path);
    hearth_status rc = HEARTH_OK;
    unsigned char chunk[2048];
    size_t start = out->n, n;
    while (rc == HEARTH_OK && (n = fread(chunk, 1, sizeof(chunk), fp)) > 0) {
        if (n > max_bytes - (out->n - start))
            rc = hearth_error_set(err, HEARTH_ETOOBIG,
                                  "%s is larger than %zu bytes", path,
                                  max_bytes);
        else if ((rc = hearth_buf_append(out, chunk, n)) != HEARTH_OK)
            hearth_error_set(err, rc, "out of memory reading %s", path);
    }
    if (rc == HEARTH_OK && ferror(fp)) rc = io_error(err, "read", path);
    fclose(fp);
    return rc;
}

hearth_status hearth_file_join(char *out, size_t cap, const char *dir,
                               const char *name) {
    size_t n = strlen(dir);
    const char *slash = n && dir[n - 1] == '/' ? "" : "/";
    int k = snprintf(out, cap, "%s%s%s", dir, slash, name);
    if (k < 0 || (size_t)k >= cap) {
        if (cap) out[0] = '\0';
        return HEARTH_ETOOBIG;
    }
    return HEARTH_OK;
}

hearth_status hearth_file_writer_open(hearth_file_writer *w, const char *path,
                                      unsigned mode, hearth_error *err) {
    memset(w, 0, sizeof(*w));
    int a = snprintf(w->path, sizeof(w->path), "%s", path);
    int b = snprintf(w->temp, sizeof(w->temp), "%s.tmp.XXXXXX", path);
    if (a < 0 || (size_t)a >= sizeof(w->path) || b < 0 ||
        (size_t)b >= sizeof(w->temp))
        return hearth_error_set(err, HEARTH_ETOOBIG, "path is too long");
    int fd = mkstemp(w->temp);
    if (fd < 0) {
        w->temp[0] = '\0';
        return io_error(err, "create", path);
    }
    if (fchmod(fd, (mode_t)mode) || !(w->fp = fdopen(fd, "wb"))) {
        hearth_status rc = io_error(err, "create", path);
        close(fd);
        unlink(w->temp);
        w->temp[0] = '\0';
        return rc;
    }
    return HEARTH_OK;
}

hearth_status hearth_file_writer_put(hearth_file_writer *w, const void *p,
                                     size_t n, hearth_error *err) {
    if (!w->fp) return hearth_error_set(err, HEARTH_ESTATE, "writer is closed");
    errno = 0;
    if (n && fwrite(p, 1, n, w->fp) != n)
        return io_error(err, "write", w->path);
    return HEARTH_OK;
}

hearth_status hearth_file_sync_dir(const char *path, hearth_error *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return io_error(err, "open", path);
    hearth_status rc = HEARTH_OK;
    if (fsync(fd) && errno != EINVAL) rc = io_error(err, "sync", path);
    close(fd);
    return rc;
}

static hearth_status sync_parent(const char *path, hearth_error *err) {
    char dir[1024];
    const char *slash = strrchr(path, '/');
    if (!slash) return hearth_file_sync_dir(".", err);
    size_t n = slash == path ? 1 : (size_t)(slash - path);
    if (n >= sizeof(dir)) return HEARTH_ETOOBIG;
    memcpy(dir, path, n);
    dir[n] = '\0';
    return hearth_file_sync_dir(dir, err);
}

hearth_status hearth_file_writer_commit(hearth_file_writer *w,
                                        hearth_error *err) {
    if (!w->fp) return hearth_error_set(err, HEARTH_ESTATE, "writer is closed");
    hearth_status rc = HEARTH_OK;
    errno = 0;
    if (fflush(w->fp) || fsync(fileno(w->fp)))
        rc = io_error(err, "write", w->path);
    if (fclose(w->fp) && rc == HEARTH_OK) rc = io_error(err, "write", w->path);
    w->fp = NULL;
    if (rc == HEARTH_OK && rename(w->temp, w->path))
        rc = io_error(err, "rename", w->path);
    if (rc != HEARTH_OK) unlink(w->temp);
    w->temp[0] = '\0';
    return rc == HEARTH_OK ? sync_parent(w->path, err) : rc;
}

void hearth_file_writer_abort(hearth_file_writer *w) {
    if (w->fp) fclose(w->fp);
    if (w->temp[0]) unlink(w->temp);
    w->fp = NULL;
    w->temp[0] = '\0';
}

hearth_status hearth_file_write(const char *path, const void *p, size_t n,
                                unsigned mode, hearth_error *err) {
    hearth_file_writer w;
    hearth_status rc = hearth_file_writer_open(&w, path, mode, err);
    if (rc != HEARTH_OK) return rc;
    rc = hearth_file_writer_put(&w, p, n, err);
    if (rc == HEARTH_OK) return hearth_file_writer_commit(&w, err);
    hearth_file_writer_abort(&w);
    return rc;
}

hearth_status hearth_file_mkdirs(const char *path, hearth_error *err) {
    char part[1024];
    size_t n = strlen(path);
    if (n >= sizeof(part))
        return hearth_error_set(err, HEARTH_ETOOBIG, "path is too long");
    for (size_t i = 0; i <= n; i++) {
        if (i == 0 || (path[i] != '/' && path[i] != '\0')) continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) && errno != EEXIST)
            return io_error(err, "create folder", part);
    }
    if (!hearth_file_is_dir(path))
        return hearth_error_set(err, HEARTH_EEXISTS,
                                "%s exists and is not a folder; remove it or "
                                "give another path",
                                path);
    return HEARTH_OK;
}

bool hearth_file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

bool hearth_file_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

hearth_status hearth_file_remove(const char *path, hearth_error *err) {
    if (unlink(path) && errno != ENOENT) return io_error(err, "remove", path);
    return HEARTH_OK;
}

static hearth_status remove_children(int dir_fd, const char *path,
                                     unsigned depth, hearth_error *err);

/* Remove `name` inside dir_fd, whatever it is. */
static hearth_status remove_at(int dir_fd, const char *name, const char *path,
                               unsigned depth, hearth_error *err) {
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? HEARTH_OK : io_error(err, "stat", path);
    if (!S_ISDIR(st.st_mode))
        return unlinkat(dir_fd, name, 0) && errno != ENOENT
                   ? io_error(err, "remove", path)
                   : HEARTH_OK;
    int fd =
        openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return io_error(err, "open", path);
    hearth_status rc = remove_children(fd, path, depth, err);
    if (rc == HEARTH_OK && unlinkat(dir_fd, name, AT_REMOVEDIR))
        rc = io_error(err, "remove", path);
    return rc;
}

/* Takes dir_fd. */
static hearth_status remove_children(int dir_fd, const char *path,
                                     unsigned depth, hearth_error *err) {
    DIR *d = fdopendir(dir_fd);
    if (!d) {
        close(dir_fd);
        return io_error(err, "open", path);
    }
    hearth_status rc = HEARTH_OK;
    if (depth > 32) rc = hearth_error_set(err, HEARTH_ETOOBIG, "%s", path);
    for (struct dirent *e; rc == HEARTH_OK && (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = remove_at(dirfd(d), e->d_name, path, depth + 1, err);
    closedir(d);
    return rc;
}

hearth_status hearth_file_remove_tree(const char *path, hearth_error *err) {
    return remove_at(AT_FDCWD, path, path, 0, err);
}

uint64_t hearth_file_free_bytes(const char *path) {
    struct statvfs v;
    if (statvfs(path, &v)) return 0;
    return (uint64_t)v.f_bavail * (uint64_t)v.f_frsize;
}
