/*
 * format: every structure on the disk. Encode, decode, check and to_text; no I/O, no locks.
 *
 * All integers are little-endian and are reached only through this layer: le16/le32/le64 wrap
 * them so that a forgotten conversion does not compile. Addresses are sectors (4 KiB) of the
 * device, lengths are sectors unless the name says bytes. docs/FORMAT.md gives every byte.
 *
 * Layout: group g covers sectors [g * group_sectors, (g+1) * group_sectors).
 *   group 0:  0 superblock | 1 root sector | group table | journal | bitmap | sector map | space
 *   group g:  superblock copy (g = 1 and powers of 3, 5, 7; else unused) | bitmap | map | space
 * A group's own metadata is [group start, fmt_space_start()). Bits of an initialised bitmap sector
 * that lie at or beyond the length of the group are 1.
 * The *_check() functions take untrusted bytes, never fault on them, and return 0 or a negative
 * errno: -EBADMSG for a checksum, -EUCLEAN for anything else.
 */
#ifndef FOLIOFS_FORMAT_FORMAT_H
#define FOLIOFS_FORMAT_FORMAT_H

#include "base/types.h"
#include "base/why.h"
#include <endian.h>
#include <stdio.h>

typedef struct { u16 v; } __attribute__((packed)) le16;
typedef struct { u32 v; } __attribute__((packed)) le32;
typedef struct { u64 v; } __attribute__((packed)) le64;

static inline u16 get16(le16 x) { return le16toh(x.v); }
static inline u32 get32(le32 x) { return le32toh(x.v); }
static inline u64 get64(le64 x) { return le64toh(x.v); }
static inline le16 put16(u16 x) { return (le16){ htole16(x) }; }
static inline le32 put32(u32 x) { return (le32){ htole32(x) }; }
static inline le64 put64(u64 x) { return (le64){ htole64(x) }; }

/* ---- limits ---- */
#define FMT_BLOCK_MIN          4096u
#define FMT_BLOCK_MAX          (2u << 20)
#define FMT_GROUP_SECTORS      262144u           /* 1 GiB, the default and the maximum */
#define FMT_GROUP_SECTORS_MIN  1024u             /* 4 MiB */
#define FMT_JNL_MIN_SECTORS    256u              /* 1 MiB; default: fmt_geo_make() */
#define FMT_NAME_MAX           255u
#define FMT_VALUE_MAX          4240u             /* longest value of a tree item, bytes */
#define FMT_INLINE_MAX         2048u             /* longest file kept in its inode item, bytes */
#define FMT_LINK_MAX           65000u
#define FMT_SIZE_MAX           ((u64)INT64_MAX)  /* longest file, bytes */
#define FMT_ROOT_INO           1ull
#define FMT_HEIGHT_MAX         8u                /* levels of a tree */
#define FMT_SECTORS_MAX        (1ull << 39)      /* 2 PiB: the group table must fit in group 0 */
#define FMT_TXN_RECORDS_MAX    (1u << 24)        /* records of one transaction */
#define FMT_TXN_BYTES_MAX      (1ull << 36)

/* ---- superblock: 512 bytes at byte 1024 of sector 0 (and of its copies) ---- */
#define FMT_SUPER_MAGIC   "FolioFS\x01"
#define FMT_SUPER_OFFSET  1024u
#define FMT_VERSION       1u

