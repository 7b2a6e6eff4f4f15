#!/usr/bin/env python3
"""Loads the exchange from outside, and Kamailio with rtpengine beside it, with SIPp on loopback.

    load.sh [WHAT]      WHAT: all (when absent), or one or more of compare, kinds, idle-tcp, soak, overload, disk-full, floods

compare     the same calls, registrations, held calls, probes and RTP for both; what each spent: CPU time, memory, delay
kinds       calls that do more than a plain one, in turns with it: 100rel with digest and session timer, a blind transfer; a lamp's NOTIFY
idle-tcp    10,000 idle TCP connections: their memory, and calls beside them
soak        600 s at half load: memory, descriptors, ports, records
overload    twice the peak rate: what is still completed, and how the rest is refused
floods      garbage, REGISTER, INVITE and OPTIONS of strangers: what honest users notice, memory, bytes sent to strangers
disk-full   a full disk under calls: none without a record

Targets stand in benches/budgets.toml; a section is appended to benches/RESULTS.md. Exit 0: all held; 1: a target was
missed or calls failed; 2: a server did not start. Needs sipp, and for compare kamailio and rtpengine.
"""
import argparse, os, pathlib, shlex, signal, sys, tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
sys.dont_write_bytecode = True

from drive import compare, disk_full, floods, idle_tcp, kinds, overload, process, servers, soak  # noqa: E402
from drive.report import Report  # noqa: E402

PARTS = {'compare': compare.compare, 'kinds': kinds.kinds, 'idle-tcp': idle_tcp.idle_tcp, 'overload': overload.overload, 'disk-full': disk_full.disk_full, 'floods': floods.floods, 'soak': soak.soak}


def numbers(text):
    return [int(word) for word in text.split(',')]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog='load.sh')
    p.add_argument('what', nargs='*', metavar='WHAT')
    p.add_argument('--crosspoint', help='the program; target/release/crosspoint when absent')
    p.add_argument('--server-args', default='', help='further arguments for it')
    p.add_argument('--media', default='batch', help='its media tier')
    p.add_argument('--side', choices=['both', 'crosspoint', 'kamailio'], default='both', help='compare: whom to measure')
    p.add_argument('--only', type=lambda text: text.split(','), help='compare: some of idle,memory,calls,register,delay,media')
    p.add_argument('--rates', type=numbers, default=[300, 600, 1000], help='compare: calls/s')
    p.add_argument('--secs', type=int, default=10, help='compare: seconds a rate')
    p.add_argument('--register-rate', type=int, default=1000)
    p.add_argument('--held', type=int, default=1000, help='compare: calls held at a time')
    p.add_argument('--probes', type=int, default=400, help='compare: timed calls')
    p.add_argument('--media-calls', type=numbers, default=[50, 300, 1000])
    p.add_argument('--media-secs', type=int, default=5)
    p.add_argument('--rounds', type=int, default=3, help='compare: rounds of RTP; kinds: rounds of each kind of call; the median counts')
    p.add_argument('--relay-load', help='the RTP generator; target/release/relay-load when absent')
    p.add_argument('--kamailio-children', type=int, default=4, help='worker processes of Kamailio')
    p.add_argument('--kinds-rate', type=int, default=200, help='kinds: calls/s')
    p.add_argument('--connections', type=int, default=10000, help='idle-tcp: how many')
    p.add_argument('--seconds', type=int, default=600, help='soak: how long')
    p.add_argument('--rate', type=int, default=500, help='soak: calls/s')
    p.add_argument('--share', type=float, default=0.14, help='overload: the share of one core that the server gets, so that SIPp can offer more than it carries')
    p.add_argument('--flood-secs', type=int, default=10, help='floods: seconds of each')
    p.add_argument('--flood-calls', type=int, default=50, help='floods: calls with RTP meanwhile')
    p.add_argument('--flood-load', help='floods: who sends them; target/release/flood-load when absent')
    p.add_argument('--size-mb', type=int, default=48, help='disk-full: the size of the disk')
    p.add_argument('--no-results', action='store_true', help='append nothing to RESULTS.md')
    p.add_argument('--json', help='a file for the figures')
    return p.parse_args()


def main():
    options = arguments()
    what = list(PARTS) if not options.what or 'all' in options.what else options.what
    report = Report('benches/load/load.sh ' + shlex.join(sys.argv[1:]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix='load.', ignore_cleanup_errors=True) as work:
            try:
                for part in what:
                    os.makedirs(f'{work}/{part}')
                    PARTS[part](options, report, f'{work}/{part}')
            finally:
                process.stop_all()
    except servers.DidNotStart as error:
        print(f'FAIL {error}', flush=True)
        return 2
    except KeyboardInterrupt:
        return 130
    return report.close(' '.join(what), not options.no_results, options.json)


sys.exit(main())
