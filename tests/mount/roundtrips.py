"""How many requests the kernel sends for each call of a program: no more than named here.

roundtrips.py MOUNT MODE FOLIOFSCTL

The numbers are those of Linux 6.18; docs/PERFORMANCE.md says why each request is needed. FORGET comes
when the kernel likes, RELEASE after close(2) has returned: FORGET is not counted, RELEASE is waited for.
"""
import json
import os
import subprocess
import sys
import time

MNT, MODE, CTL = sys.argv[1:4]
N = 20
os.chdir(MNT)


def counts():
    out = subprocess.run([CTL, 'stats', '--json', MNT], capture_output=True, check=True, text=True)
    return {op: row['count'] for op, row in json.loads(out.stdout)['request_time_ns'].items()}


def difference(a, b):
    return {k: b[k] - a.get(k, 0) for k in b
            if k not in ('forget', 'statfs', 'other') and b[k] != a.get(k, 0)}


def each(call):
    for i in range(N):
        call(i)


def open_do_close(name, flags, *calls):
    fd = os.open(name, flags, 0o644)
    for c in calls:
        c(fd)
    os.close(fd)


def small(fd):
    os.write(fd, b'x' * 100)


def create(i):
    open_do_close(f'e{i}', os.O_CREAT | os.O_EXCL | os.O_WRONLY)


def create_write(i):
    open_do_close(f'c{i}', os.O_CREAT | os.O_EXCL | os.O_WRONLY, small)


def read(i):
    open_do_close(f'c{i}', os.O_RDONLY, lambda fd: os.read(fd, 4096))


def replace(i):
    open_do_close(f'c{i}', os.O_CREAT | os.O_TRUNC | os.O_WRONLY, small)


def write_fsync(i):
    open_do_close(f'c{i}', os.O_WRONLY, small, os.fsync)


def list_and_stat(_):
    for name in os.listdir('.'):
        os.stat(name)


# call: what it does -> requests for each, cache=daemon and cache=kernel
CALLS = [
    (create, 'create an empty file, close', 'lookup getattr create release', ''),
    (create_write, 'create, write 100 bytes, close', 'lookup getattr create write release',
     'getxattr setattr'),
    (lambda i: os.stat(f'c{i}'), 'stat what was just written', 'getattr', ''),
    (lambda i: os.stat(f'c{i}'), 'stat it again', '', ''),
    (read, 'open, read, close', 'open read release', '-read'),
    (replace, 'open with O_TRUNC, write, close', 'open write getxattr release', 'getxattr setattr'),
    (write_fsync, 'open, write, fsync, close', 'open write fsync release', 'setattr'),
    (lambda i: os.path.exists(f'none{i}'), 'look for what is not there', 'lookup', ''),
    (lambda i: os.path.exists(f'none{i}'), 'look for it again', '', ''),
    (lambda i: os.rename(f'e{i}', f'r{i}'), 'rename', 'lookup getattr rename', 'setattr'),
    (lambda i: os.unlink(f'r{i}'), 'unlink', 'getattr unlink', 'setattr'),
    (lambda i: os.mkdir(f'd{i}'), 'mkdir', 'lookup getattr mkdir', ''),
    (lambda i: os.rmdir(f'd{i}'), 'rmdir', 'getattr rmdir', ''),
]


def allowed(daemon, kernel):
    ops = daemon.split()
    for op in kernel.split() if MODE == 'kernel' else []:
        if op.startswith('-'):
            ops.remove(op[1:])
        else:
            ops.append(op)
    return {op: N * ops.count(op) for op in ops}


def look(what, call, allow):
    """One request more in all: for the folder's attributes, changed by the step before."""
    before = counts()
    call()
    for _ in range(200):
        seen = difference(before, counts())
        if seen.get('release', 0) >= allow.get('release', 0):
            break
        time.sleep(0.02)
    extra = {k: n for k, n in seen.items() if n > allow.get(k, 0)}
    total = sum(seen.values())
    if sum(n - allow.get(k, 0) for k, n in extra.items()) <= 1:
        print(f'ok: {what}: no more requests than needed ({total / N:g} each)')
    else:
        print(f'FAILED: {what}: no more requests than needed: beside {allow}: {extra}')


# The first of its kind tells the kernel what it need not ask.
create('first')
os.listdir('.')
for call, what, daemon, kernel in CALLS:
    look(what, lambda: each(call), allowed(daemon, kernel))
os.listdir('.')
look('list a folder that did not change, and stat each name', lambda: each(list_and_stat), {})
