"""Mounts that show other owners (mount_setattr(2), MOUNT_ATTR_IDMAP): what the same files have on a
plain mount, shifted; and nobody gains by it."""
import contextlib

from rules import *

SHIFT, COUNT = 100000, 65536            # owner N of a file is SHIFT + N there
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, MOVE_MOUNT_F_EMPTY_PATH = 1, 0o2000000, 4
MOUNT_ATTR_IDMAP, CLONE_NEWUSER = 0x100000, 0x10000000


@contextlib.contextmanager
def user_namespace():
    """A descriptor of one that has the shift."""
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(ready[1], b"y" if LIBC.unshare(CLONE_NEWUSER) == 0 else b"n")
        os.close(go[1])
        os.read(go[0], 1)
        os._exit(0)
    os.close(go[0])
    try:
        assert os.read(ready[0], 1) == b"y", "no user namespaces here"
        for kind in "uid", "gid":
            with open("/proc/%d/%s_map" % (pid, kind), "w") as f:
                f.write("0 %d %d" % (SHIFT, COUNT))
        fd = os.open("/proc/%d/ns/user" % pid, os.O_RDONLY)
        yield fd
        os.close(fd)
    finally:
        os.close(go[1])
        os.waitpid(pid, 0)
        for fd in ready:
            os.close(fd)


@contextlib.contextmanager
def shifted(path):
    """The folder `path` mounted a second time, with the shift; where that is."""
    tree = checked(LIBC.syscall(NR["open_tree"], AT_FDCWD, os.fsencode(path),
                                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC))
    with user_namespace() as ns:
        attr = struct.pack("<QQQQ", MOUNT_ATTR_IDMAP, 0, 0, ns)
        checked(LIBC.syscall(NR["mount_setattr"], tree, b"", AT_EMPTY_PATH, attr, len(attr)))
    place = os.path.abspath(path) + ".shifted"
    os.mkdir(place)
    checked(LIBC.syscall(NR["move_mount"], tree, b"", AT_FDCWD, os.fsencode(place),
                         MOVE_MOUNT_F_EMPTY_PATH))
    os.close(tree)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def owner(path):
    st = os.lstat(path)
    return st.st_uid, st.st_gid


def shifted_user(f, *args, uid=500):
    as_user(f, *args, uid=SHIFT + uid, gid=SHIFT + uid)


@rule(root=True)
def an_idmapped_mount_shows_and_changes_owners_as_it_maps_them():
    os.mkdir("d")
    put("d/f")
    os.chown("d/f", 7, 8)
    with shifted("d") as s:
        assert owner(s) == (SHIFT, SHIFT)
        assert owner(s + "/f") == (SHIFT + 7, SHIFT + 8)
        os.chown(s + "/f", SHIFT + 9, SHIFT + 10)
        assert owner("d/f") == (9, 10)
        fails(errno.EOVERFLOW, os.chown, s + "/f", 11, 12)
    os.chown("d/f", SHIFT + 1, 13)          # outside of what the mount maps
    os.rmdir("d.shifted")
    with shifted("d") as s:
        assert owner(s + "/f") == (65534, SHIFT + 13)


def make_all(s):
    put(s + "/f")
    os.mkdir(s + "/dir")
    os.symlink("f", s + "/link")
    os.mkfifo(s + "/fifo")


@rule(root=True)
def what_is_made_on_an_idmapped_mount_belongs_to_who_made_it():
    os.mkdir("d")
    os.chmod("d", 0o777)
    with shifted("d") as s:
        shifted_user(make_all, s)
        for name in "f", "dir", "link", "fifo":
            assert owner(s + "/" + name) == (SHIFT + 500, SHIFT + 500), name
            assert owner("d/" + name) == (500, 500), name
        # Who has no id on this mount owns nothing there.
        fails(errno.EOVERFLOW, put, s + "/g")
        fails(errno.EOVERFLOW, os.mkdir, s + "/g")
        assert not os.path.exists("d/g")


@rule(root=True)
def modes_on_an_idmapped_mount_are_those_of_the_mapped_owner():
    os.mkdir("d")
    os.chmod("d", 0o755)
    put("d/f", b"mine")
    os.chown("d/f", 500, 500)
    os.chmod("d/f", 0o600)
    with shifted("d") as s:
        def read_and_write():
            assert get(s + "/f") == b"mine"
            put(s + "/f", b"still mine")
            os.chmod(s + "/f", 0o640)
            fails(errno.EACCES, put, s + "/new")
        shifted_user(read_and_write)
        fails(errno.EACCES, shifted_user, get, s + "/f", uid=501)
        fails(errno.EACCES, as_user, get, s + "/f", uid=500, gid=500)
    assert get("d/f") == b"still mine" and stat.S_IMODE(os.stat("d/f").st_mode) == 0o640


@rule(root=True)
def set_id_bits_go_on_an_idmapped_mount_when_somebody_else_writes():
    os.mkdir("d")
    os.chmod("d", 0o777)
    for name in "written", "allocated", "copied":
        put("d/" + name, b"x" * 10000)
        os.chown("d/" + name, 500, 500)
        os.chmod("d/" + name, 0o6777)
    put("d/source", b"y" * 10000)
    os.chmod("d/source", 0o644)
    with shifted("d") as s:
        def write():
            with open(s + "/written", "r+b") as f:
                f.write(b"z")

        def allocate():
            with open(s + "/allocated", "r+b") as f:
                fallocate(f.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, 4096)

        def copy():
            with open(s + "/source", "rb") as a, open(s + "/copied", "r+b") as b:
                os.copy_file_range(a.fileno(), b.fileno(), 5000)
        for call in write, allocate, copy:
            shifted_user(call, uid=501)
    for name in "written", "allocated", "copied":
        assert stat.S_IMODE(os.stat("d/" + name).st_mode) & 0o6000 == 0, name


main()
