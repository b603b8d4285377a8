/*
 * Why something on a disk is not acceptable: one code for each check that finds it, so that a
 * report says which one it was. A test counts that each is raised at one place (tests/style).
 *
 * The numbers stand in the record of errors on the disk (docs/FORMAT.md): none changes, new ones
 * come at the end.
 */
#ifndef BASE_WHY_H
#define BASE_WHY_H

#include <stdbool.h>

/*
 * W(NUMBER, ID, words)   WHY_ID
 * O(NUMBER, ID, words)   WHY_OLD_ID: stood for several checks, in records of older versions;
 *                        nothing raises it
 */
#define WHY_ROWS(W, O)                                                                             \
	/* the superblock */                                                                       \
	W(1, SB_MAGIC, "superblock: no FolioFS signature")                                         \
	W(2, SB_VERSION, "superblock: unknown format version")                                     \
	W(3, SB_CHECKSUM, "superblock: wrong checksum")                                            \
	O(4, SB_GEOMETRY, "superblock: impossible geometry")                                       \
	W(5, SB_FEATURES, "superblock: unknown features")                                          \
	W(6, SB_SIZE, "superblock: larger than the device")                                        \
	/* the common header of metadata */                                                        \
	W(7, HDR_MAGIC, "metadata header: wrong magic number")                                     \
	W(8, HDR_CHECKSUM, "metadata header: wrong checksum")                                      \
	W(9, HDR_ADDRESS, "metadata header: written for another address")                          \
	W(10, HDR_OWNER, "metadata header: a node of another tree")                                \
	W(11, HDR_UUID, "metadata header: belongs to another file system")                         \
	W(12, HDR_TYPE, "metadata header: another kind of structure")                              \
	/* trees */                                                                                \
	W(13, NODE_LEVEL, "tree node: wrong level")                                                \
	W(14, NODE_LAYOUT, "tree node: a value outside the heap, in memory")                       \
	W(15, NODE_KEY_ORDER, "leaf: a key is not above the one before it")                        \
	W(16, NODE_KEY_RANGE, "tree node: its first key is below the range of its parent")         \
	W(17, NODE_CHILD, "tree: the way down leads to an address that no node can have")          \
	W(18, TREE_DEPTH, "tree: deeper than possible")                                            \
	/* space */                                                                                \
	O(19, GROUP_TABLE, "group table: impossible entry")                                        \
	W(20, BITMAP, "bitmap: space to be used is in use already")                                \
	W(21, BITMAP_COUNT, "free space: the sum over the groups is not the root sector's")        \
	O(22, MAP, "sector map: wrong content")                                                    \
	O(23, ROOT, "root sector: wrong content")                                                  \
	O(24, RANGE, "disk range outside the file system")                                         \
	W(25, DOUBLE_FREE, "bitmap: space to be freed is not in use")                              \
	/* the log */                                                                              \
	O(26, JNL_HEADER, "journal: wrong header")                                                 \
	O(27, JNL_RECORD, "journal: wrong record")                                                 \
	W(28, JNL_CHECKSUM, "journal: changes of a buffer that is damaged itself")                 \
	W(29, JNL_SEQUENCE, "journal: a transaction with another number")                          \
	O(30, JNL_RANGE, "journal: range outside its buffer")                                      \
	/* items */                                                                                \
	O(31, INODE, "inode: wrong content")                                                       \
	W(32, INODE_MISSING, "inode: named but missing")                                           \
	W(33, INODE_NLINK, "inode: no link left for the name that goes")                           \
	O(34, DIRENT, "directory entry: wrong content")                                            \
	W(35, DIRENT_NAME, "directory entry: impossible name")                                     \
	O(36, EXTENT, "extent: wrong content")                                                     \
	W(37, EXTENT_OVERLAP, "extent: a new one overlaps the next")                               \
	O(38, XATTR, "extended attribute: wrong content")                                          \
	O(39, ORPHAN, "orphan: wrong content")                                                     \
	W(40, SYMLINK, "inode: the target of a symbolic link has not the size that it says")       \
	W(41, INLINE, "inode: data in the item of what is no file")                                \
	/* data */                                                                                 \
	W(42, DATA_CHECKSUM, "file data: wrong checksum")                                          \
	W(43, DATA_BAD, "file data: lost by a write that failed")                                  \
	W(44, DATA_TORN, "file data: torn by a crash")                                             \
	O(45, BUFFER, "metadata buffer: wrong address, kind or content")                           \
	W(46, JNL_LOST, "journal: damaged in the middle, later changes are lost")                  \
	/* the device said so itself; no wrong content: why_is_io() */                             \
	W(47, IO_READ, "device: reading failed")                                                   \
	W(48, IO_WRITE, "device: writing failed")                                                  \
	W(49, IO_FLUSH, "device: a flush failed")                                                  \
	/* the machine lost memory of the cache; the disk is not to blame: why_is_memory() */      \
	W(50, MEM_CLEAN, "memory: a cached page was lost and read again")                          \
	W(51, MEM_DATA, "memory: file data was lost before it was written")                        \
	W(52, MEM_META, "memory: changed metadata was lost before it was written")                 \
	W(53, MEM_META_CLEAN, "memory: cached metadata was lost and read again")                   \
	W(54, IO_ZERO, "device: clearing failed")                                                  \
	/* from here on in the order of the layers: superblock */                                  \
	W(55, SB_NODE_SIZE, "superblock: another size of tree nodes")                              \
	W(56, SB_LABEL, "superblock: the label has no end")                                        \
	W(57, SB_BLOCK_SIZE, "superblock: impossible block size")                                  \
	W(58, SB_GROUP_SIZE, "superblock: impossible group size")                                  \
	W(59, SB_SECTORS, "superblock: impossible number of sectors")                              \
	W(60, SB_GROUPS, "superblock: the number of groups does not follow from the size")         \
	W(61, SB_JNL_SIZE, "superblock: impossible size of the log")                               \
	W(62, SB_ROOT, "superblock: the root sector is not where it belongs")                      \
	W(63, SB_GTABLE, "superblock: the group table is not where it belongs")                    \
	W(64, SB_GTABLE_SIZE, "superblock: the group table has not one entry for each group")      \
	W(65, SB_JNL, "superblock: the log is not behind the group table")                         \
	W(66, SB_FIRST_GROUP, "superblock: the first group has no space")                          \
	W(67, SB_LAST_GROUP, "superblock: the last group has no space")                            \
	/* header and use of metadata */                                                           \
	W(68, HDR_VERSION, "metadata header: unknown version")                                     \
	W(69, KIND, "metadata: a kind that is no buffer")                                          \
	W(70, BUF_DATA, "metadata: asked for as metadata and as file data at once")                \
	W(71, BUF_KIND, "metadata: a pointer leads to another kind of structure")                  \
	W(72, BUF_ADDRESS, "metadata: a structure in memory says another address")                 \
	W(73, BUF_ALIGN, "metadata: a pointer leads to a place between structures")                \
	W(74, BUF_RANGE, "metadata: a pointer leads out of the file system")                       \
	W(75, BUF_OWNERS, "metadata: a place with two structures of different size")               \
	/* root sector */                                                                          \
	W(76, ROOT_TREE, "root sector: a tree that there is not")                                  \
	W(77, ROOT_HEIGHT, "root sector: impossible height of a tree")                             \
	W(78, ROOT_ADDRESS, "root sector: impossible address of a tree's root")                    \
	W(79, ROOT_NEXT_INO, "root sector: the next inode number is one of the first")             \
	W(80, ROOT_FREE, "root sector: more free sectors than there are")                          \
	W(81, ROOT_NODES, "root sector: more sectors of nodes than there are")                     \
	W(82, ROOT_INO_END, "root sector: no inode number is left")                                \
	W(83, ROOT_NR_INODES, "root sector: an inode goes, and none is counted")                   \
	W(84, ROOT_NR_NODES, "root sector: a node goes, and none is counted")                      \
	/* groups */                                                                               \
	W(85, GROUP_INDEX, "group table: a sector behind its end")                                 \
	W(86, GROUP_FREE, "group table: a group with more free sectors than it has")               \
	W(87, GROUP_FLAGS, "group table: unknown flags of a group")                                \
	W(88, GROUP_BITMAP_INIT, "group table: more bitmap sectors in use than there are")         \
	W(89, GROUP_MAP_INIT, "group table: more map sectors in use than there are")               \
	W(90, PART_GROUP, "bitmap or sector map: of a group that there is not")                    \
	W(91, PART_ADDRESS, "bitmap or sector map: not where its group has one")                   \
	W(92, GROUP_COUNT_LOW, "group table: space is used, and none is counted as free")          \
	W(93, GROUP_COUNT_HIGH, "group table: more would be free than there is")                   \
	W(94, ROOT_COUNT_LOW, "root sector: space is used, and none is counted as free")           \
	W(95, FREE_SUM, "group table: more free sectors than there are in all")                    \
	W(96, SPACE_SECTOR, "a range of space behind the end of the file system")                  \
	W(97, SPACE_EMPTY, "a range of space without length")                                      \
	W(98, SPACE_METADATA, "a range of space inside the metadata of its group")                 \
	W(99, SPACE_GROUP, "a range of space across the end of its group")                         \
	W(100, MAP_RANGE, "sector map: entries behind the end of the file system")                 \
	/* nodes, as they are read */                                                              \
	W(101, NODE_TREE, "tree node: of a tree that there is not")                                \
	W(102, NODE_ADDRESS, "tree node: at an address that no node can have")                     \
	W(103, NODE_HEIGHT, "tree node: impossible level")                                         \
	W(104, NODE_COUNT, "tree node: more items than fit")                                       \
	W(105, NODE_EMPTY, "tree node: no child")                                                  \
	W(106, LEAF_HEAP_END, "leaf: the heap begins behind the end")                              \
	W(107, LEAF_HEAP, "leaf: the heap begins inside the slots")                                \
	W(108, LEAF_VALUE_LOW, "leaf: a value in front of the heap")                               \
	W(109, LEAF_VALUE_LONG, "leaf: a value longer than possible")                              \
	W(110, LEAF_VALUE_END, "leaf: a value behind the end")                                     \
	W(111, LEAF_DEAD, "leaf: more dead bytes than a node has")                                 \
	W(112, LEAF_SUM, "leaf: values and dead bytes are not the heap")                           \
	W(113, CHILD_KEY_ORDER, "inner node: a key is not above the one before it")                \
	W(114, CHILD_ADDRESS, "inner node: a child at an address that no node can have")           \
	W(115, VALUE_TREE, "tree item: of a tree that there is not")                               \
	/* trees, as they are walked */                                                            \
	W(116, TREE_ROOT, "tree: a root without height, or a height without root")                 \
	W(117, TREE_COUNT, "tree: a node in memory with more items than fit")                      \
	W(118, TREE_EMPTY, "tree: an empty node that is not all of the tree")                      \
	W(119, TREE_FIRST_KEY, "inner node: the first key is not zero")                            \
	W(120, TREE_KEY_HIGH, "tree node: its last key is above the range of its parent")          \
	W(121, TREE_NEXT, "tree: the leaf behind has nothing")                                     \
	W(122, TREE_PREV, "tree: the leaf in front has nothing")                                   \
	W(123, TREE_ORDER, "tree: a key is not above the last of the leaf before")                 \
	W(124, LEAF_COMPACT, "leaf: the values have no room when they are moved together")         \
	W(125, LEAF_ROOM, "leaf: less room than its counters say")                                 \
	/* the log */                                                                              \
	W(126, JNL_HEAD_PLACE, "journal header: not at the place of one")                          \
	W(127, JNL_HEAD_TAIL, "journal header: the log begins behind its end")                     \
	W(128, JNL_HEAD_CLEAN, "journal header: neither clean nor unclean")                        \
	W(129, JNL_HEAD_SEQ, "journal header: transaction 0")                                      \
	W(130, JNL_TXN_MAGIC, "journal: no transaction where one should be")                       \
	W(131, JNL_TXN_SHORT, "journal: a transaction shorter than its head")                      \
	W(132, JNL_TXN_LONG, "journal: a transaction longer than what is there")                   \
	W(133, JNL_TXN_MAX, "journal: a transaction longer than possible")                         \
	W(134, JNL_TXN_ALIGN, "journal: a transaction that is not of whole sectors")               \
	W(135, JNL_TXN_EPOCH, "journal: a transaction of another mount")                           \
	W(136, JNL_TXN_CHECKSUM, "journal: a transaction with a wrong checksum")                   \
	W(137, JNL_REC_COUNT, "journal: more records than possible")                               \
	W(138, JNL_REC_HEAD, "journal: a record without room for its head")                        \
	W(139, JNL_REC_END, "journal: a record behind the end of its transaction")                 \
	W(140, JNL_REC_BYTES, "journal: bytes outside their buffer")                               \
	W(141, JNL_REC_WHOLE, "journal: a whole buffer that is not one")                           \
	W(142, JNL_REC_FILL, "journal: a filling outside its buffer")                              \
	W(143, JNL_REC_REVOKE, "journal: a revocation of nothing")                                 \
	W(144, JNL_REC_INTENT, "journal: an intent without a checksum for each sector")            \
	W(145, JNL_REC_INTENT_END, "journal: the end of an intent with more in it")                \
	W(146, JNL_REC_DATA, "journal: data that is not of whole sectors")                         \
	W(147, JNL_REC_TYPE, "journal: an unknown type of record")                                 \
	W(148, JNL_BUF_SIZE, "journal: records of two sizes of buffer at one place")               \
	W(149, JNL_BUF_RANGE, "journal: a buffer outside the file system")                         \
	W(150, JNL_BUF_SUM, "journal: more buffers than the log can hold")                         \
	W(151, JNL_APPLY_FILL, "journal: a filling that goes beyond the buffer of its place")      \
	W(152, JNL_APPLY_BYTES, "journal: bytes that go beyond the buffer of their place")         \
	W(153, JNL_APPLY_WHOLE, "journal: a whole buffer of another size than its place")          \
	W(154, JNL_INTENT_RANGE, "journal: an intent outside the file system")                     \
	W(155, JNL_INTENT_MAP, "journal: an intent without its sector map")                        \
	W(156, JNL_CUT, "journal: cut by fsck where it was damaged, later changes are lost")       \
	/* inode items */                                                                          \
	W(157, INODE_SHORT, "inode: the item is shorter than an inode")                            \
	W(158, INODE_LENGTH, "inode: the item has not the length that it says")                    \
	W(159, INODE_NUMBER, "inode: a number that no inode has")                                  \
	W(160, INODE_KEY, "inode: the key has a second part")                                      \
	W(161, INODE_MODE, "inode: impossible mode")                                               \
	W(162, INODE_SIZE, "inode: larger than possible")                                          \
	W(163, INODE_TIME, "inode: a time with a second or more of nanoseconds")                   \
	W(164, INLINE_LONG, "inode: more data in the item than possible")                          \
	W(165, INLINE_SIZE, "inode: data in the item that is not all of the file")                 \
	W(166, INLINE_EXTRA, "inode: bytes behind an item that says it has no data")               \
	W(167, INODE_STORE, "inode: the item of an inode in use is missing")                       \
	W(168, INODE_READ, "inode: the item with the data of a file is missing")                   \
	W(169, INODE_TARGET, "inode: the item with the target of a symbolic link is missing")      \
	W(170, INODE_ROOT, "inode: the root directory is missing")                                 \
	W(171, INODE_ROOT_TYPE, "inode: the root directory is no directory")                       \
	/* directories */                                                                          \
	W(172, DIRENT_SHORT, "directory entry: the item is shorter than an entry")                 \
	W(173, DIRENT_LENGTH, "directory entry: the item has not the length of its name")          \
	W(174, DIRENT_DIR, "directory entry: in a directory that no inode is")                     \
	W(175, DIRENT_COOKIE, "directory entry: impossible hash")                                  \
	W(176, DIRENT_INO, "directory entry: an inode number that no inode has")                   \
	W(177, DIRENT_TYPE, "directory entry: impossible type")                                    \
	W(178, DIRENT_SELF, "directory entry: names its own directory")                            \
	W(179, DIR_NLINK, "directory: a subdirectory goes, and none is counted")                   \
	W(180, DIR_ENTRIES, "directory: an entry goes, and none is counted")                       \
	W(181, DIR_LOOP, "directory: the way up does not end at the root")                         \
	W(182, DIR_PARENT, "directory: the parent is missing")                                     \
	/* extents */                                                                              \
	W(183, EXTENT_LENGTH, "extent: the item has not the length of an extent")                  \
	W(184, EXTENT_INO, "extent: of a number that no inode has")                                \
	W(185, EXTENT_FLAGS, "extent: unknown flags")                                              \
	W(186, EXTENT_EMPTY, "extent: without sectors")                                            \
	W(187, EXTENT_METADATA, "extent: begins inside the metadata of the first group")           \
	W(188, EXTENT_DISK, "extent: begins behind the end of the file system")                    \
	W(189, EXTENT_DISK_END, "extent: ends behind the end of the file system")                  \
	W(190, EXTENT_OFFSET, "extent: begins behind the largest size of a file")                  \
	W(191, EXTENT_OFFSET_END, "extent: ends behind the largest size of a file")                \
	W(192, EXTENT_FILE_END, "extent: ends behind what a file can address")                     \
	W(193, EXTENT_OVERLAP_PREV, "extent: a new one overlaps the one before")                   \
	/* attributes */                                                                           \
	W(194, XATTR_INO, "extended attribute: of a number that no inode has")                     \
	W(195, XATTR_HASH, "extended attribute: impossible hash")                                  \
	W(196, XATTR_PIECE_EMPTY, "extended attribute: a further piece is empty")                  \
	W(197, XATTR_PIECE_LONG, "extended attribute: a further piece is longer than possible")    \
	W(198, XATTR_SHORT, "extended attribute: the item is shorter than its head")               \
	W(199, XATTR_NO_NAME, "extended attribute: without a name")                                \
	W(200, XATTR_NO_PIECE, "extended attribute: of no piece")                                  \
	W(201, XATTR_VALUE_MAX, "extended attribute: a value longer than possible")                \
	W(202, XATTR_NAME_CUT, "extended attribute: the item ends inside the name")                \
	W(203, XATTR_NAME_ZERO, "extended attribute: a name with a zero in it")                    \
	W(204, XATTR_FIRST_LONG, "extended attribute: the first piece has more than the value")    \
	W(205, XATTR_FIRST_CUT, "extended attribute: the only piece has not all of the value")     \
	W(206, XATTR_NO_HEAD, "extended attribute: a further piece without the first")             \
	W(207, XATTR_PIECE_GONE, "extended attribute: a piece to be removed is missing")           \
	W(208, XATTR_PIECE_MISSING, "extended attribute: a piece is missing")                      \
	W(209, XATTR_LONG, "extended attribute: the pieces have more than the value")              \
	W(210, XATTR_CUT, "extended attribute: the pieces have not all of the value")              \
	W(211, XATTR_COUNT, "inode: an attribute goes, and none is counted")                       \
	W(212, ACL_DEFAULT, "access list: impossible default list of a directory")                 \
	W(213, ACL_LONG, "access list: longer than possible")                                      \
	W(214, ACL_ACCESS, "access list: impossible list")                                         \
	/* orphans */                                                                              \
	W(215, ORPHAN_LENGTH, "orphan: the item has not the length of an orphan")                  \
	W(216, ORPHAN_INO, "orphan: of a number that no orphan has")                               \
	W(217, ORPHAN_KEY, "orphan: the key has a second part")                                    \
	W(218, ORPHAN_KIND, "orphan: unknown kind")                                                \
	W(219, ORPHAN_SIZE, "orphan: larger than possible")                                        \
	W(220, ORPHAN_IDLE, "orphan: there is nothing to finish")                                  \
	W(221, ORPHAN_INODE, "orphan: the inode to be deleted is missing")                         \
	/* scrub */                                                                                \
	W(222, DATA_SCRUB, "file data: wrong checksum on the disk")                                \
	W(223, JNL_TXN_CUT, "journal: less than the head of a transaction")                        \
	W(224, JNL_TXN_PAST, "journal: a transaction longer than the rest of the log")             \
	W(225, JNL_REC_SUM, "journal: a sum of what has none")                                     \
	W(226, JNL_HEAD_RECOVERING, "journal: a header that is neither of a recovery nor of none")

enum why {
	WHY_NONE,
#define WHY_ENUM(nr, id, words) WHY_##id = nr,
#define WHY_ENUM_OLD(nr, id, words) WHY_OLD_##id = nr,
	WHY_ROWS(WHY_ENUM, WHY_ENUM_OLD)
#undef WHY_ENUM
#undef WHY_ENUM_OLD
	WHY_NR,
};

/* The words; "unknown reason" for what is none. Static storage. */
const char *why_text(enum why why);
/* "NODE_KEY_ORDER", for programs; NULL for what is none. */
const char *why_name(enum why why);
/* The error that goes with it: 0 for WHY_NONE, -EBADMSG for checksums, -EUCLEAN for content, and
 * -EINVAL and -EOPNOTSUPP for a superblock that is none, or is of another version. */
int why_errno(enum why why);

static inline bool why_is_io(enum why why)
{
	return (why >= WHY_IO_READ && why <= WHY_IO_FLUSH) || why == WHY_IO_ZERO;
}

static inline bool why_is_memory(enum why why)
{
	return why >= WHY_MEM_CLEAN && why <= WHY_MEM_META_CLEAN;
}

#endif
