"""Who may do what: modes, set-id bits, sticky directories, groups, access control lists, xattrs."""
from rules import *


def run_tool(*args):
    r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert r.returncode == 0, "%s: %s" % (" ".join(args), r.stdout)
    return r.stdout


def acl_of(path, default=False):
    out = run_tool("getfacl", "-cpn", "-d" if default else "-a", path)
    return [line.split("\t")[0] for line in out.split("\n") if line]


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


# ---- modes and set-id bits ----

@rule
def the_umask_takes_bits_off_what_is_made():
    old = os.umask(0o027)
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, 0o666))
    os.mkdir("d", 0o777)
    os.mkfifo("p", 0o666)
    os.umask(old)
    assert (mode_of("f"), mode_of("d"), mode_of("p")) == (0o640, 0o750, 0o640)


@rule
def a_setgid_directory_gives_its_group_and_directories_in_it_the_bit():
    os.mkdir("d")
    os.chmod("d", 0o2755)
    os.mkdir("d/sub", 0o755)
    put("d/f")
    assert mode_of("d/sub") == 0o2755
    assert os.stat("d/f").st_gid == os.stat("d").st_gid
    assert mode_of("d/f") == 0o644


@rule(root=True)
def a_setgid_directory_of_another_group_gives_it_to_what_anybody_makes_there():
    os.mkdir("d")
    os.chown("d", 0, 777)
    os.chmod("d", 0o2777)
    as_user(put, "d/f")
    as_user(os.mkdir, "d/sub")
    assert os.stat("d/f").st_gid == 777 and os.stat("d/sub").st_gid == 777
    assert mode_of("d/sub") & 0o2000
    # Somebody outside the group does not get a setgid program of that group.
    as_user(lambda: os.close(os.open("d/x", os.O_CREAT | os.O_WRONLY, 0o2755)))
    assert mode_of("d/x") == 0o755


def own(name, mode):
    put(name, b"x" * 10000)
    if ROOT:
        os.chown(name, OTHER, OTHER)
    os.chmod(name, mode)


def change_as_owner(f):
    if ROOT:
        as_user(f)
    else:
        f()


@rule
def a_write_by_an_ordinary_user_takes_setuid_and_setgid_off():
    for mode, want in ((0o6755, 0o755), (0o4700, 0o700), (0o2644, None), (0o6777, 0o777)):
        own("f", mode)

        def write():
            with open("f", "r+b", buffering=0) as f:
                f.write(b"y")
        change_as_owner(write)
        if want is not None:
            assert mode_of("f") == want, "%o became %o" % (mode, mode_of("f"))
        os.unlink("f")


@rule
def truncate_and_fallocate_by_an_ordinary_user_take_setuid_off():
    def cut():
        os.truncate("f", 100)

    def punch():
        with open("f", "r+b") as f:
            fallocate(f.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, 4096)

    def reopen():
        os.close(os.open("f", os.O_WRONLY | os.O_TRUNC))
    for how in (cut, punch, reopen):
        own("f", 0o6755)
        change_as_owner(how)
        assert mode_of("f") == 0o755, "%s: %o" % (how.__name__, mode_of("f"))
        os.unlink("f")


@rule(root=True)
def chown_takes_setuid_and_setgid_off_programs_but_not_off_directories():
    put("f")
    os.chmod("f", 0o6755)
    os.chown("f", 1, 1)
    assert mode_of("f") == 0o755
    os.mkdir("d")
    os.chmod("d", 0o6755)
    os.chown("d", 1, 1)
    assert mode_of("d") == 0o6755


@rule(root=True)
def chown_is_for_root_and_chgrp_for_owners_in_the_group():
    put("f")
    os.chown("f", OTHER, OTHER)
    fails(errno.EPERM, as_user, os.chown, "f", OTHER + 1, -1)
    fails(errno.EPERM, as_user, os.chown, "f", -1, 4)
    as_user(os.chown, "f", -1, 4, groups=(4,))
    assert os.stat("f").st_gid == 4
    fails(errno.EPERM, as_user, os.chmod, "f", 0o600, uid=OTHER + 1)
    fails(errno.EPERM, as_user, os.utime, "f", (1, 1), uid=OTHER + 1)


@rule(root=True)
def chmod_by_somebody_outside_the_group_does_not_set_setgid():
    put("f")
    os.chown("f", OTHER, 777)
    as_user(os.chmod, "f", 0o2755)
    assert mode_of("f") == 0o755


@rule(root=True)
def supplementary_groups_count():
    put("f")
    os.chown("f", 0, 777)
    os.chmod("f", 0o640)
    fails(errno.EACCES, as_user, get, "f")
    as_user(get, "f", groups=(5, 777))


