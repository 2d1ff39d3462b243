/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of what the daemon has done since its start, shown in .zkfs/status. Any thread. */
#ifndef ZKFS_STATS_H
#define ZKFS_STATS_H

#include <stdint.h>

enum stat_counter {
	STAT_EVENTS_RECEIVED, /* from the server's watch */
	STAT_EVENTS_INJECTED, /* told to the kernel */
	STAT_EVENTS_OWN,      /* echoes of what this mount did: the kernel told them itself */
	STAT_EVENTS_UNKNOWN,  /* of znodes in directories that the kernel does not know */
	STAT_EVENTS_OUTDATED, /* aborted, since something newer had come */
	STAT_RESYNCS,
	STAT_EXPIRIES,
	STAT_COUNTERS
};

void stats_add(enum stat_counter c);
uint64_t stats_get(enum stat_counter c);
/* "events_received" and so on. */
const char *stats_name(enum stat_counter c);

#endif
