/* SPDX-License-Identifier: Apache-2.0 */
/* client/records/destroy.c - the contract is in destroy.h. */
#include "client/records/destroy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"

#define PATH_BYTES 1024

static hearth_status failed(hearth_error *err, const char *path) {
    int e = errno;
    return hearth_error_set(err, hearth_error_from_errno(e),
                            "%.150s: %s; make the state directory writable "
                            "and forget again",
                            path, strerror(e));
}

static hearth_status overwrite(int fd, off_t left) {
    static const char zeros[4096];
    while (left > 0) {
        size_t n = left < (off_t)sizeof(zeros) ? (size_t)left : sizeof(zeros);
        ssize_t put = write(fd, zeros, n);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return HEARTH_EIO;
        left -= put;
    }
    return fsync(fd) == 0 ? HEARTH_OK : HEARTH_EIO;
}

/* A file that may not be written is unlinked all the same: its owner wanted it
 * read-only, not kept. */
static hearth_status destroy_file(const char *path, const struct stat *s,
                                  uint64_t *n_files, hearth_error *err) {
    hearth_status st = HEARTH_OK;
    if (S_ISREG(s->st_mode) && s->st_size > 0) {
        int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno == EACCES && chmod(path, 0600) == 0)
            fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) return failed(err, path);
        st = overwrite(fd, s->st_size);
        if (st != HEARTH_OK) st = failed(err, path);
        (void)close(fd);
    }
    if (st != HEARTH_OK) return st;
    if (unlink(path) != 0 && errno != ENOENT) return failed(err, path);
    if (n_files) ++*n_files;
    return HEARTH_OK;
}

static hearth_status destroy(const char *path, int depth, uint64_t *n_files,
                             hearth_error *err);

static hearth_status destroy_folder(const char *path, int depth,
                                    uint64_t *n_files, hearth_error *err) {
    char child[PATH_BYTES];
    struct dirent *e;
    hearth_status st = HEARTH_OK;
    if (depth == HEARTH_DESTROY_MAX_DEPTH)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%.150s: folders too deep; remove it by hand",
                                path);
    DIR *d = opendir(path);
    if (!d) return failed(err, path);
    while (st == HEARTH_OK && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        st = hearth_file_join(child, sizeof(child), path, e->d_name);
        if (st == HEARTH_OK) st = destroy(child, depth + 1, n_files, err);
    }
    (void)closedir(d);
    if (st != HEARTH_OK) return st;
    return rmdir(path) == 0 || errno == ENOENT ? HEARTH_OK : failed(err, path);
}

static hearth_status destroy(const char *path, int depth, uint64_t *n_files,
                             hearth_error *err) {
    struct stat s;
    if (lstat(path, &s) != 0)
        return errno == ENOENT || errno == ENOTDIR ? HEARTH_OK
                                                   : failed(err, path);
    return S_ISDIR(s.st_mode) ? destroy_folder(path, depth, n_files, err)
                              : destroy_file(path, &s, n_files, err);
}

/* Files "<name>.tmp.*" in the folder of path. */
static hearth_status destroy_temporaries(const char *path, uint64_t *n_files,
                                         hearth_error *err) {
    char folder[PATH_BYTES], child[PATH_BYTES];
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = slash ? (size_t)(slash - path) : 0, n_name = strlen(name);
    struct dirent *e;
    hearth_status st = HEARTH_OK;
    memcpy(folder, slash ? path : ".", slash ? n : 1);
    folder[slash ? n : 1] = '\0';
    DIR *d = n_name ? opendir(slash && !n ? "/" : folder) : NULL;
    if (!d) return HEARTH_OK; /* no folder, nothing in it */
    while (st == HEARTH_OK && (e = readdir(d)) != NULL) {
        if (strncmp(e->d_name, name, n_name) != 0 ||
            strncmp(e->d_name + n_name, ".tmp.", 5) != 0)
            continue;
        st = hearth_file_join(child, sizeof(child), folder, e->d_name);
        if (st == HEARTH_OK) st = destroy(child, 0, n_files, err);
    }
    (void)closedir(d);
    if (st == HEARTH_OK) st = hearth_file_sync_dir(slash ? folder : ".", err);
    return st;
}

hearth_status hearth_destroy_path(const char *path, uint64_t *n_files,
                                  hearth_error *err) {
    if (!path || !*path)
        return hearth_error_set(err, HEARTH_EINVAL, "no path given");
    if (strlen(path) >= PATH_BYTES)
        return hearth_error_set(err, HEARTH_ETOOBIG, "the path is too long");
    hearth_status st = destroy(path, 0, n_files, err);
    return st == HEARTH_OK ? destroy_temporaries(path, n_files, err) : st;
}
