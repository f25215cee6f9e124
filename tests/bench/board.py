#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the board of packaging/grafana shows of a server under three loads, one
after the other, as a real Prometheus answers the board's own queries.

Runs in the lab: board.py FILE; writes FILE, of which docs/pictures/plots draws
board.svg.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
PATH = f'{TOP}/build/bin:{os.environ["PATH"]}'
METRICS, PROMETHEUS = '127.0.0.1:9105', '127.0.0.1:9090'
PHASE = 20                      # seconds of each load
# Volume, options of rdisk bench.
LOADS = ((('disk1', '--depth 1'),),
         (('disk1', '--depth 16'),
          ('disk2', '--depth 4 --write --destroy-data')),
         (('disk1', '--depth 4 --block-size 128k'),
          ('disk2', '--depth 1 --write --destroy-data')))
SCRAPE = f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: rdisk
    static_configs: [{{targets: ['{METRICS}']}}]
"""


def wait_for(what, url, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError as error:
            if time.monotonic() > end:
                sys.exit(f'board: {what} does not answer: {error}')
        time.sleep(0.2)


def start(*command, **more):
    return subprocess.Popen(command, env={**os.environ, 'PATH': PATH}, **more)


def start_server(folder):
    os.mkdir(f'{folder}/pool')
    start('rdiskd', '--config', '', '--pool', f'{folder}/pool', '--listen',
          os.environ['RDISK_LAB_ADDR'], '--control', f'{folder}/control',
          '--authentication', 'none', '--metrics', METRICS,
          stdout=subprocess.DEVNULL)
    wait_for('rdiskd', f'http://{METRICS}/metrics')
    for volume in ('disk1', 'disk2'):
        subprocess.run(('rdisk', 'create', volume, '64M', '--control',
                        f'{folder}/control'), check=True,
                       env={**os.environ, 'PATH': PATH})


def start_prometheus(folder):
    pathlib.Path(f'{folder}/prometheus.yml').write_text(SCRAPE, 'ascii')
    start('prometheus', f'--config.file={folder}/prometheus.yml',
          f'--storage.tsdb.path={folder}/data', '--log.level=error',
          f'--web.listen-address={PROMETHEUS}')
    wait_for('prometheus', f'http://{PROMETHEUS}/-/ready')


def load(volume, options):
    return start('rdisk', 'bench', '--random', '--json', '--time', str(PHASE),
                 *options.split(),
                 f'rdma://{os.environ["RDISK_LAB_ADDR"]}/{volume}',
                 stdout=subprocess.DEVNULL)


def run_loads():
    for loads in LOADS:
        for process in [load(*arguments) for arguments in loads]:
            if process.wait(PHASE + 60):
                sys.exit('board: rdisk bench failed')


def query(expression, begin, end):
    expression = expression.replace('$__rate_interval', '5s')
    expression = re.sub(r'\$\w+', '.*', expression)
    with urllib.request.urlopen(
            f'http://{PROMETHEUS}/api/v1/query_range?' +
            urllib.parse.urlencode({'query': expression, 'start': begin,
                                    'end': end, 'step': 1}),
            timeout=30) as reply:
        return json.load(reply)['data']['result']


def legend(form, labels):
    return re.sub(r'{{(\w+)}}', lambda found: labels.get(found[1], ''),
                  form).strip()


def answers(panel, begin, end):
    """The series of a panel, with times since the begin."""
    for target in panel['targets']:
        for series in query(target['expr'], begin, end):
            yield {'legend': legend(target['legendFormat'], series['metric']),
                   'points': [[round(when - begin), float(f'{float(value):.4g}')]
                              for when, value in series['values']
                              if value not in ('NaN', '+Inf')]}


def main():
    out = pathlib.Path(sys.argv[1])
    board = json.loads((TOP / 'packaging/grafana/rdisk.json').read_text())
    folder = tempfile.mkdtemp(dir='/dev/shm')
    start_server(folder)
    start_prometheus(folder)
    begin = time.time()
    run_loads()
    panels = [{'title': panel['title'], 'kind': panel['type'],
               'unit': panel['fieldConfig']['defaults']['unit'],
               'series': list(answers(panel, begin, time.time()))}
              for panel in board['panels'] if panel['type'] != 'row']
    result = {'phase': PHASE, 'loads': [
        '; '.join(f'{volume}: {options}' for volume, options in loads)
        for loads in LOADS],
              'panels': [panel for panel in panels if any(
                  series['points'] for series in panel['series'])]}
    out.write_text(json.dumps(result, indent=None, separators=(',', ':'))
                   .replace('{"legend"', '\n{"legend"') + '\n', 'ascii')


main()
