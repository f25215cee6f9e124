# SPDX-License-Identifier: BSD-3-Clause
"""librdisk.so exports what the public headers declare, and nothing else."""

import re

HEADERS = 'transport/include/rdisk/'
MAP = 'transport/librdisk.map'

COMMENT = re.compile(r'/\*.*?\*/', re.DOTALL)
CPLUSPLUS = re.compile(r'^#ifdef __cplusplus$.*?^#endif$',
                       re.DOTALL | re.MULTILINE)
DIRECTIVE = re.compile(r'^\s*#(?:.*\\\n)*.*$', re.MULTILINE)
FUNCTION = re.compile(r'\b(rdisk_\w+)\s*\(')
VARIABLE = re.compile(r'\bextern\b.*?(\w+)\s*$', re.DOTALL)


def blank(match):
    """As many lines, so that numbers stay right."""
    return '\n' * match[0].count('\n')


def without_braces(text):
    """The text without what is in braces; a function's body becomes ";"."""
    out, depth = [], 0
    for char in text:
        if char == '{':
            if depth == 0 and ''.join(out).rstrip().endswith(')'):
                out.append(';')
            depth += 1
        elif char == '}':
            depth -= 1
        elif depth == 0 or char == '\n':
            out.append(char)
    return ''.join(out)


def declared(text):
    """The (name, line) of each function and variable a header declares."""
    for pattern in (COMMENT, CPLUSPLUS, DIRECTIVE):
        text = pattern.sub(blank, text)
    line = 1
    for statement in without_braces(text).split(';'):
        start = len(statement) - len(statement.lstrip())
        match = VARIABLE.search(statement) or FUNCTION.search(statement)
        if match and not statement[start:].startswith(('static', 'typedef')):
            yield match[1], line + statement[:start].count('\n')
        line += statement.count('\n')


def check(tree):
    headers = {}
    for path in tree.paths:
        if path.startswith(HEADERS):
            for name, line in declared(tree.text(path)):
                headers[name] = (path, line)
    mapped = {}
    for number, line in enumerate(tree.text(MAP).split('\n'), 1):
        match = re.match(r'\s+(\w+);$', line)
        if match:
            mapped[match[1]] = number
    for name in sorted(set(headers) - set(mapped)):
        yield *headers[name], f'{name} is public, but not in {MAP}; add it'
    for name in sorted(set(mapped) - set(headers)):
        yield MAP, mapped[name], (f'no public header declares {name}; '
                                  'remove it')
