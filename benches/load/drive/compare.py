"""The same work for the exchange and for Kamailio with rtpengine, and what each spent on it."""
import shutil, time
from . import process, sipp
from .media import media
from .probe import Probe, quantile
from .servers import UAS, Crosspoint, DidNotStart, Kamailio

ORDER = ['calls', 'register', 'memory', 'rtp', 'delay', 'idle', 'start']


def compare(options, report, work):
    only = options.only or ['idle', 'memory', 'calls', 'register', 'delay', 'media']
    columns = {}
    for server in servers(options, work):
        columns[server.name] = measure(server, only, options, report, work)
    if 'register' in only and 'crosspoint' in columns:
        columns['crosspoint'] |= process_durability(options, report, work)
    ours, theirs = columns.get('crosspoint', {}), columns.get('kamailio', {})
    names = list(dict.fromkeys([*ours, *theirs]))
    for name in sorted(names, key=lambda name: ORDER.index(name.split('-')[0])):
        report.row(name, ours.get(name), theirs.get(name))


def servers(options, work):
    wanted = ['crosspoint', 'kamailio'] if options.side == 'both' else [options.side]
    if 'crosspoint' in wanted:
        yield Crosspoint(work, options)
    if 'kamailio' in wanted:
        if missing := [name for name in ('kamailio', 'rtpengine') if not shutil.which(name)]:
            raise DidNotStart(f'{" and ".join(missing)} is not installed: apt-get install kamailio rtpengine-daemon, or --side crosspoint')
        yield Kamailio(work, options)


def measure(server, only, options, report, work):
    found = {}
    noise = process.Noise()
    with server:
        found['start'] = server.started_s
        found['idle'] = server.pss_kb() / 1024
        report.say(f"{server.name}: started in {found['start']:.2f} s, {found['idle']:.1f} MB")
        for part, work_of in (('memory', memory), ('calls', calls), ('register', register), ('delay', delay), ('media', media)):
            if part in only:
                found |= work_of(server, options, report, work)
                if not server.alive():
                    report.fail(f'{server.name} ended by itself')
                    break
                time.sleep(1)
    report.say(f'{server.name}: the machine was {noise.tell()}')
    return found


def calls(server, options, report, work):
    found = {}
    for rate in options.rates:
        with sipp.callee(work):
            sipp.call(work, server.sip, '9100', 100, 200).wait()
            time.sleep(1.5)
            before, count = server.cpu(), rate * options.secs
            outcome = sipp.call(work, server.sip, '9100', rate, count, timeout=options.secs + 50).wait()
            time.sleep(1)
            spent = server.cpu() - before
        name, done = f'calls-{rate}', outcome.succeeded
        if done:
            found[name] = spent / done * 1e6
        text = f'{found[name]:.0f} us CPU per call, {outcome.retransmissions} retransmissions' if done else 'none succeeded'
        report.say(f'{server.name}: {rate} calls/s: {text}')
        if done < count:
            report.short(server.name, f'{rate} calls/s: {done} of {count} succeeded', name)
    return found


def register(server, options, report, work):
    count = options.register_rate * options.secs
    sipp.register(work, server.sip, 200, 200).wait()
    time.sleep(1)
    before = server.cpu()
    outcome = sipp.register(work, server.sip, options.register_rate, count).wait()
    time.sleep(1)
    spent, done, name = server.cpu() - before, outcome.succeeded, f"register-{getattr(server, 'durability', 'power')}"
    if done < count:
        report.short(server.name, f'{options.register_rate} registrations/s: {done} of {count} succeeded', name)
    if not done:
        return {}
    report.say(f'{server.name}: {options.register_rate} registrations/s: {spent / done * 1e6:.1f} us CPU each, {outcome.retransmissions} retransmissions')
    return {name: spent / done * 1e6}


def process_durability(options, report, work):
    with Crosspoint(work, options, 'process') as server:
        return register(server, options, report, work)


def memory(server, options, report, work):
    held = options.held
    with sipp.callee(work):
        before = server.pss_kb()
        run = sipp.call(work, server.sip, '9100', 100, held, hold_ms=held * 10 + 8000)
        time.sleep(held / 100 + 4)
        during, up = server.pss_kb(), run.so_far().up
        outcome = run.wait()
    if up < held or outcome.succeeded < held:
        report.short(server.name, f'{up} of {held} calls were up at a time, {outcome.succeeded} succeeded', 'memory')
    report.say(f'{server.name}: {up} calls held: {before} -> {during} KB')
    return {'memory': (during - before) / up} if up else {}


def delay(server, options, report, work):
    """What the server adds to the time from INVITE to 200, while SIPp makes 250 calls/s beside 50 probes/s: the same without the server is taken off."""
    probe = Probe()
    try:
        with sipp.callee(work):
            direct = spread(probe, UAS, options, work)
            probe.hang_ups_ms.clear()
            through = spread(probe, server.address, options, work)
    finally:
        probe.close()
    lost = options.probes - len(through)
    if lost or len(direct) < options.probes:
        report.short(server.name, f'delay: {lost} of {options.probes} probes failed, {options.probes - len(direct)} without the server', 'delay-p50')
    if not direct or not through:
        return {}
    found = {f'delay-p{n}': quantile(through, n / 100) - quantile(direct, n / 100) for n in (50, 99)}
    report.say(f'{server.name}: set-up takes {quantile(through, .5):.3f} / {quantile(through, .99):.3f} ms (p50 / p99), '
               f'{quantile(direct, .5):.3f} / {quantile(direct, .99):.3f} without it; '
               f'BYE is answered after {quantile(probe.hang_ups_ms, .5):.1f} / {quantile(probe.hang_ups_ms, .99):.1f} ms')
    return found


def spread(probe, to, options, work):
    seconds = options.probes // 40 + 2
    background = sipp.call(work, f'{to[0]}:{to[1]}', '9100', 250, 250 * seconds, timeout=seconds + 40)
    time.sleep(1)
    answers = []
    for _ in range(options.probes):
        answers.append(probe.call(to))
        time.sleep(0.02)
    background.wait()
    return [ms for status, ms in answers if status == 200]