struct fmt_super {
	char magic[8];
	le64 csum;            /* hash64 of the 512 bytes with csum = 0 */
	le32 version;
	le32 block_bytes;
	u8   uuid[16];
	char label[64];       /* UTF-8, zero padded, zero terminated */
	le64 fsid;            /* random; stands in every metadata header */
	le64 nr_sectors;      /* of the file system */
	le32 group_sectors;
	le32 nr_groups;
	le64 root_sector;     /* struct fmt_root */
	le64 gtable_sector;
	le32 gtable_nr;
	le32 node_sectors;    /* 4 */
	le64 jnl_sector;      /* two header sectors, then the ring */
	le64 jnl_nr;          /* sectors with the headers */
	le64 compat;
	le64 ro_compat;
	le64 incompat;
	le64 hash_seed;       /* of directory and xattr name hashes */
	le64 mkfs_time;       /* seconds since 1970 */
	u8   copy;            /* 0 = the one at sector 0, else copy number */
	u8   pad[512 - 209];
} __attribute__((packed));
_Static_assert(sizeof(struct fmt_super) == 512, "superblock is one 512-byte sector");

/* The superblock decoded; what the rest of the program uses. */
struct fmt_geo {
	u8 uuid[16];
	char label[65];
	u64 fsid, nr_sectors, root_sector, gtable_sector, jnl_sector, jnl_nr;
	u64 compat, ro_compat, incompat, hash_seed;
	s64 mkfs_time;
	u32 block_bytes, block_sectors, group_sectors, nr_groups, gtable_nr;
	u32 bitmap_nr, map_nr;      /* sectors a group: derived */
};

/* Feature bits: unknown ones are refused (incompat), make the mount read-only (ro_compat) or are
 * ignored (compat). *_KNOWN = known bits. */
#define FMT_RO_COMPAT_DATASUM (1ull << 0)   /* data sectors are checksummed in the sector map */
#define FMT_COMPAT_KNOWN     0ull
#define FMT_RO_COMPAT_KNOWN  FMT_RO_COMPAT_DATASUM
#define FMT_INCOMPAT_KNOWN   0ull

/*
 * Checks come in two forms: *_why() says which rule is broken, *_check() gives the error that goes
 * with it (why_errno()). Both look at everything.
 */
/*
 * -EINVAL: no FolioFS superblock at all (magic); -EOPNOTSUPP: a version or an incompat feature that
 * is unknown here; -EBADMSG: checksum; -EUCLEAN: impossible values. Unknown ro_compat bits pass:
 * the mount decides.
 */
enum why fmt_super_why(const struct fmt_super *sb, struct fmt_geo *out);
static inline int fmt_super_decode(const struct fmt_super *sb, struct fmt_geo *out)
{
	return why_errno(fmt_super_why(sb, out));
}
void fmt_super_encode(const struct fmt_geo *g, u8 copy, struct fmt_super *out);
bool fmt_group_has_copy(u32 group);

/* Geometry helpers; all sectors are absolute. */
u32 fmt_group_of(const struct fmt_geo *g, u64 sector);
u64 fmt_group_start(const struct fmt_geo *g, u32 group);
u32 fmt_group_len(const struct fmt_geo *g, u32 group);       /* the last group may be short */
u64 fmt_bitmap_sector(const struct fmt_geo *g, u32 group);   /* first of bitmap_nr */
u64 fmt_map_sector(const struct fmt_geo *g, u32 group);      /* first of map_nr */
u64 fmt_space_start(const struct fmt_geo *g, u32 group);     /* first allocatable sector */
/*
 * Computes the layout for a device of nr_sectors and fills block_*, group_*, nr_*, root, gtable,
 * jnl_*, bitmap_nr, map_nr of io; identity (uuid, label, fsid, features, seed, time) is left alone.
 * io->nr_sectors can be less than asked: a last group too short for its own metadata is left out.
 * jnl_nr = 0: default. -ENOSPC: device too small; -EINVAL: block size; -ERANGE: journal size;
 * -EFBIG: device larger than FMT_SECTORS_MAX.
 */
int fmt_geo_make(u64 nr_sectors, u32 block_bytes, u64 jnl_nr, struct fmt_geo *io);

