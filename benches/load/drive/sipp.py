"""SIPp: callers, callees, registrations, and what their statistics say."""
import contextlib, csv, os, time
from . import process
from .servers import LOAD, ROOT, UAS

SHIPPED = ROOT / 'tests/sipp'
OWN = LOAD / 'sipp'
CALLER = ('127.0.0.2', 5162)
PHONES = ('127.0.0.4', 5164)
USERS = SHIPPED / 'users.csv'
COMMON = ['-nostdin', '-bind_local', '-l', 60000, '-fd', 1, '-trace_stat', '-buff_size', 4194304]


class Outcome:
    """The statistics of one SIPp run, a row a second."""

    def __init__(self, path):
        self.rows = list(csv.DictReader(open(path), delimiter=';')) if os.path.exists(path) else []

    def total(self, name, row=-1):
        try:
            return int(self.rows[row].get(f'{name}(C)') or 0)
        except IndexError:
            return 0

    created = property(lambda self: self.total('OutgoingCall') or self.total('TotalCallCreated'))
    succeeded = property(lambda self: self.total('SuccessfulCall'))
    failed = property(lambda self: self.total('FailedCall'))
    retransmissions = property(lambda self: self.total('Retransmissions'))
    up = property(lambda self: int(self.rows[-1].get('CurrentCall') or 0) if self.rows else 0)

    def per_second(self, name, first_s, last_s):
        """The mean rate of a counter between two moments of the run."""
        at = [(float(row['CurrentTime'].split()[-1]), int(row.get(f'{name}(C)') or 0)) for row in self.rows if len(row['CurrentTime'].split()) == 3]
        began = float(self.rows[0]['StartTime'].split()[-1]) if self.rows else 0
        inside = [(t - began, n) for t, n in at if first_s <= t - began <= last_s]
        if len(inside) < 2:
            return 0.0
        return (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])


class Run:
    """SIPp in the background."""

    def __init__(self, work, name, arguments, timeout):
        self.stat = f'{work}/{name}-{time.monotonic_ns()}.csv'
        command = ['timeout', '--signal=INT', '--kill-after=5', timeout, 'sipp', *arguments, *COMMON, '-stf', self.stat]
        self.process = process.start(command, f'{work}/sipp.log', cwd=work)

    def so_far(self):
        return Outcome(self.stat)

    def wait(self):
        self.process.wait()
        process.stop(self.process)
        return Outcome(self.stat)

    def stop(self):
        process.stop(self.process)
        return Outcome(self.stat)


@contextlib.contextmanager
def callee(work, scenario=SHIPPED / 'uas.xml'):
    """Answers at UAS while the block runs."""
    arguments = ['-sf', scenario, '-i', UAS[0], '-p', UAS[1], '-mi', UAS[0], '-mp', 6100, '127.0.0.2']
    run = Run(work, 'uas', arguments, 3600)
    time.sleep(0.5)
    try:
        yield run
    finally:
        run.stop()


def call(work, to, number, rate, calls, hold_ms=0, scenario=SHIPPED / 'uac.xml', caller=CALLER, timeout=150, transport='u1'):
    """Starts calls to `number` at `to`."""
    arguments = [to, '-sf', scenario, '-inf', USERS, '-i', caller[0], '-p', caller[1], '-mi', caller[0], '-mp', 7100, '-s', number,
                 '-r', rate, '-m', calls, '-d', hold_ms, '-t', transport, '-max_socket', 2000]
    return Run(work, 'uac', arguments, timeout)


def register(work, to, rate, count, timeout=90):
    arguments = [to, '-sf', SHIPPED / 'register.xml', '-inf', USERS, '-i', PHONES[0], '-p', PHONES[1], '-mi', PHONES[0], '-mp', 8100, '-r', rate, '-m', count]
    return Run(work, 'register', arguments, timeout)
