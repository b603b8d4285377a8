#!/usr/bin/env python3
"""Contents of regular files: sizes, holes, fallocate, copying, appending, vectors, splice."""
import resource
import time
from rules import *

MAX = (1 << 63) - 1


# ---- sizes ----

@rule(only="foliofs", why="the others have smaller limits")
def a_file_is_as_long_as_the_largest_offset_and_efbig_beyond():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, MAX)
    assert os.fstat(fd).st_size == MAX
    assert os.pread(fd, 10, MAX - 10) == bytes(10)
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"end", MAX - 3)
    assert os.fstat(fd).st_size == MAX
    assert os.pread(fd, 3, MAX - 3) == b"end"
    fails((errno.EFBIG, errno.EINVAL), os.pwrite, fd, b"too much", MAX - 3)
    fails(errno.EFBIG, fallocate, fd, 0, MAX - 10, 11)
    os.fsync(fd)
    os.ftruncate(fd, 0)
    os.close(fd)


@rule
def negative_sizes_and_offsets_are_einval():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    fails(errno.EINVAL, os.ftruncate, fd, -1)
    fails(errno.EINVAL, os.truncate, "f", -1)
    fails(errno.EINVAL, os.pread, fd, 1, -1)
    fails(errno.EINVAL, os.pwrite, fd, b"x", -1)
    fails(errno.EINVAL, os.lseek, fd, -1, os.SEEK_SET)
    fails(errno.EINVAL, fallocate, fd, 0, -1, 10)
    fails(errno.EINVAL, fallocate, fd, 0, 0, 0)
    fails(errno.EINVAL, fallocate, fd, 0, 0, -1)
    os.close(fd)


@rule
def writes_far_apart_take_little_space():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    for i in range(10):
        os.pwrite(fd, b"%d" % i, i << 36)
    os.fsync(fd)
    assert os.fstat(fd).st_blocks * 512 <= 20 * max(block_bytes(), 65536)
    for i in range(10):
        assert os.pread(fd, 3, i << 36)[:1] == b"%d" % i
    assert os.pread(fd, 4096, 1 << 35) == bytes(4096)
    os.close(fd)


@rule
def the_file_size_limit_gives_efbig_and_a_signal():
    def child():
        got = []
        signal.signal(signal.SIGXFSZ, lambda s, f: got.append(s))
        resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
        fd = os.open("f", os.O_RDWR | os.O_CREAT)
        assert os.pwrite(fd, b"x" * 20000, 0) == 10000
        fails(errno.EFBIG, os.pwrite, fd, b"x", 10000)
        fails(errno.EFBIG, os.ftruncate, fd, 10001)
        os.ftruncate(fd, 10000)
        time.sleep(0)         # Python runs handlers between its own steps
        assert len(got) == 2, got
    assert in_child(child) == 0
    assert os.stat("f").st_size == 10000


@rule
def truncate_up_and_down_leaves_zeroes_where_nothing_was_written():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    want = bytearray()
    rng = random.Random(1)
    for i in range(300):
        size = rng.choice([rng.randrange(200000), rng.randrange(50) * 4096, rng.randrange(3000)])
        want = want[:size] + bytes(max(0, size - len(want)))
        os.ftruncate(fd, size)
        pos = rng.randrange(200000)
        data = bytes([1 + i % 255]) * rng.randrange(1, 9000)
        if rng.randrange(2):
            want += bytes(max(0, pos - len(want)))
            want[pos:pos + len(data)] = data
            os.pwrite(fd, data, pos)
        assert os.fstat(fd).st_size == len(want)
    assert os.pread(fd, 400000, 0) == bytes(want)
    os.close(fd)


@rule
def truncate_of_a_directory_is_eisdir_and_needs_write_permission():
    os.mkdir("d")
    fails(errno.EISDIR, os.truncate, "d", 0)
    fails(errno.EISDIR, os.open, "d", os.O_WRONLY)
    put("f", b"abc")
    fd = os.open("f", os.O_RDONLY)
    fails((errno.EINVAL, errno.EBADF), os.ftruncate, fd, 1)
    fails(errno.EBADF, os.write, fd, b"x")
    os.close(fd)
    assert get("f") == b"abc"


