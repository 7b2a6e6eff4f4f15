"""What calls cost that do more than a plain one, in turns with it at the same rate; and what it costs to tell a lamp."""
import os, pathlib, re, shutil, statistics, subprocess, time
from . import process, sipp
from .servers import ROOT, Crosspoint

# A figure, and the scenarios of its caller and its callee.
PLAIN = ('plain', 'uac', 'uas')
MORE = [('kinds-full', 'uac_full', 'uas_full'), ('kinds-transfer', 'uac_refer', 'uas_refer')]


def kinds(options, report, work):
    costs = {name: [] for name, _, _ in [PLAIN, *MORE]}
    noise = process.Noise()
    with Crosspoint(work, options) as server:
        for turn in range(options.rounds):
            for kind in [PLAIN, *MORE]:
                cost = one(server, kind, options, report, work)
                if cost is None:
                    return
                costs[kind[0]].append(cost)
    report.say(f'kinds: the machine was {noise.tell()}')
    for name, _, _ in MORE:
        ratios = [more / plain for more, plain in zip(costs[name], costs['plain'])]
        report.say(f'{name}: {" ".join(f"{cost:.0f}" for cost in costs[name])} us CPU per call, {" ".join(f"{cost:.0f}" for cost in costs["plain"])} of plain ones')
        report.row(name, statistics.median(ratios))
    lamp(report)


def one(server, kind, options, report, work):
    """CPU time per call in us; `None` when calls failed."""
    name, caller, callee = kind
    rate, count = options.kinds_rate, options.kinds_rate * options.secs
    with sipp.callee(work, sipp.SHIPPED / f'{callee}.xml'):
        make = lambda rate, calls: sipp.call(work, server.sip, '9100', rate, calls, scenario=sipp.SHIPPED / f'{caller}.xml', timeout=options.secs + 50).wait()
        make(50, 50)
        settle(server)
        before = server.cpu()
        outcome = make(rate, count)
        settle(server)
        spent = server.cpu() - before
    if outcome.succeeded < count:
        report.fail(f'{name}: {outcome.succeeded} of {count} calls succeeded at {rate}/s')
        return None
    return spent / count * 1e6


def settle(server):
    process.wait_for(lambda: server.metrics().get('calls_active') == 0, 10, 0.2)
    time.sleep(0.5)


def lamp(report):
    """The same program as `bench.sh` runs: 5,000 lamps in one exchange, without system calls."""
    place = pathlib.Path(os.environ.get('CARGO_TARGET_DIR', ROOT / 'target')) / 'release/lamps'
    if shutil.which('cargo'):
        subprocess.run(['cargo', 'build', '--release', '--locked', '-q', '-p', 'benches-micro', '--bin', 'lamps'], cwd=ROOT, check=False)
    if not os.access(place, os.X_OK):
        return report.skip('lamp', 'there is no program for it: cargo build --release -p benches-micro --bin lamps')
    said = subprocess.run([place], capture_output=True, text=True, timeout=300).stdout
    found = re.search(r'lamp notification \.\.\. bench: (\d+) ns', said)
    if not found:
        return report.fail(f'lamp: {said[-300:]}')
    report.say(f'lamp: {said.splitlines()[0]}')
    report.row('lamp', int(found[1]) / 1000)
