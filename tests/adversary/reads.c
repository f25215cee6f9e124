/* SPDX-License-Identifier: BSD-3-Clause */
/* Attacks of adversary-client on a resident volume, and from its queue. */
#include <string.h>

#include "attack.h"

#define IMAGE      "image"
#define IMAGE_SIZE 65536u

static struct rdisk_wire_resident image;

static void begin_image(void)
{
    session_features = SESSION_FEATURES | RDISK_FEATURE_RESIDENT;
    end_reads = 4;
    begin_on(IMAGE);
    memcpy(&image, own.data.data + sizeof(own.lease), sizeof(image));
    session_features = SESSION_FEATURES;
    end_reads = 0;
}

static enum ibv_wc_status read_image(uint64_t offset, uint32_t length)
{
    return end_read(&own.data, SESSION_PAYLOAD, length,
                    le64toh(image.address) + offset, le32toh(image.key));
}

/* Each ends the session. */
static void read_wrongly(uint64_t remote, uint32_t length, uint32_t key)
{
    memset(own.data.buffer + SESSION_PAYLOAD, 0, 4096);
    EXPECT(end_read(&own.data, SESSION_PAYLOAD, length, remote, key) ==
           IBV_WC_REM_ACCESS_ERR);
    EXPECT(own.data.buffer[SESSION_PAYLOAD] == 0);
    session_drop(&own);
    begin_image();
}

/* The image is of the letter i. */
void reads_of_other_memory(void)
{
    uint64_t first;

    begin_image();
    first = le64toh(image.address);
    EXPECT(le16toh(image.reads) == 4);
    EXPECT(read_image(IMAGE_SIZE - 4096, 4096) == IBV_WC_SUCCESS);
    EXPECT(own.data.buffer[SESSION_PAYLOAD] == 'i');
    read_wrongly(first + IMAGE_SIZE - 2048, 4096, le32toh(image.key));
    read_wrongly(first - 4096, 4096, le32toh(image.key));
    read_wrongly(first, 4096, le32toh(image.key) + 0x100);
    /* The victim's slots, and its own. */
    read_wrongly(session_header(&victim, 0), 64, session_key(&victim));
    read_wrongly(session_header(&victim, 0), 64, le32toh(image.key));
    read_wrongly(session_header(&own, 0), 64, session_key(&own));
    session_close(&own);
}

void writes_to_an_image(void)
{
    begin_image();
    memset(own.data.buffer + SESSION_PAYLOAD, 'x', 4096);
    EXPECT(end_write(&own.data, SESSION_PAYLOAD, 4096, le64toh(image.address),
                     le32toh(image.key), -1) == IBV_WC_REM_ACCESS_ERR);
    session_drop(&own);
    begin_image();
    EXPECT(read_image(0, 4096) == IBV_WC_SUCCESS);
    EXPECT(own.data.buffer[SESSION_PAYLOAD] == 'i');
    session_close(&own);
}