# ---- fallocate ----

@rule
def fallocate_takes_space_and_reads_as_zero():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"x" * 5000)
    fallocate(fd, 0, 0, 1 << 20)
    st = os.fstat(fd)
    assert st.st_size == 1 << 20 and st.st_blocks * 512 >= 1 << 20
    assert os.pread(fd, 1 << 20, 0) == b"x" * 5000 + bytes((1 << 20) - 5000)
    fallocate(fd, KEEP_SIZE, 1 << 20, 1 << 20)
    st = os.fstat(fd)
    assert st.st_size == 1 << 20 and st.st_blocks * 512 >= 2 << 20
    os.close(fd)


@rule
def punching_gives_space_back_and_leaves_zeroes():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    size = max(1 << 20, 6 * block_bytes())
    os.write(fd, b"x" * size)
    os.fsync(fd)
    os.close(os.open("f", os.O_RDONLY))      # the kernel counts blocks anew after a close
    before = os.fstat(fd).st_blocks
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 100, size - 200)
    os.fsync(fd)
    os.close(os.open("f", os.O_RDONLY))
    st = os.fstat(fd)
    assert st.st_size == size
    assert st.st_blocks < before // 2
    assert os.pread(fd, size, 0) == b"x" * 100 + bytes(size - 200) + b"x" * 100
    fails(errno.EOPNOTSUPP, fallocate, fd, PUNCH_HOLE, 0, 4096)
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 2 * size, 4096)
    assert os.fstat(fd).st_size == size
    os.close(fd)


@rule
def zero_range_zeroes_and_grows_unless_told_not_to():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"x" * 50000)
    fallocate(fd, ZERO_RANGE, 1000, 20000)
    assert os.pread(fd, 50000, 0) == b"x" * 1000 + bytes(20000) + b"x" * 29000
    fallocate(fd, ZERO_RANGE | KEEP_SIZE, 40000, 20000)
    assert os.fstat(fd).st_size == 50000
    fallocate(fd, ZERO_RANGE, 40000, 20000)
    assert os.fstat(fd).st_size == 60000
    assert os.pread(fd, 60000, 30000) == b"x" * 10000 + bytes(20000)
    os.close(fd)


@rule
def fallocate_moves_mtime_and_ctime():
    for mode in (0, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE):
        put("f", b"x" * 10000)
        os.utime("f", ns=(0, 0))
        ctime = os.stat("f").st_ctime_ns
        time.sleep(0.02)
        fd = os.open("f", os.O_RDWR)
        fallocate(fd, mode, 0, 20000 if mode == 0 else 5000)
        os.close(fd)
        st = os.stat("f")
        assert st.st_mtime_ns > 0 and st.st_ctime_ns > ctime, mode


@rule
def fallocate_of_what_is_no_file_or_not_open_for_writing_is_refused():
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY)
    fails(errno.EBADF, fallocate, fd, 0, 0, 4096)
    os.close(fd)
    put("f")
    fd = os.open("f", os.O_RDONLY)
    fails(errno.EBADF, fallocate, fd, 0, 0, 4096)
    os.close(fd)
    r, w = os.pipe()
    fails(errno.ESPIPE, fallocate, w, 0, 0, 4096)
    os.close(r)
    os.close(w)


@rule(only="foliofs", why="the kernel refuses them for FUSE only")
def collapse_and_insert_are_refused_by_the_kernel_and_change_nothing():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"x" * 300000)
    for mode in (COLLAPSE, INSERT):
        fails(errno.EOPNOTSUPP, fallocate, fd, mode, 0, 65536)
    assert os.pread(fd, 400000, 0) == b"x" * 300000
    os.close(fd)


