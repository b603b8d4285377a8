"""Damage in an image, for damage.sh.

damage.py flip IMAGE OFFSET    changes one bit of the byte there
damage.py leaf IMAGE DIR       finds a leaf of the tree of names that holds entries of the directory
                               with inode number DIR and nothing before them: "SECTOR NAME" of its
                               first entry
"""
import struct
import sys

SECTOR, NODE = 4096, 16384
MAGIC, KIND_NODE, TREE_DIRENT = 0x4d4c4f46, 5, 1


def flip(image, offset):
    with open(image, 'r+b') as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 4]))


def leaf(image, directory):
    data = open(image, 'rb').read()
    for at in range(0, len(data) - NODE + 1, SECTOR):
        magic, kind, _, _, addr, _, owner, _ = struct.unpack_from('<IHHQQQQQ', data, at)
        level, nr = struct.unpack_from('<HH', data, at + 48)
        if (magic, kind, owner, addr, level) != (MAGIC, KIND_NODE, TREE_DIRENT, at // SECTOR, 0):
            continue
        inode, _, off, _ = struct.unpack_from('<QQHH', data, at + 64)
        if nr and inode == directory:
            name_len = data[at + off + 9]
            return f'{addr} {data[at + off + 10:at + off + 10 + name_len].decode()}'
    sys.exit('no such leaf')


if sys.argv[1] == 'flip':
    flip(sys.argv[2], int(sys.argv[3]))
else:
    print(leaf(sys.argv[2], int(sys.argv[3])))
