#!/usr/bin/env python3
"""A phone of a few lines, with nothing of the exchange in it: registers, calls, talks and hangs up, and prints one JSON object.

    phone.py TRANSPORT HOST PORT --auth-user NAME --password WORD [--user 101] [--domain DOMAIN] [--trust FILE] [--dial NUMBER] [--seconds 1]

TRANSPORT: udp, tcp, tls, ws or wss; HOST an address of either family. With --trust the server must show a certificate that this file
vouches for, made out to HOST; tls and wss cannot do without. With --dial it sends RTP for --seconds and counts what comes
back, without it stays registered for so long and answers OPTIONS. `-` for --user takes the auth user's name.

registered, called, ended: statuses; sent, heard: RTP packets, and those of them that came back as they were sent; marks: the DSCPs that what came back had;
port: the one of the exchange; asked: OPTIONS that came;
agreed: the WebSocket subprotocol; issued: whom the certificate names.
"""
import argparse, base64, hashlib, json, os, random, re, select, socket, ssl, struct, time

PATIENCE_S = 8
FRAME = bytes(range(160))
# Of Linux: this module of Python does not know it.
IP_RECVTOS = 13


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('transport', choices=['udp', 'tcp', 'tls', 'ws', 'wss'])
    p.add_argument('host')
    p.add_argument('port', type=int)
    p.add_argument('--auth-user', required=True)
    p.add_argument('--password', required=True)
    p.add_argument('--user', default='-')
    p.add_argument('--domain')
    p.add_argument('--trust')
    p.add_argument('--dial')
    p.add_argument('--seconds', type=float, default=1)
    return p.parse_args()


class Way:
    """What carries messages: whole ones go in and come out."""

    def __init__(self, a, said):
        self.datagrams, self.frames, self.rest = a.transport == 'udp', a.transport in ('ws', 'wss'), b''
        family = socket.AF_INET6 if ':' in a.host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM if self.datagrams else socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect((a.host, a.port))
        self.local = self.socket.getsockname()[:2]
        if a.transport in ('tls', 'wss'):
            context = ssl.create_default_context(cafile=a.trust)
            self.socket = context.wrap_socket(self.socket, server_hostname=a.host)
            said['issued'] = [name for _, name in self.socket.getpeercert()['subjectAltName']]
        if self.frames:
            said['agreed'] = self.upgrade(a)

    def upgrade(self, a):
        """RFC 6455 §4.1, RFC 7118 §4."""
        key = base64.b64encode(os.urandom(16)).decode()
        host = f'[{a.host}]' if ':' in a.host else a.host
        self.socket.sendall((f'GET /sip HTTP/1.1\r\nHost: {host}:{a.port}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n'
                             f'Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n').encode())
        while b'\r\n\r\n' not in self.rest:
            self.rest += self.take()
        head, self.rest = self.rest.split(b'\r\n\r\n', 1)
        head = head.decode()
        accept = base64.b64encode(hashlib.sha1((key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode()).digest()).decode()
        assert head.startswith('HTTP/1.1 101 ') and re.search('(?im)^sec-websocket-accept: ' + re.escape(accept), head), head
        return re.search(r'(?im)^sec-websocket-protocol: (\S+)', head)[1]

    def take(self):
        data = self.socket.recv(65536)
        if not data:
            raise SystemExit('the server ended the connection')
        return data

    def send(self, text):
        data = text.encode()
        if self.frames:
            mask = os.urandom(4)
            size = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + struct.pack('>H', len(data))
            data = b'\x81' + size + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))
        self.socket.sendall(data)

    def next(self, seconds):
        """The next message, or None when none comes in time."""
        end = time.monotonic() + seconds
        while True:
            text = self.cut()
            if text is not None:
                return text
            left = end - time.monotonic()
            pending = isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()
            if not pending and (left <= 0 or not select.select([self.socket], [], [], left)[0]):
                return None
            self.rest += self.take()

    def cut(self):
        if self.datagrams:
            text, self.rest = self.rest, b''
            return text.decode() or None
        if self.frames:
            if len(self.rest) < 2:
                return None
            kind, size, head = self.rest[0], self.rest[1], 2
            if size == 126 and len(self.rest) >= 4:
                size, head = struct.unpack('>H', self.rest[2:4])[0], 4
            if size >= 126 and head == 2 or len(self.rest) < head + size:
                return None
            data, self.rest = self.rest[head:head + size], self.rest[head + size:]
            assert kind == 0x81, f'a frame of kind {kind:#x}'
            return data.decode()
        self.rest = self.rest.lstrip(b'\r\n')
        if b'\r\n\r\n' not in self.rest:
            return None
        head, body = self.rest.split(b'\r\n\r\n', 1)
        size = int(re.search(rb'(?im)^content-length:\s*(\d+)', head)[1])
        if len(body) < size:
            return None
        self.rest = body[size:]
        return (head + b'\r\n\r\n' + body[:size]).decode()


