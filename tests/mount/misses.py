#!/usr/bin/env python3
"""misses.py WHAT MNT IMAGE FOLIOFSCTL: many direct reads at once of what is not cached.

mix      threads read, write and truncate while the cache is dropped again and again
mark     makes a file whose sectors can be found in the image
damage   changes one bit of one of them there
damaged  reads them all at once: one fails
forever  reads until it is killed
"""
import mmap
import os
import random
import subprocess
import sys
import threading

WHAT, MNT, IMAGE, CTL = sys.argv[1:5]
SECTOR = 4096
NR = 4096
BAD = 37
MARKED = 64


def sector(i, version):
    return (b'%08d.%08d.' % (i, version)) * (SECTOR // 18) + b'.' * (SECTOR % 18)


def buffer(length):
    return mmap.mmap(-1, length)


def drop():
    subprocess.run([CTL, 'drop', MNT], check=False, capture_output=True)


def reader(path, seed, rounds, wrong):
    """Whole sectors of one version each; those below NR are never cut off."""
    rnd = random.Random(seed)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    for _ in range(rounds):
        nr = rnd.choice((1, 1, 1, 1, 2, 7, 64))
        at = rnd.randrange(NR - nr)
        buf = buffer(nr * SECTOR)
        n = os.preadv(fd, [buf], at * SECTOR)
        if n != nr * SECTOR:
            wrong.append(f'{n} bytes at sector {at}, not {nr * SECTOR}')
        for k in range(n // SECTOR):
            got = buf[k * SECTOR:(k + 1) * SECTOR]
            if got != sector(at + k, int(got[9:17] or b'0')):
                wrong.append(f'sector {at + k} reads {got[:20]}')
    os.close(fd)


def writer(path, rounds):
    """New versions of some sectors, and an end that moves behind the readers'."""
    rnd = random.Random(0)
    fd = os.open(path, os.O_RDWR)
    for version in range(1, rounds):
        at = rnd.randrange(NR)
        os.pwrite(fd, sector(at, version), at * SECTOR)
        if version % 8 == 0:
            os.ftruncate(fd, (NR + rnd.randrange(200)) * SECTOR)
        if version % 32 == 0:
            os.fdatasync(fd)
    os.close(fd)


def mix():
    path, wrong = os.path.join(MNT, 'mixed'), []
    with open(path, 'wb') as f:
        for i in range(NR):
            f.write(sector(i, 0))
    threads = [threading.Thread(target=reader, args=(path, s, 250, wrong)) for s in range(16)]
    threads.append(threading.Thread(target=writer, args=(path, 600)))
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        drop()
    if wrong:
        print(f'FAILED: reads under way give what was written: {wrong[0]} ({len(wrong)} in all)')
    else:
        print('ok: reads under way give what was written')


def forever():
    path = os.path.join(MNT, 'marked')
    while True:
        drop()
        for t in [threading.Thread(target=read_marked, args=(path, i, {})) for i in range(MARKED)]:
            t.start()


def mark():
    with open(os.path.join(MNT, 'marked'), 'wb') as f:
        for i in range(MARKED):
            f.write(sector(i, 77777777))
        os.fsync(f.fileno())
    print('ok: a file is written')


def damage():
    with open(IMAGE, 'r+b') as f, mmap.mmap(f.fileno(), 0) as m:
        at = m.find(sector(BAD, 77777777))
        assert at > 0 and at % SECTOR == 0
        m[at + 100] ^= 1
    print('ok: one bit is changed')


def read_marked(path, i, result):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    buf = buffer(SECTOR)
    try:
        os.preadv(fd, [buf], i * SECTOR)
        result[i] = buf[:] == sector(i, 77777777)
    except OSError as e:
        result[i] = e.strerror
    os.close(fd)


def damaged():
    path, claim = os.path.join(MNT, 'marked'), 'of many reads at once only that of the bad one fails'
    for _ in range(20):
        result = {}
        drop()
        threads = [threading.Thread(target=read_marked, args=(path, i, result))
                   for i in range(MARKED)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        want = {i: True for i in range(MARKED)}
        want[BAD] = os.strerror(5)
        if result != want:
            odd = {i: r for i, r in result.items() if r != want[i]}
            print(f'FAILED: {claim}: {odd}')
            return
    print(f'ok: {claim}')


{'mix': mix, 'mark': mark, 'damage': damage, 'damaged': damaged, 'forever': forever}[WHAT]()
