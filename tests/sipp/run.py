#!/usr/bin/env python3
"""Loads a SIP server with SIPp and prints one JSON object (schema bench.v1).

    run.py SCENARIO [--sip 127.0.0.1:5060] [--uas 127.0.0.1:5070] [--service 9100] [--rate 100] [--calls 1000] [--hold-ms 0]
           [--transport u1|t1|tn] [--users users.csv] [--pid PID]

SCENARIO: a file of this folder without .xml (uac, uac_auth, uac_reinvite, uac_cancel, uac_100rel, register, subscribe, …), or `default` for
SIPp's own. Scenarios that reach the callee start it at --uas: the one with their name (`uas_refer` for `uac_refer`) or that fits (CALLEES),
else `uas`. With --pid the server's CPU time per call is told as well.
Exit 0 when every call succeeded, 1 when not, 2 when SIPp could not run.
"""
import argparse, csv, itertools, json, os, platform, socket, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
TICK = os.sysconf('SC_CLK_TCK')
MEDIA_FIRST, MEDIA_PLACES, TURNS = 6000, 1000, itertools.count(2 * os.getpid())
CALLEES = {'uac_cancel': 'uas_rings', 'uac_early_offer': 'uas_100rel', 'uac_attended': 'uas_refer', 'uac_semi_attended': 'uas_refer', 'uac_replaces': 'uas_refer'}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('scenario')
    p.add_argument('--sip', default='127.0.0.1:5060')
    p.add_argument('--uas', default='127.0.0.1:5070')
    p.add_argument('--service', default='9100')
    p.add_argument('--rate', type=int, default=100)
    p.add_argument('--calls', type=int, default=1000)
    p.add_argument('--hold-ms', type=int, default=0)
    p.add_argument('--transport', default='u1')
    p.add_argument('--users', default=os.path.join(HERE, 'users.csv'))
    p.add_argument('--local', default='127.0.0.2:5062')
    p.add_argument('--pid', type=int)
    p.add_argument('--timeout', type=int, default=180)
    return p.parse_args()


def media_port():
    """The first of four UDP ports that are free: SIPp ends when its media ports are taken. They lie below those that the
    system gives to others, and whoever runs beside us begins to look elsewhere."""
    for turn in itertools.islice(TURNS, MEDIA_PLACES):
        first = MEDIA_FIRST + 4 * (turn % MEDIA_PLACES)
        if all(is_free(port) for port in range(first, first + 4)):
            return str(first)
    sys.exit('no media ports are free for SIPp')


def is_free(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.bind(('', port))
        except OSError:
            return False
    return True


def cpu_seconds(pid):
    fields = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def start_callee(a, work):
    own = a.scenario.replace('uac', 'uas', 1)
    name = CALLEES.get(a.scenario) or (own if os.path.exists(f'{HERE}/{own}.xml') else 'uas')
    ip, port = a.uas.rsplit(':', 1)
    command = ['sipp', '-sf', f'{HERE}/{name}.xml', '-i', ip, '-p', port, '-bind_local', '-mi', ip, '-mp', media_port(), '-t', 'u1', '-nostdin', '127.0.0.1']
    callee = subprocess.Popen(command, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.4)
    return callee


def main():
    a = arguments()
    with tempfile.TemporaryDirectory(prefix='sipp.') as work:
        stat = f'{work}/stat.csv'
        ip, port = a.local.rsplit(':', 1)
        command = ['timeout', str(a.timeout), 'sipp', a.sip, '-i', ip, '-p', port, '-bind_local', '-mi', ip, '-mp', media_port(), '-s', a.service, '-r', str(a.rate), '-m', str(a.calls),
                   '-d', str(a.hold_ms), '-l', '30000', '-t', a.transport, '-nostdin', '-trace_stat', '-stf', stat, '-fd', '1', '-trace_err', '-error_file', f'{work}/errors']
        command += ['-sn', 'uac'] if a.scenario == 'default' else ['-sf', f'{HERE}/{a.scenario}.xml', '-inf', a.users]
        callee = start_callee(a, work) if a.scenario.startswith('uac') and a.service.startswith('9') else None
        before = cpu_seconds(a.pid) if a.pid else 0
        began = time.time()
        try:
            ended = subprocess.run(command, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        finally:
            if callee:
                callee.terminate()
                callee.wait()
        took = time.time() - began
        if not os.path.exists(stat):
            print('sipp did not run:', ended.stderr[-400:], file=sys.stderr)
            return 2
        row = list(csv.DictReader(open(stat), delimiter=';'))[-1]
        errors = open(f'{work}/errors').read()[-600:] if os.path.exists(f'{work}/errors') else ''
    number = lambda name: int(row.get(name) or 0)
    result = {
        'schema': 'bench.v1', 'host': platform.node(), 'kernel': platform.release(), 'scenario': a.scenario, 'transport': a.transport, 'cps': a.rate,
        'calls': a.calls, 'successful': number('SuccessfulCall(C)'), 'failed': number('FailedCall(C)'), 'retrans': number('Retransmissions(C)'),
        'seconds': round(took, 2), 'setup': row.get('ResponseTime1(C)', ''),
    }
    if a.pid and result['successful']:
        result['cpu_us_per_call'] = round((cpu_seconds(a.pid) - before) / result['successful'] * 1e6, 1)
    if errors:
        result['errors'] = errors
    print(json.dumps(result))
    return 0 if result['successful'] == a.calls and not result['failed'] else 1


sys.exit(main())
