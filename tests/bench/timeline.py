# SPDX-License-Identifier: BSD-3-Clause
"""Where a request's time goes: client and server, both with the probe, one
request in flight.  The stamps of both are of one clock."""
import bisect
import os
import statistics

import peers
import probe
from clients import run_client

REQUESTS = 800
STAMPS = 60000
CONTESTANTS = ('rdisk-lib', 'ideal-file', 'ideal', 'rdisk-both-poll',
               'ideal-poll')
# What lies between two of a request's moments, in their order.
STAGES = ('client: submit to post', 'client: post',
          'device, network, waking the server', 'server: event to completion',
          'server: completion to backend', 'server: backend',
          'server: backend to post', 'server: post',
          'device, network, waking the client', 'client: event to completion',
          'client: completion to completed')
COLUMNS = ('contestant', 'work', 'stage', 'us', 'us_median')


def last(stamps, what, otherwise, begin=0, end=1 << 64):
    found = [time for time, its in stamps
             if its == what and begin <= time <= end]
    return found[-1] if found else otherwise


def first(stamps, what, otherwise, begin=0):
    return next((time for time, its in stamps
                 if its == what and time >= begin), otherwise)


def moments(client, server):
    """Of one request; who did not sleep had no event, and who has no backend
    spent no time there.  A stamp behind a call that another process overtook
    is cut back to that."""
    submit, completed = client[0][0], client[-1][0]
    post = first(client, 'p', submit)
    answer = last(server, 'p', None)
    if answer is None:
        return None
    backend = last(server, 'b', None)
    received = last(server, 'c', None, post,
                    answer if backend is None else backend)
    if received is None:
        return None
    if backend is None:
        backend = backed = received
    else:
        backed = last(server, 'B', backend, backend, answer)
    woken = last(server, 'e', received, post, received)
    posted = min(first(client, 'P', post, post), woken)
    got = last(client, 'c', completed)
    stirred = last(client, 'e', got, post, got)
    answered = min(first(server, 'P', answer, answer), stirred)
    times = [submit, post, posted, woken, received, backend, backed, answer,
             answered, stirred, got, completed]
    return times if times == sorted(times) else None


def requests(client, server):
    """The moments of each, from the stamps of both sides."""
    times = [time for time, _ in server]
    begun = None
    for i, (time, what) in enumerate(client):
        if what == 's':
            begun = i
        elif what == 'd' and begun is not None:
            found = moments(
                client[begun:i + 1],
                server[bisect.bisect_left(times, client[begun][0]):
                       bisect.bisect_right(times, time)])
            begun = None
            if found:
                yield found


def stages(found, tick):
    """Each stage's mean over the half of the requests whose whole was in the
    middle, so that the stages add up to the whole; and its median."""
    lengths = sorted(
        ([(b - a) * tick / 1e3 for a, b in zip(times, times[1:])]
         for times in found), key=sum)
    middle = lengths[len(lengths) // 4:len(lengths) * 3 // 4 + 1]
    for i, stage in enumerate(STAGES):
        yield (stage, statistics.mean(row[i] for row in middle),
               statistics.median(row[i] for row in lengths))
    yield ('whole', statistics.mean(sum(row) for row in middle),
           statistics.median(sum(row) for row in lengths))


def measure(bench, contestant, work):
    path = os.path.join(bench.lab.folder, 'timeline')
    probe.remove(path)
    run_client(contestant.command(work, REQUESTS), 120,
               probe.environment(path, STAMPS))
    pages = probe.pages(path)
    if len(pages) != 1 or not pages[0].stamps:
        raise RuntimeError('the client has left no stamps')
    server = sorted(stamp for page in probe.pages(bench.lab.probe)
                    for stamp in page.stamps)
    found = list(requests(pages[0].stamps, server))
    if len(found) < REQUESTS // 2:
        raise RuntimeError(f'only {len(found)} of {REQUESTS} requests can be '
                           'told apart')
    for stage, mean, median in stages(found, pages[0].tick):
        bench.write('timeline.csv', COLUMNS, (
            contestant.name, work.name, stage, f'{mean:.2f}',
            f'{median:.2f}'))


def run(bench, running):
    works = [work for work in peers.make_works()
             if work.name in ('4k-qd1-read', '4k-qd1-write')]
    for contestant in running:
        if contestant.name not in CONTESTANTS:
            continue
        before = getattr(contestant, 'before', None)
        try:
            if before:
                before()
            for work in works:
                measure(bench, contestant, work)
        except (RuntimeError, OSError) as why:
            bench.absent('tmpfs', contestant.name, '4k-qd1 (timeline)', why)
        finally:
            if before:
                contestant.after()
