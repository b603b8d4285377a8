/*
 * The control protocol of a mounted FolioFS: how foliofsctl talks to the daemon, and any other
 * program may.
 *
 * Each mount has a stream socket NAME.sock, where NAME is the mount's device number as in
 * /proc/self/mountinfo with '-' for ':' ("0-57.sock"). It lies in the first of these directories
 * that fits the user who mounted (user_id= in mountinfo):
 *
 *	root			/run/foliofs
 *	others			$XDG_RUNTIME_DIR/foliofs of the daemon's environment,
 *				/run/user/UID/foliofs, /tmp/foliofs-UID
 *
 * Only that user and root are answered. A client sends one line, "COMMAND [ARGUMENT...]\n", of at
 * most FOLIOFS_CONTROL_LINE bytes, and reads to the end: first "ok\n" or "error TEXT\n", then what
 * the command prints. Commands:
 *
 *	stats text|json|prometheus
 *		all counters, histograms and gauges
 *	info
 *		one "key value" line each: version, image, mount, pid, cache, ...
 *	sync
 *		everything written so far is durable when "ok" comes
 *	freeze [SECONDS]
 *		everything written so far is durable, and from "ok" on nothing is written until
 *		"thaw" or until the time is up (60 s); while frozen, sync is refused
 *	thaw
 *		goes on; "error" when nothing was frozen any more: what was copied is no good
 *	mark TEXT
 *		puts a mark into the block log (-o writelog) behind all that has ended
 *	shutdown
 *		drops all that is not durable, as a power cut would; everything fails until the
 *		unmount
 *	drop [INODE [POSITION [LENGTH]]]
 *		drops clean cached data of all, or of (a range of) one inode; "ok", then the number
 *		of bytes
 *	state INODE [POSITION [LENGTH]]
 *		what of a file is cached, "key value" lines: cached, dirty, writeback (bytes),
 *		evicted, recently_evicted (folios that are remembered), folios, budget (bytes,
 *		0 = none), priority
 *	set INODE KEY=VALUE...
 *		budget=SIZE or none, priority=low, normal or high; until the unmount
 *	frag [INODE]
 *		"key value" lines: runs of free space, or extents of a file
 *	trace [NUMBER]
 *		"next NUMBER lost NUMBER", then the records of the trace ring from that number on
 *	scrub start [BYTES-A-SECOND] | stop | status
 *		verifies what is on the disk; status prints "key value" lines: state (never,
 *		running, finished, stopped, failed), bytes, errors, and "damage TEXT" for each
 *	errors [clear | json]
 *		one line for each place that was found damaged, then how many reports there were;
 *		or one JSON object
 *	wait
 *		answers when the file system has been unmounted and the image is free: "ok", or
 *		"error TEXT" if something could not be written
 */
#ifndef FOLIOFS_CONTROL_H
#define FOLIOFS_CONTROL_H

#define FOLIOFS_CONTROL_LINE 256
#define FOLIOFS_CONTROL_DIR "/run/foliofs"
#define FOLIOFS_CONTROL_SUBDIR "foliofs"

#endif
