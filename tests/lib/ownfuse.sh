# Source it before sh.sh in a test that runs the daemon as an ordinary user. Where /dev/fuse is for
# root only (no udev), the script is started again with one of its own, seen by nobody else.
#
# shellcheck shell=bash

if [ "$(id -u)" = 0 ] && [ -z "${OWN_FUSE:-}" ] && [ -c /dev/fuse ] &&
	! setpriv --reuid 65534 --regid 65534 --clear-groups test -w /dev/fuse 2>/dev/null; then
	node=$(mktemp -u /tmp/foliofs-fuse.XXXXXX)
	mknod -m 666 "$node" c 10 229 2>/dev/null
	OWN_FUSE=1 unshare -m --propagation private bash -c \
		'mount --bind "$1" /dev/fuse; rm "$1"; shift; exec "$@"' - "$node" "$0" "$@"
	exit
fi
