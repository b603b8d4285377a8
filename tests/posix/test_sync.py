"""-o sync and -o dirsync: what a call changed is there after a crash."""
from rules import *

OPTIONS = os.environ.get("POSIX_OPTIONS", "").split(",")
SYNC, DIRSYNC = "sync" in OPTIONS, "dirsync" in OPTIONS


@rule(served=True)
def names_that_were_changed_are_there_after_a_crash():
    if not (SYNC or DIRSYNC):
        return
    for n in ("a", "b", "gone"):
        put(n, b"")
    os.mkdir("d")
    os.rename("a", "d/a")
    os.link("b", "l")
    os.symlink("b", "s")
    os.mkfifo("p")
    os.unlink("gone")
    os.mkdir("e")
    os.rmdir("e")
    crash()
    assert sorted(os.listdir(".")) == ["b", "d", "l", "p", "s"] and os.listdir("d") == ["a"]
    assert os.stat("b").st_nlink == 2


@rule(served=True)
def data_and_attributes_are_there_after_a_crash_with_sync():
    if not SYNC:
        return
    fd = os.open("f", os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(fd, b"abc" * 5000)
    os.fchmod(fd, 0o640)
    os.close(fd)
    os.utime("f", ns=(1, 2))
    os.setxattr("f", "user.a", b"1")
    os.truncate("f", 9000)
    crash()
    st = os.stat("f")
    assert st.st_size == 9000 and stat.S_IMODE(st.st_mode) == 0o640
    assert get("f") == (b"abc" * 5000)[:9000] and os.getxattr("f", "user.a") == b"1"


main()
