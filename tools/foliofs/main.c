/*
 * foliofs, also installed as mount.foliofs and mount.fuse.foliofs: the daemon. All of it is in
 * src/front.
 */
#include "front/front.h"

int main(int argc, char **argv)
{
	return front_main(argc, argv);
}
