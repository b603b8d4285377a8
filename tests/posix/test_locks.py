#!/usr/bin/env python3
"""Locks between processes, and mappings."""
from rules import *

F_OFD_SETLK, F_OFD_GETLK, F_GETLK, F_SETLK = 37, 36, 5, 6
LOCKS = {"r": fcntl.F_RDLCK, "w": fcntl.F_WRLCK, "u": fcntl.F_UNLCK}


def lock(fd, cmd, kind, start=0, length=0):
    """The struct flock that the kernel gives back: (type, start, length, pid)."""
    arg = struct.pack("hhqqi4x", LOCKS[kind], os.SEEK_SET, start, length, 0)
    t, _, start, length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(fd, cmd, arg))
    return t, start, length, pid


def other(f, *args):
    """What f raises in another process: 0 or an errno."""
    def run():
        try:
            f(*args)
        except OSError as e:
            os._exit(e.errno)
        os._exit(0)

    return in_child(run)


def flock_file(how):
    fd = os.open("f", os.O_RDWR)
    fcntl.flock(fd, how | fcntl.LOCK_NB)


def lock_file(cmd, kind, start=0, length=0):
    lock(os.open("f", os.O_RDWR), cmd, kind, start, length)


@rule
def flock_excludes_other_processes_and_opens():
    put("f")
    a, b = os.open("f", os.O_RDWR), os.open("f", os.O_RDWR)
    fcntl.flock(a, fcntl.LOCK_SH)
    assert other(flock_file, fcntl.LOCK_SH) == 0
    assert other(flock_file, fcntl.LOCK_EX) == errno.EAGAIN
    fcntl.flock(a, fcntl.LOCK_EX)
    fails(errno.EAGAIN, fcntl.flock, b, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert other(flock_file, fcntl.LOCK_SH) == errno.EAGAIN
    os.close(a)
    assert other(flock_file, fcntl.LOCK_EX) == 0
    os.close(b)


@rule
def record_locks_exclude_by_range():
    put("f", b"x" * 100)
    fd = os.open("f", os.O_RDWR)
    lock(fd, F_SETLK, "w", 10, 10)
    lock(fd, F_SETLK, "r", 50, 10)
    for kind, start, length, want in (("w", 0, 10, 0), ("w", 20, 10, 0), ("r", 15, 1, errno.EAGAIN),
                                      ("w", 5, 6, errno.EAGAIN), ("r", 50, 5, 0),
                                      ("w", 59, 1, errno.EAGAIN), ("w", 60, 0, 0)):
        got = other(lock_file, F_SETLK, kind, start, length)
        assert got in ((want,) if not want else (errno.EAGAIN, errno.EACCES)), (kind, start, got)
    lock(fd, F_SETLK, "u", 12, 3)
    assert other(lock_file, F_SETLK, "w", 12, 3) == 0
    assert other(lock_file, F_SETLK, "w", 11, 1) == errno.EAGAIN
    os.close(fd)


@rule
def record_locks_go_with_any_close_of_the_process():
    put("f")
    a, b = os.open("f", os.O_RDWR), os.open("f", os.O_RDWR)
    lock(a, F_SETLK, "w")
    os.close(b)
    assert other(lock_file, F_SETLK, "w") == 0
    os.close(a)


@rule
def who_holds_a_lock_is_told():
    put("f")
    fd = os.open("f", os.O_RDWR)
    lock(fd, F_SETLK, "w", 3, 4)
    r, w = os.pipe()

    def ask_for():
        t, start, length, pid = lock(os.open("f", os.O_RDWR), F_GETLK, "w", 0, 100)
        os.write(w, struct.pack("hqqi", t, start, length, pid))

    assert in_child(ask_for) == 0
    assert struct.unpack("hqqi", os.read(r, 100)) == (fcntl.F_WRLCK, 3, 4, os.getpid())
    for f in (fd, r, w):
        os.close(f)


@rule
def open_file_locks_belong_to_the_open():
    put("f")
    a, b = os.open("f", os.O_RDWR), os.open("f", os.O_RDWR)
    lock(a, F_OFD_SETLK, "w", 0, 10)
    fails(errno.EAGAIN, lock, b, F_OFD_SETLK, "w", 5, 1)
    lock(b, F_OFD_SETLK, "w", 10, 10)
    assert other(lock_file, F_OFD_SETLK, "r", 0, 1) == errno.EAGAIN
    c = os.open("f", os.O_RDWR)
    os.close(c)                                # takes no lock of another open away
    assert other(lock_file, F_OFD_SETLK, "r", 0, 1) == errno.EAGAIN
    os.close(a)
    lock(b, F_OFD_SETLK, "w", 0, 10)
    os.close(b)


@rule
def a_waiting_lock_is_granted_when_the_holder_ends():
    put("f")
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        fd = os.open("f", os.O_RDWR)
        lock(fd, F_SETLK, "w")
        os.write(w, b"x")
        time.sleep(0.3)
        os._exit(0)
    os.read(r, 1)
    fd = os.open("f", os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX)             # waits
    os.waitpid(pid, 0)
    for f in (fd, r, w):
        os.close(f)


@rule
def a_write_lock_needs_an_open_for_writing():
    put("f")
    fd = os.open("f", os.O_RDONLY)
    fails(errno.EBADF, lock, fd, F_SETLK, "w")
    lock(fd, F_SETLK, "r")
    os.close(fd)


# ---- mappings ----

@rule
def a_private_mapping_never_changes_the_file():
    put("f", b"x" * 10000)
    with open("f", "r+b") as f, mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE) as m:
        m[5000:5004] = b"mine"
        assert m[5000:5004] == b"mine" and get("f") == b"x" * 10000