@rule(root=True)
def in_a_sticky_directory_only_owners_remove_and_rename():
    os.mkdir("d")
    os.chmod("d", 0o1777)
    as_user(put, "d/f")
    fails(errno.EPERM, as_user, os.unlink, "d/f", uid=OTHER + 1)
    fails(errno.EPERM, as_user, os.rename, "d/f", "d/g", uid=OTHER + 1)
    as_user(put, "d/h", uid=OTHER + 1)
    fails(errno.EPERM, as_user, os.rename, "d/h", "d/f", uid=OTHER + 1)
    as_user(os.rename, "d/f", "d/g")
    as_user(os.unlink, "d/g")


@rule(root=True)
def a_directory_without_x_hides_what_is_in_it_and_without_w_keeps_it():
    os.mkdir("d")
    put("d/f")
    os.chmod("d", 0o744)
    fails(errno.EACCES, as_user, os.stat, "d/f")
    os.chmod("d", 0o755)
    fails(errno.EACCES, as_user, put, "d/g")
    fails(errno.EACCES, as_user, os.unlink, "d/f")
    fails(errno.EACCES, as_user, os.rename, "d/f", "d/g")


# ---- access control lists ----

@rule
def setfacl_and_getfacl_agree_and_the_mode_shows_the_mask():
    put("f")
    os.chmod("f", 0o640)
    run_tool("setfacl", "-m", "u:1234:rw,g:77:r", "f")
    assert acl_of("f") == ["user::rw-", "user:1234:rw-", "group::r--", "group:77:r--",
                           "mask::rw-", "other::---"]
    assert mode_of("f") == 0o660
    os.chmod("f", 0o600)
    assert acl_of("f")[4] == "mask::---"
    run_tool("setfacl", "-b", "f")
    assert acl_of("f") == ["user::rw-", "group::---", "other::---"]
    assert "system.posix_acl_access" not in os.listxattr("f")


@rule(root=True)
def an_access_list_gives_and_takes_rights():
    put("f", b"secret")
    os.chmod("f", 0o600)
    fails(errno.EACCES, as_user, get, "f")
    run_tool("setfacl", "-m", "u:%d:r" % OTHER, "f")
    as_user(get, "f")
    fails(errno.EACCES, as_user, lambda: open("f", "r+b"))
    run_tool("setfacl", "-m", "u:%d:-,g::r,o::r" % OTHER, "f")
    fails(errno.EACCES, as_user, get, "f")
    as_user(get, "f", uid=OTHER + 1)
    run_tool("setfacl", "-m", "u:%d:rw" % OTHER, "f")
    as_user(put, "f", b"more")
    # The mask has the last word.
    os.chmod("f", 0o600)
    fails(errno.EACCES, as_user, get, "f")


@rule(root=True)
def a_named_group_counts_for_those_in_it():
    put("f")
    os.chmod("f", 0o600)
    run_tool("setfacl", "-m", "g:777:r", "f")
    fails(errno.EACCES, as_user, get, "f")
    as_user(get, "f", groups=(777,))


@rule
def what_is_made_below_a_default_list_gets_it_whatever_the_umask():
    os.mkdir("d")
    run_tool("setfacl", "-d", "-m", "u::rwx,u:1234:rwx,g::rx,o::-", "d")
    old = os.umask(0o077)
    os.close(os.open("d/f", os.O_CREAT | os.O_WRONLY, 0o666))
    os.mkdir("d/sub", 0o777)
    os.symlink("f", "d/l")
    os.umask(old)
    assert acl_of("d/f") == ["user::rw-", "user:1234:rwx\t".strip(), "group::r-x", "mask::rw-",
                             "other::---"], acl_of("d/f")
    assert mode_of("d/f") == 0o660
    assert acl_of("d/sub", default=True) == acl_of("d", default=True)
    assert "user:1234:rwx" in acl_of("d/sub") and mode_of("d/sub") == 0o770


@rule
def a_default_list_is_for_directories_only():
    put("f")
    r = subprocess.run(["setfacl", "-d", "-m", "u:1:r", "f"], stderr=subprocess.DEVNULL)
    assert r.returncode != 0


@rule(root=True)
def only_the_owner_sets_access_lists():
    put("f")
    value = struct.pack("<IHHIHHIHHI", 2, 1, 6, 2**32 - 1, 4, 4, 2**32 - 1, 32, 4, 2**32 - 1)
    fails(errno.EPERM, as_user, os.setxattr, "f", "system.posix_acl_access", value)
    os.chown("f", OTHER, OTHER)
    as_user(os.setxattr, "f", "system.posix_acl_access", value)


@rule
def cp_a_and_tar_take_access_lists_and_attributes_along():
    os.mkdir("d")
    put("d/f")
    run_tool("setfacl", "-m", "u:1234:rw", "d/f")
    run_tool("setfacl", "-d", "-m", "g:77:rx", "d")
    os.setxattr("d/f", "user.note", b"hello")
    run_tool("cp", "-a", "d", "copy")
    run_tool("tar", "--xattrs", "--acls", "-cf", "t.tar", "d")
    os.mkdir("out")
    run_tool("tar", "--xattrs", "--acls", "-C", "out", "-xf", "t.tar")
    for there in ("copy", "out/d"):
        assert acl_of(there + "/f") == acl_of("d/f"), there
        assert acl_of(there, default=True) == acl_of("d", default=True), there
        assert os.getxattr(there + "/f", "user.note") == b"hello", there


