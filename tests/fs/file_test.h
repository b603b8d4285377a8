/*
 * For tests of file data on a whole file system: one box, and files whose contents are the bytes of
 * one array at the same offsets.
 */
#ifndef TESTS_FS_FILE_TEST_H
#define TESTS_FS_FILE_TEST_H

#include <stdlib.h>

#include "fs_test.h"

#define BIG (4u << 20)

static struct box b;
static u8 *data;
static __thread u8 *back;

static inline void make_data(void)
{
	data = malloc(BIG);
	back = malloc(BIG);
	for (u32 i = 0; i < BIG; i++)
		data[i] = (u8)(i * 2654435761u >> 24);
}

static inline void begin(const char *path, u32 block_bytes)
{
	box_open(&b, path, block_bytes);
	make_data();
}

static inline void begin_fua(const char *path, u32 block_bytes)
{
	box_open_fua(&b, path, block_bytes);
	make_data();
}

static inline void end(void)
{
	box_close(&b);
	free(data);
	free(back);
}

static inline struct inode *new_file(const char *name)
{
	return make(b.root, name, S_IFREG | 0644);
}

static inline void put_data(struct inode *f, u64 pos, u64 len)
{
	ck_assert_int_eq(fs_write(f, pos, data + pos, len, 0), (ssize_t)len);
}

/* Contents that differ from what the file had. */
static inline void put_new(struct inode *f, u64 pos, u64 len)
{
	for (u64 i = pos; i < pos + len; i++)
		data[i] ^= 0x55;
	put_data(f, pos, len);
}

/* The file holds data[0, size) but for [hole, hole_end), which is zero. */
static inline void expect(struct inode *f, u64 size, u64 hole, u64 hole_end)
{
	struct stat st;

	fs_getattr(f, &st);
	ck_assert_uint_eq((u64)st.st_size, size);
	memset(back, 0xee, size);
	ck_assert_int_eq(fs_read(f, 0, back, size + 1, NULL), (ssize_t)size);
	for (u64 i = 0; i < size; i++) {
		u8 want = i >= hole && i < hole_end ? 0 : data[i];

		if (back[i] != want)
			ck_abort_msg("byte %llu is %u, not %u", (unsigned long long)i, back[i],
				     want);
	}
}

static inline struct inode *crash(struct inode *f, const char *name)
{
	fs_iput(f);
	box_remount(&b, true);
	return get(b.root, name);
}

static inline struct inode *again(struct inode *f, const char *name)
{
	fs_iput(f);
	box_remount(&b, false);
	return get(b.root, name);
}

#endif
