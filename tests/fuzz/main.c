/* Runs a target over files and folders, in builds without libFuzzer: the corpus is a test. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static int nr;

static void run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	static u8 data[1 << 16];
	size_t len;
	u8 *exact;

	if (!f)
		return;
	len = fread(data, 1, sizeof(data), f);
	fclose(f);
	/* Of exactly its size, so that a sanitizer sees reads behind it. */
	exact = malloc(len ? len : 1);
	memcpy(exact, data, len);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	nr++;
}

static void run_folder(const char *path)
{
	struct dirent **names;
	int n = scandir(path, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		char file[4096];

		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			run_file(file);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			run_folder(argv[i]);
		else
			run_file(argv[i]);
	}
	printf("%d inputs\n%d passed, 0 failed\n", nr, nr ? 1 : 0);
	return nr ? 0 : 1;
}