@rule(served=True)
def access_lists_are_the_same_after_a_remount():
    put("f")
    os.mkdir("d")
    run_tool("setfacl", "-m", "u:1234:rw", "f")
    run_tool("setfacl", "-d", "-m", "g:77:rx", "d")
    before = acl_of("f"), acl_of("d", default=True), mode_of("f")
    remount()
    assert before == (acl_of("f"), acl_of("d", default=True), mode_of("f"))


# ---- extended attributes ----

@rule
def attributes_keep_any_bytes_and_flags_decide_about_existing_ones():
    put("f")
    os.setxattr("f", "user.a", b"\0\xff" * 100)
    assert os.getxattr("f", "user.a") == b"\0\xff" * 100
    fails(errno.EEXIST, os.setxattr, "f", "user.a", b"", os.XATTR_CREATE)
    fails(errno.ENODATA, os.setxattr, "f", "user.b", b"", os.XATTR_REPLACE)
    os.setxattr("f", "user.empty", b"")
    assert os.getxattr("f", "user.empty") == b""
    assert set(os.listxattr("f")) >= {"user.a", "user.empty"}
    os.removexattr("f", "user.a")
    fails(errno.ENODATA, os.getxattr, "f", "user.a")
    fails(errno.ENODATA, os.removexattr, "f", "user.a")


def raw_getxattr(path, name, size):
    buf = ctypes.create_string_buffer(max(size, 1))
    return checked(LIBC.getxattr(path.encode(), name.encode(), buf, ctypes.c_size_t(size)))


def raw_listxattr(path, size):
    buf = ctypes.create_string_buffer(max(size, 1))
    return checked(LIBC.listxattr(path.encode(), buf, ctypes.c_size_t(size)))


@rule
def a_buffer_of_size_0_asks_for_the_length_and_a_short_one_is_erange():
    put("f")
    os.setxattr("f", "user.abc", b"x" * 50)
    assert raw_getxattr("f", "user.abc", 0) == 50
    assert raw_getxattr("f", "user.abc", 50) == 50
    fails(errno.ERANGE, raw_getxattr, "f", "user.abc", 49)
    n = raw_listxattr("f", 0)
    assert n >= 9 and raw_listxattr("f", n) == n
    fails(errno.ERANGE, raw_listxattr, "f", n - 1)


@rule(only="foliofs", why="others have less room for attributes")
def values_of_64_kib_are_kept_and_longer_ones_are_e2big():
    put("f")
    os.setxattr("f", "user.big", b"v" * 65536)
    assert os.getxattr("f", "user.big") == b"v" * 65536
    fails(errno.E2BIG, os.setxattr, "f", "user.big", b"v" * 65537)
    name = "user." + "n" * 250
    os.setxattr("f", name, b"1")
    assert name in os.listxattr("f")
    fails(errno.ERANGE, os.setxattr, "f", name + "n", b"1")


@rule
def user_attributes_are_for_files_and_directories_only():
    os.symlink("nowhere", "l")
    os.mkfifo("p")
    fails(errno.EPERM, os.setxattr, "p", "user.a", b"1")
    fails(errno.EPERM, os.setxattr, "l", "user.a", b"1", follow_symlinks=False)
    os.mkdir("d")
    os.setxattr("d", "user.a", b"1")
    fails(errno.EOPNOTSUPP, os.setxattr, "d", "nonsense.a", b"1")


@rule(root=True)
def trusted_attributes_are_for_root_alone():
    put("f")
    os.chmod("f", 0o666)
    os.setxattr("f", "trusted.t", b"1")
    os.setxattr("f", "user.u", b"1")
    assert "trusted.t" in os.listxattr("f")
    fails((errno.EPERM, errno.ENODATA), as_user, os.getxattr, "f", "trusted.t")
    fails(errno.EPERM, as_user, os.setxattr, "f", "trusted.x", b"1")

    def seen():
        assert "trusted.t" not in os.listxattr("f") and "user.u" in os.listxattr("f")
    as_user(seen)


@rule(root=True)
def user_attributes_follow_the_rights_on_the_file():
    put("f")
    os.setxattr("f", "user.u", b"1")
    as_user(os.getxattr, "f", "user.u")
    fails(errno.EACCES, as_user, os.setxattr, "f", "user.u", b"2")
    os.chmod("f", 0o600)
    fails(errno.EACCES, as_user, os.getxattr, "f", "user.u")


@rule(root=True)
def a_write_takes_the_capabilities_of_a_program_away():
    put("f")
    os.setxattr("f", "security.capability",
                struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
    with open("f", "ab") as f:
        f.write(b"x")
    assert "security.capability" not in os.listxattr("f")


main()
