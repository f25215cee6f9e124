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
    command = ('rdisk', *words, '-o', 'json', '--control', control)
    try:
        out, _ = processutils.execute('timeout', str(timeout), *command)
    except processutils.ProcessExecutionError as error:
        raise Failure(error.exit_code, reason(error)) from error
    return out


def reason(error):
    """Its sentence; what did not get so far may have said something else."""
    text = (error.stderr or '').strip()
    try:
        return json.loads(text)['error']
    except (ValueError, KeyError, TypeError):
        return text or f'rdisk ended with status {error.exit_code}'


def ask(control, *words):
    """The reply, as JSON has it."""
    return json.loads(run(control, *words))
