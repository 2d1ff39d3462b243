/* SPDX-License-Identifier: Apache-2.0 */
/* .zkfs: the daemon's own directory in the root of the mount, and the files in it. */
#ifndef ZKFS_CTL_H
#define ZKFS_CTL_H

#include "fs.h"

enum ctl_id { CTL_DIR, CTL_STATUS, CTL_METRICS, CTL_LOG, CTL_COUNT };

/* Before the first request. */
void ctl_init(struct zkfs *fs);
/* The file @name of .zkfs; NULL: there is none. */
struct inode *ctl_find(struct zkfs *fs, const char *name);
/* The name of the index'th file; NULL: no such index. */
const char *ctl_name(int id);
/* What the file reads as now, to be freed; NULL: no memory. Without the tree lock. */
char *ctl_read(struct zkfs *fs, int id);
/* 0 or -errno. */
int ctl_write(int id, const char *buf, size_t size);

#endif
