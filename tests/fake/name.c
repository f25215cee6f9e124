/* SPDX-License-Identifier: BSD-3-Clause */
/* Host names: what they resolve to, and after which time. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static struct fake_name *find_name(struct fake_fabric *fabric, const char *host)
{
    for (unsigned int i = 0; i < FAKE_NAMES_MAX; i++) {
        if (!strcmp(fabric->names[i].host, host)) {
            return &fabric->names[i];
        }
    }
    return NULL;
}

void fake_name_set(struct fake_fabric *fabric, const char *host,
                   const char *addresses, uint64_t delay)
{
    struct fake_name *name;

    fake_lock(fabric);
    name = find_name(fabric, host);
    if (!name) {
        name = find_name(fabric, "");
    }
    if (!name || strlen(host) >= sizeof(name->host) ||
        strlen(addresses) >= sizeof(name->addresses)) {
        fake_misuse(fabric, "too many names, or a long one: %s", host);
    } else {
        strcpy(name->host, host);
        strcpy(name->addresses, addresses);
        name->delay = delay;
    }
    fake_unlock(fabric);
}

struct rdisk_name_query *fake_name_query(struct fake_host *host,
                                         const char *name, uint16_t port)
{
    struct fake_fabric *fabric = host->fabric;
    struct fake_query *query;
    int ret;

    fake_lock(fabric);
    ret = fake_called(host, FAKE_QUERY_NAME);
    if (ret < 0) {
        fake_unlock(fabric);
        errno = -ret;
        return NULL;
    }
    query = fake_alloc(sizeof(*query));
    query->query.fd = fake_eventfd();
    query->fabric = fabric;
    query->port = port;
    query->asked = fabric->now;
    strncpy(query->host, name, sizeof(query->host) - 1);
    TAILQ_INSERT_TAIL(&fabric->queries, query, link);
    fabric->live[FAKE_OBJECT_NAME_QUERY]++;
    fake_unlock(fabric);
    return &query->query;
}

static int name_answer(struct rdisk_name_query *asked,
                       struct rdisk_addresses *addresses, const char **why)
{
    struct fake_query *query = (struct fake_query *)asked;
    struct fake_fabric *fabric = query->fabric;
    int ret = -EAGAIN;

    fake_lock(fabric);
    if (query->answered && !query->answer.count) {
        *why = "Name or service not known";
        ret = -ENOENT;
    } else if (query->answered) {
        *addresses = query->answer;
        ret = 0;
    }
    fake_unlock(fabric);
    return ret;
}

static void name_end(struct rdisk_name_query *asked)
{
    struct fake_query *query = (struct fake_query *)asked;
    struct fake_fabric *fabric = query->fabric;

    fake_lock(fabric);
    TAILQ_REMOVE(&fabric->queries, query, link);
    fabric->live[FAKE_OBJECT_NAME_QUERY]--;
    close(query->query.fd);
    free(query);
    fake_unlock(fabric);
}

/* ---- Delivery ----------------------------------------------------------- */

static uint64_t due(const struct fake_query *query)
{
    const struct fake_name *name = find_name(query->fabric, query->host);

    return query->asked + (name ? name->delay : 0);
}

unsigned int fake_query_count(struct fake_fabric *fabric, uint64_t *next)
{
    unsigned int ready = 0;
    struct fake_query *query;

    TAILQ_FOREACH(query, &fabric->queries, link) {
        if (query->answered) {
            continue;
        }
        if (due(query) <= fabric->now) {
            ready++;
        } else if (due(query) < *next) {
            *next = due(query);
        }
    }
    return ready;
}

/* As the name is now, not as it was when the query began. */
static void answer(struct fake_query *query)
{
    const struct fake_name *name = find_name(query->fabric, query->host);
    char text[sizeof(name->addresses)] = "";
    char *rest = text, *address;

    if (name) {
        strcpy(text, name->addresses);
    }
    while ((address = strsep(&rest, " "))) {
        struct sockaddr_in in = {
            .sin_family = AF_INET,
            .sin_port = htons(query->port),
        };

        if (inet_pton(AF_INET, address, &in.sin_addr) == 1) {
            memcpy(&query->answer.list[query->answer.count++], &in, sizeof(in));
        }
    }
    query->answered = true;
    fake_fd_set(query->query.fd);
}

void fake_query_deliver(struct fake_fabric *fabric, unsigned int index)
{
    struct fake_query *query;

    TAILQ_FOREACH(query, &fabric->queries, link) {
        if (!query->answered && due(query) <= fabric->now && index-- == 0) {
            answer(query);
            return;
        }
    }
}

void fake_name_verbs(struct rdisk_verbs *verbs)
{
    verbs->name_answer = name_answer;
    verbs->name_end = name_end;
}
