"""Twice the rate that the server can carry: most of the peak is still completed, the rest is refused at once."""
import time
from . import sipp
from .servers import Crosspoint
from .squeeze import Squeezed

WINDOW_S = 8
# Calls/s that SIPp's two sides are let make: more would be their limit on two cores, not the server's.
OFFER_MOST = 3000


def overload(options, report, work):
    with Crosspoint(work, options) as server, sipp.callee(work):
        sipp.call(work, server.sip, '9100', 50, 100).wait()
        with Squeezed(server, options.share) as squeezed:
            peak, at = find_peak(server, report, work)
            time.sleep(3)
            before = server.pss_kb()
            offered = min(2 * peak, OFFER_MOST)
            most, outcome = offer(server, offered, work)
            completed = rate_of(outcome)
        time.sleep(3)
        after = server.pss_kb()
        healed = sipp.call(work, server.sip, '9100', 50, 100).wait()
        alive = server.alive()
    refused, answered = outcome.total('refused'), outcome.total('completed')
    lost = max(outcome.created - refused - answered, 0)
    report.say(f'overload: peak {peak:.0f} calls/s (offered {at:.0f}) with {options.share:.0%} of a core by {squeezed.how}; offered {offered:.0f}/s: {completed:.0f}/s completed, '
               f'{refused} refused with 503, {lost} of {outcome.created} neither; memory {before} -> {most} KB, {after} KB after')
    if offered < 1.9 * peak:
        report.fail(f'overload: only {offered:.0f} calls/s can be offered; lower --share')
    if not alive or healed.succeeded < 100:
        report.fail(f'overload: after it {healed.succeeded} of 100 calls succeeded')
    report.row('overload-completed', 100 * completed / peak if peak else 0)
    report.row('overload-unanswered', 100 * lost / max(outcome.created, 1))
    report.row('overload-memory', (most - before) / 1024)


def find_peak(server, report, work):
    """The most calls/s that were completed at any rate, and that rate: it is raised until no more comes out of it."""
    best, at, rate = 0.0, 0.0, 200.0
    while rate <= OFFER_MOST:
        _, outcome = offer(server, rate, work)
        done = rate_of(outcome)
        report.say(f'overload: offered {rate:.0f}/s, completed {done:.0f}/s, {outcome.total("refused")} refused, {outcome.retransmissions} retransmissions')
        if done < 0.8 * rate and done < 1.05 * best:
            break
        if done > best:
            best, at = done, rate
        rate *= 1.4
        time.sleep(1)
    return best, at


def offer(server, rate, work):
    """Offers calls at a rate for a while. Gives back the most memory meanwhile and what came of them."""
    run = sipp.call(work, server.sip, '9100', round(rate), round(rate * WINDOW_S), scenario=sipp.OWN / 'uac_refused.xml', timeout=WINDOW_S + 40)
    most, end = 0, time.monotonic() + WINDOW_S + 45
    while run.process.poll() is None and time.monotonic() < end:
        most = max(most, server.pss_kb())
        time.sleep(0.5)
    return most, run.wait()


def rate_of(outcome):
    """Completed calls/s after the first two seconds, while calls were offered."""
    return outcome.per_second('completed', 2, WINDOW_S)
