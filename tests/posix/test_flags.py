#!/usr/bin/env python3
"""Flags of files (chattr), the label, and ioctls that are not there."""
import contextlib
from rules import *

FSGETXATTR, FSSETXATTR, GETVERSION = 0x801c581f, 0x401c5820, 0x80087601
GETLABEL, SETLABEL, FITRIM = 0x81009431, 0x41009432, 0xc0185879
FIEMAP, FICLONE, FIDEDUPERANGE = 0xc020660b, 0x40049409, 0xc0189436


@contextlib.contextmanager
def flagged(path, flags):
    set_flags(path, flags)
    try:
        yield
    finally:
        set_flags(path, 0)


@rule
def flags_are_kept_and_told():
    put("f")
    os.mkdir("d")
    for n in ("f", "d"):
        set_flags(n, NODUMP | NOATIME | SYNC)
        assert get_flags(n) & (NODUMP | NOATIME | SYNC) == NODUMP | NOATIME | SYNC
        set_flags(n, NODUMP)
        assert get_flags(n) & (NODUMP | NOATIME | SYNC) == NODUMP


@rule(served=True)
def flags_are_the_same_after_a_remount():
    put("f")
    set_flags("f", NODUMP)
    remount()
    assert get_flags("f") & (NODUMP | NOATIME) == NODUMP


@rule
def both_interfaces_tell_the_same_flags():
    put("f")
    fd = os.open("f", os.O_RDONLY)
    set_flags(fd, NODUMP | NOATIME)
    x = bytearray(fcntl.ioctl(fd, FSGETXATTR, bytes(28)))
    assert struct.unpack_from("<I", x)[0] & 0xf8 == 0x40 | 0x80
    struct.pack_into("<I", x, 0, 0x80)
    fcntl.ioctl(fd, FSSETXATTR, bytes(x))
    assert get_flags(fd) & (NODUMP | NOATIME) == NODUMP
    os.close(fd)


@rule
def unknown_flags_are_refused_and_change_nothing():
    put("f")
    before = get_flags("f")
    fd = os.open("f", os.O_RDONLY)
    fails(errno.EOPNOTSUPP, fcntl.ioctl, fd, FS_IOC_SETFLAGS, struct.pack("<II", 0x800000, 0))
    os.close(fd)
    assert get_flags("f") == before


@rule(mode="daemon", why="ctime is the kernel's there, and it does not move it")
def changing_flags_moves_ctime():
    put("f")
    before = os.stat("f")
    time.sleep(0.02)
    set_flags("f", NODUMP)
    after = os.stat("f")
    assert after.st_ctime_ns > before.st_ctime_ns and after.st_mtime_ns == before.st_mtime_ns


@rule(root=True)
def only_the_owner_changes_flags_and_only_root_these_two():
    put("f")
    os.chmod("f", 0o666)
    fails(errno.EPERM, as_user, set_flags, "f", NODUMP)
    os.chown("f", OTHER, OTHER)
    as_user(set_flags, "f", NODUMP)
    for flag in (IMMUTABLE, APPEND):
        fails(errno.EPERM, as_user, set_flags, "f", flag)
        with flagged("f", flag):
            fails(errno.EPERM, as_user, set_flags, "f", 0)


@rule(root=True, only="foliofs ext4", why="XFS does not refuse all of it to who has it open")
def nothing_about_an_immutable_file_changes():
    put("f", b"contents")
    os.setxattr("f", "user.a", b"1")
    fd = os.open("f", os.O_RDWR)
    with flagged("f", IMMUTABLE):
        for f in (lambda: os.open("f", os.O_WRONLY), lambda: os.open("f", os.O_RDWR | os.O_APPEND),
                  lambda: os.open("f", os.O_WRONLY | os.O_TRUNC), lambda: os.truncate("f", 1),
                  lambda: os.unlink("f"), lambda: os.rename("f", "g"), lambda: os.link("f", "g"),
                  lambda: os.chmod("f", 0o600), lambda: os.chown("f", 1, 1),
                  lambda: os.utime("f", ns=(0, 0)), lambda: os.utime("f"),
                  lambda: fallocate(fd, 0, 0, 10000),
                  lambda: fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 10),
                  lambda: os.ftruncate(fd, 2)):
            fails(errno.EPERM, f)
        for f in (lambda: os.setxattr("f", "user.b", b"2"), lambda: os.removexattr("f", "user.a")):
            fails((errno.EPERM, errno.EACCES), f)
        put("h")
        fails(errno.EPERM, os.rename, "h", "f")
        fails(errno.EPERM, renameat2, "h", "f", EXCHANGE)
        assert get("f") == b"contents" and os.getxattr("f", "user.a") == b"1"
    os.close(fd)
    put("f", b"again")


@rule(root=True)
def entries_of_an_immutable_directory_stay():
    os.mkdir("d")
    put("d/f", b"x")
    with flagged("d", IMMUTABLE):
        for f in (lambda: put("d/new"), lambda: os.unlink("d/f"), lambda: os.mkdir("d/e"),
                  lambda: os.rename("d/f", "d/g"), lambda: os.rename("d/f", "g"),
                  lambda: os.symlink("x", "d/s"), lambda: os.link("d/f", "d/g"),
                  lambda: os.rename("d", "e"), lambda: os.rmdir("d"), lambda: os.mkfifo("d/p"),
                  lambda: os.open("d", os.O_TMPFILE | os.O_RDWR)):
            fails((errno.EPERM, errno.EACCES), f)
        put("d/f", b"contents of entries may change")
        assert os.listdir("d") == ["f"]


