"""What is measured: each target formats the image file and mounts it.

A further target is a class with format(), mount() and unmount(), and a line in TARGETS.
"""
import os
import shutil
import signal
import subprocess

from lib import shell
from lib.shell import Failed


class Target:
    """A file system on the image file, seen at the mount point."""
    name = ''
    role = 'peer'           # ours, peer (is compared with) or reference (a column beside)
    packages = {}           # command that must be there -> package that brings it
    raw = False             # no file system: the image file itself, direct I/O only
    on_demand = False       # measured only when --targets names it
    null = False            # a FUSE server with no file system: its file has no contents

    def __init__(self, setup):
        self.setup = setup
        self.image, self.mnt = setup.image, setup.mnt

    def usable(self):
        missing = sorted({p for c, p in self.packages.items() if not shutil.which(c)})
        return shell.install(missing)

    def fresh_image(self):
        """A new sparse file, or the same blocks of the host again with --image=full."""
        if self.setup.full_image and os.path.exists(self.image):
            return
        if os.path.exists(self.image):
            os.unlink(self.image)
        with open(self.image, 'wb') as f:
            f.truncate(self.setup.image_bytes)
        if self.setup.full_image:
            shell.run(['dd', 'if=/dev/zero', f'of={self.image}', 'bs=4M', 'conv=notrunc,fsync',
                       f'count={self.setup.image_bytes >> 22}'], timeout=900)

    def start(self):
        self.fresh_image()
        self.format()
        self.mount()

    def data(self, name):
        """Path of a file for fio."""
        return os.path.join(self.mnt, name)

    def drop(self):
        """Afterwards nothing of the files is in memory."""
        shell.drop_caches()

    def remount(self, cache_bytes):
        """Mounted again, with a cache of this size where that can be chosen."""

    def limit_memory(self, nr_bytes):
        """What the next mount may use, the kernel's page cache of its files included."""

    def format(self):
        raise NotImplementedError

    def mount(self):
        raise NotImplementedError

    def unmount(self):
        raise NotImplementedError


class FuseTarget(Target):
    """Mounted by a daemon that stays in the foreground as our child."""
    child = None
    log = None

    def command(self):
        raise NotImplementedError

    def mount(self):
        self.log = open(os.path.join(self.setup.folder, f'{self.name}.log'), 'ab')
        self.child = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=self.log,
                                      stderr=self.log)
        shell.wait_until(lambda: shell.is_mounted(self.mnt) or self.child.poll() is not None, 30)
        if not shell.is_mounted(self.mnt):
            self.kill()
            raise Failed(f'{self.name}: does not mount, see {self.log.name}')
        os.listdir(self.mnt)

    def kill(self):
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
            self.child.wait()
        self.child = None

    def unmount(self):
        try:
            if shell.is_mounted(self.mnt):
                shell.run(['umount', self.mnt], timeout=120)
            if self.child is not None:
                status = self.child.wait(timeout=120)
                if status != 0:
                    shell.note(f'bench: {self.name} ended with {status}, see {self.log.name}')
        except (Failed, subprocess.TimeoutExpired) as e:
            shell.note(f'bench: {self.name}: {e}')
            subprocess.run(['umount', '-l', self.mnt], check=False, capture_output=True)
        finally:
            self.kill()
            if self.log is not None:
                self.log.close()


class Foliofs(FuseTarget):
    role = 'ours'
    cache = ''
    cache_options = []
    features = []

    def usable(self):
        return all(os.access(self.setup.program(p), os.X_OK)
                   for p in ('foliofs', 'mkfs.foliofs', 'foliofsctl'))

    def format(self):
        keep = ['-K'] if self.setup.full_image else []
        shell.run([self.setup.program('mkfs.foliofs'), '-q', '-f', *keep, *self.features,
                   *self.setup.mkfs_args, self.image], timeout=60)

    def command(self):
        options = ','.join([f'cache={self.cache}', *self.setup.mount_options,
                            *self.cache_options])
        return [self.setup.program('foliofs'), '-f', self.image, self.mnt, '-o', options]

    def remount(self, cache_bytes):
        self.unmount()
        self.cache_options = [f'cache_size={cache_bytes}']
        self.mount()

    def limit_memory(self, nr_bytes):
        # With cache=kernel ours is the place of what is dirty and of metadata.
        share = 8 if self.cache == 'kernel' else 4 / 3
        self.cache_options = [f'cache_size={int(nr_bytes / share)}']

    def drop(self):
        # The kernel's copies first: dropping them may write dirty ones to the daemon.
        shell.drop_caches()
        shell.run([self.setup.program('foliofsctl'), 'drop', self.mnt], timeout=60)


