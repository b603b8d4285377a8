#!/usr/bin/env python3
"""Life of regular files: creation, unlinked open files, sizes, appending."""
from rules import *


@rule
def an_unlinked_open_file_lives_until_it_is_closed():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"still here")
    os.unlink("f")
    assert not os.path.exists("f")
    assert os.fstat(fd).st_nlink == 0
    os.pwrite(fd, b"more", 10)
    assert os.pread(fd, 100, 0) == b"still heremore"
    os.close(fd)


@rule(only="foliofs", why="the others are not killed", served=True)
def space_of_an_unlinked_open_file_returns_after_a_crash():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    top = os.open(".", os.O_RDONLY)
    os.fsync(top)
    before = os.statvfs(".").f_bfree
    os.write(fd, b"x" * (8 << 20))
    os.unlink("f")
    os.fsync(fd)
    os.fsync(top)
    assert os.statvfs(".").f_bfree <= before - (8 << 20) // 4096
    crash()
    abandon(fd, top)
    assert not os.path.exists("f")
    for _ in range(100):                # given back in the background
        if os.statvfs(".").f_bfree >= before - 64:
            return
        time.sleep(0.1)
    raise AssertionError((before, os.statvfs(".").f_bfree))


@rule
def a_file_stays_open_through_its_removal_and_that_of_its_directory():
    os.mkdir("d")
    fd = os.open("d/f", os.O_RDWR | os.O_CREAT)
    os.unlink("d/f")
    os.rmdir("d")
    os.pwrite(fd, b"x" * 100000, 0)
    os.ftruncate(fd, 50000)
    os.fsync(fd)
    assert os.pread(fd, 100000, 0) == b"x" * 50000
    os.close(fd)


@rule
def o_excl_refuses_an_existing_name_also_a_dangling_link():
    put("f")
    os.symlink("nowhere", "l")
    for n in ("f", "l"):
        fails(errno.EEXIST, os.open, n, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert not os.path.exists("nowhere")


@rule
def o_trunc_empties_and_moves_mtime():
    put("f", b"x" * 100000)
    os.utime("f", ns=(0, 0))
    os.close(os.open("f", os.O_WRONLY | os.O_TRUNC))
    st = os.stat("f")
    assert st.st_size == 0 and st.st_mtime_ns > 0


@rule(served=True)
def contents_and_sizes_are_the_same_after_a_remount():
    data = {n: os.urandom(n) for n in (0, 1, 2048, 2049, 4096, 65537, 1 << 20)}
    for n, d in data.items():
        put("f%d" % n, d)
    remount()
    for n, d in data.items():
        assert get("f%d" % n) == d, n


main()