@rule
def stores_to_a_shared_mapping_reach_the_file_after_msync():
    put("f", bytes(1 << 20))
    with open("f", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        for i in range(0, 1 << 20, 8192):
            m[i:i + 4] = b"%04x" % (i >> 12)
        m.flush()
        d = os.pread(f.fileno(), 1 << 20, 0)
    assert all(d[i:i + 4] == b"%04x" % (i >> 12) for i in range(0, 1 << 20, 8192))
    assert get("f") == d


@rule(served=True)
def stores_to_a_shared_mapping_are_there_after_a_remount():
    put("f", bytes(300000))
    with open("f", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        m[100000:100006] = b"stored"
    remount()
    assert get("f")[100000:100006] == b"stored"


@rule
def a_mapping_is_zero_behind_the_end_in_the_last_page():
    put("f", b"x" * 8192)
    with open("f", "r+b") as f, mmap.mmap(f.fileno(), 8192) as m:
        assert m[8191:8192] == b"x"
        os.ftruncate(f.fileno(), 5000)
        assert m[5000:8192] == bytes(3192)
        m[5000:5004] = b"lost"                 # behind the end: never part of the file
        m.flush()
    os.truncate("f", 9000)
    assert get("f") == b"x" * 5000 + bytes(4000)


@rule
def a_page_behind_the_end_gives_sigbus():
    put("f", b"x" * 100)

    def child():
        with open("f", "r+b") as f, mmap.mmap(f.fileno(), 100) as m:
            # Python maps whole pages; the second is out of its reach, so the file shrinks.
            os.ftruncate(f.fileno(), 0)
            m[0]

    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        child()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS


@rule
def processes_share_a_mapping():
    put("f", bytes(8192))
    with open("f", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        def child():
            with open("f", "r+b") as g, mmap.mmap(g.fileno(), 0) as n:
                n[4096:4101] = b"hello"
        assert in_child(child) == 0
        assert m[4096:4101] == b"hello"


@rule(mode="kernel", why="the kernel keeps other pages for mappings; see the next rules")
def write_and_a_shared_mapping_see_each_other():
    put("f", bytes(65536))
    with open("f", "r+b", buffering=0) as f, mmap.mmap(f.fileno(), 0) as m:
        for i in range(20):
            os.pwrite(f.fileno(), b"written%d" % i, 5000 + i)
            assert m[5000 + i:5007 + i] == b"written"
            m[9000 + i:9006 + i] = b"mapped"
            assert os.pread(f.fileno(), 6, 9000 + i) == b"mapped"


@rule
def write_is_seen_by_a_mapping_made_later_and_stores_by_read_after_msync():
    put("f", bytes(65536))
    fd = os.open("f", os.O_RDWR)
    for i in range(10):
        os.pwrite(fd, b"written%d" % i, 5000)
        with mmap.mmap(fd, 0) as m:
            assert m[5000:5008] == b"written%d" % i
            m[9000:9007] = b"mapped%d" % i
            m.flush()
            assert os.pread(fd, 7, 9000) == b"mapped%d" % i
    os.close(fd)


@rule
def a_mapping_lives_on_when_the_file_is_closed_and_unlinked():
    put("f", b"x" * 10000)
    fd = os.open("f", os.O_RDWR)
    m = mmap.mmap(fd, 0)
    os.close(fd)
    os.unlink("f")
    m[0:3] = b"abc"
    assert m[0:4] == b"abcx"
    m.close()


@rule
def programs_run_from_the_mount():
    subprocess.run(["cp", "/bin/true", "t"], check=True)
    subprocess.run(["./t"], check=True)
    fails(errno.ETXTBSY, busy_write)


def busy_write():
    subprocess.run(["cp", "/bin/sleep", "s"], check=True)
    p = subprocess.Popen(["./s", "5"])
    try:
        time.sleep(0.1)
        os.close(os.open("s", os.O_WRONLY))
    finally:
        p.kill()
        p.wait()


# ---- direct access ----

def aligned(length, fill=b"\0"):
    m = mmap.mmap(-1, length)
    m.write(fill * length)
    return m


@rule
def direct_and_buffered_access_agree():
    fd = os.open("f", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    buf = aligned(65536, b"d")
    assert os.pwrite(fd, buf, 0) == 65536
    assert get("f") == b"d" * 65536
    with open("f", "r+b", buffering=0) as f:
        os.pwrite(f.fileno(), b"b" * 4096, 8192)
    assert os.preadv(fd, [buf], 0) == 65536
    assert buf[8192:12288] == b"b" * 4096 and buf[:8192] == b"d" * 8192
    os.close(fd)


@rule
def direct_reads_end_at_the_end_of_the_file():
    put("f", b"x" * 5000)
    fd = os.open("f", os.O_RDONLY | os.O_DIRECT)
    buf = aligned(8192)
    assert os.preadv(fd, [buf], 0) == 5000
    assert buf[:5000] == b"x" * 5000
    assert os.preadv(fd, [buf], 8192) == 0
    os.close(fd)


@rule(only="foliofs", why="the others refuse it with EINVAL")
def direct_access_of_any_alignment_is_served():
    fd = os.open("f", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    assert os.pwrite(fd, b"odd" * 1001, 777) == 3003
    assert os.pread(fd, 5000, 0) == bytes(777) + b"odd" * 1001
    os.close(fd)


main()
