#!/usr/bin/env python3
"""Random operations on names, in several processes at once, and a walk that finds what is wrong.

    names.py DIR [SECONDS [PROCESSES [SEED [OPS]]]]

Each process works in a tree that all share, where other processes may be faster: there an operation
must succeed or fail with an error that POSIX allows for it. And it works in a tree of its own, of which
it keeps a model: there results and errors must be just those of the model, and at the end the tree,
too. Afterwards a walk over everything compares names, types, numbers, link counts and parents.

Prints "ok: CLAIM" or "FAILED: CLAIM: why" lines, the seed first. The same seed and OPS do the same
operations in the trees of their own.
"""
import collections
import ctypes
import errno
import os
import random
import stat
import sys
import time

E = errno
NOREPLACE, EXCHANGE = 1, 2
NAMES = ["a", "b", "c", "dd", "e" * 40, "f" * 255]
DEPTH = 4
LIBC = ctypes.CDLL(None, use_errno=True)


def renameat2(a, b, flags):
    if LIBC.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags):
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


# ---- the model of a tree: a node is a file (links), a directory (names) or a symbolic link ----

class Node:
    def __init__(self, kind, target=None):
        self.kind, self.target, self.links, self.names = kind, target, 0, {}


class Model:
    """What each operation should return: 0 or an errno."""

    def __init__(self):
        self.root = Node("dir")

    def find(self, path):
        node = self.root
        for part in path:
            if node.kind != "dir":
                return None, E.ENOTDIR
            node = node.names.get(part)
            if node is None:
                return None, E.ENOENT
        return node, 0

    def place(self, path):
        """Directory and name of the last component."""
        d, err = self.find(path[:-1])
        if err:
            return None, err
        return (d, 0) if d.kind == "dir" else (None, E.ENOTDIR)

    def make(self, path, kind, target=None):
        d, err = self.place(path)
        if err:
            return err
        if path[-1] in d.names:
            return E.EEXIST
        d.names[path[-1]] = node = Node(kind, target)
        node.links = 1
        return 0

    def link(self, old, new):
        node, err = self.find(old)
        if err:
            return err
        d, err = self.place(new)
        if err:
            return err
        if new[-1] in d.names:
            return E.EEXIST
        if node.kind == "dir":
            return E.EPERM
        node.links += 1
        d.names[new[-1]] = node
        return 0

    def remove(self, path, rmdir):
        d, err = self.place(path)
        if err:
            return err
        node = d.names.get(path[-1])
        if node is None:
            return E.ENOENT
        if rmdir:
            if node.kind != "dir":
                return E.ENOTDIR
            if node.names:
                return E.ENOTEMPTY
        elif node.kind == "dir":
            return E.EISDIR
        node.links -= 1
        del d.names[path[-1]]
        return 0

    def rename(self, old, new, flags):
        sd, err = self.place(old)
        if err:
            return err
        dd, err = self.place(new)
        if err:
            return err
        src, dst = sd.names.get(old[-1]), dd.names.get(new[-1])
        if src is None:
            return E.ENOENT
        if flags & NOREPLACE and dst is not None:
            return E.EEXIST
        if flags & EXCHANGE and dst is None:
            return E.ENOENT
        if src.kind == "dir" and new[:len(old)] == old and len(new) > len(old):
            return E.EINVAL
        if dst is not None and dst.kind == "dir" and old[:len(new)] == new and len(old) > len(new):
            return E.EINVAL if flags & EXCHANGE else E.ENOTEMPTY
        if src is dst:
            return 0
        if flags & EXCHANGE:
            sd.names[old[-1]], dd.names[new[-1]] = dst, src
            return 0
        if dst is not None:
            if src.kind == "dir" and dst.kind != "dir":
                return E.ENOTDIR
            if src.kind != "dir" and dst.kind == "dir":
                return E.EISDIR
            if dst.names:
                return E.ENOTEMPTY
            dst.links -= 1
        del sd.names[old[-1]]
        dd.names[new[-1]] = src
        return 0


# ---- operations ----

def roll_path(rnd):
    return [rnd.choice(NAMES) for _ in range(rnd.randint(1, DEPTH))]


