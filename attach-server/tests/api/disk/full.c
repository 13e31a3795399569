/* A full disk for tests where the system lets nobody mount a small one: loaded before the C library into a program,
 * it refuses with ENOSPC what would make a file below $LAP_TEST_DISK larger than the number of bytes in the file
 * $LAP_TEST_DISK.room. Without that file the disk has room. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int real_read_room(const char *dir, long long *room) {
  char path[4096], text[32];
  if (strlen(dir) + sizeof ".room" > sizeof path) return 0;
  strcat(strcpy(path, dir), ".room");
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  text[n < 0 ? 0 : n] = 0;
  *room = atoll(text);
  return 1;
}

/* Whether a write that ends at this offset of the file finds no room. Written over what is there: it does. */
static int no_room(int fd, off_t end) {
  const char *dir = getenv("LAP_TEST_DISK");
  char link[64] = "/proc/self/fd/", digits[16], target[4096];
  struct stat about;
  long long room;
  int saved = errno, full = 0, at = 0;
  size_t length = dir ? strlen(dir) : 0;
  if (!dir || fd < 0 || !real_read_room(dir, &room)) goto out;
  for (int n = fd; n || !at; n /= 10) digits[at++] = '0' + n % 10;
  for (char *to = link + strlen(link); at; *to = 0) *to++ = digits[--at];
  ssize_t n = readlink(link, target, sizeof target - 1);
  if (n < 0) goto out;
  target[n] = 0;
  if (strncmp(target, dir, length) || target[length] != '/') goto out;
  if (fstat(fd, &about) || !S_ISREG(about.st_mode)) goto out;
  full = end > about.st_size && end > room;
out:
  errno = saved;
  return full;
}

static off_t place(int fd) {
  struct stat about;
  if (fcntl(fd, F_GETFL) & O_APPEND) return fstat(fd, &about) ? 0 : about.st_size;
  off_t at = lseek(fd, 0, SEEK_CUR);
  return at < 0 ? 0 : at;
}

static size_t sum(const struct iovec *parts, int count) {
  size_t all = 0;
  for (int i = 0; i < count; i++) all += parts[i].iov_len;
  return all;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define REFUSE(fd, end) if (no_room(fd, end)) { errno = ENOSPC; return -1; }

ssize_t write(int fd, const void *bytes, size_t n) {
  REAL(write);
  int saved = errno;
  off_t at = place(fd);
  errno = saved;
  REFUSE(fd, at + (off_t)n);
  return real(fd, bytes, n);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(writev);
  int saved = errno;
  off_t at = place(fd);
  errno = saved;
  REFUSE(fd, at + (off_t)sum(parts, count));
  return real(fd, parts, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
  REAL(pwrite);
  REFUSE(fd, at + (off_t)n);
  return real(fd, bytes, n, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
  REAL(pwrite64);
  REFUSE(fd, at + (off_t)n);
  return real(fd, bytes, n, at);
}
int fallocate64(int fd, int mode, off64_t at, off64_t n) {
  REAL(fallocate64);
  REFUSE(fd, at + n);
  return real(fd, mode, at, n);
}
int posix_fallocate64(int fd, off64_t at, off64_t n) {
  REAL(posix_fallocate64);
  return no_room(fd, at + n) ? ENOSPC : real(fd, at, n);
}
