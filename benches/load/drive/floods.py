"""Floods of strangers: honest users go on registering, asking, calling and talking, and nobody is sent much more than he sends."""
import os, shutil, socket, subprocess, time
from . import process
from .servers import ROOT, Crosspoint, DidNotStart

USERS = [str(101 + n) for n in range(20)]
HONEST_RATE = 60
# What is sent, how often a second, and from how many addresses. From each of thousands little comes: it is their sum that is too much.
FLOODS = (('garbage', 100_000, 64), ('register', 5_000, 64), ('invite', 5_000, 64), ('options', 5_000, 64), ('register', 10_000, 5_000))
METHODS = ('INVITE', 'REGISTER', 'OPTIONS', 'SUBSCRIBE', 'PUBLISH', 'MESSAGE', 'REFER', 'NOTIFY', 'INFO', 'UPDATE', 'BYE', 'PRACK', 'CANCEL', 'DANCE')


class Office(Crosspoint):
    """As an office runs it: every password asked for, wrong ones counted."""

    def spawn(self):
        if not os.access(self.binary, os.X_OK):
            raise DidNotStart('there is no release build: cargo build --release --locked -p crosspoint')
        config = f'{self.work}/office.toml'
        with open(config, 'w') as out:
            out.write(f'[sip]\nudp = ["{self.sip}"]\ntcp = ["{self.sip}"]\ntls = []\nwss = []\n[media]\nports = "10000-20000"\ntier = "{self.media}"\n'
                      f'[http]\nlisten = "{self.http[0]}:{self.http[1]}"\n')
        self.processes.append(process.start([self.binary, 'run', '--config', config, '--data', self.data, *self.extra], self.log))

    def verb(self, *words, text=''):
        command = [self.binary, *words, '--data', self.data]
        subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL, timeout=30)

    def people(self):
        self.verb('account', 'create', 'office', '--domain', 'office.example')
        for user in USERS:
            self.verb('user', 'add', 'office', user, '--auth-user', f'office{user}', '--password-stdin', text=f'secret{user}')


def floods(options, report, work):
    tool = find_tool(options)
    if not tool:
        return report.fail('floods: there is no flood-load: cargo build --release -p relay-load')
    with Office(work, options) as server:
        server.people()
        # The first run is what the others are compared with; its memory too.
        calm, _, base_kb = beside(tool, server, options, None, 0)
        report.say(f'honest callers alone: {told(calm)}; {base_kb} KB')
        worst_share, worst_rtp, most_kb = share(calm), 0.0, base_kb
        for kind, rate, sources in FLOODS:
            noise = process.Noise()
            cpu, began = server.cpu(), time.monotonic()
            honest, flood, kb = beside(tool, server, options, kind, rate, sources)
            spent = (server.cpu() - cpu) / (time.monotonic() - began)
            sent, sent_bytes, heard, heard_bytes = flood
            added = max(honest[6] - calm[6], 0) / 1000
            report.say(f'{kind} from {sources:,}: {sent / options.flood_secs:,.0f}/s of {rate:,}/s sent, {heard:,} answers, {heard_bytes / max(sent_bytes, 1):.2f} bytes for each; '
                       f'{told(honest)}, {added:.1f} ms added; {kb} KB; {spent:.0%} of a core; {noise.tell()}')
            if sent < 0.9 * rate * options.flood_secs:
                report.fail(f'floods: {kind}: only {sent / options.flood_secs:,.0f}/s could be sent of {rate:,}/s')
            if honest[3] < 0.995 * honest[2]:
                # What did not come back is later than any percentile.
                report.fail(f'floods: {kind}: {honest[2] - honest[3]} of {honest[2]} RTP packets did not come back')
            worst_share, worst_rtp, most_kb = min(worst_share, share(honest)), max(worst_rtp, added), max(most_kb, kb)
        amplified = amplification(server, report)
        alive = server.alive()
    if not alive:
        report.fail('floods: the server did not survive')
    report.row('flood-honest', worst_share)
    report.row('flood-rtp', worst_rtp)
    report.row('flood-amplification', amplified)
    report.row('flood-memory', (most_kb - base_kb) / 1024)


def find_tool(options):
    place = options.flood_load or str(ROOT / 'target/release/flood-load')
    if not options.flood_load and shutil.which('cargo'):
        # An old one would measure what is no longer there; where nothing can be built, what is there is used.
        subprocess.run(['cargo', 'build', '--release', '--locked', '-q', '-p', 'relay-load'], cwd=ROOT, check=False)
    return place if os.access(place, os.X_OK) else None


def beside(tool, server, options, kind, rate, sources=0):
    """Honest users beside a flood. Gives back what they saw, what it saw, and the most memory meanwhile."""
    secs = options.flood_secs
    command = [tool, 'honest', '--to', server.sip, '--users', ','.join(USERS), '--rate', HONEST_RATE, '--secs', secs, '--calls', options.flood_calls]
    honest = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    try:
        if honest.stdout.readline().strip() != 'ready':
            raise DidNotStart('the honest callers could not begin')
        flood, most = None, server.pss_kb()
        if kind:
            command = [tool, kind, '--to', server.sip, '--rate', rate, '--secs', secs, '--sources', sources, '--users', ','.join(USERS)]
            flood = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
        end = time.monotonic() + secs
        while time.monotonic() < end and honest.poll() is None:
            most = max(most, server.pss_kb())
            time.sleep(0.5)
        seen = numbers(flood.communicate(timeout=60)[0]) if flood else None
        told = numbers(honest.communicate(timeout=60)[0])
    finally:
        if honest.poll() is None:
            honest.kill()
    return told, seen, max(most, server.pss_kb())


def numbers(text):
    return [int(word) for word in text.split()]


def share(honest):
    return 100 * honest[1] / max(honest[0], 1)


def told(honest):
    begun, answered, sent, heard, p50, p99, p995 = honest
    return (f'{answered} of {begun} requests answered; {heard} of {sent} RTP packets back, '
            f'p50 {p50 / 1000:.2f} ms, p99 {p99 / 1000:.2f} ms, p99.5 {p995 / 1000:.2f} ms')


def amplification(server, report):
    """The most bytes that a stranger gets for one of his, by method, of short and of usual requests."""
    worst, parts = 0.0, []
    for number, method in enumerate(METHODS):
        for usual in (False, True):
            sent, heard = exchange(server, method, usual, number)
            ratio = heard / sent
            worst = max(worst, ratio)
            parts.append(f'{method}{"" if usual else " (short)"} {ratio:.2f}')
    report.say('bytes to a stranger for one of his: ' + ', '.join(parts))
    return worst


def exchange(server, method, usual, number):
    """Ten requests of one method; the bytes sent and the bytes that came back, repetitions too."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((f'127.7.9.{number + 1}', 0))
        s.settimeout(1.5)
        here = '%s:%d' % s.getsockname()
        sent = heard = 0
        for n in range(10):
            unique = f'{number}{int(usual)}{n}'
            more = f'User-Agent: a phone of the usual kind 1.2.3\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nContact: <sip:101@{here}>\r\n' if usual else ''
            who = '<sip:101@office.example>' if usual else '<sip:a@h>'
            text = (f'{method} sip:101@{server.sip} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{unique}\r\nFrom: {who};tag=a\r\nTo: {who}\r\n'
                    f'Call-ID: {unique}\r\nCSeq: 1 {method}\r\n{more}Content-Length: 0\r\n\r\n')
            sent += s.sendto(text.encode(), server.address)
        while True:
            try:
                heard += len(s.recv(65536))
            except TimeoutError:
                return sent, heard
