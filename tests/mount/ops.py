#!/usr/bin/env python3
"""Claims about what system calls do on a mounted FolioFS.

usage: ops.py MODE DIRECTORY      (MODE is daemon or kernel: whose page cache serves)

Prints "ok: CLAIM" or "FAILED: CLAIM: why" for each; the shell test counts them. Each claim has a
directory of its own to work in.
"""
import ctypes
import errno
import fcntl
import mmap
import os
import socket
import stat
import subprocess
import sys
import time

MODE, TOP = sys.argv[1], sys.argv[2]
LIBC = ctypes.CDLL(None, use_errno=True)
CLAIMS = []
AT_FDCWD, NOREPLACE, EXCHANGE, UNKNOWN = -100, 1, 2, 8
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16


def claim(f):
    CLAIMS.append(f)
    return f


def rename2(a, b, flags):
    if LIBC.renameat2(AT_FDCWD, a.encode(), AT_FDCWD, b.encode(), flags):
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def fallocate(fd, mode, pos, length):
    if LIBC.fallocate(fd, mode, ctypes.c_long(pos), ctypes.c_long(length)):
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def fails(want, f, *args):
    try:
        f(*args)
    except OSError as e:
        assert e.errno == want, "%s instead of %s" % (
            errno.errorcode[e.errno], errno.errorcode[want])
        return
    raise AssertionError("it succeeded")


def put(name, data=b"x"):
    with open(name, "wb") as f:
        f.write(data)


def get(name):
    with open(name, "rb") as f:
        return f.read()


@claim
def a_file_reads_back_as_written():
    data = os.urandom(3 * 1024 * 1024 + 17)
    put("f", data)
    assert get("f") == data
    assert os.stat("f").st_size == len(data)


@claim
def small_writes_at_odd_offsets_read_back():
    want = bytearray(20000)
    with open("f", "wb", buffering=0) as f:
        for i in range(0, 20000, 37):
            os.pwrite(f.fileno(), b"%5d" % i, i)
            want[i:i + 5] = b"%5d" % i
    assert get("f") == bytes(want[:os.stat("f").st_size])


@claim
def a_write_past_the_end_leaves_zeroes_between():
    with open("f", "wb", buffering=0) as f:
        f.write(b"a")
        os.pwrite(f.fileno(), b"b", 1 << 20)
    d = get("f")
    assert len(d) == (1 << 20) + 1 and d[1:-1].count(0) == len(d) - 2


@claim
def appending_goes_to_the_end():
    put("f", b"one")
    for i in range(50):
        with open("f", "ab") as f:
            f.write(b"%d," % i)
    assert get("f") == b"one" + b"".join(b"%d," % i for i in range(50))


@claim
def truncate_shortens_and_grown_bytes_are_zero():
    put("f", b"x" * 10000)
    os.truncate("f", 5000)
    os.truncate("f", 9000)
    assert get("f") == b"x" * 5000 + bytes(4000)
    os.truncate("f", 0)
    assert get("f") == b""


@claim
def open_with_o_trunc_empties():
    put("f", b"x" * 100000)
    put("f", b"y")
    assert get("f") == b"y"


@claim
def an_unlinked_open_file_lives_until_it_is_closed():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"still here")
    os.unlink("f")
    assert not os.path.exists("f")
    assert os.fstat(fd).st_nlink == 0
    os.pwrite(fd, b"more", 10)
    assert os.pread(fd, 100, 0) == b"still heremore"
    os.close(fd)


