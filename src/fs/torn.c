/* What recovery found in overwrites that were under way at the crash: told with its file. */
#include "base/err.h"
#include "base/log.h"
#include "fs/inode.h"

void torn_report(struct fs *fs)
{
	const struct jnl_recovery *rec = &fs->recovery;
	u32 nr = (u32)MIN(rec->torn, (u64)JNL_TORN_MAX);
	struct owner owner[JNL_TORN_MAX];

	for (u32 i = 0; i < nr; i++)
		owner[i].disk = rec->torn_sector[i];
	owners_find(fs, owner, nr);
	for (u32 i = 0; i < nr; i++)
		corrupt_data(WHY_DATA_TORN, owner[i].ino,
			     owner[i].ino ? owner[i].sector : CORRUPT_NO_SECTOR, owner[i].disk);
	if (rec->recovered_new || rec->recovered_old || rec->torn)
		log_info("overwrites under way at the crash: %llu sectors new, %llu old, %llu torn",
			 (unsigned long long)rec->recovered_new,
			 (unsigned long long)rec->recovered_old, (unsigned long long)rec->torn);
}