@rule
def more_space_than_there_is_gives_enospc_and_loses_nothing():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"kept")
    fails(errno.ENOSPC, fallocate, fd, KEEP_SIZE, 0, 1 << 40)
    assert os.pread(fd, 10, 0) == b"kept"
    os.ftruncate(fd, 3)
    os.close(fd)
    put("g", b"y" * 100000)
    assert get("g") == b"y" * 100000


# ---- holes ----

def map_of(fd, size):
    """The data ranges as SEEK_DATA and SEEK_HOLE tell them."""
    out, pos = [], 0
    while pos < size:
        try:
            a = os.lseek(fd, pos, os.SEEK_DATA)
        except OSError as e:
            assert e.errno == errno.ENXIO
            break
        b = os.lseek(fd, a, os.SEEK_HOLE)
        assert a >= pos and b > a
        out.append((a, b))
        pos = b
    return out


def open_unwritten(name):
    """Read-only, and the file no longer counts as open for writing: FUSE hears of that some time
    after close(2) has returned."""
    fd = os.open(name, os.O_RDONLY)
    for _ in range(1000):
        try:
            os.lseek(fd, 0, os.SEEK_HOLE)
            break
        except OSError as e:
            if e.errno != errno.EINVAL:
                raise
        time.sleep(0.01)
    return fd


KERNEL = "the kernel does not write back what it holds before it asks"


@rule(mode="daemon", why=KERNEL)
def data_and_holes_are_found_exactly():
    unit = 65536
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    for i in (1, 2, 5, 9):
        os.pwrite(fd, b"x" * unit, i * unit)
    os.ftruncate(fd, 12 * unit)
    assert map_of(fd, 12 * unit) == [(unit, 3 * unit), (5 * unit, 6 * unit),
                                     (9 * unit, 10 * unit)]
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
    assert os.lseek(fd, unit + 5, os.SEEK_DATA) == unit + 5
    assert os.lseek(fd, 11 * unit, os.SEEK_HOLE) == 11 * unit
    fails(errno.ENXIO, os.lseek, fd, 12 * unit, os.SEEK_DATA)
    fails(errno.ENXIO, os.lseek, fd, 12 * unit, os.SEEK_HOLE)
    fails(errno.ENXIO, os.lseek, fd, 10 * unit, os.SEEK_DATA)
    os.close(fd)


@rule
def the_end_of_a_file_without_holes_is_its_first_hole():
    put("f", b"x" * 100000)
    fd = open_unwritten("f")
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 100000
    assert os.lseek(fd, 99999, os.SEEK_DATA) == 99999
    os.close(fd)


@rule
def data_and_holes_of_a_file_that_nobody_writes_are_found_exactly():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"x" * 65536, 131072)
    os.ftruncate(fd, 1 << 20)
    os.close(fd)
    fd = open_unwritten("f")
    assert map_of(fd, 1 << 20) == [(131072, 196608)]
    os.close(fd)


@rule(only="foliofs", mode="kernel", why=KERNEL)
def a_file_that_is_written_answers_einval_to_a_search_for_holes():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"x" * 65536, 131072)
    for whence in (os.SEEK_DATA, os.SEEK_HOLE):
        fails(errno.EINVAL, os.lseek, fd, 0, whence)
    os.close(fd)


@rule
def a_file_with_contents_has_blocks_while_it_is_written():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"x" * 100000, 0)
    assert os.stat("f").st_blocks > 0
    os.ftruncate(fd, 1 << 20)
    assert os.stat("f").st_blocks > 0
    os.close(fd)


@rule(mode="daemon", why=KERNEL)
def a_punched_hole_is_found():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    unit = max(131072, block_bytes())
    os.write(fd, b"x" * (5 * unit))
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, unit, unit)
    assert map_of(fd, 5 * unit) == [(0, unit), (2 * unit, 5 * unit)]
    os.close(fd)


