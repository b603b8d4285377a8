"""A call of 2 MiB is as many requests as the limit makes of it, and moves what it should.

large.py MOUNT PAGES FOLIOFSCTL
"""
import json
import mmap
import os
import random
import subprocess
import sys

MNT, PAGES, CTL = sys.argv[1], int(sys.argv[2]), sys.argv[3]
LENGTH = 2 << 20
REQUESTS = LENGTH // 4096 // min(PAGES, 512)


def claim(what, good):
    print(f"{'ok' if good else 'FAILED'}: {PAGES} pages: {what}")


def count(op):
    out = subprocess.run([CTL, 'stats', '--json', MNT], capture_output=True, check=True, text=True)
    return json.loads(out.stdout)['request_time_ns'][op]['count']


def requests_of(op, call, *args):
    before = count(op)
    call(*args)
    return count(op) - before


data, back = mmap.mmap(-1, LENGTH), mmap.mmap(-1, LENGTH)
data[:] = random.Random(PAGES).randbytes(LENGTH)
fd = os.open(os.path.join(MNT, f'f{PAGES}'), os.O_RDWR | os.O_CREAT, 0o644)
got = requests_of('write', os.pwrite, fd, data, 0)
claim(f'a write is {REQUESTS} request(s)' + (f', not {got}' if got != REQUESTS else ''),
      got == REQUESTS)
got = requests_of('read', os.preadv, fd, [back], 0)
claim(f'a read is {REQUESTS} request(s)' + (f', not {got}' if got != REQUESTS else ''),
      got == REQUESTS)
claim('what was written is read', back[:] == data[:])
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
os.fsync(fd)
subprocess.run([CTL, 'drop', MNT], check=True, stdout=subprocess.DEVNULL)
os.preadv(fd, [back], 0)
claim('and read from the disk', back[:] == data[:])
os.close(fd)
