# SPDX-License-Identifier: BSD-3-Clause
"""An SPDX line in the first two lines of each file: its folder's licence."""

import re

# The longest path counts.
LICENCES = {
    '': 'BSD-3-Clause',
    'qemu-block-rdma/': 'GPL-2.0-or-later',
    # Linked with libvhost-user.
    'vhost-user-blk/': 'GPL-2.0-or-later',
    'tests/fuzz/guest.c': 'GPL-2.0-or-later',
}

# Prose, data, and what is another project's: README.md tells of these.
EXEMPT = re.compile(r'''
    LICENSE$ | LICENSES/ | .*\.(md|csv|svg|json|cast|patch)$
    | tests/iotests/(enabled|kernel|known)$
    | packaging/debian/(changelog|copyright|source/format)$
''', re.VERBOSE)

SPDX = re.compile(r'SPDX-License-Identifier: ([\w.-]+)')


def check(tree):
    for path in tree.paths:
        if EXEMPT.match(path):
            continue
        want = LICENCES[max((p for p in LICENCES if path.startswith(p)),
                            key=len)]
        lines = tree.text(path).split('\n')[:2]
        found = [m[1] for m in map(SPDX.search, lines) if m]
        if not found:
            yield (path, 1, 'no SPDX-License-Identifier in the first two '
                   f'lines; add one of {want}')
        elif found[0] != want:
            yield path, 1, f'the licence is {found[0]}; here it must be {want}'
