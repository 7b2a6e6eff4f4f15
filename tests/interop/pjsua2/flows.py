#!/usr/bin/env python3
"""Plays a flow with phones of PJSIP (pjsua2) against an exchange, and prints what came of it as one JSON object.

    flows.py FLOW --server 127.0.0.1:5060 [--tls 127.0.0.1:5061 --trust certificate.pem] [--after FILE]

FLOW: hold, blind, attended, reliable, timer, tls, ice, ice_calls, ice_restart. The users are 101, 102 and 103 of an account `office`, their digest names office101 and so on,
their passwords secret101 and so on. Each phone plays a tone of its own (PEOPLE); what a phone hears is recorded for a second and told by its
tones. Phones are at the address of the exchange; with ICE that is not loopback, where none is tried. Exit 0 when the flow went as it should.
"""
import argparse, json, math, os, sys, tempfile, time, wave
import pjsua2 as pj

PEOPLE = {'101': 440, '102': 700, '103': 1000}
RATE = 8000
# 50 ms: whole waves of each tone.
BLOCK = 400


class Went(Exception):
    """It did not go as it should."""


class Line(pj.Call):
    """A call of a phone."""

    def __init__(self, phone, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(phone, call_id)
        self.phone, self.statuses, self.over, self.told = phone, [], False, []

    def onCallState(self, prm):
        info = self.getInfo()
        self.statuses.append(int(info.lastStatusCode))
        self.over = info.state == pj.PJSIP_INV_STATE_DISCONNECTED

    def onCallMediaState(self, prm):
        if self.audio() in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
            self.phone.tone.startTransmit(self.getAudioMedia(-1))

    def onCallTransferStatus(self, prm):
        self.told.append(int(prm.statusCode))

    def audio(self):
        """How its audio stands. What belongs to the information lives no longer than that."""
        info = self.getInfo()
        return info.media[0].status if len(info.media) else pj.PJSUA_CALL_MEDIA_NONE

    def talks(self):
        return self.getInfo().state == pj.PJSIP_INV_STATE_CONFIRMED and self.audio() == pj.PJSUA_CALL_MEDIA_ACTIVE


class Phone(pj.Account):
    """An account with a tone of its own, which answers its calls when it is told to."""

    def __init__(self, world, user):
        super().__init__()
        self.world, self.user, self.lines, self.registered = world, user, [], False
        self.tone = pj.ToneGenerator()
        self.tone.createToneGenerator(RATE, 1)
        wave_form = pj.ToneDesc()
        wave_form.freq1, wave_form.freq2, wave_form.on_msec, wave_form.off_msec = PEOPLE[user], 0, 1000, 0
        tones = pj.ToneDescVector()
        tones.append(wave_form)
        self.tone.play(tones, True)

    def onRegState(self, prm):
        self.registered = prm.code == 200

    def onIncomingCall(self, prm):
        line = Line(self, prm.callId)
        self.lines.append(line)
        answer(line, 180)

    def call(self, user):
        line = Line(self)
        self.lines.append(line)
        line.makeCall(self.world.uri(user), pj.CallOpParam(True))
        return line


class World:
    def __init__(self, options, log):
        self.options = options
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        config = pj.EpConfig()
        config.uaConfig.threadCnt, config.uaConfig.mainThreadOnly = 0, True
        config.logConfig.level, config.logConfig.consoleLevel, config.logConfig.filename, config.logConfig.msgLogging = 5, 0, log, 1
        config.medConfig.clockRate, config.medConfig.sndClockRate, config.medConfig.noVad, config.medConfig.ecTailLen = RATE, RATE, True, 0
        self.endpoint.libInit(config)
        transport = pj.TransportConfig()
        self.host = options.server.rsplit(':', 1)[0]
        transport.boundAddress = transport.publicAddress = self.host
        kind = pj.PJSIP_TRANSPORT_UDP
        if options.flow == 'tls':
            kind = pj.PJSIP_TRANSPORT_TLS
            transport.tlsConfig.CaListFile, transport.tlsConfig.verifyServer = options.trust, True
        self.endpoint.transportCreate(kind, transport)
        self.endpoint.libStart()
        self.endpoint.audDevManager().setNullDev()
        for codec in self.endpoint.codecEnum2():
            self.endpoint.codecSetPriority(codec.codecId, 200 if codec.codecId.startswith('PCMU') else 0)
        self.phones = {}

    def uri(self, user):
        return f'sip:{user}@{self.options.tls};transport=tls' if self.options.flow == 'tls' else f'sip:{user}@{self.options.server}'

    def phone(self, user, ice=False, **settings):
        config = pj.AccountConfig()
        config.idUri = self.uri(user)
        config.regConfig.registrarUri = self.uri('x').replace('x@', '')
        config.sipConfig.authCreds.append(pj.AuthCredInfo('digest', '*', f'office{user}', 0, f'secret{user}'))
        config.mediaConfig.transportConfig.boundAddress = self.host
        config.natConfig.iceEnabled = ice
        config.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_DISABLED
        config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_OPTIONAL
        for name, value in settings.items():
            setattr(config.callConfig, name, value)
        phone = Phone(self, user)
        phone.create(config)
        self.phones[user] = phone
        self.wait(lambda: phone.registered, f'{user} registers')
        return phone

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.endpoint.libHandleEvents(10)

    def wait(self, what, words, seconds=10):
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                raise Went(f'not in {seconds} s: {words}')
            self.endpoint.libHandleEvents(10)

    def hears(self, line):
        """Whose tones a line has heard for a second, after a moment."""
        self.run(0.4)
        with tempfile.TemporaryDirectory() as folder:
            recorder = pj.AudioMediaRecorder()
            recorder.createRecorder(f'{folder}/heard.wav')
            source = line.getAudioMedia(-1)
            source.startTransmit(recorder)
            self.run(1)
            source.stopTransmit(recorder)
            # The file is whole once the bridge has let go of it, a moment later.
            del recorder
            samples = []
            self.wait(lambda: samples.extend(read(f'{folder}/heard.wav')) or samples, 'a recording', 3)
        whole = sum(sample * sample for sample in samples) or 1
        if whole < len(samples) * 1000:
            return []
        return [user for user, hertz in PEOPLE.items() if power(samples, hertz) / whole > 0.3]

    def expect(self, line, *users):
        """A busy machine may keep a second of tones from these phones: they are listened to up to five times."""
        for _ in range(5):
            heard = self.hears(line)
            if heard == list(users):
                return
        raise Went(f'{line.phone.user} hears {heard}, not {list(users)}')

    def connect(self, caller, callee):
        """Two talk and hear each other."""
        mine, before = caller.call(callee.user), len(callee.lines)
        self.wait(lambda: len(callee.lines) > before, f'{callee.user} rings')
        theirs = callee.lines[-1]
        self.wait(lambda: 180 in mine.statuses, f'{caller.user} hears that it rings')
        answer(theirs, 200)
        self.wait(lambda: mine.talks() and theirs.talks(), f'{caller.user} and {callee.user} talk')
        return mine, theirs


def read(path):
    """The samples of a WAV file; none as long as it is not whole."""
    try:
        with wave.open(path) as file:
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError):
        return []
    return [int.from_bytes(data[n:n + 2], 'little', signed=True) for n in range(0, len(data) - 1, 2)]


