"""One caller that times its own calls by the kernel's receive timestamps: from INVITE to 200."""
import socket, time

SO_TIMESTAMPNS = 35


class Probe:
    def __init__(self, ip='127.0.0.6', port=5166):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ip, port))
        self.socket.settimeout(5)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.ip, self.me, self.count = ip, f'{ip}:{port}', 0
        self.hang_ups_ms = []

    def close(self):
        self.socket.close()

    def _receive(self, call_id):
        """The next message of this call and when it came."""
        while True:
            data, ancillary, _, _ = self.socket.recvmsg(65536, 256)
            at = time.time_ns()
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    at = int.from_bytes(value[:8], 'little') * 10**9 + int.from_bytes(value[8:16], 'little')
            text = data.decode('utf-8', 'replace')
            if call_id in text:
                return text, at

    def _send(self, to, method, number, target, call_id, peer, routes='', body=''):
        kind = 'Content-Type: application/sdp\r\n' if body else ''
        self.socket.sendto(
            (f'{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {self.me};branch=z9hG4bK{method}{call_id};rport\r\n{routes}'
             f'From: <sip:probe@{self.me}>;tag={call_id}\r\nTo: {peer}\r\nCall-ID: {call_id}\r\nCSeq: {number} {method}\r\n'
             f'Contact: <sip:probe@{self.me}>\r\nMax-Forwards: 70\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}').encode(), to)

    def call(self, to, number='9100'):
        """Calls, hangs up, and gives back the status and the milliseconds that it took; status 0: nobody answered."""
        self.count += 1
        call_id = f'probe{self.count}-{time.time_ns()}'
        target = f'sip:{number}@{to[0]}:{to[1]}'
        sdp = f'v=0\r\no=probe 1 1 IN IP4 {self.ip}\r\ns=-\r\nc=IN IP4 {self.ip}\r\nt=0 0\r\nm=audio 7166 RTP/AVP 0\r\n'
        began = time.time_ns()
        self._send(to, 'INVITE', 1, target, call_id, f'<{target}>', body=sdp)
        try:
            while True:
                answer, at = self._receive(call_id)
                status = int(answer[8:11]) if answer.startswith('SIP/2.0 ') else 0
                if 'CSeq: 1 INVITE' in answer and status >= 200:
                    break
            headers = lambda name: [line.split(':', 1)[1].strip() for line in answer.split('\r\n') if line.lower().startswith(name + ':')]
            if status >= 300:
                self._send(to, 'ACK', 1, target, call_id, headers('to')[0])
                return status, (at - began) / 1e6
            contact = (headers('contact') or [f'<{target}>'])[0].split('<')[-1].split('>')[0]
            routes = ''.join(f'Route: {route}\r\n' for route in reversed(headers('record-route')))
            self._send(to, 'ACK', 1, contact, call_id, headers('to')[0], routes)
            self._send(to, 'BYE', 2, contact, call_id, headers('to')[0], routes)
            hung_up = time.time_ns()
            while 'CSeq: 2 BYE' not in (told := self._receive(call_id))[0]:
                pass
            self.hang_ups_ms.append((told[1] - hung_up) / 1e6)
            return status, (at - began) / 1e6
        except OSError:
            return 0, 0.0


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else None
