/* SPDX-License-Identifier: Apache-2.0 */
/* The table of .zkfs/: one line for each file. Entered by the FUSE loop. */
#include "ctl.h"

#include "log.h"
#include "stats.h"

#include <inttypes.h>
#include <stdio.h>

static void line(FILE *f, bool prometheus, const char *key, double value)
{
	if (prometheus)
		fprintf(f, "# TYPE zkfs_%s gauge\nzkfs_%s %.15g\n", key, key, value);
	else
		fprintf(f, "%s %.15g\n", key, value);
}

static void numbers(struct zkfs *fs, FILE *f, bool prometheus)
{
	uint64_t nodes, comparing;
	size_t queued, handles;
	int64_t age;

	tree_lock(&fs->m);
	nodes = fs->m.nodes;
	queued = inject_queued(fs->in, &age);
	handles = fs->n_handles;
	comparing = fs->w.comparing;
	tree_unlock(&fs->m);
	line(f, prometheus, "nodes", (double)nodes);
	line(f, prometheus, "handles", (double)handles);
	line(f, prometheus, "watches", session_is_connected(fs->s));
	line(f, prometheus, "comparing", (double)comparing);
	line(f, prometheus, "queue", (double)queued);
	line(f, prometheus, "queue_age", (double)age / 1000);
	line(f, prometheus, "outstanding", (double)session_outstanding(fs->s));
	line(f, prometheus, "requests", (double)session_requests(fs->s));
	for (int i = 0; i < STAT_COUNTERS; i++)
		line(f, prometheus, stats_name(i), (double)stats_get(i));
}

static void write_status(struct zkfs *fs, FILE *f)
{
	char server[128];
	int64_t zxid;

	session_server(fs->s, server, sizeof(server));
	tree_lock(&fs->m);
	zxid = fs->m.last_zxid;
	tree_unlock(&fs->m);
	fprintf(f, "version %s\n", ZKFS_VERSION);
	fprintf(f, "state %s\n", session_is_connected(fs->s) ? "connected" : "connecting");
	fprintf(f, "server %s\n", *server ? server : "-");
	fprintf(f, "session 0x%" PRIx64 "\n", session_id(fs->s));
	fprintf(f, "timeout %g\n", session_timeout_ms(fs->s) / 1000.0);
	fprintf(f, "zxid 0x%" PRIx64 "\n", zxid);
	numbers(fs, f, false);
}

static void write_metrics(struct zkfs *fs, FILE *f)
{
	line(f, true, "connected", session_is_connected(fs->s));
	numbers(fs, f, true);
}

static void write_level(struct zkfs *fs, FILE *f)
{
	(void)fs;
	fprintf(f, "%s\n", log_level_name(log_get_level()));
}

static int set_level(const char *buf, size_t size)
{
	enum log_level level;
	char word[16];

	while (size && (buf[size - 1] == '\n' || buf[size - 1] == ' '))
		size--;
	if (size >= sizeof(word))
		return -EINVAL;
	memcpy(word, buf, size);
	word[size] = '\0';
	if (log_level_parse(word, &level))
		return -EINVAL;
	log_set_level(level);
	return 0;
}

static const struct {
	const char *name;
	void (*read)(struct zkfs *fs, FILE *f);
	int (*write)(const char *buf, size_t size);
} files[CTL_COUNT] = {
	[CTL_DIR] = { ".zkfs", NULL, NULL },
	[CTL_STATUS] = { "status", write_status, NULL },
	[CTL_METRICS] = { "metrics", write_metrics, NULL },
	[CTL_LOG] = { "log", write_level, set_level },
};

void ctl_init(struct zkfs *fs)
{
	for (int i = 0; i < CTL_COUNT; i++) {
		fs->ctl[i].kind = INODE_CTL;
		fs->ctl[i].is_dir = i == CTL_DIR;
		fs->ctl[i].ctl = i;
		fs->ctl[i].ino = (1ULL << 61) + i;
		fs->ctl[i].time_ms = now_ms();
	}
}

struct inode *ctl_find(struct zkfs *fs, const char *name)
{
	for (int i = CTL_DIR + 1; i < CTL_COUNT; i++) {
		if (!strcmp(files[i].name, name))
			return &fs->ctl[i];
	}
	return NULL;
}

const char *ctl_name(int id)
{
	return id < CTL_COUNT ? files[id].name : NULL;
}

char *ctl_read(struct zkfs *fs, int id)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	if (files[id].read)
		files[id].read(fs, f);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

int ctl_write(int id, const char *buf, size_t size)
{
	return files[id].write ? files[id].write(buf, size) : -EACCES;
}