/* ---- header of every metadata buffer ---- */
struct fmt_hdr {
	le32 magic;
	le16 kind;      /* enum fmt_kind */
	le16 version;
	le64 csum;      /* hash64 of the whole buffer with csum = 0; valid on disk only */
	le64 addr;      /* own first sector */
	le64 fsid;
	le64 owner;     /* node: enum fmt_tree; bitmap, map: group; else 0 */
	le64 gen;       /* transaction that was newest when it was written in place */
} __attribute__((packed));
_Static_assert(sizeof(struct fmt_hdr) == 48, "header size");

#define FMT_HDR_MAGIC 0x4d4c4f46u   /* "FOLM" */
/* hdr.version of the header of a log that only replay with sums (FMT_REC_SUM) can replay. */
#define FMT_JNL_SUMS 2u

enum fmt_kind {
	FMT_KIND_ROOT = 1,    /* 1 sector */
	FMT_KIND_GTABLE,      /* 1 sector */
	FMT_KIND_BITMAP,      /* 1 sector */
	FMT_KIND_MAP,         /* 1 sector */
	FMT_KIND_NODE,        /* 4 sectors */
	FMT_KIND_JNL,         /* 1 sector, journal header; not part of the cache */
	FMT_KIND_MAX = FMT_KIND_JNL,
	/* in memory and in records only: a sector of file data, which has no header */
	FMT_KIND_DATA,
};

u32 fmt_kind_sectors(enum fmt_kind k);
/* Writes the 48 bytes of the header (csum and gen 0), nothing else. */
void fmt_hdr_init(void *buf, enum fmt_kind k, u64 addr, u64 fsid, u64 owner);
/* Of all behind the header, which is not valid in the log: the sum of a FMT_REC_SUM. */
u64 fmt_buf_sum(const void *buf, u32 len_bytes);
/* Stamp gen and the checksum, just before the buffer goes to the disk. */
void fmt_hdr_seal(void *buf, u32 len_bytes, u64 gen);
/* Identity and checksum of a buffer just read. */
enum why fmt_hdr_why(const void *buf, u32 len_bytes, enum fmt_kind k, u64 addr, u64 fsid);
static inline int fmt_hdr_check(const void *buf, u32 len_bytes, enum fmt_kind k, u64 addr, u64 fsid)
{
	return why_errno(fmt_hdr_why(buf, len_bytes, k, addr, fsid));
}
/* That, and the inner structure of whatever kind it is (bounds, order of keys). */
enum why fmt_buf_why(const void *buf, enum fmt_kind k, u64 addr, const struct fmt_geo *g);
static inline int fmt_buf_check(const void *buf, enum fmt_kind k, u64 addr, const struct fmt_geo *g)
{
	return why_errno(fmt_buf_why(buf, k, addr, g));
}
/* The inner structure alone: for buffers that replay changed, whose checksum is not valid. */
enum why fmt_content_why(const void *buf, enum fmt_kind k, const struct fmt_geo *g);
static inline int fmt_content_check(const void *buf, enum fmt_kind k, const struct fmt_geo *g)
{
	return why_errno(fmt_content_why(buf, k, g));
}

/* ---- root sector: tree roots and counters of the whole file system ---- */
enum fmt_tree { FMT_TREE_INODE, FMT_TREE_DIRENT, FMT_TREE_EXTENT, FMT_TREE_XATTR, FMT_TREE_ORPHAN,
	FMT_NR_TREES };

/* One record of what was found damaged, see struct fmt_root. */
struct fmt_error {
	le64 time;            /* seconds since 1970, of the last time */
	le64 ino;             /* 0 = none */
	le64 sector;          /* UINT64_MAX = none */
	le32 count;           /* how often; 0 = an empty record */
	le16 why;             /* enum why: these numbers never change */
	le16 op;              /* enum work_kind (base/work.h): neither do these */
} __attribute__((packed));
_Static_assert(sizeof(struct fmt_error) == 32, "error record size");
#define FMT_NR_ERRORS 64u