@rule(root=True)
def an_append_only_file_only_grows():
    put("f", b"start")
    with flagged("f", APPEND):
        fd = os.open("f", os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"-more")
        os.close(fd)
        for f in (lambda: os.open("f", os.O_WRONLY), lambda: os.open("f", os.O_RDWR),
                  lambda: os.open("f", os.O_WRONLY | os.O_APPEND | os.O_TRUNC),
                  lambda: os.truncate("f", 1), lambda: os.unlink("f"),
                  lambda: os.rename("f", "g"), lambda: os.link("f", "g")):
            fails(errno.EPERM, f)
        os.utime("f")
        assert get("f") == b"start-more"


@rule(root=True)
def entries_of_an_append_only_directory_come_but_do_not_go():
    os.mkdir("d")
    put("d/f")
    with flagged("d", APPEND):
        put("d/g")
        for f in (lambda: os.unlink("d/f"), lambda: os.rename("d/f", "d/h"),
                  lambda: os.rename("d/f", "h")):
            fails(errno.EPERM, f)
        assert sorted(os.listdir("d")) == ["f", "g"]


@rule(root=True)
def what_was_written_before_the_flag_is_in_the_file():
    data = os.urandom(1 << 20)
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.write(fd, data)
    with flagged("f", IMMUTABLE):
        os.fsync(fd)
        os.close(fd)
        fd = os.open("f", os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(fd, 1 << 20, 0) == data
    os.close(fd)


@rule
def noatime_files_keep_the_time_of_reading():
    put("f", b"x")
    os.utime("f", ns=(10**9, 2 * 10**9))
    set_flags("f", NOATIME)
    get("f")
    assert os.stat("f").st_atime_ns == 10**9


@rule(only="foliofs", why="the others are not killed", served=True)
def writes_to_a_file_with_the_sync_flag_are_there_after_a_crash():
    put("f", b"")
    set_flags("f", SYNC)
    fd = os.open(".", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    fd = os.open("f", os.O_WRONLY)
    os.write(fd, b"durable" * 10000)
    crash()
    abandon(fd)
    assert get("f") == b"durable" * 10000


@rule
def the_generation_is_told():
    put("f")
    fd = os.open("f", os.O_RDONLY)
    fcntl.ioctl(fd, GETVERSION, bytes(8))
    os.close(fd)


@rule(root=True, only="foliofs", why="ext4 keeps 16 bytes, XFS 12", served=True)
def the_label_can_be_read_and_changed():
    fd = os.open(".", os.O_RDONLY)
    text = b"a label of some length, with \xc3\xa4"
    fcntl.ioctl(fd, SETLABEL, text.ljust(256, b"\0"))
    assert fcntl.ioctl(fd, GETLABEL, bytes(256)).rstrip(b"\0") == text
    fails(errno.EINVAL, fcntl.ioctl, fd, SETLABEL, (b"x" * 64).ljust(256, b"\0"))
    os.close(fd)
    remount()
    fd = os.open(".", os.O_RDONLY)
    assert fcntl.ioctl(fd, GETLABEL, bytes(256)).rstrip(b"\0") == text
    os.close(fd)


@rule(user=True)
def the_label_is_roots_to_change():
    fd = os.open(".", os.O_RDONLY)
    fcntl.ioctl(fd, GETLABEL, bytes(256))
    fails(errno.EPERM, fcntl.ioctl, fd, SETLABEL, b"x".ljust(256, b"\0"))
    os.close(fd)


def fitrim(start=0, length=2**64 - 1, minlen=0):
    fd = os.open(".", os.O_RDONLY)
    try:
        return struct.unpack("QQQ", fcntl.ioctl(fd, FITRIM, struct.pack("QQQ", start, length,
                                                                        minlen)))[1]
    finally:
        os.close(fd)


@rule(root=True, only="foliofs ext4", why="how much XFS gives back is its own matter")
def trimming_gives_space_back_to_the_host_and_keeps_files():
    data = os.urandom(1 << 20)
    put("kept", data)
    put("gone", os.urandom(32 << 20))
    sync()
    full = os.stat(IMAGE).st_blocks
    os.unlink("gone")
    sync()
    time.sleep(0.1)
    assert fitrim() >= 32 << 20
    assert os.stat(IMAGE).st_blocks * 512 <= full * 512 - (24 << 20)
    os.posix_fadvise(os.open("kept", os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)
    assert get("kept") == data
    put("new", os.urandom(8 << 20))


@rule(user=True)
def trimming_is_roots():
    fails(errno.EPERM, fitrim)


@rule(only="foliofs", why="what FUSE does not hand on; the others have some of it")
def extent_maps_and_clones_are_refused_and_change_nothing():
    put("f", b"f" * 8192)
    put("g", b"g" * 8192)
    src, dst = os.open("f", os.O_RDONLY), os.open("g", os.O_RDWR)
    refused = errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL
    fails(refused, fcntl.ioctl, src, FIEMAP, struct.pack("QQIIII", 0, 8192, 0, 0, 0, 0))
    fails(refused, fcntl.ioctl, dst, FICLONE, src)
    one = struct.pack("QQHHIqQiI", 0, 4096, 1, 0, 0, dst, 0, 0, 0)
    try:
        one = fcntl.ioctl(src, FIDEDUPERANGE, one)
    except OSError as e:
        assert e.errno in refused, e
    else:
        assert struct.unpack("QQHHIqQiI", one)[7] < 0       # the status of that range
    assert get("f") == b"f" * 8192 and get("g") == b"g" * 8192
    os.close(src)
    os.close(dst)


@rule
def unknown_ioctls_are_enotty():
    put("f")
    os.mkdir("d")
    for n in ("f", "d"):
        fd = os.open(n, os.O_RDONLY)
        for cmd in (0x5401, 0xc0ffee, 0x80047601 + 0x50):
            fails(errno.ENOTTY, fcntl.ioctl, fd, cmd, bytes(256))
        os.close(fd)


main()
