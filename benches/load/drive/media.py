"""What a forwarded RTP packet costs a server, in turn with a bare relay loop under the same generator (relay-load)."""
import os, shutil, subprocess, sys, time
from .servers import LOAD, ROOT, UAS


class NoFigures(Exception):
    pass


def media(server, options, report, work):
    tool = generator(options)
    if not tool:
        report.skip('media', 'there is no relay-load: cargo build --release -p relay-load')
        return {}
    found = {}
    for calls in options.media_calls:
        try:
            runs = held(server, calls, tool, options, report, work)
        except NoFigures as error:
            report.short(server.name, f'RTP of {calls} calls: the generator failed: {error}', f'rtp-ratio-{calls}')
            continue
        if not runs:
            continue
        ratio, ours, bare, loss = sorted(runs)[len(runs) // 2]
        worst = max(run[3] for run in runs)
        found |= {f'rtp-ratio-{calls}': ratio, f'rtp-loss-{calls}': worst, f'rtp-ns-{calls}': ours}
        report.say(f'{server.name}: RTP of {calls} calls: {ours:.0f} ns CPU per packet, bare loop {bare:.0f}, ratio {ratio:.2f}, loss {" ".join(f"{run[3]:.3f}" for run in runs)} %')
    return found


def generator(options):
    place = options.relay_load or str(ROOT / 'target/release/relay-load')
    if os.access(place, os.X_OK):
        return place
    if not options.relay_load and shutil.which('cargo'):
        subprocess.run(['cargo', 'build', '--release', '--locked', '-q', '-p', 'relay-load'], cwd=ROOT, check=False)
    return place if os.access(place, os.X_OK) else None


def held(server, calls, tool, options, report, work):
    """Rounds of (ratio, ns per packet, ns of the bare loop, loss in percent) while the calls are up."""
    file = f'{work}/pairs-{server.name}-{calls}'
    command = [sys.executable, str(LOAD / 'drive/pairs.py'), server.sip, f'{UAS[0]}:{UAS[1]}', str(calls), file]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        up = int(holder.stdout.readline() or 0)
        if up < calls:
            report.short(server.name, f'RTP: {up} of {calls} calls were up', f'rtp-ratio-{calls}')
        if not up:
            return []
        pairs, runs = open(file).read(), []
        for _ in range(options.rounds if server.name == 'crosspoint' else 1):
            before = server.cpu()
            sent, received = generate(tool, pairs, up, options)
            if not sent:
                raise NoFigures('--media-secs is too short: nothing was counted')
            time.sleep(0.3)
            ours = (server.cpu() - before) / max(received, 1) * 1e9
            floor = bare(tool, pairs, up, options)
            loss = 100 * (sent - received) / max(sent, 1)
            runs.append((ours / floor, ours, floor, loss))
        return runs
    finally:
        holder.stdin.close()
        left = holder.stdout.readline().strip()
        holder.wait(60)
        if left not in ('', '0'):
            report.short(server.name, f'RTP: {left} calls did not hear the answer to BYE', f'rtp-ratio-{calls}')


def generate(tool, pairs, calls, options):
    said = subprocess.run([tool, 'generate', '--calls', str(calls), '--secs', str(options.media_secs + 1)], input=pairs, capture_output=True, text=True, timeout=180)
    # It does not count its first second; the server's CPU time does.
    share = (options.media_secs + 1) / options.media_secs
    if said.returncode or not said.stdout.strip():
        raise NoFigures(said.stderr.strip().splitlines()[0][:300] if said.stderr.strip() else f"exit {said.returncode}")
    sent, received, *_ = (int(word) * share for word in said.stdout.split())
    return sent, received


def bare(tool, pairs, calls, options):
    """CPU time per packet of the least that a relay through plain sockets can cost here. Units: nanoseconds."""
    loop = subprocess.Popen([tool, 'bare', '--calls', str(calls), '--secs', str(options.media_secs + 8)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    relay = [loop.stdout.readline().split()[:2] for _ in range(calls)]
    # The loop answers whoever speaks first: the phones are at the same addresses as in the server's rounds.
    generate(tool, ''.join(f"{' '.join(ports)} {phones}\n" for ports, phones in zip(relay, phones_of(pairs))), calls, options)
    packets, nanos = map(int, loop.communicate(timeout=60)[0].split())
    return nanos / max(packets, 1)


def phones_of(pairs):
    return [line.split(' ', 2)[2] for line in pairs.splitlines()]