struct fmt_root {
	struct fmt_hdr hdr;
	struct { le64 root; le32 height; le32 pad; } tree[8]; /* height 0: empty; 1: a leaf */
	le64 next_ino;
	le64 nr_inodes;
	le64 free_sectors;    /* equals the sum over the group table */
	le64 node_sectors_used;
	le64 errors_total;    /* since they were cleared; all 0 in images made without */
	le32 error_next;      /* the record that is written over next: a ring */
	u8 pad[36];
	struct fmt_error error[FMT_NR_ERRORS];
	u8 pad2[3584 - 256 - 2048];
	struct fmt_super super;   /* a copy, number FMT_SUPER_COPY_ROOT; 0 in images made without */
} __attribute__((packed));
_Static_assert(sizeof(struct fmt_root) == SECTOR_SIZE, "root sector size");
_Static_assert(offsetof(struct fmt_root, super) == 3584, "the copy is in a 512-byte unit");
#define FMT_SUPER_COPY_ROOT 255u

/* ---- group table ---- */
#define FMT_GROUPS_PER_SECTOR 63u
struct fmt_group {
	le32 free;            /* free sectors */
	le32 flags;           /* none defined */
	/* bit i: bitmap sector i is initialised; else its bits are those of the group's own
	 * metadata, the others read as free */
	le64 bitmap_init;
	le64 map_init[5];     /* bit i: map sector i is initialised; else all its entries are 0 */
	le64 pad;
} __attribute__((packed));
_Static_assert(sizeof(struct fmt_group) == 64, "group descriptor size");
struct fmt_gtable {
	struct fmt_hdr hdr;
	struct fmt_group g[FMT_GROUPS_PER_SECTOR];
	u8 pad[SECTOR_SIZE - 48 - 63 * 64];
} __attribute__((packed));
_Static_assert(sizeof(struct fmt_gtable) == SECTOR_SIZE, "group table sector size");

/* ---- bitmap and sector map ---- */
#define FMT_BITS_PER_SECTOR ((SECTOR_SIZE - 48u) * 8u)   /* 32384 */
#define FMT_MAP_PER_SECTOR  ((SECTOR_SIZE - 48u) / 4u)   /* 1012 */
struct fmt_bitmap {
	struct fmt_hdr hdr;
	le64 bits[FMT_BITS_PER_SECTOR / 64];
} __attribute__((packed));
struct fmt_map {
	struct fmt_hdr hdr;
	le32 entry[FMT_MAP_PER_SECTOR];
} __attribute__((packed));
_Static_assert(sizeof(struct fmt_bitmap) == SECTOR_SIZE, "bitmap sector size");
_Static_assert(sizeof(struct fmt_map) == SECTOR_SIZE, "map sector size");

enum { FMT_MAP_UNWRITTEN = 0, FMT_MAP_NOCSUM = 1, FMT_MAP_BAD = 2, FMT_MAP_CSUM_MIN = 3 };
u32 fmt_map_csum(const void *sector);  /* low half of the XXH3-64 of 4 KiB, moved off 0..2 */
/* Is this what an entry says of a written sector? Without a checksum anything is. */
static inline bool fmt_map_accepts(u32 entry, const void *sector)
{
	return entry < FMT_MAP_CSUM_MIN || entry == fmt_map_csum(sector);
}

/* ---- B+tree nodes ---- */
struct fmt_key { u64 a, b; };          /* decoded key: compared as (a, b) */
struct fmt_slot {             /* leaf, 24 bytes */
	le64 a, b;
	le16 off, len;
	le32 pad;
} __attribute__((packed));
struct fmt_child {            /* interior, 24 bytes */
	le64 a, b, child;
} __attribute__((packed));
/* interior: child 0 has the key (0, 0), which is not used: it holds all keys below child 1 */
struct fmt_node {
	struct fmt_hdr hdr;
	le16 level;           /* 0 = leaf */
	le16 nr;              /* slots in use, in ascending key order */
	le32 heap;            /* leaf: offset of the lowest value; all lie in [heap, NODE_SIZE) */
	le32 dead;            /* leaf: bytes of the heap that belong to no slot */
	le32 pad;
	union { struct fmt_slot slot[0]; struct fmt_child child[0]; };
} __attribute__((packed));
_Static_assert(sizeof(struct fmt_node) == 64, "node header size");
#define FMT_NODE_SLOTS_MAX ((NODE_SIZE - 64u) / 24u)

