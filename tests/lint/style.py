# SPDX-License-Identifier: BSD-3-Clause
"""C sources are formatted as .clang-format says, comments included."""

import re
import shutil
import subprocess

import tree

# Others format differently.
VERSION = '14'
# clang-format leaves comments as they are.
COLUMNS = 80
WARNING = re.compile(r'(.+?):(\d+):\d+: (?:warning|error): ')


def program():
    """clang-format's path; Skip if this machine has no such version."""
    for name in (f'clang-format-{VERSION}', 'clang-format'):
        path = shutil.which(name)
        if path and f' version {VERSION}.' in subprocess.run(
                [path, '--version'], check=True, stdout=subprocess.PIPE,
                text=True).stdout:
            return path
    raise tree.Skip(f'there is no clang-format {VERSION} here; '
                    'run: packaging/setup test')


def formatted(source):
    """The files that must be formatted."""
    return list(source.sources())


def check(source):
    files = formatted(source)
    for path in files:
        for number, line in enumerate(source.text(path).split('\n'), 1):
            if len(line) > COLUMNS:
                yield path, number, f'longer than {COLUMNS} columns'
    if not files:
        return
    out = subprocess.run([program(), '--dry-run', '--style=file'] + files,
                         cwd=source.top, stderr=subprocess.PIPE,
                         text=True).stderr
    for path, line in sorted({(m[1], int(m[2])) for m in
                              map(WARNING.match, out.split('\n')) if m}):
        yield path, line, 'not as .clang-format has it; run: make format'


def apply(source):
    """Format what is to be formatted."""
    subprocess.run([program(), '-i', '--style=file'] + formatted(source),
                   cwd=source.top, check=True)
