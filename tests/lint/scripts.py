# SPDX-License-Identifier: BSD-3-Clause
"""Shell scripts pass shellcheck; a script's .shellcheckrc is the nearest."""

import concurrent.futures
import hashlib
import os
import re
import shutil
import subprocess

import tree

FINDING = re.compile(r'(.+?):(\d+):\d+: \w+: (.*)')


def passed_before(source):
    """A folder with one empty file for each script that passed: shellcheck
    takes half a minute for all of them."""
    folder = source.top / 'build' / 'lint'
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def key(source, path, version):
    """A name for this text, checked by this shellcheck under these rules."""
    digest = hashlib.sha256(version)
    for rules in source.paths:
        if os.path.basename(rules) == '.shellcheckrc':
            digest.update(source.text(rules).encode())
    digest.update(path.encode() + b'\0' + source.text(path).encode())
    return digest.hexdigest()


def findings(source, path):
    out = subprocess.run(['shellcheck', '--format=gcc', path], cwd=source.top,
                         stdout=subprocess.PIPE, text=True).stdout
    return [(m[1], int(m[2]), m[3]) for m in
            map(FINDING.match, out.split('\n')) if m]


def check(source):
    if not shutil.which('shellcheck'):
        raise tree.Skip('there is no shellcheck here; '
                        'run: packaging/setup test')
    version = subprocess.run(['shellcheck', '--version'], check=True,
                             stdout=subprocess.PIPE).stdout
    done = passed_before(source)
    todo = [p for p in source.scripts()
            if not (done / key(source, p, version)).exists()]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, found in zip(todo, pool.map(
                lambda p: findings(source, p), todo)):
            if not found:
                (done / key(source, path, version)).touch()
            yield from found