@claim
def a_removed_directory_that_is_open_is_empty_and_takes_no_entries():
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir("d")
    fails(errno.ENOENT, lambda: os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


@claim
def rename_replaces_a_file():
    put("a", b"new")
    put("b", b"old")
    os.rename("a", "b")
    assert get("b") == b"new" and not os.path.exists("a")


@claim
def rename_noreplace_refuses_an_existing_target():
    put("a", b"a")
    put("b", b"b")
    fails(errno.EEXIST, rename2, "a", "b", NOREPLACE)
    assert get("a") == b"a" and get("b") == b"b"
    rename2("a", "c", NOREPLACE)
    assert get("c") == b"a"


@claim
def rename_exchange_swaps_and_destroys_nothing():
    put("a", b"a")
    os.mkdir("d")
    put("d/in", b"in")
    rename2("a", "d", EXCHANGE)
    assert get("d") == b"a" and get("a/in") == b"in"
    fails(errno.ENOENT, rename2, "a", "none", EXCHANGE)


@claim
def unknown_rename_flags_are_refused():
    put("a")
    fails(errno.EINVAL, rename2, "a", "b", UNKNOWN)
    assert os.path.exists("a")


@claim
def a_directory_cannot_move_into_itself():
    os.makedirs("a/b/c")
    fails(errno.EINVAL, os.rename, "a", "a/b/c/d")


@claim
def moving_a_directory_changes_its_parent_and_link_counts():
    os.makedirs("p/c")
    os.mkdir("q")
    os.rename("p/c", "q/c")
    assert os.stat("p").st_nlink == 2 and os.stat("q").st_nlink == 3
    assert os.stat("q/c/..").st_ino == os.stat("q").st_ino


@claim
def rename_over_a_directory_needs_an_empty_one():
    os.makedirs("a")
    os.makedirs("b/x")
    fails(errno.ENOTEMPTY, os.rename, "a", "b")
    os.rmdir("b/x")
    os.rename("a", "b")
    put("f")
    fails(errno.ENOTDIR, os.rename, "b", "f")
    fails(errno.EISDIR, os.rename, "f", "b")


@claim
def hard_links_share_an_inode():
    put("a", b"1")
    os.link("a", "b")
    with open("b", "ab") as f:
        f.write(b"2")
    assert get("a") == b"12" and os.stat("a").st_nlink == 2
    os.unlink("a")
    assert get("b") == b"12" and os.stat("b").st_nlink == 1


@claim
def symbolic_links_hold_their_text():
    os.symlink("some/where", "s")
    assert os.readlink("s") == "some/where" and os.lstat("s").st_size == 10
    long = "x/" * 1800
    os.symlink(long, "l")
    assert os.readlink("l") == long


@claim
def special_files_keep_type_and_number():
    os.mkfifo("p")
    assert stat.S_ISFIFO(os.stat("p").st_mode)
    s = socket.socket(socket.AF_UNIX)
    s.bind("s")
    s.close()
    assert stat.S_ISSOCK(os.stat("s").st_mode)
    if os.geteuid() == 0:
        os.mknod("n", stat.S_IFCHR | 0o600, os.makedev(259, 70000))
        st = os.stat("n")
        assert stat.S_ISCHR(st.st_mode) and st.st_rdev == os.makedev(259, 70000)


@claim
def names_of_255_bytes_are_good_and_longer_ones_are_not():
    put("n" * 255)
    assert os.listdir(".") == ["n" * 255]
    for f in (lambda: put("n" * 256), lambda: os.mkdir("n" * 256), lambda: os.stat("n" * 256),
              lambda: os.unlink("n" * 256), lambda: os.symlink("x", "n" * 256),
              lambda: os.rename("n" * 255, "m" * 256), lambda: os.link("n" * 255, "m" * 256)):
        fails(errno.ENAMETOOLONG, f)


@claim
def directories_list_every_entry_once():
    names = {"file-%04d" % i for i in range(3000)}
    os.mkdir("d")
    for n in names:
        os.close(os.open("d/" + n, os.O_CREAT | os.O_WRONLY))
    got = os.listdir("d")
    assert len(got) == 3000 and set(got) == names
    assert {e.name: e.inode() for e in os.scandir("d")} == {
        n: os.stat("d/" + n).st_ino for n in names}


@claim
def entries_removed_while_listing_do_not_disturb_the_others():
    os.mkdir("d")
    for i in range(1000):
        os.close(os.open("d/%d" % i, os.O_CREAT | os.O_WRONLY))
    seen = set()
    for e in os.scandir("d"):
        assert e.name not in seen
        seen.add(e.name)
        if int(e.name) % 2:
            os.unlink("d/" + e.name)
    assert len(seen) == 1000 and len(os.listdir("d")) == 500


@claim
def a_directory_with_entries_is_not_removed():
    os.makedirs("d/e")
    fails(errno.ENOTEMPTY, os.rmdir, "d")
    put("f")
    fails(errno.ENOTDIR, os.rmdir, "f")
    fails(errno.EISDIR, os.unlink, "d")


@claim
def xattrs_of_any_size_are_kept():
    put("f")
    values = {"user.a": b"1", "user.empty": b"", "user.big": os.urandom(60000),
              "user.mid": os.urandom(3000)}
    for k, v in values.items():
        os.setxattr("f", k, v)
    assert set(os.listxattr("f")) == set(values)
    for k, v in values.items():
        assert os.getxattr("f", k) == v, k
    os.setxattr("f", "user.big", b"small")
    assert os.getxattr("f", "user.big") == b"small"
    os.removexattr("f", "user.big")
    fails(errno.ENODATA, os.getxattr, "f", "user.big")
    fails(errno.ENODATA, os.removexattr, "f", "user.big")


@claim
def xattr_create_and_replace_flags_hold():
    put("f")
    fails(errno.ENODATA, os.setxattr, "f", "user.a", b"1", os.XATTR_REPLACE)
    os.setxattr("f", "user.a", b"1", os.XATTR_CREATE)
    fails(errno.EEXIST, os.setxattr, "f", "user.a", b"2", os.XATTR_CREATE)


@claim
def attributes_of_the_system_other_than_access_control_lists_are_refused():
    put("f")
    fails(errno.EOPNOTSUPP, os.setxattr, "f", "system.other", b"x")
    fails(errno.EINVAL, os.setxattr, "f", "system.posix_acl_access", b"\2\0\0\0\1")


@claim
def times_are_kept_to_the_nanosecond():
    put("f")
    os.utime("f", ns=(1111111111_123456789, 2222222222_987654321))
    st = os.stat("f")
    assert st.st_atime_ns == 1111111111_123456789 and st.st_mtime_ns == 2222222222_987654321


@claim
def writing_changes_mtime_and_ctime():
    put("f")
    os.utime("f", ns=(0, 0))
    before = time.time_ns() - 10**9
    with open("f", "ab") as f:
        f.write(b"y")
    st = os.stat("f")
    assert st.st_mtime_ns > before and st.st_ctime_ns > before


@claim
def changing_entries_changes_the_directory_times():
    os.mkdir("d")
    os.utime("d", ns=(0, 0))
    put("d/f")
    assert os.stat("d").st_mtime_ns > 0
    os.utime("d", ns=(0, 0))
    os.unlink("d/f")
    assert os.stat("d").st_mtime_ns > 0


@claim
def modes_are_what_chmod_and_umask_say():
    old = os.umask(0o027)
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, 0o666))
    os.umask(old)
    assert stat.S_IMODE(os.stat("f").st_mode) == 0o640
    os.chmod("f", 0o4751)
    assert stat.S_IMODE(os.stat("f").st_mode) == 0o4751


