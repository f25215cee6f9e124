# SPDX-License-Identifier: BSD-3-Clause
"""Files and functions that the guides to the code name exist."""

import re

GUIDES = ('docs/architecture.md', 'docs/simulator.md', 'CONTRIBUTING.md')

FILE = re.compile(r'`([a-z0-9_./-]+\.[ch])`')
FUNCTION = re.compile(r'`(\w+)\(\)`')
# A row of a walk: the files in its first column, and what happens there.
ROW = re.compile(r'\| (`[\w./-]+\.[ch]`(?:, `[\w./-]+\.[ch]`)*) \| (.*) \|$')


def found(name, sources):
    """The sources whose path is, or ends with, @name."""
    return [p for p in sources if p == name or p.endswith('/' + name)]


def files_of(column, sources):
    """The files of a row; one without a folder is beside the one before it."""
    folder, files = '', []
    for name in FILE.findall(column):
        if '/' in name:
            folder = name.rsplit('/', 1)[0] + '/'
            files += found(name, sources)
        else:
            files += found(folder + name, sources)
    return files


def defines(tree, path, function):
    """True if @path has the body of @function, which begins a line."""
    return re.search(rf'^(?!\s)(?:[^;#\n]*[\s*])?{function}\([^;{{]*\)\s*{{',
                     tree.text(path), re.MULTILINE)


def in_row(tree, line, sources):
    """What is wrong with a row of a walk: a function not in its files."""
    row = ROW.match(line)
    files = files_of(row[1], sources) if row else []
    for function in FUNCTION.findall(row[2]) if files else []:
        if not any(defines(tree, p, function) for p in files):
            yield f'{function}() is not in {row[1]}'


def check(tree):
    sources = tree.sources()
    for guide in (g for g in GUIDES if g in tree.paths):
        for number, line in enumerate(tree.text(guide).split('\n'), 1):
            for name in FILE.findall(line):
                if not found(name, sources):
                    yield guide, number, f'there is no {name} in the tree'
            for function in FUNCTION.findall(line):
                if not any(re.search(rf'\b{function}\(', tree.text(p))
                           for p in sources):
                    yield guide, number, f'there is no {function}() in the tree'
            for message in in_row(tree, line, sources):
                yield guide, number, message