/* ---- values ---- */
struct fmt_time { le64 sec; le32 nsec; } __attribute__((packed));
struct fmt_inode {            /* tree INODE, key (ino, 0); inline data follows */
	le32 mode, uid, gid, nlink;
	le64 rdev;
	le64 size;            /* bytes */
	le64 sectors;         /* allocated to data */
	le64 parent;          /* directories: the parent; else 0 */
	le64 entries;         /* directories: number of entries */
	le32 flags;           /* enum fmt_iflag */
	le32 gen;
	le32 xattrs;          /* number of xattrs */
	le16 inline_len;      /* bytes that follow (INLINE and symlinks), else 0 */
	le16 pad;
	struct fmt_time atime, mtime, ctime, btime;
	u8 reserve[24];
} __attribute__((packed));
_Static_assert(sizeof(struct fmt_inode) == 144, "inode item size");
enum fmt_iflag {
	FMT_IFLAG_INLINE = 1u << 0,     /* the data (all `size` bytes) is in the item; no extents */
	FMT_IFLAG_IMMUTABLE = 1u << 1, FMT_IFLAG_APPEND = 1u << 2, FMT_IFLAG_NOATIME = 1u << 3,
	FMT_IFLAG_NODUMP = 1u << 4, FMT_IFLAG_SYNC = 1u << 5,
};
/*
 * tree DIRENT, key (dir ino, fmt_name_hash() << 8 | seq); the key's b is the readdir cookie, so it
 * stays below 2^63. type = DT_*, that is (mode >> 12) & 15.
 */
u64 fmt_name_hash(const struct fmt_geo *g, const char *name, u32 len);   /* 1 .. 2^55 - 1 */
struct fmt_dirent { le64 ino; u8 type; u8 namelen; char name[0]; } __attribute__((packed));
/* tree EXTENT, key (ino, first file sector): nr sectors at disk sector `disk` */
struct fmt_extent { le64 disk; le32 nr; le32 flags; } __attribute__((packed));
u64 fmt_xattr_hash(const struct fmt_geo *g, const char *name, u32 len);  /* 1 .. 2^48 - 1 */
/* tree XATTR, key (ino, fmt_xattr_hash() << 16 | seq << 8 | chunk); chunk 0 has this head, name and
 * the value's beginning, further chunks the rest, FMT_XATTR_CHUNK bytes each */
struct fmt_xattr {
	le32 value_len;
	u8 namelen, chunks;
	le16 pad;
	char name[0];
} __attribute__((packed));
#define FMT_XATTR_CHUNK 3500u
/* tree ORPHAN, key (ino, 0): what recovery must finish */
struct fmt_orphan { u8 kind; u8 pad[7]; le64 size; } __attribute__((packed));
enum { FMT_ORPHAN_DELETE = 1, FMT_ORPHAN_TRUNCATE = 2 };

/* ---- journal ---- */
struct fmt_jnl_head {         /* two of them, at jnl_sector and +1, written in turn */
	struct fmt_hdr hdr;
	le64 serial;          /* the higher valid one counts */
	le64 epoch;           /* raised at every mount for writing */
	le64 tail;            /* ring position (sectors) of the oldest transaction needed */
	le64 tail_seq;        /* its sequence */
	le32 clean;           /* 1: nothing to replay, unmounted in order */
	le32 mounts;
	le64 mount_time;      /* seconds since 1970 */
	le32 recovering;      /* 1: what is replayed was good in place, and is being written */
	u8 pad[SECTOR_SIZE - 48 - 52];
} __attribute__((packed));
_Static_assert(sizeof(struct fmt_jnl_head) == SECTOR_SIZE, "journal header size");