@claim
def fallocate_reserves_and_punches():
    with open("f", "w+b", buffering=0) as f:
        f.write(b"x" * 65536)
        fallocate(f.fileno(), 0, 0, 1 << 20)
        assert os.stat("f").st_size == 1 << 20
        fallocate(f.fileno(), KEEP_SIZE, 1 << 20, 1 << 20)
        assert os.stat("f").st_size == 1 << 20
        fallocate(f.fileno(), PUNCH_HOLE | KEEP_SIZE, 4096, 8192)
        fallocate(f.fileno(), ZERO_RANGE, 20000, 100)
        d = os.pread(f.fileno(), 65536, 0)
    want = bytearray(b"x" * 65536)
    want[4096:12288] = bytes(8192)
    want[20000:20100] = bytes(100)
    assert d == bytes(want)


@claim
def holes_and_data_are_found():
    with open("f", "wb", buffering=0) as f:
        os.pwrite(f.fileno(), b"x" * 65536, 4 << 20)
        os.ftruncate(f.fileno(), 8 << 20)
        os.fsync(f.fileno())
    fd = os.open("f", os.O_RDONLY)
    assert os.lseek(fd, 0, os.SEEK_DATA) == 4 << 20
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
    assert os.lseek(fd, 4 << 20, os.SEEK_HOLE) == (4 << 20) + 65536
    fails(errno.ENXIO, os.lseek, fd, (4 << 20) + 65536, os.SEEK_DATA)
    os.close(fd)
    assert os.stat("f").st_blocks * 512 <= 2 << 20


