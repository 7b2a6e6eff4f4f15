"""Holds calls through a server between addresses where an RTP generator can speak, and tells which ports the server gave them.

    pairs.py SERVER UAS CALLS FILE     both addresses as ip:port; FILE gets a line `relayA relayB localA localB` a call

Caller and callee of call n are at 127.0.0.22 and 127.0.0.23, port 61000 + 2n. Hangs up when its standard input closes.
"""
import re, selectors, socket, sys, time

A, B = '127.0.0.22', '127.0.0.23'
RATE = 100


def address(text):
    host, port = text.rsplit(':', 1)
    return host, int(port)


def sdp(ip, n):
    return f'v=0\r\no=- {n} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {61000 + 2 * n} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n'


def media_of(text):
    body = text.split('\r\n\r\n', 1)[1]
    return re.search(r'c=IN IP4 (\S+)', body)[1] + ':' + re.search(r'm=audio (\d+)', body)[1]


def headers(text, name):
    head = text.split('\r\n\r\n', 1)[0]
    return [line.split(':', 1)[1].strip() for line in head.split('\r\n')[1:] if line.lower().startswith(name.lower() + ':')]


def opened(ip, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.bind((ip, port))
    s.setblocking(False)
    return s


class Pairs:
    def __init__(self, server, uas, count):
        self.server, self.count = server, count
        self.caller, self.callee = opened(A, 0), opened(*uas)
        self.me, self.uas = '%s:%d' % self.caller.getsockname(), '%s:%d' % uas
        self.relay_a, self.relay_b, self.acks, self.ended = {}, {}, {}, set()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.caller, selectors.EVENT_READ, self.heard_by_caller)
        self.selector.register(self.callee, selectors.EVENT_READ, self.heard_by_callee)
        self.unique = time.time_ns()

    def request(self, n, method, number, target, to, routes='', body=''):
        kind = 'Content-Type: application/sdp\r\n' if body else ''
        return (f'{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {self.me};branch=z9hG4bK{method}{n}x{self.unique};rport\r\n{routes}'
                f'From: <sip:1000@{self.me}>;tag={n}x{self.unique}\r\nTo: {to}\r\nCall-ID: pair-{n}-{self.unique}\r\nCSeq: {number} {method}\r\n'
                f'Contact: <sip:1000@{self.me}>\r\nMax-Forwards: 70\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}').encode()

    def invite(self, n):
        target = 'sip:9%05d@%s:%d' % (n, *self.server)
        self.caller.sendto(self.request(n, 'INVITE', 1, target, f'<{target}>', body=sdp(A, n)), self.server)

    def heard_by_caller(self, text, source):
        if not text.startswith('SIP/2.0'):
            return
        n, status = int(headers(text, 'Call-ID')[0].split('-')[1]), int(text[8:11])
        if 'BYE' in headers(text, 'CSeq')[0]:
            self.ended.add(n)
        elif status == 200:
            target = headers(text, 'Contact')[0].split('<')[-1].split('>')[0]
            routes = ''.join(f'Route: {route}\r\n' for route in reversed(headers(text, 'Record-Route')))
            self.acks[n] = (target, headers(text, 'To')[0], routes)
            self.relay_a[n] = media_of(text)
            self.caller.sendto(self.request(n, 'ACK', 1, *self.acks[n]), self.server)

    def heard_by_callee(self, text, source):
        method = text.split(' ', 1)[0]
        if method not in ('INVITE', 'BYE'):
            return
        n = int(re.match(r'\w+ sip:9(\d+)@', text)[1]) if method == 'INVITE' else 0
        copied = ''.join(f'{name}: {value}\r\n' for name in ('Via', 'Record-Route', 'From', 'Call-ID', 'CSeq') for value in headers(text, name))
        to, body = headers(text, 'To')[0], ''
        if method == 'INVITE':
            self.relay_b[n] = media_of(text)
            to, body = f'{to};tag=b{n}', sdp(B, n)
        kind = 'Content-Type: application/sdp\r\n' if body else ''
        answer = f'SIP/2.0 200 OK\r\n{copied}To: {to}\r\nContact: <sip:9{n:05d}@{self.uas}>\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}'
        self.callee.sendto(answer.encode(), source)

    def listen(self, until):
        while (left := until - time.monotonic()) > 0:
            for key, _ in self.selector.select(left):
                for _ in range(100):
                    try:
                        data, source = key.fileobj.recvfrom(65536)
                    except BlockingIOError:
                        break
                    key.data(data.decode('utf-8', 'replace'), source)

    def open(self):
        for _ in range(3):
            for n in range(self.count):
                if n not in self.relay_a:
                    self.invite(n)
                    self.listen(time.monotonic() + 1 / RATE)
            self.listen(time.monotonic() + 0.5)
        return [(self.relay_a[n], self.relay_b[n], f'{A}:{61000 + 2 * n}', f'{B}:{61000 + 2 * n}') for n in sorted(self.relay_a) if n in self.relay_b]

    def hang_up(self):
        for _ in range(3):
            for n, dialog in self.acks.items():
                if n not in self.ended:
                    self.caller.sendto(self.request(n, 'BYE', 2, *dialog), self.server)
                    self.listen(time.monotonic() + 1 / RATE / 4)
            self.listen(time.monotonic() + 0.5)
        return len(self.acks) - len(self.ended)


def main():
    server, uas, count, file = address(sys.argv[1]), address(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    pairs = Pairs(server, uas, count)
    found = pairs.open()
    with open(file, 'w') as out:
        out.writelines(' '.join(pair) + '\n' for pair in found)
    print(len(found), flush=True)
    sys.stdin.buffer.read()
    print(pairs.hang_up(), flush=True)


main()
