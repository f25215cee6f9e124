/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/reflink.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/unit/support/unit.h"

#define MOUNT "/tmp/rdisk-unit-xfs-XXXXXX"

static bool shares(const char *folder)
{
    char one[128], two[128];
    int from, to;
    bool shares;

    snprintf(one, sizeof(one), "%s/one", folder);
    snprintf(two, sizeof(two), "%s/two", folder);
    from = open(one, O_RDWR | O_CREAT, 0600);
    to = open(two, O_RDWR | O_CREAT, 0600);
    shares = from >= 0 && to >= 0 && write(from, "data", 4) == 4 &&
             ioctl(to, FICLONE, from) == 0;
    close(from);
    close(to);
    unlink(one);
    unlink(two);
    return shares;
}

static char mounted[sizeof(MOUNT)]; /* ""; for this process */

static void unmount_at_exit(void)
{
    umount2(mounted, MNT_DETACH);
    rmdir(mounted);
}

/* In a name space of its own, so that nothing outside sees it, and it goes with
 * the process whatever becomes of that. */
static bool mount_xfs(void)
{
    char command[600];

    if (mounted[0]) {
        return true;
    }
    strcpy(mounted, MOUNT);
    if (geteuid() != 0 || !mkdtemp(mounted)) {
        mounted[0] = '\0';
        return false;
    }
    snprintf(command, sizeof(command),
             "exec 2>/dev/null; PATH=$PATH:/sbin:/usr/sbin; "
             "truncate -s 400M %s.img && mkfs.xfs -q -m reflink=1 %s.img",
             mounted, mounted);
    if (system(command) == 0 && unshare(CLONE_NEWNS) == 0 &&
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0) {
        snprintf(command, sizeof(command),
                 "mount -o loop %s.img %s 2>/dev/null", mounted, mounted);
        if (system(command) == 0 && shares(mounted)) {
            atexit(unmount_at_exit);
        } else {
            rmdir(mounted);
            mounted[0] = '\0';
        }
    } else {
        rmdir(mounted);
        mounted[0] = '\0';
    }
    snprintf(command, sizeof(command), "%.26s.img", mounted);
    unlink(command);
    return mounted[0];
}

bool reflink_folder(char *path, size_t size)
{
    snprintf(path, size, "/tmp/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(path) != NULL);
    if (shares(path)) {
        return true;
    }
    rmdir(path);
    if (!mount_xfs()) {
        printf("\n    skipped: no file system here shares blocks (needs XFS or "
               "btrfs on /tmp, or root and mkfs.xfs)\n");
        return false;
    }
    snprintf(path, size, "%s/XXXXXX", mounted);
    REQUIRE(mkdtemp(path) != NULL);
    return true;
}

void plain_folder(char *path, size_t size)
{
    snprintf(path, size, "/dev/shm/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(path) != NULL);
}

void remove_folder(const char *path)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r %s", path);
    CHECK_EQUAL(system(command), 0);
}
