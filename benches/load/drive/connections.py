"""connections.py HOST PORT COUNT: opens TCP connections that each ask OPTIONS once and are idle then.

Prints how many got their answer; when its standard input closes, how many are still open.
"""
import resource, select, selectors, socket, sys, time

SOURCES = ['127.0.1.%d' % n for n in range(1, 11)]


def options(host, port, me, n):
    return (f'OPTIONS sip:{host}:{port} SIP/2.0\r\nVia: SIP/2.0/TCP {me[0]}:{me[1]};branch=z9hG4bKidle{n};rport\r\nFrom: <sip:idle{n}@{me[0]}>;tag={n}\r\n'
            f'To: <sip:{host}:{port}>\r\nCall-ID: idle-{n}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n').encode()


def main():
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    selector, answered, all_of = selectors.EpollSelector(), 0, []
    end = time.monotonic() + 60
    while answered < count and time.monotonic() < end:
        # At most 200 under way, so that the listener's backlog is never the limit.
        while len(all_of) < count and len(all_of) - answered < 200:
            n = len(all_of)
            s = socket.socket()
            s.bind((SOURCES[n % len(SOURCES)], 0))
            s.connect((host, port))
            s.sendall(options(host, port, s.getsockname(), n))
            selector.register(s, selectors.EVENT_READ)
            all_of.append(s)
        for key, _ in selector.select(1):
            answered += key.fileobj.recv(8192).startswith(b'SIP/2.0')
            selector.unregister(key.fileobj)
    print(answered, flush=True)
    sys.stdin.buffer.read()
    poll = select.poll()
    for s in all_of:
        poll.register(s, select.POLLIN | select.POLLRDHUP)
    print(len(all_of) - len(poll.poll(0)), flush=True)


main()