class FoliofsDaemon(Foliofs):
    name, cache = 'daemon', 'daemon'


class FoliofsKernel(Foliofs):
    name, cache = 'kernel', 'kernel'


class FoliofsNosum(Foliofs):
    """What checksums of data cost: only measured when it is asked for."""
    name, cache, on_demand = 'nosum', 'daemon', True
    features = ['-O', '^datasum']


# An image whose blocks exist keeps them: nothing is discarded.
MKFS_EXT4 = ['mkfs.ext4', '-q', '-F', '-E', 'nodiscard']


class Fuse2fs(FuseTarget):
    name = 'fuse2fs'
    packages = {'fuse2fs': 'fuse2fs', 'mkfs.ext4': 'e2fsprogs'}

    def format(self):
        shell.run([*MKFS_EXT4, self.image], timeout=120)

    def command(self):
        return ['fuse2fs', '-f', self.image, self.mnt]


class Ntfs3g(FuseTarget):
    name = 'ntfs-3g'
    packages = {'ntfs-3g': 'ntfs-3g', 'mkntfs': 'ntfs-3g'}

    def format(self):
        shell.run(['mkntfs', '-F', '-Q', '-q', self.image], timeout=120)

    def command(self):
        return ['ntfs-3g', '-o', 'no_detach,big_writes', self.image, self.mnt]


class Null(FuseTarget):
    """One file in the memory of a server that does nothing else: what FUSE itself costs."""
    name, role, null = 'null', 'reference', True

    def usable(self):
        return os.access(self.setup.program('bench/bench_null'), os.X_OK)

    def format(self):
        pass

    def command(self):
        return [self.setup.program('bench/bench_null'), self.mnt,
                str(self.setup.file_bytes >> 20)]


class LoopTarget(Target):
    """A file system of the kernel on a loop device with direct I/O: what no FUSE would give."""
    role = 'reference'
    mkfs = []
    loop = None

    def usable(self):
        return os.geteuid() == 0 and os.path.exists('/dev/loop-control') and super().usable()

    def format(self):
        shell.run([*self.mkfs, self.image], timeout=120)

    def mount(self):
        self.loop = shell.run(['losetup', '--direct-io=on', '--show', '-f', self.image]).strip()
        shell.run(['mount', self.loop, self.mnt])

    def unmount(self):
        if shell.is_mounted(self.mnt):
            shell.run(['umount', self.mnt], timeout=120)
        if self.loop is not None:
            shell.run(['losetup', '-d', self.loop])
            self.loop = None


class Ext4Loop(LoopTarget):
    name = 'ext4'
    packages = {'mkfs.ext4': 'e2fsprogs'}
    mkfs = MKFS_EXT4


class XfsLoop(LoopTarget):
    name = 'xfs'
    packages = {'mkfs.xfs': 'xfsprogs'}
    mkfs = ['mkfs.xfs', '-q', '-f', '-K']


class Raw(Target):
    """The image file by direct I/O, without any file system in it: what the disk gives."""
    name, role, raw = 'raw', 'reference', True

    def format(self):
        pass

    def mount(self):
        pass

    def unmount(self):
        pass

    def data(self, name):
        return self.image


TARGETS = [FoliofsDaemon, FoliofsKernel, FoliofsNosum, Fuse2fs, Ntfs3g, Ext4Loop, XfsLoop,
           Raw, Null]