def power(samples, hertz):
    """The energy at a frequency, of whole blocks: where a machine had no time, a tone goes on at another point of its wave, and
    over the whole second such pieces would cancel each other."""
    return sum(goertzel(samples[at:at + BLOCK], hertz) for at in range(0, len(samples) - BLOCK + 1, BLOCK))


def goertzel(samples, hertz):
    factor, last, before = 2 * math.cos(2 * math.pi * hertz / RATE), 0.0, 0.0
    for sample in samples:
        last, before = sample + factor * last - before, last
    return 2 * (last * last + before * before - factor * last * before) / max(len(samples), 1)


def answer(line, status):
    prm = pj.CallOpParam()
    prm.statusCode = status
    line.answer(prm)


def hold(world):
    ann, bob = world.phone('101'), world.phone('102')
    mine, theirs = world.connect(ann, bob)
    world.expect(mine, '102')
    world.expect(theirs, '101')
    mine.setHold(pj.CallOpParam(True))
    world.wait(lambda: theirs.audio() == pj.PJSUA_CALL_MEDIA_REMOTE_HOLD, '102 is held')
    world.expect(theirs)
    resume = pj.CallOpParam(True)
    resume.opt.flag = pj.PJSUA_CALL_UNHOLD
    mine.reinvite(resume)
    world.wait(lambda: mine.talks() and theirs.talks(), '102 is taken back')
    world.expect(theirs, '101')
    world.expect(mine, '102')
    theirs.hangup(pj.CallOpParam())
    world.wait(lambda: mine.over, '101 is told the end')


