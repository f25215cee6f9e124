# SPDX-License-Identifier: BSD-3-Clause
"""Which folder may include what: the arrows of docs/architecture.md."""

import pathlib
import re

PUBLIC = 'transport/include/rdisk'

# Each folder of librdisk, and those that it may include.
TRANSPORT = {
    'base': [],
    'wire': ['base'],
    'verbs': ['base', 'wire'],
    'initiator': ['base', 'wire', 'verbs'],
    'target': ['base', 'wire', 'verbs'],
}

# Which folder of librdisk has what a public header declares.
HOMES = {
    'error.h': 'base',
    'histogram.h': 'base',
    'secret.h': 'base',
    'stopwatch.h': 'base',
    'protocol.h': 'wire',
    'env.h': 'verbs',
    'initiator.h': 'initiator',
    'uri.h': 'initiator',
    'target.h': 'target',
}

# An inline function that programs share with librdisk.
LEAST = 'transport/base/least.h'

# The other programs: folders and headers of the tree that each folder may
# include besides its own; and its side of librdisk.  The longest path counts.
# A source that is named itself may include what its row says and no more.
PROGRAMS = {
    # Shared by all programs; of librdisk what neither side owns.
    'common': ([], []),
    'server': (['server', 'common'], ['target']),
    'server/server.c': (['server/server.h', 'common'], ['target']),
    'server/reload.c': (['server/reload.h', 'server/server.h',
                         'server/session', 'server/config', 'common'],
                        ['target']),
    'server/run.c': (['server/run.h', 'server/reload.h', 'server/server.h',
                      'server/session', 'server/admin/listing.h',
                      'server/volume/losses.h', 'common', LEAST], ['target']),
    'server/admin': (['server/reload.h', 'server/server.h', 'server/session',
                      'server/config', 'server/volume', 'server/io', 'common'],
                     ['target']),
    'server/session': (['server/server.h', 'server/config', 'server/volume',
                        'server/backends/backend.h', 'server/io', 'common'],
                       ['target']),
    'server/config': (['server/backends/backend.h', 'common'], ['target']),
    'server/io': (['common'], ['target']),
    'server/backends': (['common', 'server/io',
                         'server/volume/identity.h',
                         'server/volume/lock.h',
                         'server/volume/losses.h'], ['target']),
    'server/backends/rbd': (['common', 'server/io',
                             'server/backends/backend.h',
                             'server/backends/module.h',
                             'server/volume/identity.h'], ['target']),
    'server/volume': (['common', 'server/io',
                       'server/backends/backend.h'], ['target']),
    'tools': (['common', LEAST], ['initiator']),
    'qemu-block-rdma': ([], ['initiator']),
    'examples': ([], ['initiator', 'target']),
    # Its counters are librdisk's.
    'vhost-user-blk': (['common', 'transport/base/counter.h'], ['initiator']),
}

# All of a backend that the rest of the server may include.
BACKENDS = 'server/backends'
BACKEND = 'server/backends/backend.h'

# libibverbs and librdmacm.
VERBS = ('infiniband/', 'rdma/')
VERBS_USERS = ('transport/verbs/', 'tests/')

INCLUDE = re.compile(r'\s*#\s*include\s*(["<])([^">]+)[">]')


def within(path, places):
    """True if @path is one of @places, or below one of them."""
    return any(path == p or path.startswith(p + '/') for p in places)


def program(path):
    """What the folder of @path may include, or None: anything."""
    found = [p for p in PROGRAMS if within(path, [p])]
    return PROGRAMS[max(found, key=len)] if found else None


def layer(path):
    """The folder of librdisk whose rules hold for @path, or None."""
    folder, name = path.rsplit('/', 1)
    if folder == PUBLIC:
        return HOMES.get(name)
    return next((n for n in TRANSPORT if within(path, ['transport/' + n])),
                None)


def public(path, header):
    """Why @path may not include <rdisk/@header>, or None."""
    if header not in HOMES:
        return (f'<rdisk/{header}> has no folder in HOMES of '
                'tests/lint/includes.py; add it')
    home, mine = HOMES[header], layer(path)
    if mine and home != mine and home not in TRANSPORT[mine]:
        return f'transport/{mine} may not know of transport/{home}'
    rules = program(path)
    if rules and home in ('initiator', 'target') and home not in rules[1]:
        return f'{path.split("/")[0]} may not know of transport/{home}'
    return None


def private(path, header):
    """Why @path may not include "@header", a file of the tree, or None."""
    if header.startswith(PUBLIC + '/'):
        name = header[len(PUBLIC) + 1:]
        return f'spell it <rdisk/{name}>'
    if path.startswith(PUBLIC + '/'):
        return 'a public header may include public headers only'
    if path.startswith('transport/'):
        mine = layer(path)
        if mine and not within(header, ['transport/' + n for n in
                                        [mine] + TRANSPORT[mine]]):
            return f'transport/{mine} may not include {header}'
        return None
    rules = program(path)
    if not rules:
        return None
    if within(header, [BACKENDS]) and header != BACKEND \
            and not within(path, [BACKENDS]):
        return f'backends are known by {BACKEND} only'
    mine = path.rsplit('/', 1)[0]
    own = path if path in PROGRAMS else mine
    if not within(header, ([mine] if own == mine else []) + rules[0]):
        return f'{own} may not include {header}'
    return None


def problem(tree, path, quote, name):
    """What is wrong with an include of @path, or None."""
    # Either below the top, or beside the file that includes it.
    beside = str(pathlib.PurePosixPath(path).parent / name)
    header = next((p for p in (name, beside, 'transport/include/' + name)
                   if p in tree.known), None)
    if name.startswith('rdisk/'):
        if quote != '<':
            return f'spell it <{name}>'
        return public(path, name[len('rdisk/'):])
    if quote == '<':
        if name in tree.known:
            return f'spell it "{name}"'
        if name.startswith(VERBS) and not path.startswith(VERBS_USERS):
            return 'only transport/verbs may know of libibverbs and librdmacm'
        return None
    if header is None:
        # QEMU's
        if path.startswith('qemu-block-rdma/'):
            return None
        return f'there is no {name} in the tree; spell a system header <{name}>'
    return private(path, header)


def check(tree):
    tree.known = set(tree.paths)
    for path in tree.sources():
        for number, line in enumerate(tree.text(path).split('\n'), 1):
            match = INCLUDE.match(line)
            message = match and problem(tree, path, *match.groups())
            if message:
                yield path, number, message
