"""Names: their bytes and lengths, links, symbolic links, rename in every combination, times."""
from rules import *

LONG, TOO_LONG = "n" * 255, "n" * 256
NS = 10**9


def nlink(path):
    return os.lstat(path).st_nlink


def ino(path):
    return os.lstat(path).st_ino


def ls(path="."):
    return sorted(os.listdir(path))


# ---- names ----

@rule
def names_have_255_bytes_of_any_kind_but_slash_and_nul():
    bs = bytes(b for b in range(1, 256) if b != ord("/"))
    for name in (bs[:127], bs[127:], b"\xff" * 255, b" ", b"\n", b"..." , b".x", b"-"):
        fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.close(fd)
        assert name in os.listdir(b".") and os.stat(name).st_size == 0
    assert len(os.listdir(b".")) == 8


@rule
def a_longer_name_is_enametoolong_in_every_operation():
    put("f")
    for f in (os.stat, os.mkdir, os.unlink, os.rmdir, os.mkfifo, os.readlink, os.listxattr,
              lambda n: open(n), lambda n: open(n, "w"), lambda n: os.symlink("x", n),
              lambda n: os.link("f", n), lambda n: os.link(n, "g"), lambda n: os.rename("f", n),
              lambda n: os.rename(n, "g"), lambda n: os.chmod(n, 0o600),
              lambda n: os.utime(n), lambda n: os.truncate(n, 1),
              lambda n: renameat2("f", n, NOREPLACE), lambda n: renameat2("f", n, EXCHANGE)):
        fails(errno.ENAMETOOLONG, f, TOO_LONG)
    os.rename("f", LONG)
    assert ls() == [LONG]


