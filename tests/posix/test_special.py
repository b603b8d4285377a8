"""Fifos, sockets, device nodes."""
import socket

from rules import *

DEV = (259, 70000)                  # beyond 8 bits each


def child(f):
    """Pid of a process that runs f and ends with 0 if it raises nothing."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            f()
            code = 0
        finally:
            os._exit(code)
    return pid


def ended_well(pid):
    return os.waitpid(pid, 0)[1] == 0


@rule
def a_fifo_carries_bytes_from_process_to_process():
    os.mkfifo("p", 0o600)
    assert stat.S_ISFIFO(os.stat("p").st_mode)
    pid = child(lambda: put("p", b"through the fifo"))
    assert get("p") == b"through the fifo"
    assert ended_well(pid)
    assert os.stat("p").st_size == 0


@rule
def a_fifo_that_nobody_reads_is_enxio_to_a_writer_that_does_not_wait():
    os.mkfifo("p", 0o600)
    fails(errno.ENXIO, os.open, "p", os.O_WRONLY | os.O_NONBLOCK)
    r = os.open("p", os.O_RDONLY | os.O_NONBLOCK)
    w = os.open("p", os.O_WRONLY | os.O_NONBLOCK)
    os.unlink("p")
    os.write(w, b"x")
    assert os.read(r, 10) == b"x"
    os.close(w)
    os.close(r)


@rule
def a_socket_is_reached_by_its_name_also_after_a_rename():
    server = socket.socket(socket.AF_UNIX)
    server.bind("s")
    assert stat.S_ISSOCK(os.stat("s").st_mode)
    os.rename("s", "moved")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    fails(errno.ENOENT, client.connect, "s")
    client.connect("moved")
    other = server.accept()[0]
    client.sendall(b"hello")
    assert other.recv(10) == b"hello"
    fails(errno.EADDRINUSE, socket.socket(socket.AF_UNIX).bind, "moved")
    fails(errno.ENXIO, os.open, "moved", os.O_RDONLY)
    for s in (server, client, other):
        s.close()


@rule(root=True)
def a_device_node_reaches_its_device_and_keeps_its_numbers():
    os.mknod("zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    fd = os.open("zero", os.O_RDWR)
    assert os.read(fd, 10) == bytes(10) and os.write(fd, b"gone") == 4
    os.close(fd)
    assert os.stat("zero").st_size == 0
    for name, kind in (("c", stat.S_IFCHR), ("b", stat.S_IFBLK)):
        os.mknod(name, kind | 0o600, os.makedev(*DEV))
        st = os.stat(name)
        assert stat.S_IFMT(st.st_mode) == kind
        assert (os.major(st.st_rdev), os.minor(st.st_rdev)) == DEV
        fails((errno.ENXIO, errno.ENODEV), os.open, name, os.O_RDONLY)


@rule(user=True)
def device_nodes_are_roots_to_make():
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        fails(errno.EPERM, os.mknod, "n", kind | 0o600, os.makedev(1, 5))
    os.mknod("p", stat.S_IFIFO | 0o600)
    os.mknod("f", stat.S_IFREG | 0o600)


main()