def joined(world, ann_line, carl_line, gone):
    world.wait(lambda: all(line.over for line in gone), 'who transferred is out')
    world.wait(lambda: ann_line.talks() and carl_line.talks(), '101 and 103 talk')
    world.expect(ann_line, '103')
    world.expect(carl_line, '101')
    carl_line.hangup(pj.CallOpParam())
    world.wait(lambda: ann_line.over, '101 is told the end')


def blind(world):
    ann, bob, carl = (world.phone(user) for user in PEOPLE)
    mine, theirs = world.connect(ann, bob)
    theirs.xfer(world.uri('103'), pj.CallOpParam(True))
    world.wait(lambda: carl.lines, '103 rings')
    world.run(0.3)
    answer(carl.lines[0], 200)
    world.wait(lambda: 200 in theirs.told, '102 is told that it worked')
    theirs.hangup(pj.CallOpParam()) if not theirs.over else None
    joined(world, mine, carl.lines[0], [theirs])
    return {'told': theirs.told}


def attended(world):
    ann, bob, carl = (world.phone(user) for user in PEOPLE)
    mine, theirs = world.connect(ann, bob)
    theirs.setHold(pj.CallOpParam(True))
    world.run(0.3)
    second, third = world.connect(bob, carl)
    world.expect(third, '102')
    theirs.xferReplaces(second, pj.CallOpParam(True))
    world.wait(lambda: 200 in theirs.told or theirs.over, '102 is told that it worked')
    joined(world, mine, third, [theirs, second])
    return {'told': theirs.told}


def reliable(world):
    ann, bob = world.phone('101', prackUse=pj.PJSUA_100REL_MANDATORY), world.phone('102', prackUse=pj.PJSUA_100REL_MANDATORY)
    mine, theirs = world.connect(ann, bob)
    world.expect(mine, '102')
    world.expect(theirs, '101')
    mine.hangup(pj.CallOpParam())
    world.wait(lambda: theirs.over, '102 is told the end')


def timer(world):
    settings = {'timerUse': pj.PJSUA_SIP_TIMER_ALWAYS, 'timerMinSESec': 90, 'timerSessExpiresSec': 90}
    ann, bob = world.phone('101', **settings), world.phone('102', **settings)
    mine, theirs = world.connect(ann, bob)
    for line in (mine, theirs):
        line.update(pj.CallOpParam(True))
        world.run(0.5)
    world.expect(mine, '102')
    world.expect(theirs, '101')
    mine.hangup(pj.CallOpParam())
    world.wait(lambda: theirs.over, '102 is told the end')


def tls(world):
    ann, bob = world.phone('101'), world.phone('102')
    mine, theirs = world.connect(ann, bob)
    world.expect(mine, '102')
    world.expect(theirs, '101')
    mine.hangup(pj.CallOpParam())
    world.wait(lambda: theirs.over, '102 is told the end')


