#!/usr/bin/env python3
"""Files without a name (O_TMPFILE), time of birth, file handles."""
from rules import *


def tmpfile(flags=0, mode=0o600):
    return os.open(".", os.O_TMPFILE | os.O_RDWR | flags, mode)


@rule
def a_file_without_a_name_is_a_file_like_any():
    fd = tmpfile()
    st = os.fstat(fd)
    assert st.st_nlink == 0 and st.st_size == 0 and stat.S_ISREG(st.st_mode)
    assert stat.S_IMODE(st.st_mode) == 0o600 and st.st_uid == os.geteuid()
    os.write(fd, b"x" * 100000)
    os.ftruncate(fd, 50000)
    os.fsync(fd)
    assert os.pread(fd, 100000, 0) == b"x" * 50000
    assert os.listdir(".") == []
    os.close(fd)


@rule
def a_file_without_a_name_can_be_given_one():
    fd = tmpfile(mode=0o644)
    os.write(fd, b"contents")
    link_fd(fd, "f")
    assert os.fstat(fd).st_nlink == 1
    assert get("f") == b"contents" and os.listdir(".") == ["f"]
    os.close(fd)
    assert get("f") == b"contents"
    os.link("f", "g")
    os.unlink("f")
    os.unlink("g")


@rule(served=True)
def a_named_file_survives_a_remount_and_the_others_are_gone():
    def free():
        st = os.statvfs(".")
        return st.f_bfree * st.f_frsize

    remount()                  # what other rules wrote has its place
    before = free()
    fds = [tmpfile(mode=0o644) for _ in range(5)]
    for i, fd in enumerate(fds):
        os.write(fd, b"%d" % i * 400000)
    link_fd(fds[2], "kept")
    for fd in fds:
        os.close(fd)
    remount()
    assert os.listdir(".") == ["kept"] and get("kept") == b"2" * 400000
    os.unlink("kept")
    remount()
    assert free() >= before - (1 << 20)


@rule(only="foliofs", why="the others are not killed", served=True)
def a_named_file_that_was_synced_survives_a_crash_and_the_others_are_gone():
    fds = [tmpfile(mode=0o644) for _ in range(3)]
    for i, fd in enumerate(fds):
        os.write(fd, b"%d" % i * 100000)
        os.fsync(fd)
    link_fd(fds[1], "kept")
    os.fsync(fds[1])
    crash()
    abandon(*fds)
    assert os.listdir(".") == ["kept"] and get("kept") == b"1" * 100000


@rule
def o_excl_keeps_it_without_a_name():
    fd = tmpfile(os.O_EXCL)
    fails(errno.ENOENT, link_fd, fd, "f")
    os.close(fd)


@rule
def an_unlinked_file_does_not_come_back():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.unlink("f")
    fails(errno.ENOENT, link_fd, fd, "g")
    os.close(fd)
    fd = tmpfile()
    link_fd(fd, "f")
    os.unlink("f")
    fails(errno.ENOENT, link_fd, fd, "g")
    os.close(fd)


@rule
def o_tmpfile_needs_a_directory_and_write_access():
    put("f")
    fails(errno.ENOTDIR, os.open, "f", os.O_TMPFILE | os.O_RDWR)
    fails(errno.EINVAL, os.open, ".", os.O_TMPFILE | os.O_RDONLY)
    fails(errno.ENOENT, os.open, "none", os.O_TMPFILE | os.O_RDWR)


@rule(root=True)
def o_tmpfile_needs_permission_and_takes_the_group_of_a_setgid_directory():
    os.mkdir("closed", 0o755)
    fails(errno.EACCES, as_user, os.open, "closed", os.O_TMPFILE | os.O_RDWR)
    os.mkdir("d")
    os.chown("d", 0, 1234)
    os.chmod("d", 0o2777)
    fd = os.open("d", os.O_TMPFILE | os.O_RDWR, 0o644)
    assert os.fstat(fd).st_gid == 1234
    os.close(fd)