@claim
def a_copy_of_a_file_still_being_written_loses_nothing():
    with open("f", "wb", buffering=0) as f:
        f.write(os.urandom(100000))
        subprocess.run(["cp", "--sparse=auto", "f", "g"], check=True)
        assert get("f") == get("g")


@claim
def o_direct_and_buffered_access_agree():
    fd = os.open("f", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    buf = mmap.mmap(-1, 65536)
    buf.write(b"d" * 65536)
    os.pwrite(fd, buf, 0)
    assert get("f") == b"d" * 65536
    with open("f", "r+b", buffering=0) as f:
        os.pwrite(f.fileno(), b"b" * 4096, 8192)
    os.preadv(fd, [buf], 0)
    assert buf[8192:12288] == b"b" * 4096 and buf[:8192] == b"d" * 8192
    os.close(fd)


@claim
def a_private_mapping_reads_and_runs():
    data = os.urandom(100000)
    put("f", data)
    with open("f", "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ,
                                          flags=mmap.MAP_PRIVATE) as m:
        assert m[:] == data
    subprocess.run(["cp", "/bin/true", "t"], check=True)
    subprocess.run(["./t"], check=True)


@claim
def stores_to_a_shared_mapping_reach_the_file():
    put("f", bytes(1 << 20))
    with open("f", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        for i in range(0, 1 << 20, 4096):
            m[i:i + 4] = b"%04x" % (i >> 12)
        m.flush()
    d = get("f")
    assert all(d[i:i + 4] == b"%04x" % (i >> 12) for i in range(0, 1 << 20, 4096))


@claim
def write_and_shared_mapping_see_each_other():
    if MODE != "kernel":
        return      # not promised: docs/GUARANTEES.md
    put("f", bytes(65536))
    with open("f", "r+b", buffering=0) as f, mmap.mmap(f.fileno(), 0) as m:
        os.pwrite(f.fileno(), b"written", 5000)
        assert m[5000:5007] == b"written"
        m[9000:9006] = b"mapped"
        assert os.pread(f.fileno(), 6, 9000) == b"mapped"


@claim
def locks_exclude():
    put("f")
    with open("f", "r+b") as a, open("f", "r+b") as b:
        fcntl.flock(a, fcntl.LOCK_EX)
        fails(errno.EAGAIN, fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(a, fcntl.LOCK_EX, 10, 0)
        r = subprocess.run([sys.executable, "-c",
                            "import fcntl;fcntl.lockf(open('f','r+b'),fcntl.LOCK_EX|fcntl.LOCK_NB,5)"],
                           stderr=subprocess.DEVNULL)
        assert r.returncode != 0


@claim
def fsync_and_fdatasync_work_on_files_and_directories():
    fd = os.open("f", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x" * 10000)
    os.fdatasync(fd)
    os.fsync(fd)
    os.close(fd)
    fd = os.open(".", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


@claim
def synchronous_opens_write():
    for flag in (os.O_SYNC, os.O_DSYNC):
        fd = os.open("f", os.O_WRONLY | os.O_CREAT | flag)
        os.write(fd, b"y" * 5000)
        os.close(fd)
        assert get("f") == b"y" * 5000


@claim
def statvfs_tells_sizes_that_make_sense():
    st = os.statvfs(".")
    assert st.f_bsize == st.f_frsize and st.f_bfree >= st.f_bavail > 0
    assert st.f_blocks > st.f_bfree and st.f_namemax == 255


@claim
def an_existing_name_is_not_created_again():
    put("f")
    fails(errno.EEXIST, os.mkdir, "f")
    fails(errno.EEXIST, os.symlink, "x", "f")
    fails(errno.EEXIST, lambda: os.open("f", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    put("g")
    fails(errno.EEXIST, os.link, "g", "f")


@claim
def many_processes_write_their_own_parts_of_one_file():
    size = 256 * 1024
    put("f", b"")
    kids = []
    for i in range(8):
        kids.append(subprocess.Popen([sys.executable, "-c", (
            "import os\nfd=os.open('f',os.O_WRONLY)\n"
            "for k in range(64): os.pwrite(fd, bytes([%d])*4096, (k*8+%d)*4096)" % (65 + i, i))]))
    assert all(k.wait() == 0 for k in kids)
    d = get("f")
    assert len(d) == 8 * size
    assert all(d[b * 4096:(b + 1) * 4096] == bytes([65 + b % 8]) * 4096 for b in range(512))


@claim
def set_user_id_bits_go_when_an_ordinary_user_writes():
    if os.geteuid() != 0:
        return
    os.chmod(".", 0o777)
    for how in ("write", "truncate", "chown"):
        put(how, b"program")
        os.chmod(how, 0o6777)
        if how == "chown":
            os.chown(how, 1000, 1000)
        else:
            code = {"write": "open('write','ab').write(b'x')",
                    "truncate": "os.truncate('truncate', 1)"}[how]
            subprocess.run([sys.executable, "-c",
                            "import os;os.setgid(65534);os.setuid(65534);" + code], check=True)
        assert not os.stat(how).st_mode & 0o6000, how


@claim
def file_capabilities_go_when_the_file_is_written():
    if os.geteuid() != 0:
        return
    caps = bytes.fromhex("0100000200200000000000000000000000000000")
    for how in ("write", "truncate", "chown"):
        put(how, b"program")
        os.setxattr(how, "security.capability", caps)
        assert os.getxattr(how, "security.capability") == caps
        if how == "write":
            with open(how, "r+b") as f:
                f.write(b"x")
        elif how == "truncate":
            os.truncate(how, 1)
        else:
            os.chown(how, 1000, 1000)
        fails(errno.ENODATA, os.getxattr, how, "security.capability")


@claim
def files_in_a_set_group_id_directory_get_its_group():
    if os.geteuid() != 0:
        return
    os.mkdir("d")
    os.chown("d", 0, 1234)
    os.chmod("d", 0o2775)
    put("d/f")
    os.mkdir("d/s")
    assert os.stat("d/f").st_gid == 1234
    st = os.stat("d/s")
    assert st.st_gid == 1234 and st.st_mode & 0o2000


def main():
    bad = 0
    for f in CLAIMS:
        name = f.__name__.replace("_", " ")
        place = os.path.join(TOP, "claim-" + f.__name__[:60])
        os.mkdir(place)
        os.chdir(place)
        try:
            f()
            print("ok: %s" % name)
        except (AssertionError, OSError, subprocess.CalledProcessError) as e:
            bad += 1
            line = e.__traceback__.tb_next.tb_lineno if e.__traceback__.tb_next else 0
            print("FAILED: %s: %s %.200s (line %d)" % (name, type(e).__name__, e, line))
        sys.stdout.flush()
    os.chdir("/")
    return bad != 0


sys.exit(main())
