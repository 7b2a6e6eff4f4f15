#!/usr/bin/env python3
"""Opens connections that do harm, and prints one JSON object: for each attack how many connections the server ended, of how many.

    streams.py [--connections 8] [--seconds 20] TRANSPORT=ADDRESS...       TRANSPORT: tcp, tls, ws or wss

silent          says nothing (behind the handshake, where there is one)
handshake       begins the handshake and does not go on (not tcp)
slow-header     a byte of a request now and then
half-frame      the first half of a request
endless-header  header lines for ever
endless-body    a body for ever; of WebSocket, fragments of a message
huge-length     a length beyond all limits
crlf            keep-alives (of WebSocket: pings) without end, whose answers nobody reads

Each row: connections, how many the server ended, the longest that one lived in seconds, and bytes that were sent.
"""
import argparse, base64, json, os, socket, ssl, struct, threading, time

REQUEST = ('OPTIONS sip:streams SIP/2.0\r\nVia: SIP/2.0/TCP streams.invalid;branch=z9hG4bK1\r\nFrom: <sip:a@streams.invalid>;tag=1\r\n'
           'To: <sip:streams>\r\nCall-ID: streams\r\nCSeq: 1 OPTIONS\r\n').encode()
STEP_S = 0.2


class Ended(Exception):
    """The server ended the connection."""


class Client:
    def __init__(self, transport, address, handshakes=True):
        self.secure, self.frames = transport in ('tls', 'wss'), transport in ('ws', 'wss')
        self.sent, self.began = 0, time.monotonic()
        self.socket = socket.create_connection(address, 10)
        if handshakes and self.secure:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        if handshakes and self.frames:
            self.write(upgrade(address))
            head = b''
            while b'\r\n\r\n' not in head:
                head += self.read()

    def write(self, data):
        try:
            self.socket.sendall(data)
            self.sent += len(data)
        except (TimeoutError, ssl.SSLWantWriteError):
            raise TimeoutError from None
        except OSError as error:
            raise Ended from error

    def read(self):
        try:
            data = self.socket.recv(65536)
        except (TimeoutError, ssl.SSLWantReadError):
            raise TimeoutError from None
        except OSError as error:
            raise Ended from error
        if not data:
            raise Ended
        return data

    def wait(self, seconds):
        """Looks whether the server ends the connection."""
        self.socket.settimeout(max(seconds, 0.01))
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                self.read()
        except TimeoutError:
            pass

    def frame(self, data, opcode=1, final=True):
        """A frame of a WebSocket, masked with nothing."""
        if not self.frames:
            return data
        length = len(data)
        size = bytes([0x80 | length]) if length < 126 else bytes([0x80 | 126]) + struct.pack('>H', length)
        return bytes([(0x80 if final else 0) | opcode]) + size + bytes(4) + data


def upgrade(address):
    key = base64.b64encode(os.urandom(16)).decode()
    return (f'GET / HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n'
            'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n').encode()


def silent(client, _seconds):
    pass


def handshake(client, _seconds):
    client.write(b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' if client.secure else upgrade(('h', 1))[:60])


def slow_header(client, _seconds):
    whole = client.frame(REQUEST + b'Content-Length: 0\r\n\r\n')
    for at in range(len(whole)):
        client.write(whole[at:at + 1])
        client.wait(STEP_S)


def half_frame(client, _seconds):
    whole = client.frame(REQUEST + b'Content-Length: 0\r\n\r\n')
    client.write(whole[:len(whole) // 2])


def endless_header(client, seconds):
    client.write(client.frame(REQUEST, final=False))
    pour(client, client.frame(b'X: ' + b'x' * 1000 + b'\r\n', 0, False), seconds)


def endless_body(client, seconds):
    client.write(client.frame(REQUEST + b'Content-Length: 60000\r\n\r\n', final=False))
    for _ in range(int(seconds / STEP_S)):
        client.write(client.frame(b'x' * 100, 0, False))
        client.wait(STEP_S)


def huge_length(client, _seconds):
    if client.frames:
        client.write(b'\x81\xff' + struct.pack('>Q', 1 << 40) + bytes(4) + REQUEST)
    else:
        client.write(REQUEST + b'Content-Length: 99999999999999999999\r\n\r\n')


def crlf(client, seconds):
    pour(client, client.frame(b'x' * 100, 9) * 20 if client.frames else b'\r\n\r\n' * 512, seconds)


def pour(client, data, seconds):
    """Writes as fast as the server reads, and never reads."""
    client.socket.settimeout(0.5)
    end = time.monotonic() + seconds
    while time.monotonic() < end and client.sent < POURED_BYTES:
        try:
            client.write(data)
        except TimeoutError:
            time.sleep(0.1)


# What one connection pours at most, so that the test's own part of the machine stays small.
POURED_BYTES = 8 << 20
ATTACKS = {'silent': silent, 'handshake': handshake, 'slow-header': slow_header, 'half-frame': half_frame, 'endless-header': endless_header,
           'endless-body': endless_body, 'huge-length': huge_length, 'crlf': crlf}


def attack(name, transport, address, seconds, rows, lock):
    began, ended, sent = time.monotonic(), False, 0
    try:
        client = Client(transport, address, handshakes=name != 'handshake')
        try:
            ATTACKS[name](client, seconds)
            client.wait(seconds - (time.monotonic() - began))
        finally:
            sent = client.sent
    except Ended:
        ended = True
    except OSError:
        ended = True
    lived = time.monotonic() - began
    with lock:
        row = rows.setdefault(f'{transport} {name}', {'connections': 0, 'ended': 0, 'lived_s': 0.0, 'sent': 0})
        row['connections'] += 1
        row['ended'] += ended
        row['lived_s'] = max(row['lived_s'], round(lived, 1))
        row['sent'] += sent


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('places', nargs='+', metavar='TRANSPORT=ADDRESS')
    p.add_argument('--connections', type=int, default=8)
    p.add_argument('--seconds', type=float, default=20)
    options = p.parse_args()
    rows, lock, threads = {}, threading.Lock(), []
    for place in options.places:
        transport, address = place.split('=')
        host, port = address.rsplit(':', 1)
        for name in ATTACKS:
            if name == 'handshake' and transport == 'tcp':
                continue
            for _ in range(options.connections):
                threads.append(threading.Thread(target=attack, args=(name, transport, (host, int(port)), options.seconds, rows, lock)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(rows, indent=1))


main()
