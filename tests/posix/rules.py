"""What the rules in test_*.py are written with. run.sh tells how to add one.

    from rules import *

    @rule                                  root and ordinary users
    def a_name_of_the_rule(): ...
    @rule(root=True)                       only when the caller is root
    @rule(user=True)                       only when it is not
    @rule(only="foliofs ext4", why="...")  where the others do or may do something else
    @rule(mode="kernel", why="...")        only with that page cache (FolioFS)
    @rule(served=True)                     needs remount() or crash()

    main()                                 at the end of the file

Each rule is called in an empty directory of its own. Prints "ok: RULE", "FAILED: RULE: why" or
"skipped: RULE (why)".
"""
import ctypes
import errno
import fcntl
import mmap
import os
import platform
import random
import signal
import stat
import struct
import subprocess
import sys
import time
import traceback

FS = os.environ.get("POSIX_FS", "foliofs")
MODE = os.environ.get("POSIX_MODE", "daemon")
TOP = os.environ.get("POSIX_DIR", ".")
IMAGE = os.environ.get("POSIX_IMAGE", "")
ROOT = os.geteuid() == 0
OTHER = 54321                       # uid and gid of somebody else
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_FOLLOW = -100, 0x1000, 0x400
KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE, INSERT = 1, 2, 8, 16, 32
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
SECTOR = 4096
RULES = []


def rule(f=None, **how):
    if f is None:
        return lambda g: rule(g, **how)
    f.how = how
    RULES.append(f)
    return f


# ---- calls that fail ----

def fails(want, f, *args, **kw):
    """f(*args) raises OSError with this errno (or one of several)."""
    wants = want if isinstance(want, tuple) else (want,)
    try:
        f(*args, **kw)
    except OSError as e:
        assert e.errno in wants, "%s instead of %s" % (
            errno.errorcode.get(e.errno, e.errno), "/".join(errno.errorcode[w] for w in wants))
        return
    raise AssertionError("it succeeded instead of %s" %
                         "/".join(errno.errorcode[w] for w in wants))


def checked(r):
    if r < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return r


# ---- system calls that Python does not have ----

NR = {"x86_64": {"statx": 332, "renameat2": 316, "linkat": 265, "name_to_handle_at": 303,
                 "open_by_handle_at": 304, "syncfs": 306, "open_tree": 428, "move_mount": 429,
                 "mount_setattr": 442},
      "aarch64": {"statx": 291, "renameat2": 276, "linkat": 37, "name_to_handle_at": 264,
                  "open_by_handle_at": 265, "syncfs": 267, "open_tree": 428, "move_mount": 429,
                  "mount_setattr": 442}}[platform.machine()]


def fallocate(fd, mode, pos, length):
    checked(LIBC.fallocate64(fd, mode, ctypes.c_long(pos), ctypes.c_long(length)))


def renameat2(a, b, flags):
    checked(LIBC.syscall(NR["renameat2"], AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b),
                         flags))


def linkat(fd, path, newfd, newpath, flags):
    checked(LIBC.syscall(NR["linkat"], fd, os.fsencode(path), newfd, os.fsencode(newpath), flags))


def link_fd(fd, name):
    """Gives the open file a name, as programs do it without privileges."""
    linkat(AT_FDCWD, "/proc/self/fd/%d" % fd, AT_FDCWD, name, AT_SYMLINK_FOLLOW)


STATX_BTIME, STATX_ALL = 0x800, 0xfff


def statx(path, mask=STATX_ALL, fd=AT_FDCWD, flags=0):
    """A dictionary: mask, mode, nlink, uid, gid, ino, size, blocks, btime (nanoseconds), ..."""
    buf = ctypes.create_string_buffer(256)
    checked(LIBC.syscall(NR["statx"], fd, os.fsencode(path), flags, mask, buf))
    m, blksize, attributes, nlink, uid, gid, mode, ino, size, blocks, attr_mask = \
        struct.unpack_from("<IIQIIIHxxQQQQ", buf, 0)
    times = {}
    for i, name in enumerate(("atime", "btime", "ctime", "mtime")):
        s, n = struct.unpack_from("<qI", buf, 64 + 16 * i)
        times[name] = s * 10**9 + n
    return dict(times, mask=m, nlink=nlink, uid=uid, gid=gid, mode=mode, ino=ino, size=size,
                blocks=blocks, attributes=attributes, attributes_mask=attr_mask)


def name_to_handle(path):
    buf = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0), 8 + 128)
    mount = ctypes.c_int()
    checked(LIBC.syscall(NR["name_to_handle_at"], AT_FDCWD, os.fsencode(path), buf,
                         ctypes.byref(mount), 0))
    return buf.raw


