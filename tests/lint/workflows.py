# SPDX-License-Identifier: BSD-3-Clause
"""What the workflows, the action and the container file run is there: scripts,
targets of make, groups of packages, files, inputs, outputs and variants."""

import glob
import os
import re
import shlex

import tree

ACTION = 'action.yml'
WORKFLOW = re.compile(r'\.github/workflows/[^/]+\.ya?ml$')
CONTAINER = 'packaging/Containerfile'
TARGET = re.compile(r'^([A-Za-z][\w -]*):(?!=)', re.M)
GROUP = re.compile(r'^    (\w+)\) packages=', re.M)
VARIANT = re.compile(r'^    (\w+)\) echo "CC=', re.M)
EXPRESSION = re.compile(r'\$\{\{\s*(\w+)\.([\w.-]+)\s*\}\}')
USES = re.compile(r'[\w.-]+/[\w./-]+@v\d+$')


def parse(source, path):
    try:
        import yaml
    except ImportError:
        raise tree.Skip('there is no python3-yaml here; '
                        'run: packaging/setup test') from None
    return yaml.safe_load(source.text(path))


def line_of(source, path, words):
    """The line that has these words, or the first one."""
    at = source.text(path).find(str(words).split('\n', 1)[0])
    return source.text(path).count('\n', 0, at) + 1 if at >= 0 else 1


def targets(source):
    return {name for path in source.paths
            if path == 'Makefile' or path.endswith('.mk')
            for names in TARGET.findall(source.text(path))
            for name in names.split()}


def commands(text):
    """The commands of a script, as words, without what is in front of them."""
    for line in text.replace('\\\n', ' ').split('\n'):
        try:
            words = shlex.split(line.strip(), comments=True)
        except ValueError:              # a command of several lines
            continue
        while words:
            end = words.index('&&') if '&&' in words else len(words)
            part, words = words[:end], words[end + 1:]
            while part and (part[0] == 'sudo' or re.match(r'\w+=', part[0])):
                part.pop(0)
            if part:
                yield part


def missing_of_make(source, words):
    known, skip = targets(source), False
    for word in words:
        if skip or word.startswith('-') or '=' in word or '$' in word:
            skip = word in ('-C', '-f', '-j')
            continue
        if word not in known:
            yield f"make has no target '{word}'"


def missing(source, words):
    """What such a command lacks in this tree."""
    program = words[0].replace('$GITHUB_ACTION_PATH/', '').replace(
        '/usr/src/rdisk/', '')
    if program == 'make':
        yield from missing_of_make(source, words[1:])
        for name in re.findall(r'FAULTS=([\w ]+)', ' '.join(words)):
            for fault in name.split():
                if not glob.glob(f'{source.top}/tests/faults/test-{fault}*.sh'):
                    yield f"there is no test of the fault '{fault}'"
    elif program == 'packaging/setup' and program in source.paths:
        groups = GROUP.findall(source.text(program))
        for word in words[1:]:
            if word not in groups:
                yield f"packaging/setup has no group '{word}'"
    if '/' in program and program[0] not in '/~$':
        if program not in source.paths:
            yield f'there is no {program}'
        elif not os.access(source.top / program, os.X_OK):
            yield f'{program} is not executable'


def variants(source, job):
    """Those that .ci/matrix does not know."""
    if '.ci/matrix' in source.paths:
        known = VARIANT.findall(source.text('.ci/matrix'))
        for name in job.get('strategy', {}).get('matrix', {}).get('variant', []):
            if name not in known:
                yield f".ci/matrix has no variant '{name}'"


def wrong_in_step(source, step, names):
    """@names: what an expression may name, by context."""
    if ('run' in step) == ('uses' in step):
        yield 'a step has either run or uses'
    for words in commands(step.get('run', '')):
        yield from missing(source, words)
    if step.get('uses') == './':
        inputs = parse(source, ACTION)['inputs']
        given = step.get('with', {})
        for name in sorted(set(given) - set(inputs)):
            yield f"{ACTION} has no input '{name}'"
        for name, one in inputs.items():
            if one.get('required') and name not in given:
                yield f"the input '{name}' is missing"
        for words in commands(given.get('run', '')):
            yield from missing(source, words)
    elif 'uses' in step and not USES.match(step['uses']):
        yield f"'{step['uses']}' has no version"
    for context, name in EXPRESSION.findall(str(step)):
        if context in names and name not in names[context]:
            yield f"there is no {context}.{name}"
    for patterns in re.findall(r'hashFiles\(([^)]*)\)', str(step)):
        for pattern in re.findall(r"'([^']*)'", patterns.replace('"', "'")):
            if not glob.glob(str(source.top / pattern), recursive=True):
                yield f"no file is called '{pattern}'"


def check_steps(source, path, steps, names):
    for step in steps:
        at = line_of(source, path, step.get('run') or step.get('uses', ''))
        for what in wrong_in_step(source, step, names):
            yield path, at, what


def check_workflow(source, path):
    for name, job in parse(source, path)['jobs'].items():
        at = line_of(source, path, f'  {name}:')
        for key in ('runs-on', 'timeout-minutes', 'steps'):
            if key not in job:
                yield path, at, f"the job '{name}' has no {key}"
        for what in variants(source, job):
            yield path, at, what
        yield from check_steps(
            source, path, job.get('steps', []),
            {'matrix': job.get('strategy', {}).get('matrix', {}),
             'inputs': {}, 'steps': {}})


def check_action(source):
    action = parse(source, ACTION)
    steps = action['runs']['steps']
    outputs = {f'{step["id"]}.outputs.{name}' for step in steps if 'id' in step
               for name in re.findall(r'echo "(\w+)=', step.get('run', ''))}
    for step in steps:
        if 'run' in step and 'shell' not in step:
            yield (ACTION, line_of(source, ACTION, step['run']),
                   'a step of an action that runs something has a shell')
    yield from check_steps(source, ACTION, steps,
                           {'inputs': action['inputs'], 'steps': outputs,
                            'matrix': {}})


def check_container(source):
    text = source.text(CONTAINER).replace('\\\n', '')
    for number, line in enumerate(text.split('\n'), 1):
        word, _, rest = line.partition(' ')
        if word == 'COPY' and not (source.top / rest.split()[0]).exists():
            yield CONTAINER, number, f'there is no {rest.split()[0]}'
        elif word == 'RUN':
            for words in commands(rest):
                for what in missing(source, words):
                    yield CONTAINER, number, what


def check(source):
    for path in source.paths:
        if WORKFLOW.match(path):
            yield from check_workflow(source, path)
    if ACTION in source.paths:
        yield from check_action(source)
    if CONTAINER in source.paths:
        yield from check_container(source)
