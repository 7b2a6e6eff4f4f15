"""Processes that are started, measured and ended by their id."""
import ctypes, os, resource, signal, subprocess, time

TICK = os.sysconf('SC_CLK_TCK')
_started = []


def _child():
    # The child ends with its parent (PR_SET_PDEATHSIG), and may open as many files as the host allows.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def start(command, log, cwd=None):
    """Starts a program in the background, its output in a file."""
    with open(log, 'ab') as out:
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=cwd, preexec_fn=_child)
    _started.append(process)
    return process


def stop(process, patience=15):
    """Ends it politely, then by force. Gives back its exit code."""
    if process.poll() is None:
        family_before = family([process.pid])
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            for pid in family_before:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            process.wait()
    if process in _started:
        _started.remove(process)
    return process.returncode


def stop_all():
    for process in list(reversed(_started)):
        stop(process)


def family(pids):
    """These processes and all below them."""
    todo, found = list(pids), []
    while todo:
        pid = todo.pop()
        try:
            for task in os.listdir(f'/proc/{pid}/task'):
                todo += [int(child) for child in open(f'/proc/{pid}/task/{task}/children').read().split()]
            found.append(pid)
        except OSError:
            pass
    return found


def cpu_seconds(pids):
    total = 0
    for pid in family(pids):
        try:
            fields = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return total / TICK


def pss_kb(pids):
    total = 0
    for pid in family(pids):
        try:
            total += next(int(line.split()[1]) for line in open(f'/proc/{pid}/smaps_rollup') if line.startswith('Pss:'))
        except (OSError, StopIteration):
            pass
    return total


def descriptors(pids):
    total = 0
    for pid in family(pids):
        try:
            total += len(os.listdir(f'/proc/{pid}/fd'))
        except OSError:
            pass
    return total


def wait_for(what, seconds, step=0.05):
    """Waits until `what()` is true; gives back whether it became so in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(step)
    return bool(what())


class Noise:
    """How noisy the machine was meanwhile: what was left idle, and what its host stole."""

    def __init__(self):
        self.before = self._read()

    @staticmethod
    def _read():
        return [int(n) for n in open('/proc/stat').readline().split()[1:9]]

    def tell(self):
        _user, _nice, _system, idle, wait, _irq, _soft, steal = spent = [b - a for a, b in zip(self.before, self._read())]
        total = max(sum(spent), 1)
        return f'{(idle + wait) / total:.0%} idle, {steal / total:.0%} stolen by the host'