#define FMT_TXN_MAGIC 0x4e58544fu  /* "OTXN" */
struct fmt_txn {              /* starts a sector of the ring; one checksum for all of it */
	le32 magic;
	le32 nr_records;
	le64 csum;            /* hash64 of len bytes with csum = 0 */
	le64 epoch;
	le64 seq;             /* consecutive */
	le64 len;             /* bytes with this head, a multiple of SECTOR_SIZE (zero padded) */
	le64 durable;         /* newest transaction known to be durable when this was written */
	le64 time;            /* seconds since 1970 */
	le64 pad;
} __attribute__((packed));
_Static_assert(sizeof(struct fmt_txn) == 64, "transaction head size");

enum fmt_rec_type {
	FMT_REC_BYTES = 1,    /* payload replaces bytes [off, off+len) of the buffer at addr */
	FMT_REC_WHOLE,        /* payload is the whole buffer (len = its size) */
	FMT_REC_FILL,         /* `count` u32 entries from byte off become the value in `arg` */
	FMT_REC_REVOKE,       /* earlier records for buffers at [addr, addr+count) are void */
	/* sectors [addr, addr+count) are about to be overwritten; payload: new map entries; arg and
	 * off name the intent: transaction that logged it first, and its number in that one */
	FMT_REC_INTENT,
	FMT_REC_INTENT_END,   /* arg, off: the intent whose overwrites are over */
	FMT_REC_DATA,         /* payload: data sectors [addr, addr+count) themselves */
	FMT_REC_SUM,          /* arg: fmt_buf_sum() of the buffer after this transaction */
};
struct fmt_rec {              /* 8-byte aligned; payload follows, padded to 8 */
	le16 type;
	le16 kind;            /* enum fmt_kind of the buffer (tells its size) */
	le32 off;
	le32 len;             /* payload bytes */
	le32 count;
	le64 addr;
	le64 arg;
} __attribute__((packed));
_Static_assert(sizeof(struct fmt_rec) == 32, "record head size");

/* ---- check and to_text (bounded, for untrusted bytes) ---- */
enum why fmt_node_why(const struct fmt_node *n);    /* layout, key order, value bounds */
enum why fmt_value_why(enum fmt_tree t, struct fmt_key k, const void *val, u32 len,
		       const struct fmt_geo *g);
static inline int fmt_value_check(enum fmt_tree t, struct fmt_key k, const void *val, u32 len,
				  const struct fmt_geo *g)
{
	return why_errno(fmt_value_why(t, k, val, len, g));
}
void fmt_txn_seal(void *buf);   /* computes csum; all of head and records are in place */
/* The head alone: identity, and a length that can be read. */
enum why fmt_txn_head_why(const struct fmt_txn *t, u64 epoch, u64 seq);
/* Head, checksum, every record in bounds: 0 and the verdict, or -ENOMEM. */
int fmt_txn_why(const void *buf, u64 len_bytes, u64 epoch, u64 seq, enum why *why);
/* Its error, or -ENOMEM. */
int fmt_txn_check(const void *buf, u64 len_bytes, u64 epoch, u64 seq);
/* Iterate records of a checked transaction: 1 and *rec, or 0 at the end. *pos starts at 0. */
int fmt_rec_next(const void *txn, u64 *pos, const struct fmt_rec **rec, const void **payload);
void fmt_super_to_text(const struct fmt_geo *g, FILE *out);
void fmt_buf_to_text(const void *buf, enum fmt_kind k, FILE *out);
void fmt_value_to_text(enum fmt_tree t, struct fmt_key k, const void *val, u32 len, FILE *out);
const char *fmt_tree_name(enum fmt_tree t);
const char *fmt_kind_name(u32 kind);

#endif
