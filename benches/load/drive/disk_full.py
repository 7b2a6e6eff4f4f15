"""A disk that fills up under calls: no call is taken without a record, those that are up go on, and all is well when space is back."""
import os, subprocess, time
from . import process, sipp
from .probe import Probe
from .servers import Crosspoint

UP = 50
UP_MS = 20_000


def disk_full(options, report, work):
    disk = f'{work}/disk'
    os.makedirs(disk)
    made = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={options.size_mb}m', 'load-disk', disk], capture_output=True, text=True)
    if made.returncode:
        return report.skip('disk-full', f'a small file system cannot be mounted here: {made.stderr.strip()}')
    try:
        with Crosspoint(work, options, data=disk) as server, sipp.callee(work):
            fill_and_free(server, disk, report, work)
    finally:
        process.wait_for(lambda: subprocess.run(['umount', disk], capture_output=True).returncode == 0, 10, 0.5)


def fill_and_free(server, disk, report, work):
    answered = sipp.call(work, server.sip, '9100', 50, 200).wait().succeeded
    running = sipp.call(work, server.sip, '9100', 50, UP, hold_ms=UP_MS, caller=('127.0.0.5', 5165))
    time.sleep(3)
    ballast, size = f'{disk}/ballast', fill(f'{disk}/ballast')
    began = time.monotonic()
    # Facts that fit into what is left may still be taken; calls go on until refusals are the rule.
    during = sipp.call(work, server.sip, '9100', 50, 600, scenario=sipp.OWN / 'uac_refused.xml', timeout=60).wait()
    answered += during.total('answered')
    first = during.total('refused')
    probe = Probe()
    try:
        status, _ = probe.call(server.address)
        answered += status == 200
        ended = running.wait()
        answered += ended.succeeded
        report.say(f'disk-full: {size >> 20} MB of ballast; for {time.monotonic() - began:.0f} s: {during.total("completed")} calls completed, {first} refused with 503, '
                   f'{during.failed} neither, the last one {status}; of {UP} that were up {ended.succeeded} ended well')
        os.unlink(ballast)
        freed, status = time.monotonic(), 0
        while status != 200 and time.monotonic() - freed < 30:
            status, _ = probe.call(server.address)
            answered += status == 200
            time.sleep(0.1)
        back = time.monotonic() - freed
    finally:
        probe.close()
    after = sipp.call(work, server.sip, '9100', 50, 100).wait().succeeded
    answered += after
    process.wait_for(lambda: server.records()[2] >= answered, 20, 0.5)
    _, records, recorded = server.records()
    report.say(f'disk-full: calls were taken again {back:.1f} s after space was back, {after} of 100; {records} records, {recorded} of answered calls; {answered} calls were answered')
    if not server.alive():
        report.fail('disk-full: the server ended by itself')
    if during.failed or after < 100:
        report.fail(f'disk-full: {during.failed} calls were neither completed nor refused, {after} of 100 succeeded afterwards')
    if not first or status != 200:
        report.fail(f'disk-full: {first} calls were refused on the full disk, the last answer afterwards was {status}')
    report.row('disk-full-unrecorded', max(answered - recorded, 0))
    report.row('disk-full-running', UP - ended.succeeded)
    report.row('disk-full-back', back)


def fill(path):
    """Fills the disk to its last byte. Gives back how much that took."""
    size, block = 0, 1 << 20
    with open(path, 'wb', buffering=0) as out:
        while block:
            try:
                size += out.write(b'\0' * block)
            except OSError:
                block //= 2
    return size