@rule
def a_sparse_copy_keeps_contents_and_holes():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    for i in range(0, 40, 3):
        os.pwrite(fd, os.urandom(65536), i * 262144)
    os.ftruncate(fd, 16 << 20)
    os.close(fd)
    subprocess.run(["cp", "--sparse=auto", "f", "g"], check=True)
    subprocess.run(["cp", "--sparse=always", "f", "h"], check=True)
    assert get("f") == get("g") == get("h")
    for n in ("g", "h"):
        assert os.stat(n).st_blocks <= os.stat("f").st_blocks + 256, n


# ---- copy_file_range ----

def copy(a, b, length, apos=None, bpos=None):
    left = length
    while left:
        n = os.copy_file_range(a, b, left, apos, bpos)
        assert n <= left
        if n == 0:
            break
        left -= n
        apos = None if apos is None else apos + n
        bpos = None if bpos is None else bpos + n
    return length - left


@rule
def copy_file_range_copies_any_range_to_any_place():
    data = os.urandom(1 << 20)
    put("a", data)
    want = bytearray()
    a, b = os.open("a", os.O_RDONLY), os.open("b", os.O_RDWR | os.O_CREAT)
    rng = random.Random(2)
    for _ in range(100):
        n, s, d = rng.randrange(1, 200000), rng.randrange(1 << 20), rng.randrange(1 << 20)
        n = min(n, (1 << 20) - s)
        assert copy(a, b, n, s, d) == n
        want += bytes(max(0, d + n - len(want)))
        want[d:d + n] = data[s:s + n]
    assert os.pread(b, 3 << 20, 0) == bytes(want)
    assert os.fstat(b).st_size == len(want)
    os.close(a)
    os.close(b)


@rule
def copy_file_range_moves_offsets_and_stops_at_the_end():
    put("a", b"0123456789")
    a, b = os.open("a", os.O_RDONLY), os.open("b", os.O_RDWR | os.O_CREAT)
    assert os.copy_file_range(a, b, 4) == 4
    assert os.copy_file_range(a, b, 100) == 6
    assert os.copy_file_range(a, b, 100) == 0
    assert get("b") == b"0123456789"
    assert os.lseek(a, 0, os.SEEK_CUR) == 10 and os.lseek(b, 0, os.SEEK_CUR) == 10
    assert os.copy_file_range(a, b, 100, 50, 0) == 0
    os.close(a)
    os.close(b)


@rule
def copy_file_range_within_a_file_refuses_overlap():
    put("a", bytes(range(256)) * 1024)
    a = os.open("a", os.O_RDWR)
    fails(errno.EINVAL, os.copy_file_range, a, a, 10000, 0, 5000)
    fails(errno.EINVAL, os.copy_file_range, a, a, 10000, 5000, 0)
    assert copy(a, a, 10000, 0, 10000) == 10000
    d = get("a")
    assert d[10000:20000] == d[:10000]
    os.close(a)


@rule
def copy_file_range_sees_what_was_just_written_and_shows_it_at_once():
    a, b = os.open("a", os.O_RDWR | os.O_CREAT), os.open("b", os.O_RDWR | os.O_CREAT)
    os.pwrite(b, b"old" * 100000, 0)
    assert os.pread(b, 10, 0) == b"oldoldoldo"
    os.pwrite(a, b"new" * 100000, 0)
    assert copy(a, b, 300000, 0, 0) == 300000
    assert os.pread(b, 300000, 0) == b"new" * 100000
    with mmap.mmap(b, 300000, prot=mmap.PROT_READ) as m:
        assert m[:] == b"new" * 100000
    os.close(a)
    os.close(b)


@rule
def copy_file_range_needs_the_right_opens():
    put("a", b"x" * 100)
    put("b", b"y" * 100)
    r, w = os.open("a", os.O_RDONLY), os.open("b", os.O_WRONLY)
    ap = os.open("b", os.O_WRONLY | os.O_APPEND)
    d = os.open(".", os.O_RDONLY)
    fails(errno.EBADF, os.copy_file_range, w, w, 10, 0, 20)
    fails(errno.EBADF, os.copy_file_range, r, r, 10, 0, 20)
    fails(errno.EBADF, os.copy_file_range, r, ap, 10)
    fails((errno.EISDIR, errno.EBADF), os.copy_file_range, d, w, 10)
    for fd in (r, w, ap, d):
        os.close(fd)


