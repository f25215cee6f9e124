# SPDX-License-Identifier: BSD-3-Clause
"""The plots beside the tables: each contestant's time per I/O, its spread and
the 99th percentile of a request's latency, for the works of one kind."""
import os
import subprocess

import report

OURS, OTHERS, BOUND, QUANTILE = '#c8452f', '#2f6f9f', '#666666', '#d9a441'
KINDS = ('4k-qd1', '4k-qd32', '128k-qd8', '1m-qd4')


def color(name):
    if name.startswith('rdisk'):
        return OURS
    return BOUND if name in ('local', 'ideal', 'ideal-file', 'ideal-poll') \
        else OTHERS


def caveat(folder):
    facts = report.machine(folder)
    return (f'Soft-RoCE, engine {facts.get("engine", "?")}, '
            f'{facts.get("cpus", "?")} CPU(s), Linux '
            f'{facts.get("kernel", "?")}, {facts.get("date", "?")}. No RDMA '
            'hardware: compare contestants in one plot only. TCP on one '
            'machine computes no checksums and passes whole pages.')


def duration(us):
    """In few characters: "292", "10.2 ms"."""
    return f'{us / 1000:.3g} ms' if us >= 1000 else f'{us:.3g}'


def ticks(low, high):
    """Of a logarithmic axis: fewer where the labels would touch."""
    steps = (1, 2, 5) if high / low < 60 else (1, 5) if high / low < 1000 \
        else (1,)
    values = [step * 10 ** power for power in range(6) for step in steps]
    return ', '.join(f'"{us / 1000:g} ms" {us}' if us >= 1000 else f'{us}'
                     for us in values)


def panel(summary, store, work, names, place, labels):
    """One work: a row for each contestant, the first one on top."""
    rows, names_at, script = [], [], ''
    for i, name in enumerate(reversed(names)):
        title = report.TITLES[name].replace('"', "'")
        names_at.append(f'"{title if labels else ""}" {i}')
        values = summary.values.get((store, work, name, 'us'))
        if not values:
            continue
        rows.append((summary.median(store, work, name), i, min(values),
                     max(values), color(name),
                     summary.median(store, work, name, 'p99') or 'NaN'))
    script += f'${place} << END\n' + '\n'.join(
        f'{us:.2f} {i} {low:.2f} {high:.2f} {int(rgb[1:], 16)} {p99} '
        f'"{duration(us)}"'
        for us, i, low, high, rgb, p99 in rows) + '\nEND\n'
    left, right = (0.21, 0.6) if labels else (0.62, 0.985)
    verb = 'reads' if work.endswith('read') else 'writes'
    return script + (
        f'set lmargin at screen {left}\nset rmargin at screen {right}\n'
        f'set ytics ({", ".join(names_at)})\nset title "{verb}"\n'
        f'set yrange [-0.7:{len(names) - 0.3}]\n'
        f'plot ${place} using 1:2:3:4:5 with xerrorbars pt 7 ps 0.7 lw 1.5 '
        'lc rgb variable notitle, '
        f'${place} using 6:2 with points pt 12 ps 0.8 lw 1.3 '
        f'lc rgb "{QUANTILE}" notitle, '
        f'${place} using 1:2:7 with labels offset 0,0.62 font ",8" notitle\n')


def plot(folder, summary, store, kind):
    works = [f'{kind}-{verb}' for verb in ('read', 'write')]
    names = [name for name in report.ORDER if any(
        summary.values.get((store, work, name, 'us')) for work in works)]
    if not names:
        return
    size = 900, 150 + 30 * len(names)
    times = [us for work in works for name in names for value in ('us', 'p99')
             for us in summary.values.get((store, work, name, value), [])]
    script = (
        'set encoding utf8\n'
        f'set terminal svg size {size[0]},{size[1]} dynamic '
        'background "white" font "sans,11"\n'
        f'set output "{folder}/{store}-{kind}.svg"\n'
        f'set multiplot title "{kind.replace("-qd", ", depth ")} ({store}): '
        'µs per I/O, less is better" font ",13"\n'
        f'set xrange [{min(times) / 1.3:.2f}:{max(times) * 1.3:.2f}]\n'
        f'set xtics ({ticks(min(times), max(times))})\n'
        'set logscale x\nset grid xtics\nset tics nomirror\nset border 3\n'
        f'set tmargin at screen {1 - 62 / size[1]}\n'
        f'set bmargin at screen {86 / size[1]}\n'
        f'set label 1 "●" at screen 0.02,screen {50 / size[1]} '
        f'tc rgb "{OURS}"\n'
        f'set label 2 "rdisk" at screen 0.035,screen {50 / size[1]}\n'
        f'set label 3 "●" at screen 0.1,screen {50 / size[1]} '
        f'tc rgb "{OTHERS}"\n'
        f'set label 4 "other protocols" at screen 0.115,screen '
        f'{50 / size[1]}\n'
        f'set label 5 "●" at screen 0.26,screen {50 / size[1]} '
        f'tc rgb "{BOUND}"\n'
        f'set label 6 "no network, or no disk: bounds; median of the rounds, '
        f'bars from the fastest to the slowest" at screen 0.275,screen '
        f'{50 / size[1]}\n'
        f'set label 7 "◇" at screen 0.02,screen {32 / size[1]} '
        f'tc rgb "{QUANTILE}"\n'
        'set label 8 "99th percentile of the latency of a request, where the '
        'client measures it (at a depth above 1, requests wait for each '
        f'other)" at screen 0.035,screen {32 / size[1]}\n'
        f'set label 9 "{caveat(folder)}" at screen 0.02,screen '
        f'{13 / size[1]} font ",9"\n')
    script += panel(summary, store, works[0], names, 'READS', True)
    script += ''.join(f'unset label {i}\n' for i in range(1, 10))
    script += panel(summary, store, works[1], names, 'WRITES', False)
    script += 'unset multiplot\n'
    try:
        subprocess.run(['gnuplot'], input=script, text=True, check=True,
                       stderr=subprocess.PIPE)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f'no plot: {error}; run: packaging/setup bench')


def write(folder):
    summary = report.Summary(folder)
    for store in summary.stores:
        for kind in KINDS:
            plot(os.fspath(folder), summary, store, kind)
