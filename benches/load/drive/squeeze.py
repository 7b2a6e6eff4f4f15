"""Lets a server have a share of one core only, so that a load which two cores can make is more than it can carry.

A CPU quota where this user may make a control group; elsewhere the processes are stopped and continued:
squeeze.py SHARE PID... does that until one of them is gone.
"""
import os, pathlib, signal, sys, time

PERIOD_S = 0.010
GROUPS = pathlib.Path('/sys/fs/cgroup')


class Squeezed:
    def __init__(self, server, share):
        self.server, self.share, self.group, self.process = server, share, None, None

    def __enter__(self):
        try:
            self.how, self.group = 'a CPU quota', quota(self.share, self.server.pids)
        except OSError:
            from . import process
            self.how = 'stopping it now and then'
            self.process = process.start([sys.executable, __file__, str(self.share), *map(str, self.server.pids)], f'{self.server.work}/squeeze.log')
        return self

    def __exit__(self, *_):
        if self.process:
            from . import process
            process.stop(self.process)
        for pid in self.server.pids:
            try:
                os.kill(pid, signal.SIGCONT)
                if self.group:
                    (self.group.parent / 'cgroup.procs').write_text(str(pid))
            except OSError:
                pass
        if self.group:
            self.group.rmdir()


def quota(share, pids):
    """Puts the processes into a group that has no more. The files differ between the two versions of control groups."""
    first = (GROUPS / 'cpu/cpu.cfs_quota_us').exists() or (GROUPS / 'cpu/tasks').exists()
    if not first and 'cpu' not in (GROUPS / 'cgroup.subtree_control').read_text().split():
        raise OSError('the root group hands out no CPU')
    group = (GROUPS / 'cpu' if first else GROUPS) / f'crosspoint-load-{os.getpid()}'
    group.mkdir()
    try:
        period = int(PERIOD_S * 1e6)
        spent = max(int(period * share), 1000)
        if first:
            (group / 'cpu.cfs_period_us').write_text(str(period))
            (group / 'cpu.cfs_quota_us').write_text(str(spent))
        else:
            (group / 'cpu.max').write_text(f'{spent} {period}')
        for pid in pids:
            (group / 'cgroup.procs').write_text(str(pid))
    except OSError:
        group.rmdir()
        raise
    return group


def stop_and_go(share, pids):
    due = time.monotonic()
    while True:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(PERIOD_S * share)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        due = max(due + PERIOD_S, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))


if __name__ == '__main__':
    try:
        stop_and_go(float(sys.argv[1]), [int(pid) for pid in sys.argv[2:]])
    except ProcessLookupError:
        pass
