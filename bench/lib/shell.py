"""Commands with a time limit, and what is known about this machine."""
import os
import shutil
import subprocess
import sys
import time


class Failed(Exception):
    """A command that did not do what it should, with what it said."""


def note(text):
    print(text, file=sys.stderr, flush=True)


def run(args, timeout=300, **kwargs):
    """Standard output of a command; Failed when it fails or takes too long."""
    args = [str(a) for a in args]
    try:
        done = subprocess.run(args, capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, **kwargs)
    except subprocess.TimeoutExpired:
        raise Failed(f'{args[0]}: more than {timeout} s') from None
    except OSError as e:
        raise Failed(f'{args[0]}: {e.strerror}') from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).split('\n')
        raise Failed(f'{" ".join(args)}: exit {done.returncode}: ' + ' / '.join(said[-3:]))
    return done.stdout


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def is_mounted(mnt):
    with open('/proc/self/mounts', encoding='utf-8') as f:
        return any(line.split(' ')[1] == mnt for line in f)


def drop_caches():
    os.sync()
    with open('/proc/sys/vm/drop_caches', 'w', encoding='ascii') as f:
        f.write('3')


def first_line(path, key):
    with open(path, encoding='utf-8') as f:
        for line in f:
            if line.startswith(key):
                return line.split(':', 1)[1].strip()
    return '?'


def machine(folder):
    """One line a fact, for the head of the table."""
    load = os.getloadavg()
    source = run(['findmnt', '-n', '-o', 'SOURCE,FSTYPE', '-T', folder]).strip()
    memory_kib = int(first_line('/proc/meminfo', 'MemTotal').split()[0])
    return [
        time.strftime('%Y-%m-%d %H:%M'),
        f"{os.cpu_count()} CPUs, {first_line('/proc/cpuinfo', 'model name')}, "
        f"{memory_kib / 1048576:.1f} GiB",
        f"Linux {os.uname().release}; image on {source}; load {load[0]:.1f}",
    ]


def install(packages):
    """True when all are there in the end."""
    if not packages:
        return True
    if os.geteuid() != 0 or not shutil.which('apt-get'):
        return False
    note(f"bench: installing {' '.join(packages)}")
    env = dict(os.environ, DEBIAN_FRONTEND='noninteractive')
    try:
        run(['apt-get', '-q', '-y', 'update'], timeout=300, env=env)
    except Failed as e:
        note(f'bench: going on with old package lists ({e})')
    try:
        run(['apt-get', '-q', '-y', 'install', '--no-install-recommends', *packages],
            timeout=600, env=env)
    except Failed as e:
        note(f'bench: {e}')
        return False
    return True
