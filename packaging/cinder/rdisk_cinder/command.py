# SPDX-License-Identifier: BSD-3-Clause
"""The command line rdisk, and its exit statuses as exceptions."""
import json

from oslo_concurrency import processutils

NOT_FOUND, DENIED, BUSY, NO_ANSWER = 3, 4, 5, 6


class Failure(Exception):
    """rdisk ended with this status, and said why."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def run(control, *words, timeout=120):
    """What `rdisk WORDS` prints. timeout: seconds, then it is killed."""
    command = ('rdisk', *words, '-o', 'json', '--control', control) \
        if words[0] not in ('add', 'remove', 'delete', 'resize', 'create') \
        else ('rdisk', *words, '--control', control)
    try:
        out, _ = processutils.execute('timeout', str(timeout), *command)
    except processutils.ProcessExecutionError as error:
        raise Failure(error.exit_code, (error.stderr or '').strip() or
                      f'rdisk ended with status {error.exit_code}') from error
    return out


def ask(control, *words):
    """The reply, as JSON has it."""
    return json.loads(run(control, *words))