def open_by_handle(handle, flags=os.O_RDONLY):
    mount = os.open(TOP, os.O_RDONLY)
    try:
        return checked(LIBC.syscall(NR["open_by_handle_at"], mount,
                                    ctypes.create_string_buffer(handle, len(handle)), flags))
    finally:
        os.close(mount)


# chattr flags
IMMUTABLE, APPEND, NODUMP, NOATIME, SYNC = 0x10, 0x20, 0x40, 0x80, 0x8
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602


def get_flags(path):
    fd = path if isinstance(path, int) else os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return struct.unpack("<I", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8))[:4])[0]
    finally:
        if fd is not path:
            os.close(fd)


def set_flags(path, flags, mask=IMMUTABLE | APPEND | NODUMP | NOATIME | SYNC):
    """The flags in mask become those in flags; the others stay."""
    fd = path if isinstance(path, int) else os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        flags |= get_flags(fd) & ~mask
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("<II", flags, 0))
    finally:
        if fd is not path:
            os.close(fd)


# ---- files ----

def put(name, data=b"x"):
    with open(name, "wb") as f:
        f.write(data)


def get(name):
    with open(name, "rb") as f:
        return f.read()


def sync():
    """All of the mount is on the device. sync(2) and syncfs(2) do not reach every FUSE mount."""
    if FS == "foliofs":
        subprocess.run([os.environ["CTL"], "sync", TOP], check=True, stdout=subprocess.DEVNULL)
    fd = os.open(TOP, os.O_RDONLY)
    checked(LIBC.syscall(NR["syncfs"], fd))
    os.close(fd)


def block_bytes():
    """What is allocated at least; statfs of FolioFS counts in sectors."""
    if FS != "foliofs":
        return os.statvfs(TOP).f_frsize
    block = os.environ["POSIX_BLOCK"]
    return int(block[:-1]) << {"k": 10, "m": 20}[block[-1]]


# ---- other callers ----

def as_user(f, *args, uid=OTHER, gid=OTHER, groups=()):
    """f(*args) in a process of that user; raises here what it raised there. Needs root."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            os.setgroups(list(groups))
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            f(*args)
        except OSError as e:
            os.write(w, b"%d" % (e.errno or 0))
            code = 1
        except BaseException:
            os.write(w, traceback.format_exc().encode()[-2000:])
            code = 2
        os._exit(code)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        said = f.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 1:
        raise OSError(int(said), os.strerror(int(said)))
    if code:
        raise AssertionError(said.decode() or "exit %d" % code)


def in_child(f, *args):
    """f(*args) in a process of its own; its exit status: 0, or 1 after an exception."""
    pid = os.fork()
    if pid == 0:
        try:
            f(*args)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# ---- what only the script that started us can do ----

def ask(what):
    """Files of the mount that are open here forbid it."""
    here = os.getcwd()
    os.chdir("/")
    with open(os.environ["SERVE_ASK"], "w") as f:
        f.write(what + "\n")
    with open(os.environ["SERVE_ANSWER"]) as f:
        answer = f.readline().strip()
    assert answer == "ok", "%s: %s" % (what, answer)
    os.makedirs(here, exist_ok=True)
    os.chdir(here)


def remount():
    ask("remount")


def reformat():
    """A new file system takes the place of this one."""
    ask("format")


def crash():
    """The daemon is killed; what was not synced may be gone."""
    ask("crash")


def abandon(*fds):
    """Closes files of a mount that has crashed meanwhile."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError as e:
            assert e.errno == errno.ENOTCONN


# ---- running ----

def skip_reason(f):
    how = f.how
    if how.get("root") and not ROOT:
        return "for root"
    if how.get("user") and ROOT:
        return "for ordinary users"
    if FS not in how.get("only", FS).split():
        return how["why"]
    if FS == "foliofs" and how.get("mode", MODE) != MODE:
        return how["why"]
    if how.get("served") and "SERVE_ASK" not in os.environ:
        return "can't remount here"
    return None


def run(f):
    name = f.__name__.replace("_", " ")
    why = skip_reason(f)
    if why:
        print("skipped: %s (%s)" % (name, why))
        return True
    place = os.path.join(TOP, "rule-" + f.__name__[:80])
    os.mkdir(place)
    os.chdir(place)
    try:
        f()
        print("ok: %s" % name)
        return True
    except Exception as e:
        tb = [t for t in traceback.extract_tb(e.__traceback__) if t.filename != __file__]
        print("FAILED: %s: %s %.300s (line %d)" % (name, type(e).__name__, e,
                                                  tb[-1].lineno if tb else 0))
        return False
    finally:
        sys.stdout.flush()
        os.chdir("/")


def main():
    word = os.environ.get("POSIX_WORD", "")
    os.umask(0o022)
    bad = [f for f in RULES if word in f.__name__ and not run(f)]
    sys.exit(bool(bad))
