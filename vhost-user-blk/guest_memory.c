/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/device_internal.h"

static void *region_address(const VuDevRegion *region)
{
    return (void *)(uintptr_t)(region->mmap_addr + region->mmap_offset);
}

/* Its index in device->known, or known_count. */
static unsigned int find_known(const struct device *device,
                               const VuDevRegion *region)
{
    unsigned int i = 0;

    while (i < device->known_count &&
           (device->known[i].address != region_address(region) ||
            device->known[i].length != region->size)) {
        i++;
    }
    return i;
}

static void remove_known(struct device *device, unsigned int i)
{
    device->events->memory_removed(device->opaque, device->known[i].address,
                                   device->known[i].length);
    device->known[i] = device->known[--device->known_count];
}

void guest_memory_remove_all(struct device *device)
{
    while (device->known_count) {
        remove_known(device, device->known_count - 1);
    }
}

/* What the last message has brought. */
void guest_memory_added(struct device *device)
{
    for (unsigned int i = 0; i < device->vu.nregions; i++) {
        const VuDevRegion *region = &device->vu.regions[i];

        if (find_known(device, region) == device->known_count &&
            device->known_count < VHOST_USER_MAX_RAM_SLOTS) {
            device->known[device->known_count].address = region_address(region);
            device->known[device->known_count++].length = region->size;
            device->events->memory_added(device->opaque, region_address(region),
                                         region->size);
        }
    }
}

void guest_memory_remove(struct device *device,
                         const VhostUserMemoryRegion *going)
{
    for (unsigned int i = 0; i < device->vu.nregions; i++) {
        const VuDevRegion *region = &device->vu.regions[i];
        unsigned int known = find_known(device, region);

        if (region->gpa == going->guest_phys_addr &&
            region->qva == going->userspace_addr &&
            region->size == going->memory_size && known < device->known_count) {
            remove_known(device, known);
        }
    }
}

void device_for_each_region(struct device *device,
                            void (*function)(void *opaque, void *address,
                                             size_t length),
                            void *opaque)
{
    for (unsigned int i = 0; i < device->known_count; i++) {
        function(opaque, device->known[i].address, device->known[i].length);
    }
}

/* ---- Rings --------------------------------------------------------------- */

/* Where @length bytes at the VMM's @address are here; NULL: not in one
 * region. */
static void *find(const VuDev *vu, uint64_t address, uint64_t length)
{
    for (unsigned int i = 0; i < vu->nregions; i++) {
        const VuDevRegion *region = &vu->regions[i];
        uint64_t offset = address - region->qva;

        if (offset < region->size) {
            return length <= region->size - offset
                       ? (uint8_t *)region_address(region) + offset
                       : NULL;
        }
    }
    return NULL;
}

/*
 * libvhost-user checks where a ring begins, not where it ends. It drops a ring
 * only if all of it was in the region that was removed, and maps it again at
 * some accesses only.
 */
bool guest_memory_find_ring(struct device *device, unsigned int index)
{
    const VuDev *vu = &device->vu;
    VuVirtq *vq = vu_get_queue(&device->vu, (int)index);
    uint64_t num = vq->vring.num;
    uint64_t event = sizeof(uint16_t); /* VIRTIO_RING_F_EVENT_IDX */

    vq->vring.desc = find(vu, vq->vra.desc_user_addr,
                          num * sizeof(struct vring_desc));
    vq->vring.avail = find(vu, vq->vra.avail_user_addr,
                           sizeof(struct vring_avail) + num * sizeof(uint16_t) +
                               event);
    vq->vring.used = find(vu, vq->vra.used_user_addr,
                          sizeof(struct vring_used) +
                              num * sizeof(struct vring_used_elem) + event);
    return vq->vring.desc && vq->vring.avail && vq->vring.used;
}

bool guest_memory_find_rings(struct device *device)
{
    bool all = true;

    for (unsigned int i = 0; i < device->virtqueue_count; i++) {
        if (vu_queue_started(&device->vu, vu_get_queue(&device->vu, (int)i)) &&
            !guest_memory_find_ring(device, i)) {
            all = false;
        }
    }
    return all;
}
