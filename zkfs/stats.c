/* SPDX-License-Identifier: Apache-2.0 */
/* Counters: one relaxed atomic each, entered by every thread, no lock. */
#include "stats.h"

#include <stdatomic.h>

static _Atomic uint64_t counters[STAT_COUNTERS];

static const char *const names[STAT_COUNTERS] = {
	[STAT_EVENTS_RECEIVED] = "events_received",
	[STAT_EVENTS_INJECTED] = "events_injected",
	[STAT_EVENTS_OWN] = "events_own",
	[STAT_EVENTS_UNKNOWN] = "events_unknown",
	[STAT_EVENTS_OUTDATED] = "events_outdated",
	[STAT_RESYNCS] = "resyncs",
	[STAT_EXPIRIES] = "expiries",
};

void stats_add(enum stat_counter c)
{
	atomic_fetch_add_explicit(&counters[c], 1, memory_order_relaxed);
}

uint64_t stats_get(enum stat_counter c)
{
	return atomic_load_explicit(&counters[c], memory_order_relaxed);
}

const char *stats_name(enum stat_counter c)
{
	return names[c];
}
