"""Reads, writes, syncs and renames as fast as it can, until it is killed or a call fails."""
import os
import sys

# Never by the path of the mount point: that may lead elsewhere once the mount is gone.
os.chdir(os.path.dirname(sys.argv[1]))
NAME = os.path.basename(sys.argv[1])
DATA = os.urandom(1 << 16)

try:
    fd = os.open(NAME, os.O_RDWR | os.O_CREAT, 0o644)
    step = 0
    while True:
        os.pwrite(fd, DATA, (step % 16) << 16)
        os.pread(fd, 4096, (step * 7919 % 256) << 12)
        if step % 20 == 0:
            os.fsync(fd)
        if step % 10 == 0:
            os.rename(NAME, NAME + 'x')
            os.rename(NAME + 'x', NAME)
        step += 1
except OSError:
    sys.exit(1)
