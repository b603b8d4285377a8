/*
 * Goal: docs/FORMAT.md gives every byte of every structure on the disk, and the numbers in them.
 * Method: each packed structure of format.h has a heading with its size; the rows of its table
 * follow each other without a gap and end at that size. Tables of numbers have a row for each that
 * the program knows, with its words.
 */
#include "check_main.h"

#include <string.h>

#include "base/work.h"
#include "format/format.h"

static const struct {
	const char *name;
	size_t size;
} structs[] = {
#define ROW(s) { #s, sizeof(struct s) }
	ROW(fmt_super),  ROW(fmt_hdr),    ROW(fmt_root),   ROW(fmt_gtable),   ROW(fmt_group),
	ROW(fmt_bitmap), ROW(fmt_map),    ROW(fmt_node),   ROW(fmt_slot),     ROW(fmt_child),
	ROW(fmt_inode),  ROW(fmt_time),   ROW(fmt_dirent), ROW(fmt_extent),   ROW(fmt_xattr),
	ROW(fmt_error),  ROW(fmt_orphan), ROW(fmt_txn),    ROW(fmt_rec),    ROW(fmt_jnl_head),
#undef ROW
};

static FILE *source(const char *path)
{
	const char *root = getenv("FOLIOFS_SOURCE");
	char full[4096];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", root ? root : ".", path);
	f = fopen(full, "r");
	ck_assert_msg(f != NULL, "can't open %s", full);
	return f;
}

static bool is_listed(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(structs); i++) {
		if (strcmp(structs[i].name, name) == 0)
			return true;
	}
	return false;
}

START_TEST(every_packed_structure_of_the_header_is_looked_at)
{
	FILE *f = source("src/format/format.h");
	char line[512], name[64] = "", other[64];
	size_t found = 0;

	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "struct %63[a-z_] {", other) == 1 && strchr(line, '{'))
			strcpy(name, other);
		if (line[0] != '}' && !(strncmp(line, "struct", 6) == 0 && strchr(line, '}')))
			continue;
		if (!strstr(line, "packed"))
			continue;
		ck_assert_msg(is_listed(name), "struct %s", name);
		found++;
	}
	fclose(f);
	ck_assert_uint_eq(found, ARRAY_LEN(structs));
}
END_TEST

START_TEST(the_tables_give_every_byte)
{
	for (size_t i = 0; i < ARRAY_LEN(structs); i++) {
		FILE *f = source("docs/FORMAT.md");
		char line[1024], heading[128];
		size_t end = 0, off, size;
		bool inside = false, seen = false;

		snprintf(heading, sizeof(heading), "### struct %s: %zu bytes\n", structs[i].name,
			 structs[i].size);
		while (fgets(line, sizeof(line), f)) {
			if (line[0] == '#')
				inside = strcmp(line, heading) == 0;
			seen = seen || inside;
			if (!inside || sscanf(line, "| %zu | %zu | %*s |", &off, &size) != 2)
				continue;
			ck_assert_msg(off == end, "struct %s: a gap in front of offset %zu",
				      structs[i].name, off);
			end = off + size;
		}
		fclose(f);
		ck_assert_msg(seen, "no heading '%s'", heading);
		ck_assert_msg(end == structs[i].size, "struct %s: the table ends at %zu",
			      structs[i].name, end);
	}
}
END_TEST

/* The rows "| NUMBER | TEXT |" of the table with this heading are those that text() knows. */
static void check_table(const char *heading, const char *(*text)(u16 nr))
{
	FILE *f = source("docs/FORMAT.md");
	char line[1024], want[1024];
	bool inside = false;
	u32 nr, rows = 0, known = 0;

	while (fgets(line, sizeof(line), f)) {
		if (line[0] != '|')
			inside = false;
		inside = inside || strcmp(line, heading) == 0;
		if (!inside || sscanf(line, "| %u |", &nr) != 1)
			continue;
		ck_assert_msg(nr && text((u16)nr), "no such number: %s", line);
		snprintf(want, sizeof(want), "| %u | %s |\n", nr, text((u16)nr));
		ck_assert_str_eq(line, want);
		rows++;
	}
	fclose(f);
	for (nr = 1; nr <= UINT16_MAX; nr++)
		known += text((u16)nr) != NULL;
	ck_assert_uint_eq(rows, known);
}

static const char *reason(u16 why)
{
	return why < WHY_NR && why_name((enum why)why) ? why_text((enum why)why) : NULL;
}

START_TEST(every_reason_of_the_record_of_errors_has_its_number)
{
	check_table("| why | reason |\n", reason);
}
END_TEST

START_TEST(every_operation_of_the_record_of_errors_has_its_number)
{
	check_table("| op | operation |\n", work_text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("doc");

	check_add(s, every_packed_structure_of_the_header_is_looked_at);
	check_add(s, the_tables_give_every_byte);
	check_add(s, every_operation_of_the_record_of_errors_has_its_number);
	check_add(s, every_reason_of_the_record_of_errors_has_its_number);
	return check_main(s);
}