def roll(rnd):
    what = rnd.choice(("create", "create", "mkdir", "mkdir", "symlink", "link", "unlink", "unlink",
                       "rmdir", "rename", "rename", "rename", "noreplace", "exchange", "stat",
                       "list"))
    return what, roll_path(rnd), roll_path(rnd)


def create(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def real(top, op):
    """0 or the errno; for list the names."""
    what, a, b = op
    pa, pb = os.path.join(top, *a), os.path.join(top, *b)
    try:
        if what == "create":
            create(pa)
        elif what == "mkdir":
            os.mkdir(pa)
        elif what == "symlink":
            os.symlink("/".join(b), pa)
        elif what == "link":
            os.link(pa, pb, follow_symlinks=False)
        elif what == "unlink":
            os.unlink(pa)
        elif what == "rmdir":
            os.rmdir(pa)
        elif what in FLAGS:
            renameat2(pa, pb, FLAGS[what])
        elif what == "stat":
            os.lstat(pa)
        elif what == "list":
            return sorted(os.listdir(pa))
    except OSError as e:
        return e.errno
    return 0


FLAGS = {"rename": 0, "noreplace": NOREPLACE, "exchange": EXCHANGE}


def wanted(m, op):
    what, a, b = op
    if what in ("create", "mkdir", "symlink"):
        kind = {"create": "file", "mkdir": "dir", "symlink": "link"}[what]
        return m.make(a, kind, "/".join(b) if what == "symlink" else None)
    if what == "link":
        return m.link(a, b)
    if what in ("unlink", "rmdir"):
        return m.remove(a, what == "rmdir")
    if what in FLAGS:
        return m.rename(a, b, FLAGS[what])
    node, err = m.find(a)
    if err or what == "stat":
        return err
    return sorted(node.names) if node.kind == "dir" else E.ENOTDIR


def follows_symlink(m, path, last):
    """Is there a link on the way (or at its end, if `last`)? The model keeps out of that."""
    node = m.root
    for part in path:
        if node.kind == "link":
            return True
        node = node.names.get(part)
        if node is None:
            return False
    return last and node.kind == "link"


ALLOWED = {
    "create": (E.EEXIST, E.ENOENT, E.ENOTDIR, E.ELOOP),
    "mkdir": (E.EEXIST, E.ENOENT, E.ENOTDIR, E.ELOOP),
    "symlink": (E.EEXIST, E.ENOENT, E.ENOTDIR, E.ELOOP),
    "link": (E.EEXIST, E.ENOENT, E.ENOTDIR, E.ELOOP, E.EPERM),
    "unlink": (E.ENOENT, E.ENOTDIR, E.ELOOP, E.EISDIR),
    "rmdir": (E.ENOENT, E.ENOTDIR, E.ELOOP, E.ENOTEMPTY),
    "rename": (E.ENOENT, E.ENOTDIR, E.ELOOP, E.EISDIR, E.ENOTEMPTY, E.EINVAL),
    "noreplace": (E.ENOENT, E.ENOTDIR, E.ELOOP, E.EEXIST, E.EINVAL),
    "exchange": (E.ENOENT, E.ENOTDIR, E.ELOOP, E.EINVAL),
    "stat": (E.ENOENT, E.ENOTDIR, E.ELOOP),
    "list": (E.ENOENT, E.ENOTDIR, E.ELOOP),
}


def name_of(e):
    return E.errorcode.get(e, e) if isinstance(e, int) and e else e


# Directories come to lie deeper than a path may be long: everything is looked at from its directory.
def open_dir(name, at=None):
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)


def compare(top, m):
    """The whole tree with its model."""
    seen = {}

    def walk(at, name, path, node):
        st = os.lstat(name, dir_fd=at)
        kind = {stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}.get(stat.S_IFMT(st.st_mode), "file")
        assert kind == node.kind, path
        assert seen.setdefault(st.st_ino, node) is node, "two files with one number: " + path
        if kind == "dir":
            dirs = sum(n.kind == "dir" for n in node.names.values())
            assert st.st_nlink == 2 + dirs, "%s: %d links" % (path, st.st_nlink)
            fd = open_dir(name, at)
            assert sorted(os.listdir(fd)) == sorted(node.names), path
            for child in node.names:
                walk(fd, child, os.path.join(path, child), node.names[child])
            os.close(fd)
        else:
            assert st.st_nlink == node.links, "%s: %d links" % (path, st.st_nlink)
        if kind == "link":
            assert os.readlink(name, dir_fd=at) == node.target, path
    walk(None, top, top, m.root)


