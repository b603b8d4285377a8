"""A limit on memory for a while: the page cache of whoever reads inside counts, and so does the
daemon that is started inside."""
import contextlib
import os

from lib.shell import Failed

V1, V2 = '/sys/fs/cgroup/memory', '/sys/fs/cgroup'


def own_group(top):
    """The folder of the group that this process is in."""
    with open('/proc/self/cgroup', encoding='utf-8') as f:
        for line in f:
            _, controllers, path = line.rstrip('\n').split(':', 2)
            if top == V1 and 'memory' in controllers.split(',') or top == V2 and not controllers:
                return top + path
    return top


def enter(group):
    with open(os.path.join(group, 'cgroup.procs'), 'w', encoding='ascii') as f:
        f.write(str(os.getpid()))


@contextlib.contextmanager
def limited(nr_bytes):
    top, knob = (V1, 'memory.limit_in_bytes') if os.path.isdir(V1) else (V2, 'memory.max')
    group, before = f'{top}/foliofs-bench-{os.getpid()}', own_group(top)
    try:
        os.mkdir(group)
        with open(os.path.join(group, knob), 'w', encoding='ascii') as f:
            f.write(str(nr_bytes))
        enter(group)
    except OSError as e:
        with contextlib.suppress(OSError):
            os.rmdir(group)
        raise Failed(f'memory can not be limited here: {e.strerror}') from None
    try:
        yield
    finally:
        enter(before)


def forget():
    """Removes the group when nobody is left in it."""
    for top in (V1, V2):
        with contextlib.suppress(OSError):
            os.rmdir(f'{top}/foliofs-bench-{os.getpid()}')
