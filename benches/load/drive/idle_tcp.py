"""Idle TCP connections: what each costs, and that they disturb nobody."""
import subprocess, sys, time
from . import process, sipp
from .probe import Probe, quantile
from .servers import LOAD, Crosspoint

PROBES = 100


def idle_tcp(options, report, work):
    with Crosspoint(work, options) as server, sipp.callee(work):
        sipp.call(work, server.sip, '9100', 50, 100).wait()
        alone, _ = probes(server)
        time.sleep(2)
        before, files = server.pss_kb(), server.descriptors()
        command = [sys.executable, str(LOAD / 'drive/connections.py'), *map(str, server.address), str(options.connections)]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            answered = int(client.stdout.readline() or 0)
            time.sleep(3)
            during, opened = server.pss_kb(), server.descriptors() - files
            cpu = server.cpu()
            time.sleep(3)
            idle_cpu = (server.cpu() - cpu) / 3
            beside, failed = probes(server)
            tcp = sipp.call(work, server.sip, '9100', 10, 20, caller=('127.0.0.5', 5165), transport='tn').wait()
        finally:
            client.stdin.close()
            still = int(client.stdout.readline() or 0)
            client.wait(60)
        gone = process.wait_for(lambda: server.descriptors() <= files + 8, 10)
        after = server.pss_kb()
    report.say(f'{answered} of {options.connections} connections were answered, {opened} descriptors, {still} open at the end; {before} -> {during} KB, {after} KB after; {idle_cpu:.1%} of a core while idle')
    report.say(f'set-up beside them: p50 {quantile(beside, .5) or 0:.3f} ms, alone {quantile(alone, .5) or 0:.3f} ms; calls over TCP: {tcp.succeeded} of 20')
    if answered < options.connections or still < options.connections:
        report.fail(f'idle-tcp: {answered} connections were answered and {still} lived on, of {options.connections}')
    if not gone:
        report.fail('idle-tcp: descriptors of closed connections are left')
    report.row('idle-tcp', (during - before) / max(answered, 1))
    report.row('idle-tcp-calls', failed + 20 - tcp.succeeded)


def probes(server):
    """Milliseconds of plain calls over UDP, and how many failed."""
    probe = Probe()
    try:
        answers = []
        for _ in range(PROBES):
            answers.append(probe.call(server.address))
            time.sleep(0.02)
    finally:
        probe.close()
    good = [ms for status, ms in answers if status == 200]
    if len(good) < PROBES:
        print('answers other than 200:', sorted((status, round(ms, 1), n) for n, (status, ms) in enumerate(answers) if status != 200), flush=True)
    return good, PROBES - len(good)
