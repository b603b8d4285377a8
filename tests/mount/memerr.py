#!/usr/bin/env python3
"""memerr.py PID FILE SECTOR: the daemon's memory loses a cached sector.

Finds the page of process PID that holds sector SECTOR of FILE (a copy of what is cached),
overwrites it, as if its bits were gone, and makes SIGBUS arrive as the kernel would send it: a
debugger stops the process at the signal and fills in its siginfo. Exit 77: that is not allowed.
"""
import ctypes
import os
import signal
import struct
import sys

PTRACE_CONT, PTRACE_ATTACH, PTRACE_DETACH, PTRACE_SETSIGINFO = 7, 16, 17, 0x4203
BUS_MCEERR_AO = 5
SECTOR = 4096
WALL = 0x40000000
LOOK_AT = 64 << 20

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(what, pid, data=None):
    if libc.ptrace(what, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def page_of(pid, want):
    """Address of a page of the cache with these contents: in the mappings as large as a cache."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            if end - start < 8 << 20 or "rw" not in line.split()[1]:
                continue
            mem.seek(start)
            at = mem.read(min(end - start, LOOK_AT)).find(want)
            if at >= 0 and at % SECTOR == 0:
                return start + at
    return 0


def stop_at(pid, sig):
    """Waits until the process is about to get the signal; others are passed on."""
    while True:
        _, status = os.waitpid(pid, WALL)
        if not os.WIFSTOPPED(status):
            sys.exit("the process has ended")
        if os.WSTOPSIG(status) == sig:
            return
        ptrace(PTRACE_CONT, pid, ctypes.c_void_p(os.WSTOPSIG(status)))


def main():
    pid, sector = int(sys.argv[1]), int(sys.argv[3])
    with open(sys.argv[2], "rb") as f:
        f.seek(sector * SECTOR)
        want = f.read(SECTOR)
    try:
        ptrace(PTRACE_ATTACH, pid)
    except OSError as e:
        print(f"can't trace the daemon: {e}")
        sys.exit(77)
    os.waitpid(pid, WALL)
    addr = page_of(pid, want)
    if not addr:
        ptrace(PTRACE_DETACH, pid)
        sys.exit("the sector is not cached")
    with open(f"/proc/{pid}/mem", "r+b", 0) as mem:
        mem.seek(addr)
        mem.write(b"X" * SECTOR)
    # To the thread that is traced.
    libc.tgkill(pid, pid, int(signal.SIGBUS))
    ptrace(PTRACE_CONT, pid)
    stop_at(pid, signal.SIGBUS)
    info = ctypes.create_string_buffer(128)
    struct.pack_into("<iiiiQh", info, 0, signal.SIGBUS, 0, BUS_MCEERR_AO, 0, addr, 12)
    ptrace(PTRACE_SETSIGINFO, pid, ctypes.cast(info, ctypes.c_void_p))
    ptrace(PTRACE_DETACH, pid, ctypes.c_void_p(signal.SIGBUS))


main()