@rule
def copying_moves_the_times_of_the_target():
    put("a", b"x" * 100)
    put("b", b"y" * 100)
    os.utime("b", ns=(0, 0))
    a, b = os.open("a", os.O_RDONLY), os.open("b", os.O_RDWR)
    os.copy_file_range(a, b, 100)
    assert os.fstat(b).st_mtime_ns > 0
    os.close(a)
    os.close(b)
    assert os.stat("b").st_mtime_ns > 0


@rule
def a_copied_hole_takes_no_space():
    fd = os.open("a", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"x" * 65536, 8 << 20)
    os.ftruncate(fd, 16 << 20)
    os.fsync(fd)
    b = os.open("b", os.O_RDWR | os.O_CREAT)
    assert copy(fd, b, 16 << 20, 0, 0) == 16 << 20
    os.fsync(b)
    assert get("a") == get("b")
    assert os.fstat(b).st_size == 16 << 20
    os.close(fd)
    os.close(b)
    if FS == "foliofs":       # the others copy zeroes through the page cache
        assert os.stat("b").st_blocks * 512 <= max(1 << 20, block_bytes())


# ---- writing in every way ----

@rule
def appending_writers_never_overwrite_each_other():
    put("f", b"")

    def writer(k):
        fd = os.open("f", os.O_WRONLY | os.O_APPEND)
        for i in range(200):
            assert os.write(fd, b"%d:%04d;" % (k, i) + b"." * (k * 13)) > 0
        os.close(fd)

    pids = []
    for k in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                writer(k)
            except BaseException:
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    assert all(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) == 0 for p in pids)
    d = get("f").replace(b".", b"")
    items = d.split(b";")[:-1]
    assert len(items) == 800
    for k in range(4):
        mine = [i for i in items if i.startswith(b"%d:" % k)]
        assert mine == [b"%d:%04d" % (k, i) for i in range(200)], k


@rule
def o_append_goes_to_the_end_whatever_the_offset():
    put("f", b"start")
    fd = os.open("f", os.O_RDWR | os.O_APPEND)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"-end")
    assert os.lseek(fd, 0, os.SEEK_CUR) == 9
    os.ftruncate(fd, 5)
    os.write(fd, b"+")
    assert get("f") == b"start+"
    os.close(fd)


@rule
def a_write_of_nothing_changes_nothing():
    put("f", b"abc")
    os.utime("f", ns=(0, 0))
    fd = os.open("f", os.O_RDWR)
    assert os.pwrite(fd, b"", 100) == 0
    os.close(fd)
    st = os.stat("f")
    assert st.st_size == 3 and st.st_mtime_ns == 0


@rule
def vectors_read_and_write_as_one():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    assert os.pwritev(fd, [b"a" * 5000, b"", b"b" * 3, b"c" * 70000], 77) == 75003
    x, y = bytearray(77 + 5000), bytearray(80000)
    assert os.preadv(fd, [x, y], 0) == 75080
    assert bytes(x) == bytes(77) + b"a" * 5000 and bytes(y[:70003]) == b"bbb" + b"c" * 70000
    os.close(fd)


@rule
def preadv2_and_pwritev2_flags_hold():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"x" * 10000)
    assert os.pwritev(fd, [b"dsync"], 0, os.RWF_DSYNC) == 5
    assert os.pwritev(fd, [b"sync"], 5, os.RWF_SYNC) == 4
    assert os.pwritev(fd, [b"end"], 0, os.RWF_APPEND) == 3
    assert os.pread(fd, 20, 9998) == b"xxend"
    buf = bytearray(9)
    assert os.preadv(fd, [buf], 0, os.RWF_HIPRI) == 9 and bytes(buf) == b"dsyncsync"
    try:
        assert os.preadv(fd, [buf], 0, os.RWF_NOWAIT) == 9
    except OSError as e:
        assert e.errno in (errno.EAGAIN, errno.EOPNOTSUPP)
    os.close(fd)


