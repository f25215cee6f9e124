# SPDX-License-Identifier: BSD-3-Clause
"""The files of the tree that the rules look at."""

import os
import pathlib
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
# Inputs of the fuzzers, which are bytes.
BINARY = 'tests/fuzz/corpus/'


class Skip(Exception):
    """This machine lacks the program that a rule needs."""


class Tree:
    """A folder's files: paths relative to it, and their text."""

    def __init__(self, top):
        self.top = top
        self.paths = sorted(p for p in self._list()
                            if not p.startswith(BINARY)
                            and (top / p).is_file())
        self._texts = {}

    def _list(self):
        """What git tracks or would; without git, all but build/."""
        if (self.top / '.git').exists():
            out = subprocess.run(
                ['git', 'ls-files', '-z', '--cached', '--others',
                 '--exclude-standard'],
                cwd=self.top, check=True, stdout=subprocess.PIPE).stdout
            return set(os.fsdecode(out).split('\0')) - {''}
        return [str(p.relative_to(self.top)) for p in self.top.rglob('*')
                if p.relative_to(self.top).parts[0] != 'build']

    def text(self, path):
        if path not in self._texts:
            self._texts[path] = (self.top / path).read_text(errors='replace')
        return self._texts[path]

    def sources(self):
        """C sources and headers."""
        return [p for p in self.paths if p.endswith(('.c', '.h'))]

    def scripts(self):
        """Shell scripts, by name or by the first line."""
        for path in self.paths:
            words = self.text(path).split('\n', 1)[0].split('/')
            if path.endswith('.sh') or (words[0].startswith('#!')
                                        and words[-1].split()[-1:]
                                        in (['sh'], ['bash'])):
                yield path