def value(text, name):
    found = re.search(rf'(?im)^{name}:[ \t]*(.*?)\r?$', text)
    return found[1] if found else ''


class Phone:
    def __init__(self, a):
        self.a, self.said = a, {}
        self.way = Way(a, self.said)
        host, port = self.way.local
        self.host = f'[{host}]' if ':' in host else host
        self.user = a.auth_user if a.user == '-' else a.user
        self.server = f'[{a.host}]:{a.port}' if ':' in a.host else f'{a.host}:{a.port}'
        self.domain = a.domain or self.server
        self.shown = f'{random.getrandbits(40):x}.invalid' if self.way.frames else f'{self.host}:{port}'
        self.contact = f'<sip:{self.user}@{self.shown};transport={"ws" if self.way.frames else a.transport}>'
        self.rtp = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.rtp.bind((host, 0))
        if ':' in host:
            self.rtp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        else:
            self.rtp.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
        self.said['asked'] = 0

    def request(self, method, uri, to, call, number, more='', body=''):
        branch = f'z9hG4bK{random.getrandbits(64):x}'
        kind = 'Content-Type: application/sdp\r\n' if body else ''
        self.way.send(f'{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{self.a.transport.upper()} {self.shown};branch={branch};rport\r\n'
                      f'Max-Forwards: 70\r\nFrom: <sip:{self.user}@{self.domain}>;tag={call}\r\nTo: {to}\r\nCall-ID: {call}\r\n'
                      f'CSeq: {number} {method}\r\nContact: {self.contact}\r\n{more}{kind}Content-Length: {len(body)}\r\n\r\n{body}')

    def answer(self, call, number):
        """The final answer to a request, whatever else comes before."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            text = self.way.next(end - time.monotonic())
            if text is None:
                break
            if not text.startswith('SIP/2.0 '):
                self.asked(text)
            elif value(text, 'Call-ID') == call and value(text, 'CSeq').startswith(f'{number} ') and not text.startswith('SIP/2.0 1'):
                return text
        raise SystemExit(f'no answer: {json.dumps(self.said)}')

    def asked(self, text):
        self.said['asked'] += text.startswith('OPTIONS ')
        vias = ''.join(f'Via: {via}\r\n' for via in re.findall(r'(?im)^via:[ \t]*(.*?)\r?$', text))
        same = ''.join(f'{name}: {value(text, name)}\r\n' for name in ('From', 'Call-ID', 'CSeq'))
        self.way.send(f'SIP/2.0 200 OK\r\n{vias}{same}To: {value(text, "To")};tag=p\r\nContent-Length: 0\r\n\r\n')

    def proven(self, method, uri, to, more='', body=''):
        """Asks, and once more with the password (RFC 7616)."""
        call = f'{random.getrandbits(64):x}'
        self.request(method, uri, to, call, 1, more, body)
        text = self.answer(call, 1)
        if not text.startswith(('SIP/2.0 401', 'SIP/2.0 407')):
            return text, call, 1
        if method == 'INVITE':
            self.request('ACK', uri, value(text, 'To'), call, 1)
        asks, gives = ('WWW-Authenticate', 'Authorization') if ' 401 ' in text[:12] else ('Proxy-Authenticate', 'Proxy-Authorization')
        words = dict(re.findall(r'(\w+)="?([^",]+)"?', value(text, asks)))
        digest = lambda of: hashlib.new({'MD5': 'md5', 'SHA-256': 'sha256'}[words.get('algorithm', 'MD5')], of.encode()).hexdigest()
        secret = digest(f'{self.a.auth_user}:{words["realm"]}:{self.a.password}')
        proof = digest(f'{secret}:{words["nonce"]}:00000001:c0ffee:auth:{digest(f"{method}:{uri}")}')
        line = (f'{gives}: Digest username="{self.a.auth_user}", realm="{words["realm"]}", nonce="{words["nonce"]}", uri="{uri}", response="{proof}", '
                f'algorithm={words.get("algorithm", "MD5")}, qop=auth, nc=00000001, cnonce="c0ffee"'
                + (f', opaque="{words["opaque"]}"' if 'opaque' in words else '') + '\r\n')
        self.request(method, uri, to, call, 2, more + line, body)
        return self.answer(call, 2), call, 2

    def register(self, expires):
        to = f'<sip:{self.user}@{self.domain}>'
        text, *_ = self.proven('REGISTER', f'sip:{self.domain}', to, f'Expires: {expires}\r\nUser-Agent: phone.py\r\n')
        return int(text.split(' ')[1])

    def call(self, number):
        family = 'IP6' if ':' in self.host else 'IP4'
        at = self.host.strip('[]')
        body = (f'v=0\r\no=- 1 1 IN {family} {at}\r\ns=-\r\nc=IN {family} {at}\r\nt=0 0\r\nm=audio {self.rtp.getsockname()[1]} RTP/AVP 8\r\n'
                'a=rtpmap:8 PCMA/8000\r\n')
        uri = f'sip:{number}@{self.domain}'
        text, call, last = self.proven('INVITE', uri, f'<{uri}>', body=body)
        self.said['called'] = int(text.split(' ')[1])
        to, target = value(text, 'To'), re.search('<(.*?)>', value(text, 'Contact') or f'<{uri}>')[1]
        if self.said['called'] != 200:
            return self.request('ACK', uri, to, call, last)
        self.request('ACK', target, to, call, last)
        self.talk((re.search(r'(?m)^c=IN IP[46] (\S+)', text)[1], int(re.search(r'(?m)^m=audio (\d+)', text)[1])))
        self.request('BYE', target, to, call, last + 1)
        self.said['ended'] = int(self.answer(call, last + 1).split(' ')[1])

    def talk(self, there):
        """Sends 20 ms at a time, and counts what comes back with the same sequence number and the same sound."""
        heard, marks, count = set(), set(), int(self.a.seconds * 50)
        for n in range(count + 15):
            if n < count:
                self.rtp.sendto(struct.pack('>BBHII', 0x80, 8, n, n * 160, 77) + FRAME, there)
            end = time.monotonic() + 0.02
            while select.select([self.rtp], [], [], max(end - time.monotonic(), 0))[0]:
                packet, ancillary, _, source = self.rtp.recvmsg(2048, 64)
                if source[:2] == there and packet[1] & 0x7f == 8 and packet[12:] == FRAME:
                    heard.add(packet[2:4])
                    marks.update(value[0] >> 2 for _, _, value in ancillary)
        self.said['sent'], self.said['heard'], self.said['marks'], self.said['port'] = count, len(heard), sorted(marks), there[1]

    def stay(self):
        end = time.monotonic() + self.a.seconds
        while (left := end - time.monotonic()) > 0:
            text = self.way.next(left)
            if text:
                self.asked(text)


def main():
    a = arguments()
    phone = Phone(a)
    phone.said['registered'] = phone.register(300)
    if phone.said['registered'] == 200:
        phone.call(a.dial) if a.dial else phone.stay()
    print(json.dumps(phone.said))


main()
