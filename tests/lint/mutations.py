# SPDX-License-Identifier: BSD-3-Clause
"""The simulator's mutations stand in the table of its page, and no others."""

import re

SOURCE = 'tests/sim/mutation.h'
PAGE = 'docs/simulator.md'
HEADING = '| mutation | promise | broken |'

ENTRY = re.compile(r'\bX\(\w+,\s*"([^"]*)",\s*(\d+),\s*((?:"[^"]*"\s*)+)\)')
ROW = re.compile(r'\| ([^|]+) \| (\d+) \| ([^|]+) \|$')


def listed(text):
    """(name, promise, what is broken) of each mutation, and its line."""
    text = text.replace('\\\n', ' \n')
    return {(m[1], m[2], ''.join(re.findall(r'"([^"]*)"', m[3]))):
            text.count('\n', 0, m.start()) + 1
            for m in ENTRY.finditer(text)}


def documented(text):
    """The same of the table's rows."""
    lines = text.split('\n')
    if HEADING not in lines:
        return {}
    start = lines.index(HEADING) + 2
    rows = {}
    for number, line in enumerate(lines[start:], start + 1):
        match = ROW.match(line)
        if not match:
            break
        rows[match.groups()] = number
    return rows


def check(tree):
    if SOURCE not in tree.paths:
        return
    entries = listed(tree.text(SOURCE))
    rows = documented(tree.text(PAGE)) if PAGE in tree.paths else {}
    for entry in sorted(entries.keys() - rows.keys()):
        yield (SOURCE, entries[entry], f'{PAGE} has no row '
               f'"| {entry[0]} | {entry[1]} | {entry[2]} |"')
    for row in sorted(rows.keys() - entries.keys()):
        yield PAGE, rows[row], f"{SOURCE} has no such mutation '{row[0]}'"
