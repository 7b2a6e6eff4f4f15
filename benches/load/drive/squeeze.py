"""squeeze.py PERIOD SHARE PID...: lets processes run for a share of each period only. Ends when one of them is gone."""
import os, signal, sys, time


def squeeze(period, share, pids):
    due = time.monotonic()
    while True:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(period * share)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        due = max(due + period, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))


try:
    squeeze(float(sys.argv[1]), float(sys.argv[2]), [int(pid) for pid in sys.argv[3:]])
except ProcessLookupError:
    pass