def work(top, number, seed, end, ops):
    rnd = random.Random(seed * 1000 + number)
    mine, shared = os.path.join(top, "own%d" % number), os.path.join(top, "shared")
    os.mkdir(mine)
    m = Model()
    done = 0
    while done < ops if ops else time.time() < end:
        op = roll(rnd)
        done += 1
        if not (follows_symlink(m, op[1], op[0] == "list") or follows_symlink(m, op[2], False)):
            got, want = real(mine, op), wanted(m, op)
            assert got == want, "own%d, operation %d: %s: %s instead of %s" % (
                number, done, op, name_of(got), name_of(want))
        op = roll(rnd)
        got = real(shared, op)
        assert got == 0 or isinstance(got, list) or got in ALLOWED[op[0]], \
            "shared: %s: %s" % (op, name_of(got))
        if isinstance(got, list):
            assert len(got) == len(set(got)), "a name twice in %s" % op[1]
    compare(mine, m)
    return done


# ---- the walk ----

class Found:
    """What a walk has seen: names by inode number, attributes by inode number, directories."""

    def __init__(self):
        self.names, self.counts, self.dirs = collections.Counter(), {}, 0


def check_dir(fd, path, parent, found):
    found.dirs += 1
    assert os.lstat("..", dir_fd=fd).st_ino == parent, "parent of " + path
    me, subs = os.fstat(fd), []
    for e in os.scandir(fd):
        st = os.lstat(e.name, dir_fd=fd)
        where = os.path.join(path, e.name)
        assert st.st_ino == e.inode(), "number of " + where
        assert e.is_dir(follow_symlinks=False) == stat.S_ISDIR(st.st_mode), "type: " + where
        found.names[st.st_ino] += 1
        found.counts[st.st_ino] = st
        if stat.S_ISDIR(st.st_mode):
            subs.append(e.name)
    assert me.st_nlink == 2 + len(subs), "%s: %d links, %d directories" % (
        path, me.st_nlink, len(subs))
    for name in subs:
        sub = open_dir(name, fd)
        check_dir(sub, os.path.join(path, name), me.st_ino, found)
        os.close(sub)


def check_tree(top):
    """Names, types, link counts and parents agree; each directory has one name."""
    found, fd = Found(), open_dir(top)
    check_dir(fd, top, os.lstat("..", dir_fd=fd).st_ino, found)
    os.close(fd)
    for ino, st in found.counts.items():
        if stat.S_ISDIR(st.st_mode):
            assert found.names[ino] == 1, "directory %d has %d names" % (ino, found.names[ino])
        else:
            assert st.st_nlink == found.names[ino], "inode %d: %d links, %d names" % (
                ino, st.st_nlink, found.names[ino])
    return found.dirs, len(found.counts)


def run_worker(top, number, seed, end, ops, pipe):
    try:
        text = "%d" % work(top, number, seed, end, ops)
        code = 0
    except Exception as e:
        text, code = "%s: %s" % (type(e).__name__, e), 1
    os.write(pipe, text.encode()[:3000])
    os._exit(code)


def main():
    args = sys.argv[1:] + [None] * 5
    top = args[0]
    seconds, nr = float(args[1] or 10), int(args[2] or 4)
    seed = int(args[3] or random.SystemRandom().randrange(10**9))
    ops = int(args[4] or 0)
    print("seed: %d" % seed)
    sys.stdout.flush()
    os.mkdir(os.path.join(top, "shared"))
    workers = []
    for i in range(nr):
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            run_worker(top, i, seed, time.time() + seconds, ops, w)
        os.close(w)
        workers.append((pid, r))
    total, bad = 0, 0
    for pid, r in workers:
        text = os.fdopen(r).read()
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            bad += 1
            print("FAILED: each operation does what the model does: %s" % text)
        else:
            total += int(text)
    if not bad:
        print("ok: each of %d operations in %d processes does what the model does" % (2 * total, nr))
    try:
        print("ok: %d directories and %d inodes agree in names, links and parents" %
              check_tree(top))
    except Exception as e:
        bad += 1
        print("FAILED: names, links and parents agree: %s" % e)
    sys.exit(bad != 0)


main()