@rule
def the_umask_holds_for_files_without_a_name():
    old = os.umask(0o027)
    fd = tmpfile(mode=0o666)
    os.umask(old)
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o640
    os.close(fd)


@rule
def the_time_of_birth_is_told_and_never_moves():
    before = time.time_ns() - 10**8
    put("f")
    born = statx("f")
    assert born["mask"] & STATX_BTIME
    assert before <= born["btime"] <= time.time_ns()
    time.sleep(0.02)
    put("f", b"more" * 1000)
    os.utime("f", ns=(0, 0))
    os.chmod("f", 0o600)
    os.rename("f", "g")
    assert statx("g")["btime"] == born["btime"]
    os.mkdir("d")
    assert statx("d")["btime"] >= born["btime"]


@rule(served=True)
def the_time_of_birth_is_kept():
    put("f")
    born = statx("f")["btime"]
    remount()
    assert statx("f")["btime"] == born


@rule
def statx_and_stat_agree():
    put("f", b"x" * 12345)
    os.symlink("f", "l")
    os.mkdir("d")
    for n in ("f", "l", "d"):
        a, b = statx(n, flags=0x100), os.lstat(n)
        assert (a["mode"], a["ino"], a["size"], a["nlink"], a["uid"], a["gid"], a["blocks"]) == \
            (b.st_mode, b.st_ino, b.st_size, b.st_nlink, b.st_uid, b.st_gid, b.st_blocks), n
        assert a["mtime"] == b.st_mtime_ns and a["ctime"] == b.st_ctime_ns, n
    fails(errno.ENOENT, statx, "none")


# ---- handles ----

@rule(root=True)
def a_file_is_opened_by_its_handle():
    put("f", b"abc")
    os.mkdir("d")
    h, d = name_to_handle("f"), name_to_handle("d")
    fd = open_by_handle(h)
    assert os.read(fd, 10) == b"abc"
    os.close(fd)
    os.rename("f", "d/g")
    fd = open_by_handle(h)
    assert os.read(fd, 10) == b"abc"
    os.close(fd)
    fd = open_by_handle(d, os.O_RDONLY | os.O_DIRECTORY)
    assert os.listdir(fd) == ["g"]
    os.close(fd)


@rule(root=True, served=True)
def handles_are_good_after_a_remount_and_stale_after_removal():
    os.makedirs("d/e")
    put("d/e/f", b"abc")
    put("gone", b"x")
    h, d, g = name_to_handle("d/e/f"), name_to_handle("d/e"), name_to_handle("gone")
    remount()
    fd = open_by_handle(h)
    assert os.read(fd, 10) == b"abc"
    os.close(fd)
    fd = open_by_handle(d, os.O_RDONLY | os.O_DIRECTORY)
    assert os.listdir(fd) == ["f"]
    os.close(fd)
    os.unlink("gone")
    fails(errno.ESTALE, open_by_handle, g)
    remount()
    for i in range(50):                    # its number would be used again by now
        put("new%d" % i)
    fails(errno.ESTALE, open_by_handle, g)
    os.unlink("d/e/f")
    os.rmdir("d/e")
    fails(errno.ESTALE, open_by_handle, d)


@rule(root=True, served=True)
def handles_of_a_file_system_that_was_formatted_again_are_stale():
    numbers = []
    for round in range(2):
        for i in range(20):
            put("f%d" % i)
        numbers.append([os.stat("f%d" % i).st_ino for i in range(20)])
        if round == 0:
            handles = [name_to_handle("f%d" % i) for i in range(20)]
            reformat()
    for h in handles:
        fails(errno.ESTALE, open_by_handle, h)


@rule(user=True)
def opening_by_handle_needs_privileges():
    put("f")
    fails(errno.EPERM, open_by_handle, name_to_handle("f"))


main()
