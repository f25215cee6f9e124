# SPDX-License-Identifier: BSD-3-Clause
"""The binary interface of librdisk is the recorded one: sizes, offsets and
numbers of what the public headers define; and its number is one everywhere."""

import platform
import re
import shutil
import subprocess
import tempfile

import tree

HEADERS = 'transport/include/rdisk/'
MAKEFILE = 'transport/transport.mk'
MAP = 'transport/librdisk.map'
CONTROL = 'packaging/debian/control'
RECORD = 'tests/library/layout'
MACHINE = 'x86_64'

COMMENT = re.compile(r'/\*.*?\*/', re.DOTALL)
STRUCTURE = re.compile(r'^struct (rdisk_\w+) \{\n(.*?)^\};', re.DOTALL | re.M)
ENUM = re.compile(r'^enum rdisk_\w+ \{\n(.*?)^\};', re.DOTALL | re.M)
CONSTANT = re.compile(r'^#define (RDISK_[A-Z0-9_]+)\s+(?:\\\n\s*)?[0-9(]', re.M)
# Where the interface's number is, and what is in front of it.
NUMBERS = ((MAKEFILE, r'LIBRDISK_SONAME := librdisk\.so\.(\d+)'),
           (MAP, r'LIBRDISK_(\d+) \{'), (CONTROL, r'Package: librdisk(\d+)'),
           (RECORD, r'librdisk\.so\.(\d+)'))


def members(body):
    """The names that a structure's body declares."""
    for statement in body.split(';'):
        pointer = re.search(r'\(\*(\w+)\)', statement)
        if pointer:
            yield pointer[1]
            continue
        for one in re.sub(r'\[[^]]*\]|:\s*\d+', '', statement).split(','):
            name = re.search(r'(\w+)\s*$', one)
            if name:
                yield name[1]


def program(source):
    """C that prints the interface, a thing a line."""
    headers = [path for path in source.paths if path.startswith(HEADERS)]
    lines = ['#include <stddef.h>', '#include <stdio.h>']
    lines += [f'#include <rdisk/{path[len(HEADERS):]}>' for path in headers]
    lines.append('int main(void) {')
    for path in headers:
        text = COMMENT.sub('', source.text(path))
        for name, body in STRUCTURE.findall(text):
            lines.append(f'printf("struct {name}: %zu\\n", '
                         f'sizeof(struct {name}));')
            for member in members(body):
                lines.append(
                    f'printf("    {member}: %zu, %zu\\n", '
                    f'offsetof(struct {name}, {member}), '
                    f'sizeof(((struct {name} *)0)->{member}));')
        numbers = [name for body in ENUM.findall(text)
                   for name in re.findall(r'^ *(RDISK_\w+)', body, re.M)]
        numbers += CONSTANT.findall(text)
        lines += [f'printf("{name}: %lld\\n", (long long)({name}));'
                  for name in numbers]
    return '\n'.join(lines + ['return 0;', '}', ''])


def layout(source):
    """The interface of this tree, as lines."""
    if platform.machine() != MACHINE:
        raise tree.Skip(f'the record is of {MACHINE}')
    if not shutil.which('cc'):
        raise tree.Skip('there is no cc here')
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ['cc', '-std=gnu11', '-w', '-x', 'c', '-I',
             str(source.top / 'transport/include'), '-o', f'{folder}/layout',
             '-'], input=program(source), text=True, stderr=subprocess.PIPE)
        if done.returncode:
            raise RuntimeError(f'the headers cannot be read: {done.stderr}')
        return subprocess.run([f'{folder}/layout'], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.splitlines()


def number(source, path, pattern):
    found = re.search(pattern, source.text(path))
    return found[1] if found else None


def record(source):
    soname = number(source, *NUMBERS[0])
    (source.top / RECORD).write_text(
        '# SPDX-License-Identifier: BSD-3-Clause\n'
        f'# The interface of librdisk.so.{soname} on {MACHINE}: sizes, then '
        'offset and size of\n# members; numbers. tests/lint/lint --layout '
        'writes this file.\n' + '\n'.join(layout(source)) + '\n')


def check(source):
    if RECORD not in source.paths:
        return
    wanted = number(source, *NUMBERS[0])
    for path, pattern in NUMBERS[1:]:
        if path in source.paths and number(source, path, pattern) != wanted:
            yield path, 1, (f'the interface is {number(source, path, pattern)} '
                            f'here, and {wanted} in {MAKEFILE}')
    recorded = [line for line in source.text(RECORD).splitlines()
                if not line.startswith('#')]
    found = layout(source)
    if found == recorded:
        return
    at = next((i for i, (a, b) in enumerate(zip(recorded, found)) if a != b),
              min(len(recorded), len(found)))
    was = recorded[at] if at < len(recorded) else 'the end'
    now = found[at] if at < len(found) else 'the end'
    yield RECORD, at + 4, (
        f"'{was.strip()}' is now '{now.strip()}': programs linked with "
        f'librdisk.so.{wanted} break; raise LIBRDISK_SONAME, unless that one '
        'is not released, and run: tests/lint/lint --layout')