@rule
def sendfile_and_splice_move_contents():
    data = os.urandom(300000)
    put("a", data)
    a, b = os.open("a", os.O_RDONLY), os.open("b", os.O_RDWR | os.O_CREAT)
    done = 0
    while done < len(data):
        done += os.sendfile(b, a, done, len(data) - done)
    assert get("b") == data
    r, w = os.pipe()
    c = os.open("c", os.O_RDWR | os.O_CREAT)
    done = 0
    while done < len(data):
        n = os.splice(a, w, 65536, offset_src=done)
        m = os.splice(r, c, n, offset_dst=done)
        assert n == m > 0
        done += n
    assert get("c") == data
    for fd in (a, b, c, r, w):
        os.close(fd)


@rule
def o_sync_and_o_dsync_write_what_they_say():
    for flag in (os.O_SYNC, os.O_DSYNC):
        fd = os.open("f", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | flag)
        for i in range(20):
            assert os.write(fd, b"y" * 3000) == 3000
        os.close(fd)
        assert get("f") == b"y" * 60000


@rule(only="foliofs", why="the others are not killed", served=True)
def what_was_written_with_o_sync_or_fsynced_is_there_after_a_crash():
    fd = os.open("sync", os.O_WRONLY | os.O_CREAT | os.O_SYNC)
    os.write(fd, b"s" * 50000)
    os.close(fd)
    fd = os.open("dsync", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
    os.write(fd, b"d" * 50000)
    os.close(fd)
    fd = os.open("fsync", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"f" * 50000)
    os.fsync(fd)
    os.close(fd)
    fd = os.open(".", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    crash()
    assert get("sync") == b"s" * 50000
    assert get("dsync") == b"d" * 50000
    assert get("fsync") == b"f" * 50000


@rule
def reading_at_and_behind_the_end_gives_what_is_left():
    put("f", b"x" * 5000)
    fd = os.open("f", os.O_RDONLY)
    assert os.pread(fd, 100, 4990) == b"x" * 10
    assert os.pread(fd, 100, 5000) == b"" and os.pread(fd, 100, 1 << 40) == b""
    os.close(fd)


@rule
def advice_is_taken_or_ignored_but_never_an_error():
    put("f", b"x" * 300000)
    fd = os.open("f", os.O_RDONLY)
    for a in (os.POSIX_FADV_NORMAL, os.POSIX_FADV_SEQUENTIAL, os.POSIX_FADV_RANDOM,
              os.POSIX_FADV_WILLNEED, os.POSIX_FADV_DONTNEED, os.POSIX_FADV_NOREUSE):
        os.posix_fadvise(fd, 0, 0, a)
    assert os.pread(fd, 300000, 0) == b"x" * 300000
    os.close(fd)


@rule(user=True)
def set_user_id_bits_go_when_an_ordinary_user_changes_contents():
    def do_write(fd):
        os.pwrite(fd, b"z", 0)

    def do_truncate(fd):
        os.ftruncate(fd, 1)

    def do_allocate(fd):
        fallocate(fd, 0, 0, 100000)

    def do_punch(fd):
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 5)

    def do_copy(fd):
        os.copy_file_range(src, fd, 10)

    put("src", b"y" * 100)
    src = os.open("src", os.O_RDONLY)
    for f in (do_write, do_truncate, do_allocate, do_punch, do_copy):
        put("f", b"x" * 100)
        os.chmod("f", 0o6755)
        assert os.stat("f").st_mode & 0o6000 == 0o6000
        fd = os.open("f", os.O_RDWR)
        f(fd)
        os.close(fd)
        assert not os.stat("f").st_mode & 0o6000, f.__name__
    os.close(src)


main()