def talks_and_holds(world, caller, callee):
    """Two call each other, one holds, both hear each other again."""
    mine, theirs = world.connect(caller, callee)
    world.expect(mine, callee.user)
    world.expect(theirs, caller.user)
    theirs.setHold(pj.CallOpParam(True))
    world.wait(lambda: mine.audio() == pj.PJSUA_CALL_MEDIA_REMOTE_HOLD, f'{caller.user} is held')
    world.expect(mine)
    resume = pj.CallOpParam(True)
    resume.opt.flag = pj.PJSUA_CALL_UNHOLD
    theirs.reinvite(resume)
    world.wait(lambda: mine.talks() and theirs.talks(), f'{caller.user} is taken back')
    world.expect(mine, callee.user)
    world.expect(theirs, caller.user)
    mine.hangup(pj.CallOpParam())
    world.wait(lambda: theirs.over, f'{callee.user} is told the end')


def ice(world):
    """Phones with ICE among each other, and with one without, each way."""
    ann, bob, carl = world.phone('101', ice=True), world.phone('102', ice=True), world.phone('103')
    for caller, callee in ((ann, bob), (ann, carl), (carl, ann)):
        talks_and_holds(world, caller, callee)


def ice_calls(world):
    """A phone with ICE calls one that is none of ours and answers by itself, with the tone of 102."""
    ann = world.phone('101', ice=True)
    mine = ann.call('102')
    world.wait(mine.talks, '101 talks')
    world.expect(mine, '102')
    world.run(2)
    mine.hangup(pj.CallOpParam())
    world.wait(lambda: mine.over, 'it ends')


def ice_restart(world):
    """The exchange dies after a phone with ICE has registered, and is there again once the file exists."""
    ann, bob = world.phone('101'), world.phone('102', ice=True)
    world.wait(lambda: os.path.exists(world.options.after), 'the exchange is there again', 30)
    mine, theirs = world.connect(ann, bob)
    world.expect(mine, '102')
    world.expect(theirs, '101')
    mine.hangup(pj.CallOpParam())
    world.wait(lambda: theirs.over, '102 is told the end')


FLOWS = {
    flow.__name__: flow for flow in (hold, blind, attended, reliable, timer, tls, ice, ice_calls, ice_restart)
}


def seen(log):
    """Which requests and answers went either way, and what they said of sessions: `PRACK 3`, `Session-Expires: 90;refresher=uac`."""
    lines = open(log, errors='replace').read().splitlines()
    methods = ['PRACK', 'REFER', 'UPDATE', 'INVITE', 'NOTIFY']
    found = {method: sum(line.startswith(method + ' sip') for line in lines) for method in methods}
    # In offers and answers of the exchange, and how often checks came to a good end.
    found |= {'lite': sum(line == 'a=ice-lite' for line in lines), 'checked': sum('ICE negotiation success' in line for line in lines)}
    # The exchange asks for no way through proxies here, so each Route is what a phone was told when it registered.
    found |= {'routed': sum(line.startswith('Route: ') for line in lines)}
    return found | {'sessions': sorted({line for line in lines if line.startswith('Session-Expires:')})}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('flow', choices=FLOWS)
    p.add_argument('--server', required=True)
    p.add_argument('--tls')
    p.add_argument('--trust')
    p.add_argument('--after')
    options = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = f'{folder}/log'
        world = World(options, log)
        try:
            result = {'ok': True} | (FLOWS[options.flow](world) or {})
        except (Went, pj.Error) as error:
            result = {'ok': False, 'why': error.info() if isinstance(error, pj.Error) else str(error)}
        result['seen'] = seen(log)
        if not result['ok']:
            result['log'] = open(log, errors='replace').read()[-6000:]
    print(json.dumps(result), flush=True)
    # The library's own end waits for transactions and may outlive the test: the process ends here.
    os._exit(0 if result['ok'] else 1)


main()