@rule
def a_path_of_4095_bytes_is_found_and_a_longer_one_is_enametoolong():
    top, depth = os.getcwd(), 0
    while depth < 20:
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
        depth += 1
    put("f")
    os.chdir(top)
    path = "/".join(["d" * 200] * 20)
    path += "/" + "./" * ((4095 - len(path) - 2) // 2) + "f"
    assert len(path) in (4094, 4095)
    assert get(path) == b"x"
    fails(errno.ENAMETOOLONG, os.stat, "././" + path)


@rule
def a_trailing_slash_asks_for_a_directory():
    put("f")
    os.mkdir("d")
    os.symlink("d", "l")
    fails(errno.ENOTDIR, os.stat, "f/")
    assert ino("d/") == ino("d")
    assert os.lstat("l/").st_ino == ino("d")
    fails((errno.EISDIR, errno.ENOENT), lambda: open("new/", "w"))
    fails(errno.ENOTDIR, os.rename, "f", "g/")
    os.mkdir("e/")
    os.rename("d/", "e/sub")
    fails(errno.ENOTDIR, os.stat, "f/x")


@rule
def dot_and_dotdot_are_refused_where_they_make_no_sense():
    os.mkdir("d")
    fails((errno.EINVAL, errno.EBUSY), os.rename, "d/.", "e")
    fails((errno.EINVAL, errno.EBUSY, errno.ENOTEMPTY), os.rename, "d", "d/..")
    fails(errno.EINVAL, os.rmdir, "d/.")
    fails(errno.ENOTEMPTY, os.rmdir, "d/..")
    fails(errno.EEXIST, os.mkdir, "d/..")
    fails((errno.EISDIR, errno.EPERM), os.unlink, "d/.")
    assert ino("d/..") == ino(".") and ino("d/.") == ino("d")


# ---- links ----

@rule
def links_share_one_inode_and_are_counted():
    put("a", b"one")
    os.mkdir("d")
    os.link("a", "d/b")
    assert ino("a") == ino("d/b") and nlink("a") == 2
    put("d/b", b"two")
    assert get("a") == b"two"
    os.unlink("a")
    assert nlink("d/b") == 1 and get("d/b") == b"two"
    fails(errno.EEXIST, os.link, "d/b", "d/b")
    fails(errno.EPERM, os.link, "d", "e")
    os.symlink("nowhere", "s")
    os.link("s", "t", follow_symlinks=False)
    assert os.readlink("t") == "nowhere" and nlink("s") == 2


@rule(only="foliofs", mode="daemon", root=True, why="each file system has a limit of its own")
def the_65001st_link_is_emlink_and_65000_work():
    put("f")
    os.mkdir("d")
    for i in range(65000 - 1):
        os.link("f", "d/%d" % i)
    assert nlink("f") == 65000
    fails(errno.EMLINK, os.link, "f", "one more")
    os.unlink("d/77")
    os.link("f", "one more")


@rule
def a_directory_counts_two_links_and_one_for_each_directory_in_it():
    assert nlink(".") == 2
    os.mkdir("a")
    os.mkdir("b")
    put("f")
    assert nlink(".") == 4
    os.rename("a", "b/a")
    assert nlink(".") == 3 and nlink("b") == 3
    os.rmdir("b/a")
    assert nlink("b") == 2
    os.rmdir("b")
    assert nlink(".") == 2


@rule(only="foliofs ext4", why="XFS keeps 1024 bytes")
def a_symbolic_link_keeps_its_target_of_up_to_4095_bytes():
    for n in (1, 60, 1000, 3857, 4095):
        os.symlink("t" * n, "l%d" % n)
        assert os.readlink("l%d" % n) == "t" * n and os.lstat("l%d" % n).st_size == n
    fails(errno.ENAMETOOLONG, os.symlink, "t" * 4096, "x")
    fails(errno.ENOENT, os.symlink, "", "x")
    fails(errno.EINVAL, os.readlink, ".")


@rule
def links_in_a_ring_are_eloop():
    os.symlink("b", "a")
    os.symlink("a", "b")
    fails(errno.ELOOP, os.stat, "a")
    fails(errno.ELOOP, lambda: open("a"))
    put("f")
    for i in range(41):
        os.symlink("f" if i == 0 else "c%d" % (i - 1), "c%d" % i)
    get("c30")
    fails(errno.ELOOP, os.stat, "c40")


# ---- removal ----

@rule
def only_empty_directories_are_removed_and_only_by_rmdir():
    os.mkdir("d")
    put("d/f")
    fails(errno.ENOTEMPTY, os.rmdir, "d")
    fails((errno.EISDIR, errno.EPERM), os.unlink, "d")
    fails(errno.ENOTDIR, os.rmdir, "d/f")
    os.unlink("d/f")
    os.rmdir("d")
    fails(errno.ENOENT, os.rmdir, "d")


@rule
def nothing_can_be_made_in_a_removed_directory():
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY)
    os.rmdir("d")
    assert os.fstat(fd).st_nlink == 0 and os.listdir(fd) == []
    fails(errno.ENOENT, lambda: os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    fails(errno.ENOENT, lambda: os.mkdir("f", dir_fd=fd))
    os.close(fd)


# ---- rename ----

@rule
def a_file_replaces_a_file_and_an_empty_directory_a_directory():
    put("a", b"a")
    put("b", b"b")
    keep = os.open("b", os.O_RDONLY)
    os.rename("a", "b")
    assert ls() == ["b"] and get("b") == b"a"
    assert os.read(keep, 9) == b"b" and os.fstat(keep).st_nlink == 0
    os.close(keep)
    os.mkdir("d")
    os.mkdir("e")
    put("d/x")
    os.rename("d", "e")
    assert ls("e") == ["x"] and nlink(".") == 3
    os.mkdir("d")
    fails((errno.ENOTEMPTY, errno.EEXIST), os.rename, "d", "e")
    fails(errno.ENOTDIR, os.rename, "d", "b")
    fails(errno.EISDIR, os.rename, "b", "d")


@rule
def renaming_to_another_link_of_the_same_file_does_nothing():
    put("a")
    os.link("a", "b")
    os.rename("a", "b")
    assert ls() == ["a", "b"] and nlink("a") == 2
    os.rename("a", "a")
    assert ls() == ["a", "b"]


@rule
def a_directory_is_not_moved_into_itself():
    os.makedirs("a/b/c")
    for to in ("a/x", "a/b/x", "a/b/c/x", "a/b/c"):
        fails(errno.EINVAL, os.rename, "a", to)
    fails((errno.ENOTEMPTY, errno.EEXIST), os.rename, "a/b/c", "a")
    os.makedirs("z")
    fails(errno.EINVAL, renameat2, "a", "a/b/c", EXCHANGE)
    fails(errno.EINVAL, renameat2, "a/b/c", "a", EXCHANGE)


@rule
def a_directory_that_moves_takes_its_parent_and_count_along():
    os.makedirs("a/sub/deep")
    os.mkdir("b")
    os.rename("a/sub", "b/sub")
    assert ino("b/sub/..") == ino("b") and nlink("a") == 2 and nlink("b") == 3
    assert ls("b/sub") == ["deep"]


@rule
def noreplace_refuses_an_existing_target():
    put("a", b"a")
    put("b", b"b")
    fails(errno.EEXIST, renameat2, "a", "b", NOREPLACE)
    os.link("a", "c")
    fails(errno.EEXIST, renameat2, "a", "c", NOREPLACE)
    renameat2("a", "d", NOREPLACE)
    assert ls() == ["b", "c", "d"]


@rule
def exchange_swaps_two_names_of_any_kinds():
    put("f", b"f")
    os.makedirs("d/in")
    os.mkdir("e")
    renameat2("f", "d", EXCHANGE)
    assert get("d") == b"f" and ls("f") == ["in"]
    renameat2("f/in", "d", EXCHANGE)
    assert get("f/in") == b"f" and os.path.isdir("d")
    assert nlink(".") == 2 + 3 and nlink("f") == 2 and ino("d/..") == ino(".")
    fails(errno.ENOENT, renameat2, "f", "nothing", EXCHANGE)
    fails(errno.EINVAL, renameat2, "f", "d", EXCHANGE | NOREPLACE)


@rule(root=True)
def whiteout_leaves_a_character_device_0_0_behind():
    put("a", b"a")
    put("b", b"b")
    os.mkdir("d")
    renameat2("a", "b", WHITEOUT)
    st = os.lstat("a")
    assert stat.S_ISCHR(st.st_mode) and st.st_rdev == 0 and st.st_nlink == 1
    assert get("b") == b"a" and ls() == ["a", "b", "d"]
    renameat2("b", "d/b", WHITEOUT)
    assert stat.S_ISCHR(os.lstat("b").st_mode) and get("d/b") == b"a"
    renameat2("d", "e", WHITEOUT)
    assert stat.S_ISCHR(os.lstat("d").st_mode) and ls("e") == ["b"] and nlink(".") == 3
    fails(errno.EINVAL, renameat2, "e", "a", WHITEOUT | EXCHANGE)
    os.unlink("a")
    os.unlink("d")


@rule
def an_unknown_flag_of_rename_is_einval():
    put("a")
    fails(errno.EINVAL, renameat2, "a", "b", 8)


# ---- times ----

def times(path):
    st = os.lstat(path)
    return st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns


def past(path, ns=NS):
    os.utime(path, ns=(ns, ns), follow_symlinks=False)


def moved(path, f, which):
    """f() moves just these times of path (m, c; any atime)."""
    past(path)
    _, m, c = times(path)
    time.sleep(0.02)
    f()
    _, m2, c2 = times(path)
    assert (m2 != m) == ("m" in which), "mtime"
    assert (c2 != c) == ("c" in which), "ctime"


@rule
def times_are_kept_to_the_nanosecond_over_five_centuries():
    put("f")
    for sec in (-2147483647, -1, 0, 2**31, 2**32, 15032385534):
        os.utime("f", ns=(sec * NS + 123456789, sec * NS + 987654321))
        assert times("f")[:2] == (sec * NS + 123456789, sec * NS + 987654321), sec


@rule(only="foliofs", why="others end in 2446 or before")
def times_are_kept_far_beyond_2446():
    put("f")
    for sec in (-62135596800, 253402300799, 9000000000):
        os.utime("f", ns=(sec * NS + 1, sec * NS + 2))
        assert times("f")[:2] == (sec * NS + 1, sec * NS + 2), sec


UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


def utimens(path, a, m):
    LIBC.utimensat.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
    checked(LIBC.utimensat(AT_FDCWD, path.encode(), struct.pack("<qqqq", *a, *m), 0))


@rule
def utime_omit_leaves_a_time_and_utime_now_takes_the_clock():
    put("f")
    past("f", 5 * NS)
    utimens("f", (0, UTIME_OMIT), (7, 8))
    assert times("f")[:2] == (5 * NS, 7 * NS + 8)
    utimens("f", (9, 10), (0, UTIME_OMIT))
    assert times("f")[:2] == (9 * NS + 10, 7 * NS + 8)
    c = times("f")[2]
    utimens("f", (0, UTIME_OMIT), (0, UTIME_OMIT))
    assert times("f") == (9 * NS + 10, 7 * NS + 8, c)
    utimens("f", (0, UTIME_NOW), (0, UTIME_NOW))
    assert abs(times("f")[0] - time.time_ns()) < 60 * NS
    fails(errno.EINVAL, utimens, "f", (0, NS), (0, 0))


@rule
def what_changes_a_file_moves_its_ctime_and_mtime_just_when_posix_says():
    put("f", b"x" * 9000)
    os.mkdir("d")
    moved("f", lambda: os.chmod("f", 0o600), "c")
    moved("f", lambda: os.link("f", "g"), "c")
    moved("f", lambda: os.unlink("g"), "c")
    moved("f", lambda: os.rename("f", "d/f") or os.rename("d/f", "f"), "c")
    moved("f", lambda: os.truncate("f", 100), "mc")
    moved("f", lambda: os.setxattr("f", "user.a", b"1"), "c")
    moved("f", lambda: get("f"), "")
    moved("f", lambda: os.chown("f", os.getuid(), os.getgid()), "c")

    def write():
        fd = os.open("f", os.O_WRONLY)
        os.write(fd, b"abc")
        os.close(fd)
    moved("f", write, "mc")
    moved("f", lambda: os.close(os.open("f", os.O_WRONLY)), "")


@rule
def what_changes_a_directory_moves_its_ctime_and_mtime():
    os.mkdir("d")
    os.mkdir("e")
    put("f")
    moved("d", lambda: put("d/x"), "mc")
    moved("d", lambda: put("d/x"), "")
    moved("d", lambda: os.mkdir("d/sub"), "mc")
    moved("d", lambda: put("d/sub/y"), "")
    moved("d", lambda: os.link("f", "d/l"), "mc")
    moved("d", lambda: os.rename("d/l", "d/m"), "mc")
    moved("d", lambda: os.rename("d/m", "e/m"), "mc")
    moved("d", lambda: os.unlink("d/x"), "mc")
    moved("d", lambda: os.rmdir("d/sub") if not os.unlink("d/sub/y") else None, "mc")
    moved("d", lambda: os.listdir("d"), "")
    moved("d", lambda: fails(errno.ENOENT, os.unlink, "d/none"), "")


@rule(mode="daemon", why="the kernel tells nobody of reads from its own pages")
def reading_moves_atime_when_it_is_older_than_the_change():
    put("f", b"x" * 5000)
    now = time.time_ns()
    os.utime("f", ns=(now - 100 * NS, now - 50 * NS))
    get("f")
    first = times("f")[0]
    assert first > now - 50 * NS, "read after the change"
    os.utime("f", ns=(now - 10 * NS, now - 50 * NS))
    c = times("f")[2]
    time.sleep(0.05)
    # ctime is newer than atime now, so the next read moves it, the one after does not.
    get("f")
    second = times("f")[0]
    assert second >= c
    time.sleep(0.02)
    get("f")
    assert times("f")[0] == second


@rule
def somebody_elses_times_are_set_to_now_by_who_may_write_and_to_a_value_by_the_owner_alone():
    if not ROOT:
        return
    put("f")
    os.chmod("f", 0o666)
    as_user(os.utime, "f")
    fails(errno.EPERM, as_user, os.utime, "f", (1, 1))
    os.chmod("f", 0o644)
    fails(errno.EACCES, as_user, os.utime, "f")


# ---- listing ----

@rule
def a_listing_shows_each_entry_once_that_is_there_all_the_time():
    os.mkdir("d")
    keep = {"keep%04d" % i for i in range(3000)}
    for n in keep:
        put("d/" + n, b"")
    for i in range(500):
        put("d/go%d" % i, b"")
    seen = []
    with os.scandir("d") as it:
        for n, e in enumerate(it):
            seen.append(e.name)
            if n % 7 == 0 and n // 7 < 500:
                os.unlink("d/go%d" % (n // 7))
                put("d/new%d" % n, b"")
    assert len(seen) == len(set(seen)), "twice"
    assert keep <= set(seen), "missing"


class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_uint16),
                ("type", ctypes.c_uint8), ("name", ctypes.c_char * 256)]


def open_dir(path):
    LIBC.opendir.restype = ctypes.c_void_p
    LIBC.readdir.restype = ctypes.POINTER(Dirent)
    LIBC.readdir.argtypes = [ctypes.c_void_p]
    LIBC.telldir.argtypes = [ctypes.c_void_p]
    LIBC.telldir.restype = ctypes.c_long
    LIBC.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
    LIBC.closedir.argtypes = [ctypes.c_void_p]
    return LIBC.opendir(path.encode())


def next_name(d):
    e = LIBC.readdir(d)
    return e.contents.name if e else None


@rule
def telldir_and_seekdir_find_back_whatever_was_added_and_removed():
    os.mkdir("d")
    for i in range(1000):
        put("d/f%d" % i, b"")
    d = open_dir("d")
    places = []
    while True:
        at = LIBC.telldir(d)
        name = next_name(d)
        if name is None:
            break
        places.append((at, name))
    assert len(places) == 1002
    for i in range(0, 1000, 2):
        os.unlink("d/f%d" % i)
        put("d/g%d" % i, b"")
    left = {n for _, n in places if not n.startswith(b"f") or int(n[1:]) % 2}
    for at, name in places[::37]:
        if name in left:
            LIBC.seekdir(d, at)
            got = next_name(d)
            while got is not None and got.startswith(b"g"):
                got = next_name(d)
            assert got == name, (got, name)
    LIBC.closedir(d)


@rule(only="foliofs", why="others keep the blocks of a directory")
def an_emptied_directory_gives_its_space_back():
    os.mkdir("d")
    put("d/first")
    os.unlink("d/first")
    os.sync()
    before = os.statvfs(".").f_bfree
    for i in range(5000):
        os.close(os.open("d/" + "n" * 100 + str(i), os.O_CREAT | os.O_WRONLY))
    full = os.statvfs(".").f_bfree
    assert full < before - 100
    for n in os.listdir("d"):
        os.unlink("d/" + n)
    for _ in range(100):
        if os.statvfs(".").f_bfree >= before - 8:
            break
        time.sleep(0.1)
    assert os.statvfs(".").f_bfree >= before - 8, (before, full, os.statvfs(".").f_bfree)


@rule(served=True)
def times_of_files_changed_twice_in_a_moment_are_the_same_after_a_remount():
    for i in range(300):
        fd = os.open("f%d" % i, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.write(fd, b"x" * 100)
        how = i % 4
        if how == 0:
            os.close(os.open("f%d" % i, os.O_WRONLY | os.O_TRUNC))
        elif how == 1:
            os.posix_fallocate(fd, 0, 8192)
        elif how == 2:
            os.ftruncate(fd, 10)
        else:
            src = os.open("f0", os.O_RDONLY)
            os.write(fd, b"y")
            os.copy_file_range(src, fd, 50, 0, 0)
            os.close(src)
        os.close(fd)

    def state():
        return [times("f%d" % i)[1:] for i in range(300)]
    before = state()
    remount()
    after = state()
    odd = [(i % 4, b, a) for i, (b, a) in enumerate(zip(before, after)) if a != b]
    assert not odd, (len(odd), odd[0])


@rule(served=True)
def names_links_and_times_are_the_same_after_a_remount():
    put("a", b"1")
    os.link("a", "b")
    os.symlink("t" * 4095 if FS == "foliofs" else "t" * 1000, "l")
    os.mkdir("d")
    os.mkfifo("d/p")
    os.utime("a", ns=(-5 * NS + 1, 2**32 * NS + 2) if FS == "foliofs" else (1, 2))

    def state():
        return [(n, os.lstat(n).st_mode, nlink(n), times(n)[1:], ino(n))
                for n in ("a", "b", "l", "d", "d/p")] + [os.readlink("l")]
    before = state()
    remount()
    assert state() == before


main()
