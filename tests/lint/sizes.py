# SPDX-License-Identifier: BSD-3-Clause
"""A C source or header has one subject, so it is short."""

LINES = 600


def check(tree):
    for path in tree.sources():
        count = tree.text(path).count('\n')
        if count > LINES:
            yield path, LINES + 1, (f'{count} lines, more than {LINES}: '
                                    'split it into files with one subject each')
