"""The two servers: ours, and Kamailio with rtpengine. Each is started on loopback ports of its own and ended by its id."""
import contextlib, os, pathlib, shlex, socket, sqlite3, time, urllib.request
from . import process

LOAD = pathlib.Path(__file__).resolve().parent.parent
ROOT = LOAD.parent.parent
UAS = ('127.0.0.1', 5170)


class DidNotStart(Exception):
    pass


class Server:
    """What both have in common: an address, processes, and their cost."""

    def __init__(self, work):
        self.work, self.processes = work, []
        self.log = f'{work}/{self.name}.log'

    @property
    def pids(self):
        return [p.pid for p in self.processes]

    @property
    def sip(self):
        return f'{self.address[0]}:{self.address[1]}'

    def run(self):
        """Starts it; gives back how long it took until it answered. Units: seconds."""
        began = time.monotonic()
        self.spawn()
        answered = process.wait_for(lambda: answers_options(self.address) or not self.alive(), 30, 0)
        if not answered or not self.alive():
            tail = open(self.log, errors='replace').read()[-1500:]
            self.stop()
            raise DidNotStart(f'{self.name} did not start:\n{tail}')
        return time.monotonic() - began

    def alive(self):
        return all(p.poll() is None for p in self.processes)

    def stop(self):
        codes = [process.stop(p) for p in reversed(self.processes)]
        self.processes = []
        return codes

    def cpu(self):
        return process.cpu_seconds(self.pids)

    def pss_kb(self):
        return process.pss_kb(self.pids)

    def descriptors(self):
        return process.descriptors(self.pids)

    def __enter__(self):
        self.started_s = self.run()
        time.sleep(2)
        return self

    def __exit__(self, *_):
        self.stop()


class Crosspoint(Server):
    name = 'crosspoint'
    address = ('127.0.0.1', 5160)
    http = ('127.0.0.1', 5180)

    def __init__(self, work, options, durability='power', data=None):
        super().__init__(work)
        self.binary = options.crosspoint or str(ROOT / 'target/release/crosspoint')
        self.extra, self.durability, self.media = shlex.split(options.server_args), durability, options.media
        self.data = data or f'{work}/data-{durability}'

    def spawn(self):
        if not os.access(self.binary, os.X_OK):
            raise DidNotStart('there is no release build: cargo build --release --locked -p crosspoint')
        os.makedirs(self.data, exist_ok=True)
        command = [self.binary, 'run', '--profile', 'bench', '--sip', self.sip, '--http', f'{self.http[0]}:{self.http[1]}',
                   '--uas', f'{UAS[0]}:{UAS[1]}', '--data', self.data, '--media', self.media, '--durability', self.durability, *self.extra]
        self.processes.append(process.start(command, self.log))

    def metrics(self):
        """What /metrics says, by name without prefix and `_total`."""
        text = urllib.request.urlopen(f'http://{self.http[0]}:{self.http[1]}/metrics', timeout=5).read().decode()
        rows = (line.rsplit(' ', 1) for line in text.splitlines() if line and not line.startswith('#'))
        return {name.removeprefix('crosspoint_').removesuffix('_total'): float(value) for name, value in rows}

    def records(self):
        """Rows of the database itself: how many records, how many calls in them, how many of them answered."""
        with contextlib.closing(sqlite3.connect(f'file:{self.data}/crosspoint.db?mode=ro', uri=True, timeout=5)) as db:
            return db.execute('SELECT count(*), count(DISTINCT call), count(answered) FROM cdr').fetchone()


class Kamailio(Server):
    name = 'kamailio'
    address = ('127.0.0.1', 5260)
    control = ('127.0.0.1', 5281)

    def __init__(self, work, options):
        super().__init__(work)
        self.children = options.kamailio_children

    def spawn(self):
        run = f'{self.work}/kamailio'
        os.makedirs(run, exist_ok=True)
        control = f'{self.control[0]}:{self.control[1]}'
        self.processes.append(process.start(
            ['rtpengine', '--foreground', '--log-stderr', '--log-level=3', '--table=-1', '--interface=127.0.0.1', f'--listen-ng={control}',
             '--port-min=10000', '--port-max=32767', '--delete-delay=0'], self.log))
        process.wait_for(lambda: answers(self.control, b'1 d7:command4:pinge'), 5, 0)
        self.processes.append(process.start(
            ['kamailio', '-f', str(LOAD / 'kamailio.cfg'), '-l', f'udp:{self.sip}', '-l', f'tcp:{self.sip}', '-A', f'UAS="sip:{UAS[0]}:{UAS[1]}"',
             '-A', f'RTPENGINE="udp:{control}"', '-DD', '-E', '-x', 'tlsf', '-X', 'tlsf', '-m', '512', '-M', '16', '-n', str(self.children), '-N', '1', '-Y', run], self.log))


def answers_options(address):
    """Whether a SIP server is there."""
    unique = time.time_ns()
    return answers(address, (
        f'OPTIONS sip:{address[0]}:{address[1]} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{unique};rport\r\nFrom: <sip:load@127.0.0.1>;tag=1\r\n'
        f'To: <sip:{address[0]}:{address[1]}>\r\nCall-ID: {unique}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n').encode())


def answers(address, question):
    """Whether anything answers a datagram within 50 ms."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.05)
        s.connect(address)
        try:
            s.send(question)
            return bool(s.recv(4096))
        except OSError:
            return False
