"""Half load for a long time: memory stays flat, nothing is lost, each call has one record."""
import statistics, time
from . import process, sipp
from .servers import Crosspoint

HOLD_MS = 2000
SAMPLE_S = 5


def soak(options, report, work):
    seconds, rate = options.seconds, options.rate
    warm = min(60, seconds / 4)
    with Crosspoint(work, options) as server, sipp.callee(work):
        held = rate * HOLD_MS // 1000
        calls = sipp.call(work, server.sip, '9100', rate, rate * seconds, hold_ms=HOLD_MS, timeout=seconds + 90)
        phones = sipp.register(work, server.sip, 50, 50 * seconds, timeout=seconds + 60)
        samples, began = [], time.monotonic()
        cpu = server.cpu()
        while calls.process.poll() is None and server.alive() and time.monotonic() - began < seconds + 95:
            samples.append((time.monotonic() - began, server.pss_kb(), server.descriptors()))
            time.sleep(SAMPLE_S)
        cpu = server.cpu() - cpu
        made, registered = calls.wait(), phones.wait()
        settle(server)
        files = server.descriptors()
        again = sipp.call(work, server.sip, '9100', rate, held, hold_ms=held * 1000 // rate + 3000, scenario=sipp.OWN / 'uac_refused.xml').wait()
        settle(server)
        due = made.succeeded + again.total('completed')
        process.wait_for(lambda: server.records()[0] >= due, 30, 0.5)
        rows, distinct, _ = server.records()
        metrics, left = server.metrics(), server.descriptors()
        if not server.alive():
            report.fail('soak: the server ended by itself')
    early = [(kb, fd) for at, kb, fd in samples if warm <= at <= 2 * warm]
    late = [(kb, fd) for at, kb, fd in samples if seconds - warm <= at <= seconds]
    if not early or not late:
        return report.fail(f'soak: {len(samples)} samples in {seconds} s are too few')
    first, last = (statistics.median(kb for kb, _ in part) for part in (early, late))
    most = max(fd for _, fd in early)
    report.say(f'soak: {seconds} s at {rate} calls/s: {made.succeeded} of {rate * seconds} calls succeeded, {made.retransmissions} retransmissions, {registered.succeeded} registrations, {cpu / seconds:.1%} of a core')
    by_minute = [samples[n][1] for n in range(0, len(samples), max(60 // SAMPLE_S, 1))]
    report.say('soak: memory a minute: ' + ' '.join(f'{kb / 1024:.1f}' for kb in by_minute) + ' MB')
    report.say(f'soak: memory {first:.0f} -> {last:.0f} KB, descriptors at most {most} after the first minute, {files} and {left} at rest; {rows} records of {due} calls; {metrics.get("calls_active", 0):.0f} calls left up')
    if made.failed or made.succeeded < rate * seconds or registered.succeeded < 50 * seconds:
        report.fail(f'soak: {made.succeeded} of {rate * seconds} calls and {registered.succeeded} of {50 * seconds} registrations succeeded')
    if metrics.get('calls_active'):
        report.fail('soak: calls are left up')
    report.row('soak-growth', 100 * (last - first) / first)
    report.row('soak-descriptors', max(left - most, 0))
    report.row('soak-ports', held - again.total('completed'))
    report.row('soak-records', abs(rows - due) + rows - distinct)


def settle(server):
    """Until the ports' quarantine is over and nothing is up."""
    time.sleep(4)
    process.wait_for(lambda: server.metrics().get('calls_active') == 0, 40, 0.5)
